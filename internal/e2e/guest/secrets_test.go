// SPDX-License-Identifier: GPL-3.0-or-later

//go:build e2e

package guest_test

import (
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/nvme-discoverd/nvme-discoverd/internal/e2e/guest"
	"github.com/nvme-discoverd/nvme-discoverd/internal/keyring"
	"github.com/nvme-discoverd/nvme-discoverd/internal/psk"
	"github.com/nvme-discoverd/nvme-discoverd/internal/secret"
)

// Where scenarios keep secrets, and where the service gives them to its units.
const (
	hostSecret  = "/etc/nvme/keys/host"
	ctrlSecret  = "/etc/nvme/keys/ctrl"
	tlsKey      = "/etc/nvme/keys/tls"
	unitSecrets = "/run/nvme/discoverd/secrets"
)

// waitSecret waits until an NQN is connected with a secret, as sysfs shows it.
func waitSecret(t *testing.T, nqn, attribute, want string) {
	t.Helper()
	guest.Eventually(t, connectTimeout, nqn+" connected with "+attribute, func() (bool, string) {
		live := guest.Live(nqn)
		if len(live) != 1 {
			return false, "not connected"
		}
		got := guest.ControllerAttribute(live[0], attribute)
		return got == want, got
	})
}

// This host authenticates to a subsystem with its own secret, given by file for all that it discovers, and another persona
// to another subsystem with that endpoint's, both ways. What systemctl status shows of a unit can be run by hand. A unit's
// secrets go with it.
func TestAuthentication(t *testing.T) {
	f := guest.Scene(t, 2)
	one, both := f.Subsystems[0], f.Subsystems[1]
	mine, sales, target := guest.DHChapSecret('a'), guest.DHChapSecret('b'), guest.DHChapSecret('c')
	one.AllowOnly(guest.HostNQN)
	f.Target.Authenticate(guest.HostNQN, mine, "")
	both.AllowOnly(salesNQN)
	f.Target.Authenticate(salesNQN, sales, target)
	guest.PutSecret(t, hostSecret, mine+"\n")
	guest.PutSecret(t, ctrlSecret, target+"\n")
	guest.Configure(t, fmt.Sprintf("[host]\ndhchap-secret-file = %q\n", hostSecret)+discoveryConfig(f.Port))
	guest.PutSecret(t, dropIn("sales.conf"), hostConfig(salesNQN, salesID)+
		subsystemConfig(f.Port, both.NQN, fmt.Sprintf("dhchap-secret = %q\ndhchap-ctrl-secret-file = %q\n", sales, ctrlSecret)))
	guest.Start(t)
	guest.WaitLive(t, connectTimeout, guest.DiscoveryNQN, one.NQN, both.NQN)
	waitSecret(t, one.NQN, "dhchap_secret", mine)
	waitSecret(t, both.NQN, "dhchap_secret", sales)
	waitSecret(t, both.NQN, "dhchap_ctrl_secret", target)

	unit := f.Unit(one.NQN)
	f.WaitUnit(unit, "active")
	argv := guest.Argv(t, unit, "ExecStart")
	if got, _ := guest.Option(argv, "secrets-file"); got != filepath.Join(unitSecrets, unit) {
		t.Errorf("secrets-file in the command of the unit: %q", got)
	}
	guest.Run(t, argv[0], argv[1:]...)
	guest.Run(t, "systemctl", "restart", unit)
	waitSecret(t, one.NQN, "dhchap_secret", mine)
	guest.Run(t, "systemctl", "stop", unit)
	guest.Eventually(t, connectTimeout, "the unit's secrets are gone", func() (bool, string) {
		left, _ := filepath.Glob(unitSecrets + "/*")
		return len(left) == 2, strings.Join(left, " ")
	})
}

