// SPDX-License-Identifier: GPL-3.0-or-later

package cli

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/nvme-discoverd/nvme-discoverd/internal/paths"
)

const configHost = "nqn.2014-08.org.nvmexpress:uuid:11111111-2222-4333-8444-555555555555"

// configTree makes a tree of files, with a host that has an identity.
func configTree(t *testing.T, files map[string]string) paths.Root {
	t.Helper()
	root := paths.Root(t.TempDir())
	write(t, root.HostNQN(), configHost+"\n")
	for name, text := range files {
		write(t, root.Join(name), text)
	}
	return root
}

// runConfig runs a command of config. The root is cut out of what it prints.
func runConfig(root paths.Root, args ...string) (status int, stdout, stderr string) {
	status, stdout, stderr = run(&fakeConnector{}, root, append([]string{"config"}, args...)...)
	return status, strings.ReplaceAll(stdout, string(root), ""), strings.ReplaceAll(stderr, string(root), "")
}

// importSteps returns a function that runs config import and compares what it says.
func importSteps(t *testing.T, root paths.Root) func(wantStatus int, stdout, stderr string, args ...string) {
	return func(wantStatus int, stdout, stderr string, args ...string) {
		t.Helper()
		status, out, errs := runConfig(root, append([]string{"import"}, args...)...)
		if status != wantStatus {
			t.Errorf("%q: status %d", args, status)
		}
		checkText(t, "stdout", stdout, out)
		checkText(t, "stderr", stderr, errs)
	}
}

func checkText(t *testing.T, what, want, got string) {
	t.Helper()
	if got != want {
		t.Errorf("%s:\n%s\nwant:\n%s", what, got, want)
	}
}

func TestConfigShow(t *testing.T) {
	root := configTree(t, map[string]string{
		"etc/nvme/discoverd.conf": `[global]
log-level = "debug"
nbft = "Off"
colour = "blue"
[[discovery-controller]]
controller = [{ transport = "tcp", traddr = "array.example.com", host-iface = "eth0" }]
`,
		"etc/nvme/discoverd.conf.d/red.conf": `[host]
hostnqn = "nqn.2014-08.org.example:red"
tls = true
[io-controller-defaults]
ctrl-loss-tmo = ""
[[discovery-controller]]
nqn = "nqn.2014-08.org.example:cdc"
keep-alive-tmo = 15
controller = [{ transport = "tcp", traddr = "192.0.2.10", trsvcid = 8010, tls = false }]
`,
		"etc/nvme/nvme-fabrics.conf": `[I/O Controller Defaults]
ctrl-loss-tmo = 30min
[Subsystem]
nqn = nqn.2014-08.org.example:vol
controller = transport=fc;traddr=nn-0x0000000000000001:pn-0x0000000000000002;host-traddr=nn-0x0000000000000003:pn-0x0000000000000004
`,
	})
	const warning = "warning: /etc/nvme/discoverd.conf:4:1: key colour in [global] is unknown and ignored\n"
	status, out, errs := runConfig(root, "show")
	if status != Done {
		t.Errorf("status %d", status)
	}
	checkText(t, "stderr", warning, errs)
	checkGolden(t, "config-show.txt", out)
	_, out, errs = runConfig(root, "show", "--json")
	checkText(t, "stderr", warning, errs)
	checkGolden(t, "config-show.json", out)

	_, out, errs = runConfig(configTree(t, nil), "show")
	checkText(t, "stderr", "", errs)
	checkGolden(t, "config-show-nothing.txt", out)

	write(t, root.DaemonConfig(), "[global]\nnbft = 3\n[[subsystem]]\nnqn = \"nqn.2024-01.a\"\ncontroller = [{ transport = \"loop\", colour = 1 }]\n")
	status, out, errs = runConfig(root, "show")
	for _, want := range []string{"\n  nbft                           true", "\nI/O controller, /etc/nvme/discoverd.conf:5, not connected because of an error\n", "\nI/O controller, /etc/nvme/nvme-fabrics.conf:5\n"} {
		if !strings.Contains(out, want) {
			t.Errorf("stdout: no %q in\n%s", want, out)
		}
	}
	const unknown = "/etc/nvme/discoverd.conf:5:37: cannot use colour in a controller table: it is unknown, so this controller is not connected"
	checkText(t, "stderr", "/etc/nvme/discoverd.conf:2:1: cannot set nbft to \"3\": it must be true or false\n"+unknown+"\n", errs)
	if status != Failed {
		t.Errorf("status %d", status)
	}
	if _, out, _ = runConfig(root, "show", "--json"); !strings.Contains(out, `"unusable": "`+unknown) {
		t.Errorf("JSON: %s", out)
	}
}

