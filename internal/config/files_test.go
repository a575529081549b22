// SPDX-License-Identifier: GPL-3.0-or-later

package config

import (
	"net/netip"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nvme-discoverd/nvme-discoverd/internal/param"
)

const (
	mainFile    = "etc/nvme/discoverd.conf"
	dropIn      = "etc/nvme/discoverd.conf.d/"
	fabricsFile = "etc/nvme/nvme-fabrics.conf"
	fabricsDrop = "etc/nvme/nvme-fabrics.conf.d/"

	blueNQN, blueID = "nqn.2014-08.org.nvmexpress:uuid:aaaaaaaa-2222-4333-8444-555555555555", "aaaaaaaa-2222-4333-8444-555555555555"
)

// host adds the identity of the host to files.
func host(files map[string]string) map[string]string {
	files["etc/nvme/hostnqn"], files["etc/nvme/hostid"] = testNQN, testID
	return files
}

// set makes a set of pairs of keys and values.
func set(pairs ...string) (s param.Set) {
	for i := 0; i < len(pairs); i += 2 {
		p, ok := param.ByName(pairs[i])
		var err error
		if s, err = s.With(p, pairs[i+1]); err != nil || !ok {
			panic(pairs[i])
		}
	}
	return s
}

func TestFilesTogether(t *testing.T) {
	got := must(loadRoot(t, write(t, host(map[string]string{
		mainFile: `
[io-controller-defaults]
nr-io-queues = 2
queue-size = 64
[host]
tos = 9
[[discovery-controller]]
controller = [{ transport = "tcp", traddr = "192.0.2.1" }]
`,
		dropIn + "20-blue.conf": `
[[discovery-controller]]
controller = [{ transport = "tcp", traddr = "192.0.2.1" }]
[io-controller-defaults]
queue-size = 32
ctrl-loss-tmo = ""
[host]
hostnqn = "` + blueNQN + `"
tls = true
`,
		dropIn + "10-more.conf": `
[[subsystem]]
nqn = "nqn.2024-01.more"
controller = [{ transport = "tcp", traddr = "192.0.2.2" }]
`,
		dropIn + "ignored.conf.bak": "[", dropIn + ".ignored.conf": "[",
		fabricsFile: `
# shared with nvme-cli
[Discovery Controller Defaults]
keep-alive-tmo = 45    # for all of them
[I/O Controller Defaults]
queue-size = 256
fast-io-fail-tmo = 1min 30s

[Host]
hostsymname = lab-1
data-digest = ON

[Subsystem]
nqn = nqn.2024-01.shared
controller = transport=tcp;traddr=192.0.2.3;host-iface=eth0
controller = transport=tcp; traddr=192.0.2.4 ;queue-size=
`,
		fabricsDrop + "red.conf": `
[Host]
hostnqn = nqn.2024-01.red
[Discovery Controller]
nqn = nqn.2024-01.cdc
controller = transport=rdma;traddr=2001:DB8::1;tos=3
`,
	}))))
	plain := " --hostnqn=" + testNQN + " --hostid=" + testID
	blue := " --hostnqn=" + blueNQN + " --hostid=" + blueID
	red := " --hostnqn=nqn.2024-01.red --hostid=" + hostIDOf("nqn.2024-01.red")
	diff(t, "connections", []string{
		"/etc/nvme/discoverd.conf:8 Discovery discoverd --transport=tcp --traddr=192.0.2.1 --trsvcid=8009 --nqn=nqn.2014-08.org.nvmexpress.discovery" + plain + " --keep-alive-tmo=30 --tos=9",
		"/etc/nvme/discoverd.conf.d/10-more.conf:4 I/O discoverd --transport=tcp --traddr=192.0.2.2 --trsvcid=4420 --nqn=nqn.2024-01.more" + plain + " --ctrl-loss-tmo=600 --nr-io-queues=2 --queue-size=64",
		"/etc/nvme/discoverd.conf.d/20-blue.conf:3 Discovery discoverd --transport=tcp --traddr=192.0.2.1 --trsvcid=8009 --nqn=nqn.2014-08.org.nvmexpress.discovery" + blue + " --keep-alive-tmo=30 --tls",
		"/etc/nvme/nvme-fabrics.conf:15 I/O discoverd --transport=tcp --traddr=192.0.2.3 --trsvcid=4420 --nqn=nqn.2024-01.shared" + plain + " --host-iface=eth0 --ctrl-loss-tmo=600 --fast-io-fail-tmo=90 --queue-size=256 --data-digest",
		"/etc/nvme/nvme-fabrics.conf:16 I/O discoverd --transport=tcp --traddr=192.0.2.4 --trsvcid=4420 --nqn=nqn.2024-01.shared" + plain + " --ctrl-loss-tmo=600 --fast-io-fail-tmo=90 --data-digest",
		"/etc/nvme/nvme-fabrics.conf.d/red.conf:6 Discovery discoverd --transport=rdma --traddr=2001:db8::1 --trsvcid=4420 --nqn=nqn.2024-01.cdc" + red + " --keep-alive-tmo=45 --tos=3 --discovery",
	}, connections(got))

	var below []Discovered
	for _, c := range got.Connections {
		below = append(below, c.Discovered)
	}
	diff(t, "what each one names", []Discovered{
		{Discovery: set("keep-alive-tmo", "30", "tos", "9"), IO: set("ctrl-loss-tmo", "600", "nr-io-queues", "2", "queue-size", "64", "tos", "9")},
		{},
		{Discovery: set("keep-alive-tmo", "30", "tls", "true"), IO: set("nr-io-queues", "2", "queue-size", "32", "tls", "true")},
		{},
		{},
		{Discovery: set("keep-alive-tmo", "45"), IO: set("ctrl-loss-tmo", "600", "queue-size", "256", "fast-io-fail-tmo", "90")},
	}, below)
	diff(t, "what is found by itself", Discovered{
		Discovery: set("keep-alive-tmo", "45", "data-digest", "yes", "tos", "9"),
		IO:        set("ctrl-loss-tmo", "600", "fast-io-fail-tmo", "90", "data-digest", "yes", "nr-io-queues", "2", "queue-size", "64", "tos", "9"),
	}, got.Discovered)
	diff(t, "who finds it", []string{testNQN, testID}, []string{got.HostNQN, got.HostID})
}

