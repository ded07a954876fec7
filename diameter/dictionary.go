package diameter

import (
	"bytes"
	_ "embed"
	"encoding/xml"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/fiorix/go-diameter/v4/diam/datatype"
	"github.com/fiorix/go-diameter/v4/diam/dict"
)

//go:embed dictionary/gygate.xml
var ownXML []byte

// Dictionary knows the AVPs of the base protocol and of credit control with
// its 3GPP content: name, type, M flag, enumerated values. It never changes
// after NewDictionary, so any number of goroutines may use it.
type Dictionary struct {
	parser   *dict.Parser
	ietf     []*definition            // by code: most AVPs of most messages
	tgpp     []*definition            // likewise those of the 3GPP: nearly all others
	vendors  map[uint32][]*definition // by vendor, then code
	defined  int
	commands map[command]*grammar
	failed   *grammar // of any answer that is no success
}

// definition is what the dictionary says about one AVP.
type definition struct {
	id        int // dense, for the tables of the grammars
	name      string
	kind      datatype.TypeID
	mandatory bool
	values    []int32  // of an Enumerated AVP; empty: any
	grammar   *grammar // of a Grouped AVP; nil: any members
	opaque    bool     // a group that is passed on unread
	open      bool     // a group in which gateways put AVPs of newer releases
	compared  bool     // at the top of a message: the last check compares it with others
}

// NewDictionary loads the base, credit-control and 3GPP charging dictionaries
// of go-diameter and our own additions into a parser of its own, and compiles
// the index from it. It takes milliseconds: call it once at start.
func NewDictionary() (*Dictionary, error) {
	parser, err := newParser()
	if err != nil {
		return nil, fmt.Errorf("diameter dictionary: %w", err)
	}
	d := &Dictionary{parser: parser, vendors: make(map[uint32][]*definition)}
	for _, app := range parser.Apps() {
		for _, avp := range app.AVP {
			d.add(avp)
		}
	}
	if err := d.addGrammars(); err != nil {
		return nil, fmt.Errorf("diameter dictionary: %w", err)
	}
	return d, nil
}

// newParser copies the applications we speak out of the library's dictionary,
// which holds a dozen more and must not be changed. The XML they were read
// from is not exported, so they are written and read again.
func newParser() (*dict.Parser, error) {
	file := dict.File{XMLName: xml.Name{Local: "diameter"}}
	for _, app := range dict.Default.Apps() {
		if app.ID == AppBase || app.ID == AppCreditControl {
			file.App = append(file.App, withoutBackLinks(app))
		}
	}
	library, err := xml.Marshal(file)
	if err != nil {
		return nil, err
	}
	parser, err := dict.NewParser()
	if err != nil {
		return nil, err
	}
	if err := parser.Load(bytes.NewReader(library)); err != nil {
		return nil, fmt.Errorf("go-diameter's dictionary: %w", err)
	}
	if err := parser.Load(bytes.NewReader(ownXML)); err != nil {
		return nil, fmt.Errorf("dictionary/gygate.xml: %w", err)
	}
	return parser, nil
}

// withoutBackLinks copies an application with AVPs that do not point back at
// it, because the XML encoder would follow the cycle.
func withoutBackLinks(app *dict.App) *dict.App {
	c := *app
	c.AVP = make([]*dict.AVP, len(app.AVP))
	for i, avp := range app.AVP {
		a := *avp
		a.App = nil
		c.AVP[i] = &a
	}
	return &c
}

// codeMax bounds the tables by code. The standards' codes stay far below it;
// an AVP above is treated as unknown.
const codeMax = 1 << 14

// add enters an AVP. A later definition replaces an earlier one.
func (d *Dictionary) add(avp *dict.AVP) {
	if avp.Code >= codeMax {
		return
	}
	table := d.table(avp.VendorID)
	for int(avp.Code) >= len(table) {
		table = append(table, nil)
	}
	table[avp.Code] = define(avp, d.defined)
	d.defined++
	switch avp.VendorID {
	case 0:
		d.ietf = table
	case Vendor3GPP:
		d.tgpp = table
	default:
		d.vendors[avp.VendorID] = table
	}
}

// table holds a vendor's definitions by code.
func (d *Dictionary) table(vendor uint32) []*definition {
	switch vendor {
	case 0:
		return d.ietf
	case Vendor3GPP:
		return d.tgpp
	}
	return d.vendors[vendor]
}

func define(avp *dict.AVP, id int) *definition {
	d := &definition{
		id:        id,
		name:      avp.Name,
		kind:      avp.Data.Type,
		mandatory: strings.Contains(avp.Must, "M"),
	}
	if rest, ok := strings.CutPrefix(avp.Name, "TGPP-"); ok && avp.VendorID == Vendor3GPP {
		d.name = "3GPP-" + rest // an identifier in Go cannot begin with a digit, an AVP name can
	}
	for _, item := range avp.Data.Enum {
		d.values = append(d.values, item.Code)
	}
	return d
}

// addGrammars adds to the index what the XML cannot say.
func (d *Dictionary) addGrammars() error {
	d.commands, d.failed = commandGrammars(), answerMessage()
	all := append(slices.Collect(maps.Values(d.commands)), d.failed)
	for attribute, g := range groupGrammars() {
		def, err := d.group(attribute)
		if err != nil {
			return err
		}
		def.grammar = g
		all = append(all, g)
	}
	for _, g := range all {
		if err := g.compile(d); err != nil {
			return err
		}
	}
	return d.markSpecial()
}

// markSpecial marks the AVPs that are treated apart.
func (d *Dictionary) markSpecial() error {
	for _, a := range []Attribute{SessionID, AuthApplicationID, CCRequestType, RequestedAction} {
		d.lookup(a.Code, a.Vendor).compared = true // the grammars name it: it is there
	}
	// What another node put there is passed on, not read.
	for _, a := range []Attribute{ProxyInfo, FailedAVP} {
		def, err := d.group(a)
		if err != nil {
			return err
		}
		def.opaque = true
	}
	for _, a := range []Attribute{ServiceInformation, IMSInformation, PSInformation, MultipleServicesCreditControl} {
		def, err := d.group(a)
		if err != nil {
			return err
		}
		def.open = true
	}
	return nil
}

func (d *Dictionary) group(a Attribute) (*definition, error) {
	def := d.lookup(a.Code, a.Vendor)
	if def == nil || def.kind != datatype.GroupedType {
		return nil, fmt.Errorf("%s is no group", d.Name(a.Code, a.Vendor))
	}
	return def, nil
}

// Name returns the AVP's name as the standard writes it, and "AVP 60001" or
// "AVP 60001 of vendor 99999" for one the dictionary does not know.
func (d *Dictionary) Name(code, vendor uint32) string {
	switch def := d.lookup(code, vendor); {
	case def != nil:
		return def.name
	case vendor != 0:
		return fmt.Sprintf("AVP %d of vendor %d", code, vendor)
	}
	return fmt.Sprintf("AVP %d", code)
}

// Parser returns the same dictionary for go-diameter's own message model, which
// tools and test peers use. Nothing may be loaded into it.
func (d *Dictionary) Parser() *dict.Parser { return d.parser }

// lookup returns nil for an AVP the dictionary does not know.
func (d *Dictionary) lookup(code, vendor uint32) *definition {
	if table := d.table(vendor); code < uint32(len(table)) {
		return table[code]
	}
	return nil
}
