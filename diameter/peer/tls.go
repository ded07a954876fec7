package peer

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"

	"gygate/diameter"
)

// ServerTLS loads the configuration of a mutual TLS listener from PEM files:
// the node's certificate chain, its key, and the authorities that sign client
// certificates. A client without a certificate fails the handshake.
//
// The cipher suites are those of crypto/tls from TLS 1.2 upwards; the RC4 and
// 3DES suites RFC 6733 §13.1 names are deliberately absent.
func ServerTLS(certFile, keyFile, clientCAFile string) (*tls.Config, error) {
	cert, pool, err := loadTLS(certFile, keyFile, clientCAFile)
	if err != nil {
		return nil, err
	}
	return &tls.Config{
		MinVersion:   tls.VersionTLS12,
		Certificates: []tls.Certificate{cert},
		ClientAuth:   tls.RequireAndVerifyClientCert,
		ClientCAs:    pool,
	}, nil
}

// ClientTLS loads the configuration of a mutual TLS connection to the server
// whose certificate carries name.
func ClientTLS(certFile, keyFile, serverCAFile, name string) (*tls.Config, error) {
	if name == "" {
		return nil, errors.New("TLS client: the server's certificate name is missing")
	}
	cert, pool, err := loadTLS(certFile, keyFile, serverCAFile)
	if err != nil {
		return nil, err
	}
	return &tls.Config{
		MinVersion:   tls.VersionTLS12,
		Certificates: []tls.Certificate{cert},
		RootCAs:      pool,
		ServerName:   name,
	}, nil
}

func loadTLS(certFile, keyFile, caFile string) (tls.Certificate, *x509.CertPool, error) {
	cert, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		return cert, nil, fmt.Errorf("TLS certificate %s with key %s: %w", certFile, keyFile, err)
	}
	pem, err := os.ReadFile(caFile)
	if err != nil {
		return cert, nil, fmt.Errorf("TLS authorities: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return cert, nil, fmt.Errorf("TLS authorities: %s holds no PEM certificate", caFile)
	}
	return cert, pool, nil
}

// certificateNames reports whether the verified certificate of the connection's
// far end carries name, as DNS name or common name.
func certificateNames(state tls.ConnectionState, name string) bool {
	if len(state.VerifiedChains) == 0 || len(state.PeerCertificates) == 0 {
		return false
	}
	leaf := state.PeerCertificates[0]
	for _, dns := range leaf.DNSNames {
		if diameter.SameIdentity(dns, name) {
			return true
		}
	}
	return diameter.SameIdentity(leaf.Subject.CommonName, name)
}