// A wrong secret is told by its place. The right one, put there before a reload, connects. One that the target and the file
// change together later does not touch the connection and is used at the next one, also by systemctl restart. A file that
// others may read is refused, as is nvme-cli as the one to connect, and the connection goes on with the last good secret.
func TestSecretsChange(t *testing.T) {
	f := guest.Scene(t, 1)
	nqn := f.Subsystems[0].NQN
	right, next, wrong, shown := guest.DHChapSecret('a'), guest.DHChapSecret('b'), guest.DHChapSecret('c'), guest.DHChapSecret('d')
	f.Subsystems[0].AllowOnly(guest.HostNQN)
	f.Target.Authenticate(guest.HostNQN, right, "")
	config := subsystemConfig(f.Port, nqn, fmt.Sprintf("dhchap-secret-file = %q\n", hostSecret))
	guest.Configure(t, config)
	guest.PutSecret(t, hostSecret, wrong+"\n")
	guest.Start(t)
	// The kernel's target closes the connection behind its refusal. On a slow machine this host then never reads why, and finds
	// out after a minute that there is no answer.
	rejected := regexp.MustCompile("(the target rejected|or did not take) the dhchap-secret from " + hostSecret)
	guest.Eventually(t, connectTimeout, "the rejected secret is told by its place in the status", func() (bool, string) {
		status := guest.Ctl(t, "status")
		return rejected.MatchString(status), status
	})
	if journal := f.Journal(); !rejected.MatchString(journal) {
		t.Errorf("the journal does not tell it:\n%s", journal)
	}

	guest.PutSecret(t, hostSecret, right+"\n")
	guest.Reload(t)
	waitSecret(t, nqn, "dhchap_secret", right)
	f.WaitUnit(f.Unit(nqn), "active")
	devices := guest.Devices()
	f.Target.Authenticate(guest.HostNQN, next, "")
	guest.PutSecret(t, hostSecret, next+"\n")
	guest.Reload(t)
	guest.Always(t, quietSpan, "the connection is not touched", unchanged(devices))
	guest.Delete(t, devices[nqn])
	waitSecret(t, nqn, "dhchap_secret", next)
	f.WaitUnit(f.Unit(nqn), "active")

	f.Target.Authenticate(guest.HostNQN, right, "")
	guest.PutSecret(t, hostSecret, right+"\n")
	guest.Reload(t)
	guest.Run(t, "systemctl", "restart", f.Unit(nqn))
	waitSecret(t, nqn, "dhchap_secret", right)

	guest.PutSecret(t, hostSecret, shown+"\n")
	if err := os.Chmod(hostSecret, 0o644); err != nil {
		t.Fatal(err)
	}
	out := guest.TryCtl(t, "reload")
	want := "/etc/nvme/discoverd.conf:3:1: cannot use dhchap-secret-file: " + hostSecret + ": its mode 0644 lets others than its owner at the secret: chmod 600 it"
	if out.Status == 0 || !strings.Contains(out.Stderr, want) {
		t.Errorf("reload with a file that everybody can read: %+v, want %q", out, want)
	}
	// Nor may nvme-cli get a secret, on whose command line everybody could read it.
	guest.Configure(t, "[global]\nnvme-path = \"/usr/sbin/nvme\"\n"+config)
	want = "/etc/nvme/discoverd.conf:5:1: cannot use dhchap-secret-file with nvme-path, which is set at /etc/nvme/discoverd.conf:2: " +
		"nvme-cli takes secrets on its command line, where everybody can read them; leave one of the two out"
	for _, command := range [][]string{{"config", "check"}, {"reload"}} {
		if out := guest.TryCtl(t, command...); out.Status == 0 || !strings.Contains(out.Stderr, want) {
			t.Errorf("%v with secrets for nvme-cli: %+v, want %q", command, out, want)
		}
	}
	devices = guest.Devices()
	guest.Delete(t, devices[nqn])
	waitSecret(t, nqn, "dhchap_secret", right)
	hidden(t, "the journal", f.Journal(), right, next, wrong, shown)
}

// seal keeps a secret as an encrypted credential for the service, under the name that the service knows it by if name is that.
func seal(t *testing.T, credential, name, text string) {
	t.Helper()
	file := "/etc/credstore.encrypted/" + credential
	guest.PutSecret(t, "/run/e2e/plain", text+"\n")
	defer guest.Remove(t, "/run/e2e/plain")
	guest.Run(t, "mkdir", "-p", "-m", "0700", filepath.Dir(file))
	guest.Run(t, "systemd-creds", "encrypt", "--with-key=host", "--name="+name, "/run/e2e/plain", file)
	t.Cleanup(func() { os.Remove(file) })
}

