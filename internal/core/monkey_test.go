// SPDX-License-Identifier: GPL-3.0-or-later

package core

import (
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nvme-discoverd/nvme-discoverd/internal/config"
	"github.com/nvme-discoverd/nvme-discoverd/internal/discoverylog"
	"github.com/nvme-discoverd/nvme-discoverd/internal/exclusion"
	"github.com/nvme-discoverd/nvme-discoverd/internal/fc"
	"github.com/nvme-discoverd/nvme-discoverd/internal/mdns"
	"github.com/nvme-discoverd/nvme-discoverd/internal/nbft"
	"github.com/nvme-discoverd/nvme-discoverd/internal/param"
	"github.com/nvme-discoverd/nvme-discoverd/internal/tid"
	"github.com/nvme-discoverd/nvme-discoverd/internal/wish"
)

var (
	monkeySeeds = flag.Int("monkey", 10, "how many seeds TestMonkey runs")
	monkeyFirst = flag.Int("monkeyfirst", 0, "the first of them")
	monkeyEvery = flag.Int("monkeyevery", 10, "after how many steps TestMonkey compares everything")
	monkeyTrace = flag.Bool("monkeytrace", false, "print what TestMonkey does")
)

// monkey gives a machine answers to its effects, in any order and of any kind, and whatever else can happen; after each step
// the indexes, the views and the desired set are compared with what they would be if they were made anew.
type monkey struct {
	t     *testing.T
	rng   *rand.Rand
	m     *Machine
	now   time.Time
	seq   uint64
	todo  []Event
	devs  map[string]Device
	units map[string][]string
	again bool
	down  bool

	mirror  map[tid.TID]*TargetView
	audited bool // the first comparison was made before the last step
	seen    map[string]int
}

func (k *monkey) chance(p float64) bool { return k.rng.Float64() < p }

func pick[T any](k *monkey, list []T) T { return list[k.rng.IntN(len(list))] }

var monkeyDCs, monkeyIOs = monkeyWishes()

func monkeyWishes() (dcs, ios []wish.Wish) {
	for i := range 4 {
		dcs = append(dcs, wish.Wish{Kind: tid.Discovery, Owner: wish.OwnerDiscoverd, TID: tid.TID{Transport: tid.TCP, Traddr: fmt.Sprintf("192.0.2.%d", i+1), Trsvcid: "8009", NQN: tid.DiscoveryNQN, HostNQN: hostNQN}})
	}
	for i := range 6 {
		ios = append(ios, wish.Wish{Owner: wish.OwnerDiscoverd, TID: tid.TID{Transport: tid.TCP, Traddr: fmt.Sprintf("192.0.2.%d", i%3+1), Trsvcid: "4420", NQN: fmt.Sprintf("nqn.vol%d", i), HostNQN: hostNQN}})
	}
	return dcs, ios
}

func (k *monkey) config() ConfigLoaded {
	c := config.Config{Settings: config.Defaults(), HostNQN: hostNQN}
	c.Settings.MaxParallelConnects = 2
	c.Settings.DiscoveryRetention = pick(k, []time.Duration{0, time.Minute, time.Hour, config.Infinity})
	c.Settings.DiscoveryPersistence = pick(k, []config.Persistence{config.PersistenceAuto, config.PersistenceEPCSD, config.PersistenceAuto})
	if k.chance(0.3) {
		c.Discovered.IO, _ = c.Discovered.IO.With(param.CtrlLossTMO, "77")
	}
	add := func(w wish.Wish, host string) {
		if k.chance(0.5) {
			conn := config.Connection{Wish: w, Host: host, From: "f:1", Discovered: c.Discovered}
			if w.Kind == tid.Discovery && k.chance(0.5) {
				conn.Discovered.IO, _ = conn.Discovered.IO.With(param.CtrlLossTMO, fmt.Sprint(100+k.rng.IntN(3)))
			}
			if w.Kind == tid.Discovery && k.chance(0.2) {
				conn.Persistence = pick(k, []config.Persistence{config.PersistenceNever, config.PersistenceEPCSD, config.PersistenceAuto})
			}
			c.Connections = append(c.Connections, conn)
		}
	}
	for _, w := range monkeyDCs[:3] {
		add(w, "")
	}
	pinned := monkeyDCs[0]
	pinned.TID.HostTraddr = "192.0.2.77"
	add(pinned, "")
	for _, w := range monkeyIOs[:3] {
		if k.chance(0.3) {
			w.Params, _ = w.Params.With(param.CtrlLossTMO, "99")
		}
		if k.chance(0.1) {
			w.Params, _ = w.Params.With(param.TLS, "true")
		}
		if k.chance(0.1) {
			w.TID.HostIface = "eth0"
		}
		if k.chance(0.3) {
			w.TID.HostID = pick(k, []string{"id1", "id2"})
		}
		add(w, "")
	}
	n1 := monkeyIOs[5]
	n1.TID.Traddr = ""
	add(n1, "array")
	n2 := monkeyDCs[3]
	n2.TID.Traddr = ""
	add(n2, "dcs")
	k.rng.Shuffle(len(c.Connections), func(i, j int) { c.Connections[i], c.Connections[j] = c.Connections[j], c.Connections[i] })
	return ConfigLoaded{c}
}

