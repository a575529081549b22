// SPDX-License-Identifier: GPL-3.0-or-later

package config

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nvme-discoverd/nvme-discoverd/internal/paths"
	"github.com/nvme-discoverd/nvme-discoverd/internal/secret"
)

// usable lists the addresses of the connections that are to be made, and not only known.
func usable(c Config) []string {
	var list []string
	for _, c2 := range c.Connections {
		if _, bad := c.Unusable[c2.Wish.Secrets]; !bad {
			list = append(list, c2.Wish.TID.Traddr)
		}
	}
	return list
}

// put changes one file below a root.
func put(t *testing.T, root paths.Root, name, text string) {
	t.Helper()
	if err := os.WriteFile(root.Join(name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestFaults: what an error costs. The connections that can be made are listed by their addresses.
func TestFaults(t *testing.T) {
	const two = "[Subsystem]\nnqn = nqn.2024-01.a\ncontroller = transport=tcp;traddr=192.0.2.1%s\n[Subsystem]\nnqn = nqn.2024-01.b\ncontroller = transport=tcp;traddr=192.0.2.2\n"
	one := func(at1 string) string { return fmt.Sprintf(two, at1) }
	const where = "/etc/nvme/nvme-fabrics.conf:"
	for _, test := range []struct{ name, text, err, connected string }{
		{"a slip in the name of an interface key", one(";host_iface=eth1"), where + "3:45: cannot use host_iface in a controller line: it is unknown, so this controller is not connected: did you mean host-iface?", "2"},
		{"a slip in a harmless key", one(";ctrl_loss_tmo=3"), where + "3:45: cannot use ctrl_loss_tmo in a controller line: it is unknown, so this controller is not connected: did you mean ctrl-loss-tmo?", "2"},
		{"a key of the future", one(";colour=blue"), where + "3:45: cannot use colour in a controller line: it is unknown, so this controller is not connected", "2"},
		{"a value", one(";queue-size=1"), where + `3:45: cannot set queue-size to "1": it must be a number from 16 to 1024`, "2"},
		{"the same key twice", one(";tls=false;tls=true"), where + "3:55: cannot set tls twice in a controller line: it is at column 45 already", "2"},
		{"TLS twice in an endpoint", strings.Replace(one(""), "controller", "tls = true\ntls =\ncontroller", 1), where + "4:1: cannot set tls twice in [Subsystem]: it is at line 3 already", "2"},
		{"another host in the host", "[Host]\nhostnqn = nqn.2024-01.x\nhostnqn = nqn.2024-01.y\n" + one(""), where + "3:1: cannot set hostnqn twice in [Host]: it is at line 2 already", ""},
		{"TLS twice in two sections of defaults", "[I/O Controller Defaults]\ntls = true\n[I/O Controller Defaults]\ntls = false\n" + one(""), where + "4:1: cannot set tls twice in [I/O Controller Defaults]: it is at line 2 already", ""},
		{"twice the same", strings.Replace(one(""), "controller", "tls = true\ntls = true\ncontroller", 1), "", "1 2"},
		{"no value", one(";host-iface"), where + "3:45: cannot parse this part of the controller line: it must be key=value", "2"},
		{"a slip in an endpoint", strings.Replace(one(""), "controller", "kxchap-secert = x\ncontroller", 1), where + "3:1: cannot use kxchap-secert in [Subsystem]: it is unknown, so nothing that it may hold for is connected: did you mean kxchap-secret?", "2"},
		{"a credential that is not there", strings.Replace(one(""), "controller", "dhchap-secret-credential = x\ncontroller", 1), where + "3:1: cannot use dhchap-secret-credential: credential nvme.x: there is no such credential: put it into /etc/credstore or, encrypted by systemd-creds encrypt --name=nvme.x, into /etc/credstore.encrypted, then reload", "2"},
		{"a slip in the host", "[Host]\npsk = x\n" + one(""), where + "2:1: cannot use psk in [Host]: it is unknown, so nothing that it may hold for is connected", ""},
		{"an interface in an endpoint", strings.Replace(one(""), "controller", "host_iface = eth0\ncontroller", 1), where + "3:1: cannot use host_iface in [Subsystem]: it is unknown, so nothing that it may hold for is connected: did you mean host-iface? It belongs in a controller line, controller = transport=…;traddr=…", "2"},
		{"another tool's name of it", strings.Replace(one(""), "controller", "src-addr = 192.0.2.7\ncontroller", 1), where + "3:1: cannot use src-addr in [Subsystem]: it is unknown, so nothing that it may hold for is connected: did you mean host-traddr? It belongs in a controller line, controller = transport=…;traddr=…", "2"},
		{"a TLS key over RDMA", strings.Replace(one(";tls-key-identity=x"), "tcp", "rdma", 1), where + "3:46: cannot use tls-key-identity with transport rdma, which does not take it", "2"},
		{"a slip in the defaults", "[I/O Controller Defaults]\ntsl = true\n" + one(""), where + "2:1: cannot use tsl in [I/O Controller Defaults]: it is unknown, so nothing that it may hold for is connected: did you mean tls?", ""},
		{"a slip in the defaults of the other kind", "[Discovery Controller Defaults]\ntsl = true\n" + one(""), where + "2:1: cannot use tsl in [Discovery Controller Defaults]: it is unknown, so nothing that it may hold for is connected: did you mean tls?", "1 2"},
		{"a harmless slip in the host", "[Host]\nqueue-sice = 8\n" + one(""), "", "1 2"},
		{"an unknown section", "[host]\nkxchap-secret = x\n" + one(""), where + "2:1: cannot use kxchap-secret in [host]: that section is unknown, and nothing of the file is connected without what it asks for", ""},
		{"an unknown section without harm", "[host]\ntos = 1\n" + one(""), "", "1 2"},
		{"before the first section", "tls = true\n" + one(""), where + "1:1: cannot use tls in the beginning of the file, before the first section: it belongs in [Host], a section of defaults, an endpoint or a controller line", ""},
		{"a host that is none", "[Host]\nhostnqn = a,b\n" + one(""), where + `2:1: cannot set hostnqn: cannot use NQN "a,b": it contains a comma`, ""},
		{"a line that is none", one("") + "what\n", where + "7:1: cannot parse this line: it must be a [section] or key = value", ""},
		{"an address", one(";trsvcid=0"), where + `3:45: cannot use trsvcid "0": a port is a number from 1 to 65535`, "2"},
		{"no transport takes it", strings.Replace(one(";host-iface=eth0"), "tcp", "rdma", 1), where + "3:46: cannot use host-iface with transport rdma, which does not take it", "2"},
		{"TLS over RDMA", strings.Replace(one(";tls=yes"), "tcp", "rdma", 1), where + "3:46: cannot use tls with transport rdma, which does not take it", "2"},
		{"TLS over RDMA from the endpoint", strings.Replace(strings.Replace(one(""), "tcp", "rdma", 1), "controller", "tls = true\ncontroller", 1), where + "3:1: cannot use tls with transport rdma, which does not take it", "2"},
		{"TLS over RDMA from the defaults", "[I/O Controller Defaults]\ntls = 1\nhdr-digest = 1\n" + strings.Replace(one(""), "tcp", "rdma", 1), where + "6:14: cannot use transport rdma with tls = true of " + where + "2, which it does not take: set tls to false here to do without", "2"},
		{"the same reset", "[I/O Controller Defaults]\ntls = 1\n" + strings.Replace(one(";tls=0"), "tcp", "rdma", 1), "", "1 2"},
		{"a digest over RDMA", strings.Replace(one(";hdr-digest=1"), "tcp", "rdma", 1), where + "3:46: cannot use hdr-digest with transport rdma, which does not take it", "2"},
		{"a digest over RDMA from the host", "[Host]\nhdr-digest = 1\n" + strings.Replace(one(""), "tcp", "rdma", 1), "", "1 2"},
		{"a port of FC", strings.Replace(one(""), "transport=tcp;traddr=192.0.2.1", "transport=fc;traddr=nn-0x0000000000000001:pn-0x0000000000000002;host-traddr=nn-0x0000000000000003:pn-0x0000000000000004;trsvcid=4420", 1), where + "3:134: cannot use trsvcid with transport fc, which does not take it", "2"},
	} {
		t.Run(test.name, func(t *testing.T) {
			const mine = "[[subsystem]]\nnqn = \"nqn.2024-01.c\"\ncontroller = [{ transport = \"tcp\", traddr = \"192.0.2.9\" }]\n"
			root := write(t, host(map[string]string{mainFile: mine, fabricsFile: ""}))
			put(t, root, fabricsFile, test.text)
			got, err := loadRoot(t, root)
			diff(t, "error", test.err, err)
			want := []string{"192.0.2.9"}
			for _, n := range strings.Fields(test.connected) {
				want = append(want, "192.0.2."+n)
			}
			diff(t, "connected", want, usable(got))
			diff(t, "errors", test.err, strings.ReplaceAll(strings.Join(got.Errors, "\n"), string(root), ""))
		})
	}
}

// TestFaultsInTables: a table of TOML that is unknown may hold what has to do with security, however deep.
func TestFaultsInTables(t *testing.T) {
	const one = "[[subsystem]]\nnqn = \"nqn.2024-01.a\"\ncontroller = [{ transport = \"tcp\", traddr = \"192.0.2.1\" }]\n"
	for _, test := range []struct{ name, text, err string }{
		{"of the endpoint", one + "[subsystem.policy]\ntls = true\n", `4:1: cannot use tls below policy in [[subsystem]]: policy is unknown, so nothing that it may hold for is connected`},
		{"of the host", "[host]\npolicy = { all = [{ dhchap-secret = \"x\" }] }\n" + one, `2:1: cannot use dhchap-secret below policy in [host]: policy is unknown, so nothing that it may hold for is connected`},
		{"of an unknown section", "[hosts.mine]\ntls = true\n" + one, `1:1: cannot use tls in section hosts: that section is unknown, and nothing of the file is connected without what it asks for`},
		{"of a harmless one", "[hosts.mine]\ntos = 1\n" + one, ""},
		{"a word for it", strings.Replace(one, "nqn =", "security = 3\nnqn =", 1), `2:1: cannot use security in [[subsystem]]: it is unknown, so nothing that it may hold for is connected`},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := loadRoot(t, write(t, host(map[string]string{mainFile: test.text})))
			if test.err != "" {
				test.err = "/etc/nvme/discoverd.conf:" + test.err
			}
			diff(t, "error", test.err, err)
			if made := len(usable(got)) == 1; made != (test.err == "") {
				t.Errorf("made: %v", made)
			}
		})
	}
}

// TestNoneAsPort: log pages, and what is made of them, have "none" where a transport has no port.
func TestNoneAsPort(t *testing.T) {
	got := must(loadRoot(t, write(t, host(map[string]string{fabricsFile: "[Subsystem]\nnqn = nqn.2024-01.a\ncontroller = transport=fc;traddr=nn-0x0000000000000001:pn-0x0000000000000002;host-traddr=nn-0x0000000000000003:pn-0x0000000000000004;trsvcid=none\n"}))))
	diff(t, "port", "", got.Connections[0].Wish.TID.Trsvcid)
}

// TestLinkLocal: an address that needs a zone has none.
func TestLinkLocal(t *testing.T) {
	got, err := loadRoot(t, write(t, host(map[string]string{fabricsFile: `[Subsystem]
nqn = nqn.2024-01.a
controller = transport=tcp;traddr=fe80::1
controller = transport=rdma;traddr=fe80::2
controller = transport=tcp;traddr=fe80::3%eth0
controller = transport=tcp;traddr=fe80::4;host-iface=eth0
controller = transport=tcp;traddr=169.254.0.1
`})))
	diff(t, "error", "", err)
	diff(t, "warnings", []string{
		"/etc/nvme/nvme-fabrics.conf:3:28: traddr fe80::1 is link-local, and nothing says on which interface: add its zone as in fe80::1%eth0, or set host-iface",
		"/etc/nvme/nvme-fabrics.conf:4:29: traddr fe80::2 is link-local, and nothing says on which interface: add its zone as in fe80::2%eth0",
	}, got.Warnings)
}

// TestFaultStaysKnown: a connection that an error costs is wished for all the same, so that no log page has it made in another
// way, and says why it is not made.
func TestFaultStaysKnown(t *testing.T) {
	root := write(t, host(map[string]string{
		fabricsFile:                "[Subsystem]\nnqn = nqn.2024-01.a\nkxchap-secret = x\ncontroller = transport=tcp;traddr=192.0.2.1\n",
		fabricsDrop + "later.conf": "[Subsystem]\nnqn = nqn.2024-01.a\ncontroller = transport=tcp;traddr=192.0.2.1\n",
	}))
	got, _ := loadRoot(t, root)
	diff(t, "connections", 1, len(got.Connections))
	diff(t, "why", "/etc/nvme/nvme-fabrics.conf:3:1: cannot use kxchap-secret: this file: its mode 0644 lets others than its owner at the secret: chmod 600 it, or set allow-readable-secrets in [global]",
		strings.ReplaceAll(got.Unusable[got.Connections[0].Wish.Secrets], string(root), ""))
}

// TestTwice: a connection that two files configure is never made with less security than either asks for, and an error in one
// file does not cost the other its connection.
func TestTwice(t *testing.T) {
	const at = "/etc/nvme/nvme-fabrics.conf"
	ini := func(endpoint, path string) string {
		return "[Subsystem]\nnqn = nqn.2024-01.a\n" + endpoint + "controller = transport=tcp;traddr=192.0.2.1" + path + "\n"
	}
	const plain = "[[subsystem]]\nnqn = \"nqn.2024-01.a\"\n%scontroller = [{ transport = \"tcp\", traddr = \"192.0.2.1\" }]\n"
	const secretOfA = "dhchap-secret-file = /etc/nvme/keys/a\n"
	again := func(first, second int) string {
		return fmt.Sprintf("%s:%d:14: connection (tcp, 192.0.2.1, 4420, nqn.2024-01.a) is configured already at /etc/nvme/discoverd.conf:%d: the first one counts, this one is ignored", at, second, first)
	}
	for _, test := range []struct {
		name, first, second string
		errs                []string
		warning             string
		from                string // of the connection, "" if it is not made
	}{
		{"alike", "", ini("", ""), nil, again(3, 3), "discoverd.conf:3"},
		{"the second with TLS", "", ini("tls = true\n", ""), []string{at + ":4:14: cannot connect (tcp, 192.0.2.1, 4420, nqn.2024-01.a) with tls: it is configured at /etc/nvme/discoverd.conf:3 too, without tls: make the two alike, or leave one of them out"}, "", ""},
		{"the second with a secret", "", ini(secretOfA, ""), []string{at + ":4:14: cannot connect (tcp, 192.0.2.1, 4420, nqn.2024-01.a) with dhchap-secret: it is configured at /etc/nvme/discoverd.conf:3 too, without dhchap-secret: make the two alike, or leave one of them out"}, "", ""},
		{"the first with TLS", "tls = true\n", ini("", ""), nil, again(4, 3), "discoverd.conf:4"},
		{"a secret of the second that cannot be used", "", ini("dhchap-secret-file = /none\n", ""), []string{at + ":3:1: cannot use dhchap-secret-file: /none: no such file or directory"}, again(3, 4), ""},
		{"another path of the second", "", ini("", ";host_iface=eth0"), []string{at + ":3:45: cannot use host_iface in a controller line: it is unknown, so this controller is not connected: did you mean host-iface?"}, again(3, 3), "discoverd.conf:3"},
		{"an error in the first", "queue-size = 1\n", ini("", ""), []string{`/etc/nvme/discoverd.conf:3:1: cannot set queue-size to "1": it must be a number from 16 to 1024`}, "", "nvme-fabrics.conf:3"},
		{"an error in the first, which has TLS", "tls = true\nqueue-size = 1\n", ini("", ""), []string{`/etc/nvme/discoverd.conf:4:1: cannot set queue-size to "1": it must be a number from 16 to 1024`}, again(5, 3), ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			root := write(t, host(map[string]string{mainFile: fmt.Sprintf(plain, test.first), fabricsFile: test.second}))
			hide(t, root, map[string]string{"etc/nvme/keys/a": secretA})
			got, _ := loadRoot(t, root)
			strip := func(list []string) string { return strings.ReplaceAll(strings.Join(list, "\n"), string(root), "") }
			diff(t, "errors", strings.Join(test.errs, "\n"), strip(got.Errors))
			diff(t, "warnings", test.warning, strip(got.Warnings))
			if len(got.Connections) != 1 {
				t.Fatalf("%d connections", len(got.Connections))
			}
			from := filepath.Base(got.Connections[0].From)
			if _, bad := got.Unusable[got.Connections[0].Wish.Secrets]; bad {
				from = ""
			}
			diff(t, "made as in", test.from, from)
		})
	}
}

