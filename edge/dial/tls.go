package dial

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"

	"fieldpost/edge"
)

// TLS says how a client checks its peer and shows itself. The zero TLS trusts the
// system's authorities and shows no certificate.
type TLS struct {
	CA         edge.Secret `mapstructure:"ca"`          // PEM; where set, nobody else is trusted
	Cert       edge.Secret `mapstructure:"cert"`        // PEM, with its chain
	Key        edge.Secret `mapstructure:"key"`         // PEM
	Insecure   bool        `mapstructure:"insecure"`    // take any certificate
	ServerName string      `mapstructure:"server_name"` // "": the host that is dialed
}

// Config reads the secrets now and gives a client's configuration for server, a
// host with or without a port: TLS 1.2 or newer, and the peer is verified unless
// Insecure is set. Make a new one for each connection, so that a certificate that
// was renewed on disk is used. Errors never hold a secret.
func (t TLS) Config(server string) (*tls.Config, error) {
	if host, _, err := net.SplitHostPort(server); err == nil {
		server = host
	}
	if t.ServerName != "" {
		server = t.ServerName
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: server, InsecureSkipVerify: t.Insecure}
	if t.CA.Set() {
		pool, err := authorities(t.CA)
		if err != nil {
			return nil, fmt.Errorf("read tls.ca: %w", err)
		}
		c.RootCAs = pool
	}
	if !t.Cert.Set() && !t.Key.Set() {
		return c, nil
	}
	cert, err := certificate(t.Cert, t.Key)
	if err != nil {
		return nil, err
	}
	c.Certificates = []tls.Certificate{cert}
	return c, nil
}

// ServerTLS is the certificate that a server shows and what it asks of clients.
type ServerTLS struct {
	Cert, Key   edge.Secret // PEM
	ClientCA    edge.Secret // PEM; not set: clients show no certificate
	ClientCerts string      // optional or required, where ClientCA is set; "" is required
}

// Set reports whether the server speaks TLS at all.
func (t ServerTLS) Set() bool { return t.Cert.Set() || t.Key.Set() }

// Config reads the secrets now and gives a server's configuration: TLS 1.2 or
// newer. Errors never hold a secret.
func (t ServerTLS) Config() (*tls.Config, error) {
	cert, err := certificate(t.Cert, t.Key)
	if err != nil {
		return nil, err
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{cert}}
	if !t.ClientCA.Set() {
		return c, nil
	}
	if c.ClientCAs, err = authorities(t.ClientCA); err != nil {
		return nil, fmt.Errorf("read tls.client_ca: %w", err)
	}
	c.ClientAuth = tls.RequireAndVerifyClientCert
	if t.ClientCerts == "optional" {
		c.ClientAuth = tls.VerifyClientCertIfGiven
	}
	return c, nil
}

// authorities reads PEM certificates.
func authorities(s edge.Secret) (*x509.CertPool, error) {
	pem, err := s.Reveal()
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM([]byte(pem)) {
		return nil, fmt.Errorf("there is no PEM certificate in it (%s)", s.Source())
	}
	return pool, nil
}

// certificate reads a certificate and its key.
func certificate(cert, key edge.Secret) (tls.Certificate, error) {
	if !cert.Set() || !key.Set() {
		return tls.Certificate{}, errors.New("read tls: cert and key go together")
	}
	certPEM, err := cert.Reveal()
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("read tls.cert: %w", err)
	}
	keyPEM, err := key.Reveal()
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("read tls.key: %w", err)
	}
	pair, err := tls.X509KeyPair([]byte(certPEM), []byte(keyPEM))
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("read tls.cert (%s) and tls.key (%s): %w", cert.Source(), key.Source(), err)
	}
	return pair, nil
}
