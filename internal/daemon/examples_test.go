// SPDX-License-Identifier: GPL-3.0-or-later

package daemon

import (
	"bufio"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/nvme-discoverd/nvme-discoverd/internal/api/exposition"
	"github.com/nvme-discoverd/nvme-discoverd/internal/core"

	wire "github.com/nvme-discoverd/nvme-discoverd/internal/api/orgnvmexpressdiscoverd"
)

const examples = "../../docs/examples/"

// allMetrics are the metrics of a daemon in which each has happened once.
func allMetrics(t *testing.T) []wire.Metric {
	t.Helper()
	d, ctx := running(t, 1)
	d.api.metrics.failures, d.api.metrics.requests = map[string]uint64{"probe": 1}, map[core.RequestOp]uint64{core.RequestRetry: 1}
	metrics, err := d.api.Metrics(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return append(metrics, d.api.server.Metrics()...)
}

// series are the names of all series, and the labels that each has.
func series(metrics []wire.Metric) map[string][]string {
	names := map[string][]string{}
	for _, m := range metrics {
		for _, s := range m.Samples {
			name := m.Name
			if s.Suffix != nil {
				name += *s.Suffix
			}
			for label := range s.Labels {
				names[name] = append(names[name], label)
			}
			names[name] = append(names[name], "instance", "job")
		}
	}
	return names
}

// selector is a metric in an expression of PromQL, with its labels.
var (
	selector = regexp.MustCompile(`\b(nvme_discoverd_\w+)(?:\{([^}]*)\})?`)
	matcher  = regexp.MustCompile(`(\w+)\s*(?:=~|!~|!=|=)`)
	grouping = regexp.MustCompile(`(?:by|on) \(([^)]*)\)`)
)

// checkExpressions tests that every metric and label that a text names is there.
func checkExpressions(t *testing.T, where, text string, names map[string][]string) {
	t.Helper()
	found := selector.FindAllStringSubmatch(text, -1)
	if len(found) == 0 {
		t.Errorf("%s names no metric", where)
	}
	for _, m := range found {
		labels, ok := names[m[1]]
		if !ok {
			t.Errorf("%s: there is no metric %s", where, m[1])
			continue
		}
		for _, l := range matcher.FindAllStringSubmatch(m[2], -1) {
			if !slices.Contains(labels, l[1]) {
				t.Errorf("%s: %s has no label %s", where, m[1], l[1])
			}
		}
		for _, g := range grouping.FindAllStringSubmatch(text, -1) {
			for label := range strings.SplitSeq(g[1], ",") {
				if len(found) == 1 && !slices.Contains(labels, strings.TrimSpace(label)) {
					t.Errorf("%s: %s has no label %s", where, m[1], label)
				}
			}
		}
	}
}

// The dashboard, the alert rules and the page about metrics name metrics and labels that there are; the page names all metrics.
func TestExamplesOfMetrics(t *testing.T) {
	names := series(allMetrics(t))
	var dashboard struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	text, err := os.ReadFile(examples + "grafana-dashboard.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &dashboard); err != nil {
		t.Fatal(err)
	}
	for _, p := range dashboard.Panels {
		for _, target := range p.Targets {
			checkExpressions(t, "panel "+p.Title, target.Expr, names)
		}
	}
	rules, err := os.ReadFile(examples + "prometheus-alerts.yml")
	if err != nil {
		t.Fatal(err)
	}
	for _, rule := range strings.Split(string(rules), "- alert: ")[1:] {
		name, rest, _ := strings.Cut(rule, "\n")
		_, expression, _ := strings.Cut(rest, "expr:")
		expression, _, _ = strings.Cut(expression, "labels:")
		checkExpressions(t, "alert "+name, expression, names)
	}
	page, err := os.ReadFile("../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	for name := range names {
		family := regexp.MustCompile(`_(bucket|sum|count)$`).ReplaceAllString(name, "")
		if !strings.Contains(string(page), "`"+family) {
			t.Errorf("docs/metrics.md does not tell of %s", family)
		}
	}
	for _, m := range regexp.MustCompile("`(nvme_discoverd_\\w+)").FindAllStringSubmatch(string(page), -1) {
		if names[m[1]] == nil && names[m[1]+"_bucket"] == nil {
			t.Errorf("docs/metrics.md tells of %s, which there is not", m[1])
		}
	}
}

// What Prometheus' own tool says of the metrics and the rules; Debian's package prometheus has it.
func TestPromtool(t *testing.T) {
	promtool, err := exec.LookPath("promtool")
	if err != nil {
		t.Skip("there is no promtool")
	}
	var text strings.Builder
	if err := exposition.Text(&text, allMetrics(t)); err != nil {
		t.Fatal(err)
	}
	check := exec.Command(promtool, "check", "metrics")
	check.Stdin = strings.NewReader(text.String())
	if out, err := check.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("promtool check metrics: %v\n%s", err, out)
	}
	for _, args := range [][]string{{"check", "rules", examples + "prometheus-alerts.yml"}, {"test", "rules", "testdata/alerts.yml"}} {
		if out, err := exec.Command(promtool, args...).CombinedOutput(); err != nil {
			t.Errorf("promtool %v: %v\n%s", args, err, out)
		}
	}
}

