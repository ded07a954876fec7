// Command otp lets Erlang/OTP's diameter application, a strict RFC 4006 client
// that shares no code with gygate, run a charged session and a refusal, first
// over TCP with tshark as the judge of every octet, then over mutual TLS.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"

	"gygate/deploy/interop/harness"
)

const (
	payer = "46855501001" // 10.00
	broke = "46855501002" // 0.00
)

const config = `
node:
  ocs: {host: ocs1.vpn.example, realm: vpn.example}
  vpn: {host: vpnas1.vpn.example, realm: vpn.example}
diameter:
  listen: ["127.0.0.1:%d"]
  tls:
    listen: ["127.0.0.1:%d"]
    certificate_file: %s
    key_file: %s
    ca_file: %s
  peers:
    - {host: vpnas1.vpn.example, addresses: [127.0.0.1/32], trusted: true}
    - {host: otp.interop.example, addresses: [127.0.0.1/32], strict: true}
sip:
  listen: ["udp:127.0.0.1:%d", "tcp:127.0.0.1:%[6]d"]
http:
  listen: "127.0.0.1:%d"
`

func main() {
	log.SetFlags(0)
	bin := flag.String("bin", "bin/gygate", "the gygate binary")
	flag.Parse()
	if err := run(context.Background(), *bin); err != nil {
		log.Fatalf("interop-otp: FAILED: %v", err)
	}
	fmt.Println("\ninterop-otp: passed")
}

func run(ctx context.Context, bin string) error {
	ports, err := harness.FreePorts()
	if err != nil {
		return err
	}
	certs, err := harness.NewCertificates()
	if err != nil {
		return err
	}
	defer certs.Remove()
	server, err := certs.Issue("ocs1.vpn.example")
	if err != nil {
		return err
	}
	client, err := certs.Issue("otp.interop.example")
	if err != nil {
		return err
	}
	g, err := harness.New(bin, "otp", fmt.Sprintf(config, ports.Diameter, ports.DiameterTLS,
		server.Certificate, server.Key, certs.CA, ports.SIP, ports.HTTP), ports)
	if err != nil {
		return err
	}
	if err := prepare(g); err != nil {
		return err
	}
	return g.Serve(ctx, func() error {
		if err := overTCP(g); err != nil {
			return err
		}
		if err := overTLS(g, certs, client); err != nil {
			return err
		}
		verdict, err := g.Run("verify")
		fmt.Printf("\n%s", verdict)
		return err
	})
}

func prepare(g *harness.Gygate) error {
	if err := g.Import("tariff", harness.TariffPerSecond); err != nil {
		return err
	}
	return g.Import("account", fmt.Sprintf("msisdn,balance,currency\n%s,10.00,978\n%s,0,978\n", payer, broke))
}

// overTCP runs the client while tshark listens, then lets tshark judge.
func overTCP(g *harness.Gygate) error {
	fmt.Println("== Erlang/OTP diameter over TCP")
	capture, err := harness.StartCapture(g.Dir, g.Ports.Diameter)
	if err != nil {
		return err
	}
	clientErr := client("tcp", g.Ports.Diameter)
	frames, malformed, err := capture.Judge()
	if err != nil {
		return err
	}
	fmt.Printf("\ntshark: %d Diameter messages, %d malformed or with errors\n", frames, len(malformed))
	for _, line := range malformed {
		fmt.Println("   ", line)
	}
	switch {
	case clientErr != nil:
		return clientErr
	case frames == 0:
		return fmt.Errorf("tshark saw no Diameter message on port %d", g.Ports.Diameter)
	case len(malformed) > 0:
		return fmt.Errorf("%d malformed messages", len(malformed))
	}
	return nil
}

func overTLS(g *harness.Gygate, certs *harness.Certificates, c harness.Issued) error {
	fmt.Println("\n== Erlang/OTP diameter over mutual TLS")
	return client("tls", g.Ports.DiameterTLS, c.Certificate, c.Key, certs.CA)
}

func client(transport string, port int, certs ...string) error {
	script := filepath.Join("deploy", "interop", "otp", "client.escript")
	cmd := exec.Command("escript", append([]string{script, "127.0.0.1", strconv.Itoa(port), transport, payer, broke}, certs...)...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("the %s client: %w", transport, err)
	}
	return nil
}