func TestConfigCheck(t *testing.T) {
	root := configTree(t, map[string]string{
		"etc/nvme/discoverd.conf":         "[global]\nzeroconf = true\n",
		"etc/nvme/nvme-fabrics.conf":      "[Subsystem]\nnqn = nqn.2024-01.a\ncontroller = transport=loop\n",
		"new.conf":                        "[host]\nqueue-sice = 16\n",
		"bad.conf":                        "[host]\ntos = 256\n[[subsystem]]\n",
		"odd.conf":                        "[global]\nnbtf = false\n[host]\ntsl = true\ntos = 300\n",
		"strange.conf":                    "[[discovery-controler]]\ncontroller = []\n[[discovery-controler]]\n[[discovery-controller]]\nport = 8009\ncontroller = [{ transport = \"loop\" }, { transport = \"loop\" }]\n",
		"vol.conf":                        "[host]\nhostnqn = \"red\"\n[[subsystem]]\nnqn = \"vol1\"\ncontroller = [{ transport = \"loop\" }]\n",
		"etc/nvme/discoverd.conf.d/a.txt": "[",
	})
	const form = "is not an NQN: it must begin as nqn.2024-01.com.example does, with nqn, a year and month, and a domain name in reverse\n"
	const strange = `warning: /strange.conf:1:1: section discovery-controler is unknown and ignored: did you mean discovery-controller?
warning: /strange.conf:3:1: section discovery-controler is unknown and ignored: did you mean discovery-controller?
warning: /strange.conf:5:1: key port in [[discovery-controller]] is unknown and ignored: did you mean trsvcid? It belongs in a controller table, controller = [{ transport = …, traddr = … }]
warning: /strange.conf:6:39: connection (loop, nqn.2014-08.org.nvmexpress.discovery) is configured already at /strange.conf:6: the first one counts, this one is ignored
`
	for _, test := range []struct {
		files          []string
		status         int
		stdout, stderr string
	}{
		{[]string{"strange.conf"}, Done, "The configuration is valid, but 2 sections, 1 key and 1 duplicate connection were ignored: 1 connection, 4 warnings.\n", strange},
		{[]string{"--strict", "strange.conf"}, Failed, "The configuration is valid, but 2 sections, 1 key and 1 duplicate connection were ignored: 1 connection, 4 warnings.\n", strange + "cannot accept the configuration: --strict allows no warnings\n"},
		{[]string{"vol.conf"}, Done, "The configuration is valid: 1 connection, 2 warnings.\n", "warning: /vol.conf:2:1: hostnqn \"red\" " + form + "warning: /vol.conf:4:1: nqn \"vol1\" " + strings.TrimSuffix(form, "\n") + "; the connection is tried all the same\n"},
		{[]string{"--strict", "etc/nvme/nvme-fabrics.conf"}, Done, "The configuration is valid: 1 connection, 0 warnings.\n", ""},
		{nil, Done, "The configuration is valid: 1 connection, 0 warnings.\n", ""},
		{[]string{"new.conf"}, Done, "The configuration is valid, but 1 key was ignored: 0 connections, 1 warning.\n", "warning: /new.conf:2:1: key queue-sice in [host] is unknown and ignored: did you mean queue-size?\n"},
		{[]string{"bad.conf", "etc/nvme/nvme-fabrics.conf"}, Failed, "", `warning: /bad.conf:3:1: [[subsystem]] has no controller: nothing of it is connected; add controller = [{ transport = …, traddr = … }]
/bad.conf:2:1: cannot set tos to "256": it must be a number from 0 to 255
/bad.conf:3:1: cannot connect a [[subsystem]] without its name: add nqn = "nqn.…"
`},
		{[]string{"odd.conf"}, Failed, "", `warning: /odd.conf:2:1: key nbtf in [global] is unknown and ignored: did you mean nbft?
/odd.conf:4:1: cannot use tsl in [host]: it is unknown, so nothing that it may hold for is connected: did you mean tls?
/odd.conf:5:1: cannot set tos to "300": it must be a number from 0 to 255
`},
		{[]string{"none.conf"}, Failed, "", "cannot read configuration file /none.conf: no such file or directory\n"},
	} {
		args := []string{"check"}
		for _, f := range test.files {
			if !strings.HasPrefix(f, "--") {
				f = root.Join(f)
			}
			args = append(args, f)
		}
		status, out, errs := runConfig(root, args...)
		if status != test.status {
			t.Errorf("%q: status %d", test.files, status)
		}
		checkText(t, "stdout", test.stdout, out)
		checkText(t, "stderr", test.stderr, errs)
	}
}

