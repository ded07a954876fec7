package ladder

import (
	"fmt"
	"io"
	"strings"
	"time"

	"gygate/ocs"
	"gygate/vpnlogic"
)

// Widths between which a ladder is drawn.
const (
	WidthMin = 80
	WidthMax = 120
)

// The lifelines, left to right, by the names events use.
var parties = [...]string{"caller", "gygate", "called", "ocs"}

// timeWidth is the column of time offsets.
const timeWidth = 10

// Write draws the call in width columns (kept between WidthMin and WidthMax),
// plain text, and its sum below.
func (c Call) Write(w io.Writer, width int) error {
	p := newPaper(min(max(width, WidthMin), WidthMax))
	steps, _ := c.steps()
	var began time.Time
	var last *vpnlogic.ChargeRequest
	for i, e := range c.Events {
		if i == 0 {
			began = e.At
		}
		at := offset(e.At.Sub(began))
		switch {
		case e.Record != nil:
			continue // the sum says it
		case e.Request != nil:
			last = e.Request
			p.arrow(at, "gygate", "ocs", requestText(e.Request))
		case e.Answer != nil:
			p.arrow(at, "ocs", "gygate", answerText(e.Answer))
			if e.Answer.Code != 0 {
				p.money(steps, last)
			}
		case e.To == "" || party(e.From) == party(e.To):
			p.note(at, e.From, "* "+e.Text)
		default:
			p.arrow(at, e.From, e.To, e.Text)
			if passedOn(e) {
				p.arrow(at, "gygate", "caller", e.Text)
			}
		}
	}
	p.rule()
	c.writeSum(&p.text)
	_, err := io.WriteString(w, p.text.String())
	return err
}

// passedOn tells whether the gateway hands a response of the called party on to
// the caller as it is: ringing and the answer (RFC 3261 §13.2.2.4 wants both end
// to end). Refusals it gives in its own words, which are events of their own.
func passedOn(e vpnlogic.CallEvent) bool {
	return e.From == "called" && (strings.HasPrefix(e.Text, "18") || strings.HasPrefix(e.Text, "200 "))
}

// writeSum tells the record and the equations.
func (c Call) writeSum(b *strings.Builder) {
	s := c.Sum()
	for _, e := range c.Events {
		if r := e.Record; r != nil {
			fmt.Fprintf(b, "  record   %s; talked %s, charged %s\n", recordClass(r), seconds(r.Talked.Round(100*time.Millisecond)), seconds(r.Reported))
			if r.TraceID != "" {
				fmt.Fprintf(b, "  trace    %s\n", r.TraceID)
			}
			fmt.Fprintf(b, "  release  by %s: %s (Q.850 cause %d, SIP %d)\n", r.ReleasedBy, r.Reason, r.Cause, r.Status)
		}
	}
	if len(c.Journal) > 0 {
		fmt.Fprintf(b, "  money    reserved %s = debited %s + refunded %s\n", s.Reserved, s.Debited, s.Refunded)
		fmt.Fprintf(b, "  balance  %s - %s%s = %s %s, frozen %s\n", s.Opening, s.Debited, elsewhereText(c.Elsewhere), s.Amount, c.Currency, s.Frozen)
	}
	if s.Overrun > 0 {
		fmt.Fprintf(b, "  overrun  %s used beyond what the account could pay\n", s.Overrun)
	}
	for _, fault := range s.Faults {
		fmt.Fprintf(b, "  DOES NOT ADD UP: %s\n", fault)
	}
}

func recordClass(r *vpnlogic.CallRecord) string {
	if r.Class == "" {
		return "no VPN call"
	}
	return string(r.Class) + ", " + string(r.Charging)
}

// requestText writes a CCR: "CCR-U #1 used 2 s (threshold)".
func requestText(r *vpnlogic.ChargeRequest) string {
	letter := map[vpnlogic.ChargeType]string{
		vpnlogic.ChargeInitial: "I", vpnlogic.ChargeUpdate: "U", vpnlogic.ChargeTerminate: "T",
	}[r.Type]
	s := fmt.Sprintf("CCR-%s #%d", letter, r.Number)
	if r.Type != vpnlogic.ChargeInitial {
		s += " used " + seconds(r.Used)
	}
	if why := reportText(r.Report); why != "" {
		s += " (" + why + ")"
	}
	if r.Wanted != 0 {
		s += fmt.Sprintf(" group %d -> %d", r.RatingGroup, r.Wanted)
	}
	if r.Repeat {
		s += " again"
	}
	return s
}

func reportText(r vpnlogic.ReportReason) string {
	switch r {
	case vpnlogic.ReportThreshold:
		return "threshold"
	case vpnlogic.ReportFinal:
		return "final"
	case vpnlogic.ReportQuotaExhausted:
		return "quota exhausted"
	case vpnlogic.ReportValidityTime:
		return "validity over"
	case vpnlogic.ReportRatingChange:
		return "other price"
	case vpnlogic.ReportForced:
		return "asked for"
	}
	return ""
}

