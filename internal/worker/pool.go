// Package worker runs applications. A Pool is the long-lived state of one
// application; a Worker is one of its processes with everything below it; a
// slot holds at most one ready worker; a Channel is how a ready worker is
// reached. The pool starts a worker when the first request asks for one,
// replaces it when its settings change, starts it again after a crash, and
// sees to it that nothing of it is left when it ends.
//
// It stands behind handler/aspnetcore, which asks it for a worker per
// exchange. The package plan makes pools and joins them to their channels;
// nobody else imports this package. It imports exchange and its own folders
// spawn, ports and output, never a handler or configuration.
package worker

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/perchserver/perch/internal/exchange"
)

// Pool is the long-lived state of one application. All methods may be called
// at the same time.
type Pool struct {
	machine Machine
	log     *slog.Logger

	// The road of a request: no lock, no allocation, while the slot that it
	// meets is ready.
	slots   atomic.Pointer[[]*slot]
	turn    atomic.Uint32
	offline atomic.Pointer[offline] // nil: in service

	// halt ends every wait of the pool: it is cancelled when a stop has to
	// come to its end at once.
	halt    context.Context
	haltNow context.CancelFunc

	// tasks counts the goroutines of the pool: one per start, one per worker.
	tasks sync.WaitGroup

	// fixedPort has room for the one process that may use a configured port,
	// from before its start until nothing of it is left.
	fixedPort chan struct{}

	looking sync.Mutex // one reader of app_offline.htm at a time; taken before mu

	mu       sync.Mutex
	settings *Settings
	stopped  bool
	rapid    rapidFails
	workers  map[*Worker]struct{} // ready or leaving, until nothing is left of them
	failure  *Failure
}

// slot is the place of one ready worker.
type slot struct {
	ready atomic.Pointer[Worker] // nil: none; written with Pool.mu held
	start *start                 // in progress, or nil; guarded by Pool.mu
}

// start is one run of the start journey, shared by all who wait for it.
type start struct {
	settings *Settings
	why      string
	cancel   context.CancelFunc
	done     chan struct{} // closed when err is set and the slot is up to date
	err      error         // answer to those who wait; nil: look again
}

// New returns a pool without a worker. Nothing runs until Acquire.
func New(settings *Settings, machine Machine, log *slog.Logger) *Pool {
	p := &Pool{
		machine:   machine,
		log:       log.With("application", settings.Name),
		fixedPort: make(chan struct{}, 1),
		workers:   make(map[*Worker]struct{}),
	}
	p.halt, p.haltNow = context.WithCancel(context.Background())
	p.adopt(settings)
	return p
}

// Acquire returns a ready worker, starting one if it must. The caller calls
// Worker.Release when its exchange is over. Errors are of type
// *exchange.Error: 502.5 when the application cannot be started (its cause is
// then a Reporter), 503 when the pool is stopped or the application is
// offline (its cause is then an *Offline), 400 when ctx ended first. A start
// that was begun goes on when ctx ends.
func (p *Pool) Acquire(ctx context.Context) (*Worker, error) {
	slots := *p.slots.Load()
	s := slots[0]
	if n := uint32(len(slots)); n > 1 {
		s = slots[p.turn.Add(1)%n]
	}
	if w := s.ready.Load(); w != nil && w.enter() {
		return w, nil
	}
	return p.await(ctx, s)
}

// await waits until a worker of s is ready, or until it is known that none
// will be. It ends: whoever begins a start here is bounded by the start's
// time limits, and a worker that dies between its start and our entering
// counts against the rapid-fail limit.
func (p *Pool) await(ctx context.Context, s *slot) (*Worker, error) {
	for {
		if err := p.checkOffline(); err != nil {
			return nil, err
		}
		st, w, err := p.join(s)
		if err != nil || w != nil {
			return w, err
		}
		select {
		case <-st.done:
		case <-ctx.Done():
			return nil, &exchange.Error{Status: 400, Op: "wait for the application", Err: context.Cause(ctx)}
		}
		if st.err != nil {
			return nil, st.err
		}
	}
}

// join enters the ready worker of s, or returns the start to wait for, which
// it begins if there is none.
func (p *Pool) join(s *slot) (*start, *Worker, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stopped {
		return nil, nil, &exchange.Error{Status: 503, Op: "acquire a worker",
			Public: "The application is being stopped.", Err: errors.New("the pool is stopped")}
	}
	if slots := *p.slots.Load(); !slices.Contains(slots, s) {
		s = slots[0] // the number of processes was lowered meanwhile
	}
	if w := s.ready.Load(); w != nil && w.enter() {
		return nil, w, nil
	}
	if s.start != nil {
		return s.start, nil, nil
	}
	if err := p.rapid.blocked(time.Now()); err != nil {
		p.reportRapidFail(err)
		return nil, nil, p.settings.startFailure(err)
	}
	return p.begin(s, "a request asks for it"), nil, nil
}

// begin starts a worker for s. Callers hold p.mu; s has no start.
func (p *Pool) begin(s *slot, why string) *start {
	ctx, cancel := context.WithCancel(p.halt)
	st := &start{settings: p.settings, why: why, cancel: cancel, done: make(chan struct{})}
	s.start = st
	p.tasks.Go(func() {
		defer cancel()
		w, failure := p.run(ctx, st.settings)
		p.conclude(s, st, w, failure)
	})
	return st
}

