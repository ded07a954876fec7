package fsm

// The watchdog algorithm of RFC 3539 §3.4.1 and appendix A, as a pure function.
// It runs on top of the peer machine: a connection is up when that one reaches an
// open state.

// WatchdogState is the status of a peer in RFC 3539's terms.
type WatchdogState uint8

// The states of RFC 3539 appendix A.
const (
	Initial WatchdogState = iota // never opened
	Okay                         // up
	Suspect                      // failover has been initiated
	Down                         // closed
	Reopen                       // up again, but on probation
)

// reopenDWAs is how many answered watchdogs end the probation.
const reopenDWAs = 3

// Watchdog is the control block of one peer.
type Watchdog struct {
	State   WatchdogState
	Pending bool // a DWR is unanswered
	NumDWA  int  // answered in REOPEN; -1 after a first expiry there
}

// WatchdogEvent is what happens to the control block.
type WatchdogEvent uint8

// The events of RFC 3539 appendix A.
const (
	ReceiveDWA WatchdogEvent = iota
	ReceiveNonDWA
	TimerExpires
	ConnectionUp
	ConnectionDown
)

// WatchdogAction is what its owner has to do.
type WatchdogAction uint8

// The actions of RFC 3539 appendix A. SetWatchdog starts the timer anew with Tw
// and a jitter of up to two seconds either way.
const (
	SetWatchdog WatchdogAction = iota
	SendWatchdog
	Failover
	Failback
	CloseConnection
	AttemptOpen
	Throwaway
)

// On returns the control block after e and what is to be done, in order.
func (w Watchdog) On(e WatchdogEvent) (Watchdog, []WatchdogAction) {
	switch e {
	case ReceiveDWA:
		return w.onDWA()
	case ReceiveNonDWA:
		return w.onNonDWA()
	case TimerExpires:
		return w.onTimer()
	case ConnectionUp:
		return w.onUp()
	default:
		return w.onDown()
	}
}

func (w Watchdog) onDWA() (Watchdog, []WatchdogAction) {
	w.Pending = false
	switch w.State {
	// OKAY          Receive DWA          Pending = FALSE
	//                                    SetWatchdog()        OKAY
	case Okay:
		return w, watch(SetWatchdog)
	// SUSPECT       Receive DWA          Pending = FALSE
	//                                    Failback()
	//                                    SetWatchdog()        OKAY
	case Suspect:
		w.State = Okay
		return w, watch(Failback, SetWatchdog)
	// REOPEN        Receive DWA &        Pending = FALSE
	//               NumDWA == 2          NumDWA++
	//                                    Failback()           OKAY
	// REOPEN        Receive DWA &        Pending = FALSE
	//               NumDWA < 2           NumDWA++             REOPEN
	case Reopen:
		w.NumDWA++
		if w.NumDWA == reopenDWAs {
			w.State = Okay
			return w, watch(Failback)
		}
		return w, nil
	// INITIAL       Receive DWA          Pending = FALSE
	//                                    Throwaway()          INITIAL
	// DOWN          Receive DWA          Pending = FALSE
	//                                    Throwaway()          DOWN
	default:
		return w, watch(Throwaway)
	}
}

func (w Watchdog) onNonDWA() (Watchdog, []WatchdogAction) {
	switch w.State {
	// OKAY          Receive non-DWA      SetWatchdog()        OKAY
	case Okay:
		return w, watch(SetWatchdog)
	// SUSPECT       Receive non-DWA      Failback()
	//                                    SetWatchdog()        OKAY
	case Suspect:
		w.State = Okay
		return w, watch(Failback, SetWatchdog)
	// REOPEN        Receive non-DWA      Throwaway()          REOPEN
	// INITIAL       Receive non-DWA      Throwaway()          INITIAL
	// DOWN          Receive non-DWA      Throwaway()          DOWN
	default:
		return w, watch(Throwaway)
	}
}

