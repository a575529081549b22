// SPDX-License-Identifier: GPL-3.0-or-later

package sim

import (
	"slices"
	"strings"
	"time"

	"github.com/nvme-discoverd/nvme-discoverd/internal/config"
	"github.com/nvme-discoverd/nvme-discoverd/internal/core"
	"github.com/nvme-discoverd/nvme-discoverd/internal/tid"
	"github.com/nvme-discoverd/nvme-discoverd/internal/wish"
)

// hindsight is how much time what happens outside gets to be noticed before a decision counts as wrong: nothing can act on
// what it has not been told.
const hindsight = 3 * time.Second

// watch holds what the invariants need to know of the past. Each invariant is a method that is named for it.
type watch struct {
	*world
	exclusions int                      // the list that the machine was given last
	changed    time.Duration            // when the list on disk last changed
	marked     map[string]bool          // units that the machine said an administrator stopped
	touched    map[string]bool          // units that an administrator ever stopped, and those that are remembered with them
	byAdmin    bool                     // the step remembers a stop by an administrator
	stopped    map[string]time.Duration // units that an administrator stopped while the daemon listened
	wishes     map[string]wish.Wish     // of every unit that there ever was
	missed     time.Duration            // when the kernel last dropped a uevent that no comparison has made up for; 0 is never
	asked      time.Duration            // when the last comparison began
	unheard    time.Duration            // when the daemon last could not hear of jobs, or was told to begin anew
	quiet      time.Duration            // from when on nothing is left to do; 0 is not yet
	wanted     map[string]bool          // the units of all targets at that time
	told       map[string]string        // device → unit, as the machine was last told
	ticks      int                      // in a row that asked for another one at once
	inSecond   int                      // of the second that runs
	second     time.Duration
}

func (k *watch) init(w *world) {
	k.world = w
	k.touched, k.told = map[string]bool{}, map[string]string{}
	k.marked, k.stopped, k.wishes = map[string]bool{}, map[string]time.Duration{}, map[string]wish.Wish{}
}

// begin takes note of a new daemon. What the one before said of stops was written down, or will never be.
func (k *watch) begin() {
	k.exclusions = k.disk.exclusions
	k.unheard = k.now
	clear(k.marked)
	for unit := range k.disk.stopped {
		k.marked[unit] = true
	}
}

// reloading takes note of a reload, which lets stopped units start again.
func (k *watch) reloading() {
	k.unheard = k.now
	clear(k.stopped)
}

// effect looks at one effect before it is carried out.
func (k *watch) effect(e core.Effect) {
	switch e := e.(type) {
	case core.StartUnit:
		k.wishes[e.Unit] = e.Wish
		k.overtakes(e.Unit)
		k.stoppedStays(e.Unit)
		k.excludedIsNotTried(e.Unit)
		if k.wanted[e.Unit] { // a DC that is polled may bring others at any time
			k.staysCalm(e.Unit, e)
		}
	case core.RestartUnit:
		k.overtakes(e.Unit)
		k.stoppedStays(e.Unit)
		k.excludedIsNotTried(e.Unit)
		k.staysCalm(e.Unit, e)
	case core.StopUnit:
		delete(k.stopped, e.Unit) // the daemon wants the same
		if k.hasTarget(e.Unit) {  // else a DC that is polled named it no more
			k.staysCalm(e.Unit, e)
		}
	case core.MarkStopped:
		k.marked[e.Unit] = true
		k.onlyWhatWasStopped(e.Unit)
	case core.UnmarkStopped:
		delete(k.marked, e.Unit)
		delete(k.stopped, e.Unit)
	}
}

// stepped looks at the machine after a step that had so many effects.
func (k *watch) stepped(ev core.Event, effects int) {
	k.byAdmin = false
	k.tell(ev)
	if _, compared := ev.(core.Snapshot); compared && k.asked >= k.missed {
		k.missed = 0
	}
	k.noPastDeadline(ev, effects)
	k.neverBusy(ev)
	k.workIsBounded(ev)
	k.memoryIsBounded()
	if k.stats.Steps%64 == 0 {
		k.isConsistent()
	}
}