// A secret that is kept as an encrypted credential authenticates this host. Re-encrypted and reloaded, it touches no connection, explain
// says that it waits for the next connect, and that uses it. One that cannot be decrypted is told, and the last good one goes on; one
// that is not there when the service starts is told too, and what wants it is not connected, though a target would have it without.
func TestCredentials(t *testing.T) {
	f := guest.Scene(t, 2)
	nqn, open := f.Subsystems[0].NQN, f.Subsystems[1].NQN
	right, next, wrong := guest.DHChapSecret('a'), guest.DHChapSecret('b'), guest.DHChapSecret('c')
	f.Subsystems[0].AllowOnly(guest.HostNQN)
	f.Target.Authenticate(guest.HostNQN, right, "")
	seal(t, "nvme.array1", "nvme.array1", right)
	guest.Run(t, "systemctl", "daemon-reload") // lists it for a systemd that cannot import it
	config := subsystemConfig(f.Port, nqn, "dhchap-secret-credential = \"array1\"\n")
	guest.Configure(t, config)
	guest.Start(t)
	waitSecret(t, nqn, "dhchap_secret", right)
	f.WaitUnit(f.Unit(nqn), "active")
	if out := guest.Ctl(t, "config", "check"); strings.Contains(out, "cannot") {
		t.Errorf("config check: %s", out)
	}
	const from = "dhchap-secret from credential nvme.array1"
	if out := guest.Ctl(t, "explain", nqn); !strings.Contains(out, from) || strings.Contains(out, "next connect") {
		t.Errorf("explain does not tell of the secret in use:\n%s", out)
	}

	devices := guest.Devices()
	f.Target.Authenticate(guest.HostNQN, next, "")
	seal(t, "nvme.array1", "nvme.array1", next)
	guest.Reload(t)
	guest.Always(t, quietSpan, "the connection is not touched", unchanged(devices))
	if out := strings.Join(strings.Fields(guest.Ctl(t, "explain", nqn)), " "); !strings.Contains(out, from+": it has changed since this connection was made, and is used at the next connect") {
		t.Errorf("explain does not tell of the secret to come:\n%s", out)
	}
	guest.Delete(t, devices[nqn])
	waitSecret(t, nqn, "dhchap_secret", next)
	f.WaitUnit(f.Unit(nqn), "active")

	seal(t, "nvme.array1", "nvme.another", wrong) // systemd decrypts it under no other name than it was encrypted under
	out := guest.TryCtl(t, "reload")
	if want := "cannot use dhchap-secret-credential: credential nvme.array1: systemd cannot read or decrypt it"; out.Status == 0 || !strings.Contains(out.Stderr, want) {
		t.Errorf("reload with a credential that cannot be decrypted: %+v, want %q", out, want)
	}
	guest.Delete(t, guest.Devices()[nqn])
	waitSecret(t, nqn, "dhchap_secret", next)
	left, _ := filepath.Glob("/run/nvme/discoverd/credentials/*")
	if len(left) > 0 {
		t.Errorf("credentials that stay: %v", left)
	}
	// systemd may start no service with it: then it tries again, until the credential is right.
	t.Logf("restart with it: %+v", guest.Try(t, "systemctl", "restart", guest.Service))
	seal(t, "nvme.array1", "nvme.array1", next)
	f.WaitUnit(guest.Service, "active")
	guest.Eventually(t, connectTimeout, "the service knows the connection", func() (bool, string) {
		out := guest.TryCtl(t, "explain", nqn)
		return out.Status == 0 && strings.Contains(out.Stdout, from), out.Stdout + out.Stderr
	})
	guest.Stop(t)

	guest.Run(t, "rm", "/etc/credstore.encrypted/nvme.array1")
	guest.Run(t, "systemctl", "reset-failed")
	guest.Run(t, "systemctl", "daemon-reload")
	guest.Configure(t, config+subsystemConfig(f.Port, open, "dhchap-secret-credential = \"array1\"\n"))
	guest.Delete(t, guest.Devices()[nqn])
	guest.Start(t)
	missing := "credential nvme.array1: there is no such credential: put it into /etc/credstore or, encrypted by systemd-creds encrypt --name=nvme.array1"
	guest.Eventually(t, connectTimeout, "the status tells of the credential that is not there", func() (bool, string) {
		status := strings.Join(strings.Fields(guest.Ctl(t, "status", "--json")), " ")
		return strings.Contains(status, missing), status
	})
	guest.Always(t, quietSpan, "nothing is connected without its secret", func() (bool, string) {
		live := append(guest.Live(nqn), guest.Live(open)...)
		return len(live) == 0, strings.Join(live, " ")
	})
	hidden(t, "the journal", guest.Run(t, "journalctl", "--no-pager", "--output=export", "--boot"), right, next, wrong)
}

// Whatever systemd runs, the service is given an encrypted credential when it starts, and a reload reads it anew: the command of the unit gets
// the secret. It does not matter here whether this kernel can authenticate. One that cannot be decrypted is told.
//
//e2e:everywhere
func TestCredentialsAreGiven(t *testing.T) {
	f := guest.Scene(t, 1)
	nqn := f.Subsystems[0].NQN
	first, next := guest.DHChapSecret('a'), guest.DHChapSecret('b')
	seal(t, "nvme.array1", "nvme.array1", first)
	guest.Run(t, "systemctl", "daemon-reload") // lists it for a systemd that cannot import it
	guest.Configure(t, "[global]\nreconnect-max-delay = \"1s\"\n"+subsystemConfig(f.Port, nqn, "dhchap-secret-credential = \"array1\"\n"))
	given := func(want string) {
		t.Helper()
		guest.Eventually(t, connectTimeout, "the unit is given the secret", func() (bool, string) {
			data, err := os.ReadFile(filepath.Join(unitSecrets, f.Unit(nqn)))
			return strings.Contains(string(data), want), fmt.Sprint(len(data), " bytes, ", err)
		})
	}
	guest.Start(t)
	given(first)
	seal(t, "nvme.array1", "nvme.array1", next)
	if out := guest.TryCtl(t, "reload"); out.Status != 0 {
		t.Errorf("reload: %+v", out)
	}
	given(next)
	seal(t, "nvme.array1", "nvme.another", first)
	if out := guest.TryCtl(t, "reload"); out.Status == 0 || !strings.Contains(out.Stderr, "credential nvme.array1: systemd cannot read or decrypt it") {
		t.Errorf("reload with a credential that cannot be decrypted: %+v", out)
	}
	given(next)
}

