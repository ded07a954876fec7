package fsm

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// A transcript is a file of blocks: commands, a line of dashes, what they print.
// Comments start with #. "go test -update" rewrites what they print.

func TestTranscripts(t *testing.T) {
	for pattern, machine := range map[string]func() func(string) (string, error){
		"testdata/peer_*.txt":     peerCommands,
		"testdata/watchdog_*.txt": watchdogCommands,
	} {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			t.Fatalf("no transcripts %s: %v", pattern, err)
		}
		for _, file := range files {
			t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
				if strings.HasSuffix(file, "peer_election.txt") {
					t.Attr("proves", "A-014")
					t.Attr("proves", "D-089")
				}
				runTranscript(t, file, machine())
			})
		}
	}
}

func runTranscript(t *testing.T, file string, command func(string) (string, error)) {
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	printed, expecting := "", false
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSuffix(line, "\n")
		switch {
		case expecting && line != "":
			continue // what was expected; compared as a whole below
		case expecting:
			expecting = false
		case line == "----":
			out.WriteString("----\n" + printed)
			printed, expecting = "", true
			continue
		case line != "" && !strings.HasPrefix(line, "#"):
			result, err := command(line)
			if err != nil {
				t.Fatalf("%s: %q: %v", file, line, err)
			}
			printed += result
		}
		out.WriteString(line + "\n")
	}
	if *update {
		if err := os.WriteFile(file, []byte(out.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got := out.String(); !*update && got != string(text) {
		t.Errorf("%s differs; got:\n%s", file, got)
	}
}

// peerCommands interprets transcripts of the peer machine:
//
//	state NAME              put it into that state
//	elect LOCAL REMOTE      hold the election; the winner gets Win-Election
//	table                   print every row
//	EVENT                   take the event
func peerCommands() func(string) (string, error) {
	state := Closed
	step := func(e Event) string {
		next, actions := state.On(e)
		line := fmt.Sprintf("%-20s %-16s %-36s %s\n", state, e, names(actions), next)
		state = next
		return line
	}
	return func(line string) (string, error) {
		words := strings.Fields(line)
		switch words[0] {
		case "state":
			i := slices.Index(stateNames[:], words[1])
			if i < 0 {
				return "", fmt.Errorf("no state %s", words[1])
			}
			state = State(i)
			return "", nil
		case "elect":
			if !WinsElection(words[1], words[2]) {
				return fmt.Sprintf("%s does not win against %s\n", words[1], words[2]), nil
			}
			return fmt.Sprintf("%s wins against %s\n", words[1], words[2]) + step(WinElection), nil
		case "table":
			return peerTable(), nil
		}
		i := slices.Index(eventNames[:], words[0])
		if i < 0 {
			return "", fmt.Errorf("no event %s", words[0])
		}
		return step(Event(i)), nil
	}
}

func peerTable() string {
	var b strings.Builder
	for s := Closed; s <= Closing; s++ {
		for e := Start; e <= RPeerDisc; e++ {
			if next, actions := s.On(e); next != s || actions != nil {
				fmt.Fprintf(&b, "%-20s %-16s %-36s %s\n", s, e, names(actions), next)
			}
		}
	}
	return b.String()
}

// watchdogCommands interprets transcripts of the watchdog:
//
//	state NAME [pending] [numdwa=N]
//	EVENT
func watchdogCommands() func(string) (string, error) {
	var w Watchdog
	return func(line string) (string, error) {
		words := strings.Fields(line)
		if words[0] == "state" {
			i := slices.Index(watchdogStateNames[:], words[1])
			if i < 0 {
				return "", fmt.Errorf("no state %s", words[1])
			}
			w = Watchdog{State: WatchdogState(i)}
			for _, word := range words[2:] {
				if word == "pending" {
					w.Pending = true
				} else if _, err := fmt.Sscanf(word, "numdwa=%d", &w.NumDWA); err != nil {
					return "", err
				}
			}
			return "", nil
		}
		i := slices.Index(watchdogEventNames[:], words[0])
		if i < 0 {
			return "", fmt.Errorf("no event %s", words[0])
		}
		before := w.State
		var actions []WatchdogAction
		w, actions = w.On(WatchdogEvent(i))
		return fmt.Sprintf("%-8s %-16s %-44s %-8s pending=%-5t numdwa=%d\n",
			before, WatchdogEvent(i), names(actions), w.State, w.Pending, w.NumDWA), nil
	}
}

func names[T fmt.Stringer](actions []T) string {
	var all []string
	for _, a := range actions {
		all = append(all, a.String())
	}
	return strings.Join(all, ",")
}