// tell takes note of what an event says of the units of controllers.
func (k *watch) tell(ev core.Event) {
	var devices []core.Device
	switch ev := ev.(type) {
	case core.Snapshot:
		clear(k.told)
		devices = ev.Devices
	case core.DeviceSeen:
		devices = []core.Device{ev.Device}
	case core.DeviceNoticed:
		devices = []core.Device{ev.Device}
	case core.DeviceRemoved:
		delete(k.told, ev.Name)
	case core.JobDone:
		if ev.Device != nil {
			devices = []core.Device{*ev.Device}
		}
	case core.UnitState:
		if ev.Device != nil {
			devices = []core.Device{*ev.Device}
		}
	}
	for _, d := range devices {
		k.told[d.Name] = d.Unit
	}
}

// isConsistent: every index has what it indexes, and the desired set is what it would be if it were made anew.
func (k *watch) isConsistent() {
	if wrong := k.shell.machine.Inconsistent(); wrong != "" {
		k.violate("isConsistent", "%s", wrong)
	}
}

// overtakes takes note that a unit is started that an administrator stopped just now: the daemon cannot have been told, and when it
// is, systemd says that the unit is active.
func (k *watch) overtakes(unit string) {
	if at, stopped := k.stopped[unit]; stopped && k.now-at < time.Second {
		delete(k.stopped, unit)
	}
}

// stoppedStays: what an administrator stopped is not started again until a reload.
func (k *watch) stoppedStays(unit string) {
	if k.marked[unit] {
		k.violate("stoppedStays", "%s is started although an administrator stopped it", short(unit))
	}
}

// onlyWhatWasStopped: no unit is said to have been stopped by an administrator that none has ever stopped. A target that uses the unit of
// another one is remembered by its own too, in the same step.
func (k *watch) onlyWhatWasStopped(unit string) {
	switch {
	case k.touched[unit]:
		k.byAdmin = true
	case k.byAdmin:
		k.touched[unit] = true
	default:
		k.violate("onlyWhatWasStopped", "%s is said to have been stopped by an administrator, and none did", short(unit))
	}
}

// adminStops takes note of a stop by an administrator.
func (k *watch) adminStops(u *service) {
	delete(k.stopped, u.name)
	k.touched[u.name] = true
	if j := u.job; j != nil && j.kind == "stop" { // it becomes part of a job that is there, and systemd tells nobody
		return
	}
	if k.shell.running && k.systemd.bus {
		k.stopped[u.name] = k.now
	}
}

// collected plans to look whether a stop was noticed.
func (k *watch) collected(u *service) {
	at, stopped := k.stopped[u.name]
	if !stopped || u.job == nil || len(u.job.ours) > 0 { // or the daemon wanted the same
		return
	}
	k.after(10*time.Second, func() {
		if k.stopped[u.name] == at && k.unheard < at && k.shell.running && k.systemd.bus {
			k.stopIsNoticed(u.name)
		}
	})
}

// stopIsNoticed: a stop by an administrator that the daemon could hear of is told apart from everything else that stops
// units.
func (k *watch) stopIsNoticed(unit string) {
	if !k.marked[unit] {
		k.violate("stopIsNoticed", "an administrator stopped %s and it is not remembered", short(unit))
	}
}

// canceling: a stop by an administrator is not cancelled by a job of ours.
func (k *watch) canceling(old *job, is issue, byAdmin bool) {
	if byAdmin || !old.foreign || old.kind != "stop" || is.at < old.begun+hindsight || old.session != k.systemd.session || k.unheard > old.begun {
		return
	}
	k.violate("stopIsNotCancelled", "%v cancels the stop of %s by an administrator", is.effect, short(old.unit))
}

// excludedIsNotTried: no connect is begun that the exclusion list, as far as the daemon was told, forbids.
func (k *watch) excludedIsNotTried(unit string) {
	if entry, excluded := k.lab.exclusions[k.exclusions].Match(k.wishes[unit].TID); excluded {
		k.violate("excludedIsNotTried", "%s is started although %s excludes it", short(unit), entry.Text)
	}
}

// made looks at a controller that came up.
func (k *watch) made(wr *write) {
	if wr.made.theirs() {
		return
	}
	k.stats.Connects++
	k.excludedIsNotConnected(wr)
	k.neverTwice(wr)
}

