package worker

import (
	"context"
	"fmt"
	"time"
)

// killLimit bounds the removal of a process tree. A process that the kernel
// itself holds up (a dead network mount) is left behind and reported.
const killLimit = 5 * time.Second

// keep stays with a ready worker until nothing of it is left.
func (p *Pool) keep(w *Worker) {
	watch, unwatch := context.WithCancel(context.Background())
	defer unwatch()
	select {
	case <-w.process.Done():
		p.dismiss(w, fmt.Errorf("the application ended with %v", w.process.Exit()), 0)
	case <-p.listenerLost(watch, w):
		p.dismiss(w, fmt.Errorf("process %d, which listened for the application, has ended", w.listener), 0)
	case <-w.leave:
		p.stop(w)
	}
	close(w.gone)
	p.remove(w)
}

// listenerLost returns a channel that is closed when the process that listens
// has ended and no other process of the worker listens in its place. It is
// nil if the listener is the process that was started, whose end is known
// anyway, and where the operating system cannot tell. The watch ends with ctx.
func (p *Pool) listenerLost(ctx context.Context, w *Worker) <-chan struct{} {
	exited := p.listenerExit(ctx, w)
	if exited == nil {
		return nil
	}
	lost := make(chan struct{})
	p.tasks.Go(func() {
		for exited != nil {
			select {
			case <-exited:
			case <-ctx.Done():
				return
			}
			heir, _ := p.listenerOf(w)
			if heir == 0 {
				close(lost)
				return
			}
			w.listener = heir
			exited = p.listenerExit(ctx, w)
		}
	})
	return lost
}

func (p *Pool) listenerExit(ctx context.Context, w *Worker) <-chan struct{} {
	if w.listener == w.Pid() {
		return nil
	}
	return p.machine.Exited(ctx, w.listener)
}

// listenerOf returns the pid of a process of w that listens on its port, or 0
// if none does. The error says that it cannot be found out.
func (p *Pool) listenerOf(w *Worker) (int, error) {
	pids, err := w.process.Tree()
	if err != nil {
		return 0, err
	}
	listeners, err := p.machine.Listeners(pids)
	if err != nil {
		return 0, err
	}
	for _, l := range listeners {
		if l.Address.Port() == w.port {
			return l.Pid, nil
		}
	}
	return 0, nil
}

// refused follows up a connection that w refused. What cannot be found out,
// because the host is short of something, is not held against w.
func (p *Pool) refused(w *Worker) {
	if pid, err := p.listenerOf(w); err == nil && pid == 0 {
		p.dismiss(w, fmt.Errorf("the application does not listen on port %d any more", w.port), w.settings.ShutdownTimeLimit)
	}
}

// dismiss takes a worker out of service that failed by itself, unless it is
// leaving anyway. The next request starts a new one: never the pool, which
// would only turn a crash into a loop of crashes.
func (p *Pool) dismiss(w *Worker, err error, drain time.Duration) {
	p.mu.Lock()
	if w.leaving {
		p.mu.Unlock()
		return
	}
	w.slot.ready.CompareAndSwap(w, nil)
	serving := w.users.Load()
	w.retire(drain)
	p.rapid.add(time.Now(), err)
	p.mu.Unlock()
	p.log.Error("the application failed", "event", EventExited, "pid", w.Pid(), "port", w.port,
		"err", err, "in_flight", serving, "after", time.Since(w.since).Round(time.Millisecond),
		"output", lastLines(w.process.Output(), 10)) // which may wait for the last words
}

// stop takes a retired worker out of service: drain, ask, wait. What is left
// after that is killed by remove. Every wait ends at once when the process
// has ended, or when the pool is in a hurry.
func (p *Pool) stop(w *Worker) {
	limit := w.settings.ShutdownTimeLimit
	if limit <= 0 {
		return // spec 2.10: an immediate kill
	}
	if !p.wait(w, w.drained, w.drain) {
		return
	}
	ctx, cancel := whileRunning(p.halt, w.process, limit)
	defer cancel()
	if p.ask(ctx, w, limit/2) {
		<-ctx.Done() // the process ended, or its time is over
	}
	select {
	case <-w.process.Done():
		p.log.Info("worker stopped", "event", EventShutDown, "pid", w.Pid(), "exit", w.process.Exit().String())
	default:
		p.log.Warn("worker did not stop within its time limit and is killed",
			"event", EventShutdownFailed, "pid", w.Pid(), "limit", limit)
	}
}

// wait waits for event, at most for limit. It reports whether the worker's
// process still runs and the pool has time to go on.
func (p *Pool) wait(w *Worker, event <-chan struct{}, limit time.Duration) bool {
	t := time.NewTimer(limit)
	defer t.Stop()
	select {
	case <-event:
	case <-t.C:
	case <-w.process.Done():
		return false
	case <-p.halt.Done():
		return false
	}
	return true
}

// ask asks the worker to stop: by the request of its protocol, or else by the
// signal. A worker that leaves the request unanswered for patience gets the
// signal too. It reports whether the worker may be expected to end.
func (p *Pool) ask(ctx context.Context, w *Worker, patience time.Duration) bool {
	if w.settings.Protocol == AspNetCore {
		request, cancel := context.WithTimeout(ctx, patience)
		err := w.channel.Shutdown(request)
		cancel()
		p.log.Info("shutdown request sent", "event", EventShutdownSent, "pid", w.Pid(), "accepted", err == nil, "err", err)
		if err == nil {
			return true
		}
	}
	if err := w.process.Ask(); err != nil {
		p.log.Warn("cannot signal the worker", "event", EventShutdownFailed, "pid", w.Pid(), "err", err)
		return false
	}
	return true
}

// remove kills what is left of a worker and gives back what it held.
func (p *Pool) remove(w *Worker) {
	p.destroy(w.process)
	w.channel.Close()
	w.free()
	p.mu.Lock()
	delete(p.workers, w)
	p.mu.Unlock()
}

// destroy kills a process with everything below it and ends its capture.
func (p *Pool) destroy(proc Process) {
	ctx, cancel := context.WithTimeout(context.Background(), killLimit)
	defer cancel()
	if err := proc.KillTree(ctx); err != nil {
		p.log.Error("cannot remove every process of the worker", "pid", proc.Pid(), "err", err)
	}
	proc.Close()
}