func TestFabricsConfigOff(t *testing.T) {
	root := write(t, host(map[string]string{mainFile: "[global]\nfabrics-config = \"Off\"", fabricsFile: "nonsense"}))
	diff(t, "connections", []string(nil), connections(must(loadRoot(t, root))))
}

// TestFabricsPersona proves that what is found by itself is found as the one whom a main file names.
func TestFabricsPersona(t *testing.T) {
	files := host(map[string]string{fabricsFile: "[Host]\nhostnqn = nqn.2024-01.red"})
	got := must(loadRoot(t, write(t, files)))
	diff(t, "nvme-fabrics.conf", []string{"nqn.2024-01.red", hostIDOf("nqn.2024-01.red")}, []string{got.HostNQN, got.HostID})
	files[mainFile] = "[host]\nhostnqn = \"nqn.2024-01.blue\""
	got = must(loadRoot(t, write(t, files)))
	diff(t, "discoverd.conf", []string{"nqn.2024-01.blue", hostIDOf("nqn.2024-01.blue")}, []string{got.HostNQN, got.HostID})
}

func TestErrorsOfFiles(t *testing.T) {
	const controller = "[[discovery-controller]]\ncontroller = [{ transport = \"tcp\", traddr = \"192.0.2.1\" }]\n"
	for _, test := range []struct {
		name  string
		files map[string]string
		want  string
	}{
		{
			"all files at once",
			map[string]string{mainFile: "[global]\nnbft = 3", dropIn + "a.conf": "[", dropIn + "b.conf": "[host]\ntos = 999", fabricsFile: "[Host]\ntos = x", fabricsDrop + "c.conf": "x"},
			`/etc/nvme/discoverd.conf:2:1: cannot set nbft to "3": it must be true or false
/etc/nvme/discoverd.conf.d/a.conf:1:2: cannot parse the file as TOML: unexpected end of table name (table names cannot be empty)
/etc/nvme/discoverd.conf.d/b.conf:2:1: cannot set tos to "999": it must be a number from 0 to 255
/etc/nvme/nvme-fabrics.conf:2:1: cannot set tos to "x": it must be a number from 0 to 255
/etc/nvme/nvme-fabrics.conf.d/c.conf:1:1: cannot parse this line: it must be a [section] or key = value`,
		},
		{
			"global in a drop-in",
			map[string]string{mainFile: "", dropIn + "a.conf": "[host]\n[global]\nnbft = true"},
			`/etc/nvme/discoverd.conf.d/a.conf:2:1: cannot use [global] in a drop-in: it belongs in /etc/nvme/discoverd.conf`,
		},
		{
			"global in a drop-in, no main file",
			map[string]string{dropIn + "a.conf": "[global]"},
			`/etc/nvme/discoverd.conf.d/a.conf:1:1: cannot use [global] in a drop-in: it belongs in the main file, discoverd.conf`,
		},
		{
			"one hostnqn in two files",
			map[string]string{mainFile: "[host]\nhostnqn = \"nqn.2024-01.a\"", dropIn + "a.conf": "[host]\n\nhostnqn = \"nqn.2024-01.a\"", fabricsDrop + "b.conf": "[Host]\nhostnqn = nqn.2024-01.a"},
			`/etc/nvme/discoverd.conf.d/a.conf:3:1: cannot use hostnqn "nqn.2024-01.a" in two files: it is at /etc/nvme/discoverd.conf:2 already; put what it connects into that file
/etc/nvme/nvme-fabrics.conf.d/b.conf:2:1: cannot use hostnqn "nqn.2024-01.a" in two files: it is at /etc/nvme/discoverd.conf:2 already; put what it connects into that file`,
		},
		{
			"one hostid under two hostnqns",
			map[string]string{dropIn + "a.conf": "[host]\nhostnqn = \"nqn.2024-01.a\"\nhostid = \"" + blueID + "\"", dropIn + "b.conf": "[host]\nhostnqn = \"nqn.2024-01.b\"\nhostid = \"" + strings.ToUpper(blueID) + "\""},
			`/etc/nvme/discoverd.conf.d/b.conf:3:1: cannot use hostid "` + blueID + `" for hostnqn "nqn.2024-01.b": it is that of hostnqn "nqn.2024-01.a" of /etc/nvme/discoverd.conf.d/a.conf:2, and targets would take both for one host`,
		},
		{
			"the host's own hostid under another hostnqn",
			map[string]string{mainFile: "", dropIn + "b.conf": "[host]\nhostnqn = \"nqn.2024-01.b\"\nhostid = \"" + testID + "\""},
			`/etc/nvme/discoverd.conf.d/b.conf:3:1: cannot use hostid "` + testID + `" for hostnqn "nqn.2024-01.b": it is that of hostnqn "` + testNQN + `" of /etc/nvme/hostnqn, and targets would take both for one host`,
		},
		{
			"two hostids of one hostnqn",
			map[string]string{mainFile: "", dropIn + "b.conf": "[host]\nhostnqn = \"" + testNQN + "\"\nhostid = \"" + blueID + "\""},
			`/etc/nvme/discoverd.conf.d/b.conf:3:1: cannot use hostid "` + blueID + `": hostnqn "` + testNQN + `" of /etc/nvme/hostnqn has hostid "` + testID + `", and a host NQN has one`,
		},
		{
			"hostid alone in a drop-in",
			map[string]string{dropIn + "b.conf": "[host]\nhostid = \"" + blueID + "\""},
			`/etc/nvme/discoverd.conf.d/b.conf:2:1: cannot set hostid without hostnqn in a drop-in: add the hostnqn that it belongs to`,
		},
		{
			"hostid of zeros",
			map[string]string{mainFile: "[host]\nhostid = \"00000000-0000-0000-0000-000000000000\""},
			`/etc/nvme/discoverd.conf:2:1: cannot set hostid to "00000000-0000-0000-0000-000000000000": it must be a UUID such as f81d4fae-7dec-11d0-a765-00a0c91e6bf6`,
		},
		{
			"the host has no identity",
			map[string]string{"etc/nvme/hostnqn": "", "etc/nvme/hostid": "", dropIn + "a.conf": controller, dropIn + "b.conf": controller + "[host]\nhostnqn = \"nqn.2024-01.b\""},
			`/etc/nvme/discoverd.conf.d/a.conf:1:1: cannot connect anything without a host NQN: create one with nvme-discoverctl hostnqn --write, or set hostnqn in [host]`,
		},
		{
			"the host has a bad identity",
			map[string]string{"etc/nvme/hostnqn": "nqn.2024-01.a b", mainFile: controller + "[host]\ntos = 300"},
			`/etc/nvme/hostnqn:1:1: cannot use NQN "nqn.2024-01.a b": it contains a control character or white space
/etc/nvme/discoverd.conf:4:1: cannot set tos to "300": it must be a number from 0 to 255`,
		},
		{
			"not readable",
			map[string]string{dropIn + "a.conf/x": "", fabricsFile + "/x": "", fabricsFile + ".d": ""},
			`cannot read configuration file /etc/nvme/discoverd.conf.d/a.conf: is a directory
cannot read configuration file /etc/nvme/nvme-fabrics.conf: is a directory
cannot read configuration directory /etc/nvme/nvme-fabrics.conf.d: not a directory`,
		},
		{
			"mDNS",
			map[string]string{mainFile: "[global]\nzeroconf = true\niface-pinning = \"No\"\nzeroconf-ip-family = \"ipv5\""},
			`/etc/nvme/discoverd.conf:3:1: cannot set iface-pinning to false with zeroconf: what mDNS finds is connected through the interface that it was heard on
/etc/nvme/discoverd.conf:4:1: cannot set zeroconf-ip-family to "ipv5": it must be ipv4, ipv6 or ipv4+ipv6`,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			files := test.files
			if _, own := files["etc/nvme/hostnqn"]; !own {
				host(files)
			}
			_, got := loadRoot(t, write(t, files))
			diff(t, "error", test.want, got)
		})
	}
}