// excludedIsNotConnected: nothing is connected that the list on disk has excluded since before the command looked.
func (k *watch) excludedIsNotConnected(wr *write) {
	_, excluded := k.lab.exclusions[k.disk.exclusions].Match(wr.wish.TID)
	if excluded && k.changed < wr.begun {
		k.violate("excludedIsNotConnected", "%v was connected by %s although it is excluded", wr.wish.TID, short(wr.maker))
	}
}

// neverTwice: nothing is connected for a wish that a controller of ours serves.
func (k *watch) neverTwice(wr *write) {
	for _, c := range k.kernel.all() {
		// What a controller is that associates for the first time on Fibre Channel, or what path one without a pin takes when it
		// reconnects, nothing tells: the command looked at it before, and the kernel cannot be told to look.
		if c.liveSince > wr.begun {
			continue
		}
		if c == wr.made || c.removing {
			continue
		}
		real := c.Controller
		if real.SrcAddr == "" && c.Transport == tid.TCP {
			real.SrcAddr, real.SrcIface = c.source, interfaceOf(c.source)
		}
		if real.Serves(wr.wish.TID) {
			k.violate("neverTwice", "%s connects %v although %v serves it", short(wr.maker), wr.wish.TID, c)
		}
	}
}

// disconnecting looks at a controller that a unit's ExecStop is about to delete, for the job j.
func (k *watch) disconnecting(c *controller, unit string, j *job) {
	k.foreignIsUntouched(c, unit)
	k.liveIsNotStopped(c, unit, j)
}

// foreignIsUntouched: no controller of another orchestrator is disconnected.
func (k *watch) foreignIsUntouched(c *controller, unit string) {
	owner := k.disk.registry[c.Name].owner
	if c.orchestrated() && !wish.Owner(owner).Ours() && !c.disowned ||
		owner == makerAutoconnect && k.foreign(c.Name) && k.disk.switched < k.now-hindsight {
		k.violate("foreignIsUntouched", "%s disconnects %v", short(unit), c)
	}
}

// liveIsNotStopped: a controller in use is disconnected only for an administrator, or to park a DC that says that it does
// not support connections that are kept, or one that does not say so and has not kept them, or one that is configured so.
func (k *watch) liveIsNotStopped(c *controller, unit string, j *job) {
	if j.foreign || c.removing || len(j.ours) == 0 || c.liveSince == 0 { // or it has never been live (fc)
		return
	}
	is := j.ours[0]
	if stop, ok := is.effect.(core.StopUnit); ok && c.port.discovery && k.mayPark(c.port, stop.Why) {
		return
	}
	if c.liveSince > is.at-hindsight { // it came up when the daemon had decided, or shortly before
		if _, restart := is.effect.(core.RestartUnit); !restart || c.liveSince > is.at-time.Second {
			return
		}
	}
	k.violate("liveIsNotStopped", "%v disconnects %v, which is live since %s", is.effect, c, stamp(c.liveSince))
}

// mayPark tells whether a DC may be disconnected for the reason given, to be polled.
func (k *watch) mayPark(p *port, why string) bool {
	policies := k.policies(p)
	switch {
	case strings.Contains(why, "does not support connections that are kept"):
		return slices.Contains(policies, config.PersistenceEPCSD)
	case strings.Contains(why, "does not keep its connection"):
		return slices.Contains(policies, config.PersistenceAuto) && (!p.epcsd || !p.own) && k.endsOften(p)
	case strings.Contains(why, "persistent = no"):
		return slices.Contains(policies, config.PersistenceNever)
	}
	return false
}

// policies are those by which a DC may be kept: the global default, and what its section says, if it has one.
func (k *watch) policies(p *port) []config.Persistence {
	if p.kept == "" {
		return []config.Persistence{k.mix.persistence}
	}
	return []config.Persistence{k.mix.persistence, p.kept}
}

