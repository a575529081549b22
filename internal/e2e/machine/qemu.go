// SPDX-License-Identifier: GPL-3.0-or-later

package machine

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
)

// oldestQEMU is the first major version known to run this kernel with two emulated CPUs; 7.2 crashes one boot in five.
const oldestQEMU = 10

// qemu is an emulator that can be started: the words before its own options, and its environment.
type qemu struct {
	command     []string
	environment []string
}

// findQEMU returns the host's QEMU if it is new enough, else Trixie's, whatever the machine's own suite.
func findQEMU(progress func(string)) (qemu, error) {
	if runtime.GOARCH != "amd64" {
		return qemu{}, fmt.Errorf("cannot emulate on %s: the machine is made for amd64 hosts", runtime.GOARCH)
	}
	if path, err := exec.LookPath("qemu-system-x86_64"); err == nil {
		if major, err := qemuMajor(path); err == nil && major >= oldestQEMU {
			return qemu{command: []string{path}}, nil
		}
	}
	dir, err := cached("qemu", []string{"1", string(Trixie)}, func(dir string) error {
		progress("fetching an emulator that runs two CPUs reliably (once, about ten seconds)")
		return buildQEMU(dir)
	})
	if err != nil {
		return qemu{}, fmt.Errorf("cannot get QEMU: %w", err)
	}
	return qemuInTree(filepath.Join(dir, "tree")), nil
}

var qemuVersion = regexp.MustCompile(`version (\d+)\.`)

func qemuMajor(path string) (int, error) {
	output, err := exec.Command(path, "--version").Output()
	if err != nil {
		return 0, fmt.Errorf("cannot ask %q for its version: %w", path, err)
	}
	match := qemuVersion.FindSubmatch(output)
	if match == nil {
		return 0, fmt.Errorf("cannot read the version of %q: %q", path, output)
	}
	return strconv.Atoi(string(match[1]))
}

func buildQEMU(dir string) error {
	if os.Geteuid() != 0 {
		return errors.New("cannot unpack packages: this needs root (or a qemu-system-x86_64 of version 10 or later)")
	}
	uri, err := mirror()
	if err != nil {
		return err
	}
	// Unpacked only, nothing configured: no program of the tree but the emulator ever runs.
	return bootstrap(Trixie, filepath.Join(dir, "tree"), uri, "extract", []string{"qemu-system-x86"}, dropped)
}

// qemuInTree starts the tree's QEMU through the tree's own dynamic loader and libraries: no chroot and no mounts, so files
// keep their names and nothing is left mounted when a run is killed.
func qemuInTree(tree string) qemu {
	libraries := filepath.Join(tree, "usr/lib/x86_64-linux-gnu")
	return qemu{
		command: []string{
			filepath.Join(libraries, "ld-linux-x86-64.so.2"), "--library-path", libraries,
			filepath.Join(tree, "usr/bin/qemu-system-x86_64"),
			"-L", filepath.Join(tree, "usr/share/qemu"), "-L", filepath.Join(tree, "usr/share/seabios"),
		},
		environment: []string{"QEMU_MODULE_DIR=" + filepath.Join(libraries, "qemu")},
	}
}
