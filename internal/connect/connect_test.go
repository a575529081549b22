// SPDX-License-Identifier: GPL-3.0-or-later

package connect

import (
	"context"
	"encoding/json"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/nvme-discoverd/nvme-discoverd/internal/fabrics"
	"github.com/nvme-discoverd/nvme-discoverd/internal/param"
	"github.com/nvme-discoverd/nvme-discoverd/internal/state"
	"github.com/nvme-discoverd/nvme-discoverd/internal/tid"
	"github.com/nvme-discoverd/nvme-discoverd/internal/wish"
)

const (
	devid   = "discoverd/units/nvme-discoverd-0123456789ab.devid"
	result  = "discoverd/units/nvme-discoverd-0123456789ab.service.result"
	binding = "discoverd/controllers/nvme3/unit"
	owner   = "registry/nvme3/owner"
	seqnum  = "registry/nvme3/seqnum"
)

// recorded is what a good connect of nvme3 leaves.
var recorded = map[string]string{devid: "nvme3\n", binding: unit + "\n", owner: "discoverd\n", seqnum: "102\n"}

func with(records map[string]string, pairs ...string) map[string]string {
	all := make(map[string]string)
	for k, v := range records {
		all[k] = v
	}
	for i := 0; i < len(pairs); i += 2 {
		all[pairs[i]] = pairs[i+1]
	}
	return all
}

