package main

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/pprof"
	"time"
)

// readyTimeout bounds one readiness check, so that a probe is always answered.
const readyTimeout = 2 * time.Second

// check is one thing /readyz asks; nil is ready.
type check struct {
	name string
	ask  func(context.Context) error
}

// newOperatorMux serves the operator: /healthz (the process lives), /readyz (it
// can charge calls), /metrics and /debug/pprof.
func newOperatorMux(metrics http.Handler, checks []check) *http.ServeMux {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		writeStatus(w, http.StatusOK, map[string]string{"status": "live"})
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) { serveReady(w, r, checks) })
	mux.Handle("GET /metrics", metrics)
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	return mux
}

func serveReady(w http.ResponseWriter, r *http.Request, checks []check) {
	ctx, cancel := context.WithTimeout(r.Context(), readyTimeout)
	defer cancel()
	code, answer := http.StatusOK, map[string]string{}
	for _, c := range checks {
		answer[c.name] = "ready"
		if err := c.ask(ctx); err != nil {
			code, answer[c.name] = http.StatusServiceUnavailable, err.Error()
		}
	}
	writeStatus(w, code, answer)
}

func writeStatus(w http.ResponseWriter, code int, answer map[string]string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	json.NewEncoder(w).Encode(answer) //nolint:errcheck // the prober went away: nobody is left to tell
}
