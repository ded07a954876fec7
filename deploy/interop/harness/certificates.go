package harness

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
	"time"
)

// Certificates is a throw-away authority whose certificates live for a day.
type Certificates struct {
	CA  string // file
	dir string

	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	next int64
}

// Issued is a certificate with its key, as files.
type Issued struct{ Certificate, Key string }

// NewCertificates makes the authority.
func NewCertificates() (*Certificates, error) {
	dir, err := os.MkdirTemp("", "gygate-certs-")
	if err != nil {
		return nil, err
	}
	c := &Certificates{dir: dir, next: 1}
	if c.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		return nil, err
	}
	c.cert = c.template("gygate interop authority")
	c.cert.IsCA, c.cert.BasicConstraintsValid = true, true
	c.cert.KeyUsage = x509.KeyUsageCertSign
	der, err := x509.CreateCertificate(rand.Reader, c.cert, c.cert, &c.key.PublicKey, c.key)
	if err != nil {
		return nil, err
	}
	c.CA = filepath.Join(dir, "ca.pem")
	return c, writePEM(c.CA, "CERTIFICATE", der)
}

// Issue makes a certificate for a Diameter identity, good on loopback for both
// ends of a connection.
func (c *Certificates) Issue(host string) (Issued, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return Issued{}, err
	}
	t := c.template(host)
	t.DNSNames, t.IPAddresses = []string{host}, []net.IP{net.IPv4(127, 0, 0, 1)}
	t.KeyUsage = x509.KeyUsageDigitalSignature
	t.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	der, err := x509.CreateCertificate(rand.Reader, t, c.cert, &key.PublicKey, c.key)
	if err != nil {
		return Issued{}, err
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return Issued{}, err
	}
	i := Issued{filepath.Join(c.dir, host+".pem"), filepath.Join(c.dir, host+".key")}
	if err := writePEM(i.Certificate, "CERTIFICATE", der); err != nil {
		return i, err
	}
	return i, writePEM(i.Key, "PRIVATE KEY", pkcs8)
}

// Remove deletes all files.
func (c *Certificates) Remove() error { return os.RemoveAll(c.dir) }

func (c *Certificates) template(name string) *x509.Certificate {
	c.next++
	return &x509.Certificate{
		SerialNumber: big.NewInt(c.next),
		Subject:      pkix.Name{CommonName: name},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(24 * time.Hour),
	}
}

func writePEM(path, kind string, der []byte) error {
	return os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600)
}
