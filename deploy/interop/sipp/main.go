// Command sipp lets Debian's sipp place short-number calls of exactly five
// seconds through gygate to a sipp callee, and compares the money: what the
// tariff says the calls cost against what the accounts were debited.
package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"gygate/deploy/interop/harness"
	"gygate/ocs"
)

const (
	calls      = 200
	perSecond  = 20
	members    = 20 // each calls ten times
	openingRaw = "10.00"
	// A call of five seconds is one increment of six: 6 x 0.01.
	callCost = 6 * ocs.MoneyScale / 100
)

const config = `
diameter:
  listen: ["127.0.0.1:%d"]
sip:
  listen: ["udp:127.0.0.1:%d", "tcp:127.0.0.1:%[2]d"]
  next_hop: "127.0.0.1:%d"
http:
  listen: "127.0.0.1:%d"
`

func main() { harness.Main("interop-sipp", run) }

func run(ctx context.Context, bin string) error {
	ports, err := harness.FreePorts()
	if err != nil {
		return err
	}
	g, err := harness.New(bin, "sipp", fmt.Sprintf(config, ports.Diameter, ports.SIP, ports.Phones, ports.HTTP), ports)
	if err != nil {
		return err
	}
	if err := provision(g); err != nil {
		return err
	}
	return g.Serve(ctx, func() error {
		if err := placeCalls(g); err != nil {
			return err
		}
		accounts := make([]string, members)
		for m := range members {
			accounts[m] = number(m)
		}
		return g.Compare(calls*callCost, accounts...)
	})
}

func number(member int) string { return fmt.Sprintf("468555030%02d", member) }
func short(member int) string  { return strconv.Itoa(6000 + member) }

// provision makes a group whose members all have prepaid accounts.
func provision(g *harness.Gygate) error {
	accounts, lines := "msisdn,balance,currency\n", ""
	for m := range members {
		accounts += fmt.Sprintf("%s,%s,978\n", number(m), openingRaw)
		lines += harness.Member(number(m), "7003", short(m))
	}
	for _, i := range []struct{ what, csv string }{
		{"tariff", harness.TariffSixSeconds},
		{"account", accounts},
		{"group", harness.Group("7003", "sipp")},
		{"member", harness.MemberHeader + lines},
	} {
		if err := g.Import(i.what, i.csv); err != nil {
			return err
		}
	}
	return nil
}

// placeCalls runs the callee and the caller; sipp itself says whether a call failed.
func placeCalls(g *harness.Gygate) error {
	lines := "SEQUENTIAL\n"
	for m := range members {
		lines += number(m) + ";" + short((m+1)%members) + ";\n"
	}
	numbers, err := g.File("numbers.csv", lines)
	if err != nil {
		return err
	}
	scenario, err := filepath.Abs("deploy/interop/sipp/caller.xml")
	if err != nil {
		return err
	}

	callee := sipp(g, "-sn", "uas", "-p", strconv.Itoa(g.Ports.Phones))
	if err := callee.Start(); err != nil {
		return err
	}
	defer func() {
		callee.Process.Kill()
		callee.Wait()
	}()

	fmt.Printf("%d calls of 5 s at %d/s through sip:127.0.0.1:%d\n", calls, perSecond, g.Ports.SIP)
	caller := sipp(g, fmt.Sprintf("127.0.0.1:%d", g.Ports.SIP), "-sf", scenario, "-inf", numbers,
		"-m", strconv.Itoa(calls), "-r", strconv.Itoa(perSecond), "-timeout", "60", "-timeout_error",
		"-trace_err", "-error_file", filepath.Join(g.Dir, "sipp-errors.log"))
	if err := caller.Run(); err != nil {
		errors, _ := os.ReadFile(filepath.Join(g.Dir, "sipp-errors.log"))
		return fmt.Errorf("sipp: a call failed (%w)\n%s", err, tail(string(errors), 20))
	}
	return nil
}

func sipp(g *harness.Gygate, args ...string) *exec.Cmd {
	cmd := exec.Command("sipp", append([]string{"-i", "127.0.0.1", "-nostdin"}, args...)...)
	cmd.Dir = g.Dir
	return cmd
}

func tail(s string, lines int) string {
	l := strings.Split(strings.TrimSpace(s), "\n")
	return strings.Join(l[max(0, len(l)-lines):], "\n")
}
