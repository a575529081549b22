// SPDX-License-Identifier: GPL-3.0-or-later

package sysfs

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/nvme-discoverd/nvme-discoverd/internal/paths"
	"github.com/nvme-discoverd/nvme-discoverd/internal/tid"
)

// attrs is the content of a controller's directory, without the newlines.
type attrs map[string]string

func ioAttrs(nqn string) attrs {
	return attrs{
		"transport": "tcp", "address": "traddr=192.0.2.1,trsvcid=4420,src_addr=192.0.2.100", "subsysnqn": nqn,
		"hostnqn": nqnHost, "hostid": "11111111-2222-3333-4444-555555555555", "cntrltype": "io", "state": "live",
	}
}

// tree builds /sys as the kernel does: devices in one place, links to them in another.
type tree struct {
	*testing.T
	root paths.Root
}

func newTree(t *testing.T) tree {
	tr := tree{t, paths.Root(t.TempDir())}
	if err := os.MkdirAll(tr.root.SysClassNVMe(), 0o755); err != nil {
		t.Fatal(err)
	}
	return tr
}

func (t tree) link(name, parent string) (dir string) {
	t.Helper()
	target := filepath.Join("../../devices", parent, name)
	if err := os.Symlink(target, filepath.Join(t.root.SysClassNVMe(), name)); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(t.root.SysClassNVMe(), target)
}

