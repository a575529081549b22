// SPDX-License-Identifier: GPL-3.0-or-later

package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nvme-discoverd/nvme-discoverd/internal/api/client"
	"github.com/nvme-discoverd/nvme-discoverd/internal/files"
	"github.com/nvme-discoverd/nvme-discoverd/internal/recording"
)

// reportPatience is how long each part of a report may take.
const reportPatience = 20 * time.Second

// reportJournal is how many lines of the journal a report has.
const reportJournal = "5000"

// collect gathers a report. What cannot be had is noted. With anonymous, files that people have written are there for their names only,
// and messages that quote them are left out: they have names that nobody can tell from other words.
func (a *app) collect(ctx context.Context, anonymous bool) *report {
	r := &report{}
	a.collectRecordings(ctx, r)
	for _, part := range []struct {
		name, what string
		args       []string
	}{
		{"status.txt", "nvme-discoverctl status --all", []string{"status", "--all"}},
		{"status.json", "nvme-discoverctl status --json", []string{"status", "--json"}},
		{"configuration.json", "nvme-discoverctl config show --json", []string{"config", "show", "--json"}},
		{"exclusions.json", "nvme-discoverctl exclusion list --json", []string{"exclusion", "list", "--json"}},
		{"registry.json", "nvme-discoverctl registry list --json", []string{"registry", "list", "--json"}},
		{"legacy.txt", "nvme-discoverctl legacy status", []string{"legacy", "status"}},
	} {
		out, err := a.outputOf(ctx, part.args...)
		r.text(part.name, part.what, out)
		switch {
		case err != nil && anonymous && part.args[0] != "status":
			r.miss(part.name, errors.New("not all is as it should be: nvme-discoverctl "+strings.Join(part.args, " ")+" says what"))
		case err != nil:
			r.miss(part.name, err)
		}
	}
	a.collectFiles(r, anonymous)
	a.collectUnits(ctx, r, anonymous)
	a.collectVersions(ctx, r)
	a.collectControllers(r)
	journal, err := a.captured(ctx, a.root.Journalctl(), "--no-pager", "--no-hostname", "--output=short-iso-precise", "--lines="+reportJournal,
		"--unit=nvme-discoverd.service", "--unit=nvme-discoverd-*.service", "--unit=nvme-fabrics-shutdown.service")
	r.text("journal.txt", "the last lines of the journal of the service and its units", journal)
	if err != nil {
		r.miss("journal.txt", err)
	}
	return r
}

// collectRecordings adds the recording of the daemon that runs and those that daemons have left, the newest first.
func (a *app) collectRecordings(ctx context.Context, r *report) {
	room := maxReportRecordings
	add := func(name, what string, data []byte) {
		if len(data) > room {
			r.miss(name, fmt.Errorf("it has %d MiB, and there is room for %d more", len(data)>>20, room>>20))
			return
		}
		room -= len(data)
		r.files = append(r.files, reportFile{name: name, what: what, data: data, recording: true})
	}
	ctx, cancel := context.WithTimeout(ctx, reportPatience)
	defer cancel()
	const now = "now" + recording.Suffix
	var data []byte
	if err := a.withDaemon(ctx, func(c *client.Client) (err error) {
		data, err = c.Recording(ctx)
		return err
	}); err != nil {
		r.miss(now, err)
	} else {
		add(now, "what the daemon that runs has heard and decided", data)
	}
	left, err := recording.Left(a.root.Recordings())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		r.miss("recordings of earlier daemons", err)
	}
	for i := len(left) - 1; i >= 0; i-- {
		name := "left/" + filepath.Base(left[i])
		data, err := readRecording(left[i])
		if err != nil {
			r.miss(name, err)
			continue
		}
		add(name, "the same of an earlier daemon", data)
	}
}

// outputOf returns what a command of ours prints. With an error, what it has printed up to that.
func (a *app) outputOf(ctx context.Context, args ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, reportPatience)
	defer cancel()
	var out, errs bytes.Buffer
	sub := &app{
		Env: Env{
			Version: a.Version, Args: append([]string{"--root", string(a.root)}, args...), Getenv: func(string) string { return "" },
			Stdin: strings.NewReader(""), Stdout: &out, Stderr: &errs,
		},
		connector: a.connector, program: a.program, capture: a.capture, now: a.now, listeners: a.listeners,
	}
	if sub.run(ctx) != Done {
		return out.Bytes(), errors.New(errs.String())
	}
	return out.Bytes(), nil
}