func TestConfigImport(t *testing.T) {
	root := configTree(t, map[string]string{
		"etc/nvme/discovery.conf": "-t tcp -a 192.0.2.10 -r file\n-t tcp -a 192.0.2.11 -q nqn.2024-01.red\n",
		"etc/stas/stafd.conf":     "[Service Discovery]\nzeroconf=disabled\n[Controllers]\ncontroller = transport=tcp;traddr=192.0.2.12\n",
	})
	const lost = "/etc/nvme/discovery.conf:1: raw is not imported: nothing in discoverd.conf is like it\n"
	const text = `# Imported by "nvme-discoverctl config import" from /etc/nvme/discovery.conf.
#
# Not imported:
#   /etc/nvme/discovery.conf:1: raw is not imported: nothing in discoverd.conf is like it

[[discovery-controller]]
controller = [
  { transport = "tcp", traddr = "192.0.2.10" },
]
`
	const red = `# Imported by "nvme-discoverctl config import" from /etc/nvme/discovery.conf.

[host]
hostnqn = "nqn.2024-01.red"

[[discovery-controller]]
controller = [
  { transport = "tcp", traddr = "192.0.2.11" },
]
`
	content := func(file string) string {
		data, err := os.ReadFile(file)
		if err != nil {
			return err.Error()
		}
		return strings.ReplaceAll(string(data), string(root), "")
	}
	step := importSteps(t, root)
	const dir = "/etc/nvme/discoverd.conf.d/"
	step(Done, "# "+dir+"imported-discovery.conf\n"+text+"\n# "+dir+"imported-discovery-2.conf\n"+red, lost, "--from", "discovery.conf", "--dry-run")
	if _, err := os.Stat(root.DaemonDropIns()); err == nil {
		t.Error("a dry run made a directory")
	}
	step(Failed, "", lost+"cannot write 2 drop-ins to "+root.Join("x")[len(root):]+": there is more than one host NQN, and each has a file of its own; leave --output out\n",
		"--from=discovery.conf", "--output="+root.Join("x"))
	step(Usage, "", "cannot use --output with --dry-run: it prints the drop-ins and writes nothing: see nvme-discoverctl config import --help\n", "--dry-run", "--output=x")
	step(Failed, "", "cannot import \"nvme.conf\": it must be discovery.conf, config.json, nvme-discoverd.conf, stafd.conf, stacd.conf, nvme-stas.conf, nvme-fabrics.conf or the path of a file\n", "--from=nvme.conf")
	step(Done, "wrote /stas.toml: 1 connection\n", "", "--from=stafd.conf", "--output="+root.Join("stas.toml"))
	step(Failed, "", "cannot write /stas.toml: it exists\n", "--from=stafd.conf", "--output="+root.Join("stas.toml"))

	step(Done, "wrote "+dir+"imported-discovery.conf: 1 connection\nwrote "+dir+"imported-discovery-2.conf: 1 connection\nApply it with: systemctl start nvme-discoverd\n", lost, "--from=discovery.conf")
	checkText(t, "written", text, content(root.Join(dir, "imported-discovery.conf")))
	checkText(t, "written", red, content(root.Join(dir, "imported-discovery-2.conf")))
	status, out, _ := runConfig(root, "check")
	checkText(t, "check", "The configuration is valid: 2 connections, 0 warnings.\n", out)
	if status != Done {
		t.Error("what was written does not load")
	}
	step(Failed, "", lost+"cannot write "+dir+"imported-discovery.conf: it exists; remove it first, or see with --dry-run what it would be\n")
	if _, err := os.Stat(root.Join(dir, "imported-stas.conf")); err == nil {
		t.Error("half of an import was written")
	}

	write(t, root.Join(dir, "own.conf"), "[host]\nhostnqn = \"nqn.2024-01.red\"\n")
	for _, name := range []string{"imported-discovery.conf", "imported-discovery-2.conf"} {
		if err := os.Remove(root.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	step(Failed, "", lost+`cannot import: the configuration would not be right, nothing is written:
`+dir+`imported-discovery-2.conf:4:1: cannot use hostnqn "nqn.2024-01.red" in two files: it is at `+dir+`own.conf:2 already; put what it connects into that file
`, "--from=discovery.conf")

	write(t, root.NVMeJSONConfig(), "hello")
	step(Failed, "", "cannot import /etc/nvme/config.json: line 1: it is no JSON: invalid character 'h' looking for beginning of value\n", "--from=config.json")

	status, out, errs := runConfig(configTree(t, map[string]string{"etc/stas/stafd.conf": "[Service Discovery]\n#zeroconf=enabled\n"}), "import")
	if status != Done || out != "" {
		t.Errorf("nothing to import: status %d, stdout %q", status, out)
	}
	checkText(t, "nothing to import", "/etc/stas/stafd.conf:1: zeroconf, which nvme-stas has on by default, is not imported: put zeroconf = true into [global] of discoverd.conf\nnothing to import: no file of another program names a controller, a setting or an exclusion\n", errs)
}

// TestConfigImportAll: exclusions, settings, secrets and what is refused each have a place of their own.
func TestConfigImportAll(t *testing.T) {
	const secret = "DHHC-1:00:ia6zGodOr4SEG0Zzaw398rpY0wqipUWj4jWjUh4HWUz6aQ2n:"
	root := configTree(t, map[string]string{
		"etc/nvme/discoverd.conf":      "# mine\n[global]\n#nbft = true\n",
		"etc/nvme/nvme-discoverd.conf": "[Global]\nnbft = false\ndc-giveup-hours = 48\n",
		"etc/nvme/nvme-stas.conf":      "[Discovery Controller]\nkxchap-secret = " + secret + "\ncontroller = transport=tcp;traddr=192.0.2.10\n",
		"etc/stas/stafd.conf":          "[Service Discovery]\nzeroconf=disabled\n[Controllers]\ncontroller = transport=tcp;traddr=192.0.2.12\nexclude = transport=tcp;traddr=192.0.2.66\ncontroller = transport=tcp;traddr=192.0.2.13;dhchap-secret=x\n",
	})
	const refused = "cannot import everything, these would not be as their files ask for and are left out:\n" +
		"/etc/stas/stafd.conf:6: controller is not imported: it has dhchap-secret, secrets are not copied, and it would be connected with less security; configure it with dhchap-secret-file or tls-key-file, see discoverd.conf(5)\n"
	step := importSteps(t, root)
	const dropIn = `# Imported by "nvme-discoverctl config import" from /etc/nvme/nvme-stas.conf.

[[discovery-controller]]
dhchap-secret = "%s"
controller = [
  { transport = "tcp", traddr = "192.0.2.10" },
]
`
	step(Failed, `# exclusion list imported-stas
[exclusions]
exclusion = transport=tcp;traddr=192.0.2.66

# /etc/nvme/discoverd.conf.d/imported-stas.conf
# Imported by "nvme-discoverctl config import" from /etc/stas/stafd.conf.
#
# Not imported:
#   /etc/stas/stafd.conf:6: controller is not imported: it has dhchap-secret, secrets are not copied, and it would be connected with less security; configure it with dhchap-secret-file or tls-key-file, see discoverd.conf(5)

[[discovery-controller]]
controller = [
  { transport = "tcp", traddr = "192.0.2.12" },
]
`, refused, "--from=stafd.conf", "--dry-run")
	step(Done, "# /etc/nvme/discoverd.conf.d/imported-nvme-stas.conf\n"+fmt.Sprintf(dropIn, "(secret)"), "", "--from=nvme-stas.conf", "--dry-run")
	step(Done, "# /etc/nvme/discoverd.conf, more in it:\n[global]\nnbft = false\ndiscovery-retention-time = \"48h\"\n", "", "--from=nvme-discoverd.conf", "--dry-run")
	step(Failed, "", "cannot write to "+root.Join("x")[len(root):]+" alone: exclusions and settings have files of their own; leave --output out\n"+refused, "--from=stafd.conf", "--output="+root.Join("x"))
	step(Failed, `excluded transport=tcp;traddr=192.0.2.66: /etc/nvme/exclusions/imported-stas.conf:5
added to /etc/nvme/discoverd.conf: nbft = false, discovery-retention-time = "48h"
wrote /etc/nvme/discoverd.conf.d/imported-stas.conf: 1 connection
wrote /etc/nvme/discoverd.conf.d/imported-nvme-stas.conf: 1 connection
Stop nvme-stas with: systemctl disable --now stafd stacd
Apply it with: systemctl start nvme-discoverd
`, refused)
	for file, want := range map[string]string{
		root.DaemonConfig(): "# mine\n[global]\nnbft = false\ndiscovery-retention-time = \"48h\"\n#nbft = true\n",
		root.Join("etc/nvme/discoverd.conf.d/imported-nvme-stas.conf"): fmt.Sprintf(dropIn, secret),
	} {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		checkText(t, file, want, strings.ReplaceAll(string(data), string(root), ""))
	}
	if info, err := os.Stat(root.Join("etc/nvme/discoverd.conf.d/imported-nvme-stas.conf")); err != nil || info.Mode() != 0o600 {
		t.Errorf("the drop-in with a secret: mode %v, %v", info.Mode(), err)
	}
	status, out, errs := runConfig(root, "check")
	checkText(t, "check", "The configuration is valid: 2 connections, 0 warnings.\n", out+errs)
	if status != Done {
		t.Error("what was written does not load")
	}
	step(Done, "", "nothing to import: no file of another program names a controller, a setting or an exclusion\n", "--from=nvme-discoverd.conf")
}
