// SPDX-License-Identifier: GPL-3.0-or-later

package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/nvme-discoverd/nvme-discoverd/internal/blockuse"
	"github.com/nvme-discoverd/nvme-discoverd/internal/connect"
	"github.com/nvme-discoverd/nvme-discoverd/internal/fabrics"
	"github.com/nvme-discoverd/nvme-discoverd/internal/param"
	"github.com/nvme-discoverd/nvme-discoverd/internal/paths"
	"github.com/nvme-discoverd/nvme-discoverd/internal/secret"
	"github.com/nvme-discoverd/nvme-discoverd/internal/sysfs"
	"github.com/nvme-discoverd/nvme-discoverd/internal/tid"
	"github.com/nvme-discoverd/nvme-discoverd/internal/wish"
)

const (
	unit = "nvme-discoverd-0123456789ab.service"
	nqn  = "nqn.2024-01.com.example:vol1"
)

// fakeConnector notes what it was asked for.
type fakeConnector struct {
	err error

	request     connect.Request
	unit        string // of DisconnectUnit and Cleanup
	tid         tid.TID
	what        string
	controllers []sysfs.Controller // there are
	owners      map[string]string  // of them, by name
	uses        map[string]blockuse.Use
	matched     []string // of them, wanted by Disconnect
}

func (f *fakeConnector) Connect(_ context.Context, req connect.Request) (string, error) {
	f.request = req
	return "nvme3", f.err
}

func (f *fakeConnector) DisconnectUnit(unit string, t tid.TID) (string, error) {
	f.unit, f.tid = unit, t
	return "nothing disconnected: nvme3 is gone", f.err
}

func (f *fakeConnector) Disconnect(what string, match func(sysfs.Controller) bool, _ bool) ([]string, error) {
	f.what = what
	var outcomes []string
	for _, c := range f.controllers {
		if match(c) {
			f.matched = append(f.matched, c.Name)
			outcomes = append(outcomes, "disconnected "+c.Name)
		}
	}
	return outcomes, f.err
}

func (f *fakeConnector) Cleanup(unit string) (outcome string, err error) {
	f.unit = unit
	if f.err != nil {
		return "", f.err
	}
	return "nvme3 stays connected", nil
}

// run runs a command line against f and the tree at root.
func run(f connector, root paths.Root, args ...string) (status int, stdout, stderr string) {
	var out, errs bytes.Buffer
	a := &app{
		Env: Env{
			Version: "1.2.3",
			Args:    append(args, "--root="+string(root)),
			Getenv:  func(string) string { return "" },
			Stdout:  &out, Stderr: &errs,
		},
		connector: func() connector { return f },
	}
	status = a.run(context.Background())
	return status, out.String(), errs.String()
}

