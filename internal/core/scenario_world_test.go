// SPDX-License-Identifier: GPL-3.0-or-later

package core

import (
	"fmt"
	"maps"
	"math"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nvme-discoverd/nvme-discoverd/internal/config"
	"github.com/nvme-discoverd/nvme-discoverd/internal/discoverylog"
	"github.com/nvme-discoverd/nvme-discoverd/internal/exclusion"
	"github.com/nvme-discoverd/nvme-discoverd/internal/fc"
	"github.com/nvme-discoverd/nvme-discoverd/internal/mdns"
	"github.com/nvme-discoverd/nvme-discoverd/internal/param"
	"github.com/nvme-discoverd/nvme-discoverd/internal/paths"
	"github.com/nvme-discoverd/nvme-discoverd/internal/state"
	"github.com/nvme-discoverd/nvme-discoverd/internal/sysfs"
	"github.com/nvme-discoverd/nvme-discoverd/internal/tid"
	"github.com/nvme-discoverd/nvme-discoverd/internal/timespan"
	"github.com/nvme-discoverd/nvme-discoverd/internal/wish"
)

// hostNQN is every wish's; traces leave it out.
const hostNQN = "nqn.host"

// world is what lies around the core in a scenario: just enough memory to answer it from. Commands are
//
//	config                               the configuration is loaded (again), of lines
//	  dc|subsystem NAME ADDR[:PORT] [KEY=VALUE…]   NAME is what the trace calls the connection and its unit;
//	                                               a dc may be persistent=never|auto|always
//	  KEY = VALUE                                  a key of [global]
//	config unread                        gives names to connections before the daemon is started, of lines as above
//	config broken: TEXT                  a reload does not parse; input: its warnings
//	bus up | bus down TEXT               systemd can (not) be talked to
//	world                                what is so without the daemon having been told, of lines
//	  nvmeN NAME [KEY=VALUE…]                      a controller, of our unit NAME unless unit= or owner= says otherwise
//	  gone nvmeN
//	  unit NAME active|activating|gone             in systemd
//	  devid NAME nvmeN|gone                        a state file
//	  stopped NAME                                 a state file
//	  autoconnect on|off                           nvme-cli's automatic connects are (not) in force
//	device nvmeN [NAME] [KEY=VALUE…]     a uevent of a controller; late: it was read before the last removal;
//	                                     rediscover: the kernel has lost the discovery controller and connected it again
//	notice nvmeN [KEY=VALUE…] [late]     a look at a controller finds it changed, of which no uevent told
//	removed nvmeN [late]                 its remove uevent; late: it was meant for an earlier controller of the name
//	probe ADDR [via=IFACE] ok|mute|TEXT  a probe is answered
//	job NAME done [nvmeN [KEY=VALUE…]]   our job on a unit ends
//	job NAME failed ERRNO [TEXT] | job NAME canceled|exists|no-unit|lost|timeout
//	foreign job NAME TYPE begins|ends    somebody else's job on a unit
//	unit NAME ACTIVE [job=TYPE]          systemd's answer about a unit; or "shutting down", or "cannot tell"
//	page nvmeN [failed TEXT]             a log page was read, of lines
//	  subsystem|referral NAME ADDR[:PORT] [tls|offers-tls] [dup] [epcsd] [nqn=…] [transport=…]
//	  unknown NAME ADDR                            an entry of a subtype that nobody knows
//	  self [ADDR[:PORT]|nowhere] [dup] [epcsd]     without an address: of the port that was asked
//	  warning TEXT                                 what the reader says of it
//	retained NAME announced              mDNS announced a discovery controller when an earlier daemon ended
//	retained NAME SPAN                   an earlier daemon retained a discovery controller for so long from now
//	exclusions                           the lists are loaded, of lines as they are in a file
//	ports                                what Fibre Channel announces upon a kickstart from now on, of lines NAME ADDR HOST-ADDR
//	announce NAME ADDR HOST-ADDR         a port appears on it
//	mdns Avahi [complete] [beside]       what browsing has found out: all of it, of lines
//	  NAME IFACE ADDR[:PORT] [KEY=VALUE…]          NAME is also what the announcement calls itself
//	  ignored TEXT                                 an announcement that cannot be used
//	mdns none TEXT                       nobody browses, and why
//	kickstarts answered|unanswered|refused
//	kick TRANSPORT|all                   an address or a link came up
//	events lost TEXT
//	hold snapshots                       they are taken when they are asked for, but delivered by: snapshot [failed TEXT]
//	whenever COMMAND                     the standing answer of probe, job, unit, page
//	request start|stop|retry|rescan NAME an administrator's request by nvme-discoverctl
//	advance SPAN                         time passes, timers run
//	journal SPAN                         the same, but the trace has only the lines of the journal
//	targets                              prints the table of targets
//
// Snapshots of the world and kickstarts are answered at once; the trace leaves out the regular snapshots, the kickstarts of a
// host without Fibre Channel, and all but the last status of a block.
type world struct {
	cfg      config.Config // that was loaded last
	shutdown bool
	t        *testing.T
	m        *Machine
	start    time.Time
	now      time.Time
	lines    []string
	brief    bool // only what goes to the journal

	bus     bool
	names   map[string]wish.Wish // NAME → what it names
	devices map[string]Device
	units   map[string]UnitInfo
	devids  map[string]string
	stopped map[string]bool
	seq     uint64

	autoconnect bool // nvme-cli's automatic connects are in force
	removed     map[string]uint64

	probes   []Probe
	jobs     map[string]Effect // unit → our job on it
	reads    map[string][]ReadLog
	standing map[string]command
	ports    []fc.Announcement // nil: there is no Fibre Channel
	kick     string            // how kickstarts are answered
	held     *Snapshot
	holding  bool
	pending  []func() // answers that go without saying
	root     string
}