// endsOften tells whether connections to a DC have ended three times within ten minutes. The daemon hears of an end when the
// kernel gives up or has reconnected; where events come twice, it may take one end for two.
func (k *watch) endsOften(p *port) bool {
	const within, heard = 10 * time.Minute, 11 * time.Minute
	least, n := 3, 0
	if k.mix.duplicates > 0 {
		least = 2
	}
	for _, at := range p.ends {
		if k.now-at < within+heard {
			n++
		}
	}
	return n >= least
}

// reading: the log page is read of no controller that somebody else connected and nobody claimed. c may be nil.
func (k *watch) reading(c *controller) {
	if c == nil || c.removing || c.Type == "reserved" || k.disk.unitOf[c.Name] != "" || !c.theirs() || c.liveSince > k.now-hindsight {
		return
	}
	k.violate("othersAreNotRead", "the log page of %v is read", c)
}

// noPastDeadline: a tick at the time that the machine asked for does something, or moves that time into the future. A time that
// stays in the past without an effect makes the loop spin.
func (k *watch) noPastDeadline(ev core.Event, effects int) {
	if _, tick := ev.(core.Tick); !tick || effects > 0 {
		return
	}
	if at := k.shell.machine.Deadline(); !at.IsZero() && at.Sub(epoch) <= k.now {
		k.violate("noPastDeadline", "a tick does nothing and leaves the deadline at %s", stamp(at.Sub(epoch)))
	}
}

// Bounds of what a step looks at, whatever there is on the host: for the event itself, for each target that it changes, and for
// each entry of the log pages that it brings.
const (
	maxWork       = 200
	maxWorkTarget = 12
	maxWorkEntry  = 4 // of the page before, too
)

// workIsBounded: a step looks at what its event is about, not at everything there is, unless it makes the desired set anew or
// the event is about everything: a comparison, a reload, a request for all.
func (k *watch) workIsBounded(ev core.Event) {
	switch ev := ev.(type) {
	case core.Snapshot, core.ConfigLoaded, core.NBFTLoaded, core.ExclusionsLoaded:
		return
	case core.Request:
		if ev.Target == "" {
			return
		}
	}
	named := 0
	switch ev := ev.(type) {
	case core.Judged:
		named = len(ev.Page.Entries)
	case core.LogRead:
		for _, page := range ev.Pages {
			named += len(page.Entries)
		}
	}
	switch work := k.shell.machine.Work(); {
	case work.Brakes > 0:
		k.violate("workIsBounded", "a timer fires more often than it may within a step for %T", ev)
	case !work.Refreshed && work.Touched > maxWork+maxWorkTarget*work.Changed+maxWorkEntry*named:
		k.violate("workIsBounded", "a step for %T with %d entries looks at %d things and changes %d targets", ev, named, work.Touched, work.Changed)
	}
}

// neverBusy: the machine does not ask for one tick after the other.
func (k *watch) neverBusy(ev core.Event) {
	if _, tick := ev.(core.Tick); !tick {
		return
	}
	at := k.shell.machine.Deadline()
	if at.IsZero() || at.Sub(epoch) > k.now {
		k.ticks = 0
	} else if k.ticks++; k.ticks > 3 {
		k.violate("neverBusy", "%d ticks in a row ask for another at once", k.ticks)
	}
	if k.now-k.second > time.Second {
		k.second, k.inSecond = k.now, 0
	}
	if k.inSecond++; k.inSecond > 200 {
		k.violate("neverBusy", "%d ticks within a second", k.inSecond)
	}
}

// memoryIsBounded: what the machine remembers is bounded by what there is.
func (k *watch) memoryIsBounded() {
	wishes := len(k.fabric.config.Connections)
	for _, h := range k.names.hosts {
		wishes += len(h.ever)
	}
	entries := 0
	for _, p := range k.fabric.ports {
		entries += len(p.entries)
	}
	if n := k.shell.machine.Targets(); n > mostWanted+40*(wishes+len(k.wishes)) {
		k.violate("memoryIsBounded", "there are %d targets", n)
	}
	limit := 40 * (entries + wishes + len(k.boot.tables) + 8*len(k.fabric.ports) + len(k.kernel.slots) + len(k.wishes))
	if size := k.shell.machine.Size(); size > limit {
		k.violate("memoryIsBounded", "the machine remembers %d things of %d ports", size, len(k.fabric.ports))
	}
}

