package peer

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
	"testing/synctest"
	"time"

	"gygate/diameter"
)

// authority is a certificate authority that writes what it issues to files.
type authority struct {
	t    *testing.T
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	file string
}

func newAuthority(t *testing.T, name string) *authority {
	t.Helper()
	a := &authority{t: t, dir: t.TempDir()}
	template := certificate(name, nil)
	template.IsCA, template.BasicConstraintsValid, template.KeyUsage = true, true, x509.KeyUsageCertSign
	a.key = newKey(t)
	der, err := x509.CreateCertificate(rand.Reader, template, template, a.key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	a.file = a.write(name+".ca.pem", "CERTIFICATE", der)
	return a
}

// issue writes a certificate for name and its key.
func (a *authority) issue(common string, dns ...string) (certFile, keyFile string) {
	a.t.Helper()
	key := newKey(a.t)
	der, err := x509.CreateCertificate(rand.Reader, certificate(common, dns), a.cert, key.Public(), a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	octets, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	return a.write(common+".pem", "CERTIFICATE", der), a.write(common+".key", "EC PRIVATE KEY", octets)
}

func (a *authority) write(name, kind string, octets []byte) string {
	a.t.Helper()
	file := filepath.Join(a.dir, name)
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: octets}), 0o600); err != nil {
		a.t.Fatal(err)
	}
	return file
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func certificate(common string, dns []string) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: common}, DNSNames: dns,
		NotBefore: time.Date(1999, 1, 1, 0, 0, 0, 0, time.UTC), NotAfter: time.Now().Add(time.Hour), // a bubble begins in 2000
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
}

// startTLS serves with a certificate of ca for ocsHost.
func startTLS(t *testing.T, ca *authority, change func(*ServerConfig)) (*journal, string) {
	t.Helper()
	cert, key := ca.issue(ocsHost, ocsHost)
	cfg, err := ServerTLS(cert, key, ca.file)
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	log := newJournal()
	startOn(t, tls.NewListener(ln, cfg), echo, func(cfg *ServerConfig) {
		cfg.Peers, cfg.Logger = []PeerRule{{Host: vpnHost}}, log.logger() // no address: the certificate proves it
		if change != nil {
			change(cfg)
		}
	})
	return log, ln.Addr().String()
}