func write(t *testing.T, path, data string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(data), 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestMessages holds exit statuses and what people get to read.
func TestMessages(t *testing.T) {
	root := paths.Root(t.TempDir())
	tcp := []string{"--transport=tcp", "--traddr=192.0.2.1", "--nqn=" + nqn}
	line := func(args ...any) []string {
		var all []string
		for _, a := range args {
			switch a := a.(type) {
			case string:
				all = append(all, a)
			case []string:
				all = append(all, a...)
			}
		}
		return all
	}
	for _, test := range []struct {
		name   string
		args   []string
		err    error // of the connector
		status int
		stdout string
		stderr string
	}{
		{"version", line("version"), nil, Done, "nvme-discoverctl 1.2.3\n", ""},
		{"connect", line("connect", tcp), nil, Done, "connected nvme3: (tcp, 192.0.2.1, 4420, nqn.2024-01.com.example:vol1)\n", ""},
		{"connect fails", line("connect", tcp), errors.New("cannot connect: no"), Failed, "", "cannot connect: no\n"},
		{"connect by what is not an NQN", line("connect", "-t", "loop", "-n", "vol1"), nil, Done, "connected nvme3: (loop, vol1)\n", "warning: nqn \"vol1\" is not an NQN: it must begin as nqn.2024-01.com.example does, with nqn, a year and month, and a domain name in reverse\n"},
		{"connect by a unit", line("connect", "-t", "loop", "-n", "vol1", "--unit="+unit), nil, Done, "connected nvme3: (loop, vol1)\n", ""},
		{"no transport", line("connect", "--traddr=192.0.2.1", "--nqn=x"), nil, Usage, "", "cannot connect without a transport: give tcp, rdma, fc or loop: see nvme-discoverctl connect --help\n"},
		{"no NQN", line("connect", tcp[:2]), nil, Usage, "", "cannot connect an I/O controller without the nqn of its subsystem: see nvme-discoverctl connect --help\n"},
		{"host name", line("connect", tcp, "--traddr=array1"), nil, Usage, "", "cannot use traddr \"array1\": transport tcp needs an IP address: see nvme-discoverctl connect --help\n"},
		{"injection", line("connect", tcp, "--host-iface=eth0,tls"), nil, Usage, "", "cannot use host-iface \"eth0,tls\": it contains a comma: see nvme-discoverctl connect --help\n"},
		{"bad number", line("connect", tcp, "--tos=300"), nil, Usage, "", "cannot set tos to \"300\": it must be a number from 0 to 255: see nvme-discoverctl connect --help\n"},
		{"bad switch", line("connect", tcp, "--tls=maybe"), nil, Usage, "", "cannot set tls to \"maybe\": it must be true or false: see nvme-discoverctl connect --help\n"},
		{"unknown option", line("connect", tcp, "--foo"), nil, Usage, "", "unknown flag: --foo: see nvme-discoverctl connect --help\n"},
		{"superfluous argument", line("connect", tcp, "foo"), nil, Usage, "", "cannot connect: \"foo\" is one argument too many for nvme-discoverctl connect --transport=… --traddr=… --nqn=… [option]…: see nvme-discoverctl connect --help\n"},
		{"unknown command", line("conect"), nil, Usage, "", "unknown command \"conect\" for \"nvme-discoverctl\" (did you mean connect?): see nvme-discoverctl --help\n"},

		{"disconnect what", line("disconnect"), nil, Usage, "", "cannot disconnect without knowing what: give a controller such as nvme3, --nqn, or the options of connect: see nvme-discoverctl disconnect --help\n"},
		{"disconnect by everything", line("disconnect", tcp, "-d", "nvme3"), nil, Usage, "", "cannot disconnect by --device and other options at once: give one or the others: see nvme-discoverctl disconnect --help\n"},
		{"disconnect by unit and device", line("disconnect", "--unit="+unit, "-d", "nvme3"), nil, Usage, "", "cannot disconnect by --unit and what else is given at once: give one of them: see nvme-discoverctl disconnect --help\n"},
		{"disconnect of a bad device", line("disconnect", "-d", "../nvme0"), nil, Usage, "", "cannot use device name \"../nvme0\": it must be nvme and a number, such as nvme3: see nvme-discoverctl disconnect --help\n"},
		{"disconnect of a namespace", line("disconnect", "nvme2n1"), nil, Usage, "", "cannot disconnect nvme2n1: it is a namespace: give one of the controllers that nvme-discoverctl list shows for its subsystem: see nvme-discoverctl disconnect --help\n"},
		{"disconnect of who knows what", line("disconnect", "array1"), nil, Usage, "", "cannot disconnect array1: give a controller such as nvme3, an NQN, a TID such as \"transport=tcp;traddr=192.0.2.1;nqn=…\" or a unit of nvme-discoverd: see nvme-discoverctl disconnect --help\n"},
		{"disconnect by argument and option", line("disconnect", "nvme3", "-d", "nvme3"), nil, Usage, "", "cannot disconnect nvme3 and by options at once: give one or the others: see nvme-discoverctl disconnect --help\n"},
		{"disconnect by address alone", line("disconnect", "-a", "192.0.2.1"), nil, Usage, "", "cannot disconnect without a transport: give tcp, rdma, fc or loop: see nvme-discoverctl disconnect --help\n"},
		{"disconnect by a bad part", line("disconnect", "-n", nqn, "-a", "array1"), nil, Usage, "", "cannot use traddr \"array1\": give an IP address, or nn-0x…:pn-0x… for fc: see nvme-discoverctl disconnect --help\n"},
		{"disconnect by a bad port", line("disconnect", "-n", nqn, "-s", "x"), nil, Usage, "", "cannot disconnect by these options: trsvcid \"x\" must be a number from 1 to 65535: see nvme-discoverctl disconnect --help\n"},
		{"bad host ID", line("connect", tcp, "-I", "xyz"), nil, Usage, "", "cannot use hostid \"xyz\": it must be a UUID such as f81d4fae-7dec-11d0-a765-00a0c91e6bf6: see nvme-discoverctl connect --help\n"},
		{"disconnect by unit", line("disconnect", "--unit="+unit, tcp), nil, Done, "nothing disconnected: nvme3 is gone\n", ""},
		{"disconnect by unit without what it connected", line("disconnect", "--unit="+unit), nil, Usage, "", "cannot disconnect what a unit has connected without a transport: give tcp, rdma, fc or loop: see nvme-discoverctl disconnect --help\n"},
		{"disconnect by unit fails", line("disconnect", "--unit="+unit, tcp), errors.New("cannot disconnect nvme3: no"), Failed, "", "cannot disconnect nvme3: no\n"},
		{"disconnect fails", line("disconnect", "-d", "nvme9"), errors.New("cannot disconnect nvme9: no"), Failed, "", "cannot disconnect nvme9: no\n"},

		{"cleanup", line("cleanup", "--unit="+unit), nil, Done, "nvme3 stays connected\n", ""},
		{"cleanup of what", line("cleanup"), nil, Usage, "", "cannot clean up without knowing after what: give --unit: see nvme-discoverctl cleanup --help\n"},
		{"cleanup fails", line("cleanup", "--unit="+unit), errors.New("cannot remove x"), Failed, "", "cannot remove x\n"},

		{"prune outside of udev", line("registry", "prune", "nvme3"), nil, Usage, "", "cannot prune without the number of the remove event: udev has it in SEQNUM: see nvme-discoverctl registry prune --help\n"},
		{"prune of what", line("registry", "prune"), nil, Usage, "", "cannot prune: arguments are missing in nvme-discoverctl registry prune NAME: see nvme-discoverctl registry prune --help\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			status, stdout, stderr := run(&fakeConnector{err: test.err}, root, test.args...)
			if status != test.status {
				t.Errorf("status %d, want %d", status, test.status)
			}
			if diff := cmp.Diff(test.stdout, stdout); diff != "" {
				t.Errorf("stdout (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(test.stderr, stderr); diff != "" {
				t.Errorf("stderr (-want +got):\n%s", diff)
			}
		})
	}
}

func TestConnectRequest(t *testing.T) {
	const hostID, other = "11111111-2222-4333-8444-555555555555", "22222222-2222-4333-8444-555555555555"
	root := paths.Root(t.TempDir())
	write(t, root.HostNQN(), "nqn.2014-08.org.nvmexpress:uuid:1\n")
	write(t, root.HostID(), hostID+"\n")
	for _, test := range []struct {
		name string
		args []string
		want connect.Request
	}{
		{
			name: "identity of this host",
			args: []string{"connect", "-t", "tcp", "-a", "2001:DB8::1", "-n", nqn},
			want: connect.Request{Wish: wish.Wish{TID: tid.TID{
				Transport: "tcp", Traddr: "2001:db8::1", Trsvcid: "4420", NQN: nqn,
				HostNQN: "nqn.2014-08.org.nvmexpress:uuid:1", HostID: hostID,
			}}},
		},
		{
			name: "discovery controller of another identity",
			args: []string{"connect", "-t", "tcp", "-a", "192.0.2.1", "--discovery", "-q", "nqn.2014-08.org.nvmexpress:uuid:2", "-I", "22222222-2222-4333-8444-555555555555"},
			want: connect.Request{Wish: wish.Wish{Kind: tid.Discovery, TID: tid.TID{
				Transport: "tcp", Traddr: "192.0.2.1", Trsvcid: "8009", NQN: tid.DiscoveryNQN,
				HostNQN: "nqn.2014-08.org.nvmexpress:uuid:2", HostID: "22222222-2222-4333-8444-555555555555",
			}}},
		},
		{
			name: "short options of nvme connect",
			args: []string{
				"connect", "-t", "tcp", "-a", "192.0.2.1", "-n", nqn, "-w", "192.0.2.9", "-f", "eth0", "-q", "nqn.2014-08.org.nvmexpress:uuid:" + other,
				"-l", "10min", "-k", "15", "-c", "2", "-F", "-1", "-i", "4", "-W", "2", "-P", "3", "-Q", "64", "-T", "8", "-g", "-G", "-D",
			},
			want: connect.Request{Wish: wish.Wish{TID: tid.TID{
				Transport: "tcp", Traddr: "192.0.2.1", Trsvcid: "4420", NQN: nqn, HostTraddr: "192.0.2.9", HostIface: "eth0",
				HostNQN: "nqn.2014-08.org.nvmexpress:uuid:" + other, HostID: other,
			}, Params: params(t, map[param.Param]string{
				param.CtrlLossTMO: "600", param.KeepAliveTMO: "15", param.ReconnectDelay: "2", param.FastIOFailTMO: "-1",
				param.NrIOQueues: "4", param.NrWriteQueues: "2", param.NrPollQueues: "3", param.QueueSize: "64", param.TOS: "8",
				param.HdrDigest: "true", param.DataDigest: "true", param.DuplicateConnect: "true",
			})}},
		},
		{
			name: "a long option of nvme connect with underscores",
			args: []string{"connect", "--transport=loop", "--nqn=" + nqn, "--fast_io_fail_tmo=5"},
			want: connect.Request{Wish: wish.Wish{
				TID:    tid.TID{Transport: "loop", NQN: nqn, HostNQN: "nqn.2014-08.org.nvmexpress:uuid:1", HostID: hostID},
				Params: params(t, map[param.Param]string{param.FastIOFailTMO: "5"}),
			}},
		},
		{
			name: "of a unit",
			args: []string{
				"connect", "-t", "loop", "-n", nqn,
				"--idempotent", "--owner=nbft", "--unit=" + unit, "--devid-file=/run/nvme/discoverd/units/x.devid",
			},
			want: connect.Request{
				Wish: wish.Wish{Owner: wish.OwnerNBFT, TID: tid.TID{
					Transport: "loop", NQN: nqn, HostNQN: "nqn.2014-08.org.nvmexpress:uuid:1", HostID: hostID,
				}},
				Idempotent: true, Unit: unit, DevidFile: "/run/nvme/discoverd/units/x.devid",
			},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			fake := &fakeConnector{}
			if status, _, stderr := run(fake, root, test.args...); status != Done {
				t.Fatalf("status %d: %s", status, stderr)
			}
			if fake.request != test.want {
				t.Errorf("(-want +got):\n%s", fmt.Sprintf("-%+v\n+%+v", test.want, fake.request))
			}
		})
	}
}

