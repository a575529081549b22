// SPDX-License-Identifier: GPL-3.0-or-later

package unit

import (
	"strings"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"
	"github.com/google/go-cmp/cmp"

	"github.com/nvme-discoverd/nvme-discoverd/internal/param"
	"github.com/nvme-discoverd/nvme-discoverd/internal/tid"
	"github.com/nvme-discoverd/nvme-discoverd/internal/wish"
)

const (
	hostNQN = "nqn.2014-08.org.nvmexpress:uuid:5f1c0f0e-7d1b-4a52-9b3c-0d6c2c1b9a01"
	hostID  = "5f1c0f0e-7d1b-4a52-9b3c-0d6c2c1b9a01"
)

// wishFor completes t as the daemon would and sets the parameters, given as name, value, name, value, ….
func wishFor(t *testing.T, kind tid.Kind, id tid.TID, owner wish.Owner, params ...string) wish.Wish {
	t.Helper()
	id.HostNQN, id.HostID = hostNQN, hostID
	full, err := tid.New(id, kind)
	if err != nil {
		t.Fatal(err)
	}
	w := wish.Wish{Kind: kind, TID: full, Owner: owner}
	for i := 0; i < len(params); i += 2 {
		p, ok := param.ByName(params[i])
		if !ok {
			t.Fatalf("no parameter %q", params[i])
		}
		if w.Params, err = w.Params.With(p, params[i+1]); err != nil {
			t.Fatal(err)
		}
	}
	return w
}