func (k *monkey) nbft() NBFTLoaded {
	var list NBFTLoaded
	for i, w := range append(slices.Clone(monkeyIOs[:3]), monkeyDCs[0], monkeyIOs[4]) {
		if !k.chance(0.3) {
			continue
		}
		w.Owner = wish.OwnerNBFT
		w.TID.HostID = pick(k, []string{"", "id1", "id3"})
		c := nbft.Connection{Wish: w, DHCP: k.chance(0.7), From: "NBFT", Table: "t"}
		if k.chance(0.5) {
			c.Wish.TID.HostTraddr = "192.0.2.66"
		}
		if i == 4 {
			c.Host, c.Wish.TID.Traddr, c.Wish.TID.HostTraddr = "boot", "", ""
		}
		list.Connections = append(list.Connections, c)
	}
	return list
}

func (k *monkey) page(dc tid.TID) discoverylog.Page {
	var p discoverylog.Page
	for _, w := range monkeyIOs {
		if k.chance(0.4) {
			e := discoverylog.Entry{Subtype: discoverylog.NVM, Transport: tid.TCP, Traddr: w.TID.Traddr, Trsvcid: "4420", NQN: w.TID.NQN}
			if k.chance(0.1) {
				e.SecureChannel, e.SecType, e.TREQ = true, discoverylog.SecTLS13, 1
			}
			p.Entries = append(p.Entries, e)
		}
	}
	for _, w := range monkeyDCs {
		if k.chance(0.25) {
			p.Entries = append(p.Entries, discoverylog.Entry{Subtype: discoverylog.Referral, Transport: tid.TCP, Traddr: w.TID.Traddr, Trsvcid: "8009", NQN: tid.DiscoveryNQN, EPCSD: k.chance(0.5)})
		}
	}
	if k.chance(0.3) {
		p.Entries = append(p.Entries, discoverylog.Entry{Subtype: discoverylog.Current, Transport: tid.TCP, Traddr: dc.Traddr, Trsvcid: "8009", NQN: tid.DiscoveryNQN, EPCSD: k.chance(0.5)})
	}
	if k.chance(0.3) {
		k.rng.Shuffle(len(p.Entries), func(i, j int) { p.Entries[i], p.Entries[j] = p.Entries[j], p.Entries[i] })
	}
	return p
}

func (k *monkey) newDevice(t tid.TID, kind tid.Kind, unit string) Device {
	k.seq++
	name := ""
	for i := 0; ; i++ {
		name = fmt.Sprintf("nvme%d", i)
		if _, used := k.devs[name]; !used {
			break
		}
	}
	d := Device{Owner: "discoverd", Unit: unit, Seq: k.seq}
	d.Name, d.Transport, d.Traddr, d.Trsvcid, d.NQN, d.HostNQN, d.HostID = name, t.Transport, t.Traddr, t.Trsvcid, t.NQN, t.HostNQN, t.HostID
	d.SrcAddr, d.State, d.Type = "192.0.2.77", "live", "io"
	d.HostTraddr, d.HostIface = t.HostTraddr, t.HostIface
	if kind == tid.Discovery {
		d.Type = "discovery"
	}
	if t.Transport == tid.FC {
		d.SrcAddr = ""
		if k.chance(0.6) {
			d.State = "connecting"
			if k.chance(0.5) {
				d.NQN = ""
			}
		}
	}
	k.devs[name] = d
	return d
}

func (k *monkey) deviceOf(unit string) *Device {
	for _, name := range sortedKeys(k.devs) {
		if d := k.devs[name]; d.Unit == unit {
			k.seq++
			d.Seq = k.seq
			k.devs[name] = d
			return &d
		}
	}
	return nil
}

