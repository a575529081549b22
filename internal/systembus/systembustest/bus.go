// SPDX-License-Identifier: GPL-3.0-or-later

// Package systembustest has a real dbus-daemon for tests, and messages that no library of D-Bus would send.
package systembustest

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/godbus/dbus/v5"
)

// Bus is a dbus-daemon that belongs to one test.
type Bus struct {
	Socket string // its path

	t       *testing.T
	config  string
	process *exec.Cmd
}

// Start starts a dbus-daemon until the test ends. Without dbus-daemon the test is skipped.
func Start(t *testing.T) *Bus {
	t.Helper()
	if _, err := exec.LookPath("dbus-daemon"); err != nil {
		t.Skipf("dbus-daemon is not installed: %v", err)
	}
	dir, err := os.MkdirTemp("", "bus") // t.TempDir may be too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	b := &Bus{Socket: filepath.Join(dir, "bus"), t: t, config: filepath.Join(dir, "bus.conf")}
	// What a local user may do on the system bus, and owning the names of services besides.
	config := `<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><type>system</type><auth>EXTERNAL</auth><listen>unix:path=` + b.Socket + `</listen>
<policy context="default"><allow user="*"/><allow own="*"/><allow send_type="method_call"/><allow send_type="signal"/>
<allow send_requested_reply="true" send_type="method_return"/><allow send_requested_reply="true" send_type="error"/>
<allow receive_type="method_call"/><allow receive_type="method_return"/><allow receive_type="error"/>
<allow receive_type="signal"/></policy></busconfig>`
	if err := os.WriteFile(b.config, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	b.Restart()
	t.Cleanup(b.Kill)
	return b
}

// Restart starts the daemon again after Kill and waits until it listens.
func (b *Bus) Restart() {
	b.t.Helper()
	b.process = exec.Command("dbus-daemon", "--config-file="+b.config, "--nofork", "--print-address")
	out, err := b.process.StdoutPipe()
	if err != nil {
		b.t.Fatal(err)
	}
	var errs strings.Builder
	b.process.Stderr = &errs
	if err := b.process.Start(); err != nil {
		b.t.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 1)); err != nil {
		_ = b.process.Wait()
		b.t.Fatalf("dbus-daemon did not come up: %v\n%s", err, errs.String())
	}
	go func() { _, _ = io.Copy(io.Discard, out) }()
}

// Kill ends the daemon as a crash would.
func (b *Bus) Kill() {
	_ = b.process.Process.Kill()
	_ = b.process.Wait()
}

// Connect returns a connection that ends with the test.
func (b *Bus) Connect() *dbus.Conn {
	b.t.Helper()
	conn, err := dbus.Connect("unix:path=" + b.Socket)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { conn.Close() })
	return conn
}
