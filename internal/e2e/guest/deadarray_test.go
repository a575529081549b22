// SPDX-License-Identifier: GPL-3.0-or-later

//go:build e2e

package guest_test

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/nvme-discoverd/nvme-discoverd/internal/e2e/guest"
)

// patience is the shutdown-patience of the scenarios with an array that is gone.
const patience = 10 * time.Second

// withPatience is the configuration of that, with discovery controllers whose loss is soon noticed.
var withPatience = fmt.Sprintf("[global]\nshutdown-patience = %q\n[discovery-controller-defaults]\nkeep-alive-tmo = 5\n", patience)

// mountAt makes a file system on a device and mounts it by a mount unit, or by a line of fstab with _netdev.
func mountAt(t guest.T, device, name string, netdev bool) {
	t.Helper()
	guest.Run(t, "mkfs.ext4", "-q", device)
	guest.Run(t, "mkdir", "-p", "/mnt/"+name)
	if netdev {
		guest.Append(t, "/etc/fstab", device+" /mnt/"+name+" ext4 _netdev,nofail 0 0\n")
		guest.Run(t, "systemctl", "daemon-reload")
		guest.Run(t, "systemctl", "start", "mnt-"+name+".mount")
		return
	}
	guest.InstallUnit(t, "mnt-"+name+".mount", "[Mount]\nWhat="+device+"\nWhere=/mnt/"+name+"\nType=ext4\n")
}

// dirty writes to a file system what stays in memory.
func dirty(t guest.T, name string) {
	t.Helper()
	if err := os.WriteFile("/mnt/"+name+"/dirty", make([]byte, 4<<20), 0o644); err != nil {
		t.Fatalf("%v", err)
	}
}

// waitLost waits until the kernel tries to reconnect so many controllers.
func waitLost(t guest.T, count int) {
	t.Helper()
	guest.Eventually(t, connectTimeout, fmt.Sprint(count, " controllers lost"), func() (bool, string) {
		lost := 0
		for _, c := range guest.Controllers() {
			if c.State == "connecting" {
				lost++
			}
		}
		return lost == count, fmt.Sprint(guest.Controllers())
	})
}

// withinPatience fails the scenario unless a shutdown took so many times the patience. Without a patience it takes sixty times that
// (ctrl-loss-tmo), and otherwise a few seconds, or twenty on a busy host.
func withinPatience(t *testing.T, down *guest.Shutdown, least, most float64) {
	t.Helper()
	ratio := down.Took().Seconds() / patience.Seconds()
	t.Logf("from the request to the end of the machine: %v, %.1f times the patience", down.Took().Round(100*time.Millisecond), ratio)
	if ratio < least || ratio > most {
		t.Errorf("the shutdown took %.1f times the patience, want %.1f to %.1f", ratio, least, most)
	}
}

