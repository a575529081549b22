// SPDX-License-Identifier: GPL-3.0-or-later

package cli

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nvme-discoverd/nvme-discoverd/internal/core"
	"github.com/nvme-discoverd/nvme-discoverd/internal/paths"
	"github.com/nvme-discoverd/nvme-discoverd/internal/recording"
	"github.com/nvme-discoverd/nvme-discoverd/internal/recording/recordingtest"
)

// report runs report on a host, with an answer for each program that it asks, and returns the files in the archive, and what it printed.
func reportOn(t *testing.T, root paths.Root, answers map[string]string, args ...string) (packed map[string][]byte, out string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "report.tar.gz")
	var stdout, stderr bytes.Buffer
	a := &app{
		now:       func() time.Time { return noon },
		Env:       Env{Version: "1.0", Args: append([]string{"--root", string(root), "report", "--output", path}, args...), Getenv: func(string) string { return "" }, Stdout: &stdout, Stderr: &stderr},
		connector: func() connector { return &fakeConnector{} },
		capture: func(_ context.Context, argv ...string) ([]byte, error) {
			for word, answer := range answers {
				if strings.HasSuffix(argv[0], word) || slices.Contains(argv, word) {
					return []byte(answer), nil
				}
			}
			return nil, errors.New("it is not there")
		},
	}
	if status := a.run(t.Context()); status != Done || stderr.Len() > 0 {
		t.Fatalf("exit status %d, stderr %q", status, stderr.String())
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	unpacked, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	packed = map[string][]byte{}
	for r := tar.NewReader(unpacked); ; {
		h, err := r.Next()
		if err == io.EOF {
			return packed, stdout.String()
		}
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(r)
		if err != nil || h.Mode != 0o600 {
			t.Errorf("%s: mode %o, %v", h.Name, h.Mode, err)
		}
		name, ok := strings.CutPrefix(h.Name, "nvme-discoverd-20261121T120000Z/")
		if !ok {
			t.Errorf("it has %s", h.Name)
		}
		packed[name] = data
	}
}