// params makes a set of parameters.
func params(t *testing.T, values map[param.Param]string) (set param.Set) {
	t.Helper()
	for p, value := range values {
		var err error
		if set, err = set.With(p, value); err != nil {
			t.Fatal(err)
		}
	}
	return set
}

func TestUnreadableIdentity(t *testing.T) {
	root := paths.Root(t.TempDir())
	if err := os.MkdirAll(root.HostNQN(), 0o755); err != nil {
		t.Fatal(err)
	}
	status, _, stderr := run(&fakeConnector{}, root, "connect", "-t", "tcp", "-a", "192.0.2.1", "-n", nqn)
	want := "cannot read host identity " + root.HostNQN() + ": is a directory\n"
	if status != Failed || stderr != want {
		t.Errorf("status %d, %q, want %d, %q", status, stderr, Failed, want)
	}
}

func TestDisconnectSelection(t *testing.T) {
	root := paths.Root(t.TempDir())
	write(t, root.HostNQN(), "nqn.2014-08.org.nvmexpress:uuid:1\n")
	controller := func(name, traddr, nqn, hostnqn string) sysfs.Controller {
		return sysfs.Controller{
			Name: name, Transport: "tcp", Traddr: traddr, Trsvcid: "4420", NQN: nqn, HostNQN: hostnqn, State: "live", Type: "io",
		}
	}
	controllers := []sysfs.Controller{
		controller("nvme1", "192.0.2.1", nqn, "nqn.2014-08.org.nvmexpress:uuid:1"),
		controller("nvme2", "192.0.2.2", nqn, "nqn.2014-08.org.nvmexpress:uuid:1"),
		controller("nvme3", "192.0.2.1", nqn+"2", "nqn.2014-08.org.nvmexpress:uuid:1"),
		controller("nvme4", "192.0.2.1", nqn, "nqn.2014-08.org.nvmexpress:uuid:2"),
		controller("nvme5", "192.0.2.5", "vol1", "nqn.2014-08.org.nvmexpress:uuid:1"),
	}
	write(t, root.Join("run/nvme/discoverd/units", strings.TrimSuffix(unit, ".service")+".devid"), "nvme3\n")
	write(t, root.Join("run/nvme/discoverd/controllers/nvme3/unit"), unit+"\n")
	for _, test := range []struct {
		args    []string
		what    string
		matched []string
	}{
		{[]string{"--device=nvme2"}, "nvme2", []string{"nvme2"}},
		{[]string{"--nqn=" + nqn}, nqn, []string{"nvme1", "nvme2", "nvme4"}},
		{[]string{"-t", "tcp", "-a", "192.0.2.1", "-n", nqn}, "(tcp, 192.0.2.1, 4420, " + nqn + ")", []string{"nvme1"}},
		{[]string{"-d", "/dev/nvme2"}, "nvme2", []string{"nvme2"}},
		{[]string{"-d", "nvme4,nvme2"}, "nvme2", []string{"nvme4", "nvme2"}},
		{[]string{"-n", nqn, "-a", "::ffff:192.0.2.1"}, "(::ffff:192.0.2.1, " + nqn + ")", []string{"nvme1", "nvme4"}},
		{[]string{"-n", nqn, "-t", "tcp"}, "(tcp, " + nqn + ")", []string{"nvme1", "nvme2", "nvme4"}},
		{[]string{"-n", nqn, "-q", "nqn.2014-08.org.nvmexpress:uuid:2"}, "(" + nqn + ")", []string{"nvme4"}},
		{[]string{"nvme2"}, "nvme2", []string{"nvme2"}},
		{[]string{"/dev/nvme2", "nvme3"}, "nvme3", []string{"nvme2", "nvme3"}},
		{[]string{nqn}, nqn, []string{"nvme1", "nvme2", "nvme4"}},
		{[]string{"vol1"}, "vol1", []string{"nvme5"}},
		{[]string{"transport=tcp;traddr=192.0.2.1;nqn=" + nqn}, "(tcp, 192.0.2.1, 4420, " + nqn + ")", []string{"nvme1"}},
		{[]string{"nqn=" + nqn + ";traddr=192.0.2.2"}, "(192.0.2.2, " + nqn + ")", []string{"nvme2"}},
		{[]string{unit}, "nvme3", []string{"nvme3"}},
		{[]string{strings.TrimSuffix(unit, ".service")}, "nvme3", []string{"nvme3"}},
	} {
		fake := &fakeConnector{controllers: controllers}
		status, stdout, stderr := run(fake, root, append([]string{"disconnect"}, test.args...)...)
		if status != Done {
			t.Fatalf("%v: status %d: %s", test.args, status, stderr)
		}
		if fake.what != test.what {
			t.Errorf("%v: %q, want %q", test.args, fake.what, test.what)
		}
		if diff := cmp.Diff(test.matched, fake.matched); diff != "" {
			t.Errorf("%v (-want +got):\n%s", test.args, diff)
		}
		if want := "disconnected " + strings.Join(test.matched, "\ndisconnected ") + "\n"; stdout != want {
			t.Errorf("%v: stdout %q, want %q", test.args, stdout, want)
		}
	}
}

