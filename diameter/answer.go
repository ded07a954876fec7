package diameter

import "encoding/binary"

// Origin is this node as it stands in its answers.
type Origin struct {
	Host    string // DiameterIdentity
	Realm   string
	StateID uint32 // Origin-State-Id; 0: not sent
}

// failedMax bounds what an error answer repeats of the request, so that an
// answer never outgrows MessageMax.
const failedMax = 64 << 10

// StartAnswer appends header and first AVPs of the answer to req: identifiers
// and P bit mirrored, T and reserved bits clear, E bit for a protocol error;
// then Session-Id if the request has one, Result-Code, Origin-Host and
// Origin-Realm, in the order of the grammar (RFC 6733 §6.2, §7.2). The caller
// appends what else belongs into the answer and calls FinishAnswer.
func StartAnswer(b []byte, req Message, code ResultCode, local Origin) []byte {
	session, ok := req.Find(SessionID)
	h := req.Header
	h.Flags &= FlagProxiable
	generic := code.Protocol() || !ok && hasSession(req.Command)
	if generic {
		h.Flags |= FlagError
	}
	b = Start(b, h)
	if ok {
		b = AppendBytes(b, SessionID, session.Data)
	}
	if !generic {
		b = AppendUint32(b, ResultCodeAVP, uint32(code))
	}
	b = AppendString(b, OriginHost, local.Host)
	b = AppendString(b, OriginRealm, local.Realm)
	if generic {
		b = AppendUint32(b, ResultCodeAVP, uint32(code))
	}
	return b
}

// hasSession reports whether the command's own grammar cannot be met without a
// Session-Id, so that its answer takes the generic form with the E bit.
func hasSession(command uint32) bool {
	return command == CmdCreditControl || command == CmdReAuth || command == CmdAbortSession
}

// FinishAnswer appends the request's Proxy-Info AVPs, octet for octet and in
// order (RFC 6733 §6.2), and writes the length of the answer at start.
func FinishAnswer(b []byte, start int, req Message) []byte {
	for a := range Scan(req.Body()) {
		if a.Is(ProxyInfo) {
			b = AppendRaw(b, a.Raw)
		}
	}
	return Finish(b, start)
}

// ErrorAnswer appends the whole answer that reports e. The answer to a CCR
// repeats CC-Request-Type and CC-Request-Number where they can be read.
// Nothing is appended when e has no Code: then there is no answer.
func ErrorAnswer(b []byte, req Message, e *Error, local Origin) []byte {
	if e.Code == 0 {
		return b
	}
	start := len(b)
	b = StartAnswer(b, req, e.Code, local)
	if req.Command == CmdCreditControl && !e.Code.Protocol() {
		b = appendRequestKey(b, req)
	}
	if local.StateID != 0 {
		b = AppendUint32(b, OriginStateID, local.StateID)
	}
	return FinishAnswer(AppendFault(b, e, failedMax), start, req)
}

// AppendFault appends Error-Message and Failed-AVP. Of the request no more than
// most octets are repeated; a longer AVP is reported by text alone.
func AppendFault(b []byte, e *Error, most int) []byte {
	if e.Text != "" {
		b = AppendString(b, ErrorMessage, e.Text)
	}
	if len(e.Failed) > 0 && len(e.Failed) <= most {
		b = AppendGroup(b, FailedAVP, func(b []byte) []byte { return AppendRaw(b, e.Failed) })
	}
	return b
}

// appendRequestKey appends what every CCA has besides the Result-Code.
func appendRequestKey(b []byte, req Message) []byte {
	b = AppendUint32(b, AuthApplicationID, AppCreditControl)
	if kind, ok := req.Find(CCRequestType); ok && kind.Uint32() >= 1 && kind.Uint32() <= eventRequest {
		b = AppendUint32(b, CCRequestType, kind.Uint32())
	}
	if number, ok := req.Find(CCRequestNumber); ok && len(number.Data) == 4 {
		b = AppendUint32(b, CCRequestNumber, binary.BigEndian.Uint32(number.Data))
	}
	return b
}
