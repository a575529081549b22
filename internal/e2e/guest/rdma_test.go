// SPDX-License-Identifier: GPL-3.0-or-later

//go:build e2e

package guest_test

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/nvme-discoverd/nvme-discoverd/internal/e2e/guest"
)

// roce builds a scene over RDMA: a discovery controller with n subsystems behind it, not started yet.
func roce(t *testing.T, n int) (*guest.RDMA, *guest.Fixture) {
	t.Helper()
	card := guest.NewRDMA(t)
	f := &guest.Fixture{Machine: guest.Begin(t)}
	f.Target = guest.NewTarget(f)
	f.Port = f.Target.PortOver("rdma", guest.RDMAAddress, 4420)
	f.Subsystems = f.Target.Subsystems(n)
	f.Port.Link(f.Subsystems...)
	return card, f
}

// A host whose RDMA device is reset loses every connection on it at once, whatever ctrl-loss-tmo says. They are back when
// the device is, without anyone's help to the host.
//
//e2e:ordinary
func TestRDMAReset(t *testing.T) {
	card, f := roce(t, 3)
	// At the level of debug the journal has the order of events.
	guest.Configure(t, "[global]\nlog-level = \"debug\"\nreconnect-max-delay = \"1h\"\n"+discoveryConfig(f.Port))
	guest.Start(t)
	t.Logf("%d controllers were connected within %v", len(f.Wanted()), guest.WaitConsistent(t, connectTimeout, f.Wanted()))

	mark := f.Mark()
	card.Disappear()
	waitNone(t, connectTimeout)
	// Pauses of 1, 2, 4, 8 and 16 seconds: after five attempts the next one would be 14 seconds away at least.
	guest.Eventually(t, 2*time.Minute, "every connection was tried in vain five times", func() (bool, string) {
		n := f.Starts(mark)
		return n >= 5*len(f.Wanted()), fmt.Sprint(n, " starts of units")
	})
	if journal, want := f.Journal(mark), "no RDMA device of this host reaches the address, or nothing listens there"; !strings.Contains(journal, want) {
		t.Errorf("the journal does not tell what is wrong:\n%s", journal)
	}
	// The half of what the target's administrator has to do that can be done before the device is there again.
	f.Port.Unlink(f.Subsystems...)
	mark = f.Mark()
	begin := time.Now()
	card.Appear()
	f.Port.Link(f.Subsystems...)
	t.Logf("from the device's return to the port's: %v", time.Since(begin).Round(time.Millisecond))
	guest.WaitConsistent(t, connectTimeout, f.Wanted())
	t.Logf("from the device's return to all connected: %v", time.Since(begin).Round(time.Millisecond))
	if journal := f.Journal(mark); !strings.Contains(journal, "an RDMA device appeared: trying what waits on rdma now") {
		t.Errorf("the journal does not tell of the device's return:\n%s", journal)
	}
}

