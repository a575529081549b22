// SPDX-License-Identifier: GPL-3.0-or-later

package cli

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nvme-discoverd/nvme-discoverd/internal/core"
	"github.com/nvme-discoverd/nvme-discoverd/internal/discoverylog"
	"github.com/nvme-discoverd/nvme-discoverd/internal/paths"
	"github.com/nvme-discoverd/nvme-discoverd/internal/registry"
	"github.com/nvme-discoverd/nvme-discoverd/internal/tid"
)

// openTerminal returns the two ends of a new pseudo-terminal (pty(7)) of so many columns: that of the person, and that of programs.
func openTerminal(t *testing.T, columns int) (person, terminal *os.File) {
	t.Helper()
	person, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("there are no pseudo-terminals here: %v", err)
	}
	t.Cleanup(func() { person.Close() })
	number, err := unix.IoctlGetInt(int(person.Fd()), unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(int(person.Fd()), unix.TIOCSPTLCK, 0)
	}
	if err == nil {
		err = unix.IoctlSetWinsize(int(person.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: uint16(columns)})
	}
	if err != nil {
		t.Skipf("cannot open a pseudo-terminal: %v", err)
	}
	terminal, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("cannot open a pseudo-terminal: %v", err)
	}
	return person, terminal
}

// onTerminal runs a command on a pseudo-terminal of so many columns and returns what the person sees, without colours.
func onTerminal(t *testing.T, columns int, root paths.Root, args ...string) (status int, screen string) {
	t.Helper()
	person, terminal := openTerminal(t, columns)
	seen := make(chan string)
	go func() {
		var all bytes.Buffer
		_, _ = io.Copy(&all, person) // ends in an error when nobody has the terminal open any more
		seen <- all.String()
	}()
	a := &app{now: func() time.Time { return noon }, connector: func() connector { return &fakeConnector{} }, capture: silent, Env: Env{
		Version: "1.2.3", Args: append([]string{"--root", string(root)}, args...),
		Getenv: func(string) string { return "" }, Stdout: terminal, Stderr: io.Discard,
		Columns: func() int { return Columns(terminal) },
	}}
	status = a.run(context.Background())
	terminal.Close()
	return status, regexp.MustCompile("\x1b\\[[0-9;]*m|\r").ReplaceAllString(<-seen, "")
}

// long is a host with names as long as they may be: a discovery controller over IPv6 through an interface, one of whose two
// subsystems fails, and an NQN of 223 bytes.
func long(t *testing.T) (*standIn, string) {
	t.Helper()
	s := newStandIn()
	add := func(kind tid.Kind, nqn string) *core.TargetView {
		id, err := tid.New(tid.TID{
			Transport: "tcp", Traddr: "2001:db8:1234:5678:9abc:def0:1234:5678", NQN: nqn, HostIface: "enp129s0f1np1", HostNQN: hostNQN,
		}, kind)
		if err != nil {
			t.Fatal(err)
		}
		view := &core.TargetView{Unit: id.UnitName(), State: core.Connected, Since: noon.Add(-time.Hour), Device: fmt.Sprintf("nvme%d", 10+len(s.state.Targets))}
		view.Wish.TID, view.Wish.Kind = id, kind
		s.state.Targets = append(s.state.Targets, view)
		return view
	}
	longest := "nqn.2014-08.org.nvmexpress:" + strings.Repeat("a-long-name.", 16)
	longest += strings.Repeat("x", 223-len(longest))
	dc := add(tid.Discovery, "")
	dc.Sources = []string{"/etc/nvme/discoverd.conf.d/the-array-in-the-second-building-behind-the-lake.conf:12"}
	dc.PageRead = noon.Add(-time.Hour)
	dc.Page = &core.Page{Entries: []core.PageEntry{
		{Entry: discoverylog.Entry{Subtype: discoverylog.NVM, Transport: "tcp", NQN: longest, Traddr: dc.Wish.TID.Traddr, Trsvcid: "4420", CntlID: 0xffff}},
		{Entry: discoverylog.Entry{Subtype: discoverylog.NVM, Transport: "fc", NQN: longest, CntlID: 1}, Skipped: "transport fc cannot be reached from a discovery controller on tcp, which has no address of a Fibre Channel port"},
	}}
	for _, nqn := range []string{longest, "nqn.2014-08.org.nvmexpress:uuid:1b4e28ba-2fa1-11d2-883f-0016d3cca427", "nqn.2014-08.org.nvmexpress:uuid:1b4e28ba-2fa1-11d2-883f-0016d3cca428"} {
		view := add(tid.IO, nqn)
		view.Sources = []string{core.LogPageSource + dc.Wish.TID.String()}
	}
	fails(s.state.Targets[2], "cannot reach [2001:db8:1234:5678:9abc:def0:1234:5678]:4420 through enp129s0f1np1: no route to host")
	broken := s.state.Targets[3]
	s.devices[broken.Device] = "connecting"
	broken.Since, broken.ReconnectUntil = noon.Add(-2*time.Minute), noon.Add(8*time.Minute)
	s.summary("2 of 4 controllers connected, 1 reconnecting, 1 retrying")
	return s, longest
}

