package gy

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"gygate/ocs"
)

// alarm is something in a request that was answered by the rules, but that
// somebody should look at.
type alarm uint8

// The alarms.
const (
	alarmMismatch alarm = iota // a repeat with another content (conformance B-023)
	alarmClock                 // an Event-Timestamp that cannot be (B-010)
	alarmUse                   // more seconds than the clock allows (D-017)
	alarmRefund                // a refund that no debit or permission covers (B-175)
	alarmSession               // a CCR-I on an open session (B-033, B-046)
	alarmOctets                // a total that is not the sum of its parts (B-079)
	alarmPrice                 // what nobody has set a price for (B-097, B-154)
	alarmContext               // a service that is not served (B-003)
	alarmsCount   = iota
)

// alarms are their names in metrics, and what the log says.
var alarms = [alarmsCount]struct{ name, text string }{
	alarmMismatch: {"dup_content_mismatch", "a repeat differs from the request it repeats; answered with the stored outcome"},
	alarmClock:    {"event_timestamp", "an Event-Timestamp is out of range: dated by the arrival; set the client's clock"},
	alarmUse:      {"implausible_usage", "more seconds are reported than the session is old: charged up to its age; look at the client"},
	alarmRefund:   {"refund_refused", "a refund that no debit covers was refused; refund_max of the peer allows refunds without one"},
	alarmSession:  {"session_in_use", "a first interrogation on an open session was refused; Session-Ids must be unique"},
	alarmOctets:   {"octets_disagree", "CC-Total-Octets is not the sum of input and output; the total was charged"},
	alarmPrice:    {"no_price", "a request was refused with 5031: no price for its rating group, or for where its call goes; gygate tariff list shows the prices, gygate tariff import adds one"},
	alarmContext:  {"unknown_context", "a request was refused with 5031: its Service-Context-Id is not served; gygate service list shows the services, gygate service set adds one"},
}

// alarmPause is between two log lines of a kind, so that a broken client does not
// fill the log; the metric counts all.
const alarmPause = time.Second

// lastAlarms remembers when each kind was logged, as Unix nanoseconds.
type lastAlarms [alarmsCount]atomic.Int64

// due reports whether the kind may be logged now.
func (l *lastAlarms) due(kind alarm, now time.Time) bool {
	last := l[kind].Load()
	return now.UnixNano()-last >= int64(alarmPause) && l[kind].CompareAndSwap(last, now.UnixNano())
}

var alarmLabels = func() (labels [alarmsCount]metric.MeasurementOption) {
	for kind := range labels {
		labels[kind] = metric.WithAttributeSet(attribute.NewSet(attribute.String("kind", alarms[kind].name)))
	}
	return labels
}()

func (x *exchange) raise(kind alarm, more ...any) {
	x.server.metrics.alarms.Add(context.Background(), 1, alarmLabels[kind])
	if x.server.alarmed.due(kind, time.Now()) {
		x.log(slog.LevelWarn, alarms[kind].text, append([]any{"alarm", alarms[kind].name}, more...)...)
	}
}

// The range of a believable Event-Timestamp about the arrival: requests may come a
// day late, from a client that had nobody to send them to. The charging rules look
// closer, at the age of the session.
const (
	clockAhead  = 60 * time.Second
	clockBehind = 24 * time.Hour
)

// watchRequest raises what can be seen in the request.
func (x *exchange) watchRequest(r *CCR) {
	if at := r.EventTimestamp; !at.IsZero() {
		if ahead := at.Sub(x.began); ahead > clockAhead || ahead < -clockBehind {
			x.raise(alarmClock, "ahead", ahead.Round(time.Second))
		}
	}
	services := r.services()
	for i := range services {
		for j := range services[i].Used {
			if services[i].Used[j].disagrees() {
				x.raise(alarmOctets)
				return
			}
		}
	}
}

// disagrees reports whether the octets of both directions are given and do not
// make up the total.
func (u *ServiceUnits) disagrees() bool {
	return u.Total.Present && u.Input.Present && u.Output.Present && u.Total.Value != u.Input.Value+u.Output.Value
}

// watchOutcome raises what the charging rules have found.
func (x *exchange) watchOutcome(o *ocs.Outcome) {
	switch {
	case o.Mismatch:
		x.raise(alarmMismatch)
	case o.Replayed: // was raised when it was new
	case o.Refusal == ocs.SessionExists:
		x.raise(alarmSession)
	case o.Refusal == ocs.RefundTooLarge, o.Refusal == ocs.RefundNotLinked:
		x.raise(alarmRefund, "err", string(o.Refusal))
	}
	if o.Replayed {
		return
	}
	x.watchPrices(o)
	for i := range o.Items {
		if capped := o.Items[i].Capped; capped > 0 {
			x.raise(alarmUse, "capped_seconds", capped)
		}
	}
}

// watchPrices raises, once a request, that something is asked for that is not sold.
// The called number may be the reason; like all numbers it stays out of the log.
func (x *exchange) watchPrices(o *ocs.Outcome) {
	switch o.Refusal {
	case ocs.UnknownContext:
		x.raise(alarmContext, "context", contextName(x.again().ServiceContextID))
		return
	case ocs.Unrated:
		x.raisePrice(x.culprit(o))
		return
	}
	for i := range o.Items {
		if o.Items[i].Refusal == ocs.Unrated {
			x.raisePrice(o.Items[i].Target)
			return
		}
	}
}

func (x *exchange) raisePrice(t ocs.Target) {
	r := x.again()
	x.raise(alarmPrice, "group", x.pricedBy(r, t), "context", contextName(r.ServiceContextID))
}

// pricedBy is the rating group under which the price of a target is looked up.
func (x *exchange) pricedBy(r *CCR, t ocs.Target) uint32 {
	if group, ok := r.classGroup(&x.from, r.services()); ok {
		return group
	}
	if group, _ := service(t); group.Present {
		return group.Value
	}
	return x.context.DefaultRatingGroup
}