func (k *monkey) remove(name string) {
	k.seq++
	delete(k.devs, name)
	k.post(DeviceRemoved{Name: name, Seq: k.seq})
}

func (k *monkey) post(ev Event) { k.todo = append(k.todo, ev) }

func (k *monkey) info(unit string) UnitInfo {
	i := UnitInfo{Name: unit, Active: "inactive"}
	if argv, ok := k.units[unit]; ok {
		i.Active, i.Argv = "active", argv
	}
	return i
}

func (k *monkey) start(unit string, w wish.Wish, op Op) {
	done := JobDone{Unit: unit, Op: op, Outcome: Done}
	_, active := k.units[unit]
	switch x := k.rng.Float64(); {
	case op == OpStart && active:
		done.Outcome = Exists
	case op == OpRestart && !active:
		done.Outcome = NoUnit
	case x < 0.6:
		d := k.deviceOf(unit)
		if d == nil {
			made := k.newDevice(w.TID, w.Kind, unit)
			d = &made
		}
		if k.chance(0.5) {
			k.post(DeviceSeen{Device: *d, Why: "connected"})
		}
		k.units[unit] = argvOf(w)
		done.Device = d
		if k.chance(0.1) {
			done.Device, done.Unread = nil, true
		}
		if k.chance(0.1) {
			k.remove(d.Name)
		}
		if k.chance(0.1) {
			done.Outcome, done.Device = Lost, nil
		}
	case x < 0.8:
		done.Outcome, done.Failure = "failed", failure(pick(k, []int{1, muteErrno, 5, noSuchSource, noSuchSource}))
		delete(k.units, unit)
		k.lose(unit)
	case x < 0.9:
		done.Outcome = Canceled
	default:
		done.Outcome = Lost
	}
	k.post(done)
}

func (k *monkey) lose(unit string) {
	for _, name := range sortedKeys(k.devs) {
		if k.devs[name].Unit == unit {
			k.remove(name)
		}
	}
}

func (k *monkey) carryOut(e Effect) {
	switch e := e.(type) {
	case Probe:
		ev := ProbeDone{Target: e.Target, Mute: e.Mute}
		if k.chance(0.3) {
			ev.Err, ev.Errno = "refused", pick(k, []int{111, muteErrno})
		}
		k.post(ev)
	case StartUnit:
		k.start(e.Unit, e.Wish, OpStart)
	case RestartUnit:
		k.start(e.Unit, e.Wish, OpRestart)
	case StopUnit:
		done := JobDone{Unit: e.Unit, Op: OpStop, Outcome: Done}
		switch x := k.rng.Float64(); {
		case x < 0.8:
			if k.chance(0.5) {
				k.lose(e.Unit)
				delete(k.units, e.Unit)
				k.post(done)
				return
			}
			delete(k.units, e.Unit)
			k.post(done)
			k.lose(e.Unit)
			return
		case x < 0.9:
			done.Outcome = Lost
			if k.chance(0.5) {
				k.lose(e.Unit)
				delete(k.units, e.Unit)
			}
		default:
			done.Outcome = "failed"
		}
		k.post(done)
	case AskUnit:
		k.post(UnitState{Unit: e.Unit, Token: e.Token, Known: !k.chance(0.1), Info: k.info(e.Unit), Device: k.deviceOf(e.Unit), Unread: k.chance(0.05)})
	case ReadLog:
		if k.chance(0.2) {
			k.post(LogFailed{Device: e.Device, Token: e.Token, Err: "read"})
			return
		}
		var dc tid.TID
		dc.Traddr = k.devs[e.Device].Traddr
		k.post(LogRead{Device: e.Device, Token: e.Token, Pages: JudgePages(k.page(dc), e.Readers)})
	case Judge:
		k.post(Judged{e.TID, JudgeAnew(e.Page, e.Origin)})
	case TakeSnapshot:
		if k.chance(0.05) {
			k.post(SnapshotFailed{Token: e.Token, Err: "no"})
			return
		}
		s := Snapshot{ShuttingDown: k.down, Token: e.Token, UnitsKnown: !k.chance(0.1), Devids: map[string]string{}, Autoconnect: k.chance(0.5)}
		for _, name := range sortedKeys(k.devs) {
			d := k.devs[name]
			k.seq++
			d.Seq = k.seq
			k.devs[name] = d
			if k.chance(0.05) {
				s.Unreadable = append(s.Unreadable, name)
			} else {
				s.Devices = append(s.Devices, d)
			}
			if d.Unit != "" {
				s.Devids[d.Unit] = name
			}
		}
		for _, unit := range sortedKeys(k.units) {
			s.Units = append(s.Units, k.info(unit))
		}
		k.post(s)
	case Resolve:
		k.resolve(e.Host)
	case Kickstart:
		k.post(Kickstarted{Token: e.Token, NoFC: k.chance(0.7), Failed: k.chance(0.2)})
	}
}