func TestConnect(t *testing.T) {
	refused := func(errno syscall.Errno) error {
		return &fabrics.Error{TID: ioc().TID, Errno: errno, Meaning: "nothing listens", Advice: "start it"}
	}
	otherHost := ioc().TID
	otherHost.HostNQN = "nqn.2014-08.org.nvmexpress:uuid:2"
	duplicate, err := param.Set{}.With(param.DuplicateConnect, "true")
	if err != nil {
		t.Fatal(err)
	}

	for _, test := range []struct {
		name     string
		host     func(*host)
		request  func(*Request)
		device   string
		err      string
		result   state.Result
		records  map[string]string
		writes   int // to the kernel
		warnings []string
	}{
		{
			name: "new", device: "nvme3", records: recorded, writes: 1,
		},
		{
			name:    "by hand: nobody's",
			request: func(r *Request) { *r = Request{Wish: wish.Wish{TID: ioc().TID}} },
			device:  "nvme3", records: map[string]string{}, writes: 1,
		},
		{
			name: "an entry of an earlier nvme3 does not make the new one foreign",
			host: func(h *host) { h.write("/run/nvme/registry/nvme3/owner", "stas\n") },
			request: func(r *Request) {
				*r = Request{Wish: wish.Wish{TID: ioc().TID}}
			},
			device: "nvme3", records: map[string]string{}, writes: 1,
		},
		{
			name:   "an earlier failure is forgotten",
			host:   func(h *host) { h.write("/run/nvme/"+result, "{}\n") },
			device: "nvme3", records: recorded, writes: 1,
		},
		{
			name:   "option that the kernel does not know",
			host:   func(h *host) { h.dropped = []string{"tos", "fast_io_fail_tmo"} },
			device: "nvme3", records: recorded, writes: 1,
			warnings: []string{"cannot set tos and fast_io_fail_tmo of nvme3: this kernel does not know it; connected without"},
		},
		{
			name:   "connected and nobody's: claimed",
			host:   func(h *host) { h.controller("nvme3", ioc().TID) },
			device: "nvme3", records: recorded,
		},
		{
			name: "connected and ours: a second run changes nothing",
			host: func(h *host) {
				h.controller("nvme3", ioc().TID)
				for path, data := range with(recorded, owner, "nbft\n", seqnum, "7\n") {
					h.write("/run/nvme/"+path, data)
				}
			},
			device: "nvme3", records: with(recorded, owner, "nbft\n", seqnum, "7\n"),
		},
		{
			name: "by hand without a unit, connected and ours",
			host: func(h *host) {
				h.controller("nvme3", ioc().TID)
				for path, data := range recorded {
					h.write("/run/nvme/"+path, data)
				}
			},
			request: func(r *Request) { *r = Request{Wish: wish.Wish{TID: ioc().TID}, Idempotent: true} },
			device:  "nvme3", records: recorded,
		},
		{
			name:    "connected, without --idempotent",
			host:    func(h *host) { h.controller("nvme3", ioc().TID) },
			request: func(r *Request) { *r = Request{Wish: ioc()} },
			err:     "cannot connect (tcp, 192.0.2.1, 4420, nqn.2024-01.com.example:vol1): it is already connected as nvme3",
			records: map[string]string{},
		},
		{
			name:    "a duplicate is asked for",
			host:    func(h *host) { h.controller("nvme2", ioc().TID) },
			request: func(r *Request) { *r = Request{Wish: wish.Wish{TID: ioc().TID, Params: duplicate}} },
			device:  "nvme3", records: map[string]string{}, writes: 1,
		},
		{
			name:   "connected for another host: not ours to use",
			host:   func(h *host) { h.controller("nvme1", otherHost) },
			device: "nvme3", records: with(recorded, seqnum, "104\n"), writes: 1,
		},
		{
			name: "owned by another orchestrator",
			host: func(h *host) {
				h.controller("nvme3", ioc().TID)
				h.write("/run/nvme/registry/nvme3/owner", "stas\n")
			},
			err:     "cannot connect (tcp, 192.0.2.1, 4420, nqn.2024-01.com.example:vol1): it is connected as nvme3, which is owned by stas",
			result:  state.Result{Meaning: "cannot connect (tcp, 192.0.2.1, 4420, nqn.2024-01.com.example:vol1): it is connected as nvme3, which is owned by stas"},
			records: map[string]string{owner: "stas\n"},
		},
		{
			name: "owned by nvme-cli's automatic connects, which are in force",
			host: func(h *host) {
				h.controller("nvme3", ioc().TID)
				h.write("/run/nvme/registry/nvme3/owner", "autoconnect\n")
				h.write("/lib/udev/rules.d/70-nvmf-autoconnect.rules", "# rule\n")
			},
			err:     "cannot connect (tcp, 192.0.2.1, 4420, nqn.2024-01.com.example:vol1): it is connected as nvme3, which is owned by autoconnect",
			result:  state.Result{Meaning: "cannot connect (tcp, 192.0.2.1, 4420, nqn.2024-01.com.example:vol1): it is connected as nvme3, which is owned by autoconnect"},
			records: map[string]string{owner: "autoconnect\n"},
		},
		{
			name: "owned by nvme-cli's automatic connects, one of which runs although they are masked",
			host: func(h *host) {
				h.controller("nvme3", ioc().TID)
				h.write("/run/nvme/registry/nvme3/owner", "autoconnect\n")
				h.program(h.root.Systemctl(), "echo nvmf-connect@x.service masked active running")
			},
			err:     "cannot connect (tcp, 192.0.2.1, 4420, nqn.2024-01.com.example:vol1): it is connected as nvme3, which is owned by autoconnect",
			result:  state.Result{Meaning: "cannot connect (tcp, 192.0.2.1, 4420, nqn.2024-01.com.example:vol1): it is connected as nvme3, which is owned by autoconnect"},
			records: map[string]string{owner: "autoconnect\n"},
		},
		{
			name: "owned by nvme-cli's automatic connects, which are not in force: claimed",
			host: func(h *host) {
				h.controller("nvme3", ioc().TID)
				h.write("/run/nvme/registry/nvme3/owner", "autoconnect\n")
				h.program(h.root.Systemctl(), "")
			},
			device: "nvme3", records: recorded,
		},
		{
			name: "owned by nvme-cli's automatic connects, of which nothing is known",
			host: func(h *host) {
				h.controller("nvme3", ioc().TID)
				h.write("/run/nvme/registry/nvme3/owner", "autoconnect\n")
				h.program(h.root.Systemctl(), "echo no bus >&2; exit 1")
			},
			err:      "cannot connect (tcp, 192.0.2.1, 4420, nqn.2024-01.com.example:vol1): it is connected as nvme3, which is owned by autoconnect",
			result:   state.Result{Meaning: "cannot connect (tcp, 192.0.2.1, 4420, nqn.2024-01.com.example:vol1): it is connected as nvme3, which is owned by autoconnect"},
			records:  map[string]string{owner: "autoconnect\n"},
			warnings: []string{"cannot tell whether nvme-cli's automatic connects run: no bus"},
		},
		{
			name:    "excluded",
			host:    func(h *host) { h.write("/etc/nvme/exclusions/10-lab.conf", "\nexclusion = traddr=192.0.2.1\n") },
			err:     `cannot connect (tcp, 192.0.2.1, 4420, nqn.2024-01.com.example:vol1): it is excluded by "traddr=192.0.2.1" in /etc/nvme/exclusions/10-lab.conf:2`,
			result:  state.Result{Meaning: `cannot connect (tcp, 192.0.2.1, 4420, nqn.2024-01.com.example:vol1): it is excluded by "traddr=192.0.2.1" in /etc/nvme/exclusions/10-lab.conf:2`},
			records: map[string]string{},
		},
		{
			name: "excluded but connected: exclusions are for the next connect",
			host: func(h *host) {
				h.write("/etc/nvme/exclusions/10-lab.conf", "exclusion = traddr=192.0.2.1\n")
				h.controller("nvme3", ioc().TID)
			},
			device: "nvme3", records: recorded,
		},
		{
			name:   "bad exclusion: said once, excludes nothing",
			host:   func(h *host) { h.write("/etc/nvme/exclusions/a.conf", "exclusion = ip=192.0.2.1\n") },
			device: "nvme3", records: recorded, writes: 1,
			warnings: []string{`/etc/nvme/exclusions/a.conf:1: cannot use exclusion "ip=192.0.2.1": unknown key "ip", the keys are transport, traddr, trsvcid, nqn, host-traddr, host-iface, hostnqn, hostid; the line excludes nothing`},
		},
		{
			name:    "refused by the kernel",
			host:    func(h *host) { h.refuse = refused(syscall.ECONNREFUSED) },
			err:     "cannot connect (tcp, 192.0.2.1, 4420, nqn.2024-01.com.example:vol1): nothing listens (connection refused): start it",
			result:  state.Result{Errno: int(syscall.ECONNREFUSED), Meaning: "nothing listens"},
			records: map[string]string{}, writes: 1,
		},
		{
			name: "an option that the kernel does not know",
			host: func(h *host) { h.refuse = &fabrics.UnknownOptionError{TID: ioc().TID, Option: "concat"} },
			err:  `cannot connect (tcp, 192.0.2.1, 4420, nqn.2024-01.com.example:vol1): this kernel does not know the option "concat": do without it, or use a kernel that has it`,
			result: state.Result{
				Meaning: `cannot connect (tcp, 192.0.2.1, 4420, nqn.2024-01.com.example:vol1): this kernel does not know the option "concat": do without it, or use a kernel that has it`,
				Lacks:   "concat",
			},
			records: map[string]string{}, writes: 1,
		},
		{
			name: "EALREADY: another program was faster",
			host: func(h *host) {
				h.refuse = refused(syscall.EALREADY)
				h.before = func() { h.controller("nvme3", ioc().TID) }
			},
			device: "nvme3", records: recorded, writes: 1,
		},
		{
			name: "EALREADY without --idempotent",
			host: func(h *host) {
				h.refuse = refused(syscall.EALREADY)
				h.before = func() { h.controller("nvme3", ioc().TID) }
			},
			request: func(r *Request) { *r = Request{Wish: ioc()} },
			err:     "cannot connect (tcp, 192.0.2.1, 4420, nqn.2024-01.com.example:vol1): it is already connected as nvme3",
			records: map[string]string{}, writes: 1,
		},
		{
			name:    "EALREADY and nothing in sysfs",
			host:    func(h *host) { h.refuse = fabricsAlready(t) },
			err:     "cannot connect (tcp, 192.0.2.1, 4420, nqn.2024-01.com.example:vol1): the kernel has such a connection already (operation already in progress): look for it; no controller in sysfs serves it, so one of another host-traddr or host-iface is in the way: disconnect that, or pin this one or allow it with --duplicate-connect",
			result:  state.Result{Errno: int(syscall.EALREADY), Meaning: "the kernel has such a connection already"},
			records: map[string]string{}, writes: 1,
		},
		{
			name:    "nobody's that the kernel reconnects, and may take another path than the one that is pinned",
			host:    func(h *host) { h.reconnecting("nvme3", ioc().TID) },
			request: func(r *Request) { r.Wish.TID.HostIface = "eth1" },
			err:     "cannot tell yet whether nvme3 serves (tcp, 192.0.2.1, 4420, nqn.2024-01.com.example:vol1, eth1): it is in state connecting and does not show its source address",
			result:  state.Result{Meaning: "cannot tell yet whether nvme3 serves (tcp, 192.0.2.1, 4420, nqn.2024-01.com.example:vol1, eth1): it is in state connecting and does not show its source address"},
			records: map[string]string{},
		},
		{
			name:   "nobody's that the kernel reconnects, by whatever path",
			host:   func(h *host) { h.reconnecting("nvme3", ioc().TID) },
			device: "nvme3", records: recorded,
		},
		{
			name: "another controller of the subsystem cannot be read",
			host: func(h *host) {
				h.controller("nvme1", ioc().TID)
				h.unreadable("nvme1")
			},
			device: "nvme3", records: with(recorded, seqnum, "104\n"), writes: 1,
		},
		{
			name: "another unit's at the same address cannot be read",
			host: func(h *host) {
				h.controller("nvme1", ioc().TID)
				h.unreadable("nvme1")
				h.known("nvme1", ioc().TID)
				h.write("/run/nvme/discoverd/controllers/nvme1/unit", unit2+"\n")
			},
			device: "nvme3", records: with(recorded, seqnum, "104\n", "discoverd/controllers/nvme1/unit", unit2+"\n"), writes: 1,
		},
		{
			name: "nobody's at the same address cannot be read",
			host: func(h *host) {
				h.controller("nvme1", ioc().TID)
				h.unreadable("nvme1")
				h.known("nvme1", ioc().TID)
			},
			err:     "cannot tell whether (tcp, 192.0.2.1, 4420, nqn.2024-01.com.example:vol1) is connected as nvme1 already: cannot read controller nvme1: read /sys/class/nvme/nvme1/address: is a directory",
			result:  state.Result{Meaning: "cannot tell whether (tcp, 192.0.2.1, 4420, nqn.2024-01.com.example:vol1) is connected as nvme1 already: cannot read controller nvme1: read /sys/class/nvme/nvme1/address: is a directory"},
			records: map[string]string{},
		},
		{
			name: "EALREADY and one that cannot be read",
			host: func(h *host) {
				h.controller("nvme1", ioc().TID)
				h.unreadable("nvme1")
				h.refuse = fabricsAlready(t)
			},
			err:     "cannot connect (tcp, 192.0.2.1, 4420, nqn.2024-01.com.example:vol1): the kernel has such a connection already (operation already in progress): look for it; it may be nvme1: cannot read controller nvme1: read /sys/class/nvme/nvme1/address: is a directory",
			result:  state.Result{Errno: int(syscall.EALREADY), Meaning: "the kernel has such a connection already"},
			records: map[string]string{}, writes: 1,
		},
		{
			name: "a second one is asked for, and the first cannot be read",
			host: func(h *host) {
				h.controller("nvme1", ioc().TID)
				h.unreadable("nvme1")
			},
			request: func(r *Request) { r.Wish.Params = duplicate },
			err:     "cannot tell whether (tcp, 192.0.2.1, 4420, nqn.2024-01.com.example:vol1) is connected as nvme1 already: cannot read controller nvme1: read /sys/class/nvme/nvme1/address: is a directory",
			result:  state.Result{Meaning: "cannot tell whether (tcp, 192.0.2.1, 4420, nqn.2024-01.com.example:vol1) is connected as nvme1 already: cannot read controller nvme1: read /sys/class/nvme/nvme1/address: is a directory"},
			records: map[string]string{},
		},
		{
			name: "discovery controller, and another unit's cannot be read",
			host: func(h *host) {
				h.controller("nvme1", dc().TID)
				h.unreadable("nvme1")
				h.write("/run/nvme/discoverd/controllers/nvme1/unit", unit2+"\n")
			},
			request: func(r *Request) { r.Wish = dc() },
			device:  "nvme3", records: with(recorded, seqnum, "104\n", "discoverd/controllers/nvme1/unit", unit2+"\n"), writes: 1,
		},
		{
			name: "discovery controller, and another unit's at the same address cannot be read",
			host: func(h *host) {
				h.controller("nvme1", dc().TID)
				h.unreadable("nvme1")
				h.known("nvme1", dc().TID)
				h.write("/run/nvme/discoverd/controllers/nvme1/unit", unit2+"\n")
			},
			request: func(r *Request) { r.Wish = dc() },
			err:     "cannot tell whether (tcp, 192.0.2.1, 8009, nqn.2014-08.org.nvmexpress.discovery) is connected as nvme1 already: cannot read controller nvme1: read /sys/class/nvme/nvme1/address: is a directory",
			result:  state.Result{Meaning: "cannot tell whether (tcp, 192.0.2.1, 8009, nqn.2014-08.org.nvmexpress.discovery) is connected as nvme1 already: cannot read controller nvme1: read /sys/class/nvme/nvme1/address: is a directory"},
			records: map[string]string{"discoverd/controllers/nvme1/unit": unit2 + "\n"},
		},
		{
			name: "discovery controller, and nobody's cannot be read",
			host: func(h *host) {
				h.controller("nvme1", dc().TID)
				h.unreadable("nvme1")
			},
			request: func(r *Request) { r.Wish = dc() },
			err:     "cannot tell whether (tcp, 192.0.2.1, 8009, nqn.2014-08.org.nvmexpress.discovery) is connected as nvme1 already: cannot read controller nvme1: read /sys/class/nvme/nvme1/address: is a directory",
			result:  state.Result{Meaning: "cannot tell whether (tcp, 192.0.2.1, 8009, nqn.2014-08.org.nvmexpress.discovery) is connected as nvme1 already: cannot read controller nvme1: read /sys/class/nvme/nvme1/address: is a directory"},
			records: map[string]string{},
		},
		{
			name:     "connected but not recorded",
			host:     func(h *host) { h.write("/run/nvme/discoverd/units", "") },
			err:      "cannot record nvme3, which is connected: cannot write /run/nvme/discoverd/units/nvme-discoverd-0123456789ab.devid: mkdir /run/nvme/discoverd/units: not a directory",
			writes:   1,
			records:  map[string]string{owner: "discoverd\n", seqnum: "102\n", "discoverd/units": ""},
			warnings: []string{"cannot write /run/nvme/discoverd/units/nvme-discoverd-0123456789ab.service.result: mkdir /run/nvme/discoverd/units: not a directory"},
		},
		{
			name:    "bad address",
			request: func(r *Request) { r.Wish.TID.Traddr = "array1" },
			err:     `cannot use traddr "array1": transport tcp needs an IP address`,
			result:  state.Result{Meaning: `cannot use traddr "array1": transport tcp needs an IP address`},
			records: map[string]string{},
		},
		{
			name:    "bad owner",
			request: func(r *Request) { r.Wish.Owner = "stas" },
			err:     `cannot connect for owner "stas": it must be discoverd or nbft`,
			result:  state.Result{Meaning: `cannot connect for owner "stas": it must be discoverd or nbft`},
			records: map[string]string{},
		},
		{
			name:    "bad unit",
			request: func(r *Request) { r.Unit = "../../etc/passwd" },
			err:     `cannot use unit name "../../etc/passwd": it must be that of an nvme-discoverd-….service`,
			records: map[string]string{},
		},
		{
			name:    "devid file somewhere else",
			request: func(r *Request) { r.DevidFile = "/etc/passwd" },
			err:     "cannot use /etc/passwd as the devid file of nvme-discoverd-0123456789ab.service: it must be /run/nvme/discoverd/units/nvme-discoverd-0123456789ab.devid",
			records: map[string]string{},
		},
		{
			name:    "secrets somewhere else",
			request: func(r *Request) { r.SecretsFile = "/etc/shadow" },
			err:     "cannot use /etc/shadow as the secrets of nvme-discoverd-0123456789ab.service: it must be /run/nvme/discoverd/secrets/nvme-discoverd-0123456789ab.service",
			records: map[string]string{},
		},
		{
			name:    "secrets of no unit",
			request: func(r *Request) { r.Unit, r.DevidFile, r.SecretsFile = "", "", "/run/x" },
			err:     "cannot read /run/x without the unit that it belongs to: give --unit too",
			records: map[string]string{},
		},
		{
			name:    "devid file of no unit",
			request: func(r *Request) { r.Unit, r.DevidFile = "", "/run/x.devid" },
			err:     "cannot write /run/x.devid without the unit that it belongs to: give --unit too",
			records: map[string]string{},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := newHost(t)
			if test.host != nil {
				test.host(h)
			}
			req := h.request()
			if test.request != nil {
				test.request(&req)
			}
			device, err := h.Connector.Connect(context.Background(), req)
			if diff := cmp.Diff(test.err, h.message(err)); diff != "" {
				t.Errorf("error (-want +got):\n%s", diff)
			}
			if err == nil && device != test.device {
				t.Errorf("device %q, want %q", device, test.device)
			}
			if len(h.wished) != test.writes {
				t.Errorf("%d connects written to the kernel, want %d", len(h.wished), test.writes)
			}
			if diff := cmp.Diff(test.warnings, h.warnings); diff != "" {
				t.Errorf("warnings (-want +got):\n%s", diff)
			}
			records := h.records()
			var got state.Result
			if text, ok := records[result]; ok {
				if err := json.Unmarshal([]byte(text), &got); err != nil {
					t.Fatal(err)
				}
				if got.Time.IsZero() {
					t.Error("the result has no time")
				}
				got.Time = time.Time{}
				got.Meaning = h.short(got.Meaning)
				delete(records, result)
			}
			if diff := cmp.Diff(test.result, got); diff != "" {
				t.Errorf("result (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(test.records, records); diff != "" {
				t.Errorf("records (-want +got):\n%s", diff)
			}
		})
	}
}

