// SPDX-License-Identifier: GPL-3.0-or-later

package cli

import (
	"bufio"
	"bytes"
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/nvme-discoverd/nvme-discoverd/internal/paths"
)

// onFile runs a command whose stdout is a file and returns how it ended.
func onFile(root paths.Root, stdout *os.File, args ...string) (status int, stderr string) {
	var errs bytes.Buffer
	a := &app{now: time.Now, Env: Env{
		Version: "1.2.3", Args: append([]string{"--root", string(root)}, args...), Getenv: func(string) string { return "" }, Stdout: stdout, Stderr: &errs,
	}, connector: func() connector { return &fakeConnector{} }, capture: silent}
	status = a.run(context.Background())
	return status, errs.String()
}

// What cannot be written is a failure, whichever command it is. A unit's command has done its work all the same.
func TestFullDisk(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip(err)
	}
	defer full.Close()
	root := thirty().serve(t)
	const failure = "cannot write the output: write /dev/full: no space left on device\n"
	for _, test := range []struct {
		args   string
		status int
		stderr string
	}{
		{"version", Failed, failure},
		{"--version", Failed, failure},
		{"--help", Failed, failure},
		{"status --help", Failed, failure},
		{"help status", Failed, failure},
		{"completion bash", Failed, failure},
		{"status", Failed, failure},
		{"status --json", Failed, failure},
		{"status --dot", Failed, failure},
		{"status --svg", Failed, failure},
		{"status nvme1", Failed, failure},
		{"explain nvme1", Failed, failure},
		{"list", Failed, failure},
		{"logs", Failed, failure},
		{"logs --json", Failed, failure},
		{"metrics", Failed, failure},
		{"wait --for=ready", Failed, failure},
		{"watch", Failed, failure},
		{"config show", Failed, failure},
		{"disconnect -d nvme1", Done, ""}, // prints nothing
		{"connect -t loop -n " + nqn, Failed, failure},
		{"connect -t loop -n " + nqn + " --unit=" + unit, Done, ""},
		{"disconnect -t loop -n " + nqn + " --unit=" + unit, Done, ""},
		{"cleanup --unit=" + unit, Done, ""},
	} {
		status, stderr := onFile(root, full, strings.Fields(test.args)...)
		if status != test.status || stderr != test.stderr {
			t.Errorf("%s: got status %d and %q, want %d and %q", test.args, status, stderr, test.status, test.stderr)
		}
	}
}

// A pipe whose reader ends, as head does, ends watch at once, though nothing changes; and so it is no error.
func TestWatchClosedPipe(t *testing.T) {
	for _, args := range [][]string{{"watch"}, {"watch", "--json"}, {"watch", "nvme1"}} {
		root := three().serve(t)
		reader, writer, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		type result struct {
			status int
			stderr string
		}
		ended := make(chan result)
		go func() {
			status, stderr := onFile(root, writer, args...)
			ended <- result{status, stderr}
		}()
		if line, err := bufio.NewReader(reader).ReadString('\n'); err != nil || !strings.Contains(line, "3 of 3") {
			t.Errorf("%v: got %q, %v", args, line, err)
		}
		reader.Close()
		if got := <-ended; got != (result{Done, ""}) {
			t.Errorf("%v: got %+v, want status 0 and nothing on stderr", args, got)
		}
		writer.Close()
	}
}

// Watch outlives the daemon: it says that it is gone and that it is back, and goes on with how things are then.
func TestWatchRestart(t *testing.T) {
	for _, test := range []struct {
		args         []string
		stdout, errs []string // lines without their times, in order
	}{
		{[]string{"watch"}, []string{
			"3 of 3 controllers connected",
			"nvme-discoverd ended the connection: waiting for it to come back",
			"nvme-discoverd is back",
			"2 of 3 controllers connected",
		}, nil},
		{
			[]string{"watch", "nvme1", "--json"},
			[]string{`"status":"3 of 3 controllers connected"`, `"status":"2 of 3 controllers connected"`},
			[]string{"nvme-discoverd ended the connection: waiting for it to come back", "nvme-discoverd is back"},
		},
	} {
		s := three()
		root := paths.Root(t.TempDir())
		stop := s.serveAt(t, root)
		reader, writer, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		ended := make(chan string)
		go func() {
			status, stderr := onFile(root, writer, test.args...)
			if status != Done {
				t.Errorf("%v: exit status %d", test.args, status)
			}
			ended <- stderr
		}()
		lines := bufio.NewReader(reader)
		for i, want := range test.stdout {
			line, err := lines.ReadString('\n')
			if err != nil || !strings.Contains(line, want) {
				t.Errorf("%v: got %q, %v, want %q", test.args, line, err, want)
			}
			if i == 0 {
				stop()
				s.summary("2 of 3 controllers connected")
				defer s.serveAt(t, root)()
			}
		}
		reader.Close()
		stderr := <-ended
		if want := strings.Join(test.errs, "\n"); strings.TrimSuffix(stderr, "\n") != want {
			t.Errorf("%v: stderr is %q, want %q", test.args, stderr, want)
		}
		writer.Close()
	}
}