// A port that takes TLS only. The discovery controller is configured with TLS; the subsystem that it names gets it because
// the log page says so, and the key from the host. A subsystem on an open port does not. A changed key is used at the next
// connect.
func TestTLS(t *testing.T) {
	f := guest.Scene(t, 1)
	guest.StartTLS(t)
	secure, open := f.Target.Subsystem("nqn.2024-01.com.example:secure"), f.Subsystems[0]
	port := f.Target.PortTLS(8010)
	port.Link(secure)
	guest.PutSecret(t, tlsKey, guest.TLSKey('a')+"\n")
	guest.Configure(t, fmt.Sprintf("[host]\ntls-key-file = %q\n", tlsKey)+
		strings.Replace(discoveryConfig(port), "controller =", "tls = true\ncontroller =", 1)+subsystemConfig(f.Port, open.NQN, ""))
	guest.Start(t)
	guest.WaitLive(t, connectTimeout, guest.DiscoveryNQN, secure.NQN, open.NQN)
	serial := func(nqn string) string { return guest.ControllerAttribute(guest.Devices()[nqn], "tls_key") }
	first := serial(secure.NQN)
	if first == "" || serial(guest.DiscoveryNQN) == "" || serial(open.NQN) != "" {
		t.Errorf("keys: subsystem %q, discovery controller %q, the open one %q", first, serial(guest.DiscoveryNQN), serial(open.NQN))
	}
	if _, encrypted := guest.Option(guest.Argv(t, port.TID(secure.NQN).Unit(), "ExecStart"), "tls"); !encrypted {
		t.Error("the command of the subsystem's unit has no --tls")
	}
	guest.PutSecret(t, tlsKey, guest.TLSKey('b')+"\n")
	guest.Reload(t)
	guest.Delete(t, guest.Devices()[secure.NQN])
	guest.Eventually(t, connectTimeout, "connected with another key", func() (bool, string) {
		live := guest.Live(secure.NQN)
		return len(live) == 1 && serial(secure.NQN) != first, strings.Join(live, " ")
	})
}

// On a kernel with secure channel concatenation, a subsystem on a port that offers TLS and does not require it is connected with a
// key from the authentication, because the host has a secret; so is one that the configuration asks it for. A connection that is
// lost comes back with another key.
//
//e2e:only sid
//e2e:everywhere
func TestConcatenation(t *testing.T) {
	f := guest.Scene(t, 1)
	guest.StartTLS(t)
	t.Logf("options of this kernel: %s", guest.Run(t, "cat", "/dev/nvme-fabrics"))
	offered, asked := f.Target.Subsystem("nqn.2024-01.com.example:offered"), f.Subsystems[0]
	port := f.Target.PortOfferingTLS(8010)
	port.Link(offered)
	secret := guest.DHChapSecret('a')
	for _, s := range []*guest.Subsystem{offered, asked} {
		s.AllowOnly(guest.HostNQN)
	}
	f.Target.Authenticate(guest.HostNQN, secret, "")
	f.Target.Concatenate(guest.HostNQN)
	second := f.Target.PortOfferingTLS(8011)
	second.Link(asked)
	guest.PutSecret(t, hostSecret, secret+"\n")
	guest.Configure(t, fmt.Sprintf("[host]\ndhchap-secret-file = %q\n", hostSecret)+discoveryConfig(port)+subsystemConfig(second, asked.NQN, "concat = true\n"))
	guest.Start(t)
	guest.WaitLive(t, connectTimeout, guest.DiscoveryNQN, offered.NQN, asked.NQN)
	key := func(nqn string) string { return guest.ControllerAttribute(guest.Devices()[nqn], "tls_key") }
	for p, s := range map[*guest.Port]*guest.Subsystem{port: offered, second: asked} {
		if _, there := guest.Option(guest.Argv(t, p.TID(s.NQN).Unit(), "ExecStart"), "concat"); !there {
			t.Errorf("%s: the command has no --concat", s.NQN)
		}
		if key(s.NQN) == "" {
			t.Errorf("%s: connected without a TLS key", s.NQN)
		}
	}
	first := key(offered.NQN)
	guest.Delete(t, guest.Devices()[offered.NQN])
	guest.Eventually(t, connectTimeout, "connected with another key", func() (bool, string) {
		live := guest.Live(offered.NQN)
		return len(live) == 1 && key(offered.NQN) != first, strings.Join(live, " ")
	})
}

