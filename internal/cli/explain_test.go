// SPDX-License-Identifier: GPL-3.0-or-later

package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/nvme-discoverd/nvme-discoverd/internal/api/client"
	"github.com/nvme-discoverd/nvme-discoverd/internal/blockuse"
	"github.com/nvme-discoverd/nvme-discoverd/internal/core"
	"github.com/nvme-discoverd/nvme-discoverd/internal/discoverylog"
	"github.com/nvme-discoverd/nvme-discoverd/internal/recording"
	"github.com/nvme-discoverd/nvme-discoverd/internal/recording/recordingtest"
)

// explainAt runs explain against a host that has what a daemon with this state makes: units, a journal, controllers.
func explainAt(t *testing.T, s *standIn, columns int, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	root := s.serve(t)
	write(t, root.Exclusions()+"/user.conf", "exclusion = nqn="+vol(5)+"\n")
	write(t, root.SysClassNVMe()+"/nvme2/queue_count", "3\n")
	write(t, root.SysClassNVMe()+"/nvme2/ctrl_loss_tmo", "600\n")
	host := &fakeConnector{owners: map[string]string{"nvme2": "discoverd"}, uses: map[string]blockuse.Use{"nvme2": {By: []string{"nvme2n1 is mounted on /srv"}}}}
	for _, c := range []string{"nvme1", "nvme2", "nvme8"} {
		host.controllers = append(host.controllers, tcp(c, "192.0.2.10", vol(1)))
	}
	host.controllers[1].SrcAddr, host.controllers[1].SrcIface = "192.0.2.99", "eth0"
	capture := func(_ context.Context, argv ...string) ([]byte, error) {
		unit := argv[len(argv)-1]
		switch {
		case strings.HasSuffix(argv[0], "/journalctl"):
			unit = strings.TrimPrefix(unit, "_SYSTEMD_UNIT=")
			if !slices.Contains(argv, "NVME_UNIT="+unit) || !slices.Contains(argv, "_UID=0") {
				t.Errorf("asked %q", argv)
			}
			line := func(ago time.Duration, priority int, message string) string {
				return fmt.Sprintf(`{"__REALTIME_TIMESTAMP":"%d","PRIORITY":"%d","MESSAGE":%s}`+"\n", noon.Add(-ago).UnixMicro(), priority, message)
			}
			return []byte(line(26*time.Hour, 6, `"Started `+unit+`."`) + line(5*time.Minute, 3, `[98,97,100,27]`) + "{}\nrubbish\n"), nil
		case unit == s.state.Targets[1].Unit:
			return []byte("LoadState=loaded\nActiveState=active\nSubState=exited\nResult=success\nStateChangeTimestamp=@" + fmt.Sprint(noon.Add(-time.Hour).Unix()) + "\n"), nil
		case unit == s.state.Targets[0].Unit:
			return nil, errors.New("exit status 1")
		}
		return []byte("LoadState=not-found\nActiveState=inactive\nSubState=dead\nResult=success\nStateChangeTimestamp=\n"), nil
	}
	var out, errs bytes.Buffer
	a := &app{now: func() time.Time { return noon }, connector: func() connector { return host }, capture: capture, Env: Env{
		Args: append([]string{"--root", string(root), "explain"}, args...), Getenv: func(string) string { return "1" }, // NO_COLOR
		Stdout: &out, Stderr: &errs, Columns: func() int { return columns },
	}}
	status = a.run(context.Background())
	return status, strings.ReplaceAll(out.String(), string(root), ""), strings.ReplaceAll(errs.String(), string(root), "")
}

// paged is thirty with the log page of the first discovery controller.
func paged() *standIn {
	s := thirty()
	page := &core.Page{}
	for n := 1; n <= 3; n++ {
		page.Entries = append(page.Entries, core.PageEntry{Entry: discoverylog.Entry{
			Subtype: discoverylog.NVM, Transport: "tcp", NQN: vol(n), Traddr: "192.0.2.10", Trsvcid: "4420", PortID: 7, CntlID: 0xffff,
		}})
	}
	s.state.Targets[0].Page = page
	s.state.Targets[2].Phase = "queued"
	s.state.Targets[2].State = core.Connecting
	return s
}

