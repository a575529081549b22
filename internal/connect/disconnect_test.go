// SPDX-License-Identifier: GPL-3.0-or-later

package connect

import (
	"context"
	"fmt"
	"os"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/nvme-discoverd/nvme-discoverd/internal/sysfs"
)

func TestRefusal(t *testing.T) {
	for _, test := range []struct {
		err  error
		want string
	}{
		{syscall.EBUSY, "cannot disconnect nvme1: it has never reached its target, and the kernel lets nobody delete such a controller: it gives it up by itself after ctrl-loss-tmo: device or resource busy"},
		{syscall.EACCES, "cannot disconnect nvme1: permission denied"},
	} {
		if got := refusal("nvme1", test.err).Error(); got != test.want {
			t.Errorf("got %q, want %q", got, test.want)
		}
	}
}

func TestDisconnectUnit(t *testing.T) {
	otherTarget := ioc().TID
	otherTarget.Traddr = "192.0.2.7"
	for _, test := range []struct {
		name    string
		host    func(*host) // after unit has connected nvme3
		unit    string
		outcome string
		err     string
		deleted bool
	}{
		{
			name:    "its own",
			outcome: "disconnected nvme3: (tcp, 192.0.2.1, 4420, nqn.2024-01.com.example:vol1)", deleted: true,
		},
		{
			name: "while the kernel reconnects",
			host: func(h *host) {
				h.write("/sys/devices/virtual/nvme-fabrics/ctl/nvme3/state", "connecting\n")
			},
			outcome: "disconnected nvme3: (tcp, 192.0.2.1, 4420, nqn.2024-01.com.example:vol1)", deleted: true,
		},
		{
			name: "recycled name: nvme3 is being connected by another program",
			host: func(h *host) {
				h.write("/sys/devices/virtual/nvme-fabrics/ctl/nvme3/state", "connecting\n")
				h.write("/sys/devices/virtual/nvme-fabrics/ctl/nvme3/subsysnqn", "(efault)\n")
			},
			outcome: "nothing disconnected: nvme3 is (tcp, 192.0.2.1, 4420) in state connecting and does not serve (tcp, 192.0.2.1, 4420, nqn.2024-01.com.example:vol1)",
		},
		{
			name:    "recycled name: nvme3 is another unit's by now",
			host:    func(h *host) { h.write("/run/nvme/"+binding, unit2+"\n") },
			outcome: "nothing disconnected: nvme3 is the controller of nvme-discoverd-ba9876543210.service now",
		},
		{
			name:    "recycled name: nvme3 is nobody's",
			host:    func(h *host) { h.mkdir("/x"); h.state.Forget("nvme3", unit); h.state.WriteDevid(unit, "nvme3") },
			outcome: "nothing disconnected: nvme3 is not on record as the controller of nvme-discoverd-0123456789ab.service",
		},
		{
			name: "recycled name: the record is old, and of a build that wrote no instance",
			host: func(h *host) {
				h.gone("nvme3")
				h.controller("nvme3", otherTarget)
				if err := os.Remove(h.root.Join("run/nvme/discoverd/controllers/nvme3/instance")); err != nil {
					h.t.Fatal(err)
				}
			},
			outcome: "nothing disconnected: nvme3 is (tcp, 192.0.2.7, 4420, nqn.2024-01.com.example:vol1) in state live and does not serve (tcp, 192.0.2.1, 4420, nqn.2024-01.com.example:vol1)",
		},
		{
			name:    "taken over by another program",
			host:    func(h *host) { h.write("/run/nvme/"+owner, "stas\n") },
			outcome: "nothing disconnected: nvme3 is owned by stas",
		},
		{
			name: "taken over by nvme-cli's automatic connects, which are in force",
			host: func(h *host) {
				h.write("/run/nvme/"+owner, "autoconnect\n")
				h.write("/lib/udev/rules.d/70-nvmf-autoconnect.rules", "# rule\n")
			},
			outcome: "nothing disconnected: nvme3 is owned by autoconnect",
		},
		{
			name:    "gone",
			host:    func(h *host) { h.gone("nvme3") },
			outcome: "nothing disconnected: nvme3 is gone",
		},
		{
			name:    "no record",
			unit:    unit2,
			outcome: "nothing disconnected: nvme-discoverd-ba9876543210.service has no controller on record",
		},
		{
			name:    "bad record",
			host:    func(h *host) { h.write("/run/nvme/"+devid, "nvme3/../nvme0\n") },
			outcome: `nothing disconnected: cannot read /run/nvme/discoverd/units/nvme-discoverd-0123456789ab.devid: cannot use device name "nvme3/../nvme0": it must be nvme and a number, such as nvme3`,
		},
		{
			name: "no unit of ours",
			unit: "ssh.service",
			err:  `cannot use unit name "ssh.service": it must be that of an nvme-discoverd-….service`,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := newHost(t)
			if _, err := h.Connector.Connect(context.Background(), h.request()); err != nil {
				t.Fatal(err)
			}
			if test.host != nil {
				test.host(h)
			}
			name := unit
			if test.unit != "" {
				name = test.unit
			}
			outcome, err := h.DisconnectUnit(name, ioc().TID)
			if diff := cmp.Diff(test.err, h.message(err)); diff != "" {
				t.Errorf("error (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(test.outcome, h.short(outcome)); diff != "" {
				t.Errorf("outcome (-want +got):\n%s", diff)
			}
			if names, err := h.sysfs.Names(); err != nil || len(names) > 0 && h.deleted("nvme3") != test.deleted {
				t.Errorf("deleted is %t, want %t (%v)", !test.deleted, test.deleted, err)
			}
		})
	}
}

