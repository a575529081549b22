package main

import (
	"strings"
	"testing"
)

func TestSummary(t *testing.T) {
	tests := []struct {
		name     string
		lines    string
		finished bool
		last     string
		ok       bool
	}{
		{"all pass", "=== RUN   TestA\n--- PASS: TestA (1.00s)", true, "1 passed, 0 failed, 0 skipped", true},
		{"one fails", "=== RUN   TestA\n--- PASS: TestA (1.00s)\n=== RUN   TestB\n--- FAIL: TestB (0.10s)", false, "1 passed, 1 failed, 0 skipped", false},
		{"subtests do not count", "=== RUN   TestA\n=== RUN   TestA/x\n    --- FAIL: TestA/x (0.00s)\n--- FAIL: TestA (0.00s)", false, "0 passed, 1 failed, 0 skipped", false},
		{"never ended", "=== RUN   TestA", false, "0 passed, 1 failed, 0 skipped", false},
		{"nothing ran", "testing: warning: no tests to run\nPASS", true, "0 passed, 0 failed, 0 skipped", false},
		{"skipping is not passing", "=== RUN   TestA\n--- PASS: TestA (0.1s)\n=== RUN   TestB\n--- SKIP: TestB (0.1s)", true, "1 passed, 0 failed, 1 skipped", false},
		{"died after the last", "=== RUN   TestA\n--- PASS: TestA (1.00s)", false, "1 passed, 1 failed, 0 skipped", false},
		{"run twice", "=== RUN   TestA\n--- FAIL: TestA (1.00s)\n=== RUN   TestA\n--- PASS: TestA (1.00s)", false, "1 passed, 1 failed, 0 skipped", false},
		{
			"switched off", "=== RUN   TestA_1\ne2e: program switches the machine off\n", true,
			"1 passed, 0 failed, 0 skipped", true,
		},
		{
			"hung while it switched off", "=== RUN   TestA_1\ne2e: program switches the machine off\n", false,
			"0 passed, 1 failed, 0 skipped", false,
		},
		{
			"gone without a word", "=== RUN   TestA_1", true, "0 passed, 1 failed, 0 skipped", false,
		},
		{
			"the reason is repeated", "=== RUN   TestA\n    a_test.go:7: it is late\nNov 21 host nvme-discoverd[9]: lost\n--- FAIL: TestA (1.00s)", false,
			"TestA failed:\n  a_test.go:7: it is late\n  Nov 21 host nvme-discoverd[9]: lost\n0 passed, 1 failed, 0 skipped", false,
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var out strings.Builder
			r := newReport(&out)
			v := r.voice("")
			for line := range strings.Lines(test.lines) {
				v.guest(strings.TrimRight(line, "\n"))
			}
			v.booted(test.finished)
			if ok := r.summary(test.finished); ok != test.ok {
				t.Errorf("summary: got %v, want %v", ok, test.ok)
			}
			if got := strings.TrimSpace(out.String()); !strings.HasSuffix(got, "\n"+test.last) {
				t.Errorf("last line: got\n%s\nwant %q", got, test.last)
			}
		})
	}
}

// Computers that speak at one time do not mix their scenarios up.
func TestVoices(t *testing.T) {
	var out strings.Builder
	r := newReport(&out)
	one, two := r.voice("one"), r.voice("two")
	one.guest("=== RUN   TestA")
	two.guest("=== RUN   TestB")
	one.guest("--- FAIL: TestA (1.00s)")
	two.guest("    b_test.go:7: it is well")
	two.guest("--- PASS: TestB (2.00s)")
	r.summary(true)
	_, got, _ := strings.Cut(out.String(), "\n\n")
	want := "--- FAIL: TestA (1.00s)\n--- PASS: TestB (2.00s)\n\nTestA failed:\n1 passed, 1 failed, 0 skipped\n"
	if got != want {
		t.Errorf("summary:\ngot\n%s\nwant\n%s", got, want)
	}
	if line := "s two | --- PASS: TestB (2.00s)\n"; !strings.Contains(out.String(), line) {
		t.Errorf("printed:\n%s\nwant %q in it", out.String(), line)
	}
}
