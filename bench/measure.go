package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"
)

// bench holds what all cases share.
type bench struct {
	options
	tools
	dir         string // of this run, removed at its end
	static      string // folder of the files
	certificate string // PEM file
	ports       ports
}

func prepare(ctx context.Context, o options) (*bench, error) {
	t, err := prepareTools(ctx, o)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(o.cache, "run-")
	if err != nil {
		return nil, err
	}
	b := &bench{options: o, tools: t, dir: dir, static: filepath.Join(dir, "www", "static"), certificate: filepath.Join(dir, "certificate.pem"), ports: ports{rand.IntN(8_000)}}
	if err := errors.Join(b.makeFiles(), makeCertificate(b.certificate)); err != nil {
		os.RemoveAll(dir)
		return nil, err
	}
	return b, nil
}

func (b *bench) makeFiles() error {
	if err := os.MkdirAll(b.static, 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(b.static, "..", "index.html"), []byte("<p>Files\n"), 0o644); err != nil {
		return err
	}
	for name, size := range files {
		if err := writeFiller(filepath.Join(b.static, name), size); err != nil {
			return err
		}
	}
	return errors.Join(
		os.WriteFile(filepath.Join(b.dir, "load.lua"), script, 0o644),
		os.WriteFile(filepath.Join(b.dir, "openssl.cnf"), openSSL, 0o644))
}

func writeFiller(path string, size int) error {
	return os.WriteFile(path, bytes.Repeat([]byte("perch on"), size/8), 0o644)
}

// A sample is what one turn of one server gave. Times are in microseconds,
// memory is in bytes. What does not apply is zero.
type sample struct {
	Server string  `json:"server"`
	Round  int     `json:"round"`
	Rate   float64 `json:"requestsPerSecond,omitempty"`
	CPU    float64 `json:"cpuMicrosPerRequest,omitempty"`
	P50    float64 `json:"p50Micros,omitempty"`
	P99    float64 `json:"p99Micros,omitempty"`
	Memory int64   `json:"memoryBytes"`
	Each   float64 `json:"bytesPerConnection,omitempty"` // that idle connections added
	Errors int     `json:"errors"`

	// Others is the share of the machine that processes outside the bench
	// had, or its host took away: how disturbed the turn was.
	Others float64 `json:"othersShare"`
}

// measure runs one case: starts what it needs, gives every server its turns,
// and ends it all.
func (b *bench) measure(ctx context.Context, c testCase) ([]sample, error) {
	running, stop, err := b.start(ctx, c)
	defer stop()
	if err != nil {
		return nil, err
	}
	if b.quick { // that the others answer is known by now
		running = slices.DeleteFunc(running, func(i *instance) bool { return i.server.name != "perch" && i.server.name != baseline })
	}
	if c.load == idling {
		return b.idling(ctx, c, running)
	}
	if b.warm {
		for _, i := range running {
			if _, err := b.load(ctx, c, i, 1); err != nil {
				return nil, err
			}
		}
	}
	var samples []sample
	for round := range b.rounds {
		for _, i := range running {
			s, err := b.turn(ctx, c, i)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", i.server.title, err)
			}
			s.Round = round + 1
			samples = append(samples, s)
			fmt.Fprintf(os.Stderr, "  %d %-16s %9.0f/s %9.1f µs\n", s.Round, i.server.title, s.Rate, s.CPU)
		}
	}
	return samples, nil
}

// start starts the backend and all servers of a case. stop ends what runs,
// whether or not there was an error.
func (b *bench) start(ctx context.Context, c testCase) (running []*instance, stop func(), err error) {
	var all []*instance
	stop = func() {
		for _, i := range slices.Backward(all) {
			i.stop()
		}
	}
	set := settings{
		Static: b.static, Application: b.backend, Token: "5d9f5a4c-8f43-4f0e-8d7b-3a1f6f0c2b11",
		Connections: c.conns + headroom, Files: fileLimit(), Root: os.Getuid() == 0,
	}
	if c.proto.secure() {
		set.Certificate = b.certificate
	}
	if c.kind == proxied {
		i, err := b.startBackend(filepath.Join(b.dir, c.name, "backend"))
		if err != nil {
			return nil, stop, err
		}
		all = append(all, i)
		set.Backend = i.addr
	} else {
		set.Backend = "127.0.0.1:9" // nobody: it is not asked
	}
	for _, s := range b.servers {
		if slices.Contains(c.without, s.name) {
			continue
		}
		i, err := b.startServer(s, c, set)
		if err != nil {
			return nil, stop, fmt.Errorf("start %s: %w", s.title, err)
		}
		all, running = append(all, i), append(running, i)
	}
	for _, i := range running {
		if err := i.ready(ctx, c); err != nil {
			return nil, stop, err
		}
	}
	return running, stop, nil
}

func (b *bench) startBackend(dir string) (*instance, error) {
	addr, err := b.ports.free()
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	_, port, _ := net.SplitHostPort(addr)
	cmd := exec.Command(b.backend)
	cmd.Env = append(os.Environ(), "PORT="+port)
	return launch(cmd, addr, dir)
}

func (b *bench) startServer(s server, c testCase, set settings) (*instance, error) {
	var err error
	if set.Listen, err = b.ports.free(); err != nil {
		return nil, err
	}
	set.Dir = filepath.Join(b.dir, c.name, s.name)
	if err := os.MkdirAll(set.Dir, 0o755); err != nil {
		return nil, err
	}
	cmd, err := s.command(b.tools, c.kind, set)
	if err != nil {
		return nil, err
	}
	i, err := launch(cmd, set.Listen, set.Dir)
	if err != nil {
		return nil, err
	}
	i.server = s
	return i, nil
}

// turn drives one server for a while and looks at what that took.
func (b *bench) turn(ctx context.Context, c testCase, i *instance) (sample, error) {
	before, err := b.look(i)
	if err != nil {
		return sample{}, err
	}
	l, err := b.load(ctx, c, i, b.seconds)
	if err != nil {
		return sample{}, err
	}
	after, err := b.look(i)
	if err != nil {
		return sample{}, err
	}
	if l.Requests == 0 {
		return sample{}, fmt.Errorf("no request went through")
	}
	return sample{
		Server: i.server.name,
		Rate:   round(float64(l.Requests) / (float64(l.Micros) / 1e6)),
		CPU:    round(float64((after.server - before.server).Microseconds()) / float64(l.Requests)),
		P50:    float64(l.P50),
		P99:    float64(l.P99),
		Memory: after.memory,
		Errors: l.Connect + l.Read + l.Write + l.Status + l.Timeout,
		Others: after.others(before),
	}, nil
}

// A look is the state of the accounts at one moment.
type look struct {
	server    time.Duration // CPU time of the server
	memory    int64         // its memory
	bench     time.Duration // CPU time of the bench and all that it started, wrk included
	busy, all time.Duration // of the machine
}

func (b *bench) look(i *instance) (l look, err error) {
	ps, err := tree(i.pid, b.backend)
	if err != nil {
		return l, err
	}
	l.server = cpuOf(ps)
	if l.memory, err = memoryOf(ps); err != nil {
		return l, err
	}
	ours, err := tree(os.Getpid(), "")
	if err != nil {
		return l, err
	}
	l.bench = cpuOf(ours) + ours[0].reaped
	l.busy, l.all, err = machineTime()
	return l, err
}

// others returns the share of the machine that went elsewhere since before.
func (l look) others(before look) float64 {
	if l.all == before.all {
		return 0
	}
	return max(0, round(float64((l.busy-before.busy)-(l.bench-before.bench))/float64(l.all-before.all)))
}
