package worker

import (
	"fmt"
	"time"

	"github.com/perchserver/perch/internal/exchange"
)

// rapidFailWindow is the minute of rapidFailsPerMinute. It tumbles: the count
// starts anew when the window is over (spec 2.8).
const rapidFailWindow = time.Minute

// rapidFails counts crashes and failed starts of one application.
type rapidFails struct {
	limit    int
	count    int
	since    time.Time // start of the window
	last     error     // the last failure counted
	reported bool      // that the limit is exceeded, in this window
}

// add counts one failure.
func (r *rapidFails) add(now time.Time, err error) {
	r.roll(now)
	r.count++
	r.last = err
}

// roll starts a new window when the old one is over.
func (r *rapidFails) roll(now time.Time) {
	if now.Sub(r.since) >= rapidFailWindow {
		*r = rapidFails{limit: r.limit, since: now}
	}
}

// blocked returns an error while more failures than the limit were counted.
func (r *rapidFails) blocked(now time.Time) *RapidFailError {
	r.roll(now)
	if r.count <= r.limit {
		return nil
	}
	return &RapidFailError{Limit: r.limit, Wait: r.since.Add(rapidFailWindow).Sub(now), Err: r.last}
}

// RapidFailError refuses to start an application that failed too often.
type RapidFailError struct {
	Limit int           // rapidFailsPerMinute
	Wait  time.Duration // until it may be started again
	Err   error         // the last failure
}

// Error names the limit, the time to wait and the last failure.
func (e *RapidFailError) Error() string {
	return fmt.Sprintf("the application failed more than %d times in one minute and is not started for %v; the last failure: %v",
		e.Limit, e.Wait.Round(time.Second), e.Err)
}

// Unwrap returns the last failure.
func (e *RapidFailError) Unwrap() error { return e.Err }

// Report tells the last failure, and that it is not tried again for a while.
func (e *RapidFailError) Report() exchange.Report {
	r := exchange.Report{Step: "rapid-fail protection"}
	if last, ok := e.Err.(exchange.Reporter); ok {
		r = last.Report()
	} else {
		r.Facts = append(r.Facts, exchange.Fact{Name: "Last failure", Value: e.Err.Error()})
		r.Advice = append(r.Advice, "Read the application's own log and the host's log for the reason of its crashes.")
	}
	r.Title = "The application failed too often and is not started for now"
	r.Facts = append([]exchange.Fact{
		{Name: "rapidFailsPerMinute", Value: fmt.Sprint(e.Limit)},
		{Name: "Next start in", Value: e.Wait.Round(time.Second).String()},
	}, r.Facts...)
	return r
}

// reportRapidFail logs once per window that the limit is exceeded. Callers
// hold p.mu.
func (p *Pool) reportRapidFail(err *RapidFailError) {
	if p.rapid.reported {
		return
	}
	p.rapid.reported = true
	p.log.Error("the application failed too often and is not started for now", "event", EventRapidFail,
		"limit", err.Limit, "wait", err.Wait.Round(time.Second), "err", err.Err)
}