// TestFaultsOfFound: what is found is not connected with less than the main files ask for.
func TestFaultsOfFound(t *testing.T) {
	for _, test := range []struct {
		name, text string
		blocked    bool
	}{
		{"a secret", "[Host]\nkxchap-secret-file = /none\n", true},
		{"a slip", "[Host]\nkxchap-secert = x\n", true},
		{"defaults", "[I/O Controller Defaults]\ntls = maybe\n", true},
		{"another host", "[Host]\nhostid = x\n", true},
		{"unreadable lines", "[Host]\nkxchap-secret = x\nwhat\n", true},
		{"unreadable lines without harm", "[Host]\ntos = 1\nwhat\n", false},
		{"a queue", "[Host]\nqueue-size = 1\n", false},
		{"an endpoint", "[Subsystem]\nnqn = nqn.2024-01.a\ncontroller = transport=tcp;tls=maybe\n", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := loadRoot(t, write(t, host(map[string]string{fabricsFile: test.text})))
			if _, blocked := got.Unusable[got.Discovered.Secrets]; blocked != test.blocked || err == "" {
				t.Errorf("blocked %v, want %v; error %q", blocked, test.blocked, err)
			}
		})
	}
}

// TestFaultsOfDefaults: a drop-in does not inherit less than the main file has, nor does what a discovery controller names.
func TestFaultsOfDefaults(t *testing.T) {
	const connect = "[[discovery-controller]]\ncontroller = [{ transport = \"tcp\", traddr = \"192.0.2.1\" }]\n[[subsystem]]\nnqn = \"nqn.2024-01.a\"\ncontroller = [{ transport = \"tcp\", traddr = \"192.0.2.2\" }]\n"
	for _, test := range []struct {
		name, main string
		connected  []string
		below      bool // and what the discovery controller names is
	}{
		{"TLS", "[io-controller-defaults]\ntls = \"maybe\"\n", []string{"192.0.2.1"}, false},
		{"no more than a queue", "[io-controller-defaults]\nqueue-size = 1\n", []string{"192.0.2.1", "192.0.2.2"}, true},
		{"unreadable", "[io-controller-defaults]\ntls = true\n[", nil, false},
		{"unreadable, and TLS in one line", "[[subsystem]]\n[io-controller-defaults] tls = true\n", nil, false},
		{"unreadable, and TLS in an inline table", "io-controller-defaults = { tls = true }\n[", nil, false},
		{"unreadable, and TLS behind what may be a section", "[[subsystem]]\n[io-controller-defaults\ntls = true\n", nil, false},
		{"unreadable, and TLS at an endpoint", "[[subsystem]]\ntls = true\ncontroller = [\n{ tls = true },\n]\n[", []string{"192.0.2.1", "192.0.2.2"}, true},
		{"unreadable, and TLS in its host", "[host]\ntls = true\n[", []string{"192.0.2.1", "192.0.2.2"}, true},
		{"unreadable, and no TLS in it", "[io-controller-defaults]\ntos = 1\n[", []string{"192.0.2.1", "192.0.2.2"}, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, _ := loadRoot(t, write(t, host(map[string]string{mainFile: test.main, dropIn + "a.conf": connect})))
			diff(t, "connected", test.connected, usable(got))
			for _, c := range got.Connections {
				if _, blocked := got.Unusable[c.Discovered.Secrets]; test.connected != nil && c.Wish.TID.Traddr == "192.0.2.1" && blocked == test.below {
					t.Errorf("what the discovery controller names: blocked %v", blocked)
				}
			}
		})
	}
}