// fabricsConfig is nvme-cli's own configuration file.
const fabricsConfig = "/etc/nvme/nvme-fabrics.conf"

// controllerLine is what names a port in it, with more keys.
func controllerLine(p *guest.Port, more string) string {
	return fmt.Sprintf("controller = transport=%s;traddr=%s;trsvcid=%s%s\n", p.Transport, p.Traddr, p.Trsvcid, more)
}

// The service starts with an nvme-fabrics.conf that is no INI file: what discoverd.conf names is connected, and the status says
// what is wrong. Put right but for two slips, one in the name of a secret and one in that of an interface, the file has what it
// names connected, authenticated by nvme-cli's name of the secret, but for the two connections, which are not made without
// what the slips were to say, nor through the discovery controller that names them too. Without the slips they are made.
func TestFabricsConfigErrors(t *testing.T) {
	f := guest.Scene(t, 4)
	mine, secure, misspelt, pinned := f.Subsystems[0].NQN, f.Subsystems[1].NQN, f.Subsystems[2].NQN, f.Subsystems[3].NQN
	shared := guest.DHChapSecret('a')
	f.Subsystems[1].AllowOnly(guest.HostNQN)
	f.Target.Authenticate(guest.HostNQN, shared, "")
	guest.Replace(t, fabricsConfig, "this is no INI file\n")
	guest.Configure(t, subsystemConfig(f.Port, mine, ""))
	mark := f.Mark()
	guest.Start(t)
	guest.WaitLive(t, connectTimeout, mine)
	waitJournal(f, mark, fabricsConfig+":1:1: cannot parse this line: it must be a [section] or key = value")
	if status := guest.Ctl(t, "status"); !strings.Contains(status, "1 error in the configuration") {
		t.Errorf("the status does not tell of the file:\n%s", status)
	}
	devices := guest.Devices()

	text := func(misspeltKey, pinnedKey string) string {
		return "[Subsystem]\nnqn = " + secure + "\nkxchap-secret = " + shared + "\n" + controllerLine(f.Port, "") +
			"[Subsystem]\nnqn = " + misspelt + "\n" + misspeltKey + " = " + shared + "\n" + controllerLine(f.Port, "") +
			"[Subsystem]\nnqn = " + pinned + "\n" + controllerLine(f.Port, ";"+pinnedKey+"=lo")
	}
	guest.Configure(t, subsystemConfig(f.Port, mine, "")+discoveryConfig(f.Port))
	guest.PutSecret(t, fabricsConfig, text("kxchap-secert", "host_iface"))
	out := guest.TryCtl(t, "reload")
	for _, want := range []string{
		fabricsConfig + ":7:1: cannot use kxchap-secert in [Subsystem]: it is unknown, so nothing that it may hold for is connected: did you mean kxchap-secret?",
		"cannot use host_iface in a controller line: it is unknown, so this controller is not connected: did you mean host-iface?",
	} {
		if out.Status == 0 || !strings.Contains(out.Stderr, want) {
			t.Errorf("reload: %+v, want %q", out, want)
		}
		guest.Eventually(t, connectTimeout, "the status tells of the connection: "+want, func() (bool, string) {
			status := strings.Join(strings.Fields(guest.Ctl(t, "status", "--json")), " ")
			return strings.Contains(status, want), status
		})
	}
	waitSecret(t, secure, "dhchap_secret", shared)
	guest.WaitLive(t, connectTimeout, guest.DiscoveryNQN, mine, secure)
	guest.Always(t, quietSpan, "nothing is connected without what the file asks for", func() (bool, string) {
		live := append(guest.Live(misspelt), guest.Live(pinned)...)
		return len(live) == 0 && guest.Devices()[mine] == devices[mine], strings.Join(live, " ")
	})
	hidden(t, "the journal", f.Journal(), shared)

	guest.Configure(t, subsystemConfig(f.Port, mine, ""))
	guest.PutSecret(t, fabricsConfig, text("kxchap-secret", "host-iface"))
	guest.Reload(t)
	guest.WaitLive(t, connectTimeout, guest.DiscoveryNQN, mine, secure, misspelt, pinned)
	if got := guest.ControllerAttribute(guest.Devices()[pinned], "address"); !strings.Contains(got, "host_iface=lo") {
		t.Errorf("address of the one that is pinned: %q", got)
	}
	// No file at all is no error, and harms nothing.
	devices = guest.Devices()
	guest.Remove(t, fabricsConfig)
	guest.Reload(t)
	guest.Always(t, quietSpan, "the connections are not touched", unchanged(devices))
}

