// SPDX-License-Identifier: GPL-3.0-or-later

package client

import (
	"bufio"
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/nvme-discoverd/nvme-discoverd/internal/paths"
)

// listen returns the socket of a daemon below a root of its own.
func listen(t *testing.T) (net.Listener, paths.Root) {
	t.Helper()
	root := paths.Root(t.TempDir())
	if err := os.MkdirAll(filepath.Dir(root.Socket()), 0o755); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", root.Socket())
	if err != nil {
		t.Fatal(err)
	}
	return l, root
}

// scripted answers each call on one connection with the next of the replies, and then hangs up. It returns what it was sent.
func scripted(t *testing.T, replies ...string) (*Client, <-chan []string) {
	t.Helper()
	l, root := listen(t)
	got := make(chan []string, 1)
	go func() {
		defer l.Close()
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		var calls []string
		r := bufio.NewReader(conn)
		for _, reply := range replies {
			call, err := r.ReadString(0)
			if err != nil {
				break
			}
			calls = append(calls, call[:len(call)-1])
			if _, err := conn.Write([]byte(reply)); err != nil {
				break
			}
		}
		got <- calls
	}()
	c, err := Dial(context.Background(), root)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c, got
}

// What is sent for each call.
func TestCalls(t *testing.T) {
	c, got := scripted(t, "{}\x00", `{"parameters":{"controller":{"nqn":"a"}},"continues":true}`+"\x00"+`{"parameters":{"controller":{"nqn":"b"}}}`+"\x00",
		`{"parameters":{"controller":{"nqn":"b"}}}`+"\x00", `{"parameters":{"count":3}}`+"\x00", "{}\x00")
	ctx := context.Background()
	if _, err := c.Status(ctx); err != nil {
		t.Error(err)
	}
	if all, err := c.Controllers(ctx, ""); err != nil || len(all) != 2 || all[1].Nqn != "b" {
		t.Errorf("got %v, %v, want a and b", all, err)
	}
	if _, err := c.Controllers(ctx, "nvme1"); err != nil {
		t.Error(err)
	}
	if n, err := c.Control(ctx, "Retry", ""); n != 3 || err != nil {
		t.Errorf("got %d, %v, want 3", n, err)
	}
	if err := c.Reload(ctx); err != nil {
		t.Error(err)
	}
	want := []string{
		`{"method":"org.nvmexpress.discoverd.GetStatus","parameters":{}}`,
		`{"method":"org.nvmexpress.discoverd.ListControllers","parameters":{},"more":true}`,
		`{"method":"org.nvmexpress.discoverd.ListControllers","parameters":{"target":"nvme1"},"more":true}`,
		`{"method":"org.nvmexpress.discoverd.Retry","parameters":{}}`,
		`{"method":"org.nvmexpress.discoverd.Reload","parameters":{}}`,
	}
	if diff := cmp.Diff(want, <-got); diff != "" {
		t.Error(diff)
	}
}

// What each answer that is none comes out as.
func TestErrors(t *testing.T) {
	const prefix = `{"error":"org.nvmexpress.discoverd.`
	tests := []struct{ reply, kind, want string }{
		{prefix + `NoSuchController","parameters":{"target":"x"}}`, "NoSuchController", `cannot find a controller called "x": give a unit, nvmeN, NQN or TID that nvme-discoverctl list shows`},
		{prefix + `NotPossible","parameters":{"target":"x","reason":"it is stopped"}}`, "NotPossible", "it is stopped"},
		{`{"error":"org.varlink.service.PermissionDenied","parameters":{}}`, "PermissionDenied", "cannot reload: only root may"},
		{prefix + `ReloadFailed","parameters":{"reason":"line 2"}}`, "ReloadFailed", "line 2\nWhat this concerns is as it was when it was right, or not connected; the rest is in force."},
		{prefix + `Timeout"}`, "Timeout", "nvme-discoverd did not answer in time: try again"},
		{prefix + `Busy"}`, "Busy", "nvme-discoverd is asked for too much at once: try again"},
		{prefix + `TooSlow"}`, "TooSlow", "nvme-discoverd ended its answer, which was not read in time: try again"},
		{prefix + `New"}`, "New", "nvme-discoverd answered with error New"},
		{`{"error":"org.varlink.service.MethodNotFound"}`, "", "nvme-discoverd does not understand the call (org.varlink.service.MethodNotFound): is it of another version?"},
		{`hello`, "", "cannot understand nvme-discoverd's answer: invalid character 'h' looking for beginning of value"},
	}
	for _, test := range tests {
		c, _ := scripted(t, test.reply+"\x00")
		err := c.Reload(context.Background())
		if err == nil || err.Error() != test.want {
			t.Errorf("%s: got %v, want %s", test.reply, err, test.want)
		}
		var typed *Error
		if errors.As(err, &typed) != (test.kind != "") || typed != nil && typed.Kind != test.kind {
			t.Errorf("%s: got %#v, want kind %q", test.reply, err, test.kind)
		}
	}
}

// Nobody listens, or nobody does any more.
func TestNobodyThere(t *testing.T) {
	root := paths.Root(t.TempDir())
	want := "cannot reach nvme-discoverd: nobody answers on " + root.Socket() + ": see systemctl status nvme-discoverd"
	check := func(what string) {
		t.Helper()
		_, err := Dial(context.Background(), root)
		var missing *SocketNotFoundError
		if !errors.As(err, &missing) || err.Error() != want {
			t.Errorf("%s: got %v, want %s", what, err, want)
		}
	}
	check("no socket")
	if err := os.MkdirAll(filepath.Dir(root.Socket()), 0o755); err != nil {
		t.Fatal(err)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: root.Socket(), Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
	check("stale socket")

	c, _ := scripted(t)
	err = c.Reload(context.Background())
	if want := "nvme-discoverd hung up on " + c.path + ": it ends, or has too many clients: try again"; err == nil || err.Error() != want {
		t.Errorf("hung up: got %v, want %s", err, want)
	}
}

func TestMonitor(t *testing.T) {
	c, got := scripted(t, `{"parameters":{"snapshot":true,"controllers":[{"nqn":"a"}],"removed":[],"status":"s"},"continues":true}`+"\x00"+
		`{"parameters":{"controllers":[],"removed":["b"],"status":"t"},"continues":true}`+"\x00"+`{"error":"org.nvmexpress.discoverd.TooSlow"}`+"\x00")
	var changes []Change
	err := c.Monitor(context.Background(), func(change Change) error {
		changes = append(changes, change)
		return nil
	})
	want := []Change{
		{Snapshot: true, Controllers: []Controller{{Nqn: "a"}}, Removed: []string{}, Status: "s"},
		{Controllers: []Controller{}, Removed: []string{"b"}, Status: "t"},
	}
	if diff := cmp.Diff(want, changes); diff != "" {
		t.Error(diff)
	}
	if err == nil || err.Error() != "nvme-discoverd ended the monitoring: changes were not read as fast as they came: try again" {
		t.Errorf("end: got %v", err)
	}
	if diff := cmp.Diff([]string{`{"method":"org.nvmexpress.discoverd.Monitor","parameters":{},"more":true}`}, <-got); diff != "" {
		t.Error(diff)
	}
}

// A context that ends ends a call that nobody answers.
func TestCanceled(t *testing.T) {
	l, root := listen(t)
	defer l.Close()
	ctx, cancel := context.WithCancel(context.Background())
	c, err := Dial(ctx, root)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	cancel()
	if err := c.Reload(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want that it was canceled", err)
	}
}
