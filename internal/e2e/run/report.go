// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nvme-discoverd/nvme-discoverd/internal/e2e/machine"
)

// report prints what happens as it happens, each line with the seconds since the start, and judges scenarios. Several
// computers may speak at one time, each in a voice of its own.
type report struct {
	start time.Time

	mu        sync.Mutex
	to        io.Writer
	planned   map[string][]string // by unit (see unitOf), the scenarios that are to run
	round     int                 // 1 while everything runs for the first time
	scenarios []*scenario         // in the order in which they began
}

// voice is what one computer has to say.
type voice struct {
	*report
	name  string      // printed with each line, "" for the only one
	began []*scenario // those of this boot, in order
	all   []*scenario // those of all boots of the computer
}

// scenario is one that began, and how it ended.
type scenario struct {
	name     string
	round    int
	began    time.Time
	leaves   bool   // it said that it switches the machine off
	outcome  string // PASS, FAIL or SKIP; "" while it runs
	took     string
	said     []string // its own messages
	journal  []string // of the programs, from what it printed when it failed
	consoles string   // the directory with its computer's consoles, "" if they are not kept
}

// mostFlaky is how many scenarios may fail the first time and pass the second without failing the run. When more fail, none
// is repeated: the run has failed.
const mostFlaky = 2

// slowest is how many scenarios the list of slow ones has.
const slowest = 10

// What the summary repeats of a scenario that failed: a console of an hour is often cut to its end.
const (
	whyMessages = 12
	whyJournal  = 12
	whyWidth    = 240
)

func newReport(to io.Writer) *report {
	return &report{start: time.Now(), to: to, planned: map[string][]string{}, round: 1}
}

// plan notes which scenarios are to run.
func (r *report) plan(computers []computer) {
	for _, c := range computers {
		for _, b := range c.boots {
			for _, name := range b.scenarios {
				if unit := unitOf(name); !slices.Contains(r.planned[unit], name) { // repeated stories come several times
					r.planned[unit] = append(r.planned[unit], name)
				}
			}
		}
	}
}

// Top-level lines of `go test -v` only: those of subtests are indented or have a slash in the name.
var (
	runLine     = regexp.MustCompile(`^=== RUN   ([^/\s]+)$`)
	messageLine = regexp.MustCompile(`^ +[a-z_]+\.go:[0-9]+: `)
	journalLine = regexp.MustCompile(` nvme-discover(d|ctl)\[[0-9]+\]: `)
	resultLine  = regexp.MustCompile(`^--- (PASS|FAIL|SKIP): ([^/\s]+) \(([^)]*)\)$`)
)

// host prints what the host side does.
func (r *report) host(text string) { r.print("*", text) }

// voice is that of the computer with this name.
func (r *report) voice(name string) *voice {
	if name != "" {
		name += " "
	}
	return &voice{report: r, name: name}
}

// host prints what the host side does for this computer.
func (v *voice) host(text string) { v.print(v.name+"*", text) }

// boots begins a boot of the computer.
func (v *voice) boots() { v.began = nil }

// guest prints a line from inside.
func (v *voice) guest(line string) {
	if match := runLine.FindStringSubmatch(line); match != nil {
		s := v.begin(match[1])
		v.began, v.all = append(v.began, s), append(v.all, s)
	} else if n := len(v.began); n > 0 {
		v.began[n-1].note(line)
	}
	v.print(v.name+"|", line)
}

func (r *report) begin(name string) *scenario {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := &scenario{name: name, round: r.round, began: time.Now()}
	r.scenarios = append(r.scenarios, s)
	return s
}

func (s *scenario) note(line string) {
	match := resultLine.FindStringSubmatch(line)
	switch {
	case line == machine.LeaveMarker:
		s.leaves = true
	case match != nil && match[2] == s.name:
		s.outcome, s.took = match[1], match[3]
	case messageLine.MatchString(line):
		s.said = append(s.said, strings.TrimSpace(line))
	case journalLine.MatchString(line):
		s.journal = append(s.journal, strings.TrimSpace(line))
	}
}

// booted ends a boot: well, or because of an error. One that ended well passes the scenario that switched the machine off. One
// that did not, although every scenario passed, fails the last: the machine died behind it.
func (v *voice) booted(why error) {
	if len(v.began) == 0 {
		return
	}
	last, good := v.began[len(v.began)-1], why == nil
	if !good && (last.outcome == "" || last.outcome == "PASS") {
		last.said = append(last.said, strings.Split(why.Error(), "\n")...)
	}
	switch {
	case good && last.leaves && last.outcome == "":
		last.outcome, last.took = "PASS", fmt.Sprintf("%.2fs, until the machine was off", time.Since(last.began).Seconds())
	case !good && last.outcome == "":
		last.outcome, last.took = "FAIL", "never ended"
	case !good && !slices.ContainsFunc(v.began, func(s *scenario) bool { return s.outcome != "PASS" }):
		last.outcome, last.took = "FAIL", last.took+", but the machine did not end as it should"
	}
}

// keptIn notes where the consoles of the computer are.
func (v *voice) keptIn(dir string) {
	for _, s := range v.all {
		s.consoles = dir
	}
}

// why is what the summary repeats of a scenario that failed.
func (s *scenario) why() []string {
	return slices.Concat(s.said[:min(len(s.said), whyMessages)], s.journal[max(0, len(s.journal)-whyJournal):])
}

func (r *report) print(mark, text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for line := range strings.Lines(text) {
		fmt.Fprintf(r.to, "%7.1fs %s %s\n", time.Since(r.start).Seconds(), mark, strings.TrimRight(line, "\n"))
	}
	if text == "" {
		fmt.Fprintf(r.to, "%7.1fs %s\n", time.Since(r.start).Seconds(), mark)
	}
}

