// SPDX-License-Identifier: GPL-3.0-or-later

package sysfs

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nvme-discoverd/nvme-discoverd/internal/files"
	"github.com/nvme-discoverd/nvme-discoverd/internal/paths"
	"github.com/nvme-discoverd/nvme-discoverd/internal/tid"
)

// Reader reads the fabrics controllers below one root.
type Reader struct {
	Root paths.Root
	// IfaceOf returns the name of the interface that holds an IP address, "" if none does. A nil IfaceOf asks the host, at
	// most once in each call of a method and only when there is an address to look for.
	IfaceOf func(addr string) string

	network *network // nil is kernelNetwork
}

// NewReader returns a Reader that looks interfaces up on this host.
func NewReader(root paths.Root) Reader { return Reader{Root: root} }

// UeventSeqnum returns the number of the last uevent that the kernel sent. Read before a controller, it tells which events
// what was read is newer than.
func (r Reader) UeventSeqnum() (uint64, error) {
	data, err := files.Read(r.Root.UeventSeqnum())
	if err != nil {
		return 0, fmt.Errorf("cannot read the number of the last uevent: %w", err)
	}
	seq, err := strconv.ParseUint(strings.TrimSpace(string(data)), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("cannot read the number of the last uevent: %v", err)
	}
	return seq, nil
}

// Names returns the names of the fabrics controllers in the order of their numbers: the devices below the one device of the
// class nvme-fabrics (drivers/nvme/host/fabrics.c, nvmf_init). Without that there are none.
func (r Reader) Names() ([]string, error) {
	entries, err := os.ReadDir(r.Root.NVMeFabrics())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("cannot list the controllers of this host: %w", err)
	}
	var names []string
	for _, e := range entries {
		if paths.CheckDevice(e.Name()) == nil {
			names = append(names, e.Name())
		}
	}
	slices.SortFunc(names, func(a, b string) int { // by the number, of any length
		return cmp.Or(cmp.Compare(len(a), len(b)), strings.Compare(a, b))
	})
	return names, nil
}

// all returns the names of the fabrics controllers and the directory that they are in, which is to be closed if there are any.
func (r Reader) all() (directory, []string, error) {
	names, err := r.Names()
	if err != nil || len(names) == 0 {
		return directory{}, nil, err
	}
	dir, err := openDirectory(r.Root.NVMeFabrics())
	if errors.Is(err, fs.ErrNotExist) { // the last one has just gone, and the kernel's module with it
		return directory{}, nil, nil
	}
	if err != nil {
		return directory{}, nil, fmt.Errorf("cannot list the controllers of this host: %w", err)
	}
	dir.path = r.Root.SysClassNVMe() // by which people know it, for errors
	return dir, names, nil
}

// State returns the state of a controller alone, at a small part of what Read takes; "" if it is gone.
func (r Reader) State(name string) (string, error) {
	if err := paths.CheckDevice(name); err != nil {
		return "", err
	}
	return value(files.Read(filepath.Join(r.Root.SysClassNVMe(), name, "state")))
}

// IsFabrics tells a fabrics controller by where its link points, without opening anything. A controller that is gone is
// none.
func (r Reader) IsFabrics(name string) bool {
	if paths.CheckDevice(name) != nil {
		return false
	}
	target, err := os.Readlink(filepath.Join(r.Root.SysClassNVMe(), name))
	return err == nil && strings.Contains(target, "/virtual/nvme-fabrics/")
}

// Read reads the controller called name. The error wraps fs.ErrNotExist when there is none, or none that is a fabrics
// controller.
func (r Reader) Read(name string) (Controller, error) { return r.read(name, r.lookup()) }