// command is one line of a scenario with its input.
type command struct {
	line  string
	input []string
}

func newWorld(t *testing.T) *world {
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	m := New(1)
	m.SetBackoff(steady)
	return &world{
		t: t, m: m, start: start, now: start, seq: 100, root: t.TempDir(),
		names: map[string]wish.Wish{}, devices: map[string]Device{}, units: map[string]UnitInfo{}, devids: map[string]string{},
		stopped: map[string]bool{}, removed: map[string]uint64{}, jobs: map[string]Effect{}, reads: map[string][]ReadLog{},
		standing: map[string]command{},
	}
}

// run carries out the commands of one block, whose last line is number.
func (w *world) run(block []string, number int) {
	var commands []command
	for _, line := range block {
		if strings.HasPrefix(line, " ") && len(commands) > 0 {
			last := &commands[len(commands)-1]
			last.input = append(last.input, strings.TrimSpace(line))
			continue
		}
		commands = append(commands, command{line: line})
	}
	for _, c := range commands {
		if err := w.do(c); err != nil {
			w.t.Fatalf("block before line %d: %q: %v", number+1, c.line, err)
		}
	}
}

// do carries out one command.
func (w *world) do(c command) error {
	word, rest, _ := strings.Cut(c.line, " ")
	args := strings.Fields(rest)
	arg := func(n int) string {
		if n < len(args) {
			return args[n]
		}
		return ""
	}
	switch word {
	case "config":
		if text, broken := strings.CutPrefix(rest, "broken: "); broken { // the rest of it is as it was
			cfg := w.cfg
			cfg.Errors, cfg.Warnings = []string{text}, c.input
			w.step(ConfigLoaded{cfg})
			return nil
		}
		cfg, err := w.config(c.input)
		if err != nil || rest == "unread" {
			return err
		}
		w.cfg = cfg
		w.step(ConfigLoaded{cfg})
	case "bus":
		if w.bus = rest == "up"; w.bus {
			w.step(BusUp{})
		} else {
			w.step(BusDown{strings.TrimPrefix(rest, "down ")})
		}
	case "world":
		for _, line := range c.input {
			if err := w.change(strings.Fields(line)); err != nil {
				return fmt.Errorf("%q: %v", line, err)
			}
		}
	case "device", "notice":
		d, err := w.device(args)
		if err != nil {
			return err
		}
		if slices.Contains(args, "late") {
			d.Seq = w.removed[d.Name] - 1
		} else {
			w.devices[d.Name] = d
		}
		if word == "notice" {
			w.step(DeviceNoticed{d})
			return nil
		}
		w.step(DeviceSeen{Device: d, Reconnected: slices.Contains(args, "rediscover")})
	case "removed":
		if arg(1) == "late" {
			w.step(DeviceRemoved{Name: arg(0), Seq: w.devices[arg(0)].Seq - 1})
			return nil
		}
		w.gone(arg(0))
		w.step(DeviceRemoved{Name: arg(0), Seq: w.seq})
	case "probe":
		return w.answerProbe(args)
	case "job":
		return w.answerJob(args)
	case "foreign":
		w.step(ForeignJob{Unit: w.unitName(arg(1)), Type: arg(2), Removed: arg(3) == "ends"})
	case "unit":
		return w.answerUnit(args)
	case "page":
		return w.answerRead(args, c.input)
	case "retained":
		if len(args) == 2 && args[1] == "announced" {
			w.step(RetainedLoaded{[]Retained{{TID: w.names[args[0]].TID, Announced: true}}})
			return nil
		}
		span, err := time.ParseDuration(args[1])
		if err != nil {
			return err
		}
		w.step(RetainedLoaded{[]Retained{{TID: w.names[args[0]].TID, Until: w.now.Add(span)}}})
		return nil
	case "exclusions":
		return w.exclusions(c.input)
	case "kick":
		w.step(Kick{Transport: strings.TrimPrefix(rest, "all"), Why: "a link is up"})
	case "ports":
		w.ports = []fc.Announcement{}
		for _, line := range c.input {
			a, err := w.announcement(strings.Fields(line))
			if err != nil {
				return err
			}
			w.ports = append(w.ports, a)
		}
	case "announce":
		a, err := w.announcement(args)
		if err != nil {
			return err
		}
		if !slices.Contains(w.ports, a) {
			w.ports = append(w.ports, a)
		}
		w.step(FCDiscovered{a})
	case "mdns":
		return w.multicast(args, c.input)
	case "kickstarts":
		w.kick = rest
	case "request":
		w.step(Request{Op: RequestOp(arg(0)), Target: w.names[arg(1)].TID.Canonical()})
	case "events":
		w.step(EventsLost{strings.TrimPrefix(rest, "lost ")})
	case "hold":
		w.holding = true
	case "snapshot":
		return w.deliver(strings.TrimPrefix(rest, "failed "))
	case "whenever":
		fields := strings.Fields(rest)
		w.standing[fields[0]+" "+fields[1]] = command{rest, c.input}
	case "advance", "journal":
		span, err := time.ParseDuration(rest)
		if err != nil {
			return err
		}
		w.brief = word == "journal"
		defer func() { w.brief = false }()
		return w.advance(span)
	case "targets":
		w.table()
	default:
		return fmt.Errorf("there is no such command")
	}
	return nil
}

