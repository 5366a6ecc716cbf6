package exchange

import (
	"testing"
	"testing/synctest"
	"time"
)

// A pause ends with its time or with the client's going, whichever is first,
// and at that very moment.
func TestPause(t *testing.T) {
	t.Parallel()
	const pause, going = time.Minute, 12345 * time.Microsecond
	for name, c := range map[string]struct {
		goes func(*Exchange) // nil: the client stays
		want time.Duration
	}{
		"stays":  {nil, pause},
		"goes":   {func(x *Exchange) { go func() { time.Sleep(going); x.ClientGone(); x.ClientGone() }() }, going},
		"before": {func(x *Exchange) { x.ClientGone() }, 0},
		"twice":  {func(x *Exchange) { x.Pause(time.Second); x.ClientGone() }, 0},
		"another": {func(x *Exchange) {
			x.ClientGone()
			x.Pause(pause)
			x.Attach(nil)
			go func() { time.Sleep(going); x.ClientGone() }()
		}, going},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				x := new(Exchange)
				watched := 0
				x.Waiting = func(on bool) {
					if watched--; on {
						watched += 2
					}
				}
				if c.goes != nil {
					c.goes(x)
				}
				begin := time.Now()
				if gone := x.Pause(pause); gone != (c.goes != nil) {
					t.Errorf("gone: %v", gone)
				}
				if took := time.Since(begin); took != c.want {
					t.Errorf("it took %v, want %v", took, c.want)
				}
				if watched != 0 {
					t.Errorf("the driver looks after %d waits", watched)
				}
			})
		})
	}
}
