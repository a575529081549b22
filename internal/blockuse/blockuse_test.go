// SPDX-License-Identifier: GPL-3.0-or-later

package blockuse

import (
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/nvme-discoverd/nvme-discoverd/internal/paths"
)

// tree is a host in a temporary directory: sysfs as the kernel lays it out, and what /proc says.
type tree struct {
	t             testing.TB
	root          paths.Root
	mounts, swaps string
	open          string // device file that somebody has open for exclusive use
}

func newTree(t testing.TB) *tree {
	return &tree{t: t, root: paths.Root(t.TempDir()), swaps: "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"}
}

func (tr *tree) write(path, data string) {
	tr.t.Helper()
	if err := os.MkdirAll(filepath.Dir(tr.root.Join(path)), 0o755); err != nil {
		tr.t.Fatal(err)
	}
	if err := os.WriteFile(tr.root.Join(path), []byte(data), 0o644); err != nil {
		tr.t.Fatal(err)
	}
}

func (tr *tree) mkdir(path string) {
	tr.t.Helper()
	if err := os.MkdirAll(tr.root.Join(path), 0o755); err != nil {
		tr.t.Fatal(err)
	}
}

func (tr *tree) link(target, path string) {
	tr.t.Helper()
	tr.mkdir(filepath.Dir(path))
	if err := os.Symlink(target, tr.root.Join(path)); err != nil {
		tr.t.Fatal(err)
	}
}

// disk adds a block device in the device directory dir below /sys/devices, made of others.
func (tr *tree) disk(dir, number string, slaves ...string) {
	tr.t.Helper()
	name := filepath.Base(dir)
	tr.mkdir("/sys/devices/" + dir + "/holders")
	tr.mkdir("/sys/devices/" + dir + "/slaves")
	tr.link("../../devices/"+dir, "/sys/class/block/"+name)
	tr.link("../../devices/"+dir, "/sys/dev/block/"+number)
	for _, slave := range slaves {
		tr.link("x", "/sys/class/block/"+name+"/slaves/"+slave)
		tr.link("x", "/sys/class/block/"+slave+"/holders/"+name)
	}
}

// partition adds one to a disk that is there.
func (tr *tree) partition(dir, number string) {
	tr.disk(dir, number)
	tr.write("/sys/devices/"+dir+"/partition", "1\n")
}

// path adds a path to namespace n1 of subsystem 1 through a controller.
func (tr *tree) path(controller, state string) {
	tr.t.Helper()
	dir := "/sys/devices/virtual/nvme-fabrics/ctl/" + controller
	tr.write(dir+"/state", state+"\n")
	tr.mkdir(dir + "/nvme1c" + controller[len("nvme"):] + "n1")
	tr.mkdir(dir + "/hwmon0")
	tr.link("../../devices/virtual/nvme-fabrics/ctl/"+controller, "/sys/class/nvme/"+controller)
	tr.link("../../nvme-fabrics/ctl/"+controller, "/sys/devices/"+filepath.Dir(namespace)+"/"+controller)
}

func (tr *tree) read() Host {
	tr.t.Helper()
	tr.write("/proc/self/mountinfo", tr.mounts)
	tr.write("/proc/swaps", tr.swaps)
	h, err := Read(tr.root)
	if err != nil {
		tr.t.Fatal(err)
	}
	h.claimed = func(path string) bool { return tr.open != "" && path == tr.root.Join(tr.open) }
	return h
}

const namespace = "virtual/nvme-subsystem/nvme-subsys1/nvme1n1"