// TestFaultsOfDefaultsAndAnother: a discovery controller that an error of its own costs may be connected still, and what it names
// then is not connected with less either.
func TestFaultsOfDefaultsAndAnother(t *testing.T) {
	got, _ := loadRoot(t, write(t, host(map[string]string{mainFile: "[io-controller-defaults]\ntls = \"maybe\"\n[[discovery-controller]]\nqueue-size = 1\ncontroller = [{ transport = \"tcp\", traddr = \"192.0.2.1\" }]\n"})))
	if _, blocked := got.Unusable[got.Connections[0].Discovered.Secrets]; !blocked {
		t.Errorf("what it names is connected: %+v", got.Connections[0].Discovered)
	}
}

// TestLoader: the last good state of what an error costs stays, if it is no less than what is asked for now.
func TestLoader(t *testing.T) {
	root := write(t, host(map[string]string{mainFile: "", fabricsFile: "", fabricsDrop + "a.conf": "", "etc/nvme/keys/a": secretA}))
	put(t, root, "etc/nvme/keys/b", secretB)
	if err := os.Chmod(root.Join("etc/nvme/keys/a"), 0o600); err != nil {
		t.Fatal(err)
	}
	l := NewLoader(root, "")
	mine := func(settings, endpoint string) string {
		return "[global]\n" + settings + "[[subsystem]]\nnqn = \"nqn.2024-01.m\"\ncontroller = [{ transport = \"tcp\", traddr = \"192.0.2.9\" }]\n" + endpoint
	}
	theirs := func(endpoint, path string) string {
		return "[Subsystem]\nnqn = nqn.2024-01.a\n" + endpoint + "controller = transport=tcp;traddr=192.0.2.1" + path + "\n"
	}
	var loaded Config
	load := func(what string, main, fabrics string, wrong int, want ...string) {
		t.Helper()
		put(t, root, mainFile, main)
		put(t, root, fabricsFile, fabrics)
		var err error
		loaded, err = l.Load()
		if len(loaded.Errors) != wrong || (err != nil) != (wrong > 0) {
			t.Errorf("%s: errors %q, want %d", what, loaded.Errors, wrong)
		}
		var got []string
		for _, c := range loaded.Connections {
			if why, bad := loaded.Unusable[c.Wish.Secrets]; bad {
				got = append(got, c.Wish.TID.Traddr+" not connected")
				if !strings.Contains(why, ":") {
					t.Errorf("%s: why: %q", what, why)
				}
				continue
			}
			line := c.Wish.TID.Traddr
			if c.Wish.TID.HostIface != "" {
				line += " through " + c.Wish.TID.HostIface
			}
			if set := loaded.Secrets[c.Wish.Secrets]; !set.Empty() {
				line += " with " + map[string]string{secretA: "A", secretB: "B"}[set[secret.DHChap].Value.Reveal()]
			}
			got = append(got, line)
		}
		diff(t, what, want, got)
	}
	const a, b = "kxchap-secret-file = /etc/nvme/keys/a\n", "kxchap-secret-file = /etc/nvme/keys/b\n"
	load("first", mine("", ""), theirs(a, ""), 0, "192.0.2.9", "192.0.2.1 with A")
	load("a file that is gone", mine("", ""), theirs("kxchap-secret-file = /none\n", ""), 1, "192.0.2.9", "192.0.2.1 with A")
	load("the same again", mine("", ""), theirs("kxchap-secret-file = /none\n", ""), 1, "192.0.2.9", "192.0.2.1 with A")
	load("a slip", mine("", ""), theirs(strings.Replace(a, "secret", "secert", 1), ""), 1, "192.0.2.9", "192.0.2.1 with A")
	load("a key that it never had", mine("", ""), theirs(a, ";tls=maybe"), 1, "192.0.2.9", "192.0.2.1 not connected")
	load("right again", mine("", ""), theirs(b, ""), 0, "192.0.2.9", "192.0.2.1 with B")
	load("not an INI file, and another one changes", mine("", strings.ReplaceAll(mine("", "")[len("[global]\n"):], ".9", ".8")), "what", 1, "192.0.2.9", "192.0.2.8", "192.0.2.1 with B")
	load("neither of them is", "[", "what", 2, "192.0.2.9", "192.0.2.8", "192.0.2.1 with B")
	load("settings", mine("max-parallel-connects = 3\nnbft = false\n", ""), theirs("", ""), 0, "192.0.2.9", "192.0.2.1")
	load("a setting that is wrong", mine("max-parallel-connects = 5\nnbft = \"maybe\"\n", ""), theirs("", ""), 1, "192.0.2.9", "192.0.2.1")
	if s := loaded.Settings; s.MaxParallelConnects != 5 || s.NBFT {
		t.Errorf("settings: %+v", s)
	}
	load("it was never authenticated", mine("", ""), theirs(strings.Replace(a, "secret", "secert", 1), ""), 1, "192.0.2.9", "192.0.2.1 not connected")
	load("pinned", mine("", ""), theirs("", ";host-iface=eth0\ncontroller = transport=tcp;traddr=192.0.2.1;host-iface=eth1"), 0, "192.0.2.9", "192.0.2.1 through eth0", "192.0.2.1 through eth1")
	load("a slip in a pin", mine("", ""), theirs("", ";host_iface=eth0\ncontroller = transport=tcp;traddr=192.0.2.1;host-iface=eth1"), 1, "192.0.2.9", "192.0.2.1 through eth1", "192.0.2.1 through eth0")
	load("never pinned", mine("", ""), theirs("", ""), 0, "192.0.2.9", "192.0.2.1")
	load("never pinned, a slip in a pin", mine("", ""), theirs("", ";host_iface=eth0"), 1, "192.0.2.9", "192.0.2.1 not connected")
	load("a harmless value", mine("", ""), theirs("", ""), 0, "192.0.2.9", "192.0.2.1")
	load("a harmless value that is wrong", mine("", ""), theirs("", ";queue-size=1"), 1, "192.0.2.9", "192.0.2.1")

	const queue = ";queue-size=1"
	load("in the clear", mine("", ""), theirs("", ""), 0, "192.0.2.9", "192.0.2.1")
	load("TLS beside a harmless value that is wrong", mine("", ""), theirs("tls = true\n", queue), 1, "192.0.2.9", "192.0.2.1 not connected")
	load("a secret beside it", mine("", ""), theirs(a, queue), 1, "192.0.2.9", "192.0.2.1 not connected")
	load("a pin beside it", mine("", ""), theirs("", ";host-iface=eth0"+queue), 1, "192.0.2.9", "192.0.2.1 not connected")
	load("through eth0", mine("", ""), theirs("", ";host-iface=eth0"), 0, "192.0.2.9", "192.0.2.1 through eth0")
	load("through eth1, with a harmless value that is wrong", mine("", ""), theirs("", ";host-iface=eth1"+queue), 1, "192.0.2.9", "192.0.2.1 not connected")

	// The host's own secrets, for what is found.
	load("the host's", mine("", ""), "[Host]\n"+a, 0, "192.0.2.9")
	diff(t, "found with", secretA, loaded.Secrets[loaded.Discovered.Secrets][secret.DHChap].Value.Reveal())
	load("the host's file is gone", mine("", ""), "[Host]\nkxchap-secret-file = /none\n", 1, "192.0.2.9")
	diff(t, "found with", secretA, loaded.Secrets[loaded.Discovered.Secrets][secret.DHChap].Value.Reveal())
	diff(t, "the host's", secretA, loaded.Secrets[loaded.HostSecrets[testNQN]][secret.DHChap].Value.Reveal())
	load("no secrets of the host", mine("", ""), "[Host]\nkeyring = .nvme\n", 0, "192.0.2.9")
	load("a good one beside what is wrong", mine("", ""), "[Host]\n"+a+"keyring = \u0007\n", 1, "192.0.2.9")
	if loaded.Unusable[loaded.Discovered.Secrets] == "" || loaded.Unusable[loaded.HostSecrets[testNQN]] != "" {
		t.Errorf("found with %q, the host's are %q", loaded.Discovered.Secrets, loaded.HostSecrets[testNQN])
	}
	load("a file that cannot be read", mine("", ""), theirs("", ""), 0, "192.0.2.9", "192.0.2.1")
	if err := os.Remove(root.Join(fabricsFile)); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(root.Join(fabricsFile), 0o755); err != nil {
		t.Fatal(err)
	}
	loaded, _ = l.Load()
	diff(t, "a file that cannot be read", []string{"192.0.2.9", "192.0.2.1"}, usable(loaded))
	if err := os.Remove(root.Join(fabricsFile)); err != nil {
		t.Fatal(err)
	}
	loaded, _ = l.Load()
	diff(t, "a file that is not there any more", []string{"192.0.2.9"}, usable(loaded))
}