// TestDisconnectAnyIdentity: where no file says who this host is, a connection is the one meant whoever this host was for it.
func TestDisconnectAnyIdentity(t *testing.T) {
	root := paths.Root(t.TempDir())
	write(t, root.MachineID(), "0123456789abcdef0123456789abcdef\n")
	c := tcp("nvme1", "192.0.2.1", nqn)
	for hostnqn, want := range map[string][]string{"": {"nvme1"}, c.HostNQN: {"nvme1"}, "nqn.2014-08.org.nvmexpress:uuid:2": nil} {
		fake := &fakeConnector{controllers: []sysfs.Controller{c}}
		run(fake, root, "disconnect", "-t", "tcp", "-a", "192.0.2.1", "-n", nqn, "-q", hostnqn)
		if diff := cmp.Diff(want, fake.matched); diff != "" {
			t.Errorf("as %q (-want +got):\n%s", hostnqn, diff)
		}
	}
}

// TestDisconnectUnitTID: the identity of this host, which may have changed since the connect, is not put in.
func TestDisconnectUnitTID(t *testing.T) {
	root := paths.Root(t.TempDir())
	write(t, root.HostNQN(), "nqn.2014-08.org.nvmexpress:uuid:1\n")
	fake := &fakeConnector{}
	run(fake, root, "disconnect", "--unit="+unit, "-t", "tcp", "-a", "192.0.2.1", "-n", nqn)
	want := tid.TID{Transport: "tcp", Traddr: "192.0.2.1", Trsvcid: "4420", NQN: nqn}
	if diff := cmp.Diff(want, fake.tid); diff != "" || fake.unit != unit {
		t.Errorf("unit %q (-want +got):\n%s", fake.unit, diff)
	}
}