// What a connect leaves that is killed in the kernel says so; what comes of one that is not takes its place.
func TestConnectKilled(t *testing.T) {
	h := newHost(t)
	var during state.Result
	h.before = func() {
		if err := json.Unmarshal([]byte(h.records()[result]), &during); err != nil {
			t.Errorf("no result during the connect: %v", err)
		}
	}
	if _, err := h.Connector.Connect(context.Background(), h.request()); err != nil {
		t.Fatal(err)
	}
	if during.Meaning != unfinished || during.Time.IsZero() {
		t.Errorf("during the connect the result is %+v", during)
	}
	if left, found := h.records()[result]; found {
		t.Errorf("after the connect the result is %s", left)
	}
}

// fabricsAlready is the kernel's refusal of a duplicate.
func fabricsAlready(t *testing.T) error {
	t.Helper()
	return &fabrics.Error{
		TID: ioc().TID, Errno: syscall.EALREADY,
		Meaning: "the kernel has such a connection already", Advice: "look for it",
	}
}

// TestOneOfMany: processes that want one discovery controller at once connect it once. A lock is held by an open file, so
// goroutines stand for processes.
func TestOneOfMany(t *testing.T) {
	h := newHost(t)
	req := h.request()
	req.Wish.Kind, req.Wish.TID.NQN, req.Wish.TID.Trsvcid = tid.Discovery, "", ""
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			if device, err := h.Connector.Connect(context.Background(), req); device != "nvme3" || err != nil {
				t.Errorf("%q, %v", device, err)
			}
		})
	}
	all.Wait()
	if len(h.wished) != 1 {
		t.Errorf("%d connects written to the kernel, want 1", len(h.wished))
	}
}

func TestLockName(t *testing.T) {
	base := ioc()
	dc := base
	dc.Kind = tid.Discovery
	other := func(w wish.Wish, change func(*tid.TID)) wish.Wish {
		change(&w.TID)
		return w
	}
	for _, test := range []struct {
		name string
		a, b wish.Wish
		same bool
	}{
		{"pinned or not", base, other(base, func(t *tid.TID) { t.HostIface = "eth0" }), true},
		{"other subsystem", base, other(base, func(t *tid.TID) { t.NQN += "2" }), false},
		{"other address", base, other(base, func(t *tid.TID) { t.Traddr = "192.0.2.2" }), false},
		{"discovery by either name", dc, other(dc, func(t *tid.TID) { t.NQN = tid.DiscoveryNQN }), true},
	} {
		if same := lockName(test.a) == lockName(test.b); same != test.same {
			t.Errorf("%s: same is %t, want %t", test.name, same, test.same)
		}
	}
}
