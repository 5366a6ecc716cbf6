package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"
)

// A report is what a run has found: results.json, and what results.md and
// results.svg are drawn from.
type report struct {
	Date     string            `json:"date"`
	Quick    bool              `json:"quick,omitempty"` // too short to say anything
	Rounds   int               `json:"rounds"`
	Seconds  int               `json:"secondsPerTurn"`
	Machine  machine           `json:"machine"`
	Versions map[string]string `json:"versions"`
	Cases    []caseReport      `json:"cases"`

	titles map[string]string // of servers
}

type machine struct {
	Processor string `json:"processor"`
	Count     int    `json:"processors"`
	MemoryMB  int64  `json:"memoryMB"`
	Kernel    string `json:"kernel"`
}

type caseReport struct {
	Name    string    `json:"name"`
	Title   string    `json:"title"`
	Note    string    `json:"note,omitempty"`
	Results []result  `json:"results"` // by server
	Samples []samples `json:"samples"`
}

// samples are the turns of one round, in order.
type samples []sample

// A result is what the samples of one server come to: medians.
type result struct {
	Server string  `json:"server"`
	Rate   figure  `json:"requestsPerSecond"`
	CPU    figure  `json:"cpuMicrosPerRequest"`
	P50    figure  `json:"p50Micros"`
	P99    figure  `json:"p99Micros"`
	Memory figure  `json:"memoryBytes"`
	Each   figure  `json:"bytesPerConnection"`
	Errors int     `json:"errors"` // in all rounds
	Others float64 `json:"othersShare"`
}

// A figure is the median of a value over the rounds, and the median and the
// extremes of its ratios to the baseline in the same round. Zero stands for
// what was not measured.
type figure struct {
	Value float64 `json:"value"`
	Ratio float64 `json:"ratio"`
	Least float64 `json:"ratioLeast"`
	Most  float64 `json:"ratioMost"`
}

func newReport(ctx context.Context, o options, t tools) *report {
	r := &report{
		Date: time.Now().UTC().Format(time.DateOnly), Quick: o.quick, Rounds: o.rounds, Seconds: o.seconds,
		Machine: thisMachine(), Versions: t.versions(ctx), titles: map[string]string{},
	}
	for _, s := range o.servers {
		r.titles[s.name] = s.title
	}
	return r
}

// thisMachine says what kind of machine this is. What names it is left out.
func thisMachine() machine {
	m := machine{Count: runtime.NumCPU()}
	cpu, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(cpu)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			m.Processor = strings.TrimSpace(value)
			break
		}
	}
	var info syscall.Sysinfo_t
	if syscall.Sysinfo(&info) == nil {
		m.MemoryMB = int64(info.Totalram) * int64(info.Unit) >> 20
	}
	release, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	number, _, _ := strings.Cut(strings.TrimSpace(string(release)), "-")
	m.Kernel = "Linux " + number
	return m
}

// add takes the samples of a case on.
func (r *report) add(c testCase, all []sample) {
	rep := caseReport{Name: c.name, Title: c.title, Note: c.note}
	for _, s := range all {
		if s.Round > len(rep.Samples) {
			rep.Samples = append(rep.Samples, nil)
		}
		rep.Samples[s.Round-1] = append(rep.Samples[s.Round-1], s)
	}
	for _, s := range rep.Samples[0] {
		rep.Results = append(rep.Results, summarize(s.Server, rep.Samples))
	}
	r.Cases = append(r.Cases, rep)
}

func summarize(server string, rounds []samples) result {
	res := result{Server: server}
	var others []float64
	for _, turns := range rounds {
		if s, ok := turns.of(server); ok {
			res.Errors += s.Errors
			others = append(others, s.Others)
		}
	}
	res.Others = round(median(others))
	for _, m := range metrics {
		*m.figure(&res) = compare(server, rounds, m.value)
	}
	return res
}

// A metric is one column of the samples.
type metric struct {
	value  func(sample) float64
	figure func(*result) *figure
}

var metrics = []metric{
	{func(s sample) float64 { return s.Rate }, func(r *result) *figure { return &r.Rate }},
	{func(s sample) float64 { return s.CPU }, func(r *result) *figure { return &r.CPU }},
	{func(s sample) float64 { return s.P50 }, func(r *result) *figure { return &r.P50 }},
	{func(s sample) float64 { return s.P99 }, func(r *result) *figure { return &r.P99 }},
	{func(s sample) float64 { return float64(s.Memory) }, func(r *result) *figure { return &r.Memory }},
	{func(s sample) float64 { return s.Each }, func(r *result) *figure { return &r.Each }},
}

func (turns samples) of(server string) (sample, bool) {
	i := slices.IndexFunc(turns, func(s sample) bool { return s.Server == server })
	if i < 0 {
		return sample{}, false
	}
	return turns[i], true
}

// compare makes one figure of a server from all rounds. The ratio is the
// median of the ratios of each round, and not the ratio of the medians: the
// servers of one round met the same disturbance.
func compare(server string, rounds []samples, value func(sample) float64) figure {
	var values, ratios []float64
	for _, turns := range rounds {
		s, ok := turns.of(server)
		if !ok {
			continue
		}
		values = append(values, value(s))
		if base, ok := turns.of(baseline); ok && value(base) > 0 {
			ratios = append(ratios, value(s)/value(base))
		}
	}
	f := figure{Value: round(median(values)), Ratio: round(median(ratios))}
	if len(ratios) > 0 {
		f.Least, f.Most = round(slices.Min(ratios)), round(slices.Max(ratios))
	}
	return f
}

// median returns the middle of v, 0 of nothing.
func median(v []float64) float64 {
	if len(v) == 0 {
		return 0
	}
	v = slices.Sorted(slices.Values(v))
	return (v[(len(v)-1)/2] + v[len(v)/2]) / 2
}

// round keeps the digits that mean something.
func round(v float64) float64 { return math.Round(v*1000) / 1000 }

// of returns the result of a server.
func (c caseReport) of(server string) (result, bool) {
	i := slices.IndexFunc(c.Results, func(r result) bool { return r.Server == server })
	if i < 0 {
		return result{}, false
	}
	return c.Results[i], true
}

// write puts the three files into the folder.
func (r *report) write(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	data, err := r.json()
	return cmp.Or(err, errors.Join(
		os.WriteFile(filepath.Join(dir, "results.json"), data, 0o644),
		os.WriteFile(filepath.Join(dir, "results.md"), []byte(r.markdown()), 0o644),
		os.WriteFile(filepath.Join(dir, "results.svg"), []byte(r.chart()), 0o644)))
}

// json returns the report with a line for each result and each sample, which
// begin with their server.
func (r *report) json() ([]byte, error) {
	data, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	for _, first := range []string{`"rounds":`, `"cases":`, `{"name":`, `{"server":`} {
		data = bytes.ReplaceAll(data, []byte(first), []byte("\n"+first))
	}
	return append(data, '\n'), nil
}
