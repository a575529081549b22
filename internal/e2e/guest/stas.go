// SPDX-License-Identifier: GPL-3.0-or-later

//go:build e2e

package guest

import "os"

// The services of nvme-stas: the one that keeps discovery controllers, and the one that keeps I/O controllers.
const (
	Stafd = "stafd.service"
	Stacd = "stacd.service"
)

// ConfigureStas has nvme-stas connect the discovery controller of a port, what that names, and a subsystem by its name.
// Its services are not running yet; they are stopped when the scenario ends, and forget all.
func ConfigureStas(t T, port *Port, nqn string) {
	t.Helper()
	Replace(t, "/etc/stas/stafd.conf", "[Service Discovery]\nzeroconf = disabled\n\n[Controllers]\n"+
		"controller = transport=tcp;traddr="+port.Traddr+";trsvcid="+port.Trsvcid+"\n")
	Replace(t, "/etc/stas/stacd.conf", "[Controllers]\n"+
		"controller = transport=tcp;traddr="+port.Traddr+";trsvcid="+port.Trsvcid+";subsysnqn="+nqn+"\n")
	t.Cleanup(func() {
		StopStas(t)
		for _, dir := range []string{"/run/stafd", "/run/stacd"} {
			if err := os.RemoveAll(dir); err != nil {
				t.Errorf("cannot clean up: %v", err)
			}
		}
	})
}

// ReleaseByStas takes the discovery controller away from nvme-stas.
func ReleaseByStas(t T) {
	t.Helper()
	put(t, "/etc/stas/stafd.conf", "[Service Discovery]\nzeroconf = disabled\n")
	Run(t, "systemctl", "reload", Stafd)
}

// StartStas starts both services of nvme-stas.
func StartStas(t T) {
	t.Helper()
	Run(t, "systemctl", "start", Stafd, Stacd)
}

// StopStas stops both services of nvme-stas.
func StopStas(t T) {
	t.Helper()
	Run(t, "systemctl", "stop", Stacd, Stafd)
}
