package aspnetcore

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/perchserver/perch/internal/exchange"
)

// script is a worker that fails with each of errs in turn and then answers.
type script struct {
	errs     []error
	gone     chan struct{}
	served   int
	borrowed int
	started  bool // the response begins before an error
}

func (s *script) acquire(context.Context) (Worker, error) { s.borrowed++; return s, nil }
func (s *script) Gone() <-chan struct{}                   { return s.gone }
func (s *script) Release()                                { s.borrowed-- }

func (s *script) Serve(x *exchange.Exchange) error {
	s.served++
	if s.served <= len(s.errs) {
		x.Response.Started = s.started
		return s.errs[s.served-1]
	}
	return nil
}

func resend() error { return &exchange.Error{Status: 502, SubStatus: 3, Resend: true} }

func unsent() error { return &exchange.Error{Status: 502, SubStatus: 3, Resend: true, Unsent: true} }

func TestServesAgainOnlyWhereThatDoesNoHarm(t *testing.T) {
	final := &exchange.Error{Status: 502, SubStatus: 3}
	for name, c := range map[string]struct {
		worker script
		served int
		fails  bool
	}{
		"answers":                  {script{}, 1, false},
		"may be sent again":        {script{errs: []error{resend()}}, 2, false},
		"only once":                {script{errs: []error{resend(), resend()}}, 2, true},
		"not reached after that":   {script{errs: []error{resend(), unsent()}}, 3, false},
		"not reached before that":  {script{errs: []error{unsent(), resend()}}, 3, false},
		"not reached, and twice":   {script{errs: []error{unsent(), resend(), resend()}}, 3, true},
		"never reached":            {script{errs: []error{unsent(), unsent(), unsent()}}, 3, true},
		"may not be sent again":    {script{errs: []error{final}}, 1, true},
		"response already begun":   {script{errs: []error{resend()}, started: true}, 1, true},
		"an error of another kind": {script{errs: []error{errors.New("no")}}, 1, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := c.worker
				w.gone = make(chan struct{})
				err := Handler(Settings{Acquire: w.acquire}).Serve(new(exchange.Exchange))
				if (err != nil) != c.fails || w.served != c.served {
					t.Errorf("served %d times with error %v, want %d and failure %v", w.served, err, c.served, c.fails)
				}
				if w.borrowed != 0 {
					t.Errorf("%d workers were not released", w.borrowed)
				}
			})
		})
	}
}

func TestWaitsForTheNewsOfADeathNotLonger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := script{errs: []error{resend()}, gone: make(chan struct{})}
		go func() {
			time.Sleep(30 * time.Millisecond)
			close(w.gone)
		}()
		begin := time.Now()
		if err := Handler(Settings{Acquire: w.acquire}).Serve(new(exchange.Exchange)); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(begin); took != 30*time.Millisecond {
			t.Errorf("took %v, want until the death was known", took)
		}
	})
}

func TestWaitEndsWhenTheClientGoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var x exchange.Exchange
		waits := func(ctx context.Context) (Worker, error) {
			<-ctx.Done()
			return nil, &exchange.Error{Status: 400, Err: ctx.Err()}
		}
		go func() {
			time.Sleep(time.Second)
			x.ClientGone()
			x.ClientGone()
		}()
		err := Handler(Settings{Acquire: waits}).Serve(&x)
		if !errors.Is(err, context.Canceled) {
			t.Errorf("error %v, want that the client has gone", err)
		}
	})
}