func TestFabricsErrors(t *testing.T) {
	for _, test := range []struct{ name, text, want string }{
		{"lines", "[Host\nkey\n = value\n[]\n  Ä", `1:1: cannot parse this line: it must be a [section] or key = value
2:1: cannot parse this line: it must be a [section] or key = value
3:2: cannot parse this line: it must be a [section] or key = value
5:3: cannot parse this line: it must be a [section] or key = value`},
		{"not UTF-8", "[Host]\n# \xff", "2:3: cannot parse the file: it is not UTF-8"},
		{"second host", "[Host]\ntos = 1\n [Host]\nhostnqn = nqn.2024-01.a", "3:2: cannot use a second [Host]: the one at line 1 holds for the whole file; another host goes into a drop-in of its own"},
		{"controller line", "[Subsystem]\nnqn = nqn.ä\ncontroller = transport=tcp;;traddr ; =x; traddr=192.0.2.1;transport=rdma;tos=q", `3:29: cannot parse this part of the controller line: it must be key=value
3:38: cannot parse this part of the controller line: it must be key=value
3:59: cannot set transport twice in a controller line: it is at column 14 already
3:74: cannot set tos to "q": it must be a number from 0 to 255`},
		{"addresses", `[Subsystem]
nqn = nqn.2024-01.a
  controller = transport=tcp;traddr=192.0.2.256
controller = traddr=192.0.2.1
controller = transport=tcp;traddr=192.0.2.1;host-iface=a/b`, `3:30: cannot use traddr "192.0.2.256": transport tcp needs an IP address or the name of a host
4:14: cannot connect without a transport: give tcp, rdma, fc or loop
5:45: cannot use host-iface "a/b": it is no name of a network interface`},
		{"endpoints", "[Subsystem]\n[Discovery Controller]\nnqn =\n[Subsystem]\nnqn = nqn.2014-08.org.nvmexpress.discovery\ncontroller = transport=tcp;traddr=192.0.2.1", `1:1: cannot connect a [Subsystem] without its name: add nqn = nqn.…
5:1: cannot use nqn "nqn.2014-08.org.nvmexpress.discovery" in [Subsystem]: it is that of discovery controllers, which belong in [Discovery Controller]`},
		{"keys out of place", "tos = 1\n[Host]\nnqn = nqn.2024-01.a\nnbft = true\n[I/O Controller Defaults]\nhostnqn = nqn.2024-01.a\ntraddr = 192.0.2.1\n[Subsystem]\nnqn = nqn.2024-01.a\ncontroller = transport=tcp;traddr=192.0.2.1;hostid=x", `1:1: cannot use tos in the beginning of the file, before the first section: it belongs in [Host], a section of defaults, an endpoint or a controller line
3:1: cannot use nqn in [Host]: it belongs in [Discovery Controller] or [Subsystem]
4:1: cannot use nbft in [Host]: it belongs in [global] of discoverd.conf
6:1: cannot use hostnqn in [I/O Controller Defaults]: it belongs in [Host]
7:1: cannot use traddr in [I/O Controller Defaults]: it belongs in a controller line, controller = transport=…;traddr=…
10:45: cannot use hostid in a controller line: it belongs in [Host]`},
		{"values", "[I/O Controller Defaults]\nreconnect-delay = 0s\nctrl-loss-tmo = 1500ms\nkeep-alive-tmo = infinity\ntls = maybe", `2:1: cannot set reconnect-delay to "0s": it must be whole seconds from 1 to 2147483647, as a number or a span of time such as 10min
3:1: cannot set ctrl-loss-tmo to "1500ms": it must be whole seconds from -1 to 2147483647, as a number or a span of time such as 10min, or infinity
4:1: cannot set keep-alive-tmo to "infinity": it must be whole seconds from 0 to 2147483647, as a number or a span of time such as 10min
5:1: cannot set tls to "maybe": it must be true or false`},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, got := loadRoot(t, write(t, host(map[string]string{fabricsFile: test.text})))
			diff(t, "error", "/etc/nvme/nvme-fabrics.conf:"+strings.ReplaceAll(test.want, "\n", "\n/etc/nvme/nvme-fabrics.conf:"), got)
		})
	}
}

