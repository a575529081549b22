// SPDX-License-Identifier: GPL-3.0-or-later

//go:build e2e

package guest

import (
	"fmt"
	"strings"
	"time"

	"github.com/nvme-discoverd/nvme-discoverd/internal/e2e/follow"
)

// configFile is the service's configuration.
const configFile = "/etc/nvme/discoverd.conf"

// startTimeout is how long the service may take to become ready. It does not wait for connections, so seconds are plenty.
const startTimeout = time.Minute

// Configure writes the service's configuration.
func Configure(t T, text string) {
	t.Helper()
	put(t, configFile, text)
}

// ConfigureDiscovery writes a configuration that names only the discovery controllers of the ports.
func ConfigureDiscovery(t T, ports ...*Port) {
	t.Helper()
	text := ""
	for _, p := range ports {
		text += fmt.Sprintf("[[discovery-controller]]\ncontroller = [{ transport = %q, traddr = %q, trsvcid = %s }]\n\n",
			p.Transport, p.Traddr, p.Trsvcid)
	}
	Configure(t, text)
}

// Enable enables and starts the service, as its documentation says, and returns once systemd says that it is ready.
func Enable(t T) {
	t.Helper()
	Run(t, "systemctl", "enable", "--now", "--quiet", Service)
	WaitActive(t)
}

// Start starts the service and returns once systemd says that it is ready.
func Start(t T) {
	t.Helper()
	begin := time.Now()
	Run(t, "systemctl", "start", Service)
	if took := time.Since(begin); took > startTimeout {
		t.Errorf("service took %v to become ready", took)
	}
	WaitActive(t)
}

// Stop stops the service.
func Stop(t T) {
	t.Helper()
	Run(t, "systemctl", "stop", Service)
}

// WaitActive waits until the service is active.
func WaitActive(t T) {
	t.Helper()
	eventually(t, follow.Units, startTimeout, "service active", func() (bool, string) {
		state := ActiveState(t, Service)
		return state == "active", state
	})
}

// WaitStatus waits until the service's line of status has the words.
func WaitStatus(t T, words string) {
	t.Helper()
	eventually(t, follow.Units, connectTimeout, "the service says: "+words, func() (bool, string) {
		status := Property(t, Service, "StatusText")
		return strings.Contains(status, words), status
	})
}

// Override adds a drop-in to the service's unit, for this scenario.
func Override(t T, text string) {
	t.Helper()
	put(t, overrides+"/e2e.conf", text)
	Run(t, "systemctl", "daemon-reload")
}

// OverrideConnections adds a drop-in to the unit of a connection, or to those of all, nvme-discoverd-.service, for this scenario.
func OverrideConnections(t T, units, text string) {
	t.Helper()
	dropIn := "/run/systemd/system/" + units + ".d/e2e.conf"
	put(t, dropIn, text)
	Run(t, "systemctl", "daemon-reload")
	t.Cleanup(func() {
		Remove(t, dropIn)
		Run(t, "systemctl", "daemon-reload")
	})
}
