// SPDX-License-Identifier: GPL-3.0-or-later

package machine

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// packages go into the root file system beside Debian's minimal set. Busybox is for the initial RAM disk.
var packages = []string{
	"avahi-daemon", "busybox-static", "dbus", "dbus-broker", "dmsetup", "e2fsprogs", "fdisk", "iproute2", "jq", "kmod", "ktls-utils", "linux-image-amd64",
	"linux-image-cloud-amd64", "lvm2", "mdadm", "multipath-tools", "nftables", "nvme-cli", "nvme-stas", "procps", "python3-minimal",
	"python3-varlink", "strace", "systemd", "systemd-sysv", "udev", "util-linux",
}

// dropped are files that nothing in the machine reads; leaving them out makes the image half as large.
var dropped = []string{
	"/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*", "/usr/share/info/*",
	"/usr/lib/modules/*/kernel/sound/*", "/usr/lib/modules/*/kernel/drivers/gpu/*", "/usr/lib/modules/*/kernel/drivers/media/*",
	"/usr/lib/modules/*/kernel/drivers/net/ethernet/*", "/usr/lib/modules/*/kernel/drivers/net/wireless/*",
}

// masked are things that come with the packages and would get in the way: nvme-cli's udev rule and units reconnect lost
// controllers behind the product's back, the others only cost time, at boot or at every event of a block device. A scenario
// that wants one removes the mask.
var masked = []string{
	"etc/udev/rules.d/60-multipath.rules",
	"etc/udev/rules.d/64-md-raid-assembly.rules",
	"etc/udev/rules.d/70-nvmf-autoconnect.rules",
	"etc/systemd/system/nvmf-autoconnect.service",
	"etc/systemd/system/nvmf-connect-nbft.service",
	"etc/systemd/system/nvmefc-boot-connections.service",
	"etc/systemd/system/nvmf-connect.target",
	"etc/systemd/system/nvmf-connect@.service",
	"etc/systemd/system/apt-daily.timer",
	"etc/systemd/system/apt-daily-upgrade.timer",
	"etc/systemd/system/dpkg-db-backup.timer",
	"etc/systemd/system/e2scrub_all.timer",
	"etc/systemd/system/e2scrub_reap.service",
	"etc/systemd/system/fstrim.timer",
	"etc/systemd/system/getty.target",
	"etc/systemd/system/mdcheck_continue.timer",
	"etc/systemd/system/mdcheck_start.timer",
	"etc/systemd/system/mdmonitor.service",
	"etc/systemd/system/mdmonitor-oneshot.timer",
	"etc/systemd/system/modprobe@drm.service",
	"etc/systemd/system/modprobe@efi_pstore.service",
	"etc/systemd/system/modprobe@fuse.service",
	"etc/systemd/system/nftables.service",
	"etc/systemd/system/systemd-networkd-wait-online.service",
}

// enabled are symbolic links into the multi-user target: embedded files cannot be links.
var enabled = map[string]string{
	"etc/systemd/system/multi-user.target.wants/e2e.timer": "../e2e.timer",
}

// disabled are services that scenarios start when they want them.
var disabled = []string{
	"avahi-daemon.service", "avahi-daemon.socket", "blk-availability.service", "lvm2-monitor.service", "multipathd.service", "multipathd.socket", "stacd.service", "stafd.service",
	"tlshd.service",
}

// rootfs is laid over the new root file system: the init wrapper, the unit that runs what a run brings along, settings.
//
//go:embed all:rootfs
var rootfs embed.FS

// imageSize leaves room for what a run installs and for namespaces backed by files.
const imageSize = "2G"

// rootDisk is the root file system in the directory of an image, never written to.
const rootDisk = "root.ext4"

// baseImage returns the directory with the root file system of a suite and its kernels, made if need be.
func baseImage(suite Suite, progress func(string)) (string, error) {
	ingredients, err := imageIngredients(suite)
	if err != nil {
		return "", err
	}
	dir, err := cached("image", ingredients, func(dir string) error {
		progress(fmt.Sprintf("building the machine's root file system, Debian %s (once, about two minutes)", suite))
		return buildImage(suite, dir)
	})
	if err != nil {
		return "", fmt.Errorf("cannot build root file system: %w", err)
	}
	return dir, nil
}