// Everything about a connection is on one screen, whatever has become of it.
func TestExplain(t *testing.T) {
	for name, target := range map[string]string{
		"connected": "nvme2", "queued": vol(2), "failing": vol(3), "excluded": vol(5), "stopped": vol(6), "broken": "nvme8", "foreign": "nvme9",
		"dc": "nvme1",
	} {
		for _, columns := range []int{0, 60, 80, 200} {
			status, out, errs := explainAt(t, paged(), columns, target)
			if status != Done || errs != "" {
				t.Fatalf("%s: exit status %d, stderr %q", name, status, errs)
			}
			if columns == 80 {
				checkGolden(t, "explain-"+name+".txt", out)
			}
			checkFits(t, out, columns)
			if n := strings.Count(out, "\n"); n > 40 || columns == 80 && n > 24 {
				t.Errorf("%s at %d columns: got %d lines", name, columns, n)
			}
		}
	}
	_, out, _ := explainAt(t, paged(), 0, vol(3), "--json")
	checkGolden(t, "explain-failing.json", out)
}

// What a connection was, and when, is read from the recording of the service. Attempts that fail for one reason are one line.
func TestExplainHistory(t *testing.T) {
	s := newStandIn()
	dc := s.dc("192.0.2.10", "nvme1")
	s.ioc(dc, 1)
	s.recording = recordingtest.Story(t)
	_, out, errs := explainAt(t, s, 80, "nvme1")
	const want = `    history  12:00:00 connecting
             12:00:00 connected nvme1
             12:01:01 waiting
`
	if !strings.Contains(out, want) || strings.Contains(out, "cannot show the history") {
		t.Errorf("got %s and\n%s\nwant\n%s", errs, out, want)
	}
	if _, out, _ := explainAt(t, s, 0, vol(1)); strings.Contains(out, "history") {
		t.Errorf("of one that is not in the recording:\n%s", out)
	}
	s.recording = recordingtest.Changed(t, s.recording)
	if _, out, _ = explainAt(t, s, 0, "nvme1"); !strings.Contains(out, "the history may be wrong: the service is of another version") {
		t.Errorf("of another version:\n%s", out)
	}
	s.recording = []byte("rubbish")
	if _, out, _ = explainAt(t, s, 0, "nvme1"); !strings.Contains(out, "cannot show the history: it is no recording") {
		t.Errorf("of rubbish:\n%s", out)
	}
}

// The last states of a connection are kept, and of attempts the first and the last time.
func TestHistory(t *testing.T) {
	p := past{states: map[string][]pastState{}}
	target := *three().state.Targets[1]
	id := target.Wish.TID.Canonical()
	at := noon
	note := func(state core.State, device, lastError string, count int) {
		at = at.Add(time.Second)
		target.State, target.Device, target.LastError, target.ErrorCount = state, device, lastError, count
		p.note(&target, at)
	}
	note(core.Connecting, "", "", 0)
	note(core.Connecting, "", "", 0)
	for n := range 3 {
		note(core.Waiting, "", "refused", n+1)
		note(core.Connecting, "", "refused", n+1)
	}
	note(core.Connected, "nvme2", "refused", 3)
	note(core.Reconnecting, "nvme2", "", 0)
	want := []pastState{
		{Time: "2026-11-21T12:00:01Z", State: "connecting"},
		{Time: "2026-11-21T12:00:03Z", State: "waiting", Error: "refused", Times: 3, Until: "2026-11-21T12:00:07Z"},
		{Time: "2026-11-21T12:00:08Z", State: "connecting"},
		{Time: "2026-11-21T12:00:09Z", State: "connected", Device: "nvme2"},
		{Time: "2026-11-21T12:00:10Z", State: "reconnecting", Device: "nvme2"},
	}
	if diff := cmp.Diff(want, p.states[id]); diff != "" {
		t.Error(diff)
	}
	a := &app{now: func() time.Time { return noon }}
	if got := a.historyText(want[1]); got != "12:00:03  waiting: refused (3 times, last at 12:00:07)" {
		t.Errorf("got %q", got)
	}
	for n := range 20 {
		note(core.Connected, fmt.Sprint("nvme", n+3), "", 0)
	}
	if got := p.states[id]; len(got) != historyLines || got[historyLines-1].Device != "nvme22" {
		t.Errorf("got %v", got)
	}
}