func (t tree) fabrics(name string, a attrs) {
	t.Helper()
	dir := t.link(name, "virtual/nvme-fabrics/ctl")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for attr, value := range a {
		if err := os.WriteFile(filepath.Join(dir, attr), []byte(value+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// unreadable makes an attribute that fails for everyone who reads it.
func (t tree) unreadable(name, attr string) {
	t.Helper()
	if err := os.Mkdir(filepath.Join(t.root.SysClassNVMe(), name, attr), 0o755); err != nil {
		t.Fatal(err)
	}
}

// wedged makes an attribute whose readers wait until end is called, and get nothing then.
func (t tree) wedged(name, attr string) (end func()) {
	t.Helper()
	path := filepath.Join(t.root.SysClassNVMe(), name, attr)
	err := os.Remove(path)
	if err == nil {
		err = syscall.Mkfifo(path, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	return func() {
		fifo, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		fifo.Close()
	}
}

func (t tree) reader() Reader {
	return Reader{Root: t.root, IfaceOf: func(addr string) string {
		return map[string]string{"192.0.2.100": "eth0", "192.0.2.101": "eth1", "2001:db8::100": "eth2"}[addr]
	}}
}

func TestNames(t *testing.T) {
	tr := newTree(t)
	for _, name := range []string{"nvme10", "nvme2", "nvme1"} {
		tr.fabrics(name, nil)
	}
	// The target of a PCIe controller is missing here: it is told by the link alone.
	tr.link("nvme0", "pci0000:00/0000:00:03.0/nvme")
	tr.link("nvme", "virtual/nvme-fabrics/ctl")
	tr.link("nvme1c2", "virtual/nvme-fabrics/ctl")
	tr.link("nvme+3", "virtual/nvme-fabrics/ctl")
	if err := os.WriteFile(filepath.Join(tr.root.SysClassNVMe(), "nvme4"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	got, err := tr.reader().Names()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"nvme1", "nvme2", "nvme10"}, got); diff != "" {
		t.Errorf("names (-want +got):\n%s", diff)
	}
}

func TestNoNVMe(t *testing.T) {
	r := NewReader(paths.Root(t.TempDir()))
	if names, err := r.Names(); names != nil || err != nil {
		t.Errorf("Names: %v, %v; want nothing and no error", names, err)
	}
	if all, err := r.Scan(); all != nil || err != nil {
		t.Errorf("Scan: %v, %v; want nothing and no error", all, err)
	}
	if c, ok, unread, err := r.Serving(tid.TID{}); ok || unread != nil || err != nil {
		t.Errorf("Serving: %v, %v, %v, %v; want nothing and no error", c, ok, unread, err)
	}
}

func TestRead(t *testing.T) {
	live := Controller{
		Name: "nvme1", Transport: "tcp", Traddr: "192.0.2.1", Trsvcid: "4420", NQN: nqnA, HostNQN: nqnHost,
		HostID: "11111111-2222-3333-4444-555555555555", SrcAddr: "192.0.2.100", SrcIface: "eth0", State: "live", Type: "io",
	}
	for _, test := range []struct {
		name   string
		change attrs // of the attributes of live
		want   func(*Controller)
	}{
		{"live", nil, func(*Controller) {}},
		{
			"connecting and pinned",
			attrs{"state": "connecting", "address": "traddr=192.0.2.1,trsvcid=4420,host_traddr=192.0.2.101,host_iface=eth1"},
			func(c *Controller) {
				c.State, c.HostTraddr, c.HostIface, c.SrcAddr, c.SrcIface = "connecting", "192.0.2.101", "eth1", "", "eth1"
			},
		},
		{
			"reconnecting for ten minutes",
			attrs{"state": "connecting", "ctrl_loss_tmo": "600", "address": "traddr=192.0.2.1,trsvcid=4420"},
			func(c *Controller) {
				c.State, c.SrcAddr, c.SrcIface, c.LossTimeout = "connecting", "", "", 10*time.Minute
			},
		},
		{
			"reconnecting forever",
			attrs{"state": "resetting", "ctrl_loss_tmo": "off", "address": "traddr=192.0.2.1,trsvcid=4420"},
			func(c *Controller) { c.State, c.SrcAddr, c.SrcIface, c.LossTimeout = "resetting", "", "", -1 },
		},
		{"how long it would be reconnected does not matter while it is live", attrs{"ctrl_loss_tmo": "600"}, func(*Controller) {}},
		{
			"not up yet",
			attrs{
				"state": "new", "subsysnqn": "(efault)", "cntrltype": "reserved", "hostid": "none",
				"address": "traddr=192.0.2.1,trsvcid=4420,host_traddr=none,host_iface=none",
			},
			func(c *Controller) {
				c.State, c.NQN, c.Type, c.HostID, c.SrcAddr, c.SrcIface = "new", "", "reserved", "", "", ""
			},
		},
		{
			"IPv6",
			attrs{"address": "traddr=2001:DB8:0:0::1,trsvcid=04420,src_addr=2001:db8::100"},
			func(c *Controller) { c.Traddr, c.SrcAddr, c.SrcIface = "2001:db8::1", "2001:db8::100", "eth2" },
		},
		{
			"mapped IPv4",
			attrs{"address": "traddr=::ffff:192.0.2.1,trsvcid=4420,src_addr=::ffff:192.0.2.100"},
			func(*Controller) {},
		},
		{
			"link-local: the zone of the source address is that of the target",
			attrs{"address": "traddr=fe80::1%eth5,trsvcid=4420,src_addr=fe80::2"},
			func(c *Controller) { c.Traddr, c.SrcAddr, c.SrcIface = "fe80::1%eth5", "fe80::2%eth5", "eth5" },
		},
		{
			"link-local: the zone of the source address is the interface that was pinned",
			attrs{"address": "traddr=fe80::1,trsvcid=4420,host_iface=eth5,src_addr=fe80::2"},
			func(c *Controller) {
				c.Traddr, c.HostIface, c.SrcAddr, c.SrcIface = "fe80::1", "eth5", "fe80::2%eth5", "eth5"
			},
		},
		{
			"source address that no interface holds",
			attrs{"address": "traddr=192.0.2.1,trsvcid=4420,src_addr=192.0.2.102"},
			func(c *Controller) { c.SrcAddr, c.SrcIface = "192.0.2.102", "" },
		},
		{
			"rdma",
			attrs{"transport": "rdma", "address": "traddr=192.0.2.1,trsvcid=4420,host_traddr=192.0.2.100"},
			func(c *Controller) { c.Transport, c.HostTraddr, c.SrcAddr = "rdma", "192.0.2.100", "" },
		},
		{
			"fc",
			attrs{"transport": "fc", "address": "traddr=nn-000000000000002A,pn-0x000000000000001A,host_traddr=nn-0x000000000000002B,PN-000000000000001B"},
			func(c *Controller) {
				c.Transport, c.Traddr, c.Trsvcid, c.HostTraddr = "fc", "nn-0x000000000000002a:pn-0x000000000000001a", "", "nn-0x000000000000002b:pn-0x000000000000001b"
				c.SrcAddr, c.SrcIface = "", ""
			},
		},
		{
			"loop",
			attrs{"transport": "loop", "address": ""},
			func(c *Controller) {
				c.Transport, c.Traddr, c.Trsvcid, c.SrcAddr, c.SrcIface = "loop", "", "", "", ""
			},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			tr := newTree(t)
			a := ioAttrs(nqnA)
			for attr, value := range test.change {
				a[attr] = value
			}
			tr.fabrics("nvme1", a)
			want := live
			test.want(&want)
			got, err := tr.reader().Read("nvme1")
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("controller (-want +got):\n%s", diff)
			}
		})
	}
}

func TestReadWithoutAttributes(t *testing.T) {
	tr := newTree(t)
	tr.fabrics("nvme1", attrs{"state": "deleting (no IO)"})
	got, err := tr.reader().Read("nvme1")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(Controller{Name: "nvme1", State: "deleting (no IO)"}, got); diff != "" {
		t.Errorf("controller (-want +got):\n%s", diff)
	}
}

// The state alone: of a controller, of one that is gone, and never of what is not called as one.
func TestState(t *testing.T) {
	tr := newTree(t)
	tr.fabrics("nvme1", attrs{"state": "connecting"})
	for _, test := range []struct {
		name, want string
		fails      bool
	}{{"nvme1", "connecting", false}, {"nvme9", "", false}, {"../nvme1", "", true}} {
		if got, err := tr.reader().State(test.name); got != test.want || (err != nil) != test.fails {
			t.Errorf("%s: got %q, %v, want %q", test.name, got, err, test.want)
		}
	}
}

func TestReadErrors(t *testing.T) {
	tr := newTree(t)
	tr.link("nvme0", "pci0000:00/0000:00:03.0/nvme")
	tr.link("nvme1", "virtual/nvme-fabrics/ctl") // gone between the look at the link and the look at the directory
	tr.fabrics("nvme2", attrs{"transport": "tcp"})
	tr.fabrics("nvme3", attrs{"state": "live"})
	tr.unreadable("nvme3", "subsysnqn")
	class := tr.root.SysClassNVMe()
	for _, test := range []struct {
		device, want string
		gone         bool
	}{
		{"../nvme3", `cannot use device name "../nvme3": it must be nvme and a number, such as nvme3`, false},
		{"nvme0", "cannot read controller nvme0: no such fabrics controller: file does not exist", true},
		{"nvme1", "cannot read controller nvme1: open " + class + "/nvme1: no such file or directory", true},
		{"nvme2", "cannot read controller nvme2: its state cannot be read any more: file does not exist", true},
		{"nvme3", "cannot read controller nvme3: read " + class + "/nvme3/subsysnqn: is a directory", false},
		{"nvme4", "cannot read controller nvme4: no such fabrics controller: file does not exist", true},
	} {
		_, err := tr.reader().Read(test.device)
		if err == nil {
			t.Errorf("%s: no error, want %q", test.device, test.want)
			continue
		}
		if diff := cmp.Diff(test.want, err.Error()); diff != "" {
			t.Errorf("%s: error (-want +got):\n%s", test.device, diff)
		}
		if errors.Is(err, fs.ErrNotExist) != test.gone {
			t.Errorf("%s: is fs.ErrNotExist: %v, want %v", test.device, !test.gone, test.gone)
		}
	}
}

func TestAttribute(t *testing.T) {
	failure := errors.New("broken")
	for _, test := range []struct {
		data    string
		err     error
		want    string
		wantErr error
	}{
		{data: "live\n", want: "live"},
		{data: "deleting (no IO)\n", want: "deleting (no IO)"},
		{data: "\n"},
		{data: ""},
		{data: "none\n"},
		{data: "(efault)\n"},
		{data: "(null)\n"},
		{err: &fs.PathError{Op: "read", Path: "state", Err: syscall.ENODEV}},
		{err: &fs.PathError{Op: "open", Path: "state", Err: syscall.ENOENT}},
		{err: failure, wantErr: failure},
	} {
		got, err := value([]byte(test.data), test.err)
		if got != test.want || err != test.wantErr {
			t.Errorf("%q, %v: got %q, %v; want %q, %v", test.data, test.err, got, err, test.want, test.wantErr)
		}
	}
}

func TestUeventSeqnum(t *testing.T) {
	tr := newTree(t)
	path := tr.root.UeventSeqnum()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		content string
		want    uint64
		err     string
	}{
		{"18446744073709551615\n", 1<<64 - 1, ""},
		{"x\n", 0, `cannot read the number of the last uevent: strconv.ParseUint: parsing "x": invalid syntax`},
	} {
		if err := os.WriteFile(path, []byte(test.content), 0o644); err != nil {
			t.Fatal(err)
		}
		got, err := NewReader(tr.root).UeventSeqnum()
		text := ""
		if err != nil {
			text = err.Error()
		}
		if got != test.want || text != test.err {
			t.Errorf("%q: %d, %q, want %d, %q", test.content, got, text, test.want, test.err)
		}
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if _, err := NewReader(tr.root).UeventSeqnum(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("without the file: %v", err)
	}
}

func TestScan(t *testing.T) {
	tr := newTree(t)
	tr.link("nvme0", "pci0000:00/0000:00:03.0/nvme")
	tr.fabrics("nvme10", ioAttrs(nqnB))
	tr.fabrics("nvme1", ioAttrs(nqnA))
	tr.link("nvme2", "virtual/nvme-fabrics/ctl") // vanishes while we look
	all, err := tr.reader().Scan()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, c := range all {
		got = append(got, c.Name+" "+c.NQN)
	}
	if diff := cmp.Diff([]string{"nvme1 " + nqnA, "nvme10 " + nqnB}, got); diff != "" {
		t.Errorf("controllers (-want +got):\n%s", diff)
	}

	tr.fabrics("nvme3", attrs{"state": "live"})
	tr.unreadable("nvme3", "hostnqn")
	if _, err := tr.reader().Scan(); err == nil {
		t.Error("a controller that cannot be read was left out without a word")
	}
}

func TestServing(t *testing.T) {
	tr := newTree(t)
	for i := range 20 {
		name := "nvme" + strconv.Itoa(i)
		tr.fabrics(name, attrs{"subsysnqn": "nqn.2024-01.com.example:" + strconv.Itoa(i), "cntrltype": "io"})
		tr.unreadable(name, "address") // it must not be needed
	}
	tr.fabrics("nvme20", ioAttrs(nqnA))
	dc := ioAttrs("nqn.2024-01.com.example:unique-dc")
	dc["address"], dc["cntrltype"] = "traddr=192.0.2.1,trsvcid=8009,src_addr=192.0.2.100", "discovery"
	tr.fabrics("nvme21", dc)

	wish := tid.TID{Transport: "tcp", Traddr: "192.0.2.1", Trsvcid: "4420", NQN: nqnA}
	for _, test := range []struct {
		name   string
		change func(*tid.TID)
		want   string
	}{
		{"I/O", func(*tid.TID) {}, "nvme20"},
		{"I/O by the interface", func(t *tid.TID) { t.HostIface = "eth0" }, "nvme20"},
		{"I/O by another interface", func(t *tid.TID) { t.HostIface = "eth1" }, ""},
		{"no such NQN", func(t *tid.TID) { t.NQN = nqnB }, ""},
		{"DC", func(t *tid.TID) { t.NQN, t.Trsvcid = tid.DiscoveryNQN, "8009" }, "nvme21"},
		{"DC by its own NQN", func(t *tid.TID) { t.NQN, t.Trsvcid = "nqn.2024-01.com.example:unique-dc", "8009" }, "nvme21"},
		{"DC at another port", func(t *tid.TID) { t.NQN, t.Trsvcid = tid.DiscoveryNQN, "8010" }, ""},
	} {
		w := wish
		test.change(&w)
		got, ok, unread, err := tr.reader().Serving(w)
		if err != nil || unread != nil {
			t.Fatalf("%s: %v, %v", test.name, unread, err)
		}
		if got.Name != test.want || ok != (test.want != "") {
			t.Errorf("%s: served by %q (%v), want %q", test.name, got.Name, ok, test.want)
		}
	}
}

// Whether a controller leads to another address is told without the attribute that waits for its connection.
func TestServingByUevent(t *testing.T) {
	tr := newTree(t)
	for name, uevent := range map[string]string{
		"nvme1": "NVME_TRTYPE=tcp\nNVME_TRADDR=192.0.2.2\nNVME_TRSVCID=4420",
		"nvme2": "NVME_TRADDR=192.0.2.1\nNVME_TRSVCID=4421",
		"nvme3": "NVME_TRADDR=fe80::1%eth5\nNVME_TRSVCID=04420",
		"nvme4": "NVME_TRADDR=none\nNVME_TRSVCID=none",
		"nvme5": "NVME_TRTYPE=rdma\nNVME_TRADDR=192.0.2.1\nNVME_TRSVCID=4421",
		"nvme6": "NVME_TRADDR=192.0.2.1\nNVME_TRSVCID=4421\nNVME_HOST_IFACE=eth0",
	} {
		tr.fabrics(name, attrs{"subsysnqn": nqnA, "state": "live", "uevent": uevent, "hostnqn": map[string]string{"nvme2": nqnB}[name]})
		tr.unreadable(name, "address")
	}
	for _, test := range []struct {
		tid.TID
		read string // the controllers whose address matters, with ! where the target address is known to be the same
	}{
		{tid.TID{Transport: "tcp", Traddr: "192.0.2.3", Trsvcid: "4420", NQN: nqnA}, "nvme4"},
		{tid.TID{Transport: "tcp", Traddr: "192.0.2.1", Trsvcid: "4421", NQN: nqnA}, "nvme2! nvme4 nvme6!"},
		{tid.TID{Transport: "tcp", Traddr: "fe80::1", Trsvcid: "4420", HostIface: "eth5", NQN: nqnA}, "nvme3! nvme4"},
		{tid.TID{Transport: "tcp", Traddr: "192.0.2.1", Trsvcid: "4421", HostIface: "eth1", NQN: nqnA}, "nvme2! nvme4"},
		{tid.TID{Transport: "tcp", Traddr: "192.0.2.1", Trsvcid: "4421", HostNQN: nqnHost, NQN: nqnA}, "nvme4 nvme6!"},
		{tid.TID{Transport: "fc", Traddr: "nn-0x000000000000002A:pn-0x000000000000001A", NQN: nqnA}, "nvme4"},
	} {
		_, ok, unread, err := tr.reader().Serving(test.TID)
		if ok || err != nil {
			t.Errorf("%s: served, %v", test.TID, err)
		}
		var names []string
		for _, u := range unread {
			if u.Alike {
				u.Name += "!"
			}
			names = append(names, u.Name)
		}
		if got := strings.Join(names, " "); got != test.read {
			t.Errorf("%s: read %q, want %q", test.TID, got, test.read)
		}
	}
}

// Controllers that do not answer and those that cannot be read keep none from being found, and are told where none is.
func TestServingBesideWedged(t *testing.T) {
	tr := newTree(t)
	hangs := ioAttrs(nqnA)
	hangs["address"] = "traddr=192.0.2.2,trsvcid=4420,src_addr=192.0.2.101"
	tr.fabrics("nvme1", hangs)
	end := tr.wedged("nvme1", "address")
	defer end()
	tr.fabrics("nvme2", attrs{"state": "live"})
	tr.unreadable("nvme2", "subsysnqn")
	tr.fabrics("nvme3", ioAttrs(nqnA))

	wish := tid.TID{Transport: "tcp", Traddr: "192.0.2.1", Trsvcid: "4420", NQN: nqnA}
	if got, ok, unread, err := tr.reader().Serving(wish); got.Name != "nvme3" || !ok || unread != nil || err != nil {
		t.Errorf("served by %q, %t, %v, %v; want nvme3", got.Name, ok, unread, err)
	}
	wish.Traddr = "192.0.2.3"
	got, ok, unread, err := tr.reader().Serving(wish)
	if ok || err != nil {
		t.Errorf("served by %q, %v; want by none", got.Name, err)
	}
	class := tr.root.SysClassNVMe()
	want := map[string]string{
		"nvme1": "cannot read the attributes of nvme1: sysfs does not answer",
		"nvme2": "cannot read controller nvme2: read " + class + "/nvme2/subsysnqn: is a directory",
	}
	told := map[string]string{}
	for _, u := range unread {
		told[u.Name] = u.Err.Error()
	}
	if diff := cmp.Diff(want, told); diff != "" {
		t.Errorf("unread (-want +got):\n%s", diff)
	}
}

func TestLookup(t *testing.T) {
	ifaceOf := NewReader("").lookup()
	for addr, want := range map[string]string{
		"127.0.0.1":        "lo",
		"::ffff:127.0.0.1": "lo",
		"192.0.2.77":       "",
		"fe80::1%eth7":     "eth7",
		"nn-0x0000000000000001:pn-0x0000000000000001": "",
	} {
		got, err := ifaceOf(addr)
		if err != nil {
			t.Fatal(err)
		}
		if got != want {
			t.Errorf("interface of %s is %q, want %q", addr, got, want)
		}
	}
}

func FuzzAddress(f *testing.F) {
	f.Fuzz(func(t *testing.T, transport, address string) {
		c := Controller{Transport: transport, State: "live", NQN: nqnA}
		c.setAddress(address)
		if !strings.Contains(address, ",src_addr=") && !strings.HasPrefix(address, "src_addr=") && c.SrcAddr != "" {
			t.Errorf("%q has no src_addr, got %q", address, c.SrcAddr)
		}
		again := c
		again.zoneOfSource()
		if again != c {
			t.Errorf("%q: the zone of the source address is added twice: %+v, %+v", address, c, again)
		}
		// A wish made of what was read is served by it, if it can be made at all.
		wish, err := tid.New(tid.TID{
			Transport: transport, Traddr: c.Traddr, Trsvcid: c.Trsvcid, NQN: nqnA, HostTraddr: c.HostTraddr, HostIface: c.HostIface,
		}, tid.IO)
		if err == nil && c.Trsvcid != "" && !c.Serves(wish) {
			t.Errorf("%q: %+v does not serve %+v", address, c, wish)
		}
	})
}