// step lets the core take an event in, writes down what it does, and answers what has a standing answer.
func (w *world) step(ev Event) {
	for _, e := range w.m.Step(w.now, ev) {
		w.note(e)
	}
	for len(w.pending) > 0 {
		next := w.pending[0]
		w.pending = w.pending[1:]
		next()
	}
}

func (w *world) note(e Effect) {
	key := ""
	switch e := e.(type) {
	case Probe:
		w.probes = append(w.probes, e)
		key = "probe " + e.Target.Traddr
	case StartUnit:
		w.jobs[e.Unit] = e
		key = "job " + w.nameOfUnit(e.Unit)
	case RestartUnit:
		w.jobs[e.Unit] = e
		key = "job " + w.nameOfUnit(e.Unit)
	case StopUnit:
		w.jobs[e.Unit] = e
		key = "job " + w.nameOfUnit(e.Unit)
	case AskUnit:
		key = "unit " + w.nameOfUnit(e.Unit)
	case ReadLog:
		w.reads[e.Device] = append(w.reads[e.Device], e)
		key = "page " + e.Device
	case Judge:
		w.pending = append(w.pending, func() { w.step(Judged{e.TID, JudgeAnew(e.Page, e.Origin)}) })
		return
	case Kickstart:
		w.pending = append(w.pending, func() { w.kickstart(e) })
		if w.ports == nil {
			return
		}
	case ForgetState:
		if w.devids[e.Unit] == e.Device {
			delete(w.devids, e.Unit)
		}
		if d, there := w.devices[e.Device]; there && d.Unit == e.Unit {
			d.Unit = ""
			w.devices[e.Device] = d
		}
	case RestoreDevid:
		w.devids[e.Unit] = e.Device
	case RestoreOwner:
		if d := w.devices[e.Device]; d.Unit == e.Unit {
			d.Owner = string(e.Owner)
			w.devices[e.Device] = d
		}
	case MarkStopped:
		w.stopped[e.Unit] = true
	case UnmarkStopped:
		delete(w.stopped, e.Unit)
	case TakeSnapshot:
		s := w.snapshot(e.Token)
		w.held = &s
		if !w.holding {
			w.pending = append(w.pending, func() { w.step(s) })
		}
		if e.Why == "regular comparison" && !w.holding {
			return
		}
	}
	if _, line := e.(Log); line || !w.brief {
		w.lines = append(w.lines, fmt.Sprintf("%8s  %s", w.since(w.now), w.readable(e.String())))
	}
	if answer, ok := w.standing[key]; ok {
		w.pending = append(w.pending, func() {
			if err := w.do(answer); err != nil {
				w.t.Fatalf("standing answer %q: %v", answer.line, err)
			}
		})
	}
}