func TestPrune(t *testing.T) {
	for _, test := range []struct {
		name, device, seqnum string
		status               int
		stdout, stderr       string
	}{
		{"gone", "nvme3", "101", Done, "removed the registry entry of nvme3\n", ""},
		{"entry of a later one", "nvme3", "100", Done, "", ""},
		{"no entry", "nvme4", "101", Done, "", ""},
		{"no name", "nvme0n1", "101", Failed, "", "cannot use device name \"nvme0n1\": it must be nvme and a number, such as nvme3\n"},
		{"bad number", "nvme3", "-1", Usage, "", "cannot prune without the number of the remove event: udev has it in SEQNUM: see nvme-discoverctl registry prune --help\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			root := paths.Root(t.TempDir())
			write(t, filepath.Join(root.Registry(), "nvme3", "owner"), "discoverd\n")
			write(t, filepath.Join(root.Registry(), "nvme3", "seqnum"), "100\n")
			var stdout, stderr bytes.Buffer
			status := Run(context.Background(), Env{
				Args:   []string{"registry", "prune", test.device, "--root=" + string(root)},
				Getenv: func(key string) string { return map[string]string{"SEQNUM": test.seqnum}[key] },
				Stdout: &stdout, Stderr: &stderr,
			})
			if status != test.status || stdout.String() != test.stdout || stderr.String() != test.stderr {
				t.Errorf("status %d, stdout %q, stderr %q, want %d, %q, %q", status, &stdout, &stderr, test.status, test.stdout, test.stderr)
			}
		})
	}
}