// imageIngredients lists everything that decides what the image contains.
func imageIngredients(suite Suite) ([]string, error) {
	all := slices.Concat([]string{"1", string(suite), imageSize, makeInitrd, initrdInit, initrdFabric}, suite.packages(packages), dropped, masked, disabled)
	for _, name := range slices.Sorted(maps.Keys(enabled)) {
		all = append(all, name, enabled[name])
	}
	err := fs.WalkDir(rootfs, "rootfs", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := rootfs.ReadFile(path)
		all = append(all, path, string(content))
		return err
	})
	return all, err
}

func buildImage(suite Suite, dir string) error {
	if os.Geteuid() != 0 {
		return errors.New("cannot unpack packages: this needs root")
	}
	uri, err := mirror()
	if err != nil {
		return err
	}
	tree := filepath.Join(dir, "tree")
	if err := bootstrap(suite, tree, uri, "minbase", suite.packages(packages), dropped); err != nil {
		return err
	}
	for _, kernel := range []Kernel{Cloud, Ordinary} {
		if err := kernel.take(tree, dir); err != nil {
			return err
		}
	}
	// QEMU does not read the kernels from the disk.
	if err := os.RemoveAll(filepath.Join(tree, "boot")); err != nil {
		return fmt.Errorf("cannot drop kernels: %w", err)
	}
	if err := furnish(tree); err != nil {
		return err
	}
	// Without a journal: nobody reads the disk again after the machine stopped.
	err = run("mke2fs", "-q", "-t", "ext4", "-O", "^has_journal", "-E", "lazy_itable_init=0", "-L", "e2e-root",
		"-d", tree, filepath.Join(dir, rootDisk), imageSize)
	if err != nil {
		return err
	}
	return os.RemoveAll(tree)
}

// bootstrap makes a Debian tree from the packages given.
func bootstrap(suite Suite, tree, uri, variant string, packages, drop []string) error {
	args := append([]string{"--quiet", "--variant=" + variant, "--include=" + strings.Join(packages, ",")}, suite.mmdebstrapOptions()...)
	for _, pattern := range drop {
		args = append(args, "--dpkgopt=path-exclude="+pattern)
	}
	return run("mmdebstrap", append(args, string(suite), tree, fmt.Sprintf("deb %s %s main", uri, suite))...)
}

// furnish turns Debian's tree into the machine's.
func furnish(tree string) error {
	for _, name := range masked {
		if err := symlink("/dev/null", filepath.Join(tree, name)); err != nil {
			return fmt.Errorf("cannot mask: %w", err)
		}
	}
	for name, target := range enabled {
		if err := symlink(target, filepath.Join(tree, name)); err != nil {
			return fmt.Errorf("cannot enable: %w", err)
		}
	}
	for _, name := range disabled {
		links, _ := filepath.Glob(filepath.Join(tree, "etc/systemd/system/*.wants", name))
		for _, link := range links {
			if err := os.Remove(link); err != nil {
				return fmt.Errorf("cannot disable: %w", err)
			}
		}
	}
	// dbus-broker takes the place of dbus-daemon when it is installed; here it does only where a scenario asks for it (rootfs/usr/lib/e2e/init).
	if err := os.RemoveAll(filepath.Join(tree, "etc/systemd/system/dbus.service")); err != nil {
		return fmt.Errorf("cannot disable dbus-broker: %w", err)
	}
	if err := unpackRootfs(tree); err != nil {
		return err
	}
	// The packages have been set up already: without these marks the first boot, which is every boot, does it again.
	for _, name := range []string{"etc/.updated", "var/.updated"} {
		if err := os.WriteFile(filepath.Join(tree, name), nil, 0o644); err != nil {
			return fmt.Errorf("cannot mark as set up: %w", err)
		}
	}
	return nil
}

func unpackRootfs(tree string) error {
	return fs.WalkDir(rootfs, "rootfs", func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		to := filepath.Join(tree, strings.TrimPrefix(path, "rootfs"))
		if entry.IsDir() {
			return os.MkdirAll(to, 0o755)
		}
		content, err := rootfs.ReadFile(path)
		if err != nil {
			return err
		}
		mode := os.FileMode(0o644)
		if strings.HasPrefix(string(content), "#!") {
			mode = 0o755
		}
		return os.WriteFile(to, content, mode)
	})
}

// symlink makes the link at path, in a directory that need not exist yet.
func symlink(target, path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.Symlink(target, path)
}