func (w *world) since(at time.Time) string {
	d := at.Sub(w.start)
	if d < time.Hour {
		return d.Round(100 * time.Millisecond).String()
	}
	return d.Round(time.Second).String()
}

// readable puts names in the place of hashes, and leaves out what is the same everywhere.
func (w *world) readable(s string) string {
	for _, name := range slices.Sorted(maps.Keys(w.names)) {
		id := w.names[name].TID
		s = strings.ReplaceAll(s, id.UnitName(), w.nameOfUnit(id.UnitName()))
		s = strings.ReplaceAll(s, id.String(), "["+name+"]")
		s = strings.ReplaceAll(s, id.Canonical(), "["+name+"]")
	}
	return strings.NewReplacer(w.root, "", " --hostnqn="+hostNQN, "").Replace(s)
}

// takeTrace returns what happened in a block.
func (w *world) takeTrace() string {
	trace := ""
	isStatus := func(line string) bool { return strings.Contains(line, "  status: ") }
	for i, line := range w.lines {
		if !isStatus(line) || !slices.ContainsFunc(w.lines[i+1:], isStatus) {
			trace += line + "\n"
		}
	}
	if w.lines == nil {
		trace = "nothing\n"
	}
	w.lines = nil
	return trace
}

// name makes name stand for a wish, and the wish's unit be called by it.
func (w *world) name(name string, as wish.Wish) error {
	if had, ok := w.names[name]; ok && had.TID != as.TID {
		return fmt.Errorf("%s is %v already, not %v", name, had.TID, as.TID)
	}
	w.names[name] = as
	return nil
}

// nameOf is what a scenario calls a target.
func (w *world) nameOf(t *target) string {
	for _, name := range slices.Sorted(maps.Keys(w.names)) {
		if t != nil && w.names[name].TID == t.wish.TID {
			return name
		}
	}
	return "?"
}

// unitName is the unit that a scenario calls name: a NAME, or a unit's own name.
func (w *world) unitName(name string) string {
	if named, ok := w.names[name]; ok {
		return named.TID.UnitName()
	}
	if !strings.HasSuffix(name, ".service") {
		w.t.Fatalf("nothing is called %q", name)
	}
	return name
}

// nameOfUnit is what a scenario calls a unit. Of two names that collide, it is that of the target that has the unit.
func (w *world) nameOfUnit(unit string) string {
	name := unit
	user := w.nameOf(w.m.user(unit))
	for _, n := range slices.Sorted(maps.Keys(w.names)) {
		if w.names[n].TID.UnitName() == unit && (name == unit || n == user) {
			name = n
		}
	}
	return name
}

// announcement is what Fibre Channel says of the port that a scenario calls words[0].
func (w *world) announcement(words []string) (fc.Announcement, error) {
	if len(words) != 3 {
		return fc.Announcement{}, fmt.Errorf("it needs a name and two addresses")
	}
	named, err := endpoint(tid.Discovery, []string{words[0], words[1], "transport=fc", "host-traddr=" + words[2]})
	if err == nil {
		err = w.name(words[0], named)
	}
	return fc.Announcement{Traddr: words[1], HostTraddr: words[2]}, err
}

// multicast is what browsing mDNS finds out.
func (w *world) multicast(args, lines []string) error {
	r := mdns.Report{Complete: slices.Contains(args, "complete"), Beside: slices.Contains(args, "beside")}
	if len(args) > 0 && args[0] != "none" {
		r.Service = args[0]
	} else if len(args) > 0 {
		r.Problem = strings.Join(args[1:], " ")
	}
	for _, line := range lines {
		words := strings.Fields(line)
		if words[0] == "ignored" {
			r.Ignored, r.Example = r.Ignored+1, strings.Join(words[1:], " ")
			continue
		}
		if len(words) < 3 {
			return fmt.Errorf("an announcement needs a name, an interface and an address")
		}
		named, err := endpoint(tid.Discovery, append([]string{words[0], words[2], "host-iface=" + words[1]}, words[3:]...))
		if err != nil {
			return err
		}
		if _, known := w.names[words[0]]; !known {
			if err := w.name(words[0], named); err != nil {
				return err
			}
		}
		a := mdns.Announcement{Instance: words[0], Iface: words[1], TID: named.TID}
		a.TID.HostNQN = ""
		r.Found = append(r.Found, a)
	}
	w.step(MDNSReported{r})
	return nil
}