// settled begins the time in which nothing is left to do.
func (k *watch) settled() {
	k.quiet, k.wanted = k.now, map[string]bool{}
	for t := range k.shell.machine.View().Targets.All() {
		k.wanted[t.Unit] = true
	}
}

// staysCalm: when everything has settled, no unit of a target that is there is started, restarted or stopped any more.
func (k *watch) staysCalm(unit string, e core.Effect) {
	if k.quiet == 0 {
		return
	}
	x := k.wishes[unit]
	if p := k.fabric.port(x.TID); p != nil && p.serves(x.TID) && !k.polled(x) {
		k.violate("staysCalm", "%v, though nothing has happened since %s", e, stamp(k.quiet))
	}
}

// hasTarget tells whether a target is connected by a unit, or would be.
func (k *watch) hasTarget(unit string) bool {
	for t := range k.shell.machine.View().Targets.All() {
		if t.Unit == unit {
			return true
		}
	}
	return false
}

// polled tells whether a DC may be parked: it is connected now and then.
func (k *watch) polled(x wish.Wish) bool {
	p := k.fabric.port(x.TID)
	if p == nil || !p.discovery {
		return false
	}
	policies := k.policies(p)
	return slices.Contains(policies, config.PersistenceNever) || slices.Contains(policies, config.PersistenceAuto) && k.endsOften(p) ||
		slices.Contains(policies, config.PersistenceEPCSD) && (!p.own || !p.epcsd)
}

// atQuiescence looks at everything when it must have settled.
func (k *watch) atQuiescence() {
	if k.broken != nil {
		return
	}
	k.isConsistent()
	for _, x := range k.desired(k.fit) {
		k.comesBack(x)
	}
	for _, c := range k.fabric.config.Connections {
		k.namedComesBack(c)
	}
	k.nothingIsLeft()
	k.ownersAreKnown()
	k.nothingIsRemembered()
	for t := range k.shell.machine.View().Targets.All() {
		k.goneIsForgotten(t)
		k.withdrawnIsForgotten(t)
	}
}

// goneIsForgotten: a discovery controller on Fibre Channel whose port is gone is tried no longer than retention says, however
// its going went unheard, if nothing else names it.
func (k *watch) goneIsForgotten(t *core.TargetView) {
	now := epoch.Add(k.now)
	switch p := k.fabric.port(t.Wish.TID); {
	case !t.RetainUntil.IsZero() && (t.RetainUntil.Before(now) || k.mix.retention < config.Infinity && t.RetainUntil.After(now.Add(k.mix.retention))):
		k.violate("goneIsForgotten", "%v is kept until %v", t.Wish.TID, t.RetainUntil.Sub(epoch))
	case t.State == core.Waiting && p != nil && p.absent && slices.Contains(t.Sources, core.FCSource):
		k.violate("goneIsForgotten", "the port of %v is gone and it is still said to be announced", t.Wish.TID)
	}
}

// ownersAreKnown: whatever other programs did to the registry, it names an owner of ours for every controller that a unit of ours
// holds, unless another orchestrator has taken that over; and it has no entry of a controller that is gone.
func (k *watch) ownersAreKnown() {
	for _, c := range k.kernel.all() {
		unit := k.disk.unitOf[c.Name]
		u := k.systemd.find(unit)
		if u == nil || u.phase != exited || u.job != nil || k.disk.devid[unit] != c.Name || !c.Serves(u.wish.TID) || k.foreign(c.Name) {
			continue
		}
		if owner := wish.Owner(k.disk.registry[c.Name].owner); !owner.Ours() {
			k.violate("ownersAreKnown", "%v is held by %s, and its owner in the registry is %q", c, short(unit), owner)
		}
	}
	for _, name := range sortedKeys(k.disk.registry) {
		if k.kernel.find(name) == nil && k.kernel.lastGone < k.now-hindsight {
			k.violate("ownersAreKnown", "the registry has an entry of %s, which is gone", name)
		}
	}
}

// lost plans to look whether the loss of a connection was noticed.
func (k *watch) lost(c *controller) {
	outage, life := c.outage, k.shell.life
	k.after(lookInterval+noticing, func() {
		if c.outage == outage && !c.removing && c.State != "live" && k.shell.running && k.shell.life == life {
			k.reconnectingIsSeen(c)
		}
	})
}