func (w Watchdog) onTimer() (Watchdog, []WatchdogAction) {
	switch {
	// OKAY          Timer expires &      SendWatchdog()
	//               !Pending             SetWatchdog()
	//                                    Pending = TRUE       OKAY
	// REOPEN        Timer expires &      SendWatchdog()
	//               !Pending             SetWatchdog()
	//                                    Pending = TRUE       REOPEN
	case (w.State == Okay || w.State == Reopen) && !w.Pending:
		w.Pending = true
		return w, watch(SendWatchdog, SetWatchdog)
	// OKAY          Timer expires &      Failover()
	//               Pending              SetWatchdog()        SUSPECT
	case w.State == Okay:
		w.State = Suspect
		return w, watch(Failover, SetWatchdog)
	// SUSPECT       Timer expires        CloseConnection()
	//                                    SetWatchdog()        DOWN
	// REOPEN        Timer expires &      CloseConnection()
	//               Pending &            SetWatchdog()
	//               NumDWA < 0                                DOWN
	case w.State == Suspect, w.State == Reopen && w.NumDWA < 0:
		w.State = Down
		return w, watch(CloseConnection, SetWatchdog)
	// REOPEN        Timer expires &      NumDWA = -1
	//               Pending &            SetWatchdog()
	//               NumDWA >= 0                               REOPEN
	case w.State == Reopen:
		w.NumDWA = -1
		return w, watch(SetWatchdog)
	// INITIAL       Timer expires        AttemptOpen()
	//                                    SetWatchdog()        INITIAL
	// DOWN          Timer expires        AttemptOpen()
	//                                    SetWatchdog()        DOWN
	default:
		return w, watch(AttemptOpen, SetWatchdog)
	}
}

func (w Watchdog) onUp() (Watchdog, []WatchdogAction) {
	switch w.State {
	// INITIAL       Connection up        SetWatchdog()        OKAY
	case Initial:
		w.State = Okay
		return w, watch(SetWatchdog)
	// DOWN          Connection up        NumDWA = 0
	//                                    SendWatchdog()
	//                                    SetWatchdog()
	//                                    Pending = TRUE       REOPEN
	case Down:
		w.State, w.NumDWA, w.Pending = Reopen, 0, true
		return w, watch(SendWatchdog, SetWatchdog)
	}
	return w, nil
}

func (w Watchdog) onDown() (Watchdog, []WatchdogAction) {
	switch w.State {
	// OKAY          Connection down      CloseConnection()
	//                                    Failover()
	//                                    SetWatchdog()        DOWN
	case Okay:
		w.State, w.Pending = Down, false
		return w, watch(CloseConnection, Failover, SetWatchdog)
	// SUSPECT       Connection down      CloseConnection()
	//                                    SetWatchdog()        DOWN
	// REOPEN        Connection down      CloseConnection()
	//                                    SetWatchdog()        DOWN
	case Suspect, Reopen:
		w.State, w.Pending = Down, false
		return w, watch(CloseConnection, SetWatchdog)
	}
	return w, nil
}

// watch names the actions of a row.
func watch(actions ...WatchdogAction) []WatchdogAction { return actions }

var watchdogStateNames = [...]string{"INITIAL", "OKAY", "SUSPECT", "DOWN", "REOPEN"}

// String returns the RFC's name of the state.
func (s WatchdogState) String() string { return watchdogStateNames[s] }

var watchdogEventNames = [...]string{"Receive-DWA", "Receive-non-DWA", "Timer-expires",
	"Connection-up", "Connection-down"}

// String returns the RFC's name of the event.
func (e WatchdogEvent) String() string { return watchdogEventNames[e] }

var watchdogActionNames = [...]string{"SetWatchdog", "SendWatchdog", "Failover", "Failback",
	"CloseConnection", "AttemptOpen", "Throwaway"}

// String returns the RFC's name of the action.
func (a WatchdogAction) String() string { return watchdogActionNames[a] }
