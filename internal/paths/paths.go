// SPDX-License-Identifier: GPL-3.0-or-later

// Package paths names every file that nvme-discoverd reads or writes, below one root.
//
// Nothing else in the project spells an absolute path, so the whole of it runs against a temporary tree in tests.
package paths

import (
	"fmt"
	"path/filepath"
	"strings"
)

// Root is the directory that stands for "/". The empty Root is the real one.
type Root string

// Join returns the absolute path p below the root.
func (r Root) Join(p ...string) string {
	return filepath.Join(append([]string{"/", string(r)}, p...)...)
}

// DaemonConfig is the TOML configuration, docs/design.md, "Configuration".
func (r Root) DaemonConfig() string { return r.Join("etc/nvme/discoverd.conf") }

// FabricsConfig is the INI configuration that nvme-cli 3 and nvme-stas 3 share, docs/design.md, "Configuration".
func (r Root) FabricsConfig() string { return r.Join("etc/nvme/nvme-fabrics.conf") }

// DaemonDropIns is the directory of the files that add to DaemonConfig.
func (r Root) DaemonDropIns() string { return r.Join("etc/nvme/discoverd.conf.d") }

// NVMeDiscoveryConfig is nvme-cli 2's list of discovery controllers.
func (r Root) NVMeDiscoveryConfig() string { return r.Join("etc/nvme/discovery.conf") }

// NVMeJSONConfig is libnvme 1's configuration.
func (r Root) NVMeJSONConfig() string { return r.Join("etc/nvme/config.json") }

// STAFConfig is nvme-stas 2's configuration of discovery controllers.
func (r Root) STAFConfig() string { return r.Join("etc/stas/stafd.conf") }

// STACConfig is nvme-stas 2's configuration of I/O controllers.
func (r Root) STACConfig() string { return r.Join("etc/stas/stacd.conf") }

// NVMeDiscoverdConfig is the configuration of nvme-cli 3's own nvme-discoverd.
func (r Root) NVMeDiscoverdConfig() string { return r.Join("etc/nvme/nvme-discoverd.conf") }

// STASConfig is nvme-stas 3's configuration, in the format of FabricsConfig.
func (r Root) STASConfig() string { return r.Join("etc/nvme/nvme-stas.conf") }

// ConfigDir is the directory of everything that an administrator configures.
func (r Root) ConfigDir() string { return r.Join("etc/nvme") }

// HostNQN and HostID are the host identity files that nvme-cli and libnvme use too.
func (r Root) HostNQN() string { return r.Join("etc/nvme/hostnqn") }

// HostID is the file with the host identifier (a UUID).
func (r Root) HostID() string { return r.Join("etc/nvme/hostid") }

// MachineID is the file with the identity of this installation (machine-id(5)).
func (r Root) MachineID() string { return r.Join("etc/machine-id") }

// Exclusions is the directory of the exclusion lists, written where the host has none of nvme-cli 3's places.
func (r Root) Exclusions() string { return r.Join("etc/nvme/exclusions") }

// ExclusionsFile is nvme-cli 3's own exclusion list, which is read and never written.
func (r Root) ExclusionsFile() string { return r.Join("etc/nvme/exclusions.conf") }

// ExclusionsDropIns is the directory of nvme-cli 3's further exclusion lists, written where it or ExclusionsFile exists.
func (r Root) ExclusionsDropIns() string { return r.Join("etc/nvme/exclusions.conf.d") }

// Registry is the ownership registry: one directory per controller.
func (r Root) Registry() string { return r.Join("run/nvme/registry") }

// State is the daemon's own run-time directory.
func (r Root) State() string { return r.Join("run/nvme/discoverd") }

// FlightRecorder is the file that holds the recording of the daemon that runs.
func (r Root) FlightRecorder() string { return r.Join("run/nvme/discoverd/flight-recorder") }

// Recordings is the directory of the recordings of daemons that have ended.
func (r Root) Recordings() string { return r.Join("run/nvme/discoverd/recordings") }

// DaemonLock is the file that the daemon locks for as long as it runs.
func (r Root) DaemonLock() string { return r.Join("run/nvme/discoverd/lock") }

// DaemonStartLock is the file that a daemon locks while it gets DaemonLock.
func (r Root) DaemonStartLock() string { return r.Join("run/nvme/discoverd/lock.start") }

// Socket is where the daemon answers varlink calls, docs/design.md, "Varlink".
func (r Root) Socket() string { return r.Join("run/nvme/discoverd.socket") }

// Resolved is the varlink socket of systemd-resolved (systemd-resolved.service(8)).
func (r Root) Resolved() string { return r.Join("run/systemd/resolve/io.systemd.Resolve") }