func (k *monkey) resolve(host string) {
	ev := Resolved{Host: host, Err: "no such host"}
	if k.chance(0.7) {
		ev.Err = ""
		for i := range 4 {
			if k.chance(0.5) {
				ev.Addrs = append(ev.Addrs, netip.MustParseAddr(fmt.Sprintf("192.0.2.%d", i+1)))
			}
		}
	}
	k.post(ev)
}

func (k *monkey) outside() Event {
	var words []string
	for t := range k.m.View().Targets.All() {
		words = append(words, t.Wish.TID.Canonical(), t.Unit)
	}
	words = append(words, "", "nvme0", "nqn.vol1")
	devs, us := sortedKeys(k.devs), sortedKeys(k.units)
	switch k.rng.IntN(23) {
	case 19:
		return k.nbft()
	case 20:
		if len(us) > 0 && k.chance(0.2) {
			k.down = !k.down
			return UnitState{Unit: pick(k, us), Known: true, ShuttingDown: true}
		}
	case 21:
		k.down = false
		return EventsLost{Why: "x"}
	case 0:
		if k.chance(0.4) {
			return k.config()
		}
	case 1, 2, 3:
		if len(devs) > 0 {
			name := pick(k, devs)
			k.seq++
			delete(k.devs, name)
			return DeviceRemoved{Name: name, Seq: k.seq}
		}
	case 4:
		if len(us) > 0 {
			unit := pick(k, us)
			delete(k.units, unit)
			k.lose(unit)
			return ForeignJob{Unit: unit, Type: pick(k, []string{"stop", "stop", "restart", "start"})}
		}
	case 5, 6, 7:
		return Request{ID: 1, Op: pick(k, []RequestOp{RequestStart, RequestStop, RequestRetry, RequestRescan}), Target: pick(k, words)}
	case 8:
		list, _ := exclusion.Parse(pick(k, []string{"traddr=192.0.2.1", "nqn=nqn.vol1", "traddr=192.0.2.99", "trsvcid=8009"}))
		if k.chance(0.5) {
			list = exclusion.List{}
		}
		return ExclusionsLoaded{list}
	case 9, 10:
		if len(devs) > 0 {
			name := pick(k, devs)
			d := k.devs[name]
			k.seq++
			d.Seq = k.seq
			switch k.rng.IntN(6) {
			case 0:
				d.Owner = pick(k, []string{"stas", "autoconnect", "", "discoverd", "discoverd"})
			case 1:
				d.State = pick(k, []string{"connecting", "live", "live"})
				if d.State == "connecting" {
					d.SrcAddr = ""
				} else {
					d.SrcAddr = "192.0.2.77"
				}
			}
			k.devs[name] = d
			if k.chance(0.3) {
				return DeviceNoticed{d}
			}
			return DeviceSeen{Device: d, Reconnected: k.chance(0.3)}
		}
	case 11:
		if k.chance(0.4) {
			return BusDown{Err: "x"}
		}
		return BusUp{}
	case 12:
		return BusUp{}
	case 13:
		if k.chance(0.3) {
			return EventsLost{Why: "overrun"}
		}
	case 14, 15:
		kick := Kick{Transport: pick(k, []string{"", tid.TCP}), Why: "up"}
		if k.chance(0.5) {
			kick.Iface, kick.Addrs = "eth0", []netip.Addr{netip.MustParseAddr("192.0.2.77")}
		}
		return kick
	case 16:
		if len(devs) > 0 {
			return LogChanged{Device: pick(k, devs)}
		}
	case 17:
		if k.chance(0.3) {
			w := pick(k, append(slices.Clone(monkeyDCs), monkeyIOs...))
			d := k.newDevice(w.TID, w.Kind, "")
			d.Owner = pick(k, []string{"", "stas", "autoconnect"})
			k.devs[d.Name] = d
			return DeviceSeen{Device: d}
		}
	case 18:
		if k.chance(0.5) {
			return MDNSReported{k.report()}
		}
		if k.chance(0.3) {
			return FCDiscovered{fc.Announcement{Traddr: "nn-0x1000000000000001:pn-0x1000000000000001", HostTraddr: "nn-0x1000000000000002:pn-0x1000000000000002"}}
		}
	}
	at := k.m.Deadline()
	switch {
	case k.chance(0.05):
		k.now = k.now.Add(time.Minute)
	case k.chance(0.01):
		k.now = k.now.Add(2 * time.Hour)
	case at != never && at.After(k.now) && k.chance(0.7):
		k.now = at
	default:
		k.now = k.now.Add(time.Duration(k.rng.IntN(int(time.Second))))
	}
	return Tick{}
}