// TestCrossFileErrors: they cost the later file.
func TestCrossFileErrors(t *testing.T) {
	connect := func(nqn, at string) string {
		return "[host]\nhostnqn = \"" + nqn + "\"\n[[subsystem]]\nnqn = \"nqn.2024-01.s\"\ncontroller = [{ transport = \"tcp\", traddr = \"" + at + "\" }]\n"
	}
	got, err := loadRoot(t, write(t, host(map[string]string{
		dropIn + "a.conf": connect("nqn.2024-01.a", "192.0.2.1"), dropIn + "b.conf": connect("nqn.2024-01.a", "192.0.2.2"), dropIn + "c.conf": connect("nqn.2024-01.c", "192.0.2.3"),
	})))
	diff(t, "error", `/etc/nvme/discoverd.conf.d/b.conf:2:1: cannot use hostnqn "nqn.2024-01.a" in two files: it is at /etc/nvme/discoverd.conf.d/a.conf:2 already; put what it connects into that file`, err)
	diff(t, "connected", []string{"192.0.2.1", "192.0.2.3"}, usable(got))
}

// TestWindowsFiles: what editors of other systems make of a file changes nothing.
func TestWindowsFiles(t *testing.T) {
	strange := func(text string) string { return "\ufeff" + strings.ReplaceAll(text, "\n", "\r\n") }
	root := write(t, map[string]string{
		"etc/nvme/hostnqn": strange(testNQN + "\n"), "etc/nvme/hostid": strange(strings.ToUpper(testID) + "\n"),
		mainFile:               strange("[global]\nnbft = false\n[[subsystem]]\nnqn = \"nqn.2024-01.a\"\ncontroller = [\n  { transport = \"tcp\", traddr = \"192.0.2.1\" }, # a comment\n]\n"),
		dropIn + "a.conf":      strange("[[subsystem]]\nnqn = \"nqn.2024-01.b\"\ncontroller = [{ transport = \"tcp\", traddr = \"192.0.2.2\" }]\n"),
		fabricsFile:            strange("[Host]\n; a comment\ntos = 1\n[Subsystem]\nnqn = nqn.2024-01.c\ncontroller = transport=tcp;traddr=192.0.2.3;tls=false\n"),
		fabricsDrop + "b.conf": strange("[Subsystem]\nnqn = nqn.2024-01.d # comment\ncontroller = transport=tcp;traddr=192.0.2.4\n"),
	})
	got := must(loadRoot(t, root))
	diff(t, "connected", []string{"192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4"}, usable(got))
	diff(t, "host", []string{testNQN, testID, "false"}, []string{got.HostNQN, got.HostID, fmt.Sprint(got.Settings.NBFT)})
	put(t, root, mainFile, strange("[global]\nnbft = maybe\n"))
	put(t, root, fabricsFile, strange("[Host]\n  tos = x\n"))
	_, err := loadRoot(t, root)
	diff(t, "errors", `/etc/nvme/discoverd.conf:2:8: cannot parse the file as TOML: expected value but found "maybe" instead (at or after key global.nbft): is it a text? Then it must stand in quotes
/etc/nvme/nvme-fabrics.conf:2:3: cannot set tos to "x": it must be a number from 0 to 255`, err)
}