// A port that takes TLS only, and a key that somebody else has put into the kernel's keyring: nvme-fabrics.conf names the keyring
// and the identity of the key, and tls list shows it. One that the keyring does not have is told, and nothing is connected without it, though the
// target would have it.
func TestTLSKeyIdentity(t *testing.T) {
	f := guest.Scene(t, 1)
	guest.StartTLS(t)
	secure, open := f.Target.Subsystem("nqn.2024-01.com.example:secure"), f.Subsystems[0]
	port := f.Target.PortTLS(8010)
	port.Link(secure)
	guest.Run(t, "modprobe", "nvme-tcp") // which brings the keyring
	key, err := secret.Parse(secret.TLS, guest.TLSKey('i'))
	if err != nil {
		t.Fatal(err)
	}
	derived, err := psk.Derive(key, guest.HostNQN, secure.NQN)
	if err != nil {
		t.Fatal(err)
	}
	ring, err := keyring.Ring("", "")
	if err != nil {
		t.Fatal(err)
	}
	serial, err := keyring.Add(ring, derived)
	if err != nil {
		t.Fatal(err)
	}
	guest.Replace(t, fabricsConfig, "[Host]\nkeyring = .nvme\n[Subsystem]\nnqn = "+secure.NQN+"\ntls = true\ntls-key-identity = "+derived.Identity+"\n"+controllerLine(port, "")+
		"[Subsystem]\nnqn = "+open.NQN+"\n"+controllerLine(f.Port, ";tls=true;tls-key-identity=NVMe1R01 nobody's"))
	guest.Configure(t, "")
	guest.Start(t)
	guest.WaitLive(t, connectTimeout, secure.NQN)
	if got, want := guest.ControllerAttribute(guest.Devices()[secure.NQN], "tls_key"), fmt.Sprintf("%08x", serial); got != want {
		t.Errorf("tls_key in sysfs: %q, want %q", got, want)
	}
	listed := guest.Ctl(t, "tls", "list")
	for _, want := range []string{
		derived.Identity, fmt.Sprintf("serial  %08x, version 1, retained, HMAC SHA-256", serial), "host  " + guest.HostNQN, "subsystem  " + secure.NQN,
		"in use by  " + guest.Devices()[secure.NQN], "for  (tcp, " + port.Traddr + ", " + port.Trsvcid + ", " + secure.NQN + ")",
	} {
		if !strings.Contains(listed, want) {
			t.Errorf("tls list does not have %q:\n%s", want, listed)
		}
	}
	if out := asNobody(t, "nvme-discoverctl", "tls", "list"); out.Status == 0 || strings.Contains(out.Stdout, secure.NQN) {
		t.Errorf("tls list for a user without rights: %+v", out)
	}
	hidden(t, "tls list", listed+guest.Ctl(t, "tls", "list", "--json"), guest.TLSKey('i'))
	guest.Eventually(t, connectTimeout, "the status tells of the key that is not there", func() (bool, string) {
		status := guest.Ctl(t, "status", "--json")
		return strings.Contains(status, `there is no such key in the keyring .nvme`) && strings.Contains(status, "nobody's"), status
	})
	if live := guest.Live(open.NQN); len(live) > 0 {
		t.Errorf("%v is connected without its key", live)
	}
}

// stranger is a port of a target that has another key for this host: TLS 1.3 with it on port 8012 while /tmp/stranger is there.
const stranger = `
import os, socket, ssl
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.minimum_version = ssl.TLSVersion.TLSv1_3
context.set_psk_server_callback(lambda identity: b"x" * 32)
with socket.create_server(("127.0.0.1", 8012)) as port:
    port.settimeout(1)
    open("/tmp/stranger", "w").close()
    while os.path.exists("/tmp/stranger"):
        try:
            peer, _ = port.accept()
        except TimeoutError:
            continue
        try:
            with context.wrap_socket(peer, server_side=True):
                print("a handshake that was to fail")
        except OSError as e:
            print(e)
`

