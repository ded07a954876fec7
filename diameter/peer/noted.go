package peer

import (
	"log/slog"

	"gygate/diameter"
)

// notedMax bounds how many AVPs one connection logs: its peer chooses their codes.
const notedMax = 64

// noted logs the AVPs of newer releases that one peer's messages were let pass
// with, each once (D-066).
type noted struct {
	log  *slog.Logger
	dict *diameter.Dictionary
	seen map[uint32]bool // by code
}

func (n *noted) avp(a diameter.AVP) {
	if n.seen[a.Code] || len(n.seen) >= notedMax {
		return
	}
	if n.seen == nil {
		n.seen = map[uint32]bool{}
	}
	n.seen[a.Code] = true
	n.log.Info("diameter AVP ignored although it is mandatory: the dictionary does not know it", "avp", n.dict.Name(a.Code, a.Vendor))
}