// The array behind a cable is gone, with all that can be on it, when the machine is to be switched off: a file system with _netdev and
// dirty data, by two paths; one without _netdev; swap in use; LVM; and its discovery controllers. Another file system has a path
// there and one that lives, and a third one lives.
//
//e2e:everywhere
func TestDeadArray_1(t *testing.T) {
	far := guest.NewFar(t)
	m := guest.Begin(t)
	target := guest.NewTarget(m)
	far1, far2, near := target.PortAt(guest.FarAddress, 8009), target.PortAt(guest.FarAddress, 8010), target.Port(8011)
	volumes := map[string]*guest.Subsystem{}
	for _, name := range []string{"netdev", "plain", "swap", "lvm", "half", "living"} {
		volumes[name] = target.Subsystem("nqn.2024-01.com.example:" + name)
	}
	for _, name := range []string{"netdev", "plain", "swap", "lvm"} {
		volumes[name].Namespace(64 << 20)
	}
	volumes["living"].NamespaceOn(guest.Slice(m, 0))
	volumes["half"].NamespaceOn(guest.Slice(m, 1))
	far.There(func() {
		far1.Link(volumes["netdev"], volumes["plain"], volumes["swap"], volumes["lvm"], volumes["half"])
		far2.Link(volumes["netdev"])
	})
	near.Link(volumes["half"], volumes["living"])

	guest.Configure(m, withPatience+discoveryConfig(far1)+discoveryConfig(far2)+discoveryConfig(near))
	guest.Enable(m)
	guest.Eventually(m, connectTimeout, "3 discovery controllers and 8 others live", func() (bool, string) {
		return guest.LiveCount() == 11, fmt.Sprint(guest.Controllers())
	})
	m.WaitUnit("nvme-fabrics-shutdown.service", "active")
	t.Logf("%d KiB of memory for the service that watches", guest.Memory(guest.Property(m, "nvme-fabrics-shutdown.service", "MainPID")))
	guest.Run(m, "systemd-analyze", "verify", "--man=no", "/usr/lib/systemd/system/nvme-fabrics-shutdown.service")
	disk := map[string]string{}
	for name, volume := range volumes {
		disk[name] = guest.Disk(m, guest.Devices()[volume.NQN])
	}
	mountAt(m, disk["netdev"], "netdev", true)
	mountAt(m, disk["plain"], "plain", false)
	guest.UseVolumesOn(m, "nvme[1-9]")
	guest.MakeVolume(m, logicalVolume, disk["lvm"])
	mountAt(m, logicalVolume, "lvm", true)
	mountAt(m, disk["half"], "half", true)
	mountAt(m, disk["living"], "living", true)
	guest.Run(m, "mkswap", disk["swap"])
	guest.Append(m, "/etc/fstab", disk["swap"]+" none swap _netdev,nofail,pri=100 0 0\n")
	guest.Run(m, "systemctl", "daemon-reload")
	guest.Run(m, "systemctl", "start", strings.TrimPrefix(strings.ReplaceAll(disk["swap"], "/", "-"), "-")+".swap")
	guest.Run(m, "systemd-run", "--quiet", "--property=DefaultDependencies=no", "--property=MemoryHigh=16M", "python3", "-c",
		"import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); kept = bytearray(b'x' * (40 << 20)); time.sleep(3600)")
	guest.Eventually(m, connectTimeout, "swap in use", func() (bool, string) {
		used := guest.Run(m, "swapon", "--show=USED", "--noheadings", "--bytes")
		return strings.TrimSpace(used) > "1", used
	})
	guest.LastWriter(m, "half", "")
	guest.LastWriter(m, "living", "")

	for _, name := range []string{"netdev", "plain", "lvm"} {
		dirty(m, name)
	}
	far.SetPort("down")
	waitLost(m, 8)
	guest.ShutDown(m)
}

// The machine is off within the patience and what a shutdown takes. What was given up is told; the file system with a path that
// lives, and the one of the other array, lose nothing.
func TestDeadArray_2(t *testing.T) {
	m := guest.Begin(t)
	down := guest.ReadShutdown(m, "TestDeadArray_1")
	const givenUp = `^nvme-discoverd: the shutdown has waited 10s for nvme\d+ \(`
	for name, on := range map[string]string{
		"netdev": `nvme\d+n1 is mounted on /mnt/netdev`, "plain": `nvme\d+n1 is mounted on /mnt/plain`, "lvm": `nvme\d+n1 is mounted on /mnt/lvm`,
		"swap": `nvme\d+n1 is used as swap`,
	} {
		down.InOrder(givenUp + `.*:` + name + `\).*` + on)
		down.InOrder(`nvme-discoverctl\[\d+\]: .*the shutdown has waited 10s for nvme\d+ \(.*:` + name + `\)`)
	}
	down.InOrder(givenUp + `.*\.discovery\)`)
	for _, name := range []string{"half", "living"} {
		down.Never(givenUp + `.*:` + name)
		down.InOrder(name+`: written at stop`, `Unmounted mnt-`+name+`\.mount`, `disconnected nvme\d+: .*:`+name+`\)`)
	}
	withinPatience(t, down, 1, 6)
	guest.CheckLastWords(m, guest.Slice(m, 0))
	guest.CheckLastWords(m, guest.Slice(m, 1))
}

// queueing has dm-multipath hold back what there is no path for, for as long as it takes.
var queueing = strings.Replace(multipathConfiguration, "defaults {\n", "defaults {\n\tno_path_retry queue\n", 1)

