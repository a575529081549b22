// SPDX-License-Identifier: GPL-3.0-or-later

package shutdown

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"
	"github.com/google/go-cmp/cmp"

	"github.com/nvme-discoverd/nvme-discoverd/internal/paths"
)

// Each step is a look at one moment: a controller and what it shows, and what is to be given up and told then.
func TestWatch(t *testing.T) {
	const patience = 10 * time.Second
	type step struct {
		at   int // seconds
		seen []Controller
		want string
	}
	at := func(state string) []Controller { return []Controller{{Name: "nvme1", State: state}} }
	foreign := []Controller{{Name: "nvme1", State: "connecting", Owner: "stas"}}
	second := []Controller{{Name: "nvme1", State: "connecting", LivePath: "nvme2"}, {Name: "nvme2", State: "live"}}
	for _, test := range []struct {
		name  string
		steps []step
	}{
		{"live", []step{{0, at("live"), ""}, {100, at("live"), ""}}},
		{"gone from the begin on", []step{{0, at("connecting"), ""}, {9, at("connecting"), ""}, {10, at("connecting"), "nvme1"}, {11, at("connecting"), "nvme1"}}},
		{"gone later", []step{{0, at("live"), ""}, {20, at("resetting"), ""}, {29, at("connecting"), ""}, {30, at("connecting"), "nvme1"}}},
		{"back in time", []step{{0, at("connecting"), ""}, {9, at("live"), ""}, {11, at("connecting"), ""}, {20, at("connecting"), ""}, {21, at("connecting"), "nvme1"}}},
		{"never live", []step{{0, at("new"), ""}, {10, at("new"), "nvme1"}}},
		{"going", []step{{0, at("deleting"), ""}, {10, at("deleting (no IO)"), ""}, {20, at("dead"), ""}}},
		{"a live path", []step{{0, second, ""}, {20, second, ""}}},
		{"a path that was live", []step{{0, second, ""}, {20, at("connecting"), ""}, {29, at("connecting"), ""}, {30, at("connecting"), "nvme1"}}},
		{"another orchestrator's", []step{{0, foreign, ""}, {10, foreign, "foreign nvme1"}, {11, foreign, ""}}},
		{"another one of that name", []step{{0, at("connecting"), ""}, {5, nil, ""}, {6, at("connecting"), ""}, {15, at("connecting"), ""}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWatch()
			begin := time.Now()
			for _, s := range test.steps {
				now := begin.Add(time.Duration(s.at) * time.Second)
				w.look(now, s.seen)
				due, foreign := w.due(now, patience)
				var got []string
				for _, c := range due {
					got = append(got, c.Name)
				}
				for _, c := range foreign {
					got = append(got, "foreign "+c.Name)
				}
				if strings.Join(got, " ") != s.want {
					t.Errorf("after %d s: got %q, want %q", s.at, got, s.want)
				}
			}
		})
	}
}

// host is a system in a temporary directory.
type host struct {
	t    *testing.T
	root paths.Root
}

func newHost(t *testing.T) host { return host{t, paths.Root(t.TempDir())} }

func (h host) put(path, text string) {
	h.t.Helper()
	path = h.root.Join(path)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		h.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		h.t.Fatal(err)
	}
}

func (h host) get(path string) string {
	h.t.Helper()
	data, err := os.ReadFile(h.root.Join(path))
	if err != nil {
		h.t.Fatal(err)
	}
	return string(data)
}

// controller adds one, in a subsystem.
func (h host) controller(name, state, subsystem string) {
	h.t.Helper()
	dir := "sys/devices/virtual/nvme-fabrics/ctl/" + name
	h.put(dir+"/state", state+"\n")
	h.put(dir+"/subsysnqn", "nqn."+subsystem+"\n")
	h.put(dir+"/ctrl_loss_tmo", "600\n")
	h.put(dir+"/delete_controller", "")
	for _, link := range []string{"sys/class/nvme/" + name, "sys/class/nvme-subsystem/" + subsystem + "/" + name} {
		link = h.root.Join(link)
		if err := os.MkdirAll(filepath.Dir(link), 0o755); err != nil {
			h.t.Fatal(err)
		}
		if err := os.Symlink(h.root.Join(dir), link); err != nil {
			h.t.Fatal(err)
		}
	}
}

