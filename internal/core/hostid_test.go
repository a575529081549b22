// SPDX-License-Identifier: GPL-3.0-or-later

package core

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nvme-discoverd/nvme-discoverd/internal/config"
	"github.com/nvme-discoverd/nvme-discoverd/internal/nbft"
	"github.com/nvme-discoverd/nvme-discoverd/internal/param"
	"github.com/nvme-discoverd/nvme-discoverd/internal/probe"
	"github.com/nvme-discoverd/nvme-discoverd/internal/secret"
	"github.com/nvme-discoverd/nvme-discoverd/internal/tid"
	"github.com/nvme-discoverd/nvme-discoverd/internal/wish"
)

// hostID and tableID are one UUID in the two byte orders that files and firmware may disagree about.
const (
	hostID  = "4c4c4544-0044-4410-8030-b8c04f445833"
	tableID = "44454c4c-4400-1044-8030-b8c04f445833"
)

// bootedAs is a table with another host ID for this host's NQN.
func bootedAs(id string) NBFTLoaded {
	table := booted(false)
	c := &table.Connections[0]
	c.Table, c.Wish.TID.HostNQN, c.Wish.TID.HostID = "/sys/firmware/acpi/tables/NBFT", "nqn.host", id
	return table
}

// filed is a configured subsystem with the host ID of the files.
func filed() ConfigLoaded {
	w := wish.Wish{Owner: wish.OwnerDiscoverd, TID: tid.TID{
		Transport: tid.TCP, Traddr: "192.0.2.7", Trsvcid: "4420", NQN: "nqn.other", HostNQN: "nqn.host", HostID: hostID,
	}}
	return ConfigLoaded{config.Config{
		Settings: config.Defaults(), Connections: []config.Connection{{Wish: w, From: "discoverd.conf:3"}}, HostIDFrom: map[string]string{"nqn.host": "/etc/nvme/hostid"},
	}}
}

// The boot firmware's table has another host ID than the files: it is used for all connections of that host NQN, also while
// none of them is there yet. A controller in sysfs goes before both.
func TestHostIDOfTable(t *testing.T) {
	s := newStage(t, bootedAs(tableID), filed())
	s.expect(s.step(ProbeDone{Target: peer("192.0.2.7")}),
		"log warn: connecting with hostid "+tableID+" instead of "+hostID+" (/etc/nvme/hostid): the firmware's table /sys/firmware/acpi/tables/NBFT boots this host as hostnqn nqn.host with that hostid, and the kernel takes one for each hostnqn; make the two agree",
		"start --transport=tcp --traddr=192.0.2.7 --trsvcid=4420 --nqn=nqn.other --hostnqn=nqn.host --hostid="+tableID)

	s = newStage(t, bootedAs(tableID), filed())
	other := Device{Owner: "csi", Seq: 9}
	other.Name, other.Transport, other.State, other.HostNQN, other.HostID = "nvme3", tid.TCP, "connecting", "nqn.host", strings.ToUpper(hostID)
	s.step(DeviceSeen{Device: other})
	s.expect(s.step(ProbeDone{Target: peer("192.0.2.7")}),
		"start --transport=tcp --traddr=192.0.2.7 --trsvcid=4420 --nqn=nqn.other --hostnqn=nqn.host --hostid="+hostID)
	s.expect(s.step(ProbeDone{Target: probe.Target{Traddr: "192.0.2.1", Trsvcid: "4420", HostTraddr: "192.0.2.9"}}),
		"log warn: connecting with hostid "+strings.ToUpper(hostID)+" instead of "+tableID+" (/sys/firmware/acpi/tables/NBFT): nvme3 is connected as hostnqn nqn.host with that hostid, and the kernel takes one for each hostnqn; make the two agree",
		"start --transport=tcp --traddr=192.0.2.1 --trsvcid=4420 --nqn=nqn.vol --hostnqn=nqn.host --hostid="+strings.ToUpper(hostID)+" --host-traddr=192.0.2.9")
}

// A table without a host ID does not speak against the files: what was derived from its host NQN is for its own connections.
func TestHostIDDerived(t *testing.T) {
	table := bootedAs(tableID)
	table.Connections[0].Derived = true
	s := newStage(t, table, filed())
	s.expect(s.step(ProbeDone{Target: peer("192.0.2.7")}),
		"start --transport=tcp --traddr=192.0.2.7 --trsvcid=4420 --nqn=nqn.other --hostnqn=nqn.host --hostid="+hostID)
}