// captured returns what another program prints.
func (a *app) captured(ctx context.Context, argv ...string) ([]byte, error) {
	out, err := a.capture(ctx, argv...)
	if err != nil {
		return out, fmt.Errorf("cannot run %s: %w", filepath.Base(argv[0]), err)
	}
	return out, nil
}

// collectFiles adds the files that people have written, as they are but for secrets; with anonymous for their names only.
func (a *app) collectFiles(r *report, anonymous bool) {
	for _, part := range []struct {
		name, what string
		paths      []string
	}{
		{"configuration.txt", "the files of the configuration, without secrets", []string{
			a.root.DaemonConfig(), a.root.DaemonDropIns(), a.root.FabricsConfig(), a.root.FabricsConfig() + ".d", a.root.HostNQN(), a.root.HostID(),
		}},
		{"exclusions.txt", "the exclusion lists", []string{a.root.Exclusions(), a.root.ExclusionsFile(), a.root.ExclusionsDropIns()}},
	} {
		var all bytes.Buffer
		for _, path := range part.paths {
			a.appendFiles(&all, path, r)
		}
		if r.text(part.name, part.what, all.Bytes()); anonymous && all.Len() > 0 {
			r.files[len(r.files)-1].learned = true
		}
	}
}

// appendFiles appends a file, or those of a directory, each with its name above it.
func (a *app) appendFiles(all *bytes.Buffer, path string, r *report) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return
	case err != nil:
		r.miss(path, files.Cause(err))
		return
	case info.IsDir():
		names, err := files.Names(path)
		if err != nil {
			r.miss(path, err)
		}
		for _, name := range names {
			if strings.HasSuffix(name, ".conf") {
				a.appendFiles(all, filepath.Join(path, name), r)
			}
		}
		return
	case !info.Mode().IsRegular() || all.Len() > maxReportText:
		return
	}
	f, err := os.Open(path)
	if err != nil {
		r.miss(path, files.Cause(err))
		return
	}
	defer f.Close()
	data, err := files.ReadAll(f, maxReportText)
	if err != nil {
		r.miss(path, err)
		return
	}
	fmt.Fprintf(all, "==> %s <==\n%s\n", strings.TrimPrefix(path, string(a.root)), data)
}

// unitProperties are those that systemd is asked for. The environment is not: it is anybody's.
const unitProperties = "Id,Description,LoadState,UnitFileState,DropInPaths,ActiveState,SubState,Result,StateChangeTimestamp,Job,ExecStart,ExecMainStatus,NRestarts,MemoryCurrent,CPUUsageNSec"

// withoutSettings returns a unit file without its environment and credentials, which are anybody's.
func withoutSettings(text []byte) []byte {
	var kept bytes.Buffer
	for line := range bytes.Lines(text) {
		key, _, _ := bytes.Cut(bytes.TrimSpace(line), []byte("="))
		if k := string(key); k != "Environment" && k != "PassEnvironment" && !strings.HasPrefix(k, "SetCredential") {
			kept.Write(line)
		}
	}
	return kept.Bytes()
}

func (a *app) collectUnits(ctx context.Context, r *report, anonymous bool) {
	var all bytes.Buffer
	commands := [][]string{
		{"list-units", "--all", "--plain", "--no-legend", "--full", "nvme*", "nvmf*", "stafd*", "stacd*"},
		{"list-jobs", "--no-legend", "--full"},
		{"show", "--property=" + unitProperties, "nvme-discoverd.service", "nvme-fabrics-shutdown.service", "nvme-discoverd-*.service"},
	}
	if !anonymous {
		commands = append(commands, []string{"cat", "nvme-discoverd.service"})
	}
	for _, args := range commands {
		out, err := a.captured(ctx, append([]string{a.root.Systemctl(), "--no-pager"}, args...)...)
		if err != nil {
			r.miss("units.txt, systemctl "+args[0], err)
		}
		if args[0] == "cat" {
			out = withoutSettings(out)
		}
		if len(out) > 0 {
			fmt.Fprintf(&all, "==> systemctl %s <==\n%s\n", strings.Join(args, " "), out)
		}
	}
	r.text("units.txt", "what systemd says of the units", all.Bytes())
}

