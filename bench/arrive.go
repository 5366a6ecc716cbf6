package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"sync"
	"time"
)

// arrive opens TLS connections for a while, as many at once as the case has,
// asks once on each and closes it. In a case of returns, every worker has been
// there before, and resumes the session of its last connection; one that is
// not resumed counts as an error.
func arrive(ctx context.Context, c testCase, addr string, most time.Duration) (loadResult, error) {
	workers := make([]worker, c.conns)
	var all sync.WaitGroup
	for i := range workers {
		w := &workers[i]
		w.config = tlsConfig(c.proto)
		if c.load == returns {
			w.config.ClientSessionCache = tls.NewLRUClientSessionCache(1)
			if _, err := w.arrive(ctx, c, addr); err != nil {
				return loadResult{}, err
			}
		}
	}
	begin := time.Now()
	for i := range workers {
		all.Go(func() { workers[i].work(ctx, c, addr, begin.Add(most)) })
	}
	all.Wait()
	r := loadResult{Micros: int(time.Since(begin).Microseconds())}
	var times []int
	var err error
	for _, w := range workers {
		times = append(times, w.times...)
		r.Connect += w.failed
		err = cmp.Or(err, w.err)
	}
	if r.Requests = len(times); r.Requests == 0 {
		return r, fmt.Errorf("no connection went through: %w", err)
	}
	r.P50, r.P99 = percentiles(times)
	return r, nil
}

// A worker opens one connection after another.
type worker struct {
	config *tls.Config
	times  []int // of each connection, in microseconds
	failed int
	err    error // the first
}

func (w *worker) work(ctx context.Context, c testCase, addr string, end time.Time) {
	const enough = 100 // of failures
	for once := true; once || time.Now().Before(end) && ctx.Err() == nil && w.failed < enough; once = false {
		begin := time.Now()
		resumed, err := w.arrive(ctx, c, addr)
		if err == nil && resumed != (c.load == returns) {
			err = fmt.Errorf("session resumed: %v", resumed)
		}
		if err != nil {
			w.failed++
			w.err = cmp.Or(w.err, err)
			continue
		}
		w.times = append(w.times, int(time.Since(begin).Microseconds()))
	}
}

// arrive opens and closes one connection.
func (w *worker) arrive(ctx context.Context, c testCase, addr string) (resumed bool, err error) {
	nc, err := openOne(ctx, c, addr, w.config)
	if err != nil {
		return false, err
	}
	defer nc.Close()
	return nc.(*tls.Conn).ConnectionState().DidResume, nil
}
