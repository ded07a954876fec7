package load

import (
	"fmt"
	"strconv"

	"gygate/diameter"
)

// codeNames are the names of the Result-Codes that a charging system refuses with
// (RFC 6733 §7.1, RFC 8506 §9).
var codeNames = map[diameter.ResultCode]string{
	diameter.UnableToDeliver:            "DIAMETER_UNABLE_TO_DELIVER",
	diameter.RealmNotServed:             "DIAMETER_REALM_NOT_SERVED",
	diameter.TooBusy:                    "DIAMETER_TOO_BUSY",
	diameter.LoopDetected:               "DIAMETER_LOOP_DETECTED",
	diameter.RedirectIndication:         "DIAMETER_REDIRECT_INDICATION",
	diameter.ApplicationUnsupported:     "DIAMETER_APPLICATION_UNSUPPORTED",
	diameter.UnknownPeer:                "DIAMETER_UNKNOWN_PEER",
	diameter.ElectionLost:               "DIAMETER_ELECTION_LOST",
	diameter.EndUserServiceDenied:       "DIAMETER_END_USER_SERVICE_DENIED",
	diameter.CreditControlNotApplicable: "DIAMETER_CREDIT_CONTROL_NOT_APPLICABLE",
	diameter.CreditLimitReached:         "DIAMETER_CREDIT_LIMIT_REACHED",
	diameter.AVPUnsupported:             "DIAMETER_AVP_UNSUPPORTED",
	diameter.UnknownSessionID:           "DIAMETER_UNKNOWN_SESSION_ID",
	diameter.AuthorizationRejected:      "DIAMETER_AUTHORIZATION_REJECTED",
	diameter.InvalidAVPValue:            "DIAMETER_INVALID_AVP_VALUE",
	diameter.MissingAVP:                 "DIAMETER_MISSING_AVP",
	diameter.ContradictingAVPs:          "DIAMETER_CONTRADICTING_AVPS",
	diameter.UnableToComply:             "DIAMETER_UNABLE_TO_COMPLY",
	diameter.NoCommonApplication:        "DIAMETER_NO_COMMON_APPLICATION",
	diameter.UserUnknown:                "DIAMETER_USER_UNKNOWN",
	diameter.RatingFailed:               "DIAMETER_RATING_FAILED",
}

// nameCode is a Result-Code with its name, if it has a known one.
func nameCode(code diameter.ResultCode) string {
	if name := codeNames[code]; name != "" {
		return fmt.Sprintf("%d %s", code, name)
	}
	return strconv.Itoa(int(code))
}

// refusalsOf counts the answers with one Result-Code.
type refusalsOf struct {
	count int64
	text  string // the first Error-Message
}

// refuse counts an answer that is no success, and keeps the first Error-Message of
// each Result-Code.
func (c *conn) refuse(code diameter.ResultCode, body []byte) {
	if _, known := c.codes[code]; !known && len(c.codes) == codesMax {
		code = 0
	}
	r := c.codes[code]
	if r == nil {
		r = new(refusalsOf)
		if text, found := diameter.Find(body, diameter.ErrorMessage); found {
			r.text = text.Text()
		}
		c.codes[code] = r
	}
	r.count++
}

// commonest is the most frequent refusal of a load in words, "" when there was none.
func commonest(conns []*conn) string {
	all := map[diameter.ResultCode]refusalsOf{}
	top := diameter.ResultCode(0)
	for _, c := range conns {
		for code, r := range c.codes {
			if code.Success() { // DIAMETER_LIMITED_SUCCESS
				continue
			}
			sum := all[code]
			sum.count += r.count
			if sum.text == "" {
				sum.text = r.text
			}
			all[code] = sum
		}
	}
	for code, r := range all {
		if best := all[top].count; r.count > best || r.count == best && code < top {
			top = code
		}
	}
	switch r := all[top]; {
	case r.count == 0:
		return ""
	case r.text == "":
		return fmt.Sprintf("%d times Result-Code %s", r.count, nameCode(top))
	default:
		return fmt.Sprintf("%d times Result-Code %s, %q", r.count, nameCode(top), r.text)
	}
}
