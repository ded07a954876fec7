package gy

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"gygate/ocs"
	"gygate/vpnlogic"
)

const (
	// journalPause gathers changes into one write: what happened in the last
	// moment before a crash is not kept, and the charging system's supervision
	// ends such a session.
	journalPause = 100 * time.Millisecond
	// journalRetry is the pause after a write that failed.
	journalRetry = 2 * time.Second
	// journalWrite bounds one write.
	journalWrite = 10 * time.Second
)

// journal keeps the last state of each session in the Keeper, in the background:
// a session that changes often is written once a pause. nil keeps nothing. What
// waits to be written is bounded by the sessions and late requests there are.
type journal struct {
	keeper  Keeper
	logger  *slog.Logger
	stop    chan struct{} // closed by shutdown: no more pauses
	failing bool          // of the writer: what tell has said

	mu      sync.Mutex
	changes map[string]change // by Session-Id
	writing bool
	closed  bool
	failed  error // of the last write
	group   sync.WaitGroup
}

// change is what is to be kept of a session; nil: nothing any more.
type change func() Kept

func newJournal(keeper Keeper, logger *slog.Logger) *journal {
	if keeper == nil {
		return nil
	}
	return &journal{keeper: keeper, logger: logger, stop: make(chan struct{}), changes: make(map[string]change)}
}

// sending notes a request that is about to go out: were it the last deed of this
// process, it would have to be sent again, and the session ended behind it.
func (j *journal) sending(ccr *CCR, s session, again repeat) {
	if j == nil {
		return
	}
	since := time.Now()
	j.put(ccr.SessionID, func() Kept {
		again := repeat{sent: true, endToEnd: again.endToEnd}
		switch ccr.Type {
		case ocs.Terminate:
			return keptReport(ccr, s, since, again)
		case ocs.Update:
			return keep(s, since, again, ccr, lastReport(ccr, since))
		default:
			// The call was never connected: nothing to pay, only to end.
			return keep(s, since, repeat{sent: true}, lastReport(ccr, since))
		}
	})
}

// answered notes what is left to do for the session after an answer, or after Tx
// without one.
func (j *journal) answered(ccr *CCR, s session, a vpnlogic.ChargeAnswer) {
	switch {
	case j == nil:
	case !a.SessionOpen:
		j.put(ccr.SessionID, nil)
	case a.Result == vpnlogic.ChargeUnreachable:
		j.sending(ccr, s, s.last)
	default:
		since := time.Now()
		j.put(ccr.SessionID, func() Kept { return keep(s, since, repeat{sent: true}, lastReport(ccr, since)) })
	}
}

// keep notes a request that waits in the background.
func (j *journal) keep(k Kept) {
	if j != nil {
		j.put(k.Session, func() Kept { return k })
	}
}

// drop notes that nothing is left to do.
func (j *journal) drop(session string) {
	if j != nil {
		j.put(session, nil)
	}
}

// lastReport is the final interrogation of a call that ends with this process: of
// the time since the last report nobody knows, so none is charged (C-111).
func lastReport(last *CCR, at time.Time) *CCR {
	ccr := *last
	ccr.Type, ccr.Number, ccr.EventTimestamp = ocs.Terminate, last.Number+1, at
	ccr.MultipleServices = Optional[uint32]{}
	ccr.TerminationCause = Some(causeLinkBroken)
	ccr.Services = []Service{{
		RatingGroup: wanted(last).RatingGroup,
		Used:        []UsedUnits{{ServiceUnits: ServiceUnits{Time: Some(uint32(0))}}},
		Reasons:     []uint32{uint32(vpnlogic.ReportFinal)},
	}}
	if last.Call.IMS != nil {
		call := *last.Call.IMS
		call.SIPMethod, call.CauseCode = "", Some(codeInternalFailed)
		ccr.Call.IMS = &call
	}
	return &ccr
}

func (j *journal) put(session string, c change) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.closed {
		return
	}
	j.changes[session] = c
	if !j.writing {
		j.writing = true
		j.group.Go(j.write)
	}
}

// write stores changes until there are none.
func (j *journal) write() {
	for pause := journalPause; ; {
		j.wait(pause)
		changes := j.take()
		if len(changes) == 0 {
			return
		}
		pause = journalPause
		err := j.store(changes)
		j.tell(err)
		if err != nil {
			pause = journalRetry
			if !j.putBack(changes, err) {
				return
			}
		}
	}
}

// tell says once that the journal cannot be written, and once that it can again: the
// database may be away for long.
func (j *journal) tell(err error) {
	switch failing := err != nil; {
	case failing && !j.failing:
		j.logger.Error("charging journal cannot be written; what is unanswered would not outlive a crash now: check the database", "err", err)
	case !failing && j.failing:
		j.logger.Info("charging journal is written again")
	}
	j.failing = err != nil
}

func (j *journal) wait(pause time.Duration) {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-j.stop:
	}
}

// take takes all changes; without any the writer ends.
func (j *journal) take() map[string]change {
	j.mu.Lock()
	defer j.mu.Unlock()
	changes := j.changes
	j.changes = make(map[string]change)
	j.writing = len(changes) > 0
	if j.writing {
		j.failed = nil
	}
	return changes
}

// putBack keeps what could not be written unless there is news of it. After
// shutdown there is no further try: false.
func (j *journal) putBack(changes map[string]change, err error) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	for session, c := range changes {
		if _, news := j.changes[session]; !news {
			j.changes[session] = c
		}
	}
	j.failed = err
	j.writing = !j.closed
	return j.writing
}

func (j *journal) store(changes map[string]change) error {
	ctx, cancel := context.WithTimeout(context.Background(), journalWrite)
	defer cancel()
	var kept []Kept
	var dropped []string
	for session, c := range changes {
		if c == nil {
			dropped = append(dropped, session)
		} else {
			kept = append(kept, c())
		}
	}
	if len(kept) > 0 {
		if err := j.keeper.Keep(ctx, kept); err != nil {
			return fmt.Errorf("keep %d sessions: %w", len(kept), err)
		}
	}
	if len(dropped) > 0 {
		if err := j.keeper.Drop(ctx, dropped); err != nil {
			return fmt.Errorf("drop %d sessions: %w", len(dropped), err)
		}
	}
	return nil
}

// unwritten reports that the last state of a session could not be written, when the
// writer has ended.
func (j *journal) unwritten(session string) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	_, left := j.changes[session]
	return left
}

// shutdown writes what is left; each write is bounded by itself.
func (j *journal) shutdown() error {
	if j == nil {
		return nil
	}
	j.mu.Lock()
	if !j.closed {
		j.closed = true
		close(j.stop)
	}
	j.mu.Unlock()
	j.group.Wait()
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.failed != nil {
		return fmt.Errorf("charging journal: %w", j.failed)
	}
	return nil
}
