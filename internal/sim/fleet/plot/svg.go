// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"fmt"
	"html"
	"strings"
)

// panel is one diagram: attempts per second over the time since the array is back, one curve for each policy.
type panel struct {
	title  string
	curves []curve
}

type curve struct {
	name     string
	attempts []int // by the second
}

// Sizes in pixels, times in seconds.
const (
	width, panelHeight   = 760, 290
	left, right          = 64, 16
	top, bottom          = 34, 48
	shown, step          = 600, 5 // the time that is shown, and over how much of it a point is the mean
	plotWidth            = width - left - right
	plotHeight           = panelHeight - top - bottom
	legendHeight, spread = 34, 165
)

// style gives every curve a colour and a dash of its own, and follows the reader's choice of a light or dark page.
const style = `<style>
text{font:13px sans-serif;fill:#24292f}.title{font-weight:bold}.grid{stroke:#d0d7de}.axis{stroke:#57606a}.capacity{stroke:#57606a;stroke-dasharray:2 3}
.label{paint-order:stroke;stroke:#ffffff;stroke-width:4px}
.back{fill:#ffffff}.c{fill:none;stroke-width:2}.c0{stroke:#c4480a}.c1{stroke:#0969da;stroke-dasharray:7 3}.c2{stroke:#0a7d45}.c3{stroke:#8250df;stroke-dasharray:2 2}
@media(prefers-color-scheme:dark){text{fill:#e6edf3}.grid{stroke:#30363d}.axis,.capacity{stroke:#8b949e}.back{fill:#0d1117}.label{stroke:#0d1117}
.c0{stroke:#ff8f5a}.c1{stroke:#58a6ff}.c2{stroke:#3fd08a}.c3{stroke:#c297ff}}
</style>
`

// draw returns the panels one below the other, with one legend, as an SVG.
func draw(panels []panel, capacity float64) string {
	var b strings.Builder
	height := legendHeight + len(panels)*panelHeight
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" role="img" aria-label="Attempts per second that the array sees after it is back, by policy of back-off">`+"\n", width, height)
	b.WriteString(style)
	fmt.Fprintf(&b, `<rect class="back" width="%d" height="%d"/>`+"\n", width, height)
	if len(panels) > 0 {
		for i, c := range panels[0].curves {
			x := left + i*spread
			fmt.Fprintf(&b, `<path class="c c%d" d="M%d 20h28"/><text x="%d" y="24">%s</text>`+"\n", i, x, x+34, html.EscapeString(c.name))
		}
	}
	for i, p := range panels {
		fmt.Fprintf(&b, `<g transform="translate(%d,%d)">`+"\n", left, legendHeight+i*panelHeight+top)
		p.draw(&b, capacity)
		b.WriteString("</g>\n")
	}
	b.WriteString("</svg>\n")
	return b.String()
}

func (p panel) draw(b *strings.Builder, capacity float64) {
	highest := capacity
	for _, c := range p.curves {
		for _, y := range c.means() {
			highest = max(highest, y)
		}
	}
	unit := tick(highest)
	ticks := int(highest/unit) + 1
	y := func(rate float64) float64 { return plotHeight * (1 - rate/(unit*float64(ticks))) }
	x := func(second int) float64 { return float64(plotWidth) * float64(second) / shown }
	fmt.Fprintf(b, `<text class="title" y="-12">%s</text>`+"\n", html.EscapeString(p.title))
	for i := range ticks + 1 {
		rate := unit * float64(i)
		fmt.Fprintf(b, `<path class="grid" d="M0 %.1fh%d"/><text x="-8" y="%.1f" text-anchor="end">%.0f</text>`+"\n", y(rate), plotWidth, y(rate)+4, rate)
	}
	for second := 0; second <= shown; second += 60 {
		fmt.Fprintf(b, `<path class="axis" d="M%.1f %dv5"/><text x="%.1f" y="%d" text-anchor="middle">%d</text>`+"\n", x(second), plotHeight, x(second), plotHeight+19, second/60)
	}
	fmt.Fprintf(b, `<path class="axis" d="M0 %dh%d"/>`+"\n", plotHeight, plotWidth)
	fmt.Fprintf(b, `<text x="%d" y="%d" text-anchor="middle">minutes since the array is back</text>`+"\n", plotWidth/2, plotHeight+38)
	fmt.Fprintf(b, `<text transform="translate(-50,%d) rotate(-90)" text-anchor="middle">attempts per second</text>`+"\n", plotHeight/2)
	fmt.Fprintf(b, `<path class="capacity" d="M0 %.1fh%d"/>`+"\n", y(capacity), plotWidth)
	for i, c := range p.curves {
		fmt.Fprintf(b, `<path class="c c%d" d="`, i)
		for j, rate := range c.means() {
			fmt.Fprintf(b, "%c%.1f %.1f", "ML"[min(j, 1)], x(j*step+step/2), y(rate))
		}
		b.WriteString(`"/>` + "\n")
	}
	fmt.Fprintf(b, `<text class="label" x="%d" y="%.1f" text-anchor="end">connects that the array serves</text>`+"\n", plotWidth, y(capacity)-4)
}

// means are the points of a curve, up to the one after its last attempt or the end of the time that is shown.
func (c curve) means() []float64 {
	means := make([]float64, min(len(c.attempts)/step+2, shown/step))
	for second, n := range c.attempts {
		if second < shown {
			means[second/step] += float64(n) / step
		}
	}
	return means
}

// tick returns a round distance between the lines of a scale up to highest, so that there are at most six.
func tick(highest float64) float64 {
	unit := 1.0
	for {
		for _, factor := range []float64{1, 2, 5} {
			if highest/(unit*factor) <= 6 {
				return unit * factor
			}
		}
		unit *= 10
	}
}