func TestControllers(t *testing.T) {
	for _, multipath := range []string{"Y", "N"} {
		t.Run("multipath "+multipath, func(t *testing.T) {
			h := newHost(t)
			h.put("sys/module/nvme_core/parameters/multipath", multipath+"\n")
			h.controller("nvme1", "connecting", "subsys1")
			h.controller("nvme2", "live", "subsys1")
			h.controller("nvme3", "connecting", "subsys2")
			h.controller("nvme4", "connecting", "subsys2")
			h.put("run/nvme/registry/nvme1/owner", "discoverd\n")
			h.put("run/nvme/registry/nvme2/owner", "nbft\n")
			h.put("run/nvme/registry/nvme3/owner", "stas\n")
			got, err := controllers(h.root)
			if err != nil {
				t.Fatal(err)
			}
			want := []Controller{
				{Name: "nvme1", NQN: "nqn.subsys1", State: "connecting"},
				{Name: "nvme2", NQN: "nqn.subsys1", State: "live"},
				{Name: "nvme3", NQN: "nqn.subsys2", State: "connecting", Owner: "stas"},
				{Name: "nvme4", NQN: "nqn.subsys2", State: "connecting"},
			}
			if multipath == "Y" {
				want[0].LivePath = "nvme2"
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("controllers (-want +got):\n%s", diff)
			}
		})
	}
}

func TestGiveUp(t *testing.T) {
	h := newHost(t)
	h.controller("nvme1", "connecting", "subsys1")
	h.controller("nvme2", "live", "subsys1")
	const ctl = "sys/devices/virtual/nvme-fabrics/ctl/"
	if given, err := giveUp(h.root, "nvme1"); !given || err != nil {
		t.Errorf("a lost one: %v, %v", given, err)
	}
	if h.get(ctl+"nvme1/ctrl_loss_tmo") != "0" || h.get(ctl+"nvme1/delete_controller") != "1" {
		t.Error("a lost one is not given up")
	}
	// It came back between the look and this.
	if given, err := giveUp(h.root, "nvme2"); given || err != nil {
		t.Errorf("a live one: %v, %v", given, err)
	}
	if got := h.get(ctl + "nvme2/ctrl_loss_tmo"); got != "600" || h.get(ctl+"nvme2/delete_controller") != "" {
		t.Errorf("a live one is given up, or has a ctrl_loss_tmo of %s", got)
	}
	if given, err := giveUp(h.root, "nvme3"); given || err != nil {
		t.Errorf("one that is not there: %v, %v", given, err)
	}
}

// The bytes are those of struct dm_ioctl and struct dm_target_msg of the kernel's headers (include/uapi/linux/dm-ioctl.h), for device
// 254:259. What strace shows of `dmsetup message -j 254 -m 259 0 fail_if_no_path` (Debian 13) has the same request number, start of
// data (312), device (0x10fe03), sector and message; a larger buffer (16384), version 4.2.0, and two flags that say what the
// kernel knows (0xc).
func TestTargetMessage(t *testing.T) {
	got := targetMessage(254, 259, "fail_if_no_path")
	if len(got) != 312+8+16 {
		t.Fatalf("%d bytes", len(got))
	}
	want := "040000000000000000000000" + "50010000" + "38010000" + strings.Repeat("00", 20) + "03fe100000000000"
	if head := hex.EncodeToString(got[:48]); head != want {
		t.Errorf("header: got %s, want %s", head, want)
	}
	if message := string(got[320:]); message != "fail_if_no_path\x00" {
		t.Errorf("message: got %q", message)
	}
}

