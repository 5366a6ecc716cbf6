package main

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"
)

// script is what wrk runs, openSSL the configuration of the library that both
// load generators do TLS with.
var (
	//go:embed load.lua
	script []byte
	//go:embed openssl.cnf
	openSSL []byte
)

// A loadResult is what load.lua prints, and what others come to.
type loadResult struct {
	Requests, Micros, P50, P99            int
	Connect, Read, Write, Status, Timeout int
}

// load drives a server for so many seconds.
func (b *bench) load(ctx context.Context, c testCase, i *instance, seconds int) (loadResult, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(seconds)*time.Second+30*time.Second)
	defer cancel()
	switch {
	case c.load == bulk:
		return b.bulk(ctx, c, i, seconds)
	case c.load == arrivals, c.load == returns:
		return arrive(ctx, c, i.addr, time.Duration(seconds)*time.Second)
	case c.proto == https2:
		return b.h2load(ctx, c, i, seconds)
	}
	args := []string{
		"--threads", threads(), "--connections", strconv.Itoa(c.conns),
		"--duration", fmt.Sprintf("%ds", seconds), "--timeout", "20s", "--script", filepath.Join(b.dir, "load.lua"),
		c.proto.scheme() + "://" + i.addr + c.path, "--", map[bool]string{true: "POST", false: "GET"}[c.send > 0], strconv.Itoa(c.send),
	}
	if c.browser {
		for _, f := range browserFields {
			args = append(args, f[0], f[1])
		}
	}
	said, err := b.generate(ctx, b.wrk, args...)
	if err != nil {
		return loadResult{}, err
	}
	return parseLoad(said)
}

func threads() string { return strconv.Itoa(max(1, runtime.NumCPU()/2)) }

// generate runs a load generator and returns what it printed.
func (b *bench) generate(ctx context.Context, program string, args ...string) ([]byte, error) {
	cmd := b.debian(program, args...)
	cmd.Env = append(cmd.Environ(), "OPENSSL_CONF="+filepath.Join(b.dir, "openssl.cnf"))
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	end := context.AfterFunc(ctx, func() { cmd.Process.Kill() })
	defer end()
	if err := cmd.Wait(); err != nil {
		return nil, fmt.Errorf("%s: %w\n%s", filepath.Base(program), err, said.Bytes())
	}
	return said.Bytes(), nil
}

// parseLoad reads the last line that wrk printed.
func parseLoad(said []byte) (r loadResult, err error) {
	lines := strings.Split(strings.TrimSpace(string(said)), "\n")
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &r); err != nil {
		return r, fmt.Errorf("wrk printed no result: %w\n%s", err, said)
	}
	return r, nil
}

// h2load drives a server with HTTP/2. Times are in a file of it, a line for
// each request.
func (b *bench) h2load(ctx context.Context, c testCase, i *instance, seconds int) (loadResult, error) {
	times := filepath.Join(b.dir, "times")
	defer os.Remove(times)
	said, err := b.generate(ctx, b.tools.h2load, "--threads", threads(), "--clients", strconv.Itoa(c.conns),
		"--max-concurrent-streams", strconv.Itoa(c.streams), "--duration", strconv.Itoa(seconds), "--log-file", times,
		c.proto.scheme()+"://"+i.addr+c.path)
	if err != nil {
		return loadResult{}, err
	}
	log, err := os.ReadFile(times)
	if err != nil {
		return loadResult{}, err
	}
	r, err := parseH2load(said)
	if err != nil {
		return r, err
	}
	r.Micros = seconds * 1e6
	r.P50, r.P99, err = parseTimes(log)
	return r, err
}

var h2loadCounts = regexp.MustCompile(`(?m)^requests: .* (\d+) done, (\d+) succeeded, (\d+) failed, (\d+) errored, (\d+) timeout$`)

// parseH2load reads the line of h2load that counts requests. Those that have
// failed are also counted as errored or timed out, if they are.
func parseH2load(said []byte) (r loadResult, err error) {
	m := h2loadCounts.FindSubmatch(said)
	if m == nil {
		return r, fmt.Errorf("h2load printed no counts\n%s", said)
	}
	var n [5]int
	for i := range n {
		if n[i], err = strconv.Atoi(string(m[i+1])); err != nil {
			return r, fmt.Errorf("h2load: %w", err)
		}
	}
	return loadResult{Requests: n[0], Status: n[2] - n[3] - n[4], Read: n[3], Timeout: n[4]}, nil
}

// parseTimes reads the log of h2load: start, status and microseconds of each
// request.
func parseTimes(log []byte) (p50, p99 int, err error) {
	var all []int
	for line := range strings.Lines(string(log)) {
		f := strings.Fields(line)
		if len(f) != 3 {
			return 0, 0, fmt.Errorf("log of h2load: line %q", line)
		}
		n, err := strconv.Atoi(f[2])
		if err != nil {
			return 0, 0, fmt.Errorf("log of h2load: %w", err)
		}
		all = append(all, n)
	}
	p50, p99 = percentiles(all)
	return p50, p99, nil
}

// percentiles sorts times and returns the middle one and the one that a
// hundredth are longer than; zero of none.
func percentiles(times []int) (p50, p99 int) {
	if len(times) == 0 {
		return 0, 0
	}
	slices.Sort(times)
	return times[len(times)/2], times[len(times)*99/100]
}
