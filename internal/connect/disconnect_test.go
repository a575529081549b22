package connect

import (
	"context"
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
			name:    "recycled name: the record is old",
			host:    func(h *host) { h.gone("nvme3"); h.controller("nvme3", otherTarget) },
			outcome: "nothing disconnected: nvme3 is (tcp, 192.0.2.7, 4420, nqn.2024-01.com.example:vol1) in state live and does not serve (tcp, 192.0.2.1, 4420, nqn.2024-01.com.example:vol1)",
		},
		{
			name:    "taken over by another program",
			host:    func(h *host) { h.write("/run/nvme/"+owner, "stas\n") },
			outcome: "nothing disconnected: nvme3 is owned by stas",
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

func TestDisconnect(t *testing.T) {
	device := func(name string) func(sysfs.Controller) bool {
		return func(c sysfs.Controller) bool { return c.Name == name }
	}
	subsystem := func(c sysfs.Controller) bool { return c.NQN == nqn }
	second := ioc().TID
	second.Traddr = "192.0.2.2"
	for _, test := range []struct {
		name     string
		host     func(*host)
		what     string
		match    func(sysfs.Controller) bool
		outcomes []string
		err      string
		deleted  []string
	}{
		{
			name: "device", what: "nvme3", match: device("nvme3"), deleted: []string{"nvme3"},
			outcomes: []string{"disconnected nvme3: (tcp, 192.0.2.1, 4420, nqn.2024-01.com.example:vol1)"},
		},
		{
			name: "device of a unit", what: "nvme3", match: device("nvme3"), deleted: []string{"nvme3"},
			host:     func(h *host) { h.write("/run/nvme/"+binding, unit+"\n"); h.write("/run/nvme/"+owner, "discoverd\n") },
			outcomes: []string{"disconnected nvme3: (tcp, 192.0.2.1, 4420, nqn.2024-01.com.example:vol1); nvme-discoverd will connect it again, systemctl stop nvme-discoverd-0123456789ab.service keeps it away"},
		},
		{
			name: "all of a subsystem", what: nqn, match: subsystem, deleted: []string{"nvme3", "nvme4"},
			outcomes: []string{
				"disconnected nvme3: (tcp, 192.0.2.1, 4420, nqn.2024-01.com.example:vol1)",
				"disconnected nvme4: (tcp, 192.0.2.2, 4420, nqn.2024-01.com.example:vol1)",
			},
		},
		{
			name: "one is another program's", what: nqn, match: subsystem, deleted: []string{"nvme4"},
			host:     func(h *host) { h.write("/run/nvme/"+owner, "stas\n") },
			outcomes: []string{"disconnected nvme4: (tcp, 192.0.2.2, 4420, nqn.2024-01.com.example:vol1)"},
			err:      "cannot disconnect nvme3: it is owned by stas: let that disconnect it",
		},
		{
			name: "local PCIe", what: "nvme0", match: device("nvme0"),
			err: "cannot disconnect nvme0: no such fabrics controller is connected",
		},
		{
			name: "none", what: "nvme9", match: device("nvme9"),
			err: "cannot disconnect nvme9: no such fabrics controller is connected",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := newHost(t)
			h.write("/sys/class/nvme/nvme0/transport", "pcie\n")
			h.write("/sys/class/nvme/nvme0/delete_controller", "\n")
			h.controller("nvme3", ioc().TID)
			h.controller("nvme4", second)
			if test.host != nil {
				test.host(h)
			}
			outcomes, err := h.Disconnect(test.what, test.match)
			if diff := cmp.Diff(test.err, h.message(err)); diff != "" {
				t.Errorf("error (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(test.outcomes, outcomes); diff != "" {
				t.Errorf("outcomes (-want +got):\n%s", diff)
			}
			var deleted []string
			for _, name := range []string{"nvme0", "nvme3", "nvme4"} {
				if h.deleted(name) {
					deleted = append(deleted, name)
				}
			}
			if diff := cmp.Diff(test.deleted, deleted); diff != "" {
				t.Errorf("deleted (-want +got):\n%s", diff)
			}
		})
	}
}

func TestCleanup(t *testing.T) {
	for _, test := range []struct {
		name    string
		host    func(*host) // after unit has connected nvme3
		unit    string
		err     string
		records map[string]string
	}{
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
			if diff := cmp.Diff(test.err, h.message(h.Cleanup(name))); diff != "" {
				t.Errorf("error (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(test.records, h.records()); diff != "" {
				t.Errorf("records (-want +got):\n%s", diff)
			}
		})
	}
}