// kickstart announces what there is.
func (w *world) kickstart(e Kickstart) {
	switch w.kick {
	case "unanswered":
		return
	case "refused":
		w.step(Kickstarted{Token: e.Token, Failed: true})
		return
	}
	for _, a := range slices.Clone(w.ports) {
		w.step(FCDiscovered{a})
	}
	w.step(Kickstarted{Token: e.Token, NoFC: w.ports == nil})
}

func keyValues(words []string) map[string]string {
	kv := map[string]string{}
	for _, word := range words {
		key, value, _ := strings.Cut(word, "=")
		kv[key] = value
	}
	return kv
}

// endpoint is a wish of the words NAME ADDR[:PORT] [KEY=VALUE…].
func endpoint(kind tid.Kind, words []string) (wish.Wish, error) {
	if len(words) < 2 {
		return wish.Wish{}, fmt.Errorf("it needs a name and an address")
	}
	w := wish.Wish{Kind: kind, Owner: wish.OwnerDiscoverd}
	t := tid.TID{Transport: tid.TCP, Traddr: words[1], HostNQN: hostNQN}
	if addr, err := netip.ParseAddrPort(words[1]); err == nil {
		t.Traddr, t.Trsvcid = addr.Addr().String(), strconv.Itoa(int(addr.Port()))
	}
	if kind == tid.IO {
		t.NQN = "nqn.2024-01.com.example:" + words[0]
	}
	for key, value := range keyValues(words[2:]) {
		if p, ok := param.ByName(key); ok {
			var err error
			if w.Params, err = w.Params.With(p, value); err != nil {
				return wish.Wish{}, err
			}
		} else if key == "owner" {
			w.Owner = wish.Owner(value)
		} else if !t.Set(key, value) {
			return wish.Wish{}, fmt.Errorf("there is no key %q", key)
		}
	}
	var err error
	w.TID, err = tid.New(t, kind)
	return w, err
}

func (w *world) config(lines []string) (config.Config, error) {
	cfg := config.Config{Settings: config.Defaults(), HostNQN: hostNQN, HostIDFrom: map[string]string{hostNQN: "/etc/nvme/hostid"}}
	for _, line := range lines {
		words := strings.Fields(line)
		if len(words) > 2 && words[1] == "=" {
			if err := set(&cfg.Settings, words[0], words[2]); err != nil {
				return cfg, err
			}
			continue
		}
		kind := tid.IO
		if words[0] == "dc" {
			kind = tid.Discovery
		}
		persistence := config.Persistence(keyValues(words)["persistent"])
		named, err := endpoint(kind, slices.DeleteFunc(words[1:], func(s string) bool { return strings.HasPrefix(s, "persistent=") }))
		if err != nil {
			return cfg, fmt.Errorf("%q: %v", line, err)
		}
		if err := w.name(words[1], named); err != nil {
			return cfg, err
		}
		cfg.Connections = append(cfg.Connections, config.Connection{Wish: named, Persistence: persistence, From: "discoverd.conf"})
	}
	return cfg, nil
}

func set(s *config.Settings, key, value string) error {
	span := func(to *time.Duration) (err error) {
		if value == "infinity" {
			*to = config.Infinity
			return nil
		}
		*to, err = time.ParseDuration(value)
		return err
	}
	switch key {
	case "discovery-persistence":
		s.DiscoveryPersistence = config.Persistence(value)
	case "max-parallel-connects":
		n, err := strconv.Atoi(value)
		s.MaxParallelConnects = n
		return err
	case "discovery-retention-time":
		return span(&s.DiscoveryRetention)
	case "zeroconf":
		on, err := strconv.ParseBool(value)
		s.Zeroconf = on
		return err
	case "fc-kickstart-interval":
		return span(&s.FCKickstartInterval)
	case "reconnect-max-delay":
		return span(&s.ReconnectMaxDelay)
	default:
		return fmt.Errorf("there is no setting %q", key)
	}
	return nil
}

