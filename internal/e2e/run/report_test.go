// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"errors"
	"strings"
	"testing"

	"github.com/nvme-discoverd/nvme-discoverd/internal/e2e/machine"
)

// planOf is a computer that boots once, for these scenarios.
func planOf(scenarios ...string) []computer {
	return []computer{single("cloud", machine.Cloud, processors, scenarios)}
}

// speak is one boot of a computer that prints these lines and ends well or not.
func (v *voice) speak(lines string, good bool) {
	v.boots()
	for line := range strings.Lines(lines) {
		v.guest(strings.TrimRight(line, "\n"))
	}
	var why error
	if !good {
		why = errors.New("it died")
	}
	v.booted(why)
}

func TestSummary(t *testing.T) {
	const passA = "=== RUN   TestA\n--- PASS: TestA (1.00s)\n"
	tests := []struct {
		name     string
		planned  string
		lines    string
		finished bool
		last     string
		ok       bool
	}{
		{"all pass", "TestA", passA, true, "1 passed, 0 flaky, 0 failed, 0 skipped", true},
		{"one fails", "TestA TestB", passA + "=== RUN   TestB\n--- FAIL: TestB (0.10s)", false, "1 passed, 0 flaky, 1 failed, 0 skipped", false},
		{"subtests do not count", "TestA", "=== RUN   TestA\n=== RUN   TestA/x\n    --- FAIL: TestA/x (0.00s)\n--- FAIL: TestA (0.00s)", false, "0 passed, 0 flaky, 1 failed, 0 skipped", false},
		{"never ended", "TestA", "=== RUN   TestA", false, "0 passed, 0 flaky, 1 failed, 0 skipped", false},
		{"never began", "TestA TestB", passA, true, "1 passed, 0 flaky, 1 failed, 0 skipped", false},
		{"nothing ran", "", "testing: warning: no tests to run\nPASS", true, "0 passed, 0 flaky, 0 failed, 0 skipped", false},
		{"skipping is not passing", "TestA TestB", passA + "=== RUN   TestB\n--- SKIP: TestB (0.1s)", true, "1 passed, 0 flaky, 0 failed, 1 skipped", false},
		{"died after the last", "TestA TestB", passA + "=== RUN   TestB\n--- PASS: TestB (1.00s)", false, "1 passed, 0 flaky, 1 failed, 0 skipped", false},
		{"run twice", "TestA", "=== RUN   TestA\n--- FAIL: TestA (1.00s)\n" + passA, false, "0 passed, 0 flaky, 1 failed, 0 skipped", false},
		{"switched off", "TestA_1", "=== RUN   TestA_1\ne2e: program switches the machine off\n", true, "1 passed, 0 flaky, 0 failed, 0 skipped", true},
		{"hung while it switched off", "TestA_1", "=== RUN   TestA_1\ne2e: program switches the machine off\n", false, "0 passed, 0 flaky, 1 failed, 0 skipped", false},
		{"gone without a word", "TestA_1", "=== RUN   TestA_1", true, "0 passed, 0 flaky, 1 failed, 0 skipped", false},
		{"a stage never began", "TestA_1 TestA_2", "=== RUN   TestA_1\ne2e: program switches the machine off\n", true, "0 passed, 0 flaky, 1 failed, 0 skipped", false},
		{
			"the reason is repeated", "TestA", "=== RUN   TestA\n    a_test.go:7: it is late\nNov 21 host nvme-discoverd[9]: lost\n--- FAIL: TestA (1.00s)", false,
			"TestA failed:\n  a_test.go:7: it is late\n  Nov 21 host nvme-discoverd[9]: lost\n0 passed, 0 flaky, 1 failed, 0 skipped", false,
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var out strings.Builder
			r := newReport(&out)
			r.plan(planOf(strings.Fields(test.planned)...))
			r.voice("").speak(test.lines, test.finished)
			if ok := r.summary(test.finished); ok != test.ok {
				t.Errorf("summary: got %v, want %v", ok, test.ok)
			}
			if got := strings.TrimSpace(out.String()); !strings.HasSuffix(got, "\n"+test.last) {
				t.Errorf("last line: got\n%s\nwant %q", got, test.last)
			}
		})
	}
}

