package config

import (
	"fmt"
	"reflect"
	"slices"
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

// and adds the faults of values, but for keys that were told already.
func (f Faults) and(values Faults) Faults {
	told := map[string]bool{}
	for _, fault := range f {
		told[fault.Path] = true
	}
	return append(f, slices.DeleteFunc(values, func(v Fault) bool { return told[v.Path] })...)
}

// pruneShape compares a document with the configuration's type and takes out what
// does not fit. The decoder could refuse unknown keys itself, but it names a line
// and not the key's path, and stops at some faults.
func pruneShape(doc *yaml.Node) Faults {
	var faults Faults
	if !shape(doc.Content[0], reflect.TypeFor[Config](), "", &faults) {
		doc.Content[0] = &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
	}
	return faults
}

// shape reports whether n can be read as a t, once its faulty keys are taken out.
func shape(n *yaml.Node, t reflect.Type, path string, faults *Faults) bool {
	switch {
	case t.Kind() == reflect.Struct && n.Kind == yaml.MappingNode:
		shapeStruct(n, t, path, faults)
		return true
	case t.Kind() == reflect.Slice && n.Kind == yaml.SequenceNode:
		good := true
		for i, item := range n.Content {
			good = shape(item, t.Elem(), fmt.Sprintf("%s[%d]", path, i), faults) && good
		}
		return good
	}
	if err := n.Decode(reflect.New(t).Interface()); err != nil {
		*faults = append(*faults, Fault{path, n.Line, "expected " + kindName(t)})
		return false
	}
	return true
}

// shapeStruct keeps the keys of n that are known, stand once and have a value of
// their kind.
func shapeStruct(n *yaml.Node, t reflect.Type, path string, faults *Faults) {
	fields := map[string]reflect.Type{}
	for i := range t.NumField() {
		fields[t.Field(i).Tag.Get("yaml")] = t.Field(i).Type
	}
	seen := map[string]bool{}
	var kept []*yaml.Node
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		full := strings.TrimPrefix(path+"."+key.Value, ".")
		switch field, known := fields[key.Value]; {
		case !known:
			*faults = append(*faults, Fault{full, key.Line, "unknown key"})
		case seen[key.Value]:
			*faults = append(*faults, Fault{full, key.Line, "given twice"})
		case shape(value, field, full, faults):
			kept = append(kept, key, value)
		}
		seen[key.Value] = true
	}
	n.Content = kept
}

func kindName(t reflect.Type) string {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
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
