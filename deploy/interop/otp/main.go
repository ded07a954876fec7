// Command otp lets Erlang/OTP's diameter application, a strict RFC 4006 client
// that shares no code with gygate, run sessions in both wire profiles, all events,
// refusals, a repeat and a re-authorisation, first over TCP with tshark as the
// judge of every octet, then over mutual TLS.
package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"

	"gygate/deploy/interop/harness"
	"gygate/ocs"
)

const (
	payer = "46855501001" // 10.00
	broke = "46855501002" // 0.00
	small = "46855501003" // 0.05; each client is topped up by what it uses
)

// What one client uses: 52 seconds off-net, which is the price of a request that
// names no rating group; 32 MB in rating group 10 and 8 MB at twice the price in
// group 20; one event, which is refunded; 1 MB, then 24 MB of the small account.
const (
	payerCost           = 52*2*harness.PerSecond + (32+8*2)*harness.PerMegabyte
	smallCost ocs.Money = (1 + 24) * harness.PerMegabyte
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

func main() { harness.Main("interop-otp", run) }

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
	identity, err := certs.Issue("otp.interop.example")
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
		if err := overTCP(ctx, g); err != nil {
			return err
		}
		if err := overTLS(ctx, g, certs, identity); err != nil {
			return err
		}
		fmt.Println()
		return g.Compare(2*(payerCost+smallCost), payer, broke, small)
	})
}

func prepare(g *harness.Gygate) error {
	if err := g.Import("tariff", harness.TariffPerSecond); err != nil {
		return err
	}
	return g.Import("account", fmt.Sprintf("msisdn,balance,currency\n%s,10.00,978\n%s,0,978\n%s,0.05,978\n", payer, broke, small))
}

// overTCP runs the client while tshark listens, then lets tshark judge.
func overTCP(ctx context.Context, g *harness.Gygate) error {
	fmt.Println("== Erlang/OTP diameter over TCP")
	capture, err := harness.StartCapture(g.Dir, g.Ports.Diameter)
	if err != nil {
		return err
	}
	clientErr := client(ctx, g, "tcp", g.Ports.Diameter)
	if err := errors.Join(clientErr, capture.Stop()); err != nil {
		return err
	}
	fmt.Println()
	return capture.Judge()
}

func overTLS(ctx context.Context, g *harness.Gygate, certs *harness.Certificates, c harness.Issued) error {
	fmt.Println("\n== Erlang/OTP diameter over mutual TLS")
	return client(ctx, g, "tls", g.Ports.DiameterTLS, c.Certificate, c.Key, certs.CA)
}

// client runs the Erlang client, shows what it prints, and tops up the small
// account when it says so.
func client(ctx context.Context, g *harness.Gygate, transport string, port int, certs ...string) error {
	script := filepath.Join("deploy", "interop", "otp", "client.escript")
	args := append([]string{script, strconv.Itoa(port), transport, payer, broke, small}, certs...)
	cmd := exec.CommandContext(ctx, "escript", args...)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	var topUp error
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if lines.Text() != "TOPUP" {
			fmt.Println(lines.Text())
			continue
		}
		fmt.Printf("\ntop-up of %s by %s\n", small, smallCost)
		_, topUp = g.Run("account", "topup", small, "--amount", smallCost.String())
	}
	if err := cmd.Wait(); err != nil {
		return errors.Join(topUp, fmt.Errorf("the %s client: %w", transport, err))
	}
	return topUp
}
