package fsm

import "gygate/diameter"

// The peer state machine of RFC 6733 §5.6, as a pure function. I- stands for the
// initiator (connecting) connection, R- for the responder (listening) one.

// State is the state of one peer.
type State uint8

// The states of RFC 6733 §5.6. Closed, I-Open and R-Open are stable.
const (
	Closed State = iota
	WaitConnAck
	WaitICEA
	WaitConnAckElect
	WaitReturns
	ROpen
	IOpen
	Closing
)

// Event is what happens to a peer (RFC 6733 §5.6.2).
type Event uint8

// The events. SendMessage is absent: the writer takes messages in an open state
// only, and nothing else depends on them.
const (
	Start Event = iota
	Stop
	Timeout
	WinElection
	IRcvConnAck
	IRcvConnNack
	IRcvCEA
	IRcvNonCEA
	IRcvMessage
	IRcvDWR
	IRcvDWA
	IRcvDPR
	IRcvDPA
	IPeerDisc
	RConnCER
	RRcvMessage
	RRcvDWR
	RRcvDWA
	RRcvDPR
	RRcvDPA
	RPeerDisc
)

// Action is what the owner of the machine has to do (RFC 6733 §5.6.3).
type Action uint8

// The actions.
const (
	ISndConnReq Action = iota
	ISndCER
	ISndDWA
	ISndDPR
	ISndDPA
	IDisc
	RAccept
	RReject
	RSndCEA
	RSndDWA
	RSndDPR
	RSndDPA
	RDisc
	ProcessCER
	ProcessCEA
	ProcessDWR
	ProcessDWA
	Process
	Elect
	Cleanup
	Error
)

// On returns the state after e and what is to be done, in order. A pair that the
// table lacks changes nothing and asks for nothing.
func (s State) On(e Event) (State, []Action) {
	switch s {
	case Closed:
		return s.onClosed(e)
	case WaitConnAck:
		return s.onWaitConnAck(e)
	case WaitICEA:
		return s.onWaitICEA(e)
	case WaitConnAckElect:
		return s.onWaitConnAckElect(e)
	case WaitReturns:
		return s.onWaitReturns(e)
	case ROpen:
		return s.onROpen(e)
	case IOpen:
		return s.onIOpen(e)
	default:
		return s.onClosing(e)
	}
}

func (s State) onClosed(e Event) (State, []Action) {
	switch e {
	// Closed           Start            I-Snd-Conn-Req   Wait-Conn-Ack
	case Start:
		return WaitConnAck, do(ISndConnReq)
	//                  R-Conn-CER       R-Accept,        R-Open
	//                                   Process-CER,
	//                                   R-Snd-CEA
	case RConnCER:
		return ROpen, do(RAccept, ProcessCER, RSndCEA)
	}
	return s, nil
}

func (s State) onWaitConnAck(e Event) (State, []Action) {
	switch e {
	// Wait-Conn-Ack    I-Rcv-Conn-Ack   I-Snd-CER        Wait-I-CEA
	case IRcvConnAck:
		return WaitICEA, do(ISndCER)
	//                  I-Rcv-Conn-Nack  Cleanup          Closed
	case IRcvConnNack:
		return Closed, do(Cleanup)
	//                  R-Conn-CER       R-Accept,        Wait-Conn-Ack/
	//                                   Process-CER      Elect
	case RConnCER:
		return WaitConnAckElect, do(RAccept, ProcessCER)
	//                  Timeout          Error            Closed
	case Timeout:
		return Closed, do(Error)
	}
	return s, nil
}

func (s State) onWaitICEA(e Event) (State, []Action) {
	switch e {
	// Wait-I-CEA       I-Rcv-CEA        Process-CEA      I-Open
	case IRcvCEA:
		return IOpen, do(ProcessCEA)
	//                  R-Conn-CER       R-Accept,        Wait-Returns
	//                                   Process-CER,
	//                                   Elect
	case RConnCER:
		return WaitReturns, do(RAccept, ProcessCER, Elect)
	//                  I-Peer-Disc      I-Disc           Closed
	case IPeerDisc:
		return Closed, do(IDisc)
	//                  I-Rcv-Non-CEA    Error            Closed
	//                  Timeout          Error            Closed
	case IRcvNonCEA, Timeout:
		return Closed, do(Error)
	}
	return s, nil
}

func (s State) onWaitConnAckElect(e Event) (State, []Action) {
	switch e {
	// Wait-Conn-Ack/   I-Rcv-Conn-Ack   I-Snd-CER,Elect  Wait-Returns
	// Elect
	case IRcvConnAck:
		return WaitReturns, do(ISndCER, Elect)
	//                  I-Rcv-Conn-Nack  R-Snd-CEA        R-Open
	case IRcvConnNack:
		return ROpen, do(RSndCEA)
	//                  R-Peer-Disc      R-Disc           Wait-Conn-Ack
	case RPeerDisc:
		return WaitConnAck, do(RDisc)
	//                  R-Conn-CER       R-Reject         Wait-Conn-Ack/
	//                                                    Elect
	case RConnCER:
		return s, do(RReject)
	//                  Timeout          Error            Closed
	case Timeout:
		return Closed, do(Error)
	}
	return s, nil
}