// Of a large recording the last segments are read.
func TestLatest(t *testing.T) {
	start, step := recording.Record{Start: &recording.Start{}}, recording.Record{}
	records := []recording.Record{start, step, step, start, step, start, step, step, step}
	for most, want := range map[int]int{100: 9, 9: 9, 8: 6, 6: 6, 5: 4, 4: 4, 1: 4} {
		if got := latest(records, most); len(got) != want {
			t.Errorf("of at most %d: got %d, want %d", most, len(got), want)
		}
	}
	if got := latest([]recording.Record{step}, 1); len(got) != 1 {
		t.Errorf("without a start: got %d", len(got))
	}
}

// Until when the kernel reconnects is told as far as it is known.
func TestGivesUp(t *testing.T) {
	for _, test := range []struct{ tries, want string }{
		{"", "the kernel, which reconnects it; when it gives up is not known"},
		{"off", "the kernel, which reconnects it and does not give up"},
		{"-1", "the kernel, which reconnects it and does not give up"},
		{"600", "the kernel, which reconnects it and gives it up 600s after the connection broke"},
	} {
		e := explainer{app: &app{}}
		d := &deviceState{Attributes: map[string]string{"ctrl_loss_tmo": test.tries}}
		if got := e.waitsFor(client.Controller{State: "reconnecting"}, d); got != test.want {
			t.Errorf("%q: got %q, want %q", test.tries, got, test.want)
		}
	}
}

// checkFits checks that no line is longer than the screen.
func checkFits(t *testing.T, text string, columns int) {
	t.Helper()
	for line := range strings.Lines(text) {
		if n := len([]rune(strings.TrimSuffix(line, "\n"))); columns > 0 && n > columns {
			t.Errorf("got a line of %d columns, want at most %d: %s", n, columns, line)
		}
	}
}

// Of each failure something to look at is told.
func TestRemedies(t *testing.T) {
	for text, want := range map[string]string{
		"cannot reach 192.0.2.11:4420: connection refused":                           "nothing listens at 192.0.2.11:4420",
		"cannot reach 192.0.2.11:4420: no route to host":                             "there is no way to 192.0.2.11:4420",
		"cannot reach 192.0.2.11:4420: i/o timeout":                                  "192.0.2.11:4420 does not answer",
		"the host needs a DH-HMAC-CHAP secret for this subsystem (ENOKEY)":           "compare the secrets",
		"the target does not know this subsystem or does not let this host in (EIO)": "compare the host NQN",
		"cannot resolve array: no such host":                                         "look the name up",
	} {
		s := newStandIn()
		fails(s.ioc(s.dc("192.0.2.11", "nvme1"), 1), text)
		status, out, errs := explainAt(t, s, 0, vol(1))
		if status != Done || !strings.Contains(out, want) || !strings.Contains(out, "to try at once: nvme-discoverctl retry") {
			t.Errorf("%s: got status %d, %s and\n%s\nwant %q", text, status, errs, out, want)
		}
	}
}

// Each thing that a connection can wait for is told in words.
func TestWaitsFor(t *testing.T) {
	for _, phase := range []string{"blocked", "inspecting", "probing", "queued", "clearing", "job", "associating", "unknown", "parking", "ending", "resolving"} {
		s := three()
		s.state.Targets[1].Phase = phase
		root := s.serve(t)
		_, out, _ := ctl(t, root, 0, nil, "explain", vol(1))
		if !strings.Contains(out, "  waits for  ") {
			t.Errorf("%s: got\n%s", phase, out)
		}
	}
	source, err := os.ReadFile("../core/attempt.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, phase := range []string{"blocked", "inspecting", "probing", "queued", "clearing", "job", "associating", "unknown", "parking", "ending"} {
		if !strings.Contains(string(source), `"`+phase+`"`) {
			t.Errorf("the core has no step %s any more", phase)
		}
	}
}

func TestFolded(t *testing.T) {
	s := screen{columns: 30}
	for _, test := range []struct {
		text string
		want []string
	}{
		{"short", []string{"short"}},
		{"a few words that go beyond it", []string{"a few words that go", "beyond it"}},
		{"nqn.2014-08.org.nvmexpress:uuid:1b4e28ba", []string{"nqn.2014-08.org.", "nvmexpress:uuid:", "1b4e28ba"}},
		{strings.Repeat("x", 25), []string{strings.Repeat("x", 20), "xxxxx"}},
	} {
		if diff := cmp.Diff(test.want, s.folded(test.text, 10)); diff != "" {
			t.Errorf("%q: %s", test.text, diff)
		}
	}
}