// TestCIntegers: nvme-cli's integers in nvme-fabrics.conf are those of C; TOML has its own.
func TestCIntegers(t *testing.T) {
	for text, want := range map[string]string{
		"0x1E": "30", "036": "30", "30": "30", "0": "0", "00": "0", "-1": "-1", "+7": "7", "0X1e": "30", "-010": "-8",
		"08": "", "0b11": "", "1_0": "", "0o17": "", "--1": "", "": "", "x": "", "30s": "",
	} {
		got, ok := cInteger(text)
		if ok != (want != "") || ok && got != want {
			t.Errorf("%q: %q, %v, want %q", text, got, ok, want)
		}
	}
	got := must(loadRoot(t, write(t, host(map[string]string{fabricsFile: "[Subsystem]\nnqn = nqn.2024-01.a\ncontroller = transport=tcp;traddr=192.0.2.1;keep-alive-tmo=0x1E;ctrl-loss-tmo=-1;reconnect-delay=030;fast-io-fail-tmo=1min;tos=010\n"}))))
	args := strings.Join(got.Connections[0].Wish.Args(), " ")
	if !strings.HasSuffix(args, " --keep-alive-tmo=30 --ctrl-loss-tmo=-1 --reconnect-delay=24 --fast-io-fail-tmo=60 --tos=8") {
		t.Error(args)
	}
	_, err := loadRoot(t, write(t, host(map[string]string{fabricsFile: "[Subsystem]\nnqn = nqn.2024-01.a\nqueue-size = 017\ncontroller = transport=tcp;traddr=192.0.2.1\n"})))
	diff(t, "octal, and too small", `/etc/nvme/nvme-fabrics.conf:3:1: cannot set queue-size to "15": it must be a number from 16 to 1024`, err)
}

