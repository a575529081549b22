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

// withinPatience fails the scenario if a shutdown took less than the patience, or more than that and what shutdowns take.
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
	guest.Run(m, "systemd-analyze", "verify", "/usr/lib/systemd/system/nvme-fabrics-shutdown.service")
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
		"netdev": `nvme\dn1 is mounted on /mnt/netdev`, "plain": `nvme\dn1 is mounted on /mnt/plain`, "lvm": `nvme\dn1 is mounted on /mnt/lvm`,
		"swap": `nvme\dn1 is used as swap`,
	} {
		down.InOrder(givenUp + `.*:` + name + `\).*` + on)
		down.InOrder(`nvme-discoverctl\[\d+\]: the shutdown has waited 10s for nvme\d+ \(.*:` + name + `\)`)
	}
	down.InOrder(givenUp + `.*:discovery\)`)
	for _, name := range []string{"half", "living"} {
		down.Never(givenUp + `.*:` + name)
		down.InOrder(name+`: written at stop`, `Unmounted mnt-`+name+`\.mount`, `disconnected nvme\d+: .*:`+name+`\)`)
	}
	withinPatience(t, down, 1, 2)
	guest.CheckLastWords(m, guest.Slice(m, 0))
	guest.CheckLastWords(m, guest.Slice(m, 1))
}