func (s State) onWaitReturns(e Event) (State, []Action) {
	switch e {
	// Wait-Returns     Win-Election     I-Disc,R-Snd-CEA R-Open
	//                  I-Peer-Disc      I-Disc,          R-Open
	//                                   R-Snd-CEA
	case WinElection, IPeerDisc:
		return ROpen, do(IDisc, RSndCEA)
	//                  I-Rcv-CEA        R-Disc           I-Open
	case IRcvCEA:
		return IOpen, do(RDisc)
	//                  R-Peer-Disc      R-Disc           Wait-I-CEA
	case RPeerDisc:
		return WaitICEA, do(RDisc)
	//                  R-Conn-CER       R-Reject         Wait-Returns
	case RConnCER:
		return s, do(RReject)
	//                  Timeout          Error            Closed
	case Timeout:
		return Closed, do(Error)
	}
	return s, nil
}

func (s State) onROpen(e Event) (State, []Action) {
	switch e {
	// R-Open           R-Rcv-Message    Process          R-Open
	case RRcvMessage:
		return s, do(Process)
	//                  R-Rcv-DWR        Process-DWR,     R-Open
	//                                   R-Snd-DWA
	case RRcvDWR:
		return s, do(ProcessDWR, RSndDWA)
	//                  R-Rcv-DWA        Process-DWA      R-Open
	case RRcvDWA:
		return s, do(ProcessDWA)
	//                  R-Conn-CER       R-Reject         R-Open
	case RConnCER:
		return s, do(RReject)
	//                  Stop             R-Snd-DPR        Closing
	case Stop:
		return Closing, do(RSndDPR)
	//                  R-Rcv-DPR        R-Snd-DPA        Closing
	case RRcvDPR:
		return Closing, do(RSndDPA)
	//                  R-Peer-Disc      R-Disc           Closed
	case RPeerDisc:
		return Closed, do(RDisc)
	}
	return s, nil
}

func (s State) onIOpen(e Event) (State, []Action) {
	switch e {
	// I-Open           I-Rcv-Message    Process          I-Open
	case IRcvMessage:
		return s, do(Process)
	//                  I-Rcv-DWR        Process-DWR,     I-Open
	//                                   I-Snd-DWA
	case IRcvDWR:
		return s, do(ProcessDWR, ISndDWA)
	//                  I-Rcv-DWA        Process-DWA      I-Open
	case IRcvDWA:
		return s, do(ProcessDWA)
	//                  R-Conn-CER       R-Reject         I-Open
	case RConnCER:
		return s, do(RReject)
	//                  Stop             I-Snd-DPR        Closing
	case Stop:
		return Closing, do(ISndDPR)
	//                  I-Rcv-DPR        I-Snd-DPA        Closing
	case IRcvDPR:
		return Closing, do(ISndDPA)
	//                  I-Peer-Disc      I-Disc           Closed
	case IPeerDisc:
		return Closed, do(IDisc)
	}
	return s, nil
}

func (s State) onClosing(e Event) (State, []Action) {
	switch e {
	// Closing          I-Rcv-DPA        I-Disc           Closed
	//                  I-Peer-Disc      I-Disc           Closed
	case IRcvDPA, IPeerDisc:
		return Closed, do(IDisc)
	//                  R-Rcv-DPA        R-Disc           Closed
	//                  R-Peer-Disc      R-Disc           Closed
	case RRcvDPA, RPeerDisc:
		return Closed, do(RDisc)
	//                  Timeout          Error            Closed
	case Timeout:
		return Closed, do(Error)
	// Departures: two DPRs that cross are both answered, or each end would
	// wait for the other's DPA until its timeout. A DWR and the answers to
	// requests of before the DPR are still taken.
	case IRcvDPR:
		return s, do(ISndDPA)
	case RRcvDPR:
		return s, do(RSndDPA)
	case IRcvDWR:
		return s, do(ISndDWA)
	case RRcvDWR:
		return s, do(RSndDWA)
	case IRcvMessage, RRcvMessage:
		return s, do(Process)
	}
	return s, nil
}

// WinsElection reports whether this node wins the election against the sender of
// a CER (RFC 6733 §5.6.4, A-014): the higher identity does, and closes the
// connection that it initiated itself.
func WinsElection(local, remote string) bool { return diameter.CompareIdentity(local, remote) > 0 }

// do names the actions of a row.
func do(actions ...Action) []Action { return actions }

var stateNames = [...]string{"Closed", "Wait-Conn-Ack", "Wait-I-CEA", "Wait-Conn-Ack/Elect",
	"Wait-Returns", "R-Open", "I-Open", "Closing"}

// String returns the RFC's name of the state.
func (s State) String() string { return stateNames[s] }

var eventNames = [...]string{"Start", "Stop", "Timeout", "Win-Election", "I-Rcv-Conn-Ack",
	"I-Rcv-Conn-Nack", "I-Rcv-CEA", "I-Rcv-Non-CEA", "I-Rcv-Message", "I-Rcv-DWR", "I-Rcv-DWA",
	"I-Rcv-DPR", "I-Rcv-DPA", "I-Peer-Disc", "R-Conn-CER", "R-Rcv-Message", "R-Rcv-DWR",
	"R-Rcv-DWA", "R-Rcv-DPR", "R-Rcv-DPA", "R-Peer-Disc"}

// String returns the RFC's name of the event.
func (e Event) String() string { return eventNames[e] }

var actionNames = [...]string{"I-Snd-Conn-Req", "I-Snd-CER", "I-Snd-DWA", "I-Snd-DPR", "I-Snd-DPA",
	"I-Disc", "R-Accept", "R-Reject", "R-Snd-CEA", "R-Snd-DWA", "R-Snd-DPR", "R-Snd-DPA", "R-Disc",
	"Process-CER", "Process-CEA", "Process-DWR", "Process-DWA", "Process", "Elect", "Cleanup", "Error"}

// String returns the RFC's name of the action.
func (a Action) String() string { return actionNames[a] }