// Ten arrays are gone at once, and both paths of a device of dm-multipath that waits for paths for as long as it takes. The daemon was
// killed and does not come back; its connections are there. The machine is to go on with another system (kexec).
//
//e2e:seldom
//e2e:parameter nvme_core.multipath=N
func TestDeadMultipath_1(t *testing.T) {
	const arrays = 10
	far := guest.NewFar(t)
	m := guest.Begin(t)
	target := guest.NewTarget(m)
	far1, far2, near := target.PortAt(guest.FarAddress, 8009), target.PortAt(guest.FarAddress, 8010), target.Port(8011)
	multi, living, dead := target.Subsystem(onPaths), target.Subsystem("nqn.2024-01.com.example:living"), target.Subsystems(arrays)
	multi.NamespaceOn(guest.Slice(m, 1))
	living.NamespaceOn(guest.Slice(m, 0))
	for _, s := range dead {
		s.Namespace(16 << 20)
	}
	far.There(func() {
		far1.Link(append(dead, multi)...)
		far2.Link(multi)
	})
	near.Link(living)

	guest.StartMultipath(m, queueing)
	guest.Configure(m, withPatience+discoveryConfig(far1)+discoveryConfig(far2)+discoveryConfig(near))
	guest.Override(m, "[Service]\nRestart=no\n")
	guest.Enable(m)
	guest.Eventually(m, connectTimeout, "3 discovery controllers and 13 others live", func() (bool, string) {
		return guest.LiveCount() == arrays+6, fmt.Sprint(guest.Controllers())
	})
	var paths []string
	for _, controller := range guest.Live(onPaths) {
		paths = append(paths, guest.Disk(m, controller))
	}
	mountAt(m, guest.Multipath(m, paths...), "multipath", true)
	devices := guest.Devices()
	for i, s := range dead {
		name := fmt.Sprint("vol", i)
		mountAt(m, guest.Multipath(m, guest.Disk(m, devices[s.NQN])), name, i%2 == 0)
		dirty(m, name)
	}
	mountAt(m, guest.Multipath(m, guest.Disk(m, devices[living.NQN])), "living", true)
	guest.LastWriter(m, "living", "")
	dirty(m, "multipath")

	guest.Signal(m, "SIGKILL")
	m.WaitUnit(guest.Service, "failed")
	far.SetPort("down")
	waitLost(m, arrays+4)
	m.WaitUnit(guest.Service, "failed")
	guest.PrepareKexec(m)
	guest.ShutDownBy(m, "kexec")
}

// All are given up at one time, and dm-multipath fails what it held back.
//
//e2e:parameter nvme_core.multipath=N
func TestDeadMultipath_2(t *testing.T) {
	m := guest.Begin(t)
	down := guest.ReadShutdown(m, "TestDeadMultipath_1")
	for i := range 10 {
		down.InOrder(fmt.Sprintf(`^nvme-discoverd: the shutdown has waited 10s for nvme\d+ \(.*:vol%d\).* nvme\d+n1 is mounted on /mnt/vol%d\b`, i+1, i))
	}
	down.InOrder(`^nvme-discoverd: the shutdown has waited 10s for nvme\d+ \(.*:multipath\).* nvme\d+n1 is mounted on /mnt/multipath`)
	down.InOrder(`living: written at stop`, `Unmounted mnt-living\.mount`)
	down.InOrder(`Rebooting with kexec`, `kexec_core: Starting new kernel`, `^`+guest.AnotherSystem+`$`)
	withinPatience(t, down, 1, 6)
	guest.CheckLastWords(m, guest.Slice(m, 0))
}

