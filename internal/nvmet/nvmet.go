// SPDX-License-Identifier: GPL-3.0-or-later

// Package nvmet mends the kernel's own NVMe target (drivers/nvme/target).
//
// A port of the target that listens on an RDMA device loses its listener when that device is reset or removed
// (nvmet_rdma_device_removal in rdma.c) and does not get it back with the device: it listens anew only when its last subsystem
// is unlinked and one linked again. Other transports do not know this.
package nvmet

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/nvme-discoverd/nvme-discoverd/internal/paths"
)

// Port is a port of the target as configured.
type Port struct {
	ID         string // its number
	Transport  string
	Traddr     string
	Trsvcid    string
	Subsystems []string // NQNs of those linked to it, sorted
}

// CheckPort tells why id is not the number of a port: 0 to 65535 without leading zeros. It comes before every path that
// holds a number from outside.
func CheckPort(id string) error {
	n, err := strconv.ParseUint(id, 10, 16)
	if err != nil || strconv.FormatUint(n, 10) != id {
		return fmt.Errorf("cannot use port %q: it must be the number of a port of the target, 0 to 65535", id)
	}
	return nil
}

// Ports lists the ports of the target, by number; there are none where there is no target.
func Ports(root paths.Root) ([]Port, error) {
	entries, err := os.ReadDir(filepath.Join(root.NVMeT(), "ports"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("cannot list the target's ports: %w", err)
	}
	var all []Port
	for _, entry := range entries {
		if CheckPort(entry.Name()) != nil {
			continue
		}
		port, err := readPort(root, entry.Name())
		if errors.Is(err, fs.ErrNotExist) {
			continue // removed meanwhile
		}
		if err != nil {
			return nil, err
		}
		all = append(all, port)
	}
	slices.SortFunc(all, func(a, b Port) int { return number(a.ID) - number(b.ID) })
	return all, nil
}

func number(id string) int {
	n, _ := strconv.Atoi(id)
	return n
}

func readPort(root paths.Root, id string) (Port, error) {
	dir := filepath.Join(root.NVMeT(), "ports", id)
	p := Port{ID: id}
	for _, attr := range []struct {
		file  string
		value *string
	}{{"addr_trtype", &p.Transport}, {"addr_traddr", &p.Traddr}, {"addr_trsvcid", &p.Trsvcid}} {
		text, err := os.ReadFile(filepath.Join(dir, attr.file))
		if err != nil {
			return Port{}, fmt.Errorf("cannot read port %s of the target: %w", id, err)
		}
		*attr.value = strings.TrimSpace(string(text))
	}
	links, err := os.ReadDir(filepath.Join(dir, "subsystems"))
	if err != nil {
		return Port{}, fmt.Errorf("cannot read port %s of the target: %w", id, err)
	}
	for _, link := range links {
		p.Subsystems = append(p.Subsystems, link.Name())
	}
	return p, nil
}

// String is the port as messages name it.
func (p Port) String() string { return fmt.Sprintf("port %s (%s)", p.ID, p.place()) }

func (p Port) place() string { return net.JoinHostPort(p.Traddr, p.Trsvcid) }

// address is where the port listens.
func (p Port) address() (netip.AddrPort, error) {
	addr, err := netip.ParseAddr(p.Traddr)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("cannot tell where %s listens: its address is no IP address", p)
	}
	service, err := strconv.ParseUint(p.Trsvcid, 10, 16)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("cannot tell where %s listens: its trsvcid is no number from 0 to 65535", p)
	}
	return netip.AddrPortFrom(addr.Unmap().WithZone(""), uint16(service)), nil
}

// link shows a subsystem on the port; the port begins to listen with the first one.
func (p Port) link(root paths.Root, nqn string) error {
	err := os.Symlink(filepath.Join(root.NVMeT(), "subsystems", nqn), p.linkPath(root, nqn))
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	return err
}

// unlink takes a subsystem off the port.
func (p Port) unlink(root paths.Root, nqn string) error {
	err := os.Remove(p.linkPath(root, nqn))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

func (p Port) linkPath(root paths.Root, nqn string) string {
	return filepath.Join(root.NVMeT(), "ports", p.ID, "subsystems", nqn)
}
