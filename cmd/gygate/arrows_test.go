package main

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// arrows is the import graph that ARCHITECTURE.md draws: what each package may
// import of ours. A package that is not listed may be imported by wiring only.
var arrows = map[string][]string{
	"sql":                    {},
	"sql/localpg":            {},
	"ocs":                    {"ocs/recent"},
	"ocs/recent":             {},
	"vpnlogic":               {},
	"diameter":               {},
	"diameter/peer":          {"diameter", "diameter/peer/fsm"},
	"diameter/peer/fsm":      {"diameter"},
	"diameter/gy":            {"diameter", "diameter/peer", "ocs", "vpnlogic"},
	"diameter/gy/pgkeeper":   {"diameter/gy", "sql"},
	"diameter/diametertest":  {"diameter"},
	"ocs/pgstore":            {"ocs", "ocs/recent", "sql"},
	"ocs/ocstest":            {"ocs"},
	"vpnlogic/pgdirectory":   {"vpnlogic", "sql"},
	"vpnlogic/sipgw":         {"vpnlogic"},
	"vpnlogic/sipgw/phone":   {},
	"sql/sqltest":            {"sql", "sql/localpg"},
	"deploy/interop/harness": {},
}

func TestImportsOnlyPointDown(t *testing.T) {
	for path, imports := range ours(t) {
		wiring := strings.HasPrefix(path, "cmd/") || strings.HasPrefix(path, "deploy/")
		allowed, listed := arrows[path]
		if !listed && !wiring {
			t.Errorf("package %s has no row in the table of arrows", path)
		}
		for _, imported := range imports {
			if !wiring && !slices.Contains(allowed, imported) {
				t.Errorf("%s must not import %s", path, imported)
			}
			if imported == "ocs/ocstest" || imported == "sql/sqltest" || imported == "diameter/diametertest" {
				t.Errorf("%s ships the test package %s", path, imported)
			}
		}
	}
}

// ours lists every package of the module with its imports inside the module,
// both without the module's name.
func ours(t *testing.T) map[string][]string {
	t.Helper()
	out, err := exec.Command("go", "list", "-json=ImportPath,Imports", "gygate/...").Output()
	if err != nil {
		t.Fatal(err)
	}
	graph := map[string][]string{}
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p struct {
			ImportPath string
			Imports    []string
		}
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return graph
		} else if err != nil {
			t.Fatal(err)
		}
		path := strings.TrimPrefix(p.ImportPath, "gygate/")
		graph[path] = nil
		for _, i := range p.Imports {
			if of, ok := strings.CutPrefix(i, "gygate/"); ok {
				graph[path] = append(graph[path], of)
			}
		}
	}
}