// A target that has another TLS key for this host: the key is told by its place, in the journal and the status.
func TestTLSWrongKey(t *testing.T) {
	f := guest.Scene(t, 0)
	guest.StartTLS(t)
	wait := guest.Background(t, "python3", "-c", stranger)
	t.Cleanup(func() {
		os.Remove("/tmp/stranger")
		wait()
	})
	guest.Eventually(t, connectTimeout, "the target listens", func() (bool, string) {
		_, err := os.Stat("/tmp/stranger")
		return err == nil, fmt.Sprint(err)
	})
	guest.PutSecret(t, tlsKey, guest.TLSKey('a')+"\n")
	port := &guest.Port{Transport: "tcp", Traddr: "127.0.0.1", Trsvcid: "8012"}
	guest.Configure(t, subsystemConfig(port, "nqn.2024-01.com.example:secure", fmt.Sprintf("tls = true\ntls-key-file = %q\n", tlsKey)))
	guest.Start(t)
	const refused = "the TLS handshake failed: the target may not have the tls-key from " + tlsKey
	guest.Eventually(t, connectTimeout, "the key is told by its place in the status", func() (bool, string) {
		status := guest.Ctl(t, "status")
		return strings.Contains(status, refused), status
	})
	journal := f.Journal()
	if !strings.Contains(journal, refused) {
		t.Errorf("the journal does not tell it:\n%s", journal)
	}
	hidden(t, "the journal", journal, guest.TLSKey('a'))
}

// hidden fails the scenario if a text shows one of the secrets, or half of one.
func hidden(t *testing.T, what, text string, secrets ...string) {
	t.Helper()
	for _, s := range secrets {
		form := strings.Split(s, ":")
		raw, err := base64.StdEncoding.DecodeString(form[2])
		if err != nil {
			t.Fatal(err)
		}
		for _, part := range []string{form[2][:20], string(raw[:len(raw)-4])} {
			if at := strings.Index(text, part); at >= 0 {
				t.Errorf("%s shows a secret: %q", what, text[max(0, at-200):min(len(text), at+40)])
			}
		}
	}
}

// spy looks, as a user without rights, wherever one could see a secret: command lines and environments, units, the bus,
// the service's own answers, and all files of places where programs leave things.
const spy = `
for i in $(seq $1); do ps -eo args -ww; cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ; done
for u in $(systemctl list-units --all --plain --no-legend 'nvme-discover*' | cut -d' ' -f1); do
	systemctl show $u; systemctl cat $u; systemctl status $u
	p=$(busctl call org.freedesktop.systemd1 /org/freedesktop/systemd1 org.freedesktop.systemd1.Manager GetUnit s $u | cut -d'"' -f2)
	busctl get-property org.freedesktop.systemd1 $p org.freedesktop.systemd1.Service ExecStart ExecStartEx Environment
	busctl call org.freedesktop.systemd1 $p org.freedesktop.DBus.Properties GetAll s ''
done
varlinkctl call /run/nvme/discoverd.socket org.nvmexpress.discoverd.GetStatus '{}'
varlinkctl --more call /run/nvme/discoverd.socket org.nvmexpress.discoverd.ListControllers '{}'
varlinkctl --more call /run/nvme/discoverd.socket org.nvmexpress.discoverd.ListDiscoveryLogs '{}'
varlinkctl --more call /run/nvme/discoverd.socket org.nvmexpress.discoverd.ListMetrics '{}'
timeout 5 varlinkctl --more call /run/nvme/discoverd.socket org.nvmexpress.discoverd.Monitor '{}'
nvme-discoverctl status; nvme-discoverctl status --json; nvme-discoverctl list --json; nvme-discoverctl config show
journalctl --no-pager; cat /proc/keys
find /run /etc /var/log /var/tmp /tmp /dev/shm -xdev -type f -readable -exec cat {} +
true
`