func TestFabricsWarnings(t *testing.T) {
	got, err := loadRoot(t, write(t, host(map[string]string{fabricsFile: `; comment
[Subsystems]
nqn = nqn.2024-01.ignored
[Future Section]
[Host]
hostsymnam = x
tos = 1
tos = 2
[I/O Controller Defaults]
queue-size = 16
[I/O Controller Defaults]
queue-size = 32
[Subsystem]
nqn = nqn.2024-01.a
controller = transport=tcp;traddr=192.0.2.1
controller =
controller = transport=tcp;traddr=192.0.2.2
controller = transport=tcp;traddr=::ffff:192.0.2.2
[Discovery Controller]
controller =
[Subsystem]
nqn = nqn.2024-01.none
`})))
	diff(t, "error", "", err)
	want := []string{
		`2:1: section [Subsystems] is unknown and ignored: did you mean Subsystem?`,
		`4:1: section [Future Section] is unknown and ignored`,
		`6:1: key hostsymnam in [Host] is unknown and ignored`,
		`8:1: key tos in [Host] is set at line 7 already: this one counts`,
		`11:1: section [I/O Controller Defaults] is at line 9 already: both count, and this one where both set a key`,
		`12:1: key queue-size in [I/O Controller Defaults] is set at line 10 already: this one counts`,
		`18:14: connection (tcp, 192.0.2.2, 4420, nqn.2024-01.a) is configured already at /etc/nvme/nvme-fabrics.conf:17: the first one counts, this one is ignored`,
		`19:1: [Discovery Controller] lists no controller: nothing of it is connected`,
		`21:1: [Subsystem] has no controller: nothing of it is connected; add controller = transport=…;traddr=…`,
	}
	for i := range want {
		want[i] = "/etc/nvme/nvme-fabrics.conf:" + want[i]
	}
	diff(t, "warnings", want, got.Warnings)
	diff(t, "connections", []string{
		"/etc/nvme/nvme-fabrics.conf:17 I/O discoverd --transport=tcp --traddr=192.0.2.2 --trsvcid=4420 --nqn=nqn.2024-01.a --hostnqn=" + testNQN + " --hostid=" + testID + " --ctrl-loss-tmo=600 --queue-size=32 --tos=2",
	}, connections(got))
}