func (k *monkey) step(ev Event) {
	if *monkeyTrace {
		fmt.Printf("%s %T %.300v\n", k.now.Format("15:04:05.000"), ev, fmt.Sprint(ev))
	}
	effects := k.m.Step(k.now, ev)
	for _, e := range effects {
		if *monkeyTrace {
			if _, ok := e.(Log); ok || true {
				fmt.Println("      ", e)
			}
		}
	}
	k.watch()
	if *monkeyEvery <= 1 || k.rng.IntN(*monkeyEvery) == 0 {
		k.check(ev)
	}
	if k.m.desired.refreshed == k.m.step && k.m.running() && !k.again { // a full refresh settles at the second go only
		k.again = true
		k.m.stale = true
		k.step(Tick{})
		k.again = false
	}
	for _, e := range effects {
		k.carryOut(e)
	}
}

func (k *monkey) fault(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	kind := strings.SplitN(format, ":", 2)[0]
	k.seen[kind]++
	if k.seen[kind] == 1 {
		k.t.Errorf("%s", text)
	}
}

func (k *monkey) watch() {
	changed, removed := k.m.Changed()
	for _, v := range changed {
		k.mirror[v.Wish.TID] = v
	}
	for _, id := range removed {
		// Before that the preview was shown; a target may come and go in one step.
		if _, err := netip.ParseAddr(id.Traddr); err != nil && id.Transport == tid.TCP && k.audited && k.mirror[id] == nil {
			k.fault("watcher: is told that %v goes, of which it never heard", id)
		}
		delete(k.mirror, id)
	}
	k.audited = k.m.audited
}

