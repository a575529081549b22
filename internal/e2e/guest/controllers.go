// SPDX-License-Identifier: GPL-3.0-or-later

//go:build e2e

package guest

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/nvme-discoverd/nvme-discoverd/internal/e2e/follow"
)

// DiscoveryNQN is the name every discovery controller answers to.
const DiscoveryNQN = "nqn.2014-08.org.nvmexpress.discovery"

// fabricsDevices is where the kernel keeps controllers over fabrics, and only those: the PCIe disk is elsewhere. (See observedSys.)
const fabricsDevices = observedSys + "/devices/virtual/nvme-fabrics/ctl"

// Controller is one controller over fabrics as sysfs shows it.
type Controller struct {
	Name       string // nvme3
	NQN        string
	State      string
	Transport  string
	Traddr     string
	Trsvcid    string
	Type       string // discovery or io
	HostNQN    string
	KATO       string // in seconds
	HostTraddr string // as the connect pinned it
}

// String is one line about the controller.
func (c Controller) String() string {
	return fmt.Sprintf("%s %s %s %s %s:%s %s", c.Name, c.State, c.Type, c.Transport, c.Traddr, c.Trsvcid, c.NQN)
}

// Controllers lists the controllers over fabrics, by name.
func Controllers() []Controller {
	var all []Controller
	for _, name := range names(fabricsDevices) {
		dir := filepath.Join(fabricsDevices, name)
		if !strings.HasPrefix(name, "nvme") || !exists(filepath.Join(dir, "state")) {
			continue
		}
		address := addressFields(read(filepath.Join(dir, "address")))
		all = append(all, Controller{
			Name: name, NQN: read(filepath.Join(dir, "subsysnqn")), State: read(filepath.Join(dir, "state")),
			Transport: read(filepath.Join(dir, "transport")), Traddr: address["traddr"], Trsvcid: address["trsvcid"],
			Type: read(filepath.Join(dir, "cntrltype")), HostNQN: read(filepath.Join(dir, "hostnqn")),
			KATO: read(filepath.Join(dir, "kato")), HostTraddr: address["host_traddr"],
		})
	}
	return all
}

// addressFields splits the address attribute, such as "traddr=127.0.0.1,trsvcid=4420,src_addr=127.0.0.1".
func addressFields(address string) map[string]string {
	fields := map[string]string{}
	for field := range strings.SplitSeq(address, ",") {
		key, value, _ := strings.Cut(field, "=")
		fields[key] = value
	}
	return fields
}

// Live lists the names of controllers with that NQN whose state is live.
func Live(nqn string) []string {
	var found []string
	for _, c := range Controllers() {
		if c.NQN == nqn && c.State == "live" {
			found = append(found, c.Name)
		}
	}
	return found
}

// Devices maps NQNs to the names of their controllers, in whatever state.
func Devices() map[string]string {
	all := map[string]string{}
	for _, c := range Controllers() {
		all[c.NQN] = c.Name
	}
	return all
}

// WaitLive waits until exactly the NQNs given have a live controller, one each, and nothing else is there; it returns
// their device names by NQN.
func WaitLive(t T, timeout time.Duration, nqns ...string) map[string]string {
	t.Helper()
	eventually(t, follow.Kernel, timeout, fmt.Sprintf("exactly %d controllers, all live", len(nqns)), func() (bool, string) {
		return exactlyLive(nqns)
	})
	return Devices()
}

// WaitOneLive waits until exactly one controller with an NQN is live, whatever else there is; it returns its device name.
func WaitOneLive(t T, nqn, what string) string {
	t.Helper()
	var live []string
	eventually(t, follow.Kernel, connectTimeout, what, func() (bool, string) {
		live = Live(nqn)
		return len(live) == 1, fmt.Sprint(live)
	})
	return live[0]
}

// exactlyLive tells whether the NQNs given, and no others, have one live controller each.
func exactlyLive(nqns []string) (bool, string) {
	all := Controllers()
	var seen, lines []string
	ok := true
	for _, c := range all {
		seen = append(seen, c.NQN)
		lines = append(lines, c.String())
		ok = ok && c.State == "live"
	}
	wanted := slices.Sorted(slices.Values(nqns))
	slices.Sort(seen)
	for _, nqn := range wanted {
		if !slices.Contains(seen, nqn) {
			lines = append(lines, "missing "+nqn)
		}
	}
	return ok && slices.Equal(seen, wanted), "\n\t" + strings.Join(lines, "\n\t")
}

// Delete disconnects a controller as `nvme disconnect -d` does, behind the service's back.
func Delete(t T, device string) {
	t.Helper()
	if err := remove(device); err != nil {
		t.Fatalf("cannot delete controller: %v", err)
	}
}

// remove is Delete, with an error. The kernel refuses, as busy, what was never connected yet.
func remove(device string) error {
	err := os.WriteFile(filepath.Join(fabricsDevices, device, "delete_controller"), []byte("1"), 0o200)
	if gone(err) {
		return nil
	}
	return err
}

// NQNs lists the names of subsystems, after the well-known discovery NQN if discovery is set.
func NQNs(discovery bool, subsystems ...*Subsystem) []string {
	var all []string
	if discovery {
		all = append(all, DiscoveryNQN)
	}
	for _, s := range subsystems {
		all = append(all, s.NQN)
	}
	return all
}

// ControllerAttribute reads one attribute of a controller in sysfs.
func ControllerAttribute(device, name string) string {
	return read(filepath.Join(fabricsDevices, device, name))
}

// LiveCount tells how many controllers are live, reading as little of sysfs as possible: for measuring.
func LiveCount() int {
	count := 0
	for _, name := range names(fabricsDevices) {
		if strings.HasPrefix(name, "nvme") && ControllerAttribute(name, "state") == "live" {
			count++
		}
	}
	return count
}

// At is the name of the live controller of an NQN behind one port, "" where there is not exactly one.
func At(p *Port, nqn string) string {
	found := ""
	for _, c := range Controllers() {
		if c.NQN == nqn && c.Traddr == p.Traddr && c.Trsvcid == p.Trsvcid && c.State == "live" {
			if found != "" {
				return ""
			}
			found = c.Name
		}
	}
	return found
}