func TestHostNames(t *testing.T) {
	got, err := load(t, `
[[subsystem]]
nqn = "nqn.2024-01.a"
controller = [
  { transport = "tcp", traddr = "Array-1.Example.com" },
  { transport = "tcp", traddr = "array-1.example.COM", trsvcid = 4420 },
  { transport = "rdma", traddr = "array.", host-traddr = "192.0.2.7" },
]
`)
	diff(t, "error", "", err)
	diff(t, "warnings", []string{
		"/etc/nvme/discoverd.conf:6:3: connection (tcp, array-1.example.com, 4420, nqn.2024-01.a) is configured already at /etc/nvme/discoverd.conf:5: the first one counts, this one is ignored",
	}, got.Warnings)
	tcp, rdma := got.Connections[0], got.Connections[1]
	diff(t, "names", []string{"array-1.example.com", "array."}, []string{tcp.Host, rdma.Host})
	diff(t, "addresses", []string{"", ""}, []string{tcp.Wish.TID.Traddr, rdma.Wish.TID.Traddr})
	w, problem := tcp.Wish.At(tcp.Host, netip.MustParseAddr("::ffff:192.0.2.1"))
	diff(t, "wish", "(tcp, 192.0.2.1, 4420, nqn.2024-01.a)", w.TID.String())
	diff(t, "parameters", tcp.Wish.Params, w.Params)
	diff(t, "error", nil, problem)
	w, problem = tcp.Wish.At(tcp.Host, netip.MustParseAddr("fe80::1%eth0"))
	diff(t, "wish", "(tcp, fe80::1%eth0, 4420, nqn.2024-01.a)", w.TID.String())
	diff(t, "error", nil, problem)
	_, problem = rdma.Wish.At(rdma.Host, netip.MustParseAddr("2001:db8::1"))
	diff(t, "error", "cannot connect array. at 2001:db8::1: host-traddr 192.0.2.7 is of the other IP version", problem.Error())

	label := strings.Repeat("a", 63)
	for _, name := range []string{
		"-a", "a-", "a..b", ".", ".a", "a_b", "ä", "a." + label + "a", strings.Repeat(label+".", 4) + "a", "1.2.3", "a.1", "1", "[::1]",
	} {
		_, got := load(t, "[[subsystem]]\nnqn = \"nqn.2024-01.a\"\ncontroller = [{ transport = \"tcp\", traddr = \""+name+"\" }]\n")
		diff(t, name, "/etc/nvme/discoverd.conf:3:36: cannot use traddr \""+name+"\": transport tcp needs an IP address or the name of a host", got)
	}
	for _, name := range []string{"a", "1a", "a.1.b2", label, "3com.com"} {
		diff(t, name, name, must(load(t, "[[subsystem]]\nnqn = \"nqn.2024-01.a\"\ncontroller = [{ transport = \"tcp\", traddr = \""+name+"\" }]\n")).Connections[0].Host)
	}
}