// SystemBus is the socket of the D-Bus system bus (D-Bus Specification, "Well-known Message Bus Instances").
func (r Root) SystemBus() string { return r.Join("run/dbus/system_bus_socket") }

// Fabrics is the kernel's device that connects controllers.
func (r Root) Fabrics() string { return r.Join("dev/nvme-fabrics") }

// Device is the character device of a controller such as "nvme3".
func (r Root) Device(name string) string { return r.Join("dev", name) }

// CheckDevice tells why name is not the name of a controller, ^nvme[0-9]+$. It comes before every path that holds a name
// from outside.
func CheckDevice(name string) error {
	digits, ok := strings.CutPrefix(name, "nvme")
	if !ok || digits == "" || strings.Trim(digits, "0123456789") != "" {
		return fmt.Errorf("cannot use device name %q: it must be nvme and a number, such as nvme3", name)
	}
	return nil
}

// SysClassNVMe lists the controllers of the host, local PCIe ones among them.
func (r Root) SysClassNVMe() string { return r.Join("sys/class/nvme") }

// NVMeFabrics is the directory in which the kernel keeps the controllers over fabrics, and no others.
func (r Root) NVMeFabrics() string { return r.Join("sys/devices/virtual/nvme-fabrics/ctl") }

// FCDiscovery is the file that has the kernel announce the discovery controllers on Fibre Channel when "add" is written to
// it. It is there while the kernel has NVMe over Fibre Channel.
func (r Root) FCDiscovery() string { return r.Join("sys/class/fc/fc_udev_device/nvme_discovery") }

// SysClassBlock is the directory of the block device that the kernel calls name, a disk or a partition.
func (r Root) SysClassBlock(name string) string { return r.Join("sys/class/block", name) }

// SysDevBlock is the link to the block device with a number such as "259:3".
func (r Root) SysDevBlock(number string) string { return r.Join("sys/dev/block", number) }

// BtrfsDevices is the link to device, one of those that a btrfs file system is made of. Both may be patterns.
func (r Root) BtrfsDevices(uuid, device string) string {
	return r.Join("sys/fs/btrfs", uuid, "devices", device)
}

// MountInfo lists what is mounted, as this process sees it.
func (r Root) MountInfo() string { return r.Join("proc/self/mountinfo") }

// ProcessStatus tells about a process, given by its number: proc_pid_status(5).
func (r Root) ProcessStatus(pid string) string { return r.Join("proc/" + pid + "/status") }

// Swaps lists the areas of swap in use.
func (r Root) Swaps() string { return r.Join("proc/swaps") }

// ACPITables is the directory of the tables that firmware gave the kernel, each a file with its signature as name.
func (r Root) ACPITables() string { return r.Join("sys/firmware/acpi/tables") }

// InfiniBand has a directory for each RDMA device of the host, of whatever kind.
func (r Root) InfiniBand() string { return r.Join("sys/class/infiniband") }

// NVMeT is where the kernel's own NVMe target is configured, if this host has one.
func (r Root) NVMeT() string { return r.Join("sys/kernel/config/nvmet") }

// Unlinked is where it is noted which subsystems are being taken off a port of the kernel's target, to be linked again.
func (r Root) Unlinked(port string) string { return r.Join("run/nvme/discoverd/nvmet", port) }

// NVMeTLock is the file that the commands lock which change the kernel's target.
func (r Root) NVMeTLock() string { return r.Join("run/nvme/discoverd/locks/nvmet") }

// SysClassNet has a directory for each network interface of the host.
func (r Root) SysClassNet() string { return r.Join("sys/class/net") }

// VLANs is the kernel's list of the VLAN interfaces.
func (r Root) VLANs() string { return r.Join("proc/self/net/vlan/config") }

// UeventSeqnum holds the number of the last uevent that the kernel sent.
func (r Root) UeventSeqnum() string { return r.Join("sys/kernel/uevent_seqnum") }

// DeleteController is the file that disconnects the controller called device when 1 is written to it.
func (r Root) DeleteController(device string) string {
	return r.Join("sys/class/nvme", device, "delete_controller")
}

// Keys lists the keys and keyrings of the kernel that the reader may see (keyrings(7)).
func (r Root) Keys() string { return r.Join("proc/keys") }

// Module is there while the kernel module called name, such as "nvme_tcp", is loaded.
func (r Root) Module(name string) string { return r.Join("sys/module", name) }

// Modprobe is the program that loads kernel modules.
func (r Root) Modprobe() string { return r.Join("sbin/modprobe") }