// pairDevice is a controller of somebody else's with a host NQN and a host ID.
func pairDevice(name, nqn, id string) Device {
	d := Device{Owner: "csi", Seq: 7}
	d.Name, d.Transport, d.Traddr, d.Trsvcid, d.NQN, d.State = name, tid.TCP, "192.0.2.99", "4420", "nqn."+name, "live"
	d.HostNQN, d.HostID = nqn, id
	return d
}

func TestHalfOfPair(t *testing.T) {
	const upper, lower = "nqn.2014-08.org.nvmexpress:uuid:ABCDEF00-0000-0000-0000-000000000001", "nqn.2014-08.org.nvmexpress:uuid:abcdef00-0000-0000-0000-000000000001"
	for _, test := range []struct {
		pair, has hostPair
		want      bool
	}{
		{hostPair{"nqn.host", "id"}, hostPair{"nqn.host", "id"}, false},
		{hostPair{"nqn.host", "id"}, hostPair{"nqn.host", "other"}, true},
		{hostPair{"nqn.host", "id"}, hostPair{"nqn.other", "id"}, true},
		{hostPair{"nqn.host", "id"}, hostPair{"nqn.other", "other"}, false},
		{hostPair{"nqn.host", "ABC"}, hostPair{"nqn.other", "abc"}, true},
		{hostPair{"nqn.host", "ABC"}, hostPair{"nqn.host", "abc"}, false},
		{hostPair{upper, "id"}, hostPair{lower, "id"}, false},
		{hostPair{upper, "id"}, hostPair{lower, "other"}, true},
		{hostPair{"nqn.host", ""}, hostPair{"nqn.host", "id"}, true},
		{hostPair{"", ""}, hostPair{"nqn.host", "id"}, false},
	} {
		d := &device{Device: pairDevice("nvme3", test.has.nqn, test.has.id)}
		if got := test.pair.half(d); got != test.want {
			t.Errorf("%v and %v: %v, want %v", test.pair, test.has, got, test.want)
		}
	}
}

// The host ID that a host NQN is in use with is that of a controller, whoever connected it, before that of the boot firmware's
// table.
func TestHostIDInUse(t *testing.T) {
	nothing := NBFTLoaded{}
	derived := bootedAs("derived")
	derived.Connections[0].Derived = true
	otherNQN := bootedAs("table")
	otherNQN.Connections[0].Wish.TID.HostNQN = "nqn.other"
	for _, test := range []struct {
		name    string
		table   NBFTLoaded
		has     []hostPair // of nvme3, nvme2 and so on downwards
		want    string
		because string
	}{
		{"nothing", nothing, nil, "", ""},
		{"a controller", nothing, []hostPair{{"nqn.host", "a"}}, "a", "nvme3 is connected"},
		{"two of one pair", nothing, []hostPair{{"nqn.host", "a"}, {"nqn.host", "a"}}, "a", "nvme2 is connected"},
		{"two of one pair, spelled in two ways", nothing, []hostPair{{"nqn.host", "a"}, {"nqn.host", "A"}}, "a", "nvme2 is connected"},
		{"two IDs", nothing, []hostPair{{"nqn.host", "a"}, {"nqn.host", "b"}}, "b", "nvme2 is connected"},
		{"another NQN", nothing, []hostPair{{"nqn.other", "a"}}, "", ""},
		{"a controller that shows no ID", nothing, []hostPair{{"nqn.host", ""}}, "", ""},
		{"one that shows none and one that does", nothing, []hostPair{{"nqn.host", "a"}, {"nqn.host", ""}}, "a", "nvme3 is connected"},
		{"the table", bootedAs("table"), nil, "table", "the firmware's table /sys/firmware/acpi/tables/NBFT boots this host"},
		{"the table and another NQN", bootedAs("table"), []hostPair{{"nqn.other", "a"}}, "table", "the firmware's table /sys/firmware/acpi/tables/NBFT boots this host"},
		{"the table and a controller", bootedAs("table"), []hostPair{{"nqn.host", "a"}}, "a", "nvme3 is connected"},
		{"the table and a controller that shows no ID", bootedAs("table"), []hostPair{{"nqn.host", ""}}, "table", "the firmware's table /sys/firmware/acpi/tables/NBFT boots this host"},
		{"the table of another NQN", otherNQN, nil, "", ""},
		{"a table without an ID", bootedAs(""), nil, "", ""},
		{"a table whose ID was derived", derived, nil, "", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newStage(t, test.table)
			for i, pair := range test.has {
				s.step(DeviceSeen{Device: pairDevice(fmt.Sprintf("nvme%d", 3-i), pair.nqn, pair.id)})
			}
			id, by := s.m.hostIDInUse("nqn.host")
			because := ""
			if by != nil {
				because = by()
			}
			if id != test.want || because != test.because {
				t.Errorf("got %q because %q, want %q because %q", id, because, test.want, test.because)
			}
		})
	}
	s := newStage(t)
	s.step(DeviceSeen{Device: pairDevice("nvme3", "", "a")})
	if id, _ := s.m.hostIDInUse(""); id != "" {
		t.Errorf("a wish without a host NQN: got %q", id)
	}
}

