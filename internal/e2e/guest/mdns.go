// SPDX-License-Identifier: GPL-3.0-or-later

//go:build e2e

package guest

import (
	"fmt"
	"os"
	"path/filepath"
)

// Avahi is the service that browses mDNS at this host.
const Avahi = "avahi-daemon.service"

// farAvahi is the unit of the other host's Avahi, and the directory of what that announces.
const (
	farAvahi    = "far-avahi.service"
	farServices = "/run/far-services"
)

// StartAvahi starts this host's Avahi, until the scenario ends.
func StartAvahi(t T) {
	t.Helper()
	Run(t, "systemctl", "start", Avahi)
	t.Cleanup(func() { StopAvahi(t) })
}

// StopAvahi stops this host's Avahi.
func StopAvahi(t T) {
	t.Helper()
	Run(t, "systemctl", "stop", Avahi, "avahi-daemon.socket")
}

// Announcer is an Avahi at the other host, which announces what it is told on all of its interfaces.
type Announcer struct{ t T }

// NewAnnouncer starts the other host's Avahi.
func (f *Far) NewAnnouncer() *Announcer {
	f.t.Helper()
	a := &Announcer{f.t}
	const config = "/run/far-avahi.conf"
	put(f.t, config, "[server]\nhost-name=array\nenable-dbus=no\n[publish]\npublish-workstation=no\npublish-hinfo=no\n")
	if err := os.MkdirAll(farServices, 0o755); err != nil {
		f.t.Fatalf("cannot make %v", err)
	}
	f.t.Cleanup(func() {
		Try(f.t, "systemctl", "stop", farAvahi)
		_ = os.RemoveAll(farServices)
		_ = os.Remove(config)
	})
	Run(f.t, "systemd-run", "--unit="+farAvahi, "--property=NetworkNamespacePath=/run/netns/far", "--property=BindPaths="+farServices+":/etc/avahi/services",
		"--property=TemporaryFileSystem=/run/avahi-daemon", "avahi-daemon", "--no-drop-root", "--no-chroot", "--no-rlimits", "--file="+config)
	return a
}

// Announce announces a discovery controller under a name, with the records given as TXT data.
func (a *Announcer) Announce(name string, port int, txt ...string) {
	a.t.Helper()
	records := ""
	for _, record := range txt {
		records += "<txt-record>" + record + "</txt-record>"
	}
	put(a.t, a.file(name), fmt.Sprintf(`<?xml version="1.0" standalone="no"?><!DOCTYPE service-group SYSTEM "avahi-service.dtd">
<service-group><name>%s</name><service><type>_nvme-disc._tcp</type><port>%d</port>%s</service></service-group>
`, name, port, records))
	a.reload()
}

// Withdraw takes an announcement back.
func (a *Announcer) Withdraw(name string) {
	a.t.Helper()
	if err := os.Remove(a.file(name)); err != nil {
		a.t.Fatalf("cannot withdraw: %v", err)
	}
	a.reload()
}

func (*Announcer) file(name string) string { return filepath.Join(farServices, name+".service") }

func (a *Announcer) reload() {
	a.t.Helper()
	Run(a.t, "systemctl", "kill", "--signal=HUP", farAvahi)
}

// Restart stops the other host's Avahi, which withdraws all, and starts it again.
func (a *Announcer) Restart() {
	a.t.Helper()
	Run(a.t, "systemctl", "restart", farAvahi)
}