func TestPathless(t *testing.T) {
	h := newHost(t)
	h.put("sys/class/block/dm-0/dm/uuid", "mpath-uuid.1\n")
	h.put("sys/class/block/dm-1/dm/uuid", "LVM-x\n")
	h.put("sys/class/block/nvme1n1/holders/dm-0", "")
	h.put("sys/class/block/nvme1n1/holders/dm-1", "")
	if got := multipathMaps(h.root, []string{"nvme1n1", "nvme2n1"}); len(got) != 1 || got[0] != "dm-0" {
		t.Errorf("maps: got %q", got)
	}
	state := map[string]bool{"nvme1n1": false, "nvme2n1": true}
	live := func(name string) (bool, bool) {
		live, known := state[name]
		return known, live
	}
	for _, test := range []struct {
		slaves []string
		want   bool
	}{{nil, true}, {[]string{"nvme1n1"}, true}, {[]string{"nvme1n1", "nvme2n1"}, false}, {[]string{"nvme1n1", "sda"}, false}} {
		_ = os.RemoveAll(h.root.Join("sys/class/block/dm-0/slaves"))
		if err := os.Mkdir(h.root.Join("sys/class/block/dm-0/slaves"), 0o755); err != nil {
			t.Fatal(err)
		}
		for _, s := range test.slaves {
			h.put("sys/class/block/dm-0/slaves/"+s, "")
		}
		if got := pathless(h.root, "dm-0", live); got != test.want {
			t.Errorf("of %q: got %v", test.slaves, got)
		}
	}
	if pathless(h.root, "dm-7", live) {
		t.Error("a map that is gone has no paths")
	}
}

// systemd answers on its private socket, without a Hello, as the real one does.
func TestGoingDown(t *testing.T) {
	type job struct {
		ID                uint32
		Unit, Type, State string
		Job, Path         dbus.ObjectPath
	}
	for _, test := range []struct {
		name, state string
		jobs        []job
		down        bool
		end         string
	}{
		{name: "running", state: "running", jobs: []job{{Unit: "reboot.target", Type: "stop"}}},
		{name: "reboot", state: "stopping", jobs: []job{{Unit: "mnt.mount", Type: "stop"}, {Unit: "reboot.target", Type: "start"}}, down: true, end: "reboot.target"},
		{name: "of no known end", state: "stopping", jobs: []job{{Unit: "poweroff.target", Type: "stop"}}, down: true},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := newHost(t)
			for i := range test.jobs {
				test.jobs[i].Job, test.jobs[i].Path = "/j", "/u"
			}
			h.serve(func(call *dbus.Message) any {
				if call.Headers[dbus.FieldMember].Value() == "Get" {
					return dbus.MakeVariant(test.state)
				}
				return test.jobs
			})
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			down, end, err := goingDown(ctx, h.root)
			if down != test.down || end != test.end || err != nil {
				t.Errorf("got %v, %q, %v", down, end, err)
			}
		})
	}
	t.Run("nobody there", func(t *testing.T) {
		if _, _, err := goingDown(t.Context(), newHost(t).root); err == nil || !strings.HasPrefix(err.Error(), "cannot ask systemd whether the system is shutting down: ") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("mute", func(t *testing.T) {
		h := newHost(t)
		h.listen()
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		if _, _, err := goingDown(ctx, h.root); err == nil {
			t.Error("no error")
		}
	})
}

func (h host) listen() net.Listener {
	h.t.Helper()
	socket := h.root.SystemdPrivate()
	if err := os.MkdirAll(filepath.Dir(socket), 0o755); err != nil {
		h.t.Fatal(err)
	}
	listener, err := net.Listen("unix", socket)
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { listener.Close() })
	return listener
}

// serve answers the calls of one connection.
func (h host) serve(answer func(*dbus.Message) any) {
	listener := h.listen()
	go func() {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		in := bufio.NewReader(conn)
		for {
			line, err := in.ReadString('\n')
			if err != nil {
				return
			}
			said := strings.Trim(line, "\x00\r\n")
			if said == "BEGIN" {
				break
			}
			if said == "AUTH" {
				fmt.Fprint(conn, "REJECTED EXTERNAL\r\n")
			} else {
				fmt.Fprintf(conn, "OK %s\r\n", strings.Repeat("0", 32))
			}
		}
		for {
			call, err := dbus.DecodeMessage(in)
			if err != nil {
				return
			}
			body := answer(call)
			reply := *call // for its serial number, which only godbus can set
			reply.Type, reply.Body = dbus.TypeMethodReply, []any{body}
			reply.Headers = map[dbus.HeaderField]dbus.Variant{
				dbus.FieldReplySerial: dbus.MakeVariant(call.Serial()),
				dbus.FieldSignature:   dbus.MakeVariant(dbus.SignatureOf(body)),
			}
			if err := reply.EncodeTo(conn, binary.LittleEndian); err != nil {
				return
			}
		}
	}()
}