// The wish is connected with the ID in use, under the name of its own TID, and the warning is not repeated until another ID is in use.
func TestOtherHostIDIsToldOnce(t *testing.T) {
	s := newStage(t, filed())
	attempt := func() (warned int, id string) {
		t.Helper()
		s.now = s.now.Add(time.Hour)
		for _, line := range append(s.step(Tick{}), s.step(ProbeDone{Target: peer("192.0.2.7")})...) {
			if strings.Contains(line, "connecting with hostid") {
				warned++
			}
			if _, after, found := strings.Cut(line, "--hostid="); found {
				id = after
			}
		}
		unit := filed().Config.Connections[0].Wish.TID.UnitName()
		s.step(JobDone{Unit: unit, Op: OpStart, Outcome: "failed", Failure: failure(5)})
		return warned, id
	}
	for i, step := range []struct {
		ev     Event
		warned int
		id     string
	}{
		{Tick{}, 0, hostID},
		{DeviceSeen{Device: pairDevice("nvme3", "nqn.host", "other")}, 1, "other"},
		{Tick{}, 0, "other"},
		{DeviceRemoved{Name: "nvme3", Seq: 8}, 0, hostID},
		{DeviceSeen{Device: pairDevice("nvme4", "nqn.host", "other")}, 0, "other"},
		{DeviceRemoved{Name: "nvme4", Seq: 9}, 0, hostID},
		{DeviceSeen{Device: pairDevice("nvme5", "nqn.host", "third")}, 1, "third"},
		{DeviceRemoved{Name: "nvme5", Seq: 10}, 0, hostID},
		{DeviceSeen{Device: pairDevice("nvme6", "nqn.host", strings.ToUpper(hostID))}, 0, hostID},
	} {
		s.step(step.ev)
		if warned, id := attempt(); warned != step.warned || id != step.id {
			t.Errorf("attempt %d: %d warnings, host ID %q, want %d, %q", i+1, warned, id, step.warned, step.id)
		}
	}
}

// When the last controller of a pair goes, what the kernel may have refused because of it is tried at once, whatever its back-off.
func TestHostFreed(t *testing.T) {
	target := filed().Config.Connections[0].Wish
	table := bootedAs("table")
	for _, test := range []struct {
		name  string
		table NBFTLoaded
		left  []hostPair // of controllers besides the one that goes
		gone  hostPair
		soon  bool
	}{
		{"the same NQN with another ID", NBFTLoaded{}, nil, hostPair{"nqn.host", "other"}, true},
		{"the same ID with another NQN", NBFTLoaded{}, nil, hostPair{"nqn.other", hostID}, true},
		{"in capital letters", NBFTLoaded{}, nil, hostPair{"nqn.other", strings.ToUpper(hostID)}, true},
		{"the same pair", NBFTLoaded{}, nil, hostPair{"nqn.host", hostID}, false},
		{"another pair", NBFTLoaded{}, nil, hostPair{"nqn.other", "other"}, false},
		{"one that shows no ID", NBFTLoaded{}, nil, hostPair{"nqn.other", ""}, false},
		{"not the last one", NBFTLoaded{}, []hostPair{{"nqn.other", hostID}}, hostPair{"nqn.other", hostID}, false},
		{"the last one of two pairs", NBFTLoaded{}, []hostPair{{"nqn.third", hostID}}, hostPair{"nqn.other", hostID}, true},
		{"the ID of the table with another NQN", table, nil, hostPair{"nqn.other", "table"}, true},
		{"the ID of the wish with another NQN, while the table's is in use", table, nil, hostPair{"nqn.other", hostID}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newStage(t, test.table, filed())
			for i, pair := range append(test.left, test.gone) {
				s.step(DeviceSeen{Device: pairDevice(fmt.Sprintf("nvme%d", i), pair.nqn, pair.id)})
			}
			for range 5 { // until the next attempt is far away
				s.step(ProbeDone{Target: peer("192.0.2.7")})
				s.step(JobDone{Unit: target.TID.UnitName(), Op: OpStart, Outcome: "failed", Failure: failure(22)})
				s.now = s.m.targets.byTID[target.TID].timer.when
				s.step(Tick{})
			}
			s.step(ProbeDone{Target: peer("192.0.2.7"), Err: "no"})
			before := s.m.targets.byTID[target.TID].timer.when
			s.step(DeviceRemoved{Name: fmt.Sprintf("nvme%d", len(test.left)), Seq: 8})
			got := s.m.targets.byTID[target.TID]
			if soon := got.timer.when.Equal(s.now.Add(kickDelay)); soon != test.soon || !soon && got.timer.when != before {
				t.Errorf("tried in %v, was to be in %v; at once: %v, want %v", got.timer.when.Sub(s.now), before.Sub(s.now), soon, test.soon)
			}
			if fresh := got.attempts == 0; fresh != test.soon {
				t.Errorf("%d failed attempts", got.attempts)
			}
		})
	}
}

