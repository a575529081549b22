package main

import (
	"fmt"
	"io"
	"regexp"
	"strings"
	"time"
)

// report prints what happens as it happens, each line with the seconds since the start, and counts scenarios.
type report struct {
	to      io.Writer
	start   time.Time
	order   []string          // names of scenarios begun
	results map[string]result // of those that ended
}

// result is how one scenario ended.
type result struct {
	outcome string // PASS, FAIL or SKIP
	took    string
}

func newReport(to io.Writer) *report {
	return &report{to: to, start: time.Now(), results: map[string]result{}}
}

// Top-level lines of `go test -v` only: those of subtests are indented or have a slash in the name.
var (
	runLine    = regexp.MustCompile(`^=== RUN   ([^/\s]+)$`)
	resultLine = regexp.MustCompile(`^--- (PASS|FAIL|SKIP): ([^/\s]+) \(([^)]*)\)$`)
)

// host prints what the host side does.
func (r *report) host(text string) { r.print("*", text) }

// guest prints a line from inside.
func (r *report) guest(line string) {
	if match := runLine.FindStringSubmatch(line); match != nil {
		r.order = append(r.order, match[1])
	}
	if match := resultLine.FindStringSubmatch(line); match != nil {
		r.results[match[2]] = result{outcome: match[1], took: match[3]}
	}
	r.print("|", line)
}

func (r *report) print(mark, text string) {
	for line := range strings.Lines(text) {
		fmt.Fprintf(r.to, "%7.1fs %s %s\n", time.Since(r.start).Seconds(), mark, strings.TrimRight(line, "\n"))
	}
	if text == "" {
		fmt.Fprintf(r.to, "%7.1fs %s\n", time.Since(r.start).Seconds(), mark)
	}
}

// summary prints every scenario's outcome and the closing line of counts, and tells whether all is well: at least one
// passed, none failed or was skipped, and the run itself (finished) ended as it should.
func (r *report) summary(finished bool) bool {
	fmt.Fprintln(r.to)
	count := map[string]int{}
	for _, name := range r.order {
		end, ok := r.results[name]
		if !ok {
			end = result{outcome: "FAIL", took: "never ended"}
		}
		count[end.outcome]++
		fmt.Fprintf(r.to, "--- %s: %s (%s)\n", end.outcome, name, end.took)
	}
	passed, failed, skipped := count["PASS"], count["FAIL"], count["SKIP"]
	if failed == 0 && !finished {
		fmt.Fprintln(r.to, "--- FAIL: the machine (the run did not end as it should, see above)")
		failed++
	}
	if passed+failed+skipped == 0 {
		fmt.Fprintln(r.to, "no scenario ran: no name matches")
	}
	fmt.Fprintf(r.to, "%d passed, %d failed, %d skipped\n", passed, failed, skipped)
	return passed > 0 && failed == 0 && skipped == 0
}