// noticing is how long a look at a controller may take on a busy host, until the machine has been told.
const noticing = time.Second

// reconnectingIsSeen: nobody is shown as connected for a while by a controller that the kernel reconnects meanwhile, and the counts
// agree with what is shown. A target that has just been found to be served by it is looked at next.
func (k *watch) reconnectingIsSeen(c *controller) {
	view := k.shell.machine.View()
	reconnecting, wanted := 0, 0
	for t := range view.Targets.All() {
		if t.Wanted() {
			wanted++
		}
		if t.State == core.Reconnecting && t.RetainUntil.IsZero() { // those are counted as retained
			reconnecting++
		}
		if t.Device == c.Name && t.State == core.Connected && t.Since.Before(epoch.Add(k.now-lookInterval-noticing)) {
			k.violate("reconnectingIsSeen", "%v is shown as connected, and the kernel has been reconnecting %v for %v", t.Wish.TID, c, lookInterval+noticing)
		}
	}
	if reconnecting != view.Counts.Reconnecting {
		k.violate("reconnectingIsSeen", "%d are shown as reconnecting, and %d counted", reconnecting, view.Counts.Reconnecting)
	}
	if wanted != view.Counts.Wanted {
		k.violate("reconnectingIsSeen", "%d are shown as wanted, and %d counted", wanted, view.Counts.Wanted)
	}
}

// nothingIsLeft: a daemon that has lived through everything knows of every unit what it is there for. (One that comes after
// another may find some that nothing on record explains; those are for the status to show.)
func (k *watch) nothingIsLeft() {
	if k.shell.life > 1 {
		return
	}
	view := k.shell.machine.View()
	// That of a controller which another orchestrator has taken over stays as it is.
	left := slices.DeleteFunc(view.Unexplained, func(unit string) bool {
		return slices.ContainsFunc(k.kernel.all(), func(c *controller) bool { return k.disk.unitOf[c.Name] == unit && k.foreign(c.Name) })
	})
	// What another orchestrator has lost it has a minute to connect again. A DC among that is read after it, and what it wants
	// is not known before.
	if len(left) > 0 && k.kernel.foreignGone < k.now-2*time.Minute {
		k.violate("nothingIsLeft", "%d units are active and nobody knows what for, %s first", len(left), short(left[0]))
	}
	for t := range view.Targets.All() {
		u := k.systemd.find(t.Unit)
		if t.State == core.Waiting || t.State == core.Connecting || t.Connected() || u == nil || u.phase != exited || u.job != nil {
			continue
		}
		if !slices.ContainsFunc(k.kernel.all(), func(c *controller) bool { return k.disk.unitOf[c.Name] == t.Unit }) {
			k.violate("nothingIsLeft", "%s is active without a controller, and its target is %v", short(t.Unit), t.State)
		}
	}
}

// nothingIsRemembered: there is no record of a unit and a controller that are both gone.
func (k *watch) nothingIsRemembered() {
	for _, unit := range sortedKeys(k.disk.devid) {
		if device := k.disk.devid[unit]; k.systemd.find(unit) == nil && k.kernel.find(device) == nil {
			k.violate("nothingIsRemembered", "%s is on record as the unit of %s, and neither is there", short(unit), device)
		}
	}
}

// fit tells whether nothing stands against a wish.
func (k *watch) fit(x wish.Wish) bool {
	p := k.fabric.port(x.TID)
	return p != nil && p.serves(x.TID) && !k.parked(x) && k.permitted(x)
}

// permitted tells whether neither the exclusion list nor another orchestrator nor an administrator stands against a wish.
func (k *watch) permitted(x wish.Wish) bool {
	if _, excluded := k.lab.exclusions[k.disk.exclusions].Match(x.TID); excluded {
		return false
	}
	for _, c := range k.kernel.all() {
		if k.serves(c, x) && k.foreign(c.Name) {
			return false
		}
	}
	ids := []tid.TID{x.TID}
	if k.boot.fromAnywhere(x) {
		ids = append(ids, x.TID)
		ids[1].HostTraddr = ""
	}
	return !slices.ContainsFunc(ids, k.isStopped)
}