// device is a controller of the words nvmeN [NAME] [KEY=VALUE…], over what is known of it. A new one is as the connect of
// NAME makes it.
func (w *world) device(words []string) (Device, error) {
	if len(words) == 0 {
		return Device{}, fmt.Errorf("it needs a device")
	}
	w.seq++
	d := w.devices[words[0]]
	d.Name, d.Seq = words[0], w.seq
	kv := words[1:]
	if len(kv) > 0 && !strings.Contains(kv[0], "=") && kv[0] != "late" && kv[0] != "rediscover" {
		named, ok := w.names[kv[0]]
		if !ok {
			return d, fmt.Errorf("nothing is called %q", kv[0])
		}
		id := named.TID
		d.Controller = sysfs.Controller{
			Name: d.Name, Transport: id.Transport, Traddr: id.Traddr, Trsvcid: id.Trsvcid, NQN: id.NQN, HostNQN: id.HostNQN,
			HostID: id.HostID, HostTraddr: id.HostTraddr, HostIface: id.HostIface, State: "live", Type: "io",
		}
		if id.Transport == tid.TCP {
			d.SrcAddr, d.SrcIface = "192.0.2.1", "eth0"
		}
		if named.Kind == tid.Discovery {
			d.Type = "discovery"
		}
		d.Owner, d.Unit = string(named.Owner), id.UnitName()
		kv = kv[1:]
	}
	for _, word := range kv {
		key, value, _ := strings.Cut(word, "=")
		switch key {
		case "late", "rediscover":
		case "state":
			d.State = value
			if value == "connecting" {
				d.SrcAddr, d.SrcIface = "", ""
			}
		case "ctrl-loss-tmo":
			d.LossTimeout = -1
			if value != "off" {
				span, err := timespan.Parse(value)
				if err != nil {
					return d, err
				}
				d.LossTimeout = span
			}
		case "src-addr":
			d.SrcAddr = value
		case "src-iface":
			d.SrcIface = value
		case "nqn":
			d.NQN = value
		case "hostnqn":
			d.HostNQN = value
		case "hostid":
			d.HostID = value
		case "unit":
			d.Unit = w.unitName(value)
		case "owner":
			d.Owner = strings.TrimPrefix(value, "nobody")
			if _, known := w.devices[d.Name]; !known {
				d.Unit = ""
			}
		default:
			return d, fmt.Errorf("a device has no %q", key)
		}
	}
	return d, nil
}

func (w *world) gone(device string) {
	w.seq++
	w.removed[device] = w.seq
	delete(w.devices, device)
}

// change makes something so without telling the core.
func (w *world) change(words []string) error {
	switch words[0] {
	case "gone":
		w.gone(words[1])
	case "unit":
		unit := w.unitName(words[1])
		if words[2] == "gone" {
			delete(w.units, unit)
			return nil
		}
		w.units[unit] = UnitInfo{Name: unit, Active: words[2], Argv: w.argv(unit)}
	case "devid":
		if w.devids[w.unitName(words[1])] = words[2]; words[2] == "gone" {
			delete(w.devids, w.unitName(words[1]))
		}
	case "stopped":
		w.stopped[w.unitName(words[1])] = true
	case "autoconnect":
		w.autoconnect = words[1] == "on"
	default:
		d, err := w.device(words)
		if err != nil {
			return err
		}
		w.devices[d.Name] = d
		if d.Unit != "" {
			argv := w.argv(d.Unit)
			if named, ok := w.names[words[1]]; ok && argv == nil {
				argv = argvOf(named)
			}
			w.units[d.Unit] = UnitInfo{Name: d.Unit, Active: "active", Argv: argv}
			w.devids[d.Unit] = d.Name
		}
	}
	return nil
}

// argv is the command of a unit: that of its last start, or that of its wish.
func (w *world) argv(unit string) []string {
	if had, ok := w.units[unit]; ok {
		return had.Argv
	}
	if named, ok := w.names[w.nameOfUnit(unit)]; ok {
		return argvOf(named)
	}
	return nil
}

func (w *world) deviceOf(unit string) *Device {
	for _, d := range w.devices {
		if d.Unit == unit {
			return &d
		}
	}
	return nil
}

func (w *world) snapshot(token uint64) Snapshot {
	s := Snapshot{Token: token, UnitsKnown: w.bus, Devids: maps.Clone(w.devids), ShuttingDown: w.shutdown, Autoconnect: w.autoconnect}
	for _, name := range slices.Sorted(maps.Keys(w.devices)) {
		d := w.devices[name]
		d.Seq = w.seq
		s.Devices = append(s.Devices, d)
	}
	for _, name := range slices.Sorted(maps.Keys(w.units)) {
		s.Units = append(s.Units, w.units[name])
	}
	s.Stopped = slices.Sorted(maps.Keys(w.stopped))
	return s
}

// deliver answers the snapshot that is held.
func (w *world) deliver(failure string) error {
	if w.held == nil {
		return fmt.Errorf("none was asked for")
	}
	s := *w.held
	w.held = nil
	if failure != "" {
		w.step(SnapshotFailed{s.Token, failure})
	} else {
		w.step(s)
	}
	return nil
}

