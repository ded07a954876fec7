package diameter

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/fiorix/go-diameter/v4/diam/datatype"
	"github.com/fiorix/go-diameter/v4/diam/dict"
)

func newDictionary(t testing.TB) *Dictionary {
	t.Helper()
	d, err := NewDictionary()
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// lines returns the comma-separated fields of a table in testdata.
func lines(t *testing.T, file string) [][]string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var rows [][]string
	for line := range strings.Lines(string(b)) {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
			rows = append(rows, strings.Split(line, ","))
		}
	}
	return rows
}

func number(t *testing.T, s string) uint32 {
	t.Helper()
	n, err := strconv.ParseUint(s, 10, 32)
	if err != nil {
		t.Fatal(err)
	}
	return uint32(n)
}

// The index agrees with conformance section E on name, type and M flag.
func TestDictionaryHoldsSectionE(t *testing.T) {
	t.Attr("proves", "D-094")
	d := newDictionary(t)
	rows := lines(t, "testdata/avps.csv")
	if len(rows) != 249 {
		t.Fatalf("%d rows, section E has 249", len(rows))
	}
	for _, row := range rows {
		name, code, vendor := row[0], number(t, row[1]), number(t, row[2])
		def := d.lookup(code, vendor)
		switch {
		case def == nil:
			t.Errorf("%s (%d, vendor %d) is missing", name, code, vendor)
		case !strings.EqualFold(d.Name(code, vendor), name):
			t.Errorf("%d of vendor %d is called %s, want %s", code, vendor, d.Name(code, vendor), name)
		case def.kind != datatype.Available[row[3]]:
			t.Errorf("%s has type %d, want %s", name, def.kind, row[3])
		case row[4] != "*" && def.mandatory != (row[4] == "M"):
			t.Errorf("%s: M bit %v, want %s", name, def.mandatory, row[4])
		}
	}
}

func TestDictionaryHoldsEnumerations(t *testing.T) {
	d := newDictionary(t)
	for _, row := range lines(t, "testdata/enumerations.csv") {
		def := d.lookup(number(t, row[1]), number(t, row[2]))
		if def == nil || def.name != row[0] {
			t.Errorf("%s is missing", row[0])
			continue
		}
		for _, value := range strings.Fields(row[3]) {
			if !slices.Contains(def.values, int32(number(t, value))) {
				t.Errorf("%s lacks value %s", row[0], value)
			}
		}
	}
}

// Every Attribute variable has the code, vendor and flags that the dictionary
// has under the same name.
func TestAttributesAgreeWithDictionary(t *testing.T) {
	d := newDictionary(t)
	for name, a := range declaredAttributes(t) {
		def := d.lookup(a.Code, a.Vendor)
		if def == nil {
			t.Errorf("%s (%d, vendor %d) is not in the dictionary", name, a.Code, a.Vendor)
			continue
		}
		if plain := strings.TrimSuffix(name, "AVP"); name != "FailedAVP" && !sameName(def.name, plain) || name == "FailedAVP" && def.name != "Failed-AVP" {
			t.Errorf("%s has the code of %s", name, def.name)
		}
		if mandatory := a.Flags&AVPMandatory != 0; mandatory != def.mandatory {
			t.Errorf("%s: M bit %v, dictionary says %v", name, mandatory, def.mandatory)
		}
	}
}

// sameName compares "G-S-U-Pool-Reference" with "GSUPoolReference".
func sameName(standard, variable string) bool {
	return strings.EqualFold(strings.ReplaceAll(standard, "-", ""), variable)
}

// declaredAttributes reads attributes.go, so that no variable can be forgotten.
// A code is a number or a constant of go-diameter, which is looked up by the
// name of the constant.
func declaredAttributes(t *testing.T) map[string]Attribute {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "attributes.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	constructors := map[string]func(uint32) Attribute{"mandatory": mandatory, "optional": optional, "tgpp": tgpp}
	declared := make(map[string]Attribute)
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		if call, ok := spec.Values[0].(*ast.CallExpr); ok {
			construct := constructors[call.Fun.(*ast.Ident).Name]
			declared[spec.Names[0].Name] = construct(codeOf(t, call.Args[0]))
		}
		return true
	})
	if len(declared) < 100 {
		t.Fatalf("only %d attributes found", len(declared))
	}
	return declared
}

func codeOf(t *testing.T, e ast.Expr) uint32 {
	t.Helper()
	if literal, ok := e.(*ast.BasicLit); ok {
		return number(t, literal.Value)
	}
	name := e.(*ast.SelectorExpr).Sel.Name
	for _, app := range dict.Default.Apps() {
		for _, avp := range app.AVP {
			if sameName(avp.Name, name) {
				return avp.Code
			}
		}
	}
	t.Fatalf("no AVP for constant avp.%s", name)
	return 0
}

func TestName(t *testing.T) {
	d := newDictionary(t)
	for _, c := range []struct {
		code, vendor uint32
		want         string
	}{
		{263, 0, "Session-Id"},
		{873, Vendor3GPP, "Service-Information"},
		{2, Vendor3GPP, "3GPP-Charging-Id"},
		{263, Vendor3GPP, "AVP 263 of vendor 10415"},
		{60001, 0, "AVP 60001"},
	} {
		if got := d.Name(c.code, c.vendor); got != c.want {
			t.Errorf("Name(%d, %d) = %q, want %q", c.code, c.vendor, got, c.want)
		}
	}
}

// Building ours leaves the library's shared dictionary as it was, and ours
// advertises nothing but the base protocol and credit control.
func TestDictionaryIsItsOwn(t *testing.T) {
	before := dict.Default.String()
	d := newDictionary(t)
	if dict.Default.String() != before {
		t.Error("the library's default dictionary changed")
	}
	for _, app := range d.Parser().Apps() {
		if app.ID != AppBase && app.ID != AppCreditControl {
			t.Errorf("application %d is in our parser", app.ID)
		}
	}
	if _, err := dict.Default.FindAVPWithVendor(AppCreditControl, "Subscription-Id-Extension", 0); err == nil {
		t.Error("our additions are in the library's default dictionary")
	}
}

// A grammar that cannot work is found at start, not at the first message.
func TestGrammarFaults(t *testing.T) {
	d := newDictionary(t)
	for name, g := range map[string]*grammar{
		"unknown AVP":         rules(one(Attribute{Code: 60001})),
		"two rules":           rules(one(SessionID), maybe(SessionID)),
		"choice without rule": rules(one(SessionID)).exactlyOneOf(ResultCodeAVP),
		"too many rules":      rules(make([]rule, rulesMax+1)...),
	} {
		if err := g.compile(d); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
