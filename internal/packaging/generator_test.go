// SPDX-License-Identifier: GPL-3.0-or-later

package packaging

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// The generator adds to the units what the running systemd knows, and takes back what stands in for that.
func TestGenerator(t *testing.T) {
	const daemon, watch = "/nvme-discoverd.service.d/10-this-systemd.conf", "/nvme-fabrics-shutdown.service.d/10-this-systemd.conf"
	restarts := []string{"Type=notify-reload", "ExecReload=", "ExecStopPost=", "RestartSteps=5", "RestartMaxDelaySec=10s", "ImportCredential=nvme.*"}
	const tpm = "DeviceAllow=/dev/tpmrm0 rw"
	withTPM := slices.Concat(restarts, []string{tpm})
	stores := t.TempDir()
	for name, text := range map[string]string{
		"credstore/nvme.array1": "x", "credstore.encrypted/nvme.array1": "x", "credstore.encrypted/nvme.array2": "x", "credstore/other": "x", "credstore/nvme.a b": "x",
	} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(stores, name)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(stores, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	listed := []string{"LoadCredential=nvme.array1", "LoadCredentialEncrypted=nvme.array2", tpm}
	for _, test := range []struct {
		version       string
		daemon, watch []string // lines of the drop-ins, without the section
	}{
		{"252 (252.38-1~deb12u1)", listed, nil},
		{"253 (253)", listed, nil},
		{"253 (without credentials)", nil, nil},
		{"254.26 (254.26-1)", withTPM, nil},
		{"255 (255-1)", withTPM, []string{"SurviveFinalKillSignal=yes"}},
		{"257 (257.9-1~deb13u1)", slices.Concat(withTPM, []string{"InaccessiblePaths=", "PrivateTmp=disconnected"}), []string{"SurviveFinalKillSignal=yes"}},
		{"262~rc1 (262~rc1-1)", slices.Concat(restarts, []string{"InaccessiblePaths=", "PrivateTmp=disconnected"}), []string{"SurviveFinalKillSignal=yes"}},
	} {
		t.Run(test.version, func(t *testing.T) {
			programs, dir := t.TempDir(), t.TempDir()
			stub := fmt.Sprintf("#!/bin/sh\necho 'systemd %s'\necho '+PAM +AUDIT'\n", test.version)
			if err := os.WriteFile(filepath.Join(programs, "systemctl"), []byte(stub), 0o755); err != nil {
				t.Fatal(err)
			}
			cmd := exec.CommandContext(t.Context(), top+"/systemd/nvme-discoverd-generator", dir, dir+"/early", dir+"/late")
			cmd.Env = []string{"PATH=" + programs + ":" + os.Getenv("PATH"), "CREDENTIAL_STORES=" + stores + "/none " + stores + "/credstore " + stores + "/credstore.encrypted"}
			if strings.Contains(test.version, "without") {
				cmd.Env[1] = "CREDENTIAL_STORES=" + stores + "/none"
			}
			if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
				t.Fatalf("%v\n%s", err, out)
			}
			for _, file := range []struct {
				name, section string
				want          []string
			}{{daemon, "[Service]", test.daemon}, {watch, "[Unit]", test.watch}} {
				text, err := os.ReadFile(dir + file.name)
				if file.want == nil {
					if !os.IsNotExist(err) {
						t.Errorf("%s is there: %v\n%s", file.name, err, text)
					}
					continue
				}
				if want := file.section + "\n" + strings.Join(file.want, "\n") + "\n"; err != nil || string(text) != want {
					t.Errorf("%s: got %v,\n%s\nwant\n%s", file.name, err, text, want)
				}
			}
		})
	}
}

// The units say nothing that systemd 252 does not know. Whoever has systemd-analyze has at least that version.
func TestUnitsVerify(t *testing.T) {
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		t.Skip(err)
	}
	units, root := t.TempDir(), t.TempDir()
	mustMake(t, "install", "BIN="+builds(t), "PREFIX="+root+"/usr", "UNITDIR="+units, "DESTDIR=", "SYSCONFDIR="+root+"/etc")
	cmd := exec.CommandContext(t.Context(), "systemd-analyze", "verify", "--man=no", units+"/nvme-discoverd.service", units+"/nvme-discoverd-wait-online.service", units+"/nvme-fabrics-shutdown.service")
	out, err := cmd.CombinedOutput()
	if err != nil && strings.Contains(string(out), "Failed to initialize manager") {
		t.Skipf("systemd-analyze cannot verify here: %s", out)
	}
	if err != nil || len(out) > 0 {
		t.Errorf("systemd-analyze verify: %v\n%s", err, out)
	}
}

// Maintainer scripts are shell that every /bin/sh reads.
func TestScriptsParse(t *testing.T) {
	scripts, err := filepath.Glob("*/p*")
	if err != nil || len(scripts) < 6 {
		t.Fatalf("got %q, %v", scripts, err)
	}
	for _, script := range append(scripts, top+"/systemd/nvme-discoverd-generator") {
		if out, err := exec.CommandContext(t.Context(), "sh", "-n", script).CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", script, err, out)
		}
	}
}