// A scenario that failed runs once more; what it comes to then decides.
func TestRounds(t *testing.T) {
	const passA, failA = "=== RUN   TestA\n--- PASS: TestA (1.00s)\n", "=== RUN   TestA\n    a_test.go:7: it is late\n--- FAIL: TestA (1.00s)\n"
	const passB, failB = "=== RUN   TestB\n--- PASS: TestB (1.00s)\n", "=== RUN   TestB\n--- FAIL: TestB (1.00s)\n"
	const passC, failC = "=== RUN   TestC\n--- PASS: TestC (1.00s)\n", "=== RUN   TestC\n--- FAIL: TestC (1.00s)\n"
	tests := []struct {
		name   string
		rounds []string // what the machines print
		next   []string // the computers of the rounds after each
		last   string
		ok     bool
	}{
		{
			"flaky",
			[]string{failA + passB + passC, passA},
			[]string{"TestA TestA=cloud[TestA]", ""},
			"FLAKY TestA (it failed, and passed when it ran again alone); the failure:\n  a_test.go:7: it is late\n2 passed, 1 flaky, 0 failed, 0 skipped", true,
		},
		{
			"fails twice",
			[]string{failA + passB + passC, failA},
			[]string{"TestA TestA=cloud[TestA]", ""},
			"TestA failed:\n  a_test.go:7: it is late\n  a_test.go:7: it is late\n2 passed, 0 flaky, 1 failed, 0 skipped", false,
		},
		{
			"two flaky ones",
			[]string{failA + failB + passC, passA + passB},
			[]string{"TestA TestA=cloud[TestA]; TestB TestB=cloud[TestB]", ""},
			"1 passed, 2 flaky, 0 failed, 0 skipped", true,
		},
		{"too many failures", []string{failA + failB + failC}, []string{""}, "0 passed, 0 flaky, 3 failed, 0 skipped", false},
		{
			"the machine died",
			[]string{"=== RUN   TestA\n", passA + passB + passC},
			[]string{"TestA TestA=cloud[TestA]; cloud-rest cloud=cloud[TestB TestC]", ""},
			"FLAKY TestA (it failed, and passed when it ran again alone); the failure:\n  it died\n2 passed, 1 flaky, 0 failed, 0 skipped", true,
		},
		{
			"what the machine left over fails once",
			[]string{"=== RUN   TestA\n", passA + failB + passC, passB},
			[]string{"TestA TestA=cloud[TestA]; cloud-rest cloud=cloud[TestB TestC]", "TestB TestB=cloud[TestB]", ""},
			"1 passed, 2 flaky, 0 failed, 0 skipped", true,
		},
		{
			"the machine never booted",
			[]string{"", passA + passB + passC},
			[]string{"cloud-rest cloud=cloud[TestA TestB TestC]", ""},
			"3 passed, 0 flaky, 0 failed, 0 skipped", true,
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var out strings.Builder
			r := newReport(&out)
			computers := planOf("TestA", "TestB", "TestC")
			r.plan(computers)
			good := false
			for i, lines := range test.rounds {
				good = lines != "" && !strings.Contains(lines, "FAIL") && strings.Count(lines, "RUN") == strings.Count(lines, "PASS")
				r.voice("").speak(lines, good)
				if got := told(r.nextRound(computers)); got != test.next[i] {
					t.Errorf("after round %d: got %q, want %q", i+1, got, test.next[i])
				}
			}
			if ok := r.summary(good); ok != test.ok {
				t.Errorf("summary: got %v, want %v", ok, test.ok)
			}
			if got := strings.TrimSpace(out.String()); !strings.HasSuffix(got, "\n"+test.last) {
				t.Errorf("last lines: got\n%s\nwant %q", got, test.last)
			}
		})
	}
}

// The list names what takes longest, all stages and repetitions of it together.
func TestSlowest(t *testing.T) {
	var out strings.Builder
	r := newReport(&out)
	r.plan(append(planOf("TestA", "TestB"), plan([]string{"TestC_1", "TestC_2"}, nil, 1)...))
	r.voice("one").speak("=== RUN   TestA\n--- PASS: TestA (1.50s)\n=== RUN   TestB\n--- PASS: TestB (20.00s)\n", true)
	r.voice("two").speak("=== RUN   TestC_1\n--- PASS: TestC_1 (11.00s)\n=== RUN   TestC_2\n--- PASS: TestC_2 (12.00s)\n", true)
	r.summary(true)
	want := "\nThe slowest scenarios:\n    23.0s TestC\n    20.0s TestB\n     1.5s TestA\n    44.5s in all 3, which run side by side; "
	if !strings.Contains(out.String(), want) {
		t.Errorf("printed:\n%s\nwant in it:%s", out.String(), want)
	}
}

// Computers that speak at one time do not mix their scenarios up.
func TestVoices(t *testing.T) {
	var out strings.Builder
	r := newReport(&out)
	r.plan(planOf("TestA", "TestB"))
	one, two := r.voice("one"), r.voice("two")
	one.guest("=== RUN   TestA")
	two.guest("=== RUN   TestB")
	one.guest("--- FAIL: TestA (1.00s)")
	two.guest("    b_test.go:7: it is well")
	two.guest("--- PASS: TestB (2.00s)")
	one.keptIn("consoles/one")
	r.summary(true)
	_, got, _ := strings.Cut(out.String(), "\n\n")
	before, _, _ := strings.Cut(got, "\nThe slowest")
	_, after, _ := strings.Cut(got, "since the start\n")
	if want := "--- FAIL: TestA (1.00s)\n--- PASS: TestB (2.00s)\n"; before != want {
		t.Errorf("outcomes:\ngot\n%s\nwant\n%s", before, want)
	}
	if want := "\nTestA failed:\n  consoles, run 1: consoles/one\n1 passed, 0 flaky, 1 failed, 0 skipped\n"; after != want {
		t.Errorf("end:\ngot\n%s\nwant\n%s", after, want)
	}
	if line := "s two | --- PASS: TestB (2.00s)\n"; !strings.Contains(out.String(), line) {
		t.Errorf("printed:\n%s\nwant %q in it", out.String(), line)
	}
}