// A target that waits for the turn of another orchestrator, or was not refused, is left as it is when a pair is free.
func TestHostFreedLeavesAlone(t *testing.T) {
	w := filed().Config.Connections[0].Wish
	theirs := deviceOf(w, "nvme1", 7)
	theirs.Owner, theirs.Unit, theirs.HostNQN, theirs.HostID = "stas", "", "nqn.host", hostID
	s := found(t, Snapshot{Devices: []Device{pairDevice("nvme0", "nqn.other", hostID), theirs}}, w)
	s.step(DeviceRemoved{Name: "nvme1", Seq: 8})
	t1 := s.m.targets.byTID[w.TID]
	if t1.state != Waiting || !t1.notBefore.After(s.now) {
		t.Fatalf("it is %v until %v", t1.state, t1.notBefore.Sub(s.now))
	}
	before := t1.timer.when
	s.step(DeviceRemoved{Name: "nvme0", Seq: 9})
	if t1.timer.when != before {
		t.Errorf("tried in %v, want in %v", t1.timer.when.Sub(s.now), before.Sub(s.now))
	}

	s = newStage(t, configured(wish.Wish{Owner: wish.OwnerDiscoverd, TID: w.TID}))
	s.step(DeviceSeen{Device: pairDevice("nvme0", "nqn.other", hostID)})
	s.expect(s.step(DeviceRemoved{Name: "nvme0", Seq: 9}))
	if got := s.m.targets.byTID[w.TID]; got.state != Connecting {
		t.Errorf("it is %v, want connecting as before", got.state)
	}
}