func TestCheck(t *testing.T) {
	root := write(t, host(map[string]string{
		mainFile: "[", fabricsFile: "[", // neither is looked at
		"new/a.conf":        "[global]\nnbft = false\n[io-controller-defaults]\ntos = 1",
		"new/b.conf":        "[global]",
		"new/x.d/c.conf":    "[[subsystem]]\nnqn = \"nqn.2024-01.a\"\ncontroller = [{ transport = \"tcp\", traddr = \"192.0.2.1\" }]",
		"new/fabrics":       "# x\n\n  [Subsystem]\nnqn = nqn.2024-01.a\ncontroller = transport=tcp;traddr=192.0.2.2\n",
		"new/fabrics.other": "[Host]\nhostid = " + blueID,
	}))
	check := func(files ...string) (Config, string) {
		for i, f := range files {
			files[i] = root.Join("new", f)
		}
		c, err := Check(root, files)
		if err != nil {
			return c, strings.ReplaceAll(err.Error(), string(root), "")
		}
		return c, ""
	}
	got, err := check("x.d/c.conf", "fabrics", "a.conf")
	diff(t, "error", "", err)
	diff(t, "nbft", false, got.Settings.NBFT)
	diff(t, "connections", 2, len(got.Connections))
	_, err = check("a.conf", "b.conf", "fabrics", "fabrics.other", "none")
	diff(t, "error", `cannot read configuration file /new/none: no such file or directory
/new/b.conf:1:1: cannot use [global] in a drop-in: it belongs in /new/a.conf
/new/fabrics.other:2:1: cannot set hostid without hostnqn in a drop-in: add the hostnqn that it belongs to`, err)
}

