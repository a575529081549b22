// SPDX-License-Identifier: GPL-3.0-or-later

package sim

import (
	"fmt"
	"syscall"
	"time"

	"github.com/nvme-discoverd/nvme-discoverd/internal/state"
	"github.com/nvme-discoverd/nvme-discoverd/internal/tid"
	"github.com/nvme-discoverd/nvme-discoverd/internal/wish"
)

// process is a running command. Once it is killed it does nothing more.
type process struct {
	*world
	killed bool
	onKill func() time.Duration // what it waits for lets it go, after a while
	locked string               // the address lock that it holds
}

// then goes on after a while, if the process lives.
func (p *process) then(d time.Duration, do func()) {
	p.after(d, func() {
		if !p.killed {
			do()
		}
	})
}

// kill ends a process and returns how long it takes to die. Until then it holds its lock.
func (p *process) kill() time.Duration {
	if p.killed {
		return 0
	}
	p.killed = true
	if p.onKill == nil {
		p.unlock()
		return 0
	}
	dies := p.onKill()
	p.after(dies, p.unlock)
	return dies
}

// lock waits for the lock of an address.
func (p *process) lock(name string, do func()) {
	if p.systemd.locks[name] != nil {
		p.then(5*time.Millisecond, func() { p.lock(name, do) })
		return
	}
	p.systemd.locks[name], p.locked = p, name
	do()
}

func (p *process) unlock() {
	if p.locked != "" {
		delete(p.systemd.locks, p.locked)
		p.locked = ""
	}
}

// lockName is the one of internal/connect.
func lockName(w wish.Wish) string {
	nqn := ""
	if w.Kind == tid.IO {
		nqn = w.TID.NQN
	}
	return w.TID.Transport + " " + w.TID.Traddr + " " + w.TID.Trsvcid + " " + nqn
}

// connectCommand is `nvme-discoverctl connect --idempotent --unit=`.
type connectCommand struct {
	*process
	unit  string
	wish  wish.Wish
	exit  func(ok bool)
	begun time.Duration // when the exclusion list was looked at last
}

func (c *connectCommand) start() {
	c.then(c.latency(20*time.Millisecond), func() {
		c.disk.results[c.unit] = state.Result{Meaning: "the connect was ended before it had a result"} // said in advance
		if !c.calm && c.chance(c.mix.commandFails) {
			switch c.rng.IntN(3) {
			case 0:
				c.fail("cannot connect: something else", 0)
				return
			case 1: // it hangs until systemd's patience ends
				return
			default: // it is killed at any point
				c.then(c.between(0, 200*time.Millisecond), func() {
					p := c.process
					exit := c.exit
					p.after(p.kill(), func() { exit(false) })
				})
			}
		}
		found, bad := c.look()
		switch {
		case bad:
			return
		case found == "" && !c.permitted():
			return
		}
		c.then(c.latency(time.Millisecond), func() { c.lock(lockName(c.wish), c.underLock) })
	})
}

func (c *connectCommand) underLock() {
	found, bad := c.look()
	switch {
	case bad:
	case found != "":
		c.claim(found)
	case c.permitted():
		c.kernel.connect(c.process, c.wish, c.unit, func(device string, errno syscall.Errno) {
			switch errno {
			case 0:
				delete(c.disk.registry, device)
				c.record(device, true)
			case syscall.EALREADY:
				found, bad := c.look()
				switch {
				case bad:
				case found != "":
					c.claim(found)
				default:
					c.fail("another one is in the way", int(errno))
				}
			default:
				c.fail(errno.Error(), int(errno))
			}
		})
	}
}

func (c *connectCommand) look() (device string, bad bool) {
	found := c.kernel.serving(c.wish.TID)
	if found == nil {
		return "", false
	}
	if c.foreign(found.Name) {
		c.fail("owned by "+c.disk.registry[found.Name].owner, 0)
		return "", true
	}
	return found.Name, false
}

func (c *connectCommand) permitted() bool {
	if entry, excluded := c.lab.exclusions[c.disk.exclusions].Match(c.wish.TID); excluded {
		c.fail("excluded by "+entry.Text, 0)
		return false
	}
	c.begun = c.now
	return true
}

func (c *connectCommand) claim(device string) {
	found := c.kernel.find(device)
	if holder := c.disk.unitOf[device]; holder != c.unit && found.State != "live" && (holder != "" || !found.ServesSurely(c.wish.TID)) {
		c.fail("another unit's or nobody's, and it is not known yet whom it serves", 0)
		return
	}
	c.watch.claiming(found, c.unit)
	c.tracef("command: %s claims %s", short(c.unit), device)
	owner := c.disk.registry[device].owner
	c.record(device, owner == "" || owner == makerAutoconnect)
}

func (c *connectCommand) record(device string, own bool) {
	tiny := func() time.Duration { return c.latency(200 * time.Microsecond) }
	seq := c.kernel.seq
	c.then(tiny(), func() {
		if own {
			c.disk.registry[device] = ownership{string(c.wish.Owner), seq}
		}
		c.then(tiny(), func() {
			c.disk.devid[c.unit] = device
			c.then(tiny(), func() {
				c.disk.unitOf[device] = c.unit
				c.then(tiny(), func() {
					delete(c.disk.results, c.unit)
					c.unlock()
					c.exit(true)
				})
			})
		})
	})
}

func (c *connectCommand) fail(meaning string, errno int) {
	c.disk.results[c.unit] = state.Result{Errno: errno, Meaning: meaning}
	c.tracef("command: connect of %s: %s", short(c.unit), meaning)
	c.then(time.Millisecond, func() {
		c.unlock()
		c.exit(false)
	})
}

// disconnectCommand is `nvme-discoverctl disconnect --unit=`; j is the job that it runs for.
func (p *process) disconnectCommand(unit string, t tid.TID, j *job, exit func()) {
	p.then(p.latency(20*time.Millisecond), func() {
		device := p.disk.devid[unit]
		recorded := func() bool {
			return p.disk.devid[unit] == device && p.disk.unitOf[device] == unit && !p.foreign(device)
		}
		c := p.kernel.find(device)
		if device == "" || !recorded() || c == nil || !p.servedFor(c, t) {
			p.tracef("command: disconnect of %s: nothing disconnected", short(unit))
			exit()
			return
		}
		p.then(p.latency(time.Millisecond), func() { // the open file is that of this controller for good
			if !recorded() { // the last look, between which and the deed there is next to nothing
				p.tracef("command: disconnect of %s: nothing disconnected, %s is another's by now", short(unit), device)
				exit()
				return
			}
			p.watch.disconnecting(c, unit, j)
			p.tracef("command: disconnect of %s: %s (%s)", short(unit), device, c.State)
			p.kernel.delete(c, func() { p.then(time.Millisecond, exit) })
		})
	})
}

func (p *process) servedFor(c *controller, t tid.TID) bool {
	shown := c.Controller
	if shown.NQN == "" && shown.Transport == tid.FC {
		shown.NQN = t.NQN
	}
	return shown.Serves(t)
}

// cleanupCommand is `nvme-discoverctl cleanup --unit=`.
func (p *process) cleanupCommand(unit string, exit func()) {
	p.then(p.latency(15*time.Millisecond), func() {
		if device := p.disk.devid[unit]; device != "" {
			p.disk.forget(device, unit)
			p.disk.prune(p.world, device, p.kernel.seq)
		}
		exit()
	})
}

func (c *controller) String() string {
	return fmt.Sprintf("%s (%s %s %s of %s)", c.Name, c.State, c.NQN, c.Traddr, c.maker)
}