func (k *monkey) check(ev Event) {
	m := k.m
	if at := m.Deadline(); at != never && !at.After(k.now) {
		k.fault("deadline: in the past after %T", ev)
	}
	if m.brakes > 0 {
		k.fault("brake: after %T", ev)
	}
	var live []*target
	for i, t := range m.targets.list {
		if t == nil {
			continue
		}
		live = append(live, t)
		if t.place != i || t.dropped {
			k.fault("place: %v place %d at %d dropped %v after %T", t.wish.TID, t.place, i, t.dropped, ev)
		}
	}
	if len(live) != m.Targets() {
		k.fault("count: %d live, Targets() %d after %T", len(live), m.Targets(), ev)
	}
	named := map[string]int{}
	desired, unheard := 0, 0
	count := map[tally]int{}
	kept := 0
	retained := map[*target]bool{}
	claims := map[tid.TID]map[*target]bool{}
	for _, t := range live {
		named[t.unit]++
		if t.desired {
			desired++
		}
		if m.targets.byTID[t.wish.TID] != t {
			k.fault("byTID: %v after %T", t.wish.TID, ev)
		}
		y := t.tally()
		if y.unheard {
			unheard++
		}
		waiting := m.targets.waiting[t.wish.TID.Transport][t]
		if waiting != (y.transport != "") {
			k.fault("waiting: %v %v after %T", t.wish.TID, waiting, ev)
		}
		y.transport = ""
		count[y]++
		if t.page != nil {
			kept += len(t.page.Entries)
			for _, c := range t.page.children {
				if claims[c.tid] == nil {
					claims[c.tid] = map[*target]bool{}
				}
				claims[c.tid][t] = true
			}
		}
		if t.retention.when != never {
			retained[t] = true
		}
		if (t.device != nil) != (t.state == Connected || t.state == Foreign) {
			k.fault("device: %v %v after %T", t.wish.TID, t.state, ev)
		}
		if t.device != nil && (!slices.Contains(t.device.users, t) || m.devices.byName[t.device.Name] != t.device) {
			k.fault("users: %v %v after %T", t.wish.TID, t.state, ev)
		}
		if g := groupOf(t.wish); g != t.group {
			k.fault("group: %v after %T", t.wish.TID, ev)
		}
		if t.is(blocked) {
			if c := m.targets.groups[t.group]; c == nil || !c.waiting[t] || c.holder.dropped {
				k.fault("blocked: %v nobody wakes it after %T", t.wish.TID, ev)
			}
		}
		if t.state == Connecting && m.targets.groups[t.group] == nil {
			k.fault("contest: %v connects without its group after %T", t.wish.TID, ev)
		}
		if m.running() && t.state == Waiting && t.is(idle) && t.timer.when == never {
			var n *name
			if all := m.names.byTID[t.wish.TID]; len(all) > 0 {
				n = all[len(all)-1]
			}
			if kick := m.kicks[t.wish.TID.Transport]; kick.timer.when != never && kick.links == nil {
			} else if n == nil || n.timer.when == never && !n.asking {
				k.fault("for ever: %v waits without a timer (desired %v, name %v) after %T", t.wish.TID, t.desired, n != nil, ev)
			}
		}
		if m.running() && t.state == Parked && t.timer.when == never || t.is(inspecting) && t.timer.when == never && m.unitOf(t.unit).op == OpNone {
			k.fault("for ever 2: %v %v %v after %T", t.wish.TID, t.state, t.attempt.step, ev)
		}
		if m.running() && !t.desired && !t.busy() {
			k.fault("undesired: %v %v %v after %T", t.wish.TID, t.state, t.attempt.step, ev)
		}
		if t.is(queued) {
			has := func(line []ticket) bool {
				return slices.ContainsFunc(line, func(x ticket) bool { return x.number == t.attempt.ticket && x.target == t })
			}
			if !has(m.queue.urgent) && !has(m.queue.others) {
				k.fault("queue: %v has no ticket after %T", t.wish.TID, ev)
			}
		}
		if t.is(probing) && !slices.Contains(t.attempt.probe.waiting, t) {
			k.fault("probe: %v after %T", t.wish.TID, ev)
		}
		if !m.targets.byNQN[tid.FoldNQN(t.wish.TID.NQN)][t] || !m.targets.ofPair[hostPair{t.wish.TID.HostNQN, t.wish.TID.HostID}][t] {
			k.fault("byNQN: %v after %T", t.wish.TID, ev)
		}
	}
	if !maps.Equal(named, m.targets.named) {
		k.fault("named: %v want %v after %T", m.targets.named, named, ev)
	}
	if desired != m.desired.n {
		k.fault("desired.n: %d want %d after %T", m.desired.n, desired, ev)
	}
	if unheard != m.targets.unheard {
		k.fault("unheard: %d want %d after %T", m.targets.unheard, unheard, ev)
	}
	if !maps.Equal(count, m.targets.count) {
		k.fault("tally: %v want %v after %T", m.targets.count, count, ev)
	}
	if kept != m.kept {
		k.fault("kept: %d want %d after %T", m.kept, kept, ev)
	}
	if !maps.Equal(retained, m.desired.retained) {
		k.fault("retained: %d want %d after %T", len(m.desired.retained), len(retained), ev)
	}
	if len(m.targets.byTID) != len(live) {
		k.fault("byTID size: %d want %d after %T", len(m.targets.byTID), len(live), ev)
	}
	for id, dcs := range m.desired.claims {
		for _, dc := range dcs {
			if !claims[id][dc] {
				k.fault("claims: %v by %v is stale after %T", id, dc.wish.TID, ev)
			}
			delete(claims[id], dc)
		}
		if len(claims[id]) > 0 {
			k.fault("claims 2: %v missing after %T", id, ev)
		}
		delete(claims, id)
	}
	if len(claims) > 0 {
		k.fault("claims 3: %d missing after %T", len(claims), ev)
	}
	for unit, t := range m.targets.byUnit {
		if t.dropped || t.unit != unit || !slices.Contains(live, t) {
			k.fault("byUnit: %s has %v with %s after %T", unit, t.wish.TID, t.unit, ev)
		}
	}
	for g, c := range m.targets.groups {
		if !slices.Contains(live, c.holder) || c.holder.group != g {
			k.fault("holder: %v after %T", g, ev)
		}
		if h := c.holder; h.state != Connecting && !h.is(inspecting) {
			k.fault("holder 2: %v %v %v holds its group after %T", h.wish.TID, h.state, h.attempt.step, ev)
		}
	}
	reserved, running := 0, 0
	for _, d := range m.devices.byName {
		reserved += d.reading.keep
		for _, p := range d.places() {
			if !slices.Contains(m.devices.at[p], d) {
				k.fault("at: %s after %T", d.Name, ev)
			}
		}
		for _, t := range d.users {
			if t.device != d {
				k.fault("users 2: %s has %v after %T", d.Name, t.wish.TID, ev)
			}
		}
	}
	if reserved != m.reserved {
		k.fault("reserved: %d want %d after %T", m.reserved, reserved, ev)
	}
	for _, u := range m.units.byName {
		if u.op == OpStart || u.op == OpRestart {
			running++
		}
	}
	if running != m.units.running {
		k.fault("running: %d want %d after %T", m.units.running, running, ev)
	}
	for _, t := range m.timers.heap {
		if x, ok := t.owner.(*target); ok && !slices.Contains(live, x) {
			k.fault("timer: of the dropped %v after %T", x.wish.TID, ev)
		}
	}
	k.checkViews(live, ev)
}

