package main

import (
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestReportIsWritten(t *testing.T) {
	r := newReport(shortPlan)
	for _, part := range []string{"limit", "engine", "diameter"} {
		for _, flight := range []int{1, 256} {
			r.Results = append(r.Results, result{Part: part, InFlight: flight, Rate: float64(1000 * flight)})
		}
	}
	folder := t.TempDir()
	if err := r.write(folder); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(folder, jsonFile))
	if err != nil {
		t.Fatal(err)
	}
	var back report
	if err := json.Unmarshal(text, &back); err != nil || len(back.Results) != 6 {
		t.Errorf("%v: %s", err, text)
	}
	if picture, err := os.Stat(filepath.Join(folder, plotFile)); err != nil || picture.Size() == 0 {
		t.Errorf("no picture: %v", err)
	}
}

func TestTheCommandLineIsCheckedFirst(t *testing.T) {
	bin := filepath.Join(t.TempDir(), "gygate")
	for want, err := range map[string]error{
		"only curve, one": checkArguments(nil, []string{"curves"}, os.Args[0], 0, false),
		"make build":      checkArguments(nil, []string{"curve"}, bin, 0, false),
		"by -long":        checkArguments(nil, []string{"long"}, os.Args[0], 0, false),
		"only flags":      checkArguments([]string{"curve"}, nil, os.Args[0], 0, false),
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v lacks %s", err, want)
		}
	}
	for _, err := range []error{
		checkArguments(nil, []string{"curve", "packages"}, os.Args[0], 0, false), checkArguments(nil, []string{"packages"}, bin, 0, false), checkArguments(nil, nil, bin, 0, true),
	} {
		if err != nil {
			t.Error(err)
		}
	}
}

func TestForeignLoadIsWhatIsNotOurs(t *testing.T) {
	from := reading{at: time.Now()}
	to := reading{at: from.at.Add(10 * time.Second), machine: 15 * time.Second, postgres: 6 * time.Second, gateways: 3 * time.Second, own: time.Second}
	c := from.until(to, 1_000_000)
	if c.Foreign < 0.49 || c.Foreign > 0.51 || c.Postgres != 6 || c.Gateway != 3 || c.Busy != 1.5 {
		t.Errorf("%+v", c)
	}
}

func TestTheBetterTurnCountsButEveryFault(t *testing.T) {
	r := result{Rate: 2, Fault: "wrong"}
	r.improve(result{Rate: 3})
	r.improve(result{Rate: 1})
	if r.Rate != 3 || r.Fault != "wrong" {
		t.Errorf("%+v", r)
	}
	r.print(io.Discard)
}

func TestProcessesAreMetered(t *testing.T) {
	began := processTime(os.Getpid(), false)
	for until := time.Now().Add(60 * time.Millisecond); time.Now().Before(until); {
	}
	if processTime(os.Getpid(), false) <= began || machineTime() == 0 || familyTime(os.Getpid()) == 0 {
		t.Error("the processor time of this process did not rise")
	}
	if now, peak := memory(os.Getpid()); now <= 0 || peak < now {
		t.Errorf("memory %f, peak %f", now, peak)
	}
}