// A mount that is stopped by hand waits for its array, whatever the patience. At a reboot, with a daemon that hangs, the array comes back
// in time.
//
//e2e:seldom
func TestDeadArrayBack_1(t *testing.T) {
	far := guest.NewFar(t)
	m := guest.Begin(t)
	target := guest.NewTarget(m)
	port, volume := target.PortAt(guest.FarAddress, 8009), target.Subsystem("nqn.2024-01.com.example:back")
	volume.NamespaceOn(guest.Slice(m, 0))
	far.There(func() { port.Link(volume) })
	guest.Configure(m, withPatience+discoveryConfig(port))
	guest.Enable(m)
	device := guest.WaitLive(m, connectTimeout, guest.DiscoveryNQN, volume.NQN)[volume.NQN]
	mountAt(m, guest.Disk(m, device), "back", true)
	dirty(m, "back")

	far.SetPort("down")
	waitLost(m, 2)
	guest.Run(m, "systemctl", "stop", "--no-block", "mnt-back.mount")
	guest.Always(m, 2*patience, "a stop by hand waits", func() (bool, string) {
		state := guest.ActiveState(m, "mnt-back.mount")
		return state == "deactivating" && guest.ControllerAttribute(device, "state") == "connecting", state
	})
	far.SetPort("up")
	m.WaitUnit("mnt-back.mount", "inactive")
	guest.WaitLive(m, connectTimeout, guest.DiscoveryNQN, volume.NQN)

	guest.Run(m, "systemctl", "start", "mnt-back.mount")
	guest.LastWriter(m, "back", "")
	dirty(m, "back")
	guest.Run(m, "systemd-run", "--quiet", "--property=DefaultDependencies=no", "sh", "-c",
		`until [ "$(systemctl is-system-running)" = stopping ]; do sleep 0.2; done; sleep 2; ip -n far link set port up`)
	far.SetPort("down")
	waitLost(m, 2)
	// Not SIGSTOP: systemd wakes with SIGCONT what it stops.
	if err := os.WriteFile("/sys/fs/cgroup/system.slice/"+guest.Service+"/cgroup.freeze", []byte("1"), 0o644); err != nil {
		m.Fatalf("cannot hang the daemon: %v", err)
	}
	guest.ShutDownBy(m, "reboot")
}

// Nothing was given up or lost.
func TestDeadArrayBack_2(t *testing.T) {
	m := guest.Begin(t)
	down := guest.ReadShutdown(m, "TestDeadArrayBack_1")
	down.Never(`and gives it up|I/O error|EXT4-fs (error|warning)`)
	down.InOrder(`back: written at stop`, `Unmounted mnt-back\.mount`, `disconnected nvme\d+: .*:back\)`)
	withinPatience(t, down, 0.2, 6)
	guest.CheckLastWords(m, guest.Slice(m, 0))
}

// systemd itself does not wait for an unmount that hangs, and kills all processes before the patience is over, but for the service that
// watches. The daemon is stopped and disabled, and the kernel would try to reconnect without end (ctrl-loss-tmo off).
//
//e2e:seldom
func TestDeadArrayLate_1(t *testing.T) {
	far := guest.NewFar(t)
	m := guest.Begin(t)
	target := guest.NewTarget(m)
	port, volume := target.PortAt(guest.FarAddress, 8009), target.Subsystem("nqn.2024-01.com.example:late")
	volume.Namespace(64 << 20)
	far.There(func() { port.Link(volume) })
	guest.Configure(m, strings.Replace(withPatience, patience.String(), (6*patience).String(), 1)+subsystemConfig(port, volume.NQN, "ctrl-loss-tmo = -1\n"))
	guest.Enable(m)
	disk := guest.Disk(m, guest.WaitLive(m, connectTimeout, volume.NQN)[volume.NQN])
	guest.Run(m, "mkfs.ext4", "-q", disk)
	guest.Run(m, "mkdir", "-p", "/mnt/late")
	guest.InstallUnit(m, "mnt-late.mount", "[Mount]\nWhat="+disk+"\nWhere=/mnt/late\nType=ext4\nTimeoutSec=2\n")
	dirty(m, "late")
	guest.Run(m, "systemctl", "disable", "--now", "--quiet", guest.Service)
	far.SetPort("down")
	waitLost(m, 1)
	guest.ShutDown(m)
}

// It gives up what holds up the very end.
func TestDeadArrayLate_2(t *testing.T) {
	m := guest.Begin(t)
	down := guest.ReadShutdown(m, "TestDeadArrayLate_1")
	down.InOrder(`Syncing filesystems`, `Sending SIGTERM to remaining processes`, `^nvme-discoverd: the shutdown has waited 1m0s for nvme\d+ \(.*:late\).* is mounted on /mnt/late`, `reboot: `)
	withinPatience(t, down, 6, 12)
}

