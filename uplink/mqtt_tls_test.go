package uplink_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
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
	"fieldpost/edge/dial"
	"fieldpost/edge/edgetest"
	"fieldpost/uplink"
	"fieldpost/uplink/uplinktest"
)

// certificate writes a certificate for 127.0.0.1 that is its own authority.
func certificate(t *testing.T, dir string) (cert, key string) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "broker"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, k.Public(), k)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for name, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: secret}} {
		if err := os.WriteFile(name, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}

func secretFile(t *testing.T, path string) (s edge.Secret) {
	t.Helper()
	if err := s.UnmarshalText([]byte("file:" + path)); err != nil {
		t.Fatal(err)
	}
	return s
}

func TestMQTTOverTLSWithAClientCertificate(t *testing.T) {
	dir := t.TempDir()
	cert, key := certificate(t, dir)
	m := uplinktest.StartMosquitto(t, uplinktest.MosquittoOptions{Dir: dir,
		Extra: []string{"cafile " + cert, "certfile " + cert, "keyfile " + key, "require_certificate true"}})
	url := strings.Replace(m.URL(), "mqtt://", "mqtts://", 1)
	rig := edgetest.NewRig(t)
	post(t, rig, "alarms", 2000)

	stranger := mqttOptions(rig, url)
	f, err := uplink.NewForwarder(stranger)
	if err != nil {
		t.Fatal(err)
	}
	if steps, err := f.Probe(t.Context()); err == nil || steps[len(steps)-1].Name != "tls" {
		t.Errorf("an unknown authority was trusted: %+v, %v", steps, err)
	}

	opt := mqttOptions(rig, url)
	opt.Dial = &dial.Dialer{}
	opt.TLS = dial.TLS{CA: secretFile(t, cert), Cert: secretFile(t, cert), Key: secretFile(t, key)}
	f, _ = start(t, opt)
	until(t, 20*time.Second, "sent", empty(f))
	if steps, err := f.Probe(t.Context()); err != nil || !strings.Contains(steps[2].Detail, "TLS 1.") {
		t.Errorf("probe gave %+v, %v", steps, err)
	}
}