func (a *app) collectVersions(ctx context.Context, r *report) {
	var all bytes.Buffer
	fmt.Fprintf(&all, "nvme-discoverctl %s\n", a.Version)
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		r.miss("versions.txt, kernel", err)
	} else {
		fmt.Fprintf(&all, "%s %s %s %s\n", unix.ByteSliceToString(name.Sysname[:]), unix.ByteSliceToString(name.Release[:]), unix.ByteSliceToString(name.Version[:]), unix.ByteSliceToString(name.Machine[:]))
	}
	out, err := a.captured(ctx, a.root.Systemctl(), "--version")
	if err != nil {
		r.miss("versions.txt, systemd", err)
	}
	all.Write(out)
	for _, path := range []string{a.root.Join("etc/os-release"), a.root.Join("proc/sys/kernel/tainted"), a.root.Join("sys/module/nvme_core/parameters/multipath")} {
		if data, err := files.Read(path); err == nil {
			fmt.Fprintf(&all, "==> %s <==\n%s\n", strings.TrimPrefix(path, string(a.root)), data)
		}
	}
	r.text("versions.txt", "versions of this program, the kernel and systemd", all.Bytes())
}

// secretAttributes are parts of names of attributes in sysfs that are secrets, or may be on a kernel to come.
var secretAttributes = []string{"secret", "dhchap", "kxchap", "key", "psk", "pass"}

func isSecretAttribute(name string) bool {
	for _, part := range secretAttributes {
		if strings.Contains(strings.ToLower(name), part) {
			return true
		}
	}
	return false
}

// attributeSize is how many bytes an attribute may have.
const attributeSize = 4096

// controllerPatience is how long all attributes of a controller may take: those of one that is stuck may never be read.
const controllerPatience = 5 * time.Second

// collectControllers adds the attributes of the controllers over fabrics.
func (a *app) collectControllers(r *report) {
	names, err := files.Names(a.root.NVMeFabrics())
	if err != nil {
		r.miss("controllers.txt", err)
	}
	var all bytes.Buffer
	stuck := 0
	for _, name := range names {
		if !strings.HasPrefix(name, "nvme") || all.Len() > maxReportText {
			continue
		}
		if stuck == 4 {
			r.miss("controllers.txt, "+name, errors.New("it was not looked at, as others cannot be read"))
			continue
		}
		read := make(chan []byte, 1)
		go func() { read <- attributes(filepath.Join(a.root.NVMeFabrics(), name)) }()
		select {
		case data := <-read:
			fmt.Fprintf(&all, "==> %s <==\n%s\n", name, data)
		case <-time.After(controllerPatience):
			stuck++
			r.miss("controllers.txt, "+name, fmt.Errorf("it cannot be read within %v", controllerPatience))
		}
	}
	r.text("controllers.txt", "the attributes of controllers over fabrics in sysfs", all.Bytes())
}

// attributes returns those of a device that are no secrets, a line each.
func attributes(dir string) []byte {
	var all bytes.Buffer
	entries, err := os.ReadDir(dir)
	if err != nil {
		fmt.Fprintf(&all, "cannot be read: %v\n", files.Cause(err))
	}
	for _, e := range entries {
		info, err := e.Info()
		switch {
		case err != nil || !e.Type().IsRegular() || info.Mode().Perm()&0o444 == 0 || e.Name() == "uevent":
			continue
		case isSecretAttribute(e.Name()):
			fmt.Fprintf(&all, "%s: (left out)\n", e.Name())
			continue
		}
		data, err := files.Read(filepath.Join(dir, e.Name()))
		if err != nil {
			fmt.Fprintf(&all, "%s: cannot be read: %v\n", e.Name(), files.Cause(err))
			continue
		}
		fmt.Fprintf(&all, "%s: %s\n", e.Name(), bytes.TrimSpace(data[:min(len(data), attributeSize)]))
	}
	return all.Bytes()
}