// TestTLSKeyNames: keyring and tls-key-identity in every place of both formats; the most specific of a key and an identity wins.
func TestTLSKeyNames(t *testing.T) {
	root := write(t, host(map[string]string{mainFile: `
[host]
keyring = ".nvme"
[io-controller-defaults]
tls = true
tls-key-identity = "NVMe1R01 a"
[[subsystem]]
nqn = "nqn.2024-01.a"
tls-key-identity = "NVMe1R01 b"
controller = [
  { transport = "tcp", traddr = "192.0.2.1" },
  { transport = "tcp", traddr = "192.0.2.2", keyring = "mine", tls-key-identity = "NVMe1R01 c" },
  { transport = "tcp", traddr = "192.0.2.3", tls-key-file = "/etc/nvme/keys/tls" },
]
`, fabricsFile: `
[Host]
tls-key-file = /etc/nvme/keys/tls
[I/O Controller Defaults]
tls = true
keyring = .nvme
[Subsystem]
nqn = nqn.2024-01.b
controller = transport=tcp;traddr=192.0.2.4
controller = transport=tcp;traddr=192.0.2.5;tls-key-identity=NVMe1R01 nqn.2024-01.a nqn.2024-01.b c2VjcmV0=;keyring=
`}))
	hide(t, root, map[string]string{"etc/nvme/keys/tls": tlsKeyA})
	got := must(loadRoot(t, root))
	var lines []string
	for _, c := range got.Connections {
		_, args, _ := strings.Cut(strings.Join(c.Wish.Args(), " "), "--tls")
		lines = append(lines, c.Wish.TID.Traddr+args+" "+got.Secrets[c.Wish.Secrets].String())
	}
	const key = "tls-key from /etc/nvme/keys/tls"
	diff(t, "connections", []string{
		"192.0.2.1 --keyring=.nvme --tls-key-identity=NVMe1R01 b ",
		"192.0.2.2 --keyring=mine --tls-key-identity=NVMe1R01 c ",
		"192.0.2.3 --keyring=.nvme " + key,
		"192.0.2.4 --keyring=.nvme " + key,
		"192.0.2.5 --tls-key-identity=NVMe1R01 nqn.2024-01.a nqn.2024-01.b c2VjcmV0= ",
	}, lines)
}

