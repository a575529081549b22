package core

import (
	"strings"
	"testing"

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