// answerText writes a CCA: "CCA 2001 granted 2 s, final".
func answerText(a *vpnlogic.ChargeAnswer) string {
	if a.Code == 0 {
		return "no answer"
	}
	s := fmt.Sprintf("CCA %d", a.Code)
	if a.Reason != "" {
		s += " " + a.Reason
	}
	if a.Grant.Time > 0 {
		s += " granted " + seconds(a.Grant.Time)
	}
	if a.Grant.Final {
		s += ", final"
	}
	return s
}

// paper is what is drawn so far.
type paper struct {
	text  strings.Builder
	width int
	gap   int // between two lifelines
}

func newPaper(width int) *paper {
	p := &paper{width: width, gap: (width - timeWidth - 4) / (len(parties) - 1)}
	head := []byte(strings.Repeat(" ", width))
	for i, name := range parties {
		if name == "ocs" {
			name = "OCS"
		}
		start := max(0, p.column(i)-len(name)/2)
		copy(head[min(start, width-len(name)):], name)
	}
	p.put(string(head))
	p.put(string(p.lifelines("")))
	return p
}

// column is where lifeline i runs.
func (p *paper) column(i int) int { return timeWidth + i*p.gap }

// lifelines is a row with nothing but the time and the four lines.
func (p *paper) lifelines(at string) []byte {
	row := []byte(strings.Repeat(" ", p.width))
	copy(row, at)
	for i := range parties {
		row[p.column(i)] = '|'
	}
	return row
}

// arrow draws one message. A text that does not fit stands above its arrow.
func (p *paper) arrow(at, from, to, text string) {
	text = ascii(text)
	a, b := p.column(party(from)), p.column(party(to))
	left, right := min(a, b), max(a, b)
	if len(text)+6 > right-left {
		p.note(at, parties[min(party(from), party(to))], text)
		at, text = "", ""
	}
	row := p.lifelines(at)
	for i := left + 1; i < right; i++ {
		row[i] = '-'
	}
	if text != "" {
		copy(row[left+3:], " "+text+" ")
	}
	if b > a {
		row[right-1] = '>'
	} else {
		row[left+1] = '<'
	}
	p.put(string(row))
}

// note writes text to the right of a lifeline, on as many rows as it takes.
func (p *paper) note(at, of, text string) {
	start := p.column(party(of)) + 2
	for i, line := range wrap(ascii(text), p.width-start) {
		if i > 0 {
			at = ""
		}
		row := p.lifelines(at)
		for j := start; j < min(start+len(line)+1, p.width); j++ {
			row[j] = ' '
		}
		copy(row[start:], line)
		p.put(string(row))
	}
}

// money tells below a CCA what its step moved; nothing when nothing moved.
func (p *paper) money(steps map[stepKey]Moved, r *vpnlogic.ChargeRequest) {
	if r == nil {
		return
	}
	m, moved := steps[stepKey{ocs.StepType(r.Type), r.Number}]
	if !moved {
		return
	}
	text := fmt.Sprintf("debited %s refunded %s reserved %s", m.Debited, m.Refunded, m.Reserved)
	if m.Overrun > 0 {
		text += fmt.Sprintf(" overrun %s", m.Overrun)
	}
	p.note("", "gygate", "  "+text)
	p.note("", "gygate", fmt.Sprintf("  balance %s, of it frozen %s", m.Amount, m.Frozen))
}

func (p *paper) rule() { p.put("  " + strings.Repeat("-", p.width-2)) }

func (p *paper) put(row string) { p.text.WriteString(strings.TrimRight(row, " ") + "\n") }

// party is the lifeline of a name; unknown names stand with the gateway.
func party(name string) int {
	for i, p := range parties {
		if p == name {
			return i
		}
	}
	return 1
}

// offset writes the time since the call request: "+0.012".
func offset(d time.Duration) string { return fmt.Sprintf("  +%.3f", d.Seconds()) }

// ascii keeps columns aligned whatever the terminal makes of other characters.
func ascii(text string) string {
	text = strings.NewReplacer("→", "->", "…", "...").Replace(text)
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, text)
}

// wrap breaks text between words into lines of at most n bytes, keeping its
// indent; a longer word is cut.
func wrap(text string, n int) []string {
	indent := text[:len(text)-len(strings.TrimLeft(text, " "))]
	var lines []string
	line := indent
	for word := range strings.FieldsSeq(text) {
		if len(strings.TrimSpace(line)) > 0 && len(line)+1+len(word) > n {
			lines = append(lines, line)
			line = indent
		}
		if strings.TrimSpace(line) != "" {
			line += " "
		}
		line += word
		for len(line) > n {
			lines = append(lines, line[:n])
			line = indent + line[n:]
		}
	}
	return append(lines, line)
}