func TestOf(t *testing.T) {
	for _, test := range []struct {
		name string
		host func(*tree) // beside nvme3, the one path to nvme1n1, and a local root file system
		want Use
		root bool
	}{
		{name: "idle", host: func(*tree) {}},
		{
			name: "mounted",
			host: func(tr *tree) {
				tr.mounts = "30 24 259:1 / /srv/my\\040data rw,relatime shared:1 - ext4 /dev/nvme1n1 rw\n"
			},
			want: Use{By: []string{"nvme1n1 is mounted on /srv/my data"}},
		},
		{
			name: "mounted twice",
			host: func(tr *tree) {
				tr.mounts = "30 24 259:1 / /srv rw - ext4 /dev/nvme1n1 rw\n31 24 259:1 /sub /home rw - ext4 /dev/nvme1n1 rw\n"
			},
			want: Use{By: []string{"nvme1n1 is mounted on /srv and 1 more"}},
		},
		{
			name: "partition mounted",
			host: func(tr *tree) {
				tr.partition(namespace+"/nvme1n1p2", "259:2")
				tr.mounts = "30 24 259:2 / /srv rw - xfs /dev/nvme1n1p2 rw\n"
			},
			want: Use{By: []string{"nvme1n1 is mounted on /srv"}},
		},
		{
			name: "root on LVM on md on a partition",
			host: func(tr *tree) {
				tr.partition(namespace+"/nvme1n1p2", "259:2")
				tr.disk("virtual/block/md0", "9:0", "nvme1n1p2")
				tr.disk("virtual/block/dm-0", "254:0", "md0")
				tr.disk("virtual/block/dm-1", "254:1", "dm-0")
				tr.mounts = "1 0 254:1 / / rw - xfs /dev/mapper/vg-root rw\n2 1 254:1 /home /home rw - xfs /dev/mapper/vg-root rw\n"
			},
			want: Use{By: []string{"nvme1n1 is mounted on / and 1 more"}, Needed: []string{"/"}}, root: true,
		},
		{
			name: "/usr and swap",
			host: func(tr *tree) {
				tr.partition(namespace+"/nvme1n1p2", "259:2")
				tr.mounts = "1 0 259:1 / /usr ro - erofs /dev/nvme1n1 ro\n"
				tr.swaps += "/dev/nvme1n1p2                          partition\t1048572\t\t0\t\t-2\n"
			},
			want: Use{By: []string{"nvme1n1 is mounted on /usr and 1 more"}, Needed: []string{"/usr", "swap"}}, root: true,
		},
		{
			name: "swap file",
			host: func(tr *tree) {
				tr.mounts = "1 0 8:0 / / rw - ext4 /dev/sda rw\n30 1 259:1 / /srv rw - ext4 /dev/nvme1n1 rw\n"
				tr.swaps += "/srv/swap\\040file                          file\t1048572\t\t0\t\t-2\n"
			},
			want: Use{By: []string{"nvme1n1 is mounted on /srv and 1 more"}, Needed: []string{"swap"}},
		},
		{
			name: "btrfs over two devices, mounted by the other",
			host: func(tr *tree) {
				tr.link("x", "/sys/fs/btrfs/11111111-2222-3333-4444-555555555555/devices/nvme1n1")
				tr.link("x", "/sys/fs/btrfs/11111111-2222-3333-4444-555555555555/devices/sda")
				tr.mounts = "30 1 0:29 /@ / rw - btrfs /dev/sda rw,subvol=/@\n"
			},
			want: Use{By: []string{"nvme1n1 is mounted on /"}, Needed: []string{"/"}}, root: true,
		},
		{
			name: "live system: an overlay of a file on it",
			host: func(tr *tree) {
				tr.partition(namespace+"/nvme1n1p1", "259:2")
				tr.disk("virtual/block/loop0", "7:0")
				tr.write("/sys/class/block/loop0/loop/backing_file", "/run/live/LiveOS/squashfs.img\n")
				tr.mounts = "20 1 259:2 / /run/live ro - ext4 /dev/nvme1n1p1 ro\n" +
					"21 1 7:0 / /run/base ro - squashfs /dev/loop0 ro\n" +
					"22 0 0:30 / / rw - overlay LiveOS_rootfs rw,lowerdir=/run/base,upperdir=/run/over/up,workdir=/run/over/work\n"
			},
			want: Use{By: []string{"nvme1n1 is mounted on / and 2 more"}, Needed: []string{"/"}}, root: true,
		},
		{
			name: "overlays of each other",
			host: func(tr *tree) {
				tr.mounts = "22 0 0:30 / /a rw - overlay o rw,lowerdir=/b/x\n23 0 0:31 / /b rw - overlay o rw,lowerdir=/a/x:/a/y\n"
			},
		},
		{
			name: "held, not mounted",
			host: func(tr *tree) {
				tr.partition(namespace+"/nvme1n1p1", "259:2")
				tr.disk("virtual/block/dm-3", "254:3", "nvme1n1p1")
			},
			want: Use{By: []string{"nvme1n1 is held by dm-3"}},
		},
		{
			name: "mounted by somebody out of sight",
			host: func(tr *tree) { tr.open = "/dev/nvme1n1" },
			want: Use{By: []string{"nvme1n1 is held open by something"}},
		},
		{
			name: "other paths, one of them live",
			host: func(tr *tree) {
				tr.path("nvme4", "connecting")
				tr.path("nvme5", "live")
				tr.mounts = "30 24 259:1 / /srv rw - ext4 /dev/nvme1n1 rw\n"
			},
			want: Use{By: []string{"nvme1n1 is mounted on /srv"}, Others: []string{"nvme5"}},
		},
		{
			name: "another path that does not lead to all",
			host: func(tr *tree) {
				tr.path("nvme5", "live")
				tr.mkdir("/sys/class/nvme/nvme3/nvme1c3n2")
				tr.disk("virtual/nvme-subsystem/nvme-subsys1/nvme1n2", "259:7")
				tr.mounts = "30 24 259:1 / /srv rw - ext4 /dev/nvme1n1 rw\n31 24 259:7 / /home rw - ext4 /dev/nvme1n2 rw\n"
			},
			want: Use{By: []string{"nvme1n1 is mounted on /srv", "nvme1n2 is mounted on /home"}},
		},
		{
			name: "without native multipath",
			host: func(tr *tree) {
				tr.disk("virtual/nvme-fabrics/ctl/nvme3/nvme3n1", "259:9")
				tr.mounts = "30 24 259:9 / / rw - ext4 /dev/nvme3n1 rw\n"
			},
			want: Use{By: []string{"nvme3n1 is mounted on /"}, Needed: []string{"/"}}, root: true,
		},
		{
			name: "root on a disk of the host's own, which is not looked into",
			host: func(tr *tree) {
				tr.partition("pci0000:00/block/sda/sda1", "8:1")
				tr.disk("pci0000:00/0000:00:03.0/nvme/nvme0/nvme0n1", "259:5", "nvme1n1")
				tr.link("../../devices/pci0000:00/0000:00:03.0/nvme/nvme0", "/sys/class/nvme/nvme0")
				tr.mounts = "1 0 8:1 / / rw - ext4 /dev/sda1 rw\n2 0 259:5 / /usr rw - ext4 /dev/nvme0n1 rw\n"
			},
			want: Use{By: []string{"nvme1n1 is held by nvme0n1"}},
		},
		{
			name: "a number that no device has, a mount without device, lines that are none",
			host: func(tr *tree) {
				tr.mounts = "30 24 259:99 / /srv rw - ext4 /dev/nvme1n1 rw\n31 24 0:40 / /net rw - nfs4 server:/srv rw\n\nnone\n1 2 3 - x\n"
			},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			tr := newTree(t)
			tr.disk("pci0000:00/block/sda", "8:0")
			tr.disk(namespace, "259:1")
			tr.path("nvme3", "live")
			test.host(tr)
			h := tr.read()
			if diff := cmp.Diff(test.want, h.Of("nvme3")); diff != "" {
				t.Errorf("use (-want +got):\n%s", diff)
			}
			root := len(h.RootControllers()) == 1 && h.RootControllers()[0] == "nvme3"
			if root != test.root {
				t.Errorf("controllers of the root file system: %v", h.RootControllers())
			}
			alone, err := RootControllers(tr.root)
			if diff := cmp.Diff(h.RootControllers(), alone); diff != "" || err != nil {
				t.Errorf("controllers of the root file system, asked for alone: %v (-want +got):\n%s", err, diff)
			}
			if use := h.Of("nvme3/../nvme3"); use.Any() {
				t.Errorf("a name that is none has namespaces: %v", use)
			}
		})
	}
}

