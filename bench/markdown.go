package main

import (
	"fmt"
	"strings"
)

// A target is a ratio that Perch is to reach in a case.
type target struct {
	name   string // of the case
	what   string
	figure func(*result) *figure
	limit  float64
	atMost bool   // or else at least
	to     string // the server that the ratio is to
}

func targets() []target {
	cpu := func(r *result) *figure { return &r.CPU }
	rate := func(r *result) *figure { return &r.Rate }
	memory := func(r *result) *figure { return &r.Memory }
	return []target{
		{"small-64", "CPU", cpu, 0.85, true, baseline},
		{"small-64", "throughput", rate, 1, false, baseline},
		{"small-1000", "CPU", cpu, 0.9, true, baseline},
		{"down-1m", "CPU", cpu, 0.35, true, baseline},
		{"down-1m", "throughput", rate, 2, false, baseline},
		{"up-1m", "CPU", cpu, 0.35, true, baseline},
		{"up-1m", "throughput", rate, 1.5, false, baseline},
		{"idle", "memory", memory, 1.5, true, baseline},
		{"inline-64", "throughput", rate, 2, false, "reverseproxy"},
		{"tls-64", "CPU", cpu, 0.75, true, baseline},
		{"h2-64", "CPU", cpu, 1.2, true, baseline},
		{"h2-16x10", "CPU", cpu, 1.5, true, baseline},
	}
}

// reached returns the ratio that a case has, and whether it was measured.
func (t target) reached(cases []caseReport) (ratio float64, ok bool) {
	for _, c := range cases {
		if c.Name != t.name {
			continue
		}
		perch, measured := c.of("perch")
		base, compared := c.of(t.to)
		if !measured || !compared {
			return 0, false
		}
		if t.to == baseline {
			return t.figure(&perch).Ratio, true
		}
		return t.figure(&perch).Value / t.figure(&base).Value, true
	}
	return 0, false
}

func (t target) met(ratio float64) bool {
	if t.atMost {
		return ratio <= t.limit
	}
	return ratio >= t.limit
}

// markdown returns results.md.
func (r *report) markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "# Bench of %s\n\n%d processors (%s), %.0f GB, %s. %s.\n", r.Date, r.Machine.Count, r.Machine.Processor,
		float64(r.Machine.MemoryMB)/1024, r.Machine.Kernel, r.compared())
	fmt.Fprintf(&b, "%s, %s for each server. Median over the rounds; × is the median of the ratios to nginx in the same round,\n"+
		"in brackets their least and greatest.\n", count(r.Rounds, "round"), count(r.Seconds, "second"))
	if r.Quick {
		b.WriteString("\n**A quick run: it shows that the bench runs, and measures nothing.**\n")
	}
	if base := r.titles[baseline]; base == "" {
		b.WriteString("\n**nginx did not take part, so there are no ratios.**\n")
	}
	b.WriteString("\n![CPU, throughput and memory of each server, relative to nginx](results.svg)\n")
	r.writeTargets(&b)
	for _, c := range r.Cases {
		r.writeCase(&b, c)
	}
	return b.String()
}

func (r *report) compared() string {
	var v []string
	for _, name := range []string{"perch", "nginx", "haproxy", "caddy", "go"} {
		if r.Versions[name] != "" {
			v = append(v, name+" "+r.Versions[name])
		}
	}
	return strings.Join(v, ", ")
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func (r *report) writeTargets(b *strings.Builder) {
	b.WriteString("\n## Targets\n\n| case | what | target | reached | |\n|---|---|--:|--:|---|\n")
	for _, t := range targets() {
		limit, verdict, got := fmt.Sprintf("≥ %.2f", t.limit), "missed", "not measured"
		if t.atMost {
			limit = fmt.Sprintf("≤ %.2f", t.limit)
		}
		ratio, ok := t.reached(r.Cases)
		switch {
		case !ok:
			verdict = ""
		case t.met(ratio):
			verdict = "met"
			fallthrough
		default:
			got = fmt.Sprintf("%.2f", ratio)
		}
		what := t.what
		if t.to != baseline {
			what += " to net/http"
		}
		fmt.Fprintf(b, "| %s | %s | %s | %s | %s |\n", t.name, what, limit, got, verdict)
	}
}

func (r *report) writeCase(b *strings.Builder, c caseReport) {
	fmt.Fprintf(b, "\n## %s: %s\n\n", c.Name, c.Title)
	if c.Note != "" {
		fmt.Fprintf(b, "%s.\n\n", c.Note)
	}
	if c.Results[0].Rate.Value == 0 {
		b.WriteString("| server | memory MB | × | KB/connection | errors |\n|---|--:|--:|--:|--:|\n")
		for _, s := range c.Results {
			fmt.Fprintf(b, "| %s | %s | %s | %s | %d |\n", r.titles[s.Server], number(s.Memory.Value/1e6), times(s.Memory), number(s.Each.Value/1e3), s.Errors)
		}
		return
	}
	b.WriteString("| server | requests/s | × | CPU µs/request | × | p50 ms | p99 ms | memory MB | errors |\n|---|--:|--:|--:|--:|--:|--:|--:|--:|\n")
	for _, s := range c.Results {
		fmt.Fprintf(b, "| %s | %.0f | %s | %s | %s | %s | %s | %s | %d |\n", r.titles[s.Server], s.Rate.Value, spread(s.Rate),
			number(s.CPU.Value), spread(s.CPU), number(s.P50.Value/1000), number(s.P99.Value/1000), number(s.Memory.Value/1e6), s.Errors)
	}
	var others []float64
	for _, s := range c.Results {
		others = append(others, s.Others)
	}
	fmt.Fprintf(b, "\nOther work had %.0f %% of the machine.\n", 100*median(others))
}

// number prints three significant digits.
func number(v float64) string {
	switch {
	case v < 10:
		return fmt.Sprintf("%.2f", v)
	case v < 100:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.0f", v)
}

// times prints the ratio of a figure.
func times(f figure) string {
	if f.Ratio == 0 {
		return ""
	}
	return fmt.Sprintf("%.2f", f.Ratio)
}

// spread prints the ratio of a figure with its extremes, if it has some.
func spread(f figure) string {
	if f.Least == f.Most {
		return times(f)
	}
	return fmt.Sprintf("%.2f (%.2f–%.2f)", f.Ratio, f.Least, f.Most)
}
