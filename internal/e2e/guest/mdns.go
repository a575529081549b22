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

// The unit of the other host's Avahi, the directory of what that announces, and its configuration.
const (
	farAvahi    = "far-avahi.service"
	farServices = "/run/far-services"
	farConfig   = "/run/far-avahi.conf"
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
type Announcer struct {
	t       T
	started bool
}

// NewAnnouncer makes an Avahi of the other host that is not started yet.
func (f *Far) NewAnnouncer() *Announcer {
	f.t.Helper()
	a := &Announcer{t: f.t}
	put(f.t, farConfig, "[server]\nhost-name=array\nenable-dbus=no\n[publish]\npublish-workstation=no\npublish-hinfo=no\n")
	if err := os.MkdirAll(farServices, 0o755); err != nil {
		f.t.Fatalf("cannot make %v", err)
	}
	f.t.Cleanup(func() {
		Try(f.t, "systemctl", "stop", farAvahi)
		_ = os.RemoveAll(farServices)
		_ = os.Remove(farConfig)
	})
	return a
}

// Start starts the other host's Avahi.
func (a *Announcer) Start() {
	a.t.Helper()
	Run(a.t, "systemd-run", "--unit="+farAvahi, "--property=NetworkNamespacePath=/run/netns/far", "--property=BindPaths="+farServices+":/etc/avahi/services",
		"--property=TemporaryFileSystem=/run/avahi-daemon", "avahi-daemon", "--no-drop-root", "--no-chroot", "--no-rlimits", "--file="+farConfig)
	a.started = true
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
	if a.started { // long enough ago to know the signal
		Run(a.t, "systemctl", "kill", "--signal=HUP", farAvahi)
	}
}

// Restart stops the other host's Avahi, which withdraws all, and starts it again.
func (a *Announcer) Restart() {
	a.t.Helper()
	Run(a.t, "systemctl", "restart", farAvahi)
}