// One refusal of exclusive use may be another's look; those that last are not.
func TestHeldOpen(t *testing.T) {
	for _, test := range []struct {
		name    string
		refused int // so many of the first looks
		want    bool
		looks   int
	}{
		{name: "free", looks: 1},
		{name: "refused once", refused: 1, looks: 2},
		{name: "refused all but the last time", refused: claims - 1, looks: claims},
		{name: "refused all the time", refused: claims, want: true, looks: claims},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				looks := 0
				h := Host{claimed: func(string) bool {
					looks++
					return looks <= test.refused
				}}
				if got := h.heldOpen("/dev/nvme1n1"); got != test.want || looks != test.looks {
					t.Errorf("held open: %v after %d looks, want %v after %d", got, looks, test.want, test.looks)
				}
			})
		})
	}
}

// Those who look at one moment do not take each other for users.
func TestHeldOpenTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var taken, refused atomic.Int32
		h := Host{claimed: func(string) bool {
			if !taken.CompareAndSwap(0, 1) {
				refused.Add(1)
				return true
			}
			time.Sleep(10 * time.Microsecond)
			taken.Store(0)
			return false
		}}
		var looking sync.WaitGroup
		for range 16 {
			looking.Go(func() {
				if h.heldOpen("/dev/nvme1n1") {
					t.Error("it is held open by another look")
				}
			})
		}
		looking.Wait()
		if refused.Load() < 15 {
			t.Errorf("%d refused: they did not meet", refused.Load())
		}
	})
}

