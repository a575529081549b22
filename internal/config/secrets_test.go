// SPDX-License-Identifier: GPL-3.0-or-later

package config

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nvme-discoverd/nvme-discoverd/internal/credential"
	"github.com/nvme-discoverd/nvme-discoverd/internal/paths"
	"github.com/nvme-discoverd/nvme-discoverd/internal/secret"
)

// Secrets as good as any.
const (
	secretA = "DHHC-1:00:YWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWF3F7HK:"
	secretB = "DHHC-1:01:YmJiYmJiYmJiYmJiYmJiYmJiYmJiYmJiYmJiYmJiYmLUSf1H:"
	tlsKeyA = "NVMeTLSkey-1:01:VRLbtnN9AQb2WXW3c9+wEf/DRLz0QuLdbYvEhwtdWwNf9LrZ:"
)

// hide makes files that only their owner can read.
func hide(t *testing.T, root paths.Root, files map[string]string) {
	t.Helper()
	for name, text := range files {
		if err := os.MkdirAll(filepath.Dir(root.Join(name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(root.Join(name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// connectionSecrets lists what each connection authenticates and encrypts with, and what is found from there.
func connectionSecrets(root paths.Root, c Config) []string {
	name := func(ref secret.Ref) string {
		if ref == "" {
			return "nothing"
		}
		return strings.ReplaceAll(c.Secrets[ref].String(), string(root), "")
	}
	var lines []string
	for _, c := range c.Connections {
		lines = append(lines, fmt.Sprintf("%s %s; below: %s", c.Wish.TID.Traddr, name(c.Wish.Secrets), name(c.Discovered.Secrets)))
	}
	return append(lines, "found: "+name(c.Discovered.Secrets))
}

// TestSecretLevels: a controller's secrets go before those of its endpoint and these before those of the host, each kind
// by itself; what a discovery controller names gets the host's alone; another file has its own.
func TestSecretLevels(t *testing.T) {
	root := write(t, host(map[string]string{dropIn + "blue.conf": `
[host]
hostnqn = "` + blueNQN + `"
[[subsystem]]
nqn = "nqn.2024-01.a"
controller = [{ transport = "tcp", traddr = "192.0.2.5" }]
`}))
	hide(t, root, map[string]string{
		mainFile: `
[host]
dhchap-secret-file = "/etc/nvme/keys/host"
tls-key = "` + tlsKeyA + `"
[[discovery-controller]]
dhchap-ctrl-secret = "` + secretB + `"
controller = [{ transport = "tcp", traddr = "192.0.2.1" }]
[[subsystem]]
nqn = "nqn.2024-01.a"
dhchap-secret = "` + secretB + `"
tls-key = ""
controller = [
  { transport = "tcp", traddr = "192.0.2.2" },
  { transport = "tcp", traddr = "192.0.2.3", dhchap-secret = "` + secretA + `", dhchap-ctrl-secret-file = "/etc/nvme/keys/ctrl" },
  { transport = "tcp", traddr = "192.0.2.4", dhchap-secret = "" },
]
`,
		fabricsFile: `
[Host]
dhchap-secret = ` + secretB + `
[Subsystem]
nqn = nqn.2024-01.a
controller = transport=tcp;traddr=192.0.2.6;tls=true;tls-key-file=/etc/nvme/keys/tls
`,
		"etc/nvme/keys/host": secretA + "\n",
		"etc/nvme/keys/ctrl": secretB,
		"etc/nvme/keys/tls":  tlsKeyA + "\n",
	})
	got := must(loadRoot(t, root))
	const file = "/etc/nvme/discoverd.conf"
	diff(t, "secrets", []string{
		"192.0.2.1 dhchap-secret from /etc/nvme/keys/host, dhchap-ctrl-secret from " + file + ":6, tls-key from " + file + ":4; below: dhchap-secret from /etc/nvme/keys/host, tls-key from " + file + ":4",
		"192.0.2.2 dhchap-secret from " + file + ":10; below: nothing",
		"192.0.2.3 dhchap-secret from " + file + ":14, dhchap-ctrl-secret from /etc/nvme/keys/ctrl; below: nothing",
		"192.0.2.4 nothing; below: nothing",
		"192.0.2.5 nothing; below: nothing",
		"192.0.2.6 dhchap-secret from /etc/nvme/nvme-fabrics.conf:3, tls-key from /etc/nvme/keys/tls; below: nothing",
		"found: dhchap-secret from /etc/nvme/keys/host, tls-key from " + file + ":4",
	}, connectionSecrets(root, got))
	diff(t, "host", got.Discovered.Secrets, got.HostSecrets[testNQN])
	diff(t, "warnings", []string(nil), got.Warnings)
	diff(t, "value", secretA, got.Secrets[got.Discovered.Secrets][secret.DHChap].Value.Reveal())
	for _, s := range []string{fmt.Sprintf("%v %+v %#v", got, got, got), fmt.Sprintf("%+v", explained(t, root))} {
		for _, hidden := range []string{"DHHC-1", "NVMeTLSkey", "YWFh", "VRLbt"} {
			if strings.Contains(s, hidden) {
				t.Errorf("%s is printed", hidden)
			}
		}
	}
}

func explained(t *testing.T, root paths.Root) Explanation {
	t.Helper()
	e, err := Explain(root, "")
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestSecretErrors(t *testing.T) {
	const endpoint = "[[subsystem]]\nnqn = \"nqn.2024-01.a\"\ncontroller = [{ transport = \"tcp\", traddr = \"192.0.2.1\" }]\n"
	const open = "lets others than its owner at the secret: chmod 600 it, or set allow-readable-secrets in [global]"
	for _, test := range []struct {
		name, text, want string
		mode             fs.FileMode
	}{
		{"elsewhere", "[io-controller-defaults]\ndhchap-secret = \"x\"\n[global]\ntls-key-file = \"/x\"\n", `2:1: cannot use dhchap-secret in [io-controller-defaults]: it belongs in [host], an endpoint or a controller table
4:1: cannot use tls-key-file in [global]: it belongs in [host], an endpoint or a controller table`, 0o600},
		{"under both names", "[host]\ndhchap-secret = \"" + secretA + "\"\nkxchap-secret = \"" + secretA + "\"\n", `3:1: cannot set dhchap-secret and kxchap-secret in [host]: leave one of them out`, 0o600},
		{"a key and an identity", strings.Replace(endpoint, "controller", "tls = true\ntls-key = \""+tlsKeyA+"\"\ntls-key-identity = \"x\"\ncontroller", 1), `5:1: cannot set tls-key and tls-key-identity in [[subsystem]]: leave one of them out`, 0o600},
		{"damaged", "[host]\ndhchap-secret = \"DHHC-1:00:hunter2:\"\n", `2:1: cannot use dhchap-secret: it is damaged: what is between the last two colons is not base64`, 0o600},
		{"the other kind", "[host]\ntls-key = \"" + secretA + "\"\n", `2:1: cannot use tls-key: it does not begin with NVMeTLSkey-1:`, 0o600},
		{"number", "[host]\ntls-key = 1.5\n", `2:1: cannot set tls-key to a number with a fraction: it must be a string, an integer or a truth value`, 0o600},
		{"twice", "[host]\ndhchap-secret = \"" + secretA + "\"\ndhchap-secret-file = \"/etc/nvme/keys/good\"\n", `3:1: cannot set dhchap-secret and dhchap-secret-file in [host]: leave one of them out`, 0o600},
		{"inline and readable", "[host]\ndhchap-secret = \"" + secretA + "\"\n", `2:1: cannot use dhchap-secret: this file: its mode 0644 ` + open, 0o644},
		{"relative", "[host]\ndhchap-secret-file = \"" + secretA + "\"\n", `2:1: cannot use dhchap-secret-file: it must be the absolute path of a file`, 0o600},
		{"missing", "[host]\ndhchap-secret-file = \"/etc/nvme/keys/none\"\n", `2:1: cannot use dhchap-secret-file: /etc/nvme/keys/none: no such file or directory`, 0o644},
		{"readable file", "[host]\ndhchap-secret-file = \"/etc/nvme/keys/open\"\n", `2:1: cannot use dhchap-secret-file: /etc/nvme/keys/open: its mode 0644 ` + open, 0o644},
		{"directory", "[host]\ndhchap-secret-file = \"/etc/nvme\"\n", `2:1: cannot use dhchap-secret-file: /etc/nvme: it is not a regular file`, 0o644},
		{"credential that is not there", "[host]\ndhchap-secret-credential = \"array9\"\n", `2:1: cannot use dhchap-secret-credential: credential nvme.array9: there is no such credential: put it into /etc/credstore or, encrypted by systemd-creds encrypt --name=nvme.array9, into /etc/credstore.encrypted, then reload`, 0o644},
		{"credential that is damaged", "[host]\ndhchap-secret-credential = \"broken\"\n", `2:1: cannot use dhchap-secret-credential: credential nvme.broken: it is damaged: its checksum is wrong, so a part of it is`, 0o644},
		{"name of a credential in full", "[host]\ntls-key-credential = \"nvme.array1\"\n", `2:1: cannot use tls-key-credential: it must be the name of a credential without the nvme. that it begins with, such as array1 for nvme.array1`, 0o644},
		{"secret for the name of a credential", "[host]\ndhchap-secret-credential = \"" + secretA + "\"\n", `2:1: cannot use dhchap-secret-credential: it must be the name of a credential without the nvme. that it begins with, such as array1 for nvme.array1, of letters, digits and . _ -`, 0o644},
		{"file and credential", "[host]\ndhchap-secret-file = \"/etc/nvme/keys/good\"\ndhchap-secret-credential = \"good\"\n", `3:1: cannot set dhchap-secret-file and dhchap-secret-credential in [host]: leave one of them out`, 0o644},
		{"credential without TLS", strings.Replace(endpoint, "controller", "tls-key-credential = \"key\"\ncontroller", 1), `3:1: cannot use tls-key-credential without TLS: add tls = true, or tls = false to connect in the clear`, 0o644},
		{"credential for nvme-cli", "[global]\nnvme-path = \"/usr/sbin/nvme\"\n[host]\ndhchap-secret-credential = \"good\"\n", `4:1: cannot use dhchap-secret-credential with nvme-path, which is set at /etc/nvme/discoverd.conf:2: nvme-cli takes secrets on its command line, where everybody can read them; leave one of the two out`, 0o644},
		{"controller alone", "[host]\ndhchap-ctrl-secret = \"" + secretA + "\"\n", `2:1: cannot use dhchap-ctrl-secret without dhchap-secret: a controller proves who it is to a host that does so too`, 0o600},
		{"host's taken away", "[host]\ndhchap-secret = \"" + secretA + "\"\ndhchap-ctrl-secret = \"" + secretA + "\"\n" + strings.Replace(endpoint, "controller", "dhchap-secret = \"\"\ncontroller", 1), `6:1: cannot use dhchap-ctrl-secret without dhchap-secret: a controller proves who it is to a host that does so too`, 0o600},
		{"nvme-cli", "[global]\nnvme-path = \"/usr/sbin/nvme\"\n[host]\ndhchap-secret-file = \"/etc/nvme/keys/good\"\n", `4:1: cannot use dhchap-secret-file with nvme-path, which is set at /etc/nvme/discoverd.conf:2: nvme-cli takes secrets on its command line, where everybody can read them; leave one of the two out`, 0o644},
	} {
		t.Run(test.name, func(t *testing.T) {
			root := write(t, host(map[string]string{mainFile: test.text, "etc/nvme/keys/open": secretA}))
			hide(t, root, map[string]string{
				"etc/nvme/keys/good": secretA, "etc/credstore/nvme.good": secretA, "etc/credstore/nvme.key": tlsKeyA,
				"etc/credstore/nvme.broken": strings.Replace(secretA, "YWFh", "YWFi", 1),
			})
			if err := os.Chmod(root.Join(mainFile), test.mode); err != nil {
				t.Fatal(err)
			}
			_, got := loadRoot(t, root)
			diff(t, "error", "/etc/nvme/discoverd.conf:"+strings.ReplaceAll(test.want, "\n", "\n/etc/nvme/discoverd.conf:"), got)
		})
	}
}

// TestCredentials: a credential holds what a file would, in both formats and under both names; what the service was given counts, and a
// command that was given none looks where systemd would, where it cannot read what is encrypted.
func TestCredentials(t *testing.T) {
	root := write(t, host(map[string]string{mainFile: `
[host]
dhchap-secret-credential = "array1"
[[subsystem]]
nqn = "nqn.2024-01.a"
kxchap-ctrl-secret-credential = "array1.ctrl"
controller = [{ transport = "tcp", traddr = "192.0.2.1" }]
`, fabricsFile: `
[Subsystem]
nqn = nqn.2024-01.b
tls = true
controller = transport=tcp;traddr=192.0.2.2;tls-key-credential=tls_1
`}))
	given := map[string]string{"nvme.array1": secretA + "\n", "nvme.array1.ctrl": secretB, "nvme.tls_1": tlsKeyA}
	loader := NewLoader(root, "")
	asked := map[string]int{}
	loader.Credentials = func(name string) ([]byte, error) {
		asked[name]++
		text, ok := given[name]
		if !ok {
			return nil, credential.ErrMissing
		}
		return []byte(text), nil
	}
	want := []string{
		"192.0.2.1 dhchap-secret from credential nvme.array1, dhchap-ctrl-secret from credential nvme.array1.ctrl; below: nothing",
		"192.0.2.2 tls-key from credential nvme.tls_1; below: nothing",
		"found: dhchap-secret from credential nvme.array1",
	}
	got, err := loader.Load()
	if err != nil {
		t.Fatal(err)
	}
	diff(t, "secrets", want, connectionSecrets(root, got))
	diff(t, "value", secretA, got.Secrets[got.Discovered.Secrets][secret.DHChap].Value.Reveal())
	diff(t, "asked", map[string]int{"nvme.array1": 1, "nvme.array1.ctrl": 1, "nvme.tls_1": 1}, asked)

	given["nvme.array1"] = secretB // re-encrypted
	if got, err = loader.Load(); err != nil {
		t.Fatal(err)
	}
	diff(t, "new value", secretB, got.Secrets[got.Discovered.Secrets][secret.DHChap].Value.Reveal())
	delete(given, "nvme.array1") // the last good one stays, and nothing is connected without
	got, err = loader.Load()
	diff(t, "error", "/etc/nvme/discoverd.conf:3:1: cannot use dhchap-secret-credential: credential nvme.array1: there is no such credential\n/etc/nvme/discoverd.conf:6:1: cannot use dhchap-ctrl-secret without dhchap-secret: a controller proves who it is to a host that does so too", strings.ReplaceAll(err.Error(), string(root), ""))
	diff(t, "last good value", secretB, got.Secrets[got.Discovered.Secrets][secret.DHChap].Value.Reveal())
	for _, c := range got.Connections {
		if got.Secrets[c.Wish.Secrets].Empty() {
			t.Errorf("%v has no secret", c.Wish.TID)
		}
	}
	got, _ = func() (Config, error) { l := NewLoader(root, ""); l.Credentials = loader.Credentials; return l.Load() }()
	diff(t, "of a service that starts without it", []string{"192.0.2.2"}, usable(got))

	hide(t, root, map[string]string{"etc/credstore.encrypted/nvme.array1": "Whxqht+dQJax1aZeCGLxm", "run/credstore/nvme.array1.ctrl": secretB, "run/credentials/nvme-discoverd.service/nvme.tls_1": tlsKeyA})
	diff(t, "secrets as a command sees them", want, connectionSecrets(root, must(loadRoot(t, root))))
}

// TestReadableSecrets: the switch allows both, in the main file and for all.
func TestReadableSecrets(t *testing.T) {
	got := must(loadRoot(t, write(t, host(map[string]string{
		mainFile:             "[global]\nallow-readable-secrets = true\n[host]\ndhchap-secret-file = \"/etc/nvme/keys/open\"\n",
		dropIn + "b.conf":    "[host]\nhostnqn = \"" + blueNQN + "\"\ndhchap-secret = \"" + secretB + "\"\n",
		"etc/nvme/keys/open": secretA,
	}))))
	diff(t, "secrets", 2, len(got.Secrets))
}

// TestUnusedTLSKey: a connection with a key and without TLS would be made in the clear; the host's key is for those that have
// TLS.
func TestUnusedTLSKey(t *testing.T) {
	root := write(t, host(map[string]string{mainFile: `
[host]
tls-key-file = "/etc/nvme/keys/tls"
[[subsystem]]
nqn = "nqn.2024-01.a"
controller = [
  { transport = "tcp", traddr = "192.0.2.1" },
  { transport = "tcp", traddr = "192.0.2.2", tls-key-file = "/etc/nvme/keys/tls" },
  { transport = "tcp", traddr = "192.0.2.3", tls-key-file = "/etc/nvme/keys/tls", tls = true },
  { transport = "tcp", traddr = "192.0.2.4", tls-key-file = "/etc/nvme/keys/tls", tls = false },
  { transport = "tcp", traddr = "192.0.2.5", keyring = ".nvme" },
]
`}))
	hide(t, root, map[string]string{"etc/nvme/keys/tls": tlsKeyA})
	got, err := loadRoot(t, root)
	diff(t, "error", `/etc/nvme/discoverd.conf:8:46: cannot use tls-key-file without TLS: add tls = true, or tls = false to connect in the clear
/etc/nvme/discoverd.conf:11:46: cannot use keyring without TLS: add tls = true, or tls = false to connect in the clear`, err)
	diff(t, "connected", []string{"192.0.2.1", "192.0.2.3", "192.0.2.4"}, usable(got))
	diff(t, "warnings", []string(nil), got.Warnings)
}

// TestSecretsInMessages: no slip has a message show a secret.
func TestSecretsInMessages(t *testing.T) {
	const padded = "DHHC-1:00:c3VwZXItc2VjcmV0LXN1cGVyLXNlY3JldC1zdXBlci1zZWNyZXQ=:"
	for _, secret := range []string{padded, padded[len("DHHC-1:00:"):]} {
		for name, text := range map[string]string{
			"no equals sign":          "[Host]\ndhchap-secret " + secret + "\n",
			"a colon":                 "[Host]\ndhchap-secret: " + secret + "\n",
			"alone":                   "[Host]\n" + secret + "\n",
			"as a section":            "[" + secret + "]\ntos = 1\n",
			"in a controller line":    "[Subsystem]\nnqn = nqn.2024-01.a\ncontroller = transport=tcp;traddr=192.0.2.1;" + secret + "\n",
			"a colon in a controller": "[Subsystem]\nnqn = nqn.2024-01.a\ncontroller = transport=tcp;traddr=192.0.2.1;dhchap-secret:" + secret + "\n",
		} {
			for file, text := range map[string]string{fabricsFile: text, mainFile: strings.NewReplacer("[Host]", "[host]", "[Subsystem]", "[[subsystem]]").Replace(text)} {
				got, err := loadRoot(t, write(t, host(map[string]string{file: text})))
				if all := err + strings.Join(got.Warnings, "\n"); strings.Contains(all, "c3VwZXIt") || all == "" {
					t.Errorf("%s in %s: %s", name, file, all)
				}
			}
		}
	}
}

// TestHiddenSecretFile: a file that the service does not see is told where config check can read it.
func TestHiddenSecretFile(t *testing.T) {
	root := write(t, host(map[string]string{mainFile: "[host]\ndhchap-secret-file = \"/home/ann/key\"\n"}))
	hide(t, root, map[string]string{"home/ann/key": secretA})
	got, err := loadRoot(t, root)
	diff(t, "error", "", err)
	diff(t, "warnings", []string{"/etc/nvme/discoverd.conf:2:1: /home/ann/key: as installed, the service does not see what is below /home: keep the file in a directory such as /etc/nvme"}, got.Warnings)
}

// TestExplainSecrets: what config show prints.
func TestExplainSecrets(t *testing.T) {
	root := write(t, host(map[string]string{mainFile: "[host]\ndhchap-secret-file = \"/etc/nvme/keys/host\"\n"}))
	hide(t, root, map[string]string{"etc/nvme/keys/host": secretA})
	found := explained(t, root).Found
	want := Value{"dhchap-secret", "(secret)", "/etc/nvme/keys/host"}
	for _, values := range [][]Value{found.Discovery, found.IO} {
		if last := values[len(values)-1]; last != want {
			t.Errorf("%v, want %v", last, want)
		}
	}
}