func TestForWish(t *testing.T) {
	cfg := Config{Ctl: "/usr/bin/nvme-discoverctl"}
	before := []string{"nvme-discoverd.service", "remote-fs-pre.target", "blk-availability.service"}
	wants := []string{"remote-fs-pre.target", "nvme-fabrics-shutdown.service"}

	withNVMe := cfg
	withNVMe.NVMe = "/usr/sbin/nvme"
	withLimits := cfg
	withLimits.ConnectTimeout, withLimits.DisconnectTimeout = 30*time.Second, time.Minute

	for _, test := range []struct {
		name string
		wish wish.Wish
		cfg  Config
		want Spec
	}{
		{
			name: "I/O controller over TCP",
			wish: wishFor(t, tid.IO, tid.TID{
				Transport: "tcp", Traddr: "192.0.2.20", NQN: "nqn.2024-01.com.example:vol$1",
				HostTraddr: "192.0.2.1", HostIface: "eth0",
			}, wish.OwnerDiscoverd, "ctrl-loss-tmo", "600", "hdr-digest", "yes"),
			cfg: cfg,
			want: Spec{
				Name:        "nvme-discoverd-UNIT.service",
				Description: "NVMe I/O Controller nqn.2024-01.com.example:vol$1 @ 192.0.2.20:4420",
				ExecStart: []string{
					"/usr/bin/nvme-discoverctl", "connect", "--escaped",
					"--transport=tcp", "--traddr=192.0.2.20", "--trsvcid=4420", `--nqn=nqn.2024-01.com.example:vol\x241`,
					"--hostnqn=" + hostNQN, "--hostid=" + hostID, "--host-traddr=192.0.2.1", "--host-iface=eth0",
					"--ctrl-loss-tmo=600", "--hdr-digest", "--idempotent", "--owner=discoverd",
					"--devid-file=/run/nvme/discoverd/units/nvme-discoverd-UNIT.devid", "--unit=nvme-discoverd-UNIT.service",
				},
				ExecStop: []string{
					"/usr/bin/nvme-discoverctl", "disconnect", "--escaped", "--unit=nvme-discoverd-UNIT.service",
					"--transport=tcp", "--traddr=192.0.2.20", "--trsvcid=4420", `--nqn=nqn.2024-01.com.example:vol\x241`,
					"--hostnqn=" + hostNQN, "--hostid=" + hostID, "--host-traddr=192.0.2.1", "--host-iface=eth0",
				},
				ExecStopPost: []string{"/usr/bin/nvme-discoverctl", "cleanup", "--unit=nvme-discoverd-UNIT.service"},
				After:        []string{"network.target"},
				Before:       before, Wants: wants,
				TimeoutStart: 120 * time.Second, TimeoutStop: 300 * time.Second,
			},
		},
		{
			name: "with secrets",
			wish: func() wish.Wish {
				w := wishFor(t, tid.IO, tid.TID{Transport: "loop", NQN: "nqn.a"}, wish.OwnerDiscoverd)
				w.Secrets = "/etc/nvme/discoverd.conf:3:1"
				return w
			}(),
			cfg: cfg,
			want: Spec{
				Name:        "nvme-discoverd-UNIT.service",
				Description: "NVMe I/O Controller nqn.a @ ",
				ExecStart: []string{
					"/usr/bin/nvme-discoverctl", "connect", "--transport=loop", "--nqn=nqn.a", "--hostnqn=" + hostNQN, "--hostid=" + hostID,
					"--idempotent", "--owner=discoverd", "--devid-file=/run/nvme/discoverd/units/nvme-discoverd-UNIT.devid",
					"--secrets-file=/run/nvme/discoverd/secrets/nvme-discoverd-UNIT.service", "--unit=nvme-discoverd-UNIT.service",
				},
				ExecStop: []string{
					"/usr/bin/nvme-discoverctl", "disconnect", "--unit=nvme-discoverd-UNIT.service",
					"--transport=loop", "--nqn=nqn.a", "--hostnqn=" + hostNQN, "--hostid=" + hostID,
				},
				ExecStopPost: []string{"/usr/bin/nvme-discoverctl", "cleanup", "--unit=nvme-discoverd-UNIT.service"},
				Before:       before, Wants: wants,
				TimeoutStart: 120 * time.Second, TimeoutStop: 300 * time.Second,
			},
		},
		{
			name: "discovery controller over TCP by its unique NQN, with limits",
			wish: wishFor(t, tid.Discovery, tid.TID{
				Transport: "tcp", Traddr: "2001:DB8::1", NQN: "nqn.2024-01.com.example:discovery",
			}, wish.OwnerNBFT, "keep-alive-tmo", "30"),
			cfg: withLimits,
			want: Spec{
				Name:        "nvme-discoverd-UNIT.service",
				Description: "NVMe Discovery Controller nqn.2024-01.com.example:discovery @ 2001:db8::1:8009",
				ExecStart: []string{
					"/usr/bin/nvme-discoverctl", "connect",
					"--transport=tcp", "--traddr=2001:db8::1", "--trsvcid=8009", "--nqn=nqn.2024-01.com.example:discovery",
					"--hostnqn=" + hostNQN, "--hostid=" + hostID, "--keep-alive-tmo=30", "--discovery",
					"--idempotent", "--owner=nbft",
					"--devid-file=/run/nvme/discoverd/units/nvme-discoverd-UNIT.devid", "--unit=nvme-discoverd-UNIT.service",
				},
				ExecStop: []string{
					"/usr/bin/nvme-discoverctl", "disconnect", "--unit=nvme-discoverd-UNIT.service",
					"--transport=tcp", "--traddr=2001:db8::1", "--trsvcid=8009", "--nqn=nqn.2024-01.com.example:discovery",
					"--hostnqn=" + hostNQN, "--hostid=" + hostID,
				},
				ExecStopPost: []string{"/usr/bin/nvme-discoverctl", "cleanup", "--unit=nvme-discoverd-UNIT.service"},
				After:        []string{"network.target"},
				Before:       before, Wants: wants,
				TimeoutStart: 30 * time.Second, TimeoutStop: time.Minute,
			},
		},
		{
			name: "I/O controller over RDMA",
			wish: wishFor(t, tid.IO, tid.TID{Transport: "rdma", Traddr: "192.0.2.30", NQN: "nqn.2024-01.com.example:vol1"}, wish.OwnerDiscoverd),
			cfg:  cfg,
			want: Spec{
				Name:        "nvme-discoverd-UNIT.service",
				Description: "NVMe I/O Controller nqn.2024-01.com.example:vol1 @ 192.0.2.30:4420",
				ExecStart: []string{
					"/usr/bin/nvme-discoverctl", "connect",
					"--transport=rdma", "--traddr=192.0.2.30", "--trsvcid=4420", "--nqn=nqn.2024-01.com.example:vol1",
					"--hostnqn=" + hostNQN, "--hostid=" + hostID, "--idempotent", "--owner=discoverd",
					"--devid-file=/run/nvme/discoverd/units/nvme-discoverd-UNIT.devid", "--unit=nvme-discoverd-UNIT.service",
				},
				ExecStop: []string{
					"/usr/bin/nvme-discoverctl", "disconnect", "--unit=nvme-discoverd-UNIT.service",
					"--transport=rdma", "--traddr=192.0.2.30", "--trsvcid=4420", "--nqn=nqn.2024-01.com.example:vol1",
					"--hostnqn=" + hostNQN, "--hostid=" + hostID,
				},
				ExecStopPost: []string{"/usr/bin/nvme-discoverctl", "cleanup", "--unit=nvme-discoverd-UNIT.service"},
				After:        []string{"network.target"},
				Before:       before, Wants: wants,
				TimeoutStart: 120 * time.Second, TimeoutStop: 300 * time.Second,
			},
		},
		{
			name: "discovery controller over Fibre Channel",
			wish: wishFor(t, tid.Discovery, tid.TID{
				Transport: "fc", Traddr: "nn-0x20000000c9a1b2c3:pn-0x10000000c9a1b2c3",
				HostTraddr: "nn-0x20000000c9d4e5f6:pn-0x10000000c9d4e5f6",
			}, wish.OwnerDiscoverd),
			cfg: cfg,
			want: Spec{
				Name: "nvme-discoverd-UNIT.service",
				Description: "NVMe Discovery Controller nqn.2014-08.org.nvmexpress.discovery @ " +
					"nn-0x20000000c9a1b2c3:pn-0x10000000c9a1b2c3",
				ExecStart: []string{
					"/usr/bin/nvme-discoverctl", "connect",
					"--transport=fc", "--traddr=nn-0x20000000c9a1b2c3:pn-0x10000000c9a1b2c3",
					"--nqn=nqn.2014-08.org.nvmexpress.discovery", "--hostnqn=" + hostNQN, "--hostid=" + hostID,
					"--host-traddr=nn-0x20000000c9d4e5f6:pn-0x10000000c9d4e5f6", "--idempotent", "--owner=discoverd",
					"--devid-file=/run/nvme/discoverd/units/nvme-discoverd-UNIT.devid", "--unit=nvme-discoverd-UNIT.service",
				},
				ExecStop: []string{
					"/usr/bin/nvme-discoverctl", "disconnect", "--unit=nvme-discoverd-UNIT.service",
					"--transport=fc", "--traddr=nn-0x20000000c9a1b2c3:pn-0x10000000c9a1b2c3",
					"--nqn=nqn.2014-08.org.nvmexpress.discovery", "--hostnqn=" + hostNQN, "--hostid=" + hostID,
					"--host-traddr=nn-0x20000000c9d4e5f6:pn-0x10000000c9d4e5f6",
				},
				ExecStopPost: []string{"/usr/bin/nvme-discoverctl", "cleanup", "--unit=nvme-discoverd-UNIT.service"},
				Before:       before, Wants: wants,
				TimeoutStart: 120 * time.Second, TimeoutStop: 300 * time.Second,
			},
		},
		{
			name: "discovery controller over loop by its unique NQN, connected by nvme-cli",
			wish: wishFor(t, tid.Discovery, tid.TID{Transport: "loop", NQN: "nqn.2024-01.com.example:discovery"}, wish.OwnerDiscoverd),
			cfg:  withNVMe,
			want: Spec{
				Name:        "nvme-discoverd-UNIT.service",
				Description: "NVMe Discovery Controller nqn.2024-01.com.example:discovery @ ",
				ExecStart: []string{
					"/usr/sbin/nvme", "connect", "--transport=loop", "--nqn=nqn.2024-01.com.example:discovery",
					"--hostnqn=" + hostNQN, "--hostid=" + hostID, "--idempotent", "--owner=discoverd",
					"--devid-file=/run/nvme/discoverd/units/nvme-discoverd-UNIT.devid",
				},
				ExecStop: []string{
					"/usr/bin/nvme-discoverctl", "disconnect", "--unit=nvme-discoverd-UNIT.service",
					"--transport=loop", "--nqn=nqn.2024-01.com.example:discovery", "--hostnqn=" + hostNQN, "--hostid=" + hostID,
				},
				ExecStopPost: []string{"/usr/bin/nvme-discoverctl", "cleanup", "--unit=nvme-discoverd-UNIT.service"},
				Before:       before, Wants: wants,
				TimeoutStart: 120 * time.Second, TimeoutStop: 300 * time.Second,
			},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := ForWish(test.wish.TID.UnitName(), test.wish, "/run/nvme/discoverd/units/"+strings.TrimSuffix(test.wish.TID.UnitName(), ".service")+".devid", "/run/nvme/discoverd/secrets/"+test.wish.TID.UnitName(), test.cfg)
			if diff := cmp.Diff(withUnit(test.want, test.wish.TID.UnitName()), got); diff != "" {
				t.Errorf("the unit is not as it should be (-want +got):\n%s", diff)
			}
		})
	}
}

