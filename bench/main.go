// Command bench measures Perch beside nginx, HAProxy, Caddy and the reverse
// proxy of the Go library, in one run, on one machine, over loopback.
//
// Machines differ and are seldom quiet, so what counts are ratios: all servers
// of a case run at once, take their turns round by round (A B C A B C), and
// each round compares what it measured with what nginx did in that round. CPU
// time is that of the server's whole process tree as the kernel accounts it,
// the backend left out. docs/performance.md says what came of it.
//
// It is a module of its own, so that the product depends on nothing here, and
// runs on Linux alone. It is started by make bench in the root of the
// repository.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		stop()
		os.Exit(1)
	}
}

// options say what is measured and how long.
type options struct {
	cases   []testCase
	servers []server
	rounds  int
	seconds int // of load for each server in each round
	warm    bool
	settle  time.Duration
	idle    int // how many idle connections
	quick   bool
	cache   string // where tools and builds are
	results string
	perch   string // a binary to measure instead of building one
}

func parse(args []string) (options, error) {
	o := options{warm: true, idle: 10_000}
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	cases := f.String("cases", "", "comma-separated `names`, of "+strings.Join(caseNames(), ", ")+" (default all)")
	names := f.String("servers", "", "comma-separated `names`, of "+strings.Join(serverNames(), ", ")+" (default all)")
	f.IntVar(&o.rounds, "rounds", 5, "how many times each server has its turn")
	f.IntVar(&o.seconds, "seconds", 3, "how long a turn takes")
	f.DurationVar(&o.settle, "settle", 10*time.Second, "how long idle connections rest before memory is looked at")
	f.BoolVar(&o.quick, "quick", false, "one round of one second for Perch and nginx, fewer idle connections: does it run at all?")
	f.StringVar(&o.cache, "cache", ".cache/bench", "`folder` of the tools, for builds and for what servers write")
	f.StringVar(&o.results, "results", "", "`folder` for results.json, results.md and results.svg (default bench/results; with -cases or -servers, results in the cache)")
	f.StringVar(&o.perch, "perch", "", "measure this `binary` instead of building ./cmd/perch")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	if f.NArg() > 0 {
		return o, fmt.Errorf("argument %q: there are only options", f.Arg(0))
	}
	if o.results == "" {
		o.results = "bench/results"
		if *cases != "" || *names != "" { // what was measured before stays
			o.results = filepath.Join(o.cache, "results")
		}
	}
	if o.quick {
		o.rounds, o.seconds, o.warm, o.settle, o.idle = 1, 1, false, time.Second, 1_000
	}
	if o.rounds < 1 || o.seconds < 1 {
		return o, fmt.Errorf("rounds and seconds are at least 1")
	}
	var err error
	if o.cases, err = choose(allCases(o.idle), *cases, func(c testCase) string { return c.name }); err != nil {
		return o, fmt.Errorf("cases: %w", err)
	}
	if o.servers, err = choose(allServers(), *names, func(s server) string { return s.name }); err != nil {
		return o, fmt.Errorf("servers: %w", err)
	}
	if err := os.MkdirAll(filepath.Join(o.cache, "bin"), 0o755); err != nil {
		return o, err
	}
	// Processes are told apart by the path of their program, as the kernel
	// knows it: absolute and without links.
	if o.cache, err = filepath.EvalSymlinks(o.cache); err != nil {
		return o, err
	}
	o.cache, err = filepath.Abs(o.cache)
	return o, err
}

// choose returns those of all that list names, in the order of all; all of
// them when list is empty.
func choose[T any](all []T, list string, name func(T) string) ([]T, error) {
	if list == "" {
		return all, nil
	}
	wanted := strings.Split(list, ",")
	var chosen []T
	for _, v := range all {
		if i := slices.Index(wanted, name(v)); i >= 0 {
			chosen = append(chosen, v)
			wanted = slices.Delete(wanted, i, i+1)
		}
	}
	if len(wanted) > 0 {
		return nil, fmt.Errorf("%s: no such name", strings.Join(wanted, ", "))
	}
	return chosen, nil
}

// limit is how long a run may take in all: twice what it should, and time to
// build.
func (o options) limit() time.Duration {
	turn := time.Duration(o.seconds)*time.Second + time.Second
	turns := len(o.cases) * len(o.servers) * (o.rounds + 1)
	rest := time.Duration(len(o.servers)) * o.settle
	return 5*time.Minute + 2*(time.Duration(turns)*turn+rest)
}

func run(ctx context.Context, args []string) error {
	raiseFileLimit()
	o, err := parse(args)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, o.limit())
	defer cancel()
	b, err := prepare(ctx, o)
	if err != nil {
		return err
	}
	defer os.RemoveAll(b.dir)
	report := newReport(ctx, o, b.tools)
	for _, c := range o.cases {
		fmt.Fprintf(os.Stderr, "%s\n", c.title)
		samples, err := b.measure(ctx, c)
		if err != nil {
			return fmt.Errorf("case %s: %w", c.name, err)
		}
		report.add(c, samples)
	}
	if err := report.write(o.results); err != nil {
		return err
	}
	fmt.Print(report.markdown())
	return nil
}

// raiseFileLimit lets this process and its children open as many files as
// they may. Setting it here, and not only leaving it to the Go runtime, makes
// the children inherit it.
func raiseFileLimit() {
	const enough = 65536
	if syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: enough, Max: enough}) == nil {
		return
	}
	var l syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l) == nil {
		l.Cur = l.Max
		syscall.Setrlimit(syscall.RLIMIT_NOFILE, &l)
	}
}

// fileLimit returns how many files a process may have open.
func fileLimit() int {
	var l syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l) != nil {
		return 1024
	}
	return int(min(l.Cur, 1<<30))
}