// ConnectLock is the file that `nvme-discoverctl connect` locks while it connects what name, a hash, stands for.
func (r Root) ConnectLock(name string) string { return r.Join("run/nvme/discoverd/locks", name) }

// ExclusionsLock is the file that the commands lock which change an exclusion list.
func (r Root) ExclusionsLock() string { return r.Join("run/nvme/discoverd/locks/exclusions") }

// SystemdUnits are the directories of unit files, those that go before others first (systemd.unit(5)). The first is the
// administrator's.
func (r Root) SystemdUnits() []string {
	return []string{
		r.Join("etc/systemd/system"), r.Join("run/systemd/system"),
		r.Join("usr/local/lib/systemd/system"), r.Join("usr/lib/systemd/system"), r.Join("lib/systemd/system"),
	}
}

// CredentialStores are the directories in which systemd looks for the credentials of a service, those that go before others first: what
// the system was booted with, then what is kept on disk (systemd.exec(5), LoadCredential=).
func (r Root) CredentialStores() []string {
	return []string{
		r.Join("run/credentials/@system"), r.Join("etc/credstore"), r.Join("run/credstore"), r.Join("usr/local/lib/credstore"), r.Join("usr/lib/credstore"),
	}
}

// EncryptedCredentialStores are those for encrypted credentials.
func (r Root) EncryptedCredentialStores() []string {
	return []string{
		r.Join("run/credentials/@encrypted"), r.Join("etc/credstore.encrypted"), r.Join("run/credstore.encrypted"),
		r.Join("usr/local/lib/credstore.encrypted"), r.Join("usr/lib/credstore.encrypted"),
	}
}

// ServiceCredentials is the directory of the credentials that systemd gave the service when that started.
func (r Root) ServiceCredentials() string { return r.Join("run/credentials/nvme-discoverd.service") }

// FreshCredential is the file in which a unit leaves the credential called name for the service, which removes it.
func (r Root) FreshCredential(name string) string {
	return r.Join("run/nvme/discoverd/credentials", name)
}

// UdevRules are the directories of udev's rules, those that go before others first (udev(7)). The first is the
// administrator's.
func (r Root) UdevRules() []string {
	return []string{
		r.Join("etc/udev/rules.d"), r.Join("run/udev/rules.d"),
		r.Join("usr/local/lib/udev/rules.d"), r.Join("usr/lib/udev/rules.d"), r.Join("lib/udev/rules.d"),
	}
}

// SystemdRuns is there while systemd is the init system (sd_booted(3)).
func (r Root) SystemdRuns() string { return r.Join("run/systemd/system") }

// UdevRuns is there while systemd-udevd runs.
func (r Root) UdevRuns() string { return r.Join("run/udev/control") }

// Systemctl is systemd's command line.
func (r Root) Systemctl() string { return r.Join("usr/bin/systemctl") }

// Journalctl shows the journal.
func (r Root) Journalctl() string { return r.Join("usr/bin/journalctl") }

// Udevadm is udev's command line.
func (r Root) Udevadm() string { return r.Join("usr/bin/udevadm") }

// SysClassNVMeSubsystem has a directory for each subsystem that the host is connected to, with links to its controllers.
func (r Root) SysClassNVMeSubsystem() string { return r.Join("sys/class/nvme-subsystem") }

// NVMeCoreParameters is the directory of the parameters that the kernel's NVMe core was loaded with.
func (r Root) NVMeCoreParameters() string { return r.Join("sys/module/nvme_core/parameters") }

// DeviceMapper is the device by which device mapper is told what to do.
func (r Root) DeviceMapper() string { return r.Join("dev/mapper/control") }

// Console is where the system prints for whom stands before it.
func (r Root) Console() string { return r.Join("dev/console") }

// SystemdPrivate is the socket on which systemd answers root without the bus.
func (r Root) SystemdPrivate() string { return r.Join("run/systemd/private") }

// Maps lists what a process, given by its number, has in its memory: proc_pid_maps(5).
func (r Root) Maps(pid string) string { return r.Join("proc", pid, "maps") }

// SystemdShutdown is the program that PID 1 becomes at the end.
func (r Root) SystemdShutdown() string { return r.Join("usr/lib/systemd/systemd-shutdown") }

// SystemdExecutor is the program by which systemd starts others (systemd 255 and later).
func (r Root) SystemdExecutor() string { return r.Join("usr/lib/systemd/systemd-executor") }

// InitName is the name of the program that runs as PID 1.
func (r Root) InitName() string { return r.Join("proc/1/comm") }

// SysRq takes a letter for what the kernel is to do at once: proc_sysrq-trigger(5).
func (r Root) SysRq() string { return r.Join("proc/sysrq-trigger") }