func (w *world) answerProbe(words []string) error {
	addr, words := words[0], words[1:]
	via, pinned := strings.CutPrefix(words[0], "via=")
	if pinned {
		words = words[1:]
	}
	answered := false
	for _, p := range slices.Clone(w.probes) {
		if p.Target.Traddr != addr || pinned && p.Target.HostIface != via {
			continue
		}
		answered = true
		w.probes = slices.DeleteFunc(w.probes, func(o Probe) bool { return o == p })
		done := ProbeDone{Target: p.Target, Mute: p.Mute}
		switch text := strings.Join(words, " "); {
		case text == "mute" && p.Mute:
			done.Err = "the peer accepts connections but does not answer"
		case text == "mute", text == "ok": // only an answer of the protocol tells them apart
		default:
			done.Err = text
		}
		w.step(done)
	}
	if !answered {
		return fmt.Errorf("no probe of it is under way")
	}
	return nil
}

func (w *world) answerJob(words []string) error {
	unit := w.unitName(words[0])
	job, ok := w.jobs[unit]
	if !ok {
		return fmt.Errorf("there is no job of ours on %s", words[0])
	}
	delete(w.jobs, unit)
	done := JobDone{Unit: unit, Outcome: Outcome(words[1])}
	switch job := job.(type) {
	case StartUnit:
		done.Op = OpStart
		if done.Outcome == Done {
			w.units[unit] = UnitInfo{Name: unit, Active: "active", Argv: argvOf(job.Wish)}
		}
	case RestartUnit:
		done.Op = OpRestart
	case StopUnit:
		done.Op = OpStop
	}
	switch {
	case done.Op == OpStop && done.Outcome == Done:
		if d := w.deviceOf(unit); d != nil {
			w.gone(d.Name)
			defer w.step(DeviceRemoved{Name: d.Name, Seq: w.seq})
		}
		delete(w.units, unit)
		delete(w.devids, unit)
	case done.Outcome == Done && len(words) > 2:
		d, err := w.device(append([]string{words[2], w.nameOf(w.m.user(unit))}, words[3:]...))
		if err != nil {
			return err
		}
		if d.Unit != "" {
			d.Unit = unit
		}
		w.devices[d.Name] = d
		if d.Unit != "" {
			w.devids[unit] = d.Name
		}
		done.Device = &d
	case done.Outcome == "failed":
		delete(w.units, unit)
		if len(words) > 2 {
			errno, err := errnoByName(words[2])
			if err != nil {
				return err
			}
			meaning := strings.Join(words[3:], " ")
			if meaning == "" {
				meaning = errno.Error()
			}
			done.Failure = &state.Result{Errno: int(errno), Meaning: meaning}
		}
	}
	w.step(done)
	return nil
}

func errnoByName(name string) (syscall.Errno, error) {
	for n := syscall.Errno(1); n < 134; n++ {
		if unix.ErrnoName(n) == name {
			return n, nil
		}
	}
	return 0, fmt.Errorf("there is no errno %q", name)
}

func (w *world) answerUnit(words []string) error {
	unit := w.unitName(words[0])
	answer := UnitState{Unit: unit, Known: true, Device: w.deviceOf(unit)}
	switch text := strings.Join(words[1:], " "); text {
	case "cannot tell":
		answer.Known = false
	case "shutting down":
		answer.ShuttingDown, w.shutdown = true, true
	default:
		answer.Info = UnitInfo{Name: unit, Active: words[1], Job: keyValues(words[2:])["job"], Argv: w.argv(unit)}
		if words[1] == "inactive" || words[1] == "failed" {
			delete(w.units, unit)
		} else {
			w.units[unit] = answer.Info
		}
	}
	w.step(answer)
	return nil
}