// Both sides are reset at once, and nobody does anything: the example udev rule makes the target's port listen again, the
// daemon brings the connections back. I/O that has another path goes on meanwhile, and afterwards on the path that is back.
//
//e2e:ordinary
func TestRDMABothReset(t *testing.T) {
	const rule = "/etc/udev/rules.d/70-nvmet-heal.rules"
	guest.Replace(t, rule, guest.Run(t, "cat", "/usr/share/doc/nvme-discoverd/examples/70-nvmet-heal.rules"))
	guest.Run(t, "udevadm", "control", "--reload")
	card, f := roce(t, 2)
	volume := f.Subsystems[0]
	volume.Namespace(16 << 20)
	tcp := f.Target.PortAt("127.0.0.1", 4421)
	tcp.Link(volume)
	guest.Configure(t, discoveryConfig(f.Port)+subsystemConfig(tcp, volume.NQN, "reconnect-delay = 1\n"))
	guest.Start(t)
	wanted := append(f.Wanted(), tcp.TID(volume.NQN))
	guest.WaitConsistent(t, connectTimeout, wanted)
	writer := guest.WriteOn(t, volume)
	writer.WaitMore(50)

	mark := f.Mark()
	card.Disappear()
	guest.Eventually(t, connectTimeout, "only the other path left", func() (bool, string) {
		return len(guest.Controllers()) == 1, fmt.Sprint(guest.Controllers())
	})
	writer.WaitMore(50)
	begin := time.Now()
	card.Appear()
	guest.Eventually(t, connectTimeout, "the target's port healed", func() (bool, string) {
		journal := f.Everything(mark)
		return strings.Contains(journal, "port 4420 (198.51.100.1:4420) listened no more and does again: linked anew "+
			f.Subsystems[0].NQN+", "+f.Subsystems[1].NQN), journal
	})
	t.Logf("from the device's return to the port's: %v", time.Since(begin).Round(time.Millisecond))
	guest.WaitConsistent(t, connectTimeout, wanted)
	t.Logf("from the device's return to all connected: %v", time.Since(begin).Round(time.Millisecond))
	if n := f.Starts(mark); n < len(f.Wanted()) {
		t.Errorf("starts of units: got %d, want at least one for each of %d connections", n, len(f.Wanted()))
	}

	tcp.Unlink(volume)
	waitPath(t, volume.NQN, "tcp", "connecting")
	writer.WaitMore(50)
	tcp.Link(volume)
	guest.WaitConsistent(t, connectTimeout, wanted)
	writer.WaitMore(50)
}

// waitPath waits until the path to a subsystem over a transport is in the state.
func waitPath(t *testing.T, nqn, transport, state string) {
	t.Helper()
	guest.Eventually(t, connectTimeout, "path over "+transport+" "+state, func() (bool, string) {
		for _, c := range guest.Controllers() {
			if c.NQN == nqn && c.Transport == transport {
				return c.State == state, c.String()
			}
		}
		return false, "none"
	})
}

// The command that heals the target's ports, step by step, without the daemon.
//
//e2e:ordinary
func TestRDMAHeal(t *testing.T) {
	card, f := roce(t, 2)
	other := f.Target.PortOver("rdma", "0.0.0.0", 4430)
	other.Link(f.Subsystems[0])
	empty := f.Target.PortOver("rdma", guest.RDMAAddress, 4431)
	f.Port.Refer(empty)
	const healthy = "port 4420 (198.51.100.1:4420) listens\nport 4430 (0.0.0.0:4430) listens\n" +
		"port 4431 (198.51.100.1:4431) shows no subsystem, so it need not listen\n"
	heal := func(want string, args ...string) {
		t.Helper()
		out := guest.TryCtl(t, append([]string{"nvmet", "heal"}, args...)...)
		if got := out.Stdout + out.Stderr; got != want {
			t.Errorf("nvmet heal %s: got\n%swant\n%s", strings.Join(args, " "), got, want)
		}
	}
	heal(healthy)
	card.Disappear()
	heal("cannot heal port 4420 (198.51.100.1:4420): it listens no more, and no RDMA device has its address\n", "4420")
	card.Appear()
	linked := f.Subsystems[0].NQN + ", " + f.Subsystems[1].NQN + "\n"
	heal("port 4420 (198.51.100.1:4420) listens no more: would link anew "+linked, "4420", "--dry-run")
	heal(strings.Replace(healthy, "listens\n", "listened no more and does again: linked anew "+linked, 1))
	heal(healthy)
	// The referral is as it was, in the log page that hosts read.
	page := guest.Run(t, "nvme", "discover", "--transport=rdma", "--traddr="+guest.RDMAAddress, "--trsvcid=4420")
	if !regexp.MustCompile(`subtype: discovery subsystem referral\n(.+\n)*trsvcid: +4431\n`).MatchString(page) {
		t.Errorf("the healed port names no referral:\n%s", page)
	}

	connect := []string{"connect", "--transport=rdma", "--traddr=" + guest.RDMAAddress, "--nqn=" + f.Subsystems[1].NQN}
	guest.Ctl(t, append(connect, "--trsvcid=4420")...)
	before := guest.Devices()
	heal(healthy)
	if ok, seen := unchanged(before)(); !ok {
		t.Errorf("controllers after a look at healthy ports: got %s", seen)
	}
}
