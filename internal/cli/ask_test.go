// SPDX-License-Identifier: GPL-3.0-or-later

package cli

import (
	"bytes"
	"context"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/nvme-discoverd/nvme-discoverd/internal/keyring"
	"github.com/nvme-discoverd/nvme-discoverd/internal/paths"
	"github.com/nvme-discoverd/nvme-discoverd/internal/rdma"
	"github.com/nvme-discoverd/nvme-discoverd/internal/sysfs"
)

// desk is where a person or a script runs commands: one tree, and a connector that pretends.
type desk struct {
	*testing.T
	root      paths.Root
	fake      *fakeConnector
	typed     string // by the person at the terminal; with noTerminal there is none
	env       map[string]string
	program   func(argv []string) error // stands for other programs
	programs  []string                  // that were run
	listeners func() ([]rdma.Listener, error)
	keys      func(ring string) ([]keyring.Key, error)
}

const noTerminal = "\x00"

func newDesk(t *testing.T) *desk {
	return &desk{
		T: t, root: paths.Root(t.TempDir()), fake: &fakeConnector{}, typed: noTerminal, env: map[string]string{},
		listeners: func() ([]rdma.Listener, error) { return nil, nil },
	}
}

// run returns what a command printed, standard output first, without the root; "status N" comes last unless it is 0.
func (d *desk) run(args ...string) string { return d.runRaw(append(args, "--root="+string(d.root))...) }

// complete returns what a shell offers and its directive.
func (d *desk) complete(args []string) string {
	out, _, _ := strings.Cut(d.runRaw(args...), "! ")
	return out
}

func (d *desk) runRaw(args ...string) string {
	var stdout, stderr bytes.Buffer
	a := &app{
		Env: Env{
			Args:   args,
			Getenv: func(key string) string { return d.env[key] },
			Stdin:  strings.NewReader(d.typed), Stdout: &stdout, Stderr: &stderr,
			Terminal: func() bool { return d.typed != noTerminal },
			Columns: func() int {
				if d.typed == noTerminal {
					return 0
				}
				return 500 // so that the name of the temporary directory breaks no line
			},
		},
		connector: func() connector { return d.fake },
		listeners: d.listeners,
		keys:      d.keys,
		program: func(_ context.Context, argv ...string) error {
			d.programs = append(d.programs, strings.ReplaceAll(strings.Join(argv, " "), string(d.root), ""))
			if d.program == nil {
				return errors.New("exit status 1")
			}
			return d.program(argv)
		},
	}
	status := a.run(context.Background())
	out := stdout.String()
	if stderr.Len() > 0 {
		out += "! " + stderr.String()
	}
	out = strings.ReplaceAll(out, string(d.root), "")
	switch status {
	case Failed:
		out += "status 1\n"
	case Usage:
		out += "status 2\n"
	}
	return out
}

// expect runs a command and compares what it printed.
func (d *desk) expect(args []string, want string) {
	d.Helper()
	if diff := cmp.Diff(want, d.run(args...)); diff != "" {
		d.Errorf("%q (-want +got):\n%s", args, diff)
	}
}

func (d *desk) write(path, data string) {
	d.Helper()
	write(d.T, d.root.Join(path), data)
}

// holds compares the content of a file, "" for none.
func (d *desk) holds(path, want string) {
	d.Helper()
	data, err := os.ReadFile(d.root.Join(path))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		d.Fatal(err)
	}
	if diff := cmp.Diff(want, string(data)); diff != "" {
		d.Errorf("%s (-want +got):\n%s", path, diff)
	}
}

// controller puts a controller into sysfs and before the connector.
func (d *desk) controller(c sysfs.Controller, owner string) {
	d.Helper()
	if d.fake.owners == nil {
		d.fake.owners = make(map[string]string)
	}
	d.fake.controllers = append(d.fake.controllers, c)
	d.fake.owners[c.Name] = owner
	if owner != "" {
		d.write("run/nvme/registry/"+c.Name+"/owner", owner+"\n")
	}
	dir := "sys/devices/virtual/nvme-fabrics/ctl/" + c.Name
	address := "traddr=" + c.Traddr + ",trsvcid=" + c.Trsvcid
	if c.HostIface != "" {
		address += ",host_iface=" + c.HostIface
	}
	for name, value := range map[string]string{
		"transport": c.Transport, "address": address, "subsysnqn": c.NQN, "state": "live", "cntrltype": c.Type,
		"hostnqn": c.HostNQN, "hostid": c.HostID,
	} {
		d.write(dir+"/"+name, value+"\n")
	}
	if err := os.MkdirAll(d.root.SysClassNVMe(), 0o755); err != nil {
		d.Fatal(err)
	}
	if err := os.Symlink("../../devices/virtual/nvme-fabrics/ctl/"+c.Name, d.root.Join("sys/class/nvme", c.Name)); err != nil {
		d.Fatal(err)
	}
}

// tcp is a controller at 192.0.2.N.
func tcp(name, traddr, nqn string) sysfs.Controller {
	return sysfs.Controller{
		Name: name, Transport: "tcp", Traddr: traddr, Trsvcid: "4420", NQN: nqn, State: "live", Type: "io",
		HostNQN: "nqn.2014-08.org.nvmexpress:uuid:1", HostID: "1",
	}
}

func TestGroups(t *testing.T) {
	d := newDesk(t)
	d.expect([]string{"registry"}, "! cannot run registry without knowing what to do: give one of delete, get, list, set: see nvme-discoverctl registry --help\nstatus 2\n")
	d.expect([]string{"exclusion"}, "! cannot run exclusion without knowing what to do: give one of add, create, delete, edit, list, remove, test: see nvme-discoverctl exclusion --help\nstatus 2\n")
	d.expect([]string{"legacy", "mask"}, "! unknown command \"mask\" for \"nvme-discoverctl legacy\": see nvme-discoverctl legacy --help\nstatus 2\n")
	d.expect([]string{"config"}, "! cannot run config without knowing what to do: give one of check, import, show: see nvme-discoverctl config --help\nstatus 2\n")
	d.expect([]string{"config", "chekc"}, "! unknown command \"chekc\" for \"nvme-discoverctl config\" (did you mean check?): see nvme-discoverctl config --help\nstatus 2\n")
	d.expect([]string{"nbft"}, "! cannot run nbft without knowing what to do: give one of show: see nvme-discoverctl nbft --help\nstatus 2\n")
	d.expect([]string{"completion"}, "! cannot run completion without knowing what to do: give one of bash, fish, powershell, zsh: see nvme-discoverctl completion --help\nstatus 2\n")
	d.expect([]string{"completion", "csh"}, "! unknown command \"csh\" for \"nvme-discoverctl completion\" (did you mean zsh?): see nvme-discoverctl completion --help\nstatus 2\n")
}

func TestHelpTopics(t *testing.T) {
	d := newDesk(t)
	for _, topic := range [][]string{{"foo"}, {"config", "lunch"}, {"version", "x"}} {
		d.expect(append([]string{"help"}, topic...), "! cannot help with "+strings.Join(topic, " ")+": there is no such command: see nvme-discoverctl help --help\nstatus 2\n")
	}
	status, asked, _ := run(nil, d.root, "help", "config", "check")
	_, want, _ := run(nil, d.root, "config", "check", "--help")
	if status != Done || want == "" || asked != want {
		t.Errorf("status %d, help:\n%s\nwant:\n%s", status, asked, want)
	}
}
