package harness

import (
	"bufio"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Capture is tshark listening on loopback ports.
type Capture struct {
	ports []int
	file  string
	cmd   *exec.Cmd
	done  chan error
}

// captureStartMax is how long tshark may take to open the interface.
const captureStartMax = 20 * time.Second

// StartCapture returns when tshark is capturing what goes to and from the ports.
func StartCapture(dir string, ports ...int) (*Capture, error) {
	c := &Capture{ports: ports, file: filepath.Join(dir, "diameter.pcap"), done: make(chan error, 1)}
	c.cmd = exec.Command("tshark", "-i", "lo", "-f", c.each("tcp port %d", " or "), "-w", c.file)
	stderr, err := c.cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := c.cmd.Start(); err != nil {
		return nil, err
	}
	capturing := make(chan struct{})
	go func() {
		for lines := bufio.NewScanner(stderr); lines.Scan(); {
			if strings.Contains(lines.Text(), "Capturing on") {
				close(capturing)
				break
			}
		}
		c.done <- c.cmd.Wait()
	}()
	select {
	case <-capturing:
		return c, nil
	case err := <-c.done:
		return nil, fmt.Errorf("tshark could not capture on the loopback interface (it needs root or the wireshark group): %w", err)
	case <-time.After(captureStartMax):
		return nil, errors.Join(errors.New("tshark did not start capturing"), c.cmd.Process.Kill())
	}
}

// each writes every port in a format and joins them.
func (c *Capture) each(format, separator string) string {
	all := make([]string, len(c.ports))
	for i, port := range c.ports {
		all[i] = fmt.Sprintf(format, port)
	}
	return strings.Join(all, separator)
}

// Stop ends the capture; what was captured can then be read.
func (c *Capture) Stop() error {
	// The last packets reach the file when tshark flushes at its own pace.
	time.Sleep(time.Second)
	if err := c.cmd.Process.Signal(syscall.SIGINT); err != nil {
		return err
	}
	<-c.done
	return nil
}

// Judge prints how many Diameter messages were captured and what tshark finds
// malformed or doubtful in them, and fails for that or for an empty capture. The
// capture is over by then.
func (c *Capture) Judge() error {
	codes, err := c.Read("diameter", "diameter.cmd.code")
	if err != nil {
		return err
	}
	messages := 0
	for _, line := range codes {
		messages += len(strings.Split(line, between))
	}
	frames, err := c.Read("_ws.malformed || (diameter && _ws.expert)", "_ws.expert.severity", "_ws.expert.message",
		"frame.number", "diameter.cmd.code", "diameter.CC-Request-Type")
	if err != nil {
		return err
	}
	var faults []string
	for _, frame := range frames {
		if doubtful(frame) {
			faults = append(faults, frame)
		}
	}
	fmt.Printf("tshark: %d Diameter messages, %d malformed or with errors\n", messages, len(faults))
	for _, line := range faults {
		fmt.Println("   ", line)
	}
	switch {
	case messages == 0:
		return errors.New("tshark saw no Diameter message")
	case len(faults) > 0:
		return fmt.Errorf("%d malformed messages", len(faults))
	}
	return nil
}

const (
	// severityNote is what tshark calls at least worth a note (PI_NOTE).
	severityNote = 0x00400000
	// emptyData is such a note, for an AVP without data. An empty
	// Requested-Service-Unit means "you decide" (RFC 8506 §5.1.1).
	emptyData = "Data is empty"
)

// doubtful reads a line of severities and their messages.
func doubtful(frame string) bool {
	fields := strings.SplitN(frame, "\t", 3)
	messages := strings.Split(fields[1], between)
	for i, severity := range strings.Split(fields[0], between) {
		n, err := strconv.ParseUint(severity, 0, 32)
		if err != nil || i >= len(messages) {
			return true
		}
		if n >= severityNote && messages[i] != emptyData {
			return true
		}
	}
	return false
}

// between separates the values of a field that occurs several times in a frame.
const between = "|"

// Read returns a line for each captured frame that the display filter takes,
// with those fields.
func (c *Capture) Read(filter string, fields ...string) ([]string, error) {
	args := []string{"-r", c.file, "-Y", filter, "-T", "fields", "-E", "aggregator=" + between}
	for _, port := range c.ports {
		args = append(args, "-d", fmt.Sprintf("tcp.port==%d,diameter", port))
	}
	for _, field := range fields {
		args = append(args, "-e", field)
	}
	out, err := exec.Command("tshark", args...).Output()
	if err != nil {
		return nil, fmt.Errorf("tshark -r: %w", err)
	}
	text := strings.TrimRight(string(out), "\n")
	if text == "" {
		return nil, nil
	}
	return strings.Split(text, "\n"), nil
}