// withUnit puts the real name, of which package tid has the tests, in the place of the golden specs' placeholder.
func withUnit(s Spec, unit string) Spec {
	replace := func(args []string) []string {
		var out []string
		for _, a := range args {
			out = append(out, strings.ReplaceAll(a, "nvme-discoverd-UNIT", strings.TrimSuffix(unit, ".service")))
		}
		return out
	}
	s.Name = unit
	s.ExecStart, s.ExecStop, s.ExecStopPost = replace(s.ExecStart), replace(s.ExecStop), replace(s.ExecStopPost)
	return s
}

func TestProperties(t *testing.T) {
	spec := Spec{
		Name:         "nvme-discoverd-0123456789ab.service",
		Description:  "NVMe I/O Controller",
		ExecStart:    []string{"/sbin/nvme", "connect", "--nqn=$HOME"},
		ExecStopPost: []string{"/sbin/ctl", "cleanup"},
		Before:       []string{"b.target"},
		Wants:        []string{"b.target"},
		TimeoutStart: 120 * time.Second,
		TimeoutStop:  1500 * time.Millisecond,
	}
	type prop struct{ Name, Signature, Value string }
	var got []prop
	for _, p := range spec.properties() {
		got = append(got, prop{p.Name, p.Value.Signature().String(), p.Value.String()})
	}
	want := []prop{
		{"Description", "s", `"NVMe I/O Controller"`},
		{"Type", "s", `"oneshot"`},
		{"RemainAfterExit", "b", "true"},
		{"CollectMode", "s", `"inactive-or-failed"`},
		{"Before", "as", `["b.target"]`},
		{"Wants", "as", `["b.target"]`},
		{"ExecStartEx", "a(sasas)", ""},
		{"ExecStopPost", "a(sasb)", ""},
		{"NoNewPrivileges", "b", "true"},
		{"CapabilityBoundingSet", "t", "@t 65536"},
		{"LimitCORE", "t", "@t 0"},
		{"TimeoutStartUSec", "t", "@t 120000000"},
		{"TimeoutStopUSec", "t", "@t 1500000"},
		{"TimeoutStopFailureMode", "s", `"kill"`},
		{"SendSIGKILL", "b", "false"},
		{"KillMode", "s", `"process"`},
	}
	// The text form of a variant has none for structures: their content is compared below.
	for i := range got {
		if strings.HasPrefix(got[i].Signature, "a(sas") {
			got[i].Value = ""
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the properties are not as they should be (-want +got):\n%s", diff)
	}
	commands := spec.properties()[6].Value.Value()
	wantCommands := []command{{"/sbin/nvme", []string{"/sbin/nvme", "connect", "--nqn=$HOME"}, []string{"no-env-expand"}}}
	if diff := cmp.Diff(wantCommands, commands); diff != "" {
		t.Errorf("ExecStartEx is not as it should be (-want +got):\n%s", diff)
	}
	wantPlain := []plainCommand{{"/sbin/ctl", []string{"/sbin/ctl", "cleanup"}, false}}
	if diff := cmp.Diff(wantPlain, spec.properties()[7].Value.Value()); diff != "" {
		t.Errorf("ExecStopPost is not as it should be (-want +got):\n%s", diff)
	}
	if got := dbus.SignatureOf(spec.properties()).String(); got != "a(sv)" {
		t.Errorf("the properties have signature %s, want a(sv)", got)
	}
}
