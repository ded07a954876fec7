package harness

import (
	"bufio"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// Capture is tshark listening on one loopback port.
type Capture struct {
	port int
	file string
	cmd  *exec.Cmd
	done chan error
}

// captureStartMax is how long tshark may take to open the interface.
const captureStartMax = 20 * time.Second

// StartCapture returns when tshark is capturing.
func StartCapture(dir string, port int) (*Capture, error) {
	c := &Capture{port: port, file: filepath.Join(dir, fmt.Sprintf("diameter-%d.pcap", port)), done: make(chan error, 1)}
	c.cmd = exec.Command("tshark", "-i", "lo", "-f", fmt.Sprintf("tcp port %d", port), "-w", c.file)
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

// Judge ends the capture and returns how many Diameter messages were seen, and
// a line for each frame that tshark calls malformed or erroneous.
func (c *Capture) Judge() (messages int, malformed []string, err error) {
	// The last packets reach the file when tshark flushes at its own pace.
	time.Sleep(time.Second)
	if err := c.cmd.Process.Signal(syscall.SIGINT); err != nil {
		return 0, nil, err
	}
	<-c.done
	codes, err := c.read("diameter", "-e", "diameter.cmd.code")
	if err != nil {
		return 0, nil, err
	}
	for _, line := range codes {
		messages += len(strings.Split(line, ","))
	}
	malformed, err = c.read("_ws.malformed || (diameter && _ws.expert.severity >= 0x00400000)",
		"-e", "frame.number", "-e", "diameter.cmd.code", "-e", "diameter.CC-Request-Type", "-e", "_ws.expert.message")
	return messages, malformed, err
}

func (c *Capture) read(filter string, fields ...string) ([]string, error) {
	args := append([]string{"-r", c.file, "-d", fmt.Sprintf("tcp.port==%d,diameter", c.port), "-Y", filter, "-T", "fields"}, fields...)
	out, err := exec.Command("tshark", args...).Output()
	if err != nil {
		return nil, fmt.Errorf("tshark -r: %w", err)
	}
	text := strings.TrimSpace(string(out))
	if text == "" {
		return nil, nil
	}
	return strings.Split(text, "\n"), nil
}