func clientTLS(t *testing.T, issuer, trusted *authority, common string, dns ...string) *tls.Config {
	t.Helper()
	cert, key := issuer.issue(common, dns...)
	cfg, err := ClientTLS(cert, key, trusted.file, ocsHost)
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

func TestMutualTLS(t *testing.T) {
	proves(t, "A-091")
	if PortTLS != 5868 || Port != 3868 {
		t.Errorf("ports %d and %d", PortTLS, Port)
	}
	ca := newAuthority(t, "operator")
	for name, c := range map[string]struct {
		cfg    *tls.Config
		change func(*ServerConfig)
	}{
		"A-091 DNS name":                 {clientTLS(t, ca, ca, "a", vpnHost), nil},
		"A-091 common name, other case":  {clientTLS(t, ca, ca, "VPN.example.org"), nil},
		"A-091 name given in the entry":  {clientTLS(t, ca, ca, "b", "node7.example.org"), func(cfg *ServerConfig) { cfg.Peers[0].CertificateName = "node7.example.org" }},
		"A-091 open policy, proper name": {clientTLS(t, ca, ca, "c", vpnHost), func(cfg *ServerConfig) { cfg.Peers, cfg.Unknown = nil, Open }},
	} {
		t.Run(name, func(t *testing.T) {
			_, address := startTLS(t, ca, c.change)
			client := startClient(t, nil, Endpoint{Address: address, Host: ocsHost, TLS: c.cfg})
			waitOpen(t, client)
			a, err := client.Do(within(t, 10*time.Second), ask(request{}))
			if err != nil || !a.From.TLS || a.Message.ResultCode() != diameter.Success {
				t.Errorf("%+v %v", a.From, err)
			}
		})
	}
}

func TestCertificateOfAnother(t *testing.T) {
	proves(t, "A-091")
	ca := newAuthority(t, "operator")
	refused := map[string]struct {
		cfg    *tls.Config
		change func(*ServerConfig)
	}{
		"A-091 another's certificate":            {clientTLS(t, ca, ca, "d", "other.example.org"), nil},
		"A-091 its own is not the entry's":       {clientTLS(t, ca, ca, "e", vpnHost), func(cfg *ServerConfig) { cfg.Peers[0].CertificateName = "node7.example.org" }},
		"A-091 open policy, another certificate": {clientTLS(t, ca, ca, "f", "other.example.org"), func(cfg *ServerConfig) { cfg.Peers, cfg.Unknown = nil, Open }},
	}
	for name, c := range refused {
		t.Run(name, func(t *testing.T) {
			log, address := startTLS(t, ca, c.change)
			nc, err := tls.Dial("tcp", address, c.cfg)
			if err != nil {
				t.Fatal(err)
			}
			p := newScript(t, nc)
			p.write(cer(vpnHost, nil))
			if cea := p.read(); cea.ResultCode() != diameter.UnknownPeer || cea.Flags&diameter.FlagError == 0 {
				t.Errorf("CEA %d %#x", cea.ResultCode(), cea.Flags)
			}
			_ = p.readClose()
			log.await("certificate names another")
		})
	}
}

func TestHandshakeRefused(t *testing.T) {
	proves(t, "A-091")
	ca, foreign := newAuthority(t, "operator"), newAuthority(t, "foreign")
	none := clientTLS(t, ca, ca, "g", vpnHost)
	none.Certificates = nil
	for name, cfg := range map[string]*tls.Config{
		"A-091 no certificate":                {RootCAs: none.RootCAs, ServerName: ocsHost},
		"A-091 certificate of another issuer": clientTLS(t, foreign, ca, "h", vpnHost),
	} {
		t.Run(name, func(t *testing.T) {
			log, address := startTLS(t, ca, nil)
			nc, err := tls.Dial("tcp", address, cfg)
			if err == nil { // TLS 1.3 clients learn of it with the first read
				p := newScript(t, nc)
				_, _ = nc.Write(cer(vpnHost, nil)) // may fail already
				_ = p.readClose()
			}
			log.await("handshake failed")
		})
	}
	t.Run("A-091 the server has the wrong certificate", func(t *testing.T) {
		log := newJournal()
		_, address := startTLS(t, foreign, nil)
		client := startClient(t, func(cfg *ClientConfig) { cfg.Logger = log.logger(); cfg.QuickRetry = time.Millisecond },
			Endpoint{Address: address, TLS: clientTLS(t, foreign, ca, "i", vpnHost)})
		log.await("TLS handshake")
		if s := client.Peers()[0].State; s == "OKAY" {
			t.Error("it opened")
		}
	})
	t.Run("A-091 plain CER on the TLS port", func(t *testing.T) {
		_, address := startTLS(t, ca, nil)
		p := dialScript(t, address)
		p.write(cer(vpnHost, nil))
		_ = p.nc.SetReadDeadline(time.Now().Add(time.Minute)) // a hang would show as its error
		alert := make([]byte, 64)
		if n, err := p.nc.Read(alert); err == nil && alert[0] != 21 {
			t.Errorf("got %x instead of a TLS alert or a close", alert[:n])
		}
	})
}

func TestModernTLSOnly(t *testing.T) {
	ca := newAuthority(t, "operator")
	t.Run("A-092 RC4 and 3DES", func(t *testing.T) {
		provesNamed(t)
		_, address := startTLS(t, ca, nil)
		for _, suite := range tls.InsecureCipherSuites() {
			cfg := clientTLS(t, ca, ca, "l", vpnHost)
			cfg.MaxVersion, cfg.CipherSuites = tls.VersionTLS12, []uint16{suite.ID}
			weak := strings.Contains(suite.Name, "RC4") || strings.Contains(suite.Name, "3DES")
			if nc, err := tls.Dial("tcp", address, cfg); err == nil {
				_ = nc.Close()
				if weak {
					t.Errorf("handshake with %s succeeded", suite.Name)
				}
			}
		}
	})
	t.Run("A-092 TLS 1.1", func(t *testing.T) {
		provesNamed(t)
		_, address := startTLS(t, ca, nil)
		cfg := clientTLS(t, ca, ca, "j", vpnHost)
		cfg.MinVersion, cfg.MaxVersion = tls.VersionTLS10, tls.VersionTLS11
		if nc, err := tls.Dial("tcp", address, cfg); err == nil {
			_ = nc.Close()
			t.Error("handshake succeeded")
		}
	})
	t.Run("A-010 in-band security inside TLS", func(t *testing.T) {
		provesNamed(t)
		_, address := startTLS(t, ca, nil)
		nc, err := tls.Dial("tcp", address, clientTLS(t, ca, ca, "k", vpnHost))
		if err != nil {
			t.Fatal(err)
		}
		p := newScript(t, nc)
		p.write(cer(vpnHost, applications(security(1))))
		if cea := p.read(); cea.ResultCode() != diameter.Success {
			t.Errorf("CEA %d", cea.ResultCode())
		}
	})
}

func TestSilentHandshakeHoldsNobody(t *testing.T) {
	ca := newAuthority(t, "operator")
	cert, key := ca.issue(ocsHost, ocsHost)
	serverTLS, err := ServerTLS(cert, key, ca.file)
	if err != nil {
		t.Fatal(err)
	}
	cfg := clientTLS(t, ca, ca, "a", vpnHost)
	synctest.Test(t, func(t *testing.T) {
		network := newPipes()
		startOn(t, tls.NewListener(network.listen("ocs:5868"), serverTLS), echo, func(cfg *ServerConfig) { cfg.Peers = []PeerRule{{Host: vpnHost}} })
		nc, err := network.dial(t.Context(), "ocs:5868")
		if err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		client := startClient(t, func(cfg *ClientConfig) { cfg.Dial = network.dial }, Endpoint{Address: "ocs:5868", TLS: cfg})
		if err := client.WaitOpen(within(t, time.Minute)); err != nil || time.Since(begin) != 0 {
			t.Errorf("the next connection opened after %v: %v", time.Since(begin), err)
		}
		_ = newScript(t, nc).readClose()
		about(t, "close", time.Since(begin), cerTimeoutDefault, cerTimeoutDefault)
	})
}

func TestTLSFiles(t *testing.T) {
	ca := newAuthority(t, "operator")
	cert, key := ca.issue(vpnHost, vpnHost)
	for name, load := range map[string]func() (*tls.Config, error){
		"no certificate":   func() (*tls.Config, error) { return ServerTLS("absent.pem", key, ca.file) },
		"no authority":     func() (*tls.Config, error) { return ServerTLS(cert, key, "absent.pem") },
		"key as authority": func() (*tls.Config, error) { return ServerTLS(cert, key, key) },
		"no server name":   func() (*tls.Config, error) { return ClientTLS(cert, key, ca.file, "") },
	} {
		if _, err := load(); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