// On a real terminal of 60, 80 and 200 columns every listing breaks its lines itself, and loses nothing of what it lists.
func TestTerminal(t *testing.T) {
	s, longest := long(t)
	root := s.serve(t)
	write(t, root.Exclusions()+"/user.conf", "exclusion = nqn="+longest+"\n")
	write(t, root.DaemonConfig(), "[[discovery-controller]]\ncontroller = [{ transport = \"tcp\", traddr = \"2001:db8::1\", host-iface = \"enp129s0f1np1\" }]\n\n"+
		"[[subsystem]]\nnqn = \""+longest+"\"\ncontroller = [{ transport = \"tcp\", traddr = \"2001:db8::1\" }]\n")
	write(t, root.HostNQN(), hostNQN+"\n")
	for device, owner := range map[string]string{"nvme3": "discoverd", "nvme12": strings.Repeat("long-", 40)} {
		if err := registry.New(root).Create(device, map[string]string{"owner": owner, "seqnum": "4711"}); err != nil {
			t.Fatal(err)
		}
	}
	for _, columns := range []int{60, 80, 200} {
		for _, test := range []struct {
			args  []string
			shows []string // however it is broken
		}{
			{[]string{"status"}, []string{"no route to host"}},
			{[]string{"status", "--all"}, []string{longest, "behind-the-lake.conf", "nvme13 reconnecting 2min", "reconnecting for 2min, the kernel gives up in 8min"}},
			{[]string{"status", "--check"}, []string{"no route to host"}},
			{[]string{"status", longest}, []string{longest, s.state.Targets[1].Unit, "enp129s0f1np1"}},
			{[]string{"list"}, []string{longest, s.state.Targets[1].Unit, s.state.Targets[2].Unit, "for 2min, the kernel gives up in 8min"}},
			{[]string{"logs"}, []string{longest, "which has no address of a Fibre Channel port", "dynamic"}},
			{[]string{"explain", longest}, []string{longest, "2001:db8:1234:5678:9abc:def0:1234:5678", hostNQN}},
			{[]string{"explain", "nvme10"}, []string{"behind-the-lake.conf:12"}},
			{[]string{"explain", "nvme13"}, []string{"reconnecting for 2min, the kernel gives up in 8min", "give the connection up"}},
			{[]string{"exclusion", "list"}, []string{longest}},
			{[]string{"exclusion", "test", "transport=tcp;traddr=192.0.2.1;nqn=" + longest}, []string{longest}},
			{[]string{"registry", "list"}, []string{"seqnum=4711", strings.Repeat("long-", 40)}},
			{[]string{"legacy", "status"}, []string{"absent"}},
			{[]string{"hostnqn"}, []string{hostNQN}},
			{[]string{"config", "show"}, []string{longest, "enp129s0f1np1"}},
			{[]string{"nbft", "show", "--file", filepath.Join("..", "..", "testdata", "nbft", "dhcp-ipv6")}, nil},
			{[]string{"wait", "--for=ready"}, []string{"2 of 4"}},
			{[]string{"--help"}, nil},
			{[]string{"exclusion", "--help"}, nil},
		} {
			if file := test.args[len(test.args)-1]; test.args[0] == "nbft" {
				if _, err := os.Stat(file); err != nil {
					t.Fatal(err)
				}
			}
			status, screen := onTerminal(t, columns, root, test.args...)
			if want := test.args[0] == "status" && test.args[len(test.args)-1] == "--check"; (status == Failed) != want {
				t.Errorf("%v: exit status %d", test.args, status)
			}
			for line := range strings.Lines(screen) {
				if n := len([]rune(strings.TrimSuffix(line, "\n"))); n > columns {
					t.Errorf("%v at %d columns: a line of %d:\n%s", test.args, columns, n, screen)
					break
				}
			}
			whole := strings.Join(strings.Fields(strings.ReplaceAll(screen, "│", "")), "") // which draws the tree
			for _, want := range test.shows {
				if !strings.Contains(whole, strings.ReplaceAll(want, " ", "")) {
					t.Errorf("%v at %d columns: want %q in\n%s", test.args, columns, want, screen)
				}
			}
		}
	}
}