// texts returns the files of a report as texts, recordings too.
func texts(t *testing.T, files map[string][]byte) map[string]string {
	t.Helper()
	all := map[string]string{}
	for name, data := range files {
		if !strings.HasSuffix(name, recording.Suffix) {
			all[name] = string(data)
			continue
		}
		var b strings.Builder
		if err := recording.Each(data, func(r recording.Record) error {
			text, err := r.Encode()
			b.Write(text)
			return err
		}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		all[name] = b.String()
	}
	return all
}

func plant(t *testing.T, root paths.Root, files map[string]string) {
	t.Helper()
	for name, text := range files {
		path := root.Join(name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// told returns a recording in which all that has a text says this one.
func told(t *testing.T, text string) []byte {
	t.Helper()
	m := core.New(1)
	records := []recording.Record{{Start: &recording.Start{Format: 1, Version: "1.0"}}, {State: m.Save(nil)}}
	for _, ev := range []core.Event{
		core.BusDown{Err: text},
		core.Kick{Why: text},
		core.Snapshot{Token: 1, UnitsKnown: true, Units: []core.UnitInfo{{Name: "nvme-discoverd-0123456789ab.service", Active: "active", Argv: []string{"nvme", "connect", "--dhchap-secret=" + text, "-S", text}}}},
	} {
		r, err := recording.NewRecord(noon, ev, m.Step(noon, ev), nil)
		if err != nil {
			t.Fatal(err)
		}
		records = append(records, r)
	}
	file, err := recording.Write(records)
	if err != nil {
		t.Fatal(err)
	}
	return file
}

// No secret is in a report, wherever one was: in files right and wrong, in commands, in messages, in sysfs.
func TestReportHasNoSecret(t *testing.T) {
	const (
		dhchap = "DHHC-1:01:TUFSS01BUktNQVJLTUFSS01BUktNQVJLTUFSS01BUks4bvT4:"
		tls    = "NVMeTLSkey-1:01:TUFSS01BUktNQVJLTUFSS01BUktNQVJLTUFSS01BUks4bvT4:"
		odd    = "MARK-not-in-any-form"
	)
	s := three()
	s.recording = told(t, "see "+dhchap)
	for _, target := range s.state.Targets {
		target.LastError = "refused with " + dhchap + " and " + tls
	}
	root := s.serve(t)
	plant(t, root, map[string]string{
		"etc/nvme/discoverd.conf": "# dhchap-secret = \"" + dhchap + "\"\n[host]\ndhchap-secret = '" + odd + "'\ntls-key = \"\"\"\n" + odd + "\n\"\"\"\n" +
			"[[subsystem]]\nnqn = \"nqn.2024-01.com.example:vol1\"\ncontroller = [{ transport = \"tcp\", traddr = \"192.0.2.20\", tls-key = \"" + tls + "\", dhchap-ctrl-secret=\"" + odd + "\\\"" + odd + "\" }]\n",
		"etc/nvme/discoverd.conf.d/broken.conf":                           "[host\ndhchap-secret = " + dhchap + "\ndhchap_ctrl_secret = \"" + odd + "\n",
		"etc/nvme/nvme-fabrics.conf":                                      "[Host]\nkxchap-secret = " + odd + "\n[Subsystem]\nnqn=nqn.2024-01.com.example:vol2\ncontroller = transport=tcp;traddr=192.0.2.21;tls-key=" + odd + ";dhchap-secret=" + dhchap + "\n",
		"etc/nvme/exclusions/mine.conf":                                   "# " + tls + "\nexclusion = traddr=192.0.2.9\n",
		"run/nvme/registry/nvme1/owner":                                   "discoverd\n",
		"run/nvme/registry/nvme1/note":                                    dhchap + "\n",
		"sys/devices/virtual/nvme-fabrics/ctl/nvme1/state":                "live\n",
		"sys/devices/virtual/nvme-fabrics/ctl/nvme1/dhchap_secret":        odd + "\n",
		"sys/devices/virtual/nvme-fabrics/ctl/nvme1/dhchap_ctrl_secret":   odd + "\n",
		"sys/devices/virtual/nvme-fabrics/ctl/nvme1/tls_configured_key":   odd + "\n",
		"sys/devices/virtual/nvme-fabrics/ctl/nvme1/note":                 dhchap + "\n",
		"run/nvme/discoverd/recordings/20261121T110000.000Z-stop.nvmerec": string(told(t, tls)),
	})
	files, _ := reportOn(t, root, map[string]string{
		"journalctl": "connect --tls-key " + odd + " -n x\nerror: " + dhchap + "\n",
		"show":       "ExecStart={ argv[]=nvme connect --dhchap-secret=" + odd + " --dhchap-ctrl-secret " + odd + " --tls-key=" + tls + " }\n",
		"cat":        "Environment=PSK=" + odd + "\n",
		"list-units": "nvme1 " + tls, "list-jobs": dhchap, "--version": "systemd 257",
	})
	seen := texts(t, files)
	for name, text := range seen {
		for _, mark := range []string{"MARK", "TUFSS01"} {
			if i := strings.Index(text, mark); i >= 0 {
				t.Errorf("%s has a secret: …%q", name, text[max(0, i-80):min(len(text), i+20)])
			}
		}
	}
	for name, want := range map[string]string{
		"configuration.txt": "transport=tcp;traddr=192.0.2.21;tls-key=(secret);dhchap-secret=(secret)", "controllers.txt": "state: live", "exclusions.txt": "traddr=192.0.2.9",
		"registry.json": `"owner": "discoverd"`, "units.txt": "--dhchap-secret=(secret) --dhchap-ctrl-secret (secret)", "journal.txt": "--tls-key (secret) -n x",
		"now.nvmerec": "BusDown", "left/20261121T110000.000Z-stop.nvmerec": "BusDown", "versions.txt": "systemd 257", "status.json": `"controllers"`, "status.txt": "nvme1",
	} {
		if !strings.Contains(seen[name], want) {
			t.Errorf("%s does not have %q in\n%s", name, want, seen[name])
		}
	}
}

// What cannot be had is named, and fails nothing.
func TestReportOfLittle(t *testing.T) {
	files, out := reportOn(t, paths.Root(t.TempDir()), nil)
	for _, want := range []string{"now.nvmerec: ", "status.json: ", "journal.txt: cannot run journalctl: it is not there"} {
		if !strings.Contains(string(files["README"]), "\n- "+want) || !strings.Contains(out, "missing: "+want) {
			t.Errorf("%q is not named in\n%s\nor in\n%s", want, files["README"], out)
		}
	}
	if files["versions.txt"] == nil {
		t.Errorf("there are no versions")
	}
}

// --list writes nothing.
func TestReportList(t *testing.T) {
	path := filepath.Join(t.TempDir(), "r")
	status, out, errs := ctl(t, newStandIn().serve(t), 0, nil, "report", "--list", "--output", path)
	if _, err := os.Stat(path); status != Done || errs != "" || !strings.Contains(out, "status.json") || !errors.Is(err, os.ErrNotExist) {
		t.Errorf("exit status %d, stdout %q, stderr %q, %v", status, out, errs, err)
	}
}

// Without names a report has none of them, wherever they were, and its recording replays as before.
func TestReportAnonymized(t *testing.T) {
	const uuid = "1b4e28ba-2fa1-11d2-883f-0016d3cca427"
	names := []string{
		"maker", "frankfurt", "bank7", "192.0.2", "2001:db8:77", uuid, "1B4E28BA", "0016d3cca427", "san-ffm", "00:16:3e", "201700a09890f5bf", "ACME", "customer-x", "PLC", "quoted-wrong",
		"nqn.2024-01", "oddnqn", "Vault", "Tower", "Cellar", "Attic",
	}
	s := three()
	s.recording = recordingtest.Story(t)
	root := s.serve(t)
	plant(t, root, map[string]string{
		"etc/hostname": "frankfurt7.bank7.maker.com\n",
		"etc/nvme/discoverd.conf": "# for customer-x in frankfurt\n[[subsystem]]\nnqn = \"oddnqn\"\ncontroller = [{ transport = \"tcp\", traddr = \"array.frankfurt.maker.com\", host-iface = \"san-ffm\" }]\n" +
			"[[discovery-controller]]\ncontroller = [{ transport = \"tcp\", traddr = \"2001:db8:77::1\" }]\nquoted-wrong = 1\n",
		"etc/nvme/discoverd.conf.d/customer-x.conf":            "[host]\nhostnqn = \"nqn.2014-08.org.nvmexpress:uuid:" + strings.ToUpper(uuid) + "\"\n",
		"etc/nvme/exclusions/customer-x.conf":                  "# for ACME\nexclusion = nqn=oddnqn;traddr=192.0.2.77\n",
		"run/nvme/registry/nvme1/owner":                        "discoverd\n",
		"sys/devices/virtual/nvme-fabrics/ctl/nvme1/serial":    "PLC12345\n",
		"sys/devices/virtual/nvme-fabrics/ctl/nvme1/subsysnqn": "oddnqn\n",
		"sys/devices/virtual/nvme-fabrics/ctl/nvme1/address":   "traddr=nn-0x201700a09890f5bf:pn-0x201700a09890f5bf,src_addr=192.0.2.3\n",
	})
	files, _ := reportOn(t, root, map[string]string{
		"journalctl": "2026-11-21 frankfurt7 nvme-discoverd[1]: cannot resolve array.frankfurt.maker.com: PLC12345 oddnqn\nnqn.2024-01.com.maker:vol1 at [2001:db8:77::1]:4420 from san-ffm 00:16:3e:11:22:33 customer-x.conf\n" +
			"mDNS announces Vault of 3rd floor at 192.0.2.10 on eth0\nmDNS: Old Tower on eth1\n\"instance\": \"The Cellar\"\nmDNS announces what is not connected (2): Attic 9: its port is 0\n",

		"show":       "ExecStart={ argv[]=nvme-discoverctl connect --nqn=nqn.2024-01.com.maker:vol9 --host-iface=san-ffm }\n",
		"list-units": "", "list-jobs": "", "--version": "systemd 257",
	}, "--anonymize")
	seen := texts(t, files)
	for name, text := range seen {
		for _, mark := range names {
			if i := strings.Index(text, mark); i >= 0 {
				t.Errorf("%s has %s: …%q", name, mark, text[max(0, i-80):min(len(text), i+40)])
			}
		}
	}
	for _, name := range []string{"status.json", "configuration.json", "exclusions.json", "registry.json", "units.txt", "journal.txt", "controllers.txt"} {
		if len(seen[name]) < 20 {
			t.Errorf("%s is %q", name, seen[name])
		}
	}
	for _, name := range []string{"configuration.txt", "exclusions.txt"} {
		if seen[name] != "" {
			t.Errorf("%s is there, with its comments", name)
		}
	}
	steps := 0
	if err := recording.Play(files["now.nvmerec"], func(line recording.Line) error {
		if line.Difference != nil {
			t.Errorf("%s: %v", line.What, line.Difference.Words())
		}
		if line.Event != "" {
			steps++
		}
		return nil
	}); err != nil || steps != 10 {
		t.Errorf("%d steps are replayed, %v", steps, err)
	}
	// A name is the same in all files.
	dc := recordingtest.DC(t)
	if strings.Contains(fmt.Sprint(seen), dc.UnitName()) {
		t.Errorf("it has the unit %s, which is made from names", dc.UnitName())
	}
}
