package main

import (
	"encoding/json"
	"encoding/xml"
	"math"
	"os"
	"os/exec"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestParseStat(t *testing.T) {
	t.Parallel()
	// proc_pid_stat(5): fields 4 (parent), 14 to 17 (times).
	line := "77 (a) b (c) S 12 77 77 0 -1 4194304 100 0 0 0 250 150 30 20 20 0 4 0 100 0 0\n"
	got, err := parseStat([]byte(line))
	want := process{pid: 77, parent: 12, cpu: 4 * time.Second, reaped: 500 * time.Millisecond}
	if err != nil || got != want {
		t.Errorf("got %+v, %v; want %+v", got, err, want)
	}
	for _, bad := range []string{"", "77 name S 1", "77 (x) S 1 2", strings.Replace(line, "250", "x", 1)} {
		if _, err := parseStat([]byte(bad)); err == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
}

func TestParsePSS(t *testing.T) {
	t.Parallel()
	if kb, err := parsePSS([]byte("00-7f [rollup]\nRss:  900 kB\nPss:  420 kB\nPss_Dirty: 7 kB\n")); kb != 420 || err != nil {
		t.Errorf("got %d, %v", kb, err)
	}
	if _, err := parsePSS([]byte("Rss: 1 kB\n")); err == nil {
		t.Error("no Pss is accepted")
	}
}

func TestParseMachine(t *testing.T) {
	t.Parallel()
	// proc_stat(5): user nice system idle iowait irq softirq steal guest guest_nice.
	busy, all, err := parseMachine([]byte("cpu  100 200 300 4000 500 10 20 70 9 9\ncpu0 1 1 1 1 1 1 1 1\n"))
	if err != nil || busy != 7*time.Second || all != 52*time.Second {
		t.Errorf("got %v of %v, %v; want 7s of 52s", busy, all, err)
	}
	if _, _, err := parseMachine([]byte("intr 1 2 3 4 5 6 7 8 9\n")); err == nil {
		t.Error("another line is accepted")
	}
}

// What runs the backend's program is not the proxy's: a child that runs
// another program is counted, one that runs the excluded program is not.
func TestTree(t *testing.T) {
	t.Parallel()
	path, err := exec.LookPath("sleep")
	if err != nil {
		t.Fatal(err)
	}
	c := exec.Command(path, "60")
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	defer c.Wait()
	defer c.Process.Kill()
	// Start returns when the child runs its program.
	program, err := os.Readlink("/proc/" + strconv.Itoa(c.Process.Pid) + "/exe")
	if err != nil {
		t.Fatal(err)
	}
	for without, want := range map[string]bool{"": true, "/bin/none": true, program: false} {
		ps, err := tree(os.Getpid(), without)
		if err != nil {
			t.Fatal(err)
		}
		got := false
		for _, p := range ps {
			got = got || p.pid == c.Process.Pid
		}
		if ps[0].pid != os.Getpid() || got != want {
			t.Errorf("without %q: child counted %v, want %v", without, got, want)
		}
	}
}

func TestChoose(t *testing.T) {
	t.Parallel()
	same := func(s string) string { return s }
	all := []string{"a", "b", "c"}
	for list, want := range map[string][]string{"": all, "c,a": {"a", "c"}, "b": {"b"}} {
		if got, err := choose(all, list, same); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("choose(%q) = %v, %v", list, got, err)
		}
	}
	if _, err := choose(all, "a,d", same); err == nil || !strings.Contains(err.Error(), "d") {
		t.Errorf("unknown name: %v", err)
	}
}

func TestMedian(t *testing.T) {
	t.Parallel()
	for want, v := range map[float64][]float64{0: nil, 3: {9, 3, 1}, 2.5: {4, 2, 3, 1}} {
		if got := median(v); got != want {
			t.Errorf("median(%v) = %v, want %v", v, got, want)
		}
	}
}

// The ratio is taken round by round: one disturbed round, slow for both,
// changes the medians of the values but not the ratio.
func TestCompare(t *testing.T) {
	t.Parallel()
	r := testReport()
	perch, _ := r.Cases[0].of("perch")
	if want := (figure{Value: 1200, Ratio: 1.2, Least: 1.1, Most: 2}); perch.Rate != want {
		t.Errorf("rate %+v, want %+v", perch.Rate, want)
	}
	if perch.CPU.Ratio != 0.5 || perch.Errors != 3 {
		t.Errorf("CPU %+v, %d errors", perch.CPU, perch.Errors)
	}
}

func testReport() *report {
	r := &report{Date: "2026-01-02", Rounds: 3, Seconds: 1, titles: map[string]string{"perch": "Perch", "nginx": "nginx"}}
	var all []sample
	for i, rate := range [][2]float64{{1200, 1000}, {220, 200}, {4000, 2000}} {
		all = append(all, sample{Server: "perch", Round: i + 1, Rate: rate[0], CPU: 10, Memory: 3e6, Errors: 1},
			sample{Server: "nginx", Round: i + 1, Rate: rate[1], CPU: 20, Memory: 2e6})
	}
	r.add(testCase{name: "small-64", title: "a <title>"}, all)
	r.add(testCase{name: "idle", title: "idle"}, []sample{{Server: "perch", Round: 1, Memory: 64e6, Each: 6300}, {Server: "nginx", Round: 1, Memory: 1e6}})
	return r
}

func TestTargets(t *testing.T) {
	t.Parallel()
	got := testReport().markdown()
	for _, want := range []string{
		"| small-64 | CPU | ≤ 0.85 | 0.50 | met |", "| small-64 | throughput | ≥ 1.00 | 1.20 | met |",
		"| idle | memory | ≤ 1.50 | 64.00 | missed |", "| down-1m | CPU | ≤ 0.35 | not measured |  |",
		"| Perch | 1200 | 1.20 (1.10–2.00) | 10.0 | 0.50 |", "| Perch | 64.0 | 64.00 | 6.30 | 0 |",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
}

func TestJSON(t *testing.T) {
	t.Parallel()
	r := testReport()
	data, err := r.json()
	if err != nil {
		t.Fatal(err)
	}
	var back report
	if err := json.Unmarshal(data, &back); err != nil {
		t.Fatal(err)
	}
	back.titles = r.titles
	if !reflect.DeepEqual(&back, r) {
		t.Errorf("read back: %+v", back)
	}
	if n := strings.Count(string(data), "\n"); n < 15 {
		t.Errorf("%d lines: the samples should stand on their own", n)
	}
}

// The chart is well-formed, and its dots are where the ratios are: what lies
// beyond the scale is at its edge.
func TestChart(t *testing.T) {
	t.Parallel()
	dots := readDots(t, testReport().chart())
	const cpu, memory = chartMargin + labelWidth, chartMargin + labelWidth + 2*(panelWidth+panelGap)
	for title, want := range map[string]float64{
		"Perch, small-64: 0.50 times nginx": cpu + panelWidth*3/8.0, // an octave of four left of the middle
		"Perch, idle: 64.00 times nginx":    memory + panelWidth,
	} {
		if got, ok := dots[title]; !ok || math.Abs(got-want) > 0.1 {
			t.Errorf("%s: at %v, want %v; there are %v", title, got, want, dots)
		}
	}
}

// readDots returns the position of each dot by its title.
func readDots(t *testing.T, chart string) map[string]float64 {
	t.Helper()
	var svg struct {
		Circles []struct {
			X     float64 `xml:"cx,attr"`
			Title string  `xml:"title"`
		} `xml:"circle"`
	}
	if err := xml.Unmarshal([]byte(chart), &svg); err != nil {
		t.Fatal(err)
	}
	dots := map[string]float64{}
	for _, c := range svg.Circles {
		dots[c.Title] = c.X
	}
	return dots
}

// Nobody listens yet at the address that was given before.
func TestAddressesDiffer(t *testing.T) {
	var p ports
	seen := make(map[string]bool)
	for range 200 {
		addr, err := p.free()
		if err != nil {
			t.Fatal(err)
		}
		if seen[addr] {
			t.Errorf("%s was given twice", addr)
		}
		seen[addr] = true
	}
}
