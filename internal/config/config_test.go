// SPDX-License-Identifier: GPL-3.0-or-later

package config

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/nvme-discoverd/nvme-discoverd/internal/param"
	"github.com/nvme-discoverd/nvme-discoverd/internal/paths"
)

const (
	testNQN = "nqn.2014-08.org.nvmexpress:uuid:11111111-2222-4333-8444-555555555555"
	testID  = "11111111-2222-4333-8444-555555555555"
)

// write puts the files, named by their paths below a new root, there.
func write(t *testing.T, files map[string]string) paths.Root {
	t.Helper()
	root := paths.Root(t.TempDir())
	for name, text := range files {
		if err := os.MkdirAll(filepath.Dir(root.Join(name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(root.Join(name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

// load loads the default file on a host that has an identity. The root is cut out of every message.
func load(t *testing.T, text string) (Config, string) {
	t.Helper()
	return loadRoot(t, write(t, map[string]string{
		"etc/nvme/discoverd.conf": text, "etc/nvme/hostnqn": testNQN + "\n", "etc/nvme/hostid": testID + "\n",
	}))
}

func loadRoot(t *testing.T, root paths.Root) (Config, string) {
	t.Helper()
	config, err := Load(root, "")
	for i, w := range config.Warnings {
		config.Warnings[i] = strings.ReplaceAll(w, string(root), "")
	}
	for i, c := range config.Connections {
		config.Connections[i].From = strings.ReplaceAll(c.From, string(root), "")
	}
	if err != nil {
		return config, strings.ReplaceAll(err.Error(), string(root), "")
	}
	return config, ""
}

// connections returns each connection as a line to compare.
func connections(c Config) []string {
	var lines []string
	for _, c := range c.Connections {
		lines = append(lines, fmt.Sprintf("%s %v %s %s", c.From, c.Wish.Kind, c.Wish.Owner, strings.Join(c.Wish.Args(), " ")))
	}
	return lines
}

func diff(t *testing.T, what string, want, got any) {
	t.Helper()
	if d := cmp.Diff(want, got, cmp.Comparer(func(a, b param.Set) bool { return a == b }), cmp.Comparer(func(a, b position) bool { return a == b })); d != "" {
		t.Errorf("%s (-want +got):\n%s", what, d)
	}
}

func TestLoadExample(t *testing.T) {
	got, err := load(t, `[global]
nbft = false
zeroconf = "yes"
iface-pinning = "TRUE"
zeroconf-ip-family = "ipv6"
fabrics-config = "off"
fc-kickstart-interval-minutes = 60
discovery-retention-time = "3days 5hours"
discovery-persistence = "epcsd"
epcsd-poll-interval-minutes = 5
reconnect-max-delay = 90
disconnect-timeout = "infinity"
shutdown-patience = "2min"
max-parallel-connects = 4
nvme-path = "/usr/sbin/nvme"
log-level = "debug"

[discovery-controller-defaults]
keep-alive-tmo = 15
[io-controller-defaults]
nr-io-queues = 4

[[discovery-controller]]
controller = [{ transport = "tcp", traddr = "192.0.2.10", trsvcid = 8009 }]

[[subsystem]]
nqn = "nqn.2024-01.com.example:vol1"
ctrl-loss-tmo = 1800
hdr-digest = true
controller = [
  { transport = "tcp", traddr = "192.0.2.20", host-iface = "eth0" },
  # a comment with { and ]
  { transport = "tcp", traddr = "2001:DB8::0:21", trsvcid = "4421", ctrl-loss-tmo = 60 },
]
`)
	diff(t, "error", "", err)
	diff(t, "settings", Settings{
		Zeroconf:             true,
		IfacePinning:         true,
		ZeroconfIPFamily:     IPv6,
		FCKickstartInterval:  time.Hour,
		DiscoveryRetention:   77 * time.Hour,
		DiscoveryPersistence: PersistenceEPCSD,
		EPCSDPollInterval:    5 * time.Minute,
		ReconnectMaxDelay:    90 * time.Second,
		DisconnectTimeout:    Infinity,
		ShutdownPatience:     2 * time.Minute,
		MaxParallelConnects:  4,
		FlightRecorderMiB:    4,
		NVMePath:             "/usr/sbin/nvme",
		LogLevel:             slog.LevelDebug,
	}, got.Settings)
	host := " --hostnqn=" + testNQN + " --hostid=" + testID
	diff(t, "connections", []string{
		"/etc/nvme/discoverd.conf:24 Discovery discoverd --transport=tcp --traddr=192.0.2.10 --trsvcid=8009" +
			" --nqn=nqn.2014-08.org.nvmexpress.discovery" + host + " --keep-alive-tmo=15",
		"/etc/nvme/discoverd.conf:31 I/O discoverd --transport=tcp --traddr=192.0.2.20 --trsvcid=4420" +
			" --nqn=nqn.2024-01.com.example:vol1" + host + " --host-iface=eth0 --ctrl-loss-tmo=1800 --nr-io-queues=4 --hdr-digest",
		"/etc/nvme/discoverd.conf:33 I/O discoverd --transport=tcp --traddr=2001:db8::21 --trsvcid=4421" +
			" --nqn=nqn.2024-01.com.example:vol1" + host + " --ctrl-loss-tmo=60 --nr-io-queues=4 --hdr-digest",
	}, connections(got))
	diff(t, "warnings", []string(nil), got.Warnings)
	diff(t, "host", []string{testNQN, testID}, []string{got.HostNQN, got.HostID})
}

func TestLoadNothing(t *testing.T) {
	root := write(t, map[string]string{"etc/nvme/hostnqn": testNQN})
	got, err := loadRoot(t, root)
	diff(t, "error", "", err)
	want := Config{
		Settings: Defaults(), HostNQN: testNQN, HostID: testID,
		HostIDFrom: map[string]string{testNQN: "derived from " + root.HostNQN()},
	}
	want.Discovered.Discovery = set("keep-alive-tmo", "30")
	want.Discovered.IO = set("ctrl-loss-tmo", "600")
	diff(t, "configuration", want, got)

	_, missing := Load(root, root.Join("nowhere.conf"))
	diff(t, "missing file", "cannot read configuration file "+root.Join("nowhere.conf")+": no such file or directory", fmt.Sprint(missing))
	_, directory := Load(root, root.Join("etc"))
	diff(t, "directory", "cannot read configuration file "+root.Join("etc")+": is a directory", fmt.Sprint(directory))

	large := write(t, map[string]string{"etc/nvme/discoverd.conf": strings.Repeat("#", maxSize+1)})
	_, err = loadRoot(t, large)
	diff(t, "large file", "cannot read configuration file /etc/nvme/discoverd.conf: it is larger than 1048576 bytes", err)
}

// TestShippedFile holds what `make install` installs to the program: as it is, it changes nothing; with every "#" in front of a
// line of TOML removed, its settings are the defaults and its examples make three connections.
func TestShippedFile(t *testing.T) {
	data, err := os.ReadFile(filepath.Join("..", "..", "systemd", "discoverd.conf"))
	if err != nil {
		t.Fatal(err)
	}
	shipped := string(data)
	nothing, _ := load(t, "")
	got := must(load(t, shipped))
	got.HostIDFrom = nothing.HostIDFrom // each is below a root of its own
	diff(t, "as shipped", nothing, got)

	got = must(load(t, regexp.MustCompile(`(?m)^#(\S|  \S)`).ReplaceAllString(shipped, "$1")))
	diff(t, "uncommented: settings", Defaults(), got.Settings)
	diff(t, "uncommented: connections", 3, len(connections(got)))
}

func must(c Config, err string) Config {
	if err != "" || len(c.Warnings) > 0 {
		panic(fmt.Sprint(err, c.Warnings))
	}
	return c
}

func TestPrecedence(t *testing.T) {
	got := must(load(t, `
[[subsystem]]
nqn = "nqn.2024-01.s"
queue-size = 64
nr-io-queues = ""
controller = [
  { transport = "tcp", traddr = "192.0.2.1" },
  { transport = "tcp", traddr = "192.0.2.2", queue-size = 32, ctrl-loss-tmo = "", data-digest = false },
  { transport = "rdma", traddr = "192.0.2.3", tos = "" },
]
[[discovery-controller]]
nqn = "nqn.2024-01.d"
controller = [{ transport = "fc", traddr = "nn-0x0000000000000001:pn-0x0000000000000002", host-traddr = "nn-0x0000000000000003:pn-0x0000000000000004", keep-alive-tmo = "" }]
[host]
nr-io-queues = 8
tos = 4
data-digest = "on"
[io-controller-defaults]
nr-io-queues = 2
queue-size = 128
tos = 1
[discovery-controller-defaults]
tos = 2
`))
	host := " --hostnqn=" + testNQN + " --hostid=" + testID
	diff(t, "connections", []string{
		"/etc/nvme/discoverd.conf:7 I/O discoverd --transport=tcp --traddr=192.0.2.1 --trsvcid=4420 --nqn=nqn.2024-01.s" + host +
			" --ctrl-loss-tmo=600 --queue-size=64 --tos=4 --data-digest",
		"/etc/nvme/discoverd.conf:8 I/O discoverd --transport=tcp --traddr=192.0.2.2 --trsvcid=4420 --nqn=nqn.2024-01.s" + host +
			" --queue-size=32 --tos=4",
		"/etc/nvme/discoverd.conf:9 I/O discoverd --transport=rdma --traddr=192.0.2.3 --trsvcid=4420 --nqn=nqn.2024-01.s" + host +
			" --ctrl-loss-tmo=600 --queue-size=64 --data-digest",
		"/etc/nvme/discoverd.conf:13 Discovery discoverd --transport=fc --traddr=nn-0x0000000000000001:pn-0x0000000000000002 --nqn=nqn.2024-01.d" + host +
			" --host-traddr=nn-0x0000000000000003:pn-0x0000000000000004 --nr-io-queues=8 --tos=4 --data-digest --discovery",
	}, connections(got))

	diff(t, "discovered DCs", set("keep-alive-tmo", "30", "nr-io-queues", "8", "tos", "4", "data-digest", "on"), got.Discovered.Discovery)
	diff(t, "discovered IOCs", set("ctrl-loss-tmo", "600", "nr-io-queues", "8", "queue-size", "128", "tos", "4", "data-digest", "on"), got.Discovered.IO)
}

func TestErrors(t *testing.T) {
	const quotes = ": is it a text? Then it must stand in quotes"
	for _, test := range []struct{ name, text, want string }{
		{"section not closed", "[global\nnbft = true\n", `1:8: cannot parse the file as TOML: expected '.' or ']' to end table name, but got '\n' instead`},
		{"key twice", "[host]\ntos = 1\n  tos = 2\n", `3:3: cannot parse the file as TOML: Key 'host.tos' has already been defined (at or after key host.tos)`},
		{"no quotes around a word", "[global]\nlog-level = debug\n", `2:13: cannot parse the file as TOML: expected value but found "debug" instead (at or after key global.log-level)` + quotes},
		{"no quotes around an address", "[[subsystem]]\ncontroller = [{ transport = \"tcp\", traddr = 192.0.2.1 }]", `2:45: cannot parse the file as TOML: Invalid float value: "192.0.2.1" (at or after key subsystem.controller.traddr)` + quotes},
		{"no quotes around a path", "[global]\nnvme-path = /usr/sbin/nvme", `2:13: cannot parse the file as TOML: expected value but found '/' instead (at or after key global.nvme-path)` + quotes},
		{"colon", "[global]\nnbft : true", `2:6: cannot parse the file as TOML: expected '.' or '=', but got ':' instead (at or after key global)`},
		{"two keys in a line", "[global]\nnbft = true zeroconf = true", `2:12: cannot parse the file as TOML: expected a top-level item to end with a newline, comment, or EOF, but got 'z' instead (at or after key global)`},
		{"not UTF-8", "[host]\n# \xff", `2:3: cannot parse the file: it is not UTF-8`},
		{"not UTF-8 behind other characters", "\ufeffü\ufffd\xc3(\n\xff", `1:3: cannot parse the file: it is not UTF-8`},
		{"brackets", "[host]\nx = " + strings.Repeat("[", 1000), `2:12: cannot parse the file: tables, arrays or dotted keys go deeper than 8 levels`},

		{"all values of [global]", `[global]
nbft = "maybe"
zeroconf = 2
fc-kickstart-interval-minutes = "1h"
discovery-retention-time = "3 dayz"
discovery-persistence = "never"
epcsd-poll-interval-minutes = 0
reconnect-max-delay = "infinity"
disconnect-timeout = 0
max-parallel-connects = 0
nvme-path = "nvme"
  log-level = "loud"
`, `2:1: cannot set nbft to "maybe": it must be true or false
3:1: cannot set zeroconf to "2": it must be true or false
4:1: cannot set fc-kickstart-interval-minutes to "1h": it must be a number of minutes from 0 to 525600
5:1: cannot set discovery-retention-time to "3 dayz": it must be a span of time such as 90 (seconds), "5min" or "1h 30min", or "infinity"
6:1: cannot set discovery-persistence to "never": it must be auto, epcsd or always
7:1: cannot set epcsd-poll-interval-minutes to "0": it must be a number of minutes from 1 to 525600
8:1: cannot set reconnect-max-delay to "infinity": it must be a span of time such as 90 (seconds), "5min" or "1h 30min", from a second to a day
9:1: cannot set disconnect-timeout to "0": it must be a span of time such as 90 (seconds), "5min" or "1h 30min", at least a second, or "infinity"
10:1: cannot set max-parallel-connects to "0": it must be a number from 1 to 1024
11:1: cannot set nvme-path to "nvme": it must be the absolute path of nvme-cli, or empty
12:3: cannot set log-level to "loud": it must be debug, info, warning or error`},
		{"values of the wrong type", "[global]\nnbft = [true]\nreconnect-max-delay = 1.5\n[host]\ntos = { a = 1 }\nhostid = 2024-01-01\n", `2:1: cannot set nbft to an array: it must be a string, an integer or a truth value
3:1: cannot set reconnect-max-delay to a number with a fraction: it must be a string, an integer or a truth value
5:1: cannot set tos to a table: it must be a string, an integer or a truth value
6:1: cannot set hostid to a date or time: it must be a string, an integer or a truth value`},
		{"parameters, each once", "[host]\ntos = 256\n[io-controller-defaults]\nqueue-size = true\n[discovery-controller-defaults]\ntls = \"ja\"\n", `2:1: cannot set tos to "256": it must be a number from 0 to 255
4:1: cannot set queue-size to "true": it must be a number from 16 to 1024
6:1: cannot set tls to "ja": it must be true or false`},
		{"host identity", "[host]\nhostnqn = \"nqn.2024-01.a,traddr=b\"\nhostid = \"a-b\"", `2:1: cannot set hostnqn: cannot use NQN "nqn.2024-01.a,traddr=b": it contains a comma`},
		{"host ID", "[host]\nhostid = \"a-b\"", `2:1: cannot set hostid to "a-b": it must be a UUID such as f81d4fae-7dec-11d0-a765-00a0c91e6bf6`},

		{"every controller", `[[subsystem]]
nqn = "nqn.2024-01.a"
controller = [
  { transport = "tcp", traddr = "array_1.example.com" }, { traddr = "192.0.2.1" },
  { transport = "tcp" }, { transport = "roce", traddr = "192.0.2.1" },
  { transport = "rdma", traddr = "192.0.2.1", trsvcid = 65536 },
  { transport = "tcp", traddr = "192.0.2.1", host-traddr = "eth0" },
  { transport = "tcp", traddr = "192.0.2.1", host-iface = "a/b" },
  { transport = "tcp", traddr = "192.0.2.1,x=y", keep-alive-tmo = -1 },
  { transport = "fc" },
]
[[subsystem]]
nqn = "nqn.2024-01.b"
[[subsystem.controller]]
transport = "tcp"
traddr = "host..name"
[[subsystem.controller]]
transport = "tcp"
traddr = "192.0.2.256"
`, `4:24: cannot use traddr "array_1.example.com": transport tcp needs an IP address or the name of a host
4:58: cannot connect without a transport: give tcp, rdma, fc or loop
5:3: cannot connect without a traddr: transport tcp needs an IP address or the name of a host
5:28: cannot use transport "roce": it must be tcp, rdma, fc or loop
6:47: cannot use trsvcid "65536": a port is a number from 1 to 65535
7:46: cannot use host-traddr "eth0": transport tcp needs an IP address
8:46: cannot use host-iface "a/b": it is no name of a network interface
9:24: cannot use traddr "192.0.2.1,x=y": it contains a comma
9:50: cannot set keep-alive-tmo to "-1": it must be whole seconds from 0 to 2147483647, as a number or a span of time such as 10min
10:3: cannot connect without a traddr: transport fc needs one such as nn-0x…:pn-0x…
16:1: cannot use traddr "host..name": transport tcp needs an IP address or the name of a host
19:1: cannot use traddr "192.0.2.256": transport tcp needs an IP address or the name of a host`},
		{"sources", `[[subsystem]]
nqn = "nqn.2024-01.a"
controller = [
  { transport = "fc", traddr = "nn-0x0000000000000001:pn-0x0000000000000002" },
  { transport = "tcp", traddr = "192.0.2.1", host-traddr = "fe80::1" },
  { transport = "rdma", traddr = "2001:db8::1", host-traddr = "::ffff:192.0.2.7", tos = 256 },
  { transport = "tcp", traddr = "::ffff:192.0.2.1", host-traddr = "192.0.2.7" },
  { transport = "tcp", traddr = "array.example.com", host-traddr = "192.0.2.7" },
  { transport = "loop", host-traddr = "x" },
]
`, `4:3: cannot use transport fc without the host-traddr of a port of this host, such as nn-0x…:pn-0x…
5:46: cannot use host-traddr "fe80::1" with traddr "192.0.2.1": they are of different IP versions
6:49: cannot use host-traddr "192.0.2.7" with traddr "2001:db8::1": they are of different IP versions
6:83: cannot set tos to "256": it must be a number from 0 to 255
9:25: cannot use host-traddr with transport loop, which does not take it`},
		{"endpoints", `[[subsystem]]
controller = [{ transport = "tcp", traddr = "192.0.2.1", host-iface = "a/b" }]
[[subsystem]]
nqn = "nqn.2014-08.org.nvmexpress.discovery"
controller = [{ transport = "tcp", traddr = "192.0.2.1" }]
[[discovery-controller]]
  nqn = "nqn.2024-01.a b"
`, `1:1: cannot connect a [[subsystem]] without its name: add nqn = "nqn.…"
2:58: cannot use host-iface "a/b": it is no name of a network interface
4:1: cannot use nqn "nqn.2014-08.org.nvmexpress.discovery" in [[subsystem]]: it is that of discovery controllers, which belong in [[discovery-controller]]
7:3: cannot use NQN "nqn.2024-01.a b": it contains a control character or white space`},
		{"wrong shapes", "global = 1\ncontroller = []\n[subsystem]\nnqn = \"nqn.2024-01.a\"\n[[host]]\n[[discovery-controller]]\ncontroller = { transport = \"tcp\" }\n", `1:1: cannot use global like this: it is one section, which begins with a line [global]
2:1: cannot use controller in the beginning of the file, before the first section: it belongs in [[discovery-controller]] or [[subsystem]]
3:1: cannot use subsystem like this: each one begins with a line [[subsystem]]
5:1: cannot use host like this: it is one section, which begins with a line [host]
7:1: cannot use controller like this: it is a list of tables, controller = [{ transport = …, traddr = … }]`},
		{"keys out of place", `nbft = false
[global]
tos = 1
hostnqn = "nqn.2024-01.a"
[host]
nqn = "nqn.2024-01.a"
log-level = "info"
[io-controller-defaults]
traddr = "192.0.2.1"
[[discovery-controller]]
transport = "tcp"
hostid = "` + testID + `"
controller = [{ nqn = "nqn.2024-01.a", transport = "tcp", traddr = "192.0.2.1" }]
`, `1:1: cannot use nbft in the beginning of the file, before the first section: it belongs in [global]
3:1: cannot use tos in [global]: it belongs in [host], a section of defaults, an endpoint or a controller table
4:1: cannot use hostnqn in [global]: it belongs in [host]
6:1: cannot use nqn in [host]: it belongs in [[discovery-controller]] or [[subsystem]]
7:1: cannot use log-level in [host]: it belongs in [global]
9:1: cannot use traddr in [io-controller-defaults]: it belongs in a controller table, controller = [{ transport = …, traddr = … }]
11:1: cannot use transport in [[discovery-controller]]: it belongs in a controller table, controller = [{ transport = …, traddr = … }]
12:1: cannot use hostid in [[discovery-controller]]: it belongs in [host]
13:17: cannot use nqn in a controller table: it belongs in [[discovery-controller]] or [[subsystem]]`},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, got := load(t, test.text)
			want := "/etc/nvme/discoverd.conf:" + strings.ReplaceAll(test.want, "\n", "\n/etc/nvme/discoverd.conf:")
			diff(t, "error", want, got)
		})
	}
}

func TestWarnings(t *testing.T) {
	got, err := load(t, `colour = "blue"
[global]
zeroconff = true
NBFT = false
fast_io_fail_tmo = 5
[host]
[io-controler-defaults]
[[subsystems]]
nqn = "nqn.2024-01.a"
[[discovery-controller]]
"controller" = [
  { transport = "fc", traddr = "nn-0x000000000000000A:pn-0x000000000000000B", host-traddr = "nn-0x0000000000000001:pn-0x0000000000000002" },
  { transport = "fc", traddr = "nn-0x000000000000000a:pn-0x000000000000000b", host-traddr = "nn-0x0000000000000001:pn-0x0000000000000002" }
]
[[discovery-controller]]
controller = []
[[subsystem]]
nqn = "nqn.2024-01.none"
[[subsystem]]
nqn = "nqn.2024-01.a"
controller = [
  { transport = "tcp", traddr = "::ffff:192.0.2.1" }, { transport = "tcp", traddr = "192.0.2.1", trsvcid = 4420, tos = 1 },
]
`)
	diff(t, "error", "", err)
	want := []string{
		`1:1: key colour in the beginning of the file, before the first section is unknown and ignored`,
		`3:1: key zeroconff in [global] is unknown and ignored: did you mean zeroconf?`,
		`4:1: key NBFT in [global] is unknown and ignored: did you mean nbft?`,
		`5:1: key fast_io_fail_tmo in [global] is unknown and ignored: did you mean fast-io-fail-tmo? It belongs in [host], a section of defaults, an endpoint or a controller table`,
		`7:1: section io-controler-defaults is unknown and ignored: did you mean io-controller-defaults?`,
		`8:1: section subsystems is unknown and ignored: did you mean subsystem?`,
		`13:3: connection (fc, nn-0x000000000000000a:pn-0x000000000000000b, nqn.2014-08.org.nvmexpress.discovery, nn-0x0000000000000001:pn-0x0000000000000002) is configured already at /etc/nvme/discoverd.conf:12: the first one counts, this one is ignored`,
		`15:1: [[discovery-controller]] lists no controller: nothing of it is connected`,
		`17:1: [[subsystem]] has no controller: nothing of it is connected; add controller = [{ transport = …, traddr = … }]`,
		`22:55: connection (tcp, 192.0.2.1, 4420, nqn.2024-01.a) is configured already at /etc/nvme/discoverd.conf:22: the first one counts, this one is ignored`,
	}
	for i := range want {
		want[i] = "/etc/nvme/discoverd.conf:" + want[i]
	}
	diff(t, "warnings", want, got.Warnings)
	diff(t, "ignored", Ignored{Sections: 2, Keys: 4, Connections: 2}, got.Ignored)
	diff(t, "connections", 2, len(got.Connections))
	diff(t, "settings", Defaults(), got.Settings)
}
