package main

import (
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nvme-discoverd/nvme-discoverd/internal/e2e/machine"
)

// report prints what happens as it happens, each line with the seconds since the start, and counts scenarios. Several
// computers may speak at one time, each in a voice of its own.
type report struct {
	start time.Time

	mu        sync.Mutex
	to        io.Writer
	scenarios []*scenario // in the order in which they began
}

// voice is what one computer has to say.
type voice struct {
	*report
	name string    // printed with each line, "" for the only one
	last *scenario // the one that began last, nil before the first
}

// scenario is one that began, and how it ended.
type scenario struct {
	name    string
	began   time.Time
	leaves  bool   // it said that it switches the machine off
	outcome string // PASS, FAIL or SKIP; "" while it runs
	took    string
	said    []string // its own messages
	journal []string // of the programs, from what it printed when it failed
}

// What the summary repeats of a scenario that failed: a console of an hour is often cut to its end.
const (
	whyMessages = 12
	whyJournal  = 12
	whyWidth    = 240
)

func newReport(to io.Writer) *report {
	return &report{to: to, start: time.Now()}
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

// guest prints a line from inside.
func (v *voice) guest(line string) {
	if match := runLine.FindStringSubmatch(line); match != nil {
		v.last = &scenario{name: match[1], began: time.Now()}
		v.began(v.last)
	} else if v.last != nil {
		v.last.note(line)
	}
	v.print(v.name+"|", line)
}

func (r *report) began(s *scenario) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.scenarios = append(r.scenarios, s)
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

// booted is told how a boot ended: well for the scenario that ended it.
func (v *voice) booted(good bool) {
	if last := v.last; last != nil && good && last.leaves && last.outcome == "" {
		last.outcome, last.took = "PASS", fmt.Sprintf("%.2fs, until the machine was off", time.Since(last.began).Seconds())
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

// summary, once no computer speaks any more, prints every scenario's outcome, why some failed, and the closing line of counts, and tells whether all is well: at least one
// passed, none failed or was skipped, and the run itself (finished) ended as it should.
func (r *report) summary(finished bool) bool {
	fmt.Fprintln(r.to)
	count := map[string]int{}
	for _, s := range r.scenarios {
		if s.outcome == "" {
			s.outcome, s.took = "FAIL", "never ended"
		}
		count[s.outcome]++
		fmt.Fprintf(r.to, "--- %s: %s (%s)\n", s.outcome, s.name, s.took)
	}
	for _, s := range r.scenarios {
		if s.outcome != "FAIL" {
			continue
		}
		fmt.Fprintf(r.to, "\n%s failed:\n", s.name)
		for _, line := range s.why() {
			fmt.Fprintf(r.to, "  %.*s\n", whyWidth, line)
		}
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
