package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
)

func TestOperatorMux(t *testing.T) {
	good := check{"database", func(context.Context) error { return nil }}
	bad := check{"diameter", func(context.Context) error { return errors.New("no charging system is connected") }}
	metrics := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "gygate_calls 1") })
	for _, tc := range []struct {
		method, path string
		checks       []check
		code         int
		answer       map[string]string // nil: not looked at
	}{
		{"GET", "/healthz", []check{bad}, 200, map[string]string{"status": "live"}},
		{"GET", "/readyz", []check{good}, 200, map[string]string{"database": "ready"}},
		{"GET", "/readyz", []check{good, bad}, 503, map[string]string{"database": "ready", "diameter": "no charging system is connected"}},
		{"GET", "/metrics", nil, 200, nil},
		{"GET", "/debug/pprof/", nil, 200, nil},
		{"POST", "/healthz", nil, 405, nil},
		{"GET", "/other", nil, 404, nil},
	} {
		t.Run(tc.method+tc.path, func(t *testing.T) {
			w := httptest.NewRecorder()
			newOperatorMux(metrics, tc.checks).ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), tc.method, tc.path, nil))
			if w.Code != tc.code {
				t.Errorf("status %d, want %d", w.Code, tc.code)
			}
			var got map[string]string
			if tc.answer != nil {
				if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
					t.Fatal(err)
				}
			}
			for name, text := range tc.answer {
				if got[name] != text {
					t.Errorf("%s: %q, want %q", name, got[name], text)
				}
			}
		})
	}
}