// kernel stands for the fabrics device.
type kernel struct{ dropped []string }

func (k kernel) Connect(context.Context, wish.Wish, secret.Set) (fabrics.Result, error) {
	return fabrics.Result{Device: "nvme3", CntlID: 1, Dropped: k.dropped}, nil
}

// TestWholeUnit runs the three commands of a unit on one tree, as systemd does.
func TestWholeUnit(t *testing.T) {
	root := paths.Root(t.TempDir())
	write(t, root.UeventSeqnum(), "100\n")
	c := connect.New(root, kernel{}, func(err error) { t.Error(err) })
	devid := root.Join("run/nvme/discoverd/units/nvme-discoverd-0123456789ab.devid")
	options := []string{"--transport=tcp", "--traddr=192.0.2.1", "--trsvcid=4420", "--nqn=" + nqn}
	for _, test := range []struct{ args, stdout string }{
		{"connect --idempotent --owner=discoverd --devid-file=" + devid, "connected nvme3: (tcp, 192.0.2.1, 4420, " + nqn + ")\n"},
		{"disconnect", "nothing disconnected: nvme3 is gone\n"}, // this kernel shows nothing in sysfs
	} {
		args := append(strings.Fields(test.args), "--unit="+unit)
		status, stdout, stderr := run(c, root, append(args, options...)...)
		if status != Done || stdout != test.stdout || stderr != "" {
			t.Errorf("%s: status %d, stdout %q, stderr %q, want stdout %q", test.args, status, stdout, stderr, test.stdout)
		}
		if _, err := os.Stat(devid); err != nil {
			t.Errorf("after %s: %v", test.args, err)
		}
	}
	write(t, root.UeventSeqnum(), "102\n")
	if status, _, stderr := run(c, root, "cleanup", "--unit="+unit); status != Done {
		t.Errorf("cleanup: status %d, %s", status, stderr)
	}
	var left []string
	filepath.WalkDir(root.Join("run/nvme"), func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() && !strings.Contains(path, "/locks/") {
			left = append(left, path)
		}
		return nil
	})
	if len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

// An error may have names in it that come from outside: they do not move the cursor, and its lines stay lines.
func TestErrorsAreLegible(t *testing.T) {
	fake := &fakeConnector{err: errors.New("cannot disconnect nvme9: it is mounted on /\x1b[2J\nand so on")}
	if status, _, errs := run(fake, "", "disconnect", "-d", "nvme9"); status != Failed || errs != "cannot disconnect nvme9: it is mounted on /\\x1b[2J\nand so on\n" {
		t.Errorf("got status %d and %q", status, errs)
	}
}