// TestSharedSamples: files of nvme-cli 3.
func TestSharedSamples(t *testing.T) {
	sample := func(name string) (Config, string) {
		data, err := os.ReadFile("../../testdata/config/" + name)
		if err != nil {
			t.Fatal(err)
		}
		root := write(t, host(map[string]string{fabricsFile: ""}))
		put(t, root, fabricsFile, string(data))
		if err := os.Chmod(root.Join(fabricsFile), 0o600); err != nil {
			t.Fatal(err)
		}
		return loadRoot(t, root)
	}
	got, err := sample("nvme-fabrics.conf")
	diff(t, "error", "", err)
	diff(t, "connected", []string{"192.0.2.10", "192.0.2.20", "192.0.2.21"}, usable(got))
	if !got.Secrets[got.Connections[1].Wish.Secrets][secret.DHChap].Value.IsSet() {
		t.Error("vol1 is connected without authentication")
	}
	for n, want := range []string{" --keep-alive-tmo=30", " --ctrl-loss-tmo=600", " --ctrl-loss-tmo=600 --tls --keyring=.nvme"} {
		if args := strings.Join(got.Connections[n].Wish.Args(), " "); !strings.HasSuffix(args, want) {
			t.Errorf("arguments: %s, want%s", args, want)
		}
	}
	got, err = sample("nvme-fabrics-slip.conf")
	diff(t, "error", "/etc/nvme/nvme-fabrics.conf:3:46: cannot use host_iface in a controller line: it is unknown, so this controller is not connected: did you mean host-iface?", err)
	diff(t, "connected", []string{"192.0.2.21"}, usable(got))
}
