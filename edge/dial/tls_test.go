package dial

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"fieldpost/edge"
)

// identity is a certificate and its key as PEM.
type identity struct {
	cert, key string
	parsed    *x509.Certificate
	private   *ecdsa.PrivateKey
}

// issue makes an identity, signed by ca, or by itself where ca is nil.
func issue(t *testing.T, name string, ca *identity) *identity {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: ca == nil, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	parent, signer := tmpl, key
	if ca != nil {
		parent, signer = ca.parsed, ca.private
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &identity{
		cert:   string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
		key:    string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: keyDER})),
		parsed: parsed, private: key,
	}
}

// shake does a handshake between a client and a server over loopback.
func shake(t *testing.T, client, server *tls.Config) (clientErr, serverErr error) {
	t.Helper()
	l := listen(t)
	c := dialTo(t, &Dialer{}, "tcp", l.Addr().String())
	peer := accept(t, l)
	done := make(chan error, 1)
	go func() {
		s := tls.Server(peer, server)
		err := s.Handshake()
		if err == nil {
			_, err = s.Write([]byte("!"))
		}
		peer.Close()
		done <- err
	}()
	tc := tls.Client(c, client)
	clientErr = tc.Handshake()
	if clientErr == nil {
		_, clientErr = tc.Read(make([]byte, 1))
	}
	if _, ok := Of(net.Conn(tc)); !ok {
		t.Error("no Conn below TLS")
	}
	c.Close()
	return clientErr, <-done
}

func TestTLS(t *testing.T) {
	ca, other := issue(t, "ca", nil), issue(t, "other", nil)
	srv, cli, alien := issue(t, "broker", ca), issue(t, "pi", ca), issue(t, "alien", other)
	lit := edge.LiteralSecret
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, []byte(ca.cert), 0o600); err != nil {
		t.Fatal(err)
	}
	var fromFile edge.Secret
	if err := fromFile.UnmarshalText([]byte("file:" + file)); err != nil {
		t.Fatal(err)
	}
	open := ServerTLS{Cert: lit(srv.cert), Key: lit(srv.key)}
	asks, must := open, open
	asks.ClientCA, asks.ClientCerts = lit(ca.cert), "optional"
	must.ClientCA = lit(ca.cert)
	for _, c := range []struct {
		name   string
		client TLS
		server ServerTLS
		dialed string
		ok     bool
	}{
		{"trusted", TLS{CA: lit(ca.cert)}, open, "broker:8883", true},
		{"from a file", TLS{CA: fromFile}, open, "broker", true},
		{"system's authorities", TLS{}, open, "broker:8883", false},
		{"another authority", TLS{CA: lit(other.cert)}, open, "broker:8883", false},
		{"another name", TLS{CA: lit(ca.cert)}, open, "10.0.0.1:8883", false},
		{"another name that is given", TLS{CA: lit(ca.cert), ServerName: "broker"}, open, "10.0.0.1:8883", true},
		{"insecure", TLS{Insecure: true}, open, "x:1", true},
		{"client shows itself", TLS{CA: lit(ca.cert), Cert: lit(cli.cert), Key: lit(cli.key)}, must, "broker:1", true},
		{"client shows nothing", TLS{CA: lit(ca.cert)}, must, "broker:1", false},
		{"client is asked", TLS{CA: lit(ca.cert)}, asks, "broker:1", true},
		{"client is a stranger", TLS{CA: lit(ca.cert), Cert: lit(alien.cert), Key: lit(alien.key)}, must, "broker:1", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			client, err := c.client.Config(c.dialed)
			if err != nil {
				t.Fatal(err)
			}
			server, err := c.server.Config()
			if err != nil {
				t.Fatal(err)
			}
			if clientErr, serverErr := shake(t, client, server); (clientErr == nil && serverErr == nil) != c.ok {
				t.Errorf("client %v, server %v", clientErr, serverErr)
			}
		})
	}
	t.Run("old TLS", func(t *testing.T) {
		client, err := TLS{Insecure: true}.Config("x")
		if err != nil {
			t.Fatal(err)
		}
		server, err := open.Config()
		if err != nil {
			t.Fatal(err)
		}
		server.MinVersion, server.MaxVersion = tls.VersionTLS10, tls.VersionTLS11
		if err, _ := shake(t, client, server); err == nil {
			t.Error("TLS 1.1 was taken")
		}
	})
}

// TestTLSErrors: each says what is wrong and where from, never what was read.
func TestTLSErrors(t *testing.T) {
	a, b := issue(t, "a", nil), issue(t, "b", nil)
	lit := edge.LiteralSecret
	var missing edge.Secret
	if err := missing.UnmarshalText([]byte("file:/does/not/exist")); err != nil {
		t.Fatal(err)
	}
	for want, c := range map[string]TLS{
		"read tls.ca: there is no PEM certificate in it (literal)": {CA: lit("hunter2")},
		"read tls.ca: read secret file:/does/not/exist":            {CA: missing},
		"read tls: cert and key go together":                       {Cert: lit(a.cert)},
		"read tls.key: read secret file:/does/not/exist":           {Cert: lit(a.cert), Key: missing},
		"read tls.cert (literal) and tls.key (literal): ":          {Cert: lit(a.cert), Key: lit(b.key)},
		"read tls.cert (literal) and tls.key (literal): tls:":      {Cert: lit("hunter2"), Key: lit("hunter2")},
	} {
		_, err := c.Config("x")
		if err == nil || !strings.HasPrefix(err.Error(), want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("error %v, want %s", err, want)
		}
	}
	if (ServerTLS{}).Set() || !(ServerTLS{Key: lit("x")}).Set() {
		t.Error("when a server has TLS")
	}
	if _, err := (ServerTLS{Cert: lit(a.cert), Key: lit(a.key), ClientCA: lit("x")}).Config(); err == nil {
		t.Error("a client_ca that is none was taken")
	}
}