// TestCheckDialects: a file is read as the service would read it, whatever is wrong in it.
func TestCheckDialects(t *testing.T) {
	const (
		fabrics = "; comment\n[Host]  # this host\ntos = 1\n[Subsystem] # x\nnqn = nqn.2024-01.a\ncontroller = transport=loop\n"
		slip    = "[Host]\ntos = 1\n[[subsystem]]\nnqn = \"nqn.2024-01.a\"\ncontroller = [{ transport = \"loop\" }]\n"
		unknown = "%s:1:1: section Host is unknown and ignored: did you mean host?"
	)
	for _, test := range []struct{ file, text, warning, err string }{
		{"x/nvme-fabrics.conf", fabrics, "", ""},
		{"x/nvme-fabrics.conf", "[host]\n[Subsystem]\nnqn = nqn.2024-01.a\ncontroller = transport=loop\n", "%s:1:1: section [host] is unknown and ignored: did you mean Host?", ""},
		{"x/nvme-fabrics.conf.d/discoverd.conf", fabrics, "", ""},
		{"x/new.conf", fabrics, "", ""},
		{"x/new.conf", "\ufeff" + fabrics[len("; comment\n"):], "", ""},
		{"x/new.conf", "[host]\n[Subsystem]\nnqn = nqn.2024-01.a\ncontroller = transport=loop\n", "%s:1:1: section [host] is unknown and ignored: did you mean Host?", ""},
		{"x/discoverd.conf", slip, unknown, ""},
		{"x/discoverd.conf.d/nvme-fabrics.conf", slip, unknown, ""},
		{"x/new.conf", slip, unknown, ""},
		{"x/discoverd.conf", fabrics, "", "%s:1:1: cannot parse the file as TOML: expected '.' or '=', but got ';' instead"},
		{"x/discoverd.conf.d/a.conf", "[global]\n" + slip, "", "%s:1:1: cannot use [global] in a drop-in: it belongs in the main file, discoverd.conf"},
	} {
		t.Run(test.file, func(t *testing.T) {
			root := write(t, host(map[string]string{test.file: test.text}))
			t.Chdir(filepath.Dir(root.Join(test.file)))
			for _, file := range []string{root.Join(test.file), filepath.Base(test.file)} {
				got, err := Check(root, []string{file})
				message := ""
				if err != nil {
					message = err.Error()
				}
				diff(t, "error", strings.ReplaceAll(test.err, "%s", file), message)
				if test.err == "" {
					diff(t, "warnings", strings.ReplaceAll(test.warning, "%s", file), strings.Join(got.Warnings, "\n"))
					diff(t, "connections", 1, len(got.Connections))
				}
			}
		})
	}
}

// TestConfigFlag proves that the drop-ins of another main file are those beside it.
func TestConfigFlag(t *testing.T) {
	root := write(t, host(map[string]string{
		"x/my.conf": "[global]\nfabrics-config = false", "x/my.conf.d/a.conf": "[[subsystem]]\nnqn = \"nqn.2024-01.a\"\ncontroller = [{ transport = \"loop\" }]",
		dropIn + "a.conf": "[",
	}))
	got, err := Load(root, root.Join("x/my.conf"))
	diff(t, "error", nil, err)
	diff(t, "from", []string{root.Join("x/my.conf.d/a.conf:3")}, []string{got.Connections[0].From})
}