func TestReadErrors(t *testing.T) {
	tr := newTree(t)
	if _, err := Read(tr.root); err == nil || err.Error() != "cannot tell what is mounted: open "+tr.root.MountInfo()+": no such file or directory" {
		t.Errorf("error %v", err)
	}
	tr.write("/proc/self/mountinfo", "")
	if _, err := Read(tr.root); err != nil {
		t.Errorf("without swap: %v", err)
	}
	tr.mkdir("/proc/swaps")
	if _, err := Read(tr.root); err == nil || err.Error() != "cannot tell where the swap is: read "+tr.root.Swaps()+": is a directory" {
		t.Errorf("error %v", err)
	}
}

// FuzzHost checks that nothing in /proc makes the walk down a stack run for ever or leave the tree.
func FuzzHost(f *testing.F) {
	f.Add("30 24 259:1 / /srv rw,relatime shared:1 - ext4 /dev/nvme1n1 rw\n", "Filename\n/srv/swap file 1 2 3\n", "/srv/x\n")
	f.Add("22 0 0:30 / / rw - overlay o rw,lowerdir=/a:/b,upperdir=/c\n23 22 7:0 / /a rw - squashfs /dev/loop0 ro\n", "/dev/loop0 partition 1\n", "/a/x\n")
	f.Add("1 0 0:29 / / rw - btrfs /dev/nvme1n1 rw\n", "", "/dev/loop0")
	tr := newTree(f)
	tr.disk(namespace, "259:1")
	tr.disk("virtual/block/loop0", "7:0")
	tr.mkdir("/sys/class/block/loop0/loop")
	tr.path("nvme3", "live")
	file := tr.root.Join("/sys/class/block/loop0/loop/backing_file")
	f.Fuzz(func(t *testing.T, mountinfo, swaps, backing string) {
		if err := os.WriteFile(file, []byte(backing), 0o644); err != nil {
			t.Fatal(err)
		}
		h := look(tr.root, mountinfo, swaps)
		use := h.Of("nvme3")
		if len(use.Needed) > 0 && !use.Any() || len(use.By) > 1 {
			t.Errorf("use of one namespace: %+v", use)
		}
	})
}