// The clients that the documentation has to copy, against the service.
func TestExampleClients(t *testing.T) {
	d, ctx := running(t, 3)
	dial(t, ctx, d).Close() // it listens
	for _, test := range []struct {
		name string
		run  []string
		want string
	}{
		{"Python", []string{"python3", examples + "discoverd.py"}, "3 connected\n"},
		{"nvme-stas", []string{"python3", examples + "stas.py", "--once"}, "mDNS: look after it\nNBFT: leave it to nvme-discoverd\n"},
		{"Go", []string{"go", "run", examples + "controllers.go"}, "3 of 3: 3 of 3 controllers connected\nconnected nvme1 nqn.2024-01.com.example:vol0\n" +
			"connected nvme2 nqn.2024-01.com.example:vol1\nconnected nvme3 nqn.2024-01.com.example:vol2\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if _, err := exec.LookPath(test.run[0]); err != nil {
				t.Skip(err)
			}
			out, err := exec.Command(test.run[0], append(test.run[1:], d.Root.Socket())...).CombinedOutput()
			if err != nil || string(out) != test.want {
				t.Errorf("got %v\n%s\nwant\n%s", err, out, test.want)
			}
		})
	}
}

// What nvme-stas should ask waits for a service that is not there yet, as at boot, and for one that restarts; it says so. One that does
// not come looks after nothing.
func TestStasBeforeService(t *testing.T) {
	if _, err := exec.LookPath("python3"); err != nil {
		t.Skip(err)
	}
	socket := filepath.Join(t.TempDir(), "socket")
	cmd := exec.CommandContext(t.Context(), "python3", examples+"stas.py", "--patience=600", socket)
	errs, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	said, complained := bufio.NewScanner(out), bufio.NewScanner(errs)
	waiting := "nvme-discoverd does not answer on " + socket + " ([Errno 2] No such file or directory): waiting for it for 600 s"
	if !complained.Scan() || complained.Text() != waiting {
		t.Fatalf("before there is a socket: got %q, want %q", complained.Text(), waiting)
	}
	d, ctx := running(t, 1)
	dial(t, ctx, d).Close() // it listens
	if err := os.Symlink(d.Root.Socket(), socket); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"mDNS: look after it", "NBFT: leave it to nvme-discoverd"} {
		if !said.Scan() || said.Text() != want {
			t.Errorf("when the service is there: got %q, want %q", said.Text(), want)
		}
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // it was killed

	absent := filepath.Join(t.TempDir(), "socket")
	once := exec.Command("python3", examples+"stas.py", "--patience=0", "--once", absent)
	var complaints strings.Builder
	once.Stderr = &complaints
	got, err := once.Output()
	want := "nvme-discoverd does not answer on " + absent + " ([Errno 2] No such file or directory): it looks after nothing\n"
	if err != nil || string(got) != "mDNS: look after it\nNBFT: look after it\n" || complaints.String() != want {
		t.Errorf("without the service: got %v, %q and %q, want %q", err, got, complaints.String(), want)
	}
	client := exec.Command("python3", examples+"discoverd.py", absent)
	if got, err := client.CombinedOutput(); err == nil || string(got) != "cannot talk to nvme-discoverd on "+absent+": [Errno 2] No such file or directory\n" {
		t.Errorf("discoverd.py without the service: got %v, %q", err, got)
	}
}
