package main

import (
	"fmt"
	"html"
	"math"
	"strings"
)

// The chart is three panels side by side, CPU, throughput and memory, with a
// row for each case. A dot is the ratio of a server to nginx, which is the
// line in the middle, on a scale where twice and half are equally far.

const (
	chartTop    = 132 // of the rows
	rowHeight   = 34
	labelWidth  = 130
	panelWidth  = 250
	panelGap    = 44
	chartMargin = 24
	octaves     = 4 // on either side of nginx: a sixteenth to sixteen times
)

// A panel shows one figure.
type panel struct {
	title, good string
	figure      func(*result) *figure
}

func panels() []panel {
	return []panel{
		{"CPU per request", "◀ less is better", func(r *result) *figure { return &r.CPU }},
		{"requests per second", "more is better ▶", func(r *result) *figure { return &r.Rate }},
		{"memory", "◀ less is better", func(r *result) *figure { return &r.Memory }},
	}
}

const chartStyle = `
  :root { --paper: #ffffff; --ink: #1c2430; --soft: #66707f; --line: #dfe3e8; --band: #f5f7f9; --perch: #c2410c; --nginx: #15803d; --haproxy: #2563eb; --caddy: #7c3aed; --reverseproxy: #0891b2 }
  @media (prefers-color-scheme: dark) { :root { --paper: #10151c; --ink: #e6eaf0; --soft: #97a1b0; --line: #2c3542; --band: #171e27; --perch: #fb923c; --nginx: #4ade80; --haproxy: #60a5fa; --caddy: #c084fc; --reverseproxy: #22d3ee } }
  text { font: 13px system-ui, -apple-system, "Segoe UI", sans-serif; fill: var(--ink) }
  .title { font-size: 18px; font-weight: 600 } .head { font-weight: 600 } .soft { fill: var(--soft); font-size: 11.5px }
  .paper { fill: var(--paper) } .band { fill: var(--band) } .grid { stroke: var(--line) } .base { stroke: var(--nginx); stroke-width: 2 }
  .perch { fill: var(--perch) } .nginx { fill: var(--nginx) } .haproxy { fill: var(--haproxy) } .caddy { fill: var(--caddy) } .reverseproxy { fill: var(--reverseproxy) }
  circle { stroke: var(--paper); stroke-width: 1.5 }
`

// chart returns results.svg.
func (r *report) chart() string {
	width := 2*chartMargin + labelWidth + len(panels())*(panelWidth+panelGap) - panelGap
	height := chartTop + len(r.Cases)*rowHeight + 52
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" role="img" aria-labelledby="t">`+"\n", width, height, width, height)
	fmt.Fprintf(&b, "<title id=\"t\">Perch and others relative to nginx, %s</title>\n<style>%s</style>\n", r.Date, chartStyle)
	fmt.Fprintf(&b, "<rect class=\"paper\" width=\"%d\" height=\"%d\" rx=\"10\"/>\n", width, height)
	fmt.Fprintf(&b, "<text class=\"title\" x=\"%d\" y=\"38\">Relative to nginx in the same round</text>\n", chartMargin)
	r.drawLegend(&b)
	for i, c := range r.Cases {
		y := chartTop + i*rowHeight
		if i%2 == 0 {
			fmt.Fprintf(&b, "<rect class=\"band\" x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\" rx=\"4\"/>\n", chartMargin-8, y, width-2*chartMargin+16, rowHeight)
		}
		fmt.Fprintf(&b, "<text x=\"%d\" y=\"%d\">%s<title>%s</title></text>\n", chartMargin, y+rowHeight/2+5, html.EscapeString(c.Name), html.EscapeString(c.Title))
	}
	for i, p := range panels() {
		r.drawPanel(&b, p, chartMargin+labelWidth+i*(panelWidth+panelGap))
	}
	fmt.Fprintf(&b, "<text class=\"soft\" x=\"%d\" y=\"%d\">%s · %d processors · %s · %s of %s · medians · a dot at the edge lies beyond it</text>\n", chartMargin, height-16,
		r.Date, r.Machine.Count, r.Machine.Kernel, count(r.Rounds, "round"), count(r.Seconds, "second"))
	b.WriteString("</svg>\n")
	return b.String()
}

func (r *report) drawLegend(b *strings.Builder) {
	x := chartMargin + 7
	for _, s := range allServers() {
		if r.titles[s.name] == "" {
			continue
		}
		fmt.Fprintf(b, "<circle class=\"%s\" cx=\"%d\" cy=\"64\" r=\"6\"/><text x=\"%d\" y=\"69\">%s</text>\n", s.name, x, x+12, s.title)
		x += 36 + 8*len(s.title)
	}
}

func (r *report) drawPanel(b *strings.Builder, p panel, left int) {
	bottom := chartTop + len(r.Cases)*rowHeight
	fmt.Fprintf(b, "<text class=\"head\" x=\"%d\" y=\"%d\">%s</text>\n", left, chartTop-32, p.title)
	fmt.Fprintf(b, "<text class=\"soft\" x=\"%d\" y=\"%d\" text-anchor=\"end\">%s</text>\n", left+panelWidth, chartTop-32, p.good)
	for o := -octaves; o <= octaves; o++ {
		x, class := place(left, math.Pow(2, float64(o))), "grid"
		if o == 0 {
			class = "base"
		}
		fmt.Fprintf(b, "<line class=\"%s\" x1=\"%.1f\" y1=\"%d\" x2=\"%.1f\" y2=\"%d\"/>\n", class, x, chartTop, x, bottom)
		if o%2 == 0 {
			fmt.Fprintf(b, "<text class=\"soft\" x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%s</text>\n", x, chartTop-10, factor(o))
		}
	}
	for i, c := range r.Cases {
		// Perch comes last, so that nothing covers it.
		for j := len(c.Results) - 1; j >= 0; j-- {
			s := c.Results[j]
			f := p.figure(&s)
			if s.Server == baseline || f.Ratio == 0 {
				continue
			}
			radius := 5
			if s.Server == "perch" {
				radius = 7
			}
			fmt.Fprintf(b, "<circle class=\"%s\" cx=\"%.1f\" cy=\"%d\" r=\"%d\"><title>%s, %s: %s times nginx</title></circle>\n",
				s.Server, place(left, f.Ratio), chartTop+i*rowHeight+rowHeight/2, radius, r.titles[s.Server], html.EscapeString(c.Name), times(*f))
		}
	}
}

// place returns where a ratio lies in the panel that begins at left. What
// lies beyond the scale lies at its edge.
func place(left int, ratio float64) float64 {
	at := max(-octaves, min(octaves, math.Log2(ratio)))
	return float64(left) + panelWidth*(at+octaves)/(2*octaves)
}

func factor(octave int) string {
	if octave < 0 {
		return fmt.Sprintf("1/%d", 1<<-octave)
	}
	return fmt.Sprintf("%d×", 1<<octave)
}