func (w *world) answerRead(words, input []string) error {
	device := words[0]
	if len(w.reads[device]) == 0 {
		return fmt.Errorf("no read of it is under way")
	}
	token := w.reads[device][0].Token
	if len(words) > 1 {
		w.reads[device] = w.reads[device][1:]
		w.step(LogFailed{device, token, strings.Join(words[2:], " ")})
		return nil
	}
	var parent tid.TID
	if d := w.m.devices.byName[device]; d != nil && len(d.users) > 0 {
		parent = d.users[len(d.users)-1].wish.TID
	}
	var page discoverylog.Page
	for _, line := range input {
		fields := strings.Fields(line)
		e := discoverylog.Entry{
			SecureChannel: slices.Contains(fields, "tls"), DupRetInfo: slices.Contains(fields, "dup"), EPCSD: slices.Contains(fields, "epcsd"),
		}
		switch fields[0] {
		case "warning":
			page.Warnings = append(page.Warnings, strings.TrimPrefix(line, "warning "))
			continue
		case "self":
			e.Subtype, e.NQN = discoverylog.Current, tid.DiscoveryNQN
			e.Transport, e.Traddr, e.Trsvcid = parent.Transport, parent.Traddr, parent.Trsvcid
			if len(fields) > 1 && fields[1] == "nowhere" {
				e.Traddr, e.Trsvcid = "", ""
			} else if len(fields) > 1 && strings.ContainsAny(fields[1], ".:") {
				named, err := endpoint(tid.Discovery, []string{"self", fields[1]})
				if err != nil {
					return fmt.Errorf("%q: %v", line, err)
				}
				e.Traddr, e.Trsvcid = named.TID.Traddr, named.TID.Trsvcid
			}
			page.Entries = append(page.Entries, e)
			continue
		}
		if slices.Contains(fields, "offers-tls") {
			e.SecType, e.TREQ = discoverylog.SecTLS13, 2
		}
		kind := tid.IO
		switch fields[0] {
		case "subsystem":
			e.Subtype = discoverylog.NVM
		case "referral":
			e.Subtype, kind = discoverylog.Referral, tid.Discovery
		case "unknown":
			e.Subtype = 9
		default:
			return fmt.Errorf("%q: there is no such entry", line)
		}
		named, err := endpoint(kind, slices.DeleteFunc(fields[1:], func(s string) bool { return s == "tls" || s == "offers-tls" || s == "dup" || s == "epcsd" }))
		if err != nil {
			return fmt.Errorf("%q: %v", line, err)
		}
		e.Transport, e.Traddr, e.Trsvcid, e.NQN = named.TID.Transport, named.TID.Traddr, named.TID.Trsvcid, named.TID.NQN
		if child := judge(Origin{tid: parent}, e).wish; child != (wish.Wish{}) && parent != (tid.TID{}) {
			if err := w.name(fields[1], child); err != nil {
				return err
			}
		}
		page.Entries = append(page.Entries, e)
	}
	read := w.reads[device][0]
	w.reads[device] = w.reads[device][1:]
	w.step(LogRead{Device: device, Token: token, Pages: JudgePages(page, read.Readers)})
	return nil
}

func (w *world) exclusions(lines []string) error {
	root := paths.Root(w.root)
	if err := os.MkdirAll(root.Exclusions(), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(root.Exclusions()+"/site.conf", []byte(strings.Join(lines, "\n")+"\n"), 0o644); err != nil {
		return err
	}
	list, errs := exclusion.Load(root)
	if errs != nil {
		return errs[0]
	}
	w.step(ExclusionsLoaded{list})
	return nil
}

// advance lets time pass and gives the core its ticks.
func (w *world) advance(span time.Duration) error {
	end := w.now.Add(span)
	for still := 0; ; {
		due := w.m.Deadline()
		if due.IsZero() || due.After(end) {
			w.now = end
			return nil
		}
		if due.After(w.now) {
			w.now, still = due, 0
		} else if still++; still > 100 {
			return fmt.Errorf("the core's deadline does not move")
		}
		w.step(Tick{})
	}
}

// table prints every target: its name, state and phase, and what it waits for or has.
func (w *world) table() {
	w.m.all(func(t *target) {
		name := w.nameOf(t)
		shown := w.m.viewOf(t)
		line := fmt.Sprintf("%-10s %s", name, shown.State)
		if shown.State == Reconnecting {
			line += " since " + w.since(shown.Since)
			if until := shown.ReconnectUntil; !until.IsZero() {
				line += " until " + w.since(until)
			}
		}
		if !t.is(idle) {
			line += ", " + t.attempt.step.String()
		}
		if t.device != nil {
			line += ", " + t.device.Name
		}
		if unit := w.nameOfUnit(t.unit); unit != name {
			line += ", unit " + unit
		}
		if t.attempts > 0 {
			line += fmt.Sprintf(", %d failed", t.attempts)
		}
		if next := t.timer.when; !next.IsZero() {
			line += ", next at " + w.since(next)
		}
		if until := t.retention.when; !until.IsZero() {
			line += ", kept until "
			if kept := until.Sub(w.start); kept > 10*365*24*time.Hour || kept == math.MaxInt64 {
				line += "the end"
			} else {
				line += w.since(until)
			}
		}
		if t.lastErr != "" {
			line += ": " + t.lastErr
		}
		w.lines = append(w.lines, "          "+line)
	})
	if w.m.Targets() == 0 {
		w.lines = append(w.lines, "          no targets")
	}
}