// Sysfs does not answer for so long that systemd cleans up without waiting for the stop: the controller is nobody's then, or
// another's, and is not deleted when there is an answer.
func TestDisconnectAfterHang(t *testing.T) {
	h := newHost(t)
	if _, err := h.Connector.Connect(context.Background(), h.request()); err != nil {
		t.Fatal(err)
	}
	address := h.root.Join("/sys/devices/virtual/nvme-fabrics/ctl/nvme3/address")
	text, err := os.ReadFile(address)
	if err == nil {
		err = os.Remove(address)
	}
	if err == nil {
		err = syscall.Mkfifo(address, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	outcome := make(chan string)
	go func() {
		said, err := h.DisconnectUnit(unit, ioc().TID)
		outcome <- fmt.Sprint(said, err)
	}()
	fifo, err := os.OpenFile(address, os.O_WRONLY, 0) // returns when the stop reads it
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.Cleanup(unit); err != nil {
		t.Error(err)
	}
	fifo.Write(text)
	fifo.Close()
	if got, want := <-outcome, "nothing disconnected: "+unit+" has no controller on record<nil>"; got != want {
		t.Errorf("outcome: got %q, want %q", got, want)
	}
	if h.deleted("nvme3") {
		t.Error("deleted all the same")
	}
}

// What is in use, and when: step 5 of DisconnectUnit.
func TestKeep(t *testing.T) {
	const connected = "(tcp, 192.0.2.1, 4420, nqn.2024-01.com.example:vol1)"
	for _, test := range []struct {
		name    string
		mounted string
		system  string // "": systemd cannot be asked
		host    func(*host)
		outcome string
		deleted bool
		asked   bool
	}{
		{
			name: "idle while the system shuts down", system: "stopping", deleted: true,
			outcome: "disconnected nvme3: " + connected,
		},
		{
			name: "mounted while the system shuts down", mounted: "/srv", system: "stopping", asked: true,
			outcome: "nothing disconnected: nvme3 stays connected: nvme1n1 is mounted on /srv while the system shuts down",
		},
		{
			name: "mounted, an administrator stops the unit", mounted: "/srv", system: "degraded", asked: true, deleted: true,
			outcome: "disconnected nvme3: " + connected + ", although nvme1n1 is mounted on /srv",
		},
		{
			name: "mounted, systemd does not answer", mounted: "/srv", asked: true,
			outcome: `nothing disconnected: nvme3 stays connected: nvme1n1 is mounted on /srv, and cannot tell whether the system is shutting down: its state is ""`,
		},
		{
			name: "the root file system, an administrator stops the unit", mounted: "/", system: "running",
			outcome: "nothing disconnected: nvme3 stays connected: nvme1n1 is mounted on /, and the running system needs /",
		},
		{
			name: "nobody knows what is mounted", system: "running", host: func(h *host) { os.Remove(h.root.MountInfo()) },
			outcome: "nothing disconnected: nvme3 stays connected: cannot tell what is mounted: open /proc/self/mountinfo: no such file or directory",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := newHost(t)
			if _, err := h.Connector.Connect(context.Background(), h.request()); err != nil {
				t.Fatal(err)
			}
			h.namespace("nvme3", test.mounted)
			h.system = test.system
			if test.host != nil {
				test.host(h)
			}
			outcome, err := h.DisconnectUnit(unit, ioc().TID)
			if err != nil {
				t.Error(err)
			}
			if diff := cmp.Diff(test.outcome, h.short(outcome)); diff != "" {
				t.Errorf("outcome (-want +got):\n%s", diff)
			}
			if h.deleted("nvme3") != test.deleted {
				t.Errorf("deleted is %t, want %t", !test.deleted, test.deleted)
			}
			if h.asked != test.asked {
				t.Errorf("systemd was asked: %t, want %t", h.asked, test.asked)
			}
		})
	}
}

func TestGoingDown(t *testing.T) {
	for _, test := range []struct {
		script, err string
		down        bool
	}{
		{script: "echo stopping; exit 1", down: true},
		{script: "echo running"},
		{script: "echo degraded; exit 1"},
		{script: "echo offline; exit 1", err: "cannot tell whether the system is shutting down: exit status 1"},
		{script: "echo Failed to connect to bus >&2; exit 1", err: "cannot tell whether the system is shutting down: Failed to connect to bus"},
		{err: "cannot tell whether the system is shutting down: fork/exec /usr/bin/systemctl: no such file or directory"},
	} {
		h := newHost(t)
		h.systemState = h.systemctlState
		if test.script != "" {
			h.program(h.root.Systemctl(), "[ \"$*\" = is-system-running ] || exit 9\n"+test.script)
		}
		down, err := h.goingDown()
		if down != test.down || h.message(err) != test.err {
			t.Errorf("%q: %t, %q; want %t, %q", test.script, down, h.message(err), test.down, test.err)
		}
	}
}

func TestCleanup(t *testing.T) {
	for _, test := range []struct {
		name    string
		host    func(*host) // after unit has connected nvme3
		unit    string
		outcome string
		err     string
		records map[string]string
	}{
		{
			name: "the root file system is on it", host: func(h *host) { h.namespace("nvme3", "/") },
			outcome: "nvme3 stays connected: nvme1n1 is mounted on /, and the running system needs /",
			records: map[string]string{owner: "discoverd\n", seqnum: "102\n"},
		},
		{
			name: "something else is on it", host: func(h *host) { h.namespace("nvme3", "/srv") },
			records: map[string]string{owner: "discoverd\n", seqnum: "102\n"},
		},
		{
			name: "disconnected", host: func(h *host) { h.gone("nvme3") },
			records: map[string]string{},
		},
		{
			name:    "left connected: it stays owned",
			records: map[string]string{owner: "discoverd\n", seqnum: "102\n"},
		},
		{
			name: "the result is for the daemon",
			host: func(h *host) { h.gone("nvme3"); h.write("/run/nvme/"+result, "{}\n") }, records: map[string]string{result: "{}\n"},
		},
		{
			name:    "nvme3 is another unit's by now",
			host:    func(h *host) { h.write("/run/nvme/"+binding, unit2+"\n") },
			records: map[string]string{owner: "discoverd\n", seqnum: "102\n", binding: unit2 + "\n"},
		},
		{
			name: "nvme3 was connected again since",
			host: func(h *host) {
				h.gone("nvme3")
				h.write("/run/nvme/"+owner, "stas\n")
				h.write("/run/nvme/"+seqnum, "105\n")
			},
			records: map[string]string{owner: "stas\n", seqnum: "105\n"},
		},
		{
			name: "nothing on record", unit: unit2, records: recorded,
		},
		{
			name: "no unit of ours", unit: "x", records: recorded,
			err: `cannot use unit name "x": it must be that of an nvme-discoverd-….service`,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := newHost(t)
			if _, err := h.Connector.Connect(context.Background(), h.request()); err != nil {
				t.Fatal(err)
			}
			if test.host != nil {
				test.host(h)
			}
			name := unit
			if test.unit != "" {
				name = test.unit
			}
			outcome, err := h.Cleanup(name)
			if diff := cmp.Diff(test.err, h.message(err)); diff != "" {
				t.Errorf("error (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(test.outcome, outcome); diff != "" {
				t.Errorf("outcome (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(test.records, h.records()); diff != "" {
				t.Errorf("records (-want +got):\n%s", diff)
			}
		})
	}
}

// Names that the kernel shows come from anywhere: what moves the cursor is not printed as it is.
func TestShown(t *testing.T) {
	c := sysfs.Controller{Transport: "tcp", Traddr: "192.0.2.1", Trsvcid: "4420", NQN: "nqn.x\x1b[2J"}
	if got, want := shown(c), `(tcp, 192.0.2.1, 4420, nqn.x\x1b[2J)`; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
