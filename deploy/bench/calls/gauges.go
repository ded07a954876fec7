package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// gauges are what a gygate says of itself at one moment.
type gauges struct {
	resident   float64 // bytes of memory, as the system sees it
	live       float64 // bytes of the heap that the last collection left alive
	stacks     float64 // bytes of goroutine stacks
	goroutines float64
	processor  float64 // seconds used
	calls      float64
	charged    float64 // requests charged since the start
}

func (g gauges) String() string {
	return fmt.Sprintf("%5.0f calls, %6.0f goroutines, %4.0f MB resident, %4.0f MB live heap, %4.0f MB stacks",
		g.calls, g.goroutines, g.resident/(1<<20), g.live/(1<<20), g.stacks/(1<<20))
}

// readGauges has a collection run first, so that the heap is what lives.
func readGauges(ctx context.Context, url string) (g gauges, err error) {
	if err := get(ctx, url+"/debug/pprof/heap?gc=1", func(r io.Reader) error { _, err := io.Copy(io.Discard, r); return err }); err != nil {
		return g, err
	}
	err = get(ctx, url+"/metrics", func(r io.Reader) error {
		lines := bufio.NewScanner(r)
		for lines.Scan() {
			at := strings.LastIndexByte(lines.Text(), ' ')
			if at < 0 {
				continue
			}
			series := lines.Text()[:at]
			value, err := strconv.ParseFloat(lines.Text()[at+1:], 64)
			if err != nil {
				continue // a comment
			}
			g.take(series, value)
		}
		return lines.Err()
	})
	return g, err
}

func (g *gauges) take(series string, value float64) {
	name, _, _ := strings.Cut(series, "{")
	switch name {
	case "process_resident_memory_bytes":
		g.resident = value
	case "go_memstats_heap_alloc_bytes":
		g.live = value
	case "go_memstats_stack_inuse_bytes":
		g.stacks = value
	case "go_goroutines":
		g.goroutines = value
	case "process_cpu_seconds_total":
		g.processor = value
	case "gygate_vpn_calls":
		g.calls = value
	case "gygate_ccr_client_duration_seconds_count":
		g.charged += value
	}
}

func get(ctx context.Context, url string, read func(io.Reader) error) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	return read(response.Body)
}

// settleMax is how long what follows the last BYE may take.
const settleMax = 60 * time.Second

// awaitCalls waits until the gygate serves that many calls.
func awaitCalls(ctx context.Context, url string, want int) error {
	return await(ctx, func() (bool, error) {
		g, err := readGauges(ctx, url)
		return int(g.calls) == want, err
	})
}

// goroutinesSpare is what may be there beside the idle gygate's own: connections of the
// database's pool and of the operator's port come and go.
const goroutinesSpare = 20

// awaitGoroutines waits until no call has left one behind.
func awaitGoroutines(ctx context.Context, url string, idle gauges) error {
	var last gauges
	err := await(ctx, func() (bool, error) {
		g, err := readGauges(ctx, url)
		last = g
		return g.goroutines <= idle.goroutines+goroutinesSpare, err
	})
	fmt.Printf("afterwards: %s\n", last)
	return err
}

func await(ctx context.Context, holds func() (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, settleMax)
	defer cancel()
	for {
		ok, err := holds()
		if ok || err != nil {
			return err
		}
		select {
		case <-time.After(200 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("not settled after %s", settleMax)
		}
	}
}

// saveProfiles keeps the heap's and the goroutines' profile in the folder.
func saveProfiles(ctx context.Context, url, dir string) error {
	for _, name := range []string{"heap", "goroutine"} {
		err := get(ctx, url+"/debug/pprof/"+name, func(r io.Reader) error {
			text, err := io.ReadAll(r)
			if err != nil {
				return err
			}
			return os.WriteFile(filepath.Join(dir, name+".pprof"), text, 0o644)
		})
		if err != nil {
			return err
		}
	}
	fmt.Println("profiles in", dir)
	return nil
}