// While connections with secrets come and go, are retried with a wrong one and get new ones by reloads, from a file and a credential, a user
// without rights sees none, wherever he looks; nor do the journal, the bus and config show have any for root, nor a core dump of the
// service. The kernel's own attribute in sysfs is left to root.
func TestSecretsStayHidden(t *testing.T) {
	f := guest.Scene(t, 1)
	nqn := f.Subsystems[0].NQN
	secrets := []string{guest.DHChapSecret('a'), guest.DHChapSecret('b'), guest.TLSKey('c'), guest.DHChapSecret('d'), guest.DHChapSecret('e')}
	next, wrong := secrets[3], secrets[4]
	f.Subsystems[0].AllowOnly(guest.HostNQN)
	f.Target.Authenticate(guest.HostNQN, secrets[0], secrets[1])
	guest.PutSecret(t, tlsKey, secrets[2]+"\n")
	guest.PutSecret(t, "/etc/nvme/discoverd.conf", fmt.Sprintf("[global]\nlog-level = \"debug\"\nreconnect-max-delay = \"5s\"\n[host]\ndhchap-secret-credential = \"scan\"\ndhchap-ctrl-secret = %q\ntls-key-file = %q\n",
		secrets[1], tlsKey)+discoveryConfig(f.Port))
	guest.Run(t, "mkdir", "-p", "-m", "0700", "/etc/credstore")
	guest.PutSecret(t, "/etc/credstore/nvme.scan", secrets[0]+"\n")
	t.Cleanup(func() { os.Remove("/etc/credstore/nvme.scan") })
	guest.Run(t, "systemctl", "daemon-reload") // lists it for a systemd that cannot import it
	const bus = "/run/e2e/bus"
	stopBus := guest.Background(t, "sh", "-c", "timeout 40 busctl monitor --json=short org.freedesktop.systemd1 > "+bus+" || [ $? = 124 ]")
	stopSpy := guest.Background(t, "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "sh", "-c",
		"exec > /tmp/spy 2>&1\n"+strings.ReplaceAll(spy, "$1", "60"))
	t.Cleanup(func() { guest.Remove(t, "/tmp/spy") })
	guest.Start(t)
	for n := range 4 {
		right := []string{secrets[0], next}[n%2]
		waitSecret(t, nqn, "dhchap_secret", right)
		guest.PutSecret(t, "/etc/credstore/nvme.scan", []string{next, secrets[0]}[n%2]+"\n")
		f.Target.Authenticate(guest.HostNQN, []string{next, secrets[0]}[n%2], secrets[1])
		guest.Reload(t)
		guest.Delete(t, guest.Live(nqn)[0])
	}
	waitSecret(t, nqn, "dhchap_secret", secrets[0])
	guest.PutSecret(t, "/etc/credstore/nvme.scan", wrong+"\n")
	guest.Reload(t)
	guest.Delete(t, guest.Live(nqn)[0])
	guest.Eventually(t, connectTimeout, "the wrong secret is told", func() (bool, string) {
		status := guest.Ctl(t, "status", "--json")
		return strings.Contains(status, "dhchap-secret from credential nvme.scan"), status
	})
	guest.PutSecret(t, "/etc/credstore/nvme.scan", secrets[0]+"\n")
	guest.Reload(t)
	waitSecret(t, nqn, "dhchap_secret", secrets[0])
	f.WaitUnit(f.Unit(nqn), "active")
	stopSpy()
	quiet := asNobody(t, "sh", "-c", strings.ReplaceAll(spy, "$1", "1"))
	for what, text := range map[string]string{
		"what a user sees meanwhile": slurp(t, "/tmp/spy"),
		"what a user sees":           quiet.Stdout + quiet.Stderr,
	} {
		hidden(t, what, text, secrets...)
		if !strings.Contains(text, "--secrets-file="+filepath.Join(unitSecrets, f.Unit(nqn))) {
			t.Errorf("%s does not have the unit's command: it proves nothing", what)
		}
	}
	stopBus()
	shown := guest.Ctl(t, "config", "show") + guest.Ctl(t, "config", "show", "--json")
	if !strings.Contains(shown, "(secret)") || !strings.Contains(shown, tlsKey) {
		t.Errorf("config show does not tell where the secrets are:\n%s", shown)
	}
	for what, text := range map[string]string{
		"the bus": slurp(t, bus), "config show": shown,
		"the whole journal": guest.Run(t, "journalctl", "--no-pager", "--output=export", "--boot"),
	} {
		hidden(t, what, text, secrets...)
	}
	guest.Run(t, "udevadm", "settle", "--timeout=60")
	attribute := filepath.Join("/sys/class/nvme", guest.Live(nqn)[0], "dhchap_secret")
	guest.Eventually(t, connectTimeout, "the kernel's attribute is closed", func() (bool, string) {
		out := asNobody(t, "cat", attribute)
		return out.Status != 0 && out.Stdout == "", out.Stdout
	})
	for path, mode := range map[string]os.FileMode{
		unitSecrets: 0o700, filepath.Join(unitSecrets, f.Unit(nqn)): 0o600,
		attribute: 0o600, filepath.Join(filepath.Dir(attribute), "dhchap_ctrl_secret"): 0o600,
	} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != mode {
			t.Errorf("%s: %v, want mode %o", path, err, mode)
		}
	}

	guest.Replace(t, "/proc/sys/kernel/core_pattern", "/var/tmp/core.%p")
	guest.Override(t, "[Service]\nLimitCORE=infinity\nRestart=no\n")
	guest.Run(t, "systemctl", "restart", guest.Service)
	guest.Signal(t, "ABRT")
	f.WaitUnit(guest.Service, "failed")
	if cores, _ := filepath.Glob("/var/tmp/core.*"); len(cores) > 0 {
		t.Errorf("the service left a core dump: %v", cores)
	}
	hidden(t, "the journal of the abort", f.Journal(), secrets...)
}

// slurp reads a whole file.
func slurp(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}
