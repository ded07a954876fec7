package harness

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// Unread counts the octets that have arrived on the accepted connections of the
// plain Diameter port and that the process has not read: what a frozen one has in
// its hands. Linux tells in /proc/net/tcp.
func (g *Gygate) Unread() (int, error) {
	table, err := os.ReadFile("/proc/net/tcp")
	if err != nil {
		return 0, err
	}
	total := 0
	for line := range strings.Lines(string(table)) {
		f := strings.Fields(line)
		if len(f) < 5 || f[3] != established || !strings.HasSuffix(f[1], fmt.Sprintf(":%04X", g.Ports.Diameter)) {
			continue
		}
		_, received, _ := strings.Cut(f[4], ":")
		n, err := strconv.ParseInt(received, 16, 0)
		if err != nil {
			return 0, fmt.Errorf("/proc/net/tcp: rx_queue: %w", err)
		}
		total += int(n)
	}
	return total, nil
}

// established is TCP_ESTABLISHED as /proc/net/tcp writes it.
const established = "01"
