// SPDX-License-Identifier: GPL-3.0-or-later

package nbft

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/nvme-discoverd/nvme-discoverd/internal/paths"
)

// Link names a network interface as firmware does, which knows nothing of the names that Linux gives. The zero Link names
// none. Comparable with ==.
type Link struct {
	MAC  [6]byte
	VLAN uint16 // 1 to 4094, 0 for none
}

// String returns "52:54:00:12:34:56", with " VLAN 5" behind it if there is one, or "" for the zero Link.
func (l Link) String() string {
	switch {
	case l == Link{}:
		return ""
	case l.VLAN == 0:
		return net.HardwareAddr(l.MAC[:]).String()
	}
	return fmt.Sprintf("%s VLAN %d", net.HardwareAddr(l.MAC[:]), l.VLAN)
}

// Interface returns the name of the interface of this host that l means, "" if there is none now. A VLAN, a bridge and a
// bond have the MAC address of what they are made of: the interface is one of the VLAN asked for, or none of any VLAN, and
// one that is not part of another if there is such a one, for only that one has addresses; among several it is the first
// that is a device of its own, or else the first by name.
func (l Link) Interface(root paths.Root) (string, error) {
	if l.MAC == ([6]byte{}) {
		return "", nil
	}
	entries, err := os.ReadDir(root.SysClassNet())
	if err != nil {
		return "", fmt.Errorf("cannot list the network interfaces: %v", err)
	}
	vlans, err := readVLANs(root)
	if err != nil {
		return "", err
	}
	best, bestRank := "", -1
	for _, e := range entries {
		dir := filepath.Join(root.SysClassNet(), e.Name())
		text, err := os.ReadFile(filepath.Join(dir, "address"))
		mac, parseErr := net.ParseMAC(strings.TrimSpace(string(text)))
		if err != nil || parseErr != nil || string(mac) != string(l.MAC[:]) || vlans[e.Name()] != l.VLAN {
			continue // a file of its own, such as bonding_masters, gone since, or another one
		}
		rank := 0
		if _, err := os.Lstat(filepath.Join(dir, "master")); err != nil {
			rank += 2
		}
		if _, err := os.Lstat(filepath.Join(dir, "device")); err == nil {
			rank++
		}
		if rank > bestRank {
			best, bestRank = e.Name(), rank
		}
	}
	return best, nil
}

// readVLANs returns the VLAN of every VLAN interface. The kernel's list (net/8021q/vlanproc.c) has two lines of heading and
// then "eth0.5 | 5 | eth0"; without the module 8021q there is none.
func readVLANs(root paths.Root) (map[string]uint16, error) {
	text, err := os.ReadFile(root.VLANs())
	if os.IsNotExist(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("cannot list the VLANs: %v", err)
	}
	vlans := make(map[string]uint16)
	for line := range strings.Lines(string(text)) {
		name, rest, _ := strings.Cut(line, "|")
		id, _, ok := strings.Cut(rest, "|")
		n, err := strconv.ParseUint(strings.TrimSpace(id), 10, 16)
		if ok && err == nil {
			vlans[strings.TrimSpace(name)] = uint16(n)
		}
	}
	return vlans, nil
}
