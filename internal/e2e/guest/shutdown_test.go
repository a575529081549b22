//go:build e2e

package guest_test

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/nvme-discoverd/nvme-discoverd/internal/e2e/guest"
)

// The file systems of the shutdown scenario, each on a slice of the data drive: on two paths of a network that goes away and
// with _netdev, as it should be; in a mount unit without _netdev; and with _netdev on device mapper.
var shutdownVolumes = []string{"netdev", "plain", "stacked"}

const shutdownBegins = "e2e: the shutdown begins"

// lastWriter is a service that uses the file system until it is stopped and then writes once more, without a sync.
const lastWriter = `[Unit]
RequiresMountsFor=/mnt/%[1]s
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/true
ExecStop=/bin/sh -c '%[2]s echo the last word >/mnt/%[1]s/last && echo %[1]s: written at stop'
`

// A host with file systems on its controllers is switched off. What that does is judged by the console of this boot and by what
// the next one finds on the disks.
func TestShutdown_1(t *testing.T) {
	far := guest.NewFar(t)
	m := guest.Begin(t)
	target := guest.NewTarget(m)
	far1, far2 := target.PortAt(guest.FarAddress, 8009), target.PortAt(guest.FarAddress, 8010)
	near := target.Port(8011)
	volumes := map[string]*guest.Subsystem{}
	var nqns []string
	for i, name := range shutdownVolumes {
		volumes[name] = target.Subsystem("nqn.2024-01.com.example:" + name)
		volumes[name].NamespaceOn(guest.Slice(m, i))
		nqns = append(nqns, volumes[name].NQN)
	}
	far.There(func() {
		far1.Link(volumes["netdev"])
		far2.Link(volumes["netdev"])
	})
	near.Link(volumes["plain"], volumes["stacked"])

	guest.InstallUnit(m, "e2e-network.service", "[Unit]\nBefore=network.target\nWants=network.target\n[Service]\nType=oneshot\nRemainAfterExit=yes\n"+
		"ExecStart=/bin/true\nExecStop=/bin/sh -c 'echo the network goes; ip link set "+guest.FarLink+" down'\n")
	guest.ConfigureDiscovery(m, far1, far2, near)
	guest.Enable(m)
	guest.Eventually(m, connectTimeout, "3 discovery controllers and 4 others live", func() (bool, string) {
		return guest.LiveCount() == 7, fmt.Sprint(guest.Controllers())
	})
	devices := guest.Devices()
	for _, nqn := range nqns {
		guest.Run(m, "mkfs.ext4", "-q", guest.Disk(m, devices[nqn]))
	}
	fstab := fmt.Sprintf("%s /mnt/netdev ext4 _netdev,nofail 0 0\n/dev/mapper/e2e /mnt/stacked ext4 _netdev,nofail 0 0\n", guest.Disk(m, devices[volumes["netdev"].NQN]))
	stacked := guest.Disk(m, devices[volumes["stacked"].NQN])
	guest.Run(m, "dmsetup", "create", "e2e", "--table", "0 "+strings.TrimSpace(guest.Run(m, "blockdev", "--getsz", stacked))+" linear "+stacked+" 0")
	guest.Append(m, "/etc/fstab", fstab)
	for _, name := range shutdownVolumes {
		if err := os.MkdirAll("/mnt/"+name, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	guest.InstallUnit(m, "mnt-plain.mount", "[Mount]\nWhat="+guest.Disk(m, devices[volumes["plain"].NQN])+"\nWhere=/mnt/plain\nType=ext4\n")
	guest.Run(m, "systemctl", "start", "mnt-netdev.mount", "mnt-stacked.mount")
	// Its file system is in use until its unit has stopped.
	outlast := "while [ -e /run/systemd/transient/" + near.TID(volumes["plain"].NQN).Unit() + " ]; do sleep 0.2; done;"
	for _, name := range shutdownVolumes {
		wait := ""
		if name == "plain" {
			wait = outlast
		}
		guest.InstallUnit(m, "e2e-"+name+".service", fmt.Sprintf(lastWriter, name, wait))
	}
	guest.MirrorJournal(m)
	if err := os.WriteFile("/dev/console", []byte(shutdownBegins+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	guest.SwitchOff(m, "systemctl", "poweroff")
}

// Everything is in order: what is marked _netdev is unmounted, then the daemon ends, in silence but for that, then the units disconnect,
// both paths of the one, then the network goes; what is in use otherwise stays connected; nothing fails, nothing is waited for
// in vain.
func TestShutdown_2(t *testing.T) {
	m := guest.Begin(t)
	_, console, found := strings.Cut(guest.Console(m, "TestShutdown_1"), shutdownBegins)
	if !found {
		t.Fatal("the shutdown never began")
	}
	lines := strings.Split(strings.ReplaceAll(console, "\r", ""), "\n")
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the console of the shutdown:\n%s", strings.Join(lines, "\n"))
		}
	})
	inOrder := func(patterns ...string) {
		t.Helper()
		from := 0
		for _, pattern := range patterns {
			expr := regexp.MustCompile(pattern)
			for from < len(lines) && !expr.MatchString(lines[from]) {
				from++
			}
			if from == len(lines) {
				t.Errorf("not on the console, or too early: %s\nin the order %q", pattern, patterns)
				return
			}
			from++
		}
	}
	const stopped = `Stopped nvme-discoverd\.service`
	inOrder(`netdev: written at stop`, `Unmounted mnt-netdev\.mount`, stopped, `disconnected nvme\d+: .*:netdev\)`, `disconnected nvme\d+: .*:netdev\)`, `the network goes`)
	inOrder(stopped, `nvme\d+ stays connected: nvme\d+n1 is mounted on /mnt/plain while the system shuts down`, `plain: written at stop`, `Unmounted mnt-plain\.mount`)
	inOrder(`stacked: written at stop`, `Unmounted mnt-stacked\.mount`, stopped, `nvme\d+ stays connected: nvme\d+n1 is held by dm-0 while the system shuts down`)
	wrong := regexp.MustCompile(`(?i)I/O error|timed out|timeout|error recovery|aborted journal|EXT4-fs (error|warning)|failed|nvme-discoverd\[\d+\]:|although`)
	// The daemon says the former only if it happens to look at its units meanwhile.
	right := regexp.MustCompile(`\]: (the system is shutting down: nothing is connected any more|nvme-discoverd ends, the connections stay)$`)
	for _, line := range lines {
		if wrong.MatchString(line) && !right.MatchString(line) {
			t.Errorf("on the console: %s", line)
		}
	}

	for i, name := range shutdownVolumes {
		device := guest.Slice(m, i)
		super := guest.Run(m, "dumpe2fs", "-h", device)
		if !regexp.MustCompile(`Filesystem state: +clean\n`).MatchString(super) || strings.Contains(super, "needs_recovery") {
			t.Errorf("%s was not unmounted as it should be:\n%s", name, super)
		}
		if check := guest.Try(m, "e2fsck", "-f", "-n", device); check.Status != 0 {
			t.Errorf("e2fsck of %s: exit status %d\n%s%s", name, check.Status, check.Stdout, check.Stderr)
		}
		guest.Run(m, "mount", "--options", "ro", device, "/mnt")
		if last := guest.Try(m, "cat", "/mnt/last").Stdout; last != "the last word\n" {
			t.Errorf("the last write to %s: got %q", name, last)
		}
		guest.Run(m, "umount", "/mnt")
	}
}