// systemd cannot run the program that ends the system, as when that is on a file system that was given up.
//
//e2e:seldom
func TestDeadEnd_1(t *testing.T) {
	far := guest.NewFar(t)
	m := guest.Begin(t)
	target := guest.NewTarget(m)
	port, near := target.PortAt(guest.FarAddress, 8009), target.Port(8011)
	swap, living := target.Subsystem("nqn.2024-01.com.example:swap"), target.Subsystem("nqn.2024-01.com.example:living")
	swap.Namespace(64 << 20)
	living.NamespaceOn(guest.Slice(m, 0))
	far.There(func() { port.Link(swap) })
	near.Link(living)
	guest.Configure(m, withPatience+subsystemConfig(port, swap.NQN, "")+subsystemConfig(near, living.NQN, ""))
	guest.Enable(m)
	devices := guest.WaitLive(m, connectTimeout, swap.NQN, living.NQN)
	mountAt(m, guest.Disk(m, devices[living.NQN]), "living", true)
	guest.LastWriter(m, "living", "")
	guest.Run(m, "mkswap", guest.Disk(m, devices[swap.NQN]))
	guest.Run(m, "swapon", guest.Disk(m, devices[swap.NQN]))
	far.SetPort("down")
	waitLost(m, 1)
	guest.Run(m, "mv", "/usr/lib/systemd/systemd-shutdown", "/usr/lib/systemd/away")
	guest.ShutDown(m)
}

// The service that watches ends it.
func TestDeadEnd_2(t *testing.T) {
	m := guest.Begin(t)
	down := guest.ReadShutdown(m, "TestDeadEnd_1")
	down.InOrder(`^nvme-discoverd: the shutdown has waited 10s for nvme\d+ \(.*:swap\).* is used as swap`, `Failed to execute shutdown binary`,
		`^nvme-discoverd: systemd cannot end the system .*poweroff\.target`, `reboot: Power down`)
	withinPatience(t, down, 1, 12)
	guest.CheckLastWords(m, guest.Slice(m, 0))
}

// The root file system is on an array that is gone.
//
//e2e:seldom
//e2e:on-fabric
func TestDeadRoot_1(t *testing.T) {
	m := guest.BeginAsBooted(t)
	device := guest.WaitLive(m, connectTimeout, rootNQN)[rootNQN]
	boot := &guest.Port{Transport: "tcp", Traddr: "127.0.0.1", Trsvcid: "4420"}
	guest.Configure(m, withPatience+subsystemConfig(boot, rootNQN, ""))
	guest.Enable(m)
	m.WaitUnit(boot.TID(rootNQN).Unit(), "active")
	m.WaitUnit("nvme-fabrics-shutdown.service", "active")
	t.Logf("%d KiB of memory for the service that watches", guest.Memory(guest.Property(m, "nvme-fabrics-shutdown.service", "MainPID")))
	guest.MirrorJournal(m)
	if err := os.WriteFile("/var/tmp/dirty", make([]byte, 4<<20), 0o644); err != nil {
		t.Fatal(err)
	}
	guest.Run(m, "ip", "link", "set", "lo", "up") // what is run from now on is in memory
	guest.Run(m, "ip", "link", "set", "lo", "down")
	guest.Eventually(m, connectTimeout, "the controller of the root file system lost", func() (bool, string) {
		state := guest.ControllerAttribute(device, "state")
		return state == "connecting", state
	})
	guest.BeginShutdown(m)
	guest.SwitchOff(m, "systemctl", "poweroff")
}

// The machine is off all the same.
func TestDeadRoot_2(t *testing.T) {
	m := guest.Begin(t)
	down := guest.ReadShutdown(m, "TestDeadRoot_1")
	down.InOrder(`^nvme-discoverd: the shutdown has waited 10s for nvme\d+ \(` + rootNQN + `\).* is mounted on /`)
	withinPatience(t, down, 1, 6)
}