func (k *monkey) checkViews(live []*target, ev Event) {
	m := k.m
	v := m.View()
	if !m.audited { // it shows what is configured
		if v.Targets.Len() != len(m.views.preview) {
			k.fault("view: shows %d, %d are configured after %T", v.Targets.Len(), len(m.views.preview), ev)
		}
		return
	}
	var shown []*TargetView
	for t := range v.Targets.All() {
		if t.Unit != "" {
			shown = append(shown, t)
		}
	}
	if len(shown) != len(live) || v.Targets.Len() != len(shown)+m.names.unresolved {
		k.fault("view: shows %d (%d), there are %d after %T", len(shown), v.Targets.Len(), len(live), ev)
		return
	}
	unresolved := map[tid.TID]bool{}
	for _, n := range m.names.list {
		if len(n.wishes) == 0 {
			unresolved[n.tid()] = true
			if k.mirror[n.tid()] == nil {
				k.fault("watcher: misses the name %v after %T", n.tid(), ev)
			}
		}
	}
	if len(k.mirror) != len(live)+len(unresolved) {
		k.fault("mirror: %d, there are %d and %d names after %T", len(k.mirror), len(live), len(unresolved), ev)
	}
	for i, t := range live {
		was := t.view
		t.view = nil
		fresh := m.viewOf(t)
		t.view = was
		if !reflect.DeepEqual(fresh, shown[i]) {
			k.fault("stale view: of %v: %v after %T", t.wish.TID, differs(shown[i], fresh), ev)
		}
		if mine := k.mirror[t.wish.TID]; mine == nil || !reflect.DeepEqual(fresh, mine) {
			if mine == nil {
				k.fault("watcher: misses %v after %T", t.wish.TID, ev)
			} else {
				k.fault("watcher 2: %v: %v after %T", t.wish.TID, differs(mine, fresh), ev)
			}
		}
	}
	at := 0
	var names []*TargetView
	for t := range v.Targets.All() {
		if t.Unit == "" {
			names = append(names, t)
		}
	}
	for _, n := range m.names.list {
		if len(n.wishes) == 0 {
			fresh := viewOfName(n)
			if mine := k.mirror[n.tid()]; mine != nil && !reflect.DeepEqual(fresh, mine) {
				k.fault("watcher 3: %v: %v after %T", n.tid(), differs(mine, fresh), ev)
			}
			if at >= len(names) || !reflect.DeepEqual(fresh, names[at]) {
				k.fault("name view: after %T", ev)
			}
			at++
		}
	}
	explained := map[string]bool{}
	for _, t := range live {
		explained[t.unit] = true
	}
	var unwanted []Device
	for _, name := range sortedKeys(m.devices.byName) {
		d := m.devices.byName[name]
		if d.Unit == "" || m.foreign(d) {
			continue
		}
		if len(d.users) == 0 {
			unwanted = append(unwanted, d.Device)
		}
		explained[d.Unit] = true
	}
	if !slices.Equal(unwanted, v.Unwanted) {
		k.fault("unwanted: %v want %v after %T", v.Unwanted, unwanted, ev)
	}
	var unexplained []string
	for _, name := range sortedKeys(m.units.byName) {
		if !explained[name] && m.units.byName[name].active {
			unexplained = append(unexplained, name)
		}
	}
	if !slices.Equal(unexplained, v.Unexplained) {
		k.fault("unexplained: %v want %v after %T", v.Unexplained, unexplained, ev)
	}
}