// giveUp abandons the start of s, if one is in progress: whoever waits for it
// looks again. Callers hold p.mu.
func (p *Pool) giveUp(s *slot) {
	if st := s.start; st != nil {
		s.start = nil
		st.cancel()
		close(st.done)
	}
}

// conclude puts the outcome of a start into its slot: a worker, a failure, or
// neither when the application turned out to be offline.
func (p *Pool) conclude(s *slot, st *start, w *Worker, failure *StartError) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if w != nil {
		p.workers[w] = struct{}{}
		p.tasks.Go(func() { p.keep(w) })
	}
	if s.start != st { // given up; nobody has seen w
		if w != nil {
			w.retire(0)
		}
		return
	}
	s.start = nil
	defer close(st.done)
	switch {
	case w != nil:
		p.failure = nil
		w.slot = s
		if old := s.ready.Swap(w); old != nil {
			old.retire(st.settings.drainTimeLimit())
		}
	case failure != nil:
		p.failed(s, st, failure)
	}
}

// failed notes a failed start. Callers hold p.mu.
func (p *Pool) failed(s *slot, st *start, failure *StartError) {
	replacement := s.ready.Load() != nil
	p.failure = &Failure{At: time.Now(), Err: failure, Replacement: replacement}
	if replacement {
		p.log.Error("the replacement did not start; the running worker keeps serving",
			"event", EventRecycleFailed, "why", st.why, "err", failure)
		return
	}
	p.rapid.add(time.Now(), failure)
	st.err = st.settings.startFailure(failure)
}

// Replace gives the pool new settings, and replaces every ready worker by one
// that runs with them: the new one becomes ready before the old one drains.
// If it cannot be started, the old one keeps serving and Status tells why.
// Replace does not wait. A call during a replacement supersedes it.
//
// A configured port has room for one process, so there the old worker is
// stopped first and requests wait for the new one.
func (p *Pool) Replace(settings *Settings, why string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stopped {
		return
	}
	stopFirst := p.settings.portConfigured() && settings.portConfigured()
	for _, s := range *p.slots.Load() {
		p.giveUp(s)
	}
	p.adopt(settings)
	for _, s := range *p.slots.Load() {
		old := s.ready.Load()
		if old == nil {
			continue
		}
		p.log.Info("replacing the worker", "event", EventConfigChanged, "pid", old.Pid(), "why", why)
		if stopFirst {
			s.ready.Store(nil)
			old.retire(old.settings.ShutdownTimeLimit)
		}
		p.begin(s, why)
	}
}

// adopt makes settings those of the pool: crashes are counted anew, and slots
// are added or emptied when their number changes. Callers hold p.mu, or the
// pool for themselves.
func (p *Pool) adopt(settings *Settings) {
	p.settings = settings
	p.rapid = rapidFails{limit: settings.RapidFailsPerMinute, since: time.Now()}
	var slots []*slot
	if old := p.slots.Load(); old != nil {
		slots = *old
	}
	n := settings.processes()
	for _, s := range slots[min(n, len(slots)):] {
		p.giveUp(s)
		if w := s.ready.Swap(nil); w != nil {
			w.retire(settings.drainTimeLimit())
		}
	}
	next := append([]*slot(nil), slots[:min(n, len(slots))]...)
	for len(next) < n {
		next = append(next, new(slot))
	}
	p.slots.Store(&next)
}

// withdraw empties every slot: starts are given up, workers drain for at most
// their shutdown time limit and are then stopped, all at the same time.
// Callers hold p.mu.
func (p *Pool) withdraw() {
	for _, s := range *p.slots.Load() {
		p.giveUp(s)
		if w := s.ready.Swap(nil); w != nil {
			w.retire(w.settings.ShutdownTimeLimit)
		}
	}
}

// Stop drains and stops the application; from now on Acquire answers 503. It
// returns when no process is left. When ctx ends first, what still runs is
// killed, and its end is awaited.
func (p *Pool) Stop(ctx context.Context) {
	p.mu.Lock()
	p.stopped = true
	p.withdraw()
	p.mu.Unlock()

	hurry := context.AfterFunc(ctx, p.haltNow)
	p.tasks.Wait()
	hurry()
	p.haltNow()
}

// Failure is a start that failed and has not been followed by a good one.
type Failure struct {
	At          time.Time
	Err         error // an exchange.Reporter
	Replacement bool  // the worker before it kept serving
}

// Status is what a pool is doing, for those who watch it.
type Status struct {
	Name     string
	Stopped  bool
	Offline  bool           // app_offline.htm is there
	Starting int            // starts in progress
	Workers  []WorkerStatus // oldest first
	Failure  *Failure       // nil: none since the last good start
}

// WorkerStatus is one process of a pool, ready or leaving.
type WorkerStatus struct {
	Pid     int
	Port    uint16
	Since   time.Time // when it became ready
	Leaving bool
	Serving int // exchanges in flight, long-lived ones not counted
}

// Status returns the state of this moment.
func (p *Pool) Status() Status {
	p.mu.Lock()
	defer p.mu.Unlock()
	st := Status{Name: p.settings.Name, Stopped: p.stopped, Offline: p.offline.Load() != nil, Failure: p.failure}
	for _, s := range *p.slots.Load() {
		if s.start != nil {
			st.Starting++
		}
	}
	for w := range p.workers {
		st.Workers = append(st.Workers, w.status())
	}
	slices.SortFunc(st.Workers, func(a, b WorkerStatus) int { return a.Since.Compare(b.Since) })
	return st
}