// outcome is how a unit ended in a round: PASS, FAIL or SKIP; "" if it did not run.
func (r *report) outcome(unit string, round int) string {
	passed, worst := map[string]bool{}, ""
	for _, s := range r.scenarios {
		if unitOf(s.name) != unit || s.round != round {
			continue
		}
		switch s.outcome {
		case "PASS":
			passed[s.name] = true
			if worst == "" {
				worst = "PASS"
			}
		case "SKIP":
			if worst != "FAIL" {
				worst = "SKIP"
			}
		default:
			worst = "FAIL"
		}
	}
	if worst == "PASS" && len(passed) < len(r.planned[unit]) { // a stage is missing
		return "FAIL"
	}
	return worst
}

// history lists a unit's outcomes, of the rounds in which it ran.
func (r *report) history(unit string) []string {
	var all []string
	for round := 1; round <= r.round; round++ {
		if outcome := r.outcome(unit, round); outcome != "" {
			all = append(all, outcome)
		}
	}
	return all
}

// nextRound lists the computers for the scenarios that failed once or never began, of those planned at first, and begins the
// round. It is empty if there are none, or too many to pass the run.
func (r *report) nextRound(computers []computer) []computer {
	var failures int
	for unit := range r.planned {
		if slices.Contains(r.history(unit), "FAIL") {
			failures++
		}
	}
	if failures > mostFlaky {
		r.host(fmt.Sprintf("%d scenarios failed: none is repeated, for at most %d may fail once", failures, mostFlaky))
		return nil
	}
	next := again(computers,
		func(unit string) bool { return slices.Equal(r.history(unit), []string{"FAIL"}) },
		func(unit string) bool { return len(r.history(unit)) == 0 })
	r.round++
	return next
}

// summary, once no computer speaks any more, prints every scenario's outcome, the slowest ones, why some failed, why some
// failed only once, and the closing line of counts, and tells whether all is well: something passed, nothing failed twice or was skipped, at most
// mostFlaky failed once, and the run itself (finished) ended as it should.
func (r *report) summary(finished bool) bool {
	fmt.Fprintln(r.to)
	for _, s := range r.scenarios {
		if s.outcome == "" {
			s.outcome, s.took = "FAIL", "never ended"
		}
		fmt.Fprintf(r.to, "--- %s: %s (%s)\n", s.outcome, s.name, s.took)
	}
	units := slices.Sorted(maps.Keys(r.planned))
	count := map[string]int{}
	ends := map[string]string{} // by unit
	for _, unit := range units {
		history := r.history(unit)
		switch n := len(history); {
		case n == 0:
			ends[unit] = "FAIL"
			fmt.Fprintf(r.to, "--- FAIL: %s (never began)\n", unit)
		case history[n-1] == "PASS" && slices.Contains(history, "FAIL"):
			ends[unit] = "FLAKY"
		default:
			ends[unit] = history[n-1]
		}
		count[ends[unit]]++
	}
	r.printSlowest(units)
	for _, end := range []string{"FAIL", "FLAKY"} {
		for _, unit := range units {
			if ends[unit] == end {
				r.printFailures(unit, end)
			}
		}
	}
	if count["FAIL"] == 0 && !finished {
		fmt.Fprintln(r.to, "--- FAIL: the machine (the run did not end as it should, see above)")
		count["FAIL"]++
	}
	if len(units) == 0 {
		fmt.Fprintln(r.to, "no scenario ran: no name matches")
	}
	fmt.Fprintf(r.to, "%d passed, %d flaky, %d failed, %d skipped\n", count["PASS"], count["FLAKY"], count["FAIL"], count["SKIP"])
	if count["FLAKY"] > mostFlaky {
		fmt.Fprintf(r.to, "more than %d flaky scenarios fail the run\n", mostFlaky)
	}
	return count["PASS"]+count["FLAKY"] > 0 && count["FAIL"] == 0 && count["SKIP"] == 0 && count["FLAKY"] <= mostFlaky
}

// printFailures prints why a unit failed, each time that it did.
func (r *report) printFailures(unit, end string) {
	head := unit + " failed:"
	if end == "FLAKY" {
		head = "FLAKY " + unit + " (it failed, and passed when it ran again alone); the failure:"
	}
	fmt.Fprintf(r.to, "\n%s\n", head)
	for _, s := range r.scenarios {
		if unitOf(s.name) != unit {
			continue
		}
		if s.outcome == "FAIL" {
			for _, line := range s.why() {
				fmt.Fprintf(r.to, "  %.*s\n", whyWidth, line)
			}
		}
		if s.consoles != "" {
			fmt.Fprintf(r.to, "  consoles, run %d: %s\n", s.round, s.consoles)
		}
	}
}

// printSlowest lists the slowest units, with all their stages and repetitions, and the time of all of them.
func (r *report) printSlowest(units []string) {
	took, sum := map[string]time.Duration{}, time.Duration(0)
	for _, s := range r.scenarios {
		seconds, _, _ := strings.Cut(s.took, ",")
		if d, err := time.ParseDuration(seconds); err == nil {
			took[unitOf(s.name)] += d
			sum += d
		}
	}
	units = slices.SortedStableFunc(slices.Values(units), func(a, b string) int { return cmp.Compare(took[b], took[a]) })
	fmt.Fprintln(r.to, "\nThe slowest scenarios:")
	for _, unit := range units[:min(len(units), slowest)] {
		fmt.Fprintf(r.to, "%8.1fs %s\n", took[unit].Seconds(), unit)
	}
	fmt.Fprintf(r.to, "%8.1fs in all %d, which run side by side; %.1fs since the start\n", sum.Seconds(), len(units), time.Since(r.start).Seconds())
}