func differs(a, b *TargetView) string {
	var out []string
	x, y := reflect.ValueOf(*a), reflect.ValueOf(*b)
	for i := range x.NumField() {
		if !reflect.DeepEqual(x.Field(i).Interface(), y.Field(i).Interface()) {
			name := x.Type().Field(i).Name
			if name == "Page" || name == "Wish" {
				out = append(out, name)
				continue
			}
			out = append(out, fmt.Sprintf("%s shown %v is %v", name, x.Field(i).Interface(), y.Field(i).Interface()))
		}
	}
	return strings.Join(out, ", ")
}

// refreshed forces a desired set made anew and compares.
func (k *monkey) refreshed() {
	type line struct {
		wish                     wish.Wish
		sources                  string
		desired, static, sourced bool
		persistence              config.Persistence
		found                    config.Discovered
	}
	lines := func() map[tid.TID]line {
		all := map[tid.TID]line{}
		k.m.all(func(t *target) {
			all[t.wish.TID] = line{t.wish, strings.Join(t.sources, ","), t.desired, t.static, t.sourced, t.persistence, t.found}
		})
		return all
	}
	if !k.m.running() || k.m.stale {
		return
	}
	before := lines()
	k.m.stale = true
	k.step(Tick{})
	after := lines()
	for _, id := range slices.SortedFunc(maps.Keys(before), func(a, b tid.TID) int { return strings.Compare(a.Canonical(), b.Canonical()) }) {
		if a, ok := after[id]; !ok {
			k.fault("refresh: forgets %v: %+v", id, before[id])
		} else if b := before[id]; a != b {
			sorted := func(l line) line {
				list := strings.Split(","+l.sources, ",log")
				slices.Sort(list)
				l.sources = strings.Join(list, ",log")
				return l
			}
			if sorted(a) == sorted(b) {
				k.fault("refresh order: %v", id)
				continue
			}
			k.fault("refresh 2: changes %v:\n%+v to\n%+v", id, before[id], a)
		}
	}
	for id := range after {
		if _, ok := before[id]; !ok {
			k.fault("refresh 3: adds %v: %+v", id, after[id])
		}
	}
}

func runMonkey(t *testing.T, seed uint64, steps int) {
	runMonkeyWith(t, seed, steps, func(*monkey, int) {})
}

// runMonkeyWith is runMonkey and calls after whenever something was done.
func runMonkeyWith(t *testing.T, seed uint64, steps int, after func(k *monkey, done int)) {
	k := &monkey{t: t, rng: rand.New(rand.NewPCG(seed, 7)), m: New(seed), now: time.Unix(1000, 0), devs: map[string]Device{}, units: map[string][]string{}, mirror: map[tid.TID]*TargetView{}, seen: map[string]int{}}
	done := 0
	defer func() {
		if r := recover(); r != nil {
			t.Errorf("panic: seed %d step %d: %v", seed, done, r)
			if *monkeyTrace {
				panic(r)
			}
		}
	}()
	k.step(k.config())
	k.step(BusUp{})
	for done = range steps {
		if len(k.todo) > 0 && k.chance(0.75) {
			// answers of one unit or device keep their order: the first of the queue mostly
			i := 0
			if k.chance(0.3) {
				i = k.rng.IntN(len(k.todo))
			}
			ev := k.todo[i]
			k.todo = slices.Delete(k.todo, i, i+1)
			k.step(ev)
		} else {
			k.step(k.outside())
		}
		if k.chance(0.02) {
			k.refreshed()
		}
		after(k, done)
	}
}

func TestMonkey(t *testing.T) {
	for seed := range *monkeySeeds {
		seed += *monkeyFirst
		t.Run(fmt.Sprint(seed), func(t *testing.T) { runMonkey(t, uint64(seed), 3000) })
	}
}

// report is anything that browsing may find out.
func (k *monkey) report() mdns.Report {
	r := mdns.Report{Complete: k.chance(0.5), Beside: k.chance(0.1)}
	if r.Service = pick(k, []string{"Avahi", "systemd-resolved", ""}); r.Service == "" {
		r.Problem = "nobody browses"
		return r
	}
	for n := range 6 {
		if k.chance(0.5) {
			iface := pick(k, []string{"eth0", "eth1"})
			r.Found = append(r.Found, mdns.Announcement{Instance: fmt.Sprintf("array %d", n), Iface: iface, TID: tid.TID{
				Transport: tid.TCP, Traddr: fmt.Sprintf("192.0.2.%d", 10+n), Trsvcid: "8009", NQN: tid.DiscoveryNQN, HostIface: iface,
			}})
		}
	}
	r.Ignored = k.rng.IntN(3)
	return r
}