// Pairs are in one order whatever the order of the wishes.
func TestPairsInOrder(t *testing.T) {
	cfg := config.Config{Settings: config.Defaults()}
	for i, pair := range []hostPair{{"nqn.b", "1"}, {"nqn.a", "2"}, {"nqn.a", "1"}, {"nqn.a", "2"}} {
		w := vol1
		w.TID.NQN, w.TID.HostNQN, w.TID.HostID = fmt.Sprintf("nqn.vol%d", i), pair.nqn, pair.id
		cfg.Connections = append(cfg.Connections, config.Connection{Wish: w, From: "discoverd.conf:3"})
	}
	s := newStage(t, ConfigLoaded{cfg})
	if got, want := fmt.Sprint(s.m.targets.pairs()), "[{nqn.a 1} {nqn.a 2} {nqn.b 1}]"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// What the boot firmware's table wants authenticated is not connected without a secret, by whatever source it is named, and
// that is told once. With the host's secret it is connected as the table says, and with one of its own as the
// configuration says.
func TestBootAuthentication(t *testing.T) {
	value, err := secret.Parse(secret.DHChap, "DHHC-1:00:YWtha2FrYWtha2FrYWtha2FrYWtha2FrYWtha2FrYWuxHBYh:")
	if err != nil {
		t.Fatal(err)
	}
	secrets := map[secret.Ref]secret.Set{"s": {secret.DHChap: {Value: value, From: "/etc/nvme/keys/host"}}}
	table := booted(false)
	table.Connections[0].Authentication = true
	known := booted(false)
	known.Connections[0].Authentication, known.Connections[0].Wish.Secrets = true, "s"
	configured := func(ref secret.Ref) ConfigLoaded {
		cfg := named("")
		cfg.Config.Connections[0].Wish.TID.Traddr = "192.0.2.1"
		cfg.Config.Connections[0].Wish.Secrets, cfg.Config.Secrets = ref, secrets
		return cfg
	}
	const refusal = "log error: NBFT, SSNS 1: it is not connected: it requires authentication, and no dhchap-secret is configured for hostnqn nqn.firmware: give one in [host], then reload (tcp, 192.0.2.1, 4420, nqn.vol, 192.0.2.9)"
	const redundant = "log error: discoverd.conf:3 is redundant: the NBFT names this controller, and it is connected as the NBFT says (tcp, 192.0.2.1, 4420, nqn.vol)"
	const unauthenticated = "log error: discoverd.conf:3 is not connected: the NBFT requires authentication of this controller: give it a dhchap-secret (tcp, 192.0.2.1, 4420, nqn.vol)"
	for _, test := range []struct {
		name   string
		table  NBFTLoaded
		config ConfigLoaded
		want   []string
	}{
		{"no secret", table, configured(""), []string{refusal, unauthenticated}},
		{"the host's", known, configured(""), []string{redundant, "probe 192.0.2.1:4420 from 192.0.2.9"}},
		{"the connection's own", table, configured("s"), []string{refusal, "probe 192.0.2.1:4420"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newStage(t)
			s.step(test.table)
			s.expect(s.step(test.config), append([]string{"kickstart Fibre Channel"}, test.want...)...)
			for _, what := range s.step(test.config) {
				if what == refusal {
					t.Error("it is told again at a reload")
				}
			}
		})
	}
}

// A log page that names what the table wants authenticated does not lead around that.
func TestBootAuthenticationOfChild(t *testing.T) {
	table := booted(false)
	table.Connections[0].Authentication = true
	s := newStage(t, table, filed())
	w := wish.Wish{Owner: wish.OwnerDiscoverd, TID: table.Connections[0].Wish.TID}
	if !s.m.covers(w) {
		t.Error("the table does not cover the target")
	}
	if nbft := (nbft.Connection{Wish: w}); !s.m.permitted(nbft, w) {
		t.Error("what needs no authentication is not permitted")
	}
}

// What two tables say of one connection, or a table and a configuration, holds together: it is connected with the security that
// either asks for, and with the table's identity.
func TestBootSecurityOfTwo(t *testing.T) {
	with := func(w wish.Wish, values ...string) wish.Wish {
		for i := 0; i < len(values); i += 2 {
			p, _ := param.ByName(values[i])
			var err error
			if w.Params, err = w.Params.With(p, values[i+1]); err != nil {
				t.Fatal(err)
			}
		}
		return w
	}
	table := func(values ...string) nbft.Connection {
		c := booted(false).Connections[0]
		c.Wish = with(c.Wish, values...)
		return c
	}
	configured := func(values ...string) ConfigLoaded {
		cfg := named("")
		w := &cfg.Config.Connections[0].Wish
		w.TID.Traddr = "192.0.2.1"
		*w = with(*w, values...)
		return cfg
	}
	demanding := table()
	demanding.Authentication = true
	nothing := ConfigLoaded{config.Config{Settings: config.Defaults()}}
	own := configured()
	own.Config.Connections[0].Wish.Secrets = "discoverd.conf:3:1"
	for _, test := range []struct {
		name      string
		tables    []nbft.Connection
		config    ConfigLoaded
		want, ref string // what the one target asks for; "" for no target
		none      bool
	}{
		{"the second table requires TLS", []nbft.Connection{table(), table("tls", "true")}, nothing, "--tls", "", false},
		{"the first table requires TLS", []nbft.Connection{table("tls", "true"), table()}, nothing, "--tls", "", false},
		{"the second table requires authentication", []nbft.Connection{table(), demanding}, nothing, "", "", true},
		{"the file asks for TLS", []nbft.Connection{table()}, configured("tls", "true", "keyring", "boot"), "--tls --keyring=boot", "", false},
		{"the file asks for concat", []nbft.Connection{table()}, configured("concat", "true"), "--concat", "", false},
		{"the file asks for concat, the table for TLS", []nbft.Connection{table("tls", "true")}, configured("concat", "true"), "--tls", "", false},
		{"the file has a secret", []nbft.Connection{table()}, own, "", "discoverd.conf:3:1", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newStage(t, NBFTLoaded{test.tables}, test.config)
			targets := s.viewed()
			if test.none {
				if len(targets) != 0 {
					t.Errorf("%v is connected", targets[0].Wish.TID)
				}
				return
			}
			if len(targets) != 1 {
				t.Fatalf("%d targets, want 1", len(targets))
			}
			w := targets[0].Wish
			bare := w
			bare.Params = param.Set{}
			got := strings.Join(w.Args()[len(bare.Args()):], " ")
			if got != test.want || string(w.Secrets) != test.ref || w.Owner != wish.OwnerNBFT {
				t.Errorf("%s with %q of %s, want %s with %q", got, w.Secrets, w.Owner, test.want, test.ref)
			}
		})
	}
}