// A terminal that hangs up ends watch; on a narrow one its lines are broken.
func TestWatchHangup(t *testing.T) {
	s, longest := long(t)
	root := s.serve(t)
	person, terminal := openTerminal(t, 60)
	ended := make(chan int)
	go func() {
		a := &app{now: time.Now, Env: Env{
			Args: []string{"--root", string(root), "watch"}, Getenv: func(string) string { return "1" }, Stdout: terminal, Stderr: io.Discard,
			Columns: func() int { return Columns(terminal) },
		}}
		ended <- a.run(context.Background())
	}()
	lines, seen := bufio.NewReader(person), ""
	for !strings.Contains(seen, "noroutetohost") {
		line, err := lines.ReadString('\n')
		if err != nil {
			t.Fatalf("%v after %s", err, seen)
		}
		if n := len([]rune(strings.TrimRight(line, "\r\n"))); n > 60 {
			t.Errorf("a line of %d: %s", n, line)
		}
		seen += strings.Join(strings.Fields(line), "")
	}
	if strings.Contains(seen, longest) {
		t.Errorf("what is well is shown: %s", seen)
	}
	person.Close()
	if status := <-ended; status != Done {
		t.Errorf("exit status %d", status)
	}
	terminal.Close()
}

// In a pipe every row of a listing is one line.
func TestPipe(t *testing.T) {
	s, longest := long(t)
	_, out, _ := ctl(t, s.serve(t), 0, nil, "list")
	lines := strings.Split(strings.TrimSuffix(out, "\n"), "\n")
	if len(lines) != 5 || !strings.Contains(lines[2], longest+"  nvme-discoverd-") || !strings.HasSuffix(lines[4], ".service  for 2min, the kernel gives up in 8min") {
		t.Errorf("got\n%s", out)
	}
}

// A table puts what does not fit below each row.
func TestTable(t *testing.T) {
	for _, test := range []struct {
		columns int
		want    string
	}{
		{0, "KEY    VALUE        FROM\none    -            a-file:1\nthree  four-letter  a-longer-file-name:22\n"},
		{41, "KEY    VALUE        FROM\none    -            a-file:1\nthree  four-letter  a-longer-file-name:22\n"},
		{40, "KEY    VALUE\n    FROM\none    -\n    a-file:1\nthree  four-letter\n    a-longer-file-name:22\n"},
		{20, "KEY    VALUE\n    FROM\none    -\n    a-file:1\nthree  four-letter\n    a-longer-file-\n    name:22\n"},
	} {
		var out bytes.Buffer
		a := &app{Env: Env{Stdout: &out, Getenv: func(string) string { return "1" }, Columns: func() int { return test.columns }}}
		a.printTable(table{heading: true, rows: [][]string{{"KEY", "VALUE", "FROM"}, {"one", "", "a-file:1"}, {"three", "four-letter", "a-longer-file-name:22"}}})
		if out.String() != test.want {
			t.Errorf("%d columns: got\n%s\nwant\n%s", test.columns, out.String(), test.want)
		}
	}
}
