// SPDX-License-Identifier: GPL-3.0-or-later

package cli

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/nvme-discoverd/nvme-discoverd/internal/keyring"
	"github.com/nvme-discoverd/nvme-discoverd/internal/psk"
	"github.com/nvme-discoverd/nvme-discoverd/internal/secret"
	"github.com/nvme-discoverd/nvme-discoverd/internal/state"
	"github.com/nvme-discoverd/nvme-discoverd/internal/tid"
)

const (
	tlsText = "NVMeTLSkey-1:01:VRLbtnN9AQb2WXW3c9+wEf/DRLz0QuLdbYvEhwtdWwNf9LrZ:"
	tlsHost = "nqn.2024-01.com.example:host"
)

// tlsIdentity is that of the key in tlsText for a subsystem.
func tlsIdentity(t *testing.T, nqn string) string {
	t.Helper()
	key, err := secret.Parse(secret.TLS, tlsText)
	if err != nil {
		t.Fatal(err)
	}
	derived, err := psk.Derive(key, tlsHost, nqn)
	if err != nil {
		t.Fatal(err)
	}
	return derived.Identity
}

// Keys are shown with what their identities say, the controllers that have them and the connections that would take them: the one that
// a configuration names, or else the one that the kernel prefers. No key is shown.
func TestTLSList(t *testing.T) {
	d := newDesk(t)
	d.write("etc/nvme/hostnqn", tlsHost+"\n")
	named := tlsIdentity(t, "nqn.2024-01.a")
	d.write("etc/nvme/discoverd.conf", `
[[subsystem]]
nqn = "nqn.2024-01.a"
tls = true
controller = [
  { transport = "tcp", traddr = "192.0.2.1", tls-key-file = "/etc/nvme/key" },
  { transport = "tcp", traddr = "192.0.2.2" },
  { transport = "tcp", traddr = "192.0.2.3", tls = false },
]
[[subsystem]]
nqn = "nqn.2024-01.b"
tls = true
tls-key-identity = "NVMe0R01 `+tlsHost+` nqn.2024-01.b"
controller = [{ transport = "tcp", traddr = "192.0.2.4" }]
`)
	d.write("etc/nvme/key", tlsText+"\n")
	if err := os.Chmod(d.root.Join("etc/nvme/key"), 0o600); err != nil {
		t.Fatal(err)
	}
	d.write("sys/class/nvme/nvme3/tls_key", "0000000b\n")
	d.write("sys/class/nvme/nvme4/tls_key", "\n")
	d.keys = func(ring string) ([]keyring.Key, error) {
		return []keyring.Key{
			{Serial: 10, Identity: "NVMe0R01 " + tlsHost + " nqn.2024-01.b"},
			{Serial: 11, Identity: named},
			{Serial: 12, Identity: "NVMe1R02 " + tlsHost + " nqn.2024-01.a ZGlnZXN0"},
			{Serial: 13, Identity: "NVMe1R02 " + tlsHost + " nqn.2024-01.b ZGlnZXN0"},
			{Serial: 14, Identity: "something else"},
		}, nil
	}
	got := d.run("tls", "list")
	want := `something else
     serial  0000000e, with an identity that is none of NVMe's

NVMe1R02 ` + tlsHost + ` nqn.2024-01.a ZGlnZXN0
     serial  0000000c, version 1, retained, HMAC SHA-384
       host  ` + tlsHost + `
  subsystem  nqn.2024-01.a
        for  (tcp, 192.0.2.2, 4420, nqn.2024-01.a)

` + named + `
     serial  0000000b, version 1, retained, HMAC SHA-256
       host  ` + tlsHost + `
  subsystem  nqn.2024-01.a
  in use by  nvme3
        for  (tcp, 192.0.2.1, 4420, nqn.2024-01.a)

NVMe1R02 ` + tlsHost + ` nqn.2024-01.b ZGlnZXN0
     serial  0000000d, version 1, retained, HMAC SHA-384
       host  ` + tlsHost + `
  subsystem  nqn.2024-01.b

NVMe0R01 ` + tlsHost + ` nqn.2024-01.b
     serial  0000000a, version 0, retained, HMAC SHA-256
       host  ` + tlsHost + `
  subsystem  nqn.2024-01.b
        for  (tcp, 192.0.2.4, 4420, nqn.2024-01.b)
! warning: what log pages name is left out: `
	if !strings.HasPrefix(got, want) {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if out := d.run("tls", "list", "--json"); !strings.Contains(out, `"serial": "0000000b"`) || !strings.Contains(out, `"kind": "retained"`) || strings.Contains(got+out, "VRLbtnN9") {
		t.Errorf("JSON:\n%s", out)
	}
	d.keys = func(string) ([]keyring.Key, error) { return nil, nil }
	if out := d.run("tls", "list", "--keyring=mine"); !strings.Contains(out, "There is no TLS key in the keyring mine.\n") {
		t.Errorf("without keys: %s", out)
	}
	d.keys = func(string) ([]keyring.Key, error) { return nil, errors.New("cannot find the keyring mine") }
	d.expect([]string{"tls", "list", "--keyring=mine"}, "! cannot find the keyring mine\nstatus 1\n")
}

// What a unit has now is compared with what its controller was connected with.
func TestExplainSecrets(t *testing.T) {
	d := newDesk(t)
	const unit = "nvme-discoverd-0123456789abcdef.service"
	parse := func(k secret.Key, text string) secret.Value {
		v, err := secret.Parse(k, text)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	const first, second = "DHHC-1:00:YWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWF3F7HK:", "DHHC-1:01:YmJiYmJiYmJiYmJiYmJiYmJiYmJiYmJiYmJiYmJiYmLUSf1H:"
	set := secret.Set{
		secret.DHChap: {Value: parse(secret.DHChap, first), From: "credential nvme.a"}, secret.DHChapCtrl: {Value: parse(secret.DHChapCtrl, second), From: "/b"},
		secret.TLS: {Value: parse(secret.TLS, tlsText), From: "/c"},
	}
	if err := state.New(d.root).WriteSecrets(unit, set); err != nil {
		t.Fatal(err)
	}
	used := tlsIdentity(t, "nqn.a")
	e := explainer{app: &app{root: d.root, keyIdentity: func(int) (string, error) { return used, nil }}}
	read := func() string {
		list, err := e.secrets(unit, "nvme3")
		if err != nil {
			t.Fatal(err)
		}
		var lines []string
		for _, s := range list {
			lines = append(lines, secretText(s))
		}
		return strings.Join(lines, "\n")
	}
	const inUse = "dhchap-secret from credential nvme.a\ndhchap-ctrl-secret from /b"
	if got := read(); got != inUse {
		t.Errorf("on a kernel that does not say: %q", got)
	}
	d.write("sys/class/nvme/nvme3/dhchap_secret", first+"\n")
	d.write("sys/class/nvme/nvme3/dhchap_ctrl_secret", second+"\n")
	d.write("sys/class/nvme/nvme3/tls_key", "0000000b\n")
	if got := read(); got != inUse+"\ntls-key from /c" {
		t.Errorf("in use: %q", got)
	}
	const next = ": it has changed since this connection was made, and is used at the next connect"
	d.write("sys/class/nvme/nvme3/dhchap_secret", second+"\n")
	used = used[:len(used)-5] + "AAAA="
	if got := read(); got != "dhchap-secret from credential nvme.a"+next+"\ndhchap-ctrl-secret from /b\ntls-key from /c"+next {
		t.Errorf("changed: %q", got)
	}
	for _, other := range []string{tlsIdentity(t, tid.DiscoveryNQN), "NVMe1G01 " + tlsHost + " nqn.a AAAA="} {
		if used = other; !strings.HasSuffix(read(), "tls-key from /c") {
			t.Errorf("a key by the well-known NQN, or by an authentication: %q", read())
		}
	}
	if list, err := e.secrets("nvme-discoverd-fedcba9876543210.service", "nvme3"); list != nil || err != nil {
		t.Errorf("of a unit without: %v, %v", list, err)
	}
}

// A connection that is told a key which only the service can read is not taken for one of those that the kernel gives a key.
func TestTLSUnsure(t *testing.T) {
	d := newDesk(t)
	d.write("etc/nvme/hostnqn", tlsHost+"\n")
	d.write("etc/nvme/discoverd.conf", "[[subsystem]]\nnqn = \"nqn.2024-01.a\"\ntls = true\ntls-key-credential = \"k\"\ncontroller = [{ transport = \"tcp\", traddr = \"192.0.2.1\" }]\n")
	d.write("etc/credstore.encrypted/nvme.k", "sealed")
	d.keys = func(string) ([]keyring.Key, error) {
		return []keyring.Key{{Serial: 12, Identity: "NVMe1R02 " + tlsHost + " nqn.2024-01.a ZGlnZXN0"}}, nil
	}
	if out := d.run("tls", "list"); strings.Contains(out, "192.0.2.1") {
		t.Errorf("got\n%s", out)
	}
}