func TestMapped(t *testing.T) {
	got := mapped(`55d0a000-55d0b000 r--p 00000000 fd:00 1234       /usr/lib/systemd/a b
7ffc0000-7ffd0000 rw-p 00000000 00:00 0          [stack]
7f000000-7f001000 rw-p 00000000 00:00 0
none
zz-yy r--p 00000000 fd:00 1 /x
`)
	want := []mapping{{0x55d0a000, 0x55d0b000, "/usr/lib/systemd/a b"}}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(mapping{})); diff != "" {
		t.Errorf("mapped (-want +got):\n%s", diff)
	}
}

func TestMounts(t *testing.T) {
	var m mounts
	begin := time.Now()
	at := func(seconds int) time.Time { return begin.Add(time.Duration(seconds) * time.Second) }
	m.set([]string{"a\n", "b\n"}, at(0))
	m.set([]string{"a\n"}, at(60))
	if got := m.recent(at(61)); got != "a\nb\n" {
		t.Errorf("just unmounted: got %q", got)
	}
	if got := m.recent(at(60 + 31)); got != "a\n" {
		t.Errorf("unmounted long ago: got %q", got)
	}
	m.set([]string{"a\n", "b\n"}, at(62))
	if got := m.recent(at(62)); got != "a\nb\n" {
		t.Errorf("mounted again: got %q", got)
	}
}

// A place that hangs keeps nobody from speaking in another, or from the end.
func TestSpeaker(t *testing.T) {
	s := &speaker{}
	hangs := make(chan struct{})
	defer close(hangs)
	heard := make(chan string, 1000)
	s.add(func(line string) { <-hangs })
	s.add(func(line string) { heard <- line })
	for i := range 1000 {
		s.say("line %d", i)
		if got := <-heard; got != fmt.Sprint("line ", i) {
			t.Fatalf("got %q", got)
		}
	}
	s.say("the last word")
	s.flush()
	select {
	case got := <-heard:
		if got != "the last word" {
			t.Errorf("got %q", got)
		}
	default:
		t.Error("flush did not wait")
	}
	s.close()
	s.say("to nobody")
	s.flush()
}

// Stopped while the system does not go down, a Watcher ends; it gives up nothing.
func TestStoppedByHand(t *testing.T) {
	h := newHost(t)
	h.controller("nvme1", "connecting", "subsys1")
	h.serve(func(*dbus.Message) any { return dbus.MakeVariant("running") })
	w := NewWatcher(h.root, os.Stderr)
	w.stayInMemory = func() error { return nil }
	ready := make(chan struct{})
	w.ready = func() { close(ready) }
	ended := make(chan error, 1)
	go func() { ended <- w.Run(t.Context()) }()
	<-ready
	if err := syscall.Kill(os.Getpid(), syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if h.get("sys/devices/virtual/nvme-fabrics/ctl/nvme1/delete_controller") != "" {
		t.Error("a controller is given up")
	}
}

// systemd may come to the end of its work before it answers. The program in its place is the answer.
func TestSystemdReplaced(t *testing.T) {
	h := newHost(t)
	h.put("proc/1/comm", "systemd\n")
	if replaced(h.root) {
		t.Error("systemd itself counts as replaced")
	}
	h.put("proc/1/comm", "systemd-shutdow\n")
	answered := make(chan answer, 1)
	NewWatcher(h.root, os.Stderr).ask(t.Context(), answered)
	if got := <-answered; got != (answer{down: true}) {
		t.Errorf("got %+v, want that the system shuts down", got)
	}
}