// isStopped tells whether an administrator stopped a target, by its own unit or one that it has adopted.
func (k *watch) isStopped(id tid.TID) bool {
	return k.disk.stopped[id.UnitName()] || slices.ContainsFunc(slices.Collect(k.shell.machine.View().Targets.All()), func(t *core.TargetView) bool {
		return t.Wish.TID == id && t.State == core.Stopped && k.disk.stopped[t.Unit]
	})
}

// parked tells whether a DC may be waiting to be polled.
func (k *watch) parked(x wish.Wish) bool {
	if !k.polled(x) {
		return false
	}
	p := k.fabric.port(x.TID)
	return slices.Contains(k.policies(p), config.PersistenceNever) || !p.epcsd || !p.own
}

// comesBack: when the faults have ceased, what is wished for and can be connected is connected, by a unit that is active and
// on record.
func (k *watch) comesBack(x wish.Wish) {
	if why := k.missing(x); why != "" {
		k.violate("comesBack", "%v (%s) is wanted and there: %s", x.TID, short(x.TID.UnitName()), why)
	}
}

// namedComesBack: the same of a connection with a host name, by any address that the name stands for, or stood for when it was connected. It
// must not come back while something stands against one of them: that is the one that may have been tried last. Nor while the kernel
// still reconnects it at an address that does not answer any more, or while the first try is another orchestrator's, which has just
// lost it.
func (k *watch) namedComesBack(c config.Connection) {
	if c.Host == "" || k.kernel.foreignGone > 0 && k.kernel.foreignGone > k.now-2*time.Minute {
		return
	}
	h := k.names.find(c.Host)
	for _, x := range wishes(c, h.ever) {
		reconnecting := slices.ContainsFunc(k.kernel.all(), func(c *controller) bool { return c.State != "live" && k.serves(c, x) })
		if reconnecting || k.missing(x) == "" || !k.permitted(x) || k.parked(x) || k.boot.covers(x) {
			return
		}
	}
	for _, x := range wishes(c, h.addrs) {
		if k.fit(x) {
			k.violate("namedComesBack", "%s (%s) is wanted and there at %s: %s", c.Host, c.Wish.TID.NQN, x.TID.Traddr, k.missing(x))
		}
	}
}

// serves tells whether a controller serves a wish. One of the boot firmware may have to do without its source address.
func (k *watch) serves(c *controller, x wish.Wish) bool {
	if c.Serves(x.TID) {
		return true
	}
	anywhere := x.TID
	anywhere.HostTraddr = ""
	return k.boot.fromAnywhere(x) && c.Serves(anywhere)
}

// missing tells why a wish is not connected as it should be, "" if it is.
func (k *watch) missing(x wish.Wish) string {
	why := "no controller serves it"
	for _, c := range k.kernel.all() {
		if !k.serves(c, x) || c.State != "live" {
			continue
		}
		unit := k.disk.unitOf[c.Name]
		u := k.systemd.find(unit)
		switch {
		case unit == "":
			why = c.String() + " serves it and is no unit's"
		case u == nil || u.phase != exited:
			why = c.String() + " serves it and " + short(unit) + " is not active"
		case k.disk.devid[unit] != c.Name:
			why = c.String() + " serves it and " + short(unit) + " does not know"
		default:
			return ""
		}
	}
	return why
}

// claiming: a controller that one unit holds is not taken by another, except for an administrator, whose restart takes what
// serves it.
func (k *watch) claiming(c *controller, unit string) {
	u, holder := k.systemd.find(unit), k.systemd.find(k.disk.unitOf[c.Name])
	if holder == nil || u == nil || holder == u || holder.phase != exited || !c.Serves(holder.wish.TID) || u.job == nil || len(u.job.ours) == 0 {
		return
	}
	at := u.job.ours[0].at - hindsight
	if k.missed != 0 { // uevents were dropped, and the comparison that makes up for them is not over
		return
	}
	if !u.job.foreign && holder.since < at && k.unheard < at && c.liveSince < at {
		k.violate("heldIsNotTaken", "%s claims %v from %s", short(unit), c, short(holder.name))
	}
}