// Scan reads all fabrics controllers in the order of their numbers. Those that vanish meanwhile are left out.
func (r Reader) Scan() ([]Controller, error) {
	names, err := r.Names()
	if err != nil {
		return nil, err
	}
	read := r.Bulk()
	var all []Controller
	for _, name := range names {
		c, err := read(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		all = append(all, c)
	}
	return all, nil
}

// Bulk returns Read for many controllers at one moment: it asks the host for its interfaces once. It may be called from
// several goroutines.
func (r Reader) Bulk() func(name string) (Controller, error) {
	ifaceOf := r.lookup()
	return func(name string) (Controller, error) { return r.read(name, ifaceOf) }
}

// serves reads as much of a controller as it takes to tell whether it serves t, and sets alike as soon as it is known to lead to
// the same target address. One that is gone does not serve t.
func (r Reader) serves(all directory, name string, t tid.TID, ifaceOf func(string) (string, error), alike *atomic.Bool) (Controller, bool, error) {
	may, err := mayServe(all, name, t.NQN)
	if err == nil && may {
		may, err = mayLeadTo(all, name, t, alike)
	}
	if err != nil {
		return Controller{}, false, fmt.Errorf("cannot read controller %s: %w", name, err)
	}
	if !may {
		return Controller{}, false, nil
	}
	c, err := r.read(name, ifaceOf)
	if errors.Is(err, fs.ErrNotExist) {
		return Controller{}, false, nil
	}
	return c, err == nil && c.Serves(t), err
}

// mayServe asks for the attribute that differs between the many controllers of one target: the type where any discovery
// controller would do, else the NQN.
func mayServe(all directory, name, nqn string) (bool, error) {
	if nqn == tid.DiscoveryNQN {
		kind, err := all.of(name, "cntrltype")
		return kind != "io" && kind != "admin", err
	}
	got, err := all.of(name, "subsysnqn")
	return tid.SameNQN(got, nqn), err
}

// mayLeadTo compares with what the controller was connected with, which the attribute uevent has too (drivers/nvme/host/core.c,
// nvme_class_uevent). The attribute address waits for the controller's connection (tcp.c, nvme_tcp_get_address takes a
// lock), in a way that not even the end of this process ends: where that hangs, no more than a connect to the same address
// by what may be the same way should get stuck. Zones and source addresses are left for Serves to compare.
func mayLeadTo(all directory, name string, t tid.TID, alike *atomic.Bool) (bool, error) {
	uevent, err := all.of(name, "uevent")
	if err != nil {
		return true, err
	}
	from := map[string]string{}
	for line := range strings.Lines(uevent) {
		if key, value, _ := strings.Cut(strings.TrimSpace(line), "="); value != "none" {
			from[key] = value
		}
	}
	differ := func(key, wanted string) bool { return from[key] != "" && wanted != "" && from[key] != wanted }
	if differ("NVME_TRTYPE", t.Transport) || differ("NVME_HOST_IFACE", t.HostIface) {
		return false, nil
	}
	if t.Transport == tid.TCP || t.Transport == tid.RDMA {
		x, errX := netip.ParseAddr(from["NVME_TRADDR"])
		y, errY := netip.ParseAddr(t.Traddr)
		port, errPort := strconv.ParseUint(from["NVME_TRSVCID"], 10, 16)
		sameAddr, samePort := x.Unmap().WithZone("") == y.Unmap().WithZone(""), strconv.FormatUint(port, 10) == t.Trsvcid
		if errX == nil && errY == nil && !sameAddr || errPort == nil && !samePort {
			return false, nil
		}
		alike.Store(errX == nil && errY == nil && errPort == nil)
	} else if traddr := from["NVME_TRADDR"]; traddr != "" {
		if !tid.SameAddr(t.Transport, traddr, t.Traddr) {
			return false, nil
		}
		alike.Store(true)
	}
	host, err := all.of(name, "hostnqn")
	return host == "" || t.HostNQN == "" || tid.SameNQN(host, t.HostNQN), err
}

func (r Reader) read(name string, ifaceOf func(string) (string, error)) (Controller, error) {
	if err := paths.CheckDevice(name); err != nil {
		return Controller{}, err
	}
	if !r.IsFabrics(name) {
		return Controller{}, fmt.Errorf("cannot read controller %s: no such fabrics controller: %w", name, fs.ErrNotExist)
	}
	c, err := r.attributes(name)
	if err != nil {
		return Controller{}, fmt.Errorf("cannot read controller %s: %w", name, err)
	}
	if c.SrcIface == "" && (c.Transport == tid.TCP || c.Transport == tid.RDMA) {
		local := c.SrcAddr
		if local == "" {
			local = c.HostTraddr
		}
		if local == "" {
			return c, nil
		}
		if c.SrcIface, err = ifaceOf(local); err != nil {
			return Controller{}, fmt.Errorf("cannot find the interface of controller %s: %w", name, err)
		}
	}
	return c, nil
}

// attributes reads all of them by way of one open directory, so that they belong to one controller even if the name is
// given to another one meanwhile.
func (r Reader) attributes(name string) (Controller, error) {
	dir, err := openDirectory(filepath.Join(r.Root.SysClassNVMe(), name))
	if err != nil {
		return Controller{}, err
	}
	defer dir.close()

	c := Controller{Name: name}
	var address string
	for _, a := range []struct {
		name  string
		value *string
	}{
		{"transport", &c.Transport},
		{"address", &address},
		{"subsysnqn", &c.NQN},
		{"hostnqn", &c.HostNQN},
		{"hostid", &c.HostID},
		{"cntrltype", &c.Type},
		{"state", &c.State}, // last: the freshest is what counts
	} {
		if *a.value, err = dir.attribute(a.name); err != nil {
			return Controller{}, err
		}
	}
	if c.State == "" {
		return Controller{}, fmt.Errorf("its state cannot be read any more: %w", fs.ErrNotExist)
	}
	c.setAddress(address)
	if c.State != "live" {
		text, err := dir.attribute("ctrl_loss_tmo")
		if err != nil {
			return Controller{}, err
		}
		c.LossTimeout = lossTimeout(text)
	}
	return c, nil
}

// lossTimeout reads ctrl_loss_tmo: seconds, or "off" for forever (drivers/nvme/host/sysfs.c, nvme_ctrl_loss_tmo_show).
func lossTimeout(text string) time.Duration {
	if text == "off" {
		return -1
	}
	seconds, err := strconv.ParseUint(text, 10, 31)
	if err != nil {
		return 0
	}
	return time.Duration(seconds) * time.Second
}

// setAddress takes the parts of the address attribute, "traddr=…,trsvcid=…,host_traddr=…,host_iface=…,src_addr=…"
// (drivers/nvme/host/fabrics.c, nvmf_get_address; tcp.c, nvme_tcp_get_address). The transport must be set before. A
// port name without a key belongs to the node name before it: that comma is part of a Fibre Channel address.
func (c *Controller) setAddress(address string) {
	var parts []string
	for part := range strings.SplitSeq(address, ",") {
		if last := len(parts) - 1; last >= 0 && strings.HasPrefix(strings.ToLower(part), "pn-") {
			parts[last] += "," + part
			continue
		}
		parts = append(parts, part)
	}
	for _, part := range parts {
		key, value, _ := strings.Cut(part, "=")
		if value == "none" {
			value = ""
		}
		switch key {
		case "traddr":
			c.Traddr = c.normalised(value)
		case "trsvcid":
			c.Trsvcid = value
			if port, err := strconv.ParseUint(value, 10, 16); err == nil {
				c.Trsvcid = strconv.FormatUint(port, 10)
			}
		case "host_traddr":
			c.HostTraddr = c.normalised(value)
		case "host_iface":
			c.HostIface = value
		case "src_addr":
			c.SrcAddr = c.normalised(value)
		}
	}
	c.zoneOfSource()
}

// zoneOfSource adds the zone that the kernel leaves out of a link-local src_addr: it can only be the interface that the
// connect named, in the target's address or on its own.
func (c *Controller) zoneOfSource() {
	src, err := netip.ParseAddr(c.SrcAddr)
	if err != nil || !src.Is6() || !src.IsLinkLocalUnicast() || src.Zone() != "" {
		return
	}
	zone := c.HostIface
	if target, err := netip.ParseAddr(c.Traddr); err == nil && target.Zone() != "" {
		zone = target.Zone()
	}
	c.SrcAddr, c.SrcIface = src.WithZone(zone).String(), zone
}

func (c *Controller) normalised(value string) string {
	switch c.Transport {
	case tid.TCP, tid.RDMA:
	case tid.FC:
		if addr, err := tid.FCAddr(value); err == nil {
			return addr
		}
		return value
	default:
		return value
	}
	addr, err := netip.ParseAddr(value)
	if err != nil {
		return value
	}
	return addr.Unmap().String()
}

// lookup returns the function that finds interfaces for one call of a method.
func (r Reader) lookup() func(addr string) (string, error) {
	if r.IfaceOf != nil {
		return func(addr string) (string, error) { return r.IfaceOf(addr), nil }
	}
	network := kernelNetwork()
	if r.network != nil {
		network = *r.network
	}
	table := sync.OnceValues(network.interfaces)
	return func(addr string) (string, error) {
		indexes, err := table()
		if err != nil {
			return "", err
		}
		ip, err := netip.ParseAddr(addr)
		if err != nil {
			return "", nil
		}
		if ip.Zone() != "" {
			return ip.Zone(), nil
		}
		index, found := indexes[ip.Unmap()]
		if !found {
			return "", nil
		}
		return network.nameOf(index)
	}
}
