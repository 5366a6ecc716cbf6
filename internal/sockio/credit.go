package sockio

import "time"

// Credit is how long a peer that must send so many bytes a second may be
// waited for, over any number of waits: for a grace, and for what its bytes
// have earned. What is earned is bounded (see patience), or a fast megabyte
// would buy an hour of silence. The zero value has the whole grace left.
type Credit struct {
	spent time.Duration // of the grace; negative: earned beyond it
}

// Left returns how long the next wait may take: a tick at the least, for what
// is there already has to be found.
func (c *Credit) Left(grace time.Duration) time.Duration { return max(grace-c.spent, Tick) }

// Spent reports whether waits have taken more than there was, beyond what their
// limits and the clock may be late by: who sends a byte whenever a wait is about to
// end is not to be waited for any longer.
func (c *Credit) Spent(grace time.Duration) bool { return c.spent > grace+3*Tick }

// Move takes a wait into account that brought n bytes.
func (c *Credit) Move(n int, waited, grace time.Duration, rate int64) {
	c.spent += waited - time.Duration(n)*time.Second/time.Duration(rate)
	c.spent = max(c.spent, min(grace-patience*time.Second/time.Duration(rate), 0))
}
