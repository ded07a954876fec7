package config

import (
	"fmt"
	"reflect"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Fault is one thing wrong with a configuration.
type Fault struct {
	Path string // "diameter.peers[0].host"
	Line int    // in the file, 0 when a default or a combination is at fault
	Text string
}

func (f Fault) String() string {
	s := f.Text
	if f.Path != "" {
		s = f.Path + ": " + s
	}
	if f.Line > 0 {
		s = fmt.Sprintf("line %d: %s", f.Line, s)
	}
	return s
}

// Faults is every fault of a document, an error.
type Faults []Fault

func (f Faults) Error() string {
	lines := make([]string, len(f))
	for i, fault := range f {
		lines[i] = "  " + fault.String()
	}
	return fmt.Sprintf("%d fault(s) in the configuration:\n%s", len(f), strings.Join(lines, "\n"))
}

// checkShape compares a document with the configuration's type. The decoder
// could refuse unknown keys itself, but it names a line and not the key's path.
func checkShape(doc *yaml.Node) Faults {
	var faults Faults
	shape(doc.Content[0], reflect.TypeFor[Config](), "", &faults)
	return faults
}

func shape(n *yaml.Node, t reflect.Type, path string, faults *Faults) {
	switch {
	case t.Kind() == reflect.Struct && n.Kind == yaml.MappingNode:
		shapeStruct(n, t, path, faults)
	case t.Kind() == reflect.Slice && n.Kind == yaml.SequenceNode:
		for i, item := range n.Content {
			shape(item, t.Elem(), fmt.Sprintf("%s[%d]", path, i), faults)
		}
	default:
		if err := n.Decode(reflect.New(t).Interface()); err != nil {
			*faults = append(*faults, Fault{path, n.Line, "expected " + kindName(t)})
		}
	}
}

func shapeStruct(n *yaml.Node, t reflect.Type, path string, faults *Faults) {
	fields := map[string]reflect.Type{}
	for i := range t.NumField() {
		fields[t.Field(i).Tag.Get("yaml")] = t.Field(i).Type
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		full := strings.TrimPrefix(path+"."+key.Value, ".")
		switch field, known := fields[key.Value]; {
		case !known:
			*faults = append(*faults, Fault{full, key.Line, "unknown key"})
		case seen[key.Value]:
			*faults = append(*faults, Fault{full, key.Line, "given twice"})
		default:
			shape(value, field, full, faults)
		}
		seen[key.Value] = true
	}
}

func kindName(t reflect.Type) string {
	switch {
	case t.String() == "time.Duration":
		return "a duration such as 10s or 5m"
	case t.String() == "ocs.Money":
		return "an amount with at most six decimals"
	case t.Kind() == reflect.Struct || t.Kind() == reflect.Map:
		return "a mapping"
	case t.Kind() == reflect.Slice:
		return "a list"
	case t.Kind() == reflect.Bool:
		return "true or false"
	case t.Kind() == reflect.String:
		return "a text"
	}
	return "a whole number"
}
