// SPDX-License-Identifier: GPL-3.0-or-later

package connect

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/nvme-discoverd/nvme-discoverd/internal/fabrics"
	"github.com/nvme-discoverd/nvme-discoverd/internal/paths"
	"github.com/nvme-discoverd/nvme-discoverd/internal/secret"
	"github.com/nvme-discoverd/nvme-discoverd/internal/tid"
	"github.com/nvme-discoverd/nvme-discoverd/internal/wish"
)

const (
	unit  = "nvme-discoverd-0123456789ab.service"
	unit2 = "nvme-discoverd-ba9876543210.service"
	nqn   = "nqn.2024-01.com.example:vol1"
)

// host is a temporary tree with a kernel that connects into it.
type host struct {
	*Connector
	t        testing.TB
	root     paths.Root
	warnings []string

	refuse  error  // what the kernel says, nil: it connects
	before  func() // runs in the kernel before it answers
	dropped []string
	next    int // instance of the next controller
	seqnum  int
	wished  []wish.Wish
	given   secret.Set // by the last connect

	system string // the state of the system, and whether it was asked for
	asked  bool
}

func newHost(t testing.TB) *host {
	h := &host{t: t, root: paths.Root(t.TempDir()), next: 3, seqnum: 100}
	h.Connector = New(h.root, h, func(err error) { h.warnings = append(h.warnings, h.short(err.Error())) })
	h.systemState = func() (string, error) {
		h.asked = true
		return h.system, nil
	}
	h.write("/sys/kernel/uevent_seqnum", "100\n")
	h.write("/proc/self/mountinfo", "")
	return h
}

// Connect is the kernel's.
func (h *host) Connect(_ context.Context, w wish.Wish, secrets secret.Set) (fabrics.Result, error) {
	if h.before != nil {
		h.before()
	}
	h.wished, h.given = append(h.wished, w), secrets
	if h.refuse != nil {
		return fabrics.Result{}, h.refuse
	}
	device := fmt.Sprintf("nvme%d", h.next)
	h.next++
	h.controller(device, w.TID)
	return fabrics.Result{Device: device, CntlID: 1, Dropped: h.dropped}, nil
}

// reconnecting puts a controller for t into sysfs that has lost its connection and does not show its source address.
func (h *host) reconnecting(device string, t tid.TID) {
	h.controller(device, t)
	h.write("/sys/devices/virtual/nvme-fabrics/ctl/"+device+"/state", "connecting\n")
}

// controller puts a live controller for t into sysfs.
func (h *host) controller(device string, t tid.TID) {
	h.t.Helper()
	dir := "/sys/devices/virtual/nvme-fabrics/ctl/" + device
	address := "traddr=" + t.Traddr + ",trsvcid=" + t.Trsvcid
	for key, value := range map[string]string{"host_traddr": t.HostTraddr, "host_iface": t.HostIface} {
		if value != "" {
			address += "," + key + "=" + value
		}
	}
	kind := "io"
	if t.NQN == tid.DiscoveryNQN {
		kind = "discovery"
	}
	for name, value := range map[string]string{
		"transport": t.Transport, "address": address, "subsysnqn": t.NQN, "hostnqn": t.HostNQN, "hostid": t.HostID,
		"state": "live", "cntrltype": kind, "delete_controller": "",
	} {
		h.write(filepath.Join(dir, name), value+"\n")
	}
	h.mkdir("/sys/class/nvme")
	if err := os.Symlink("../../devices/virtual/nvme-fabrics/ctl/"+device, h.root.Join("/sys/class/nvme", device)); err != nil {
		h.t.Fatal(err)
	}
	h.write("/dev/"+device, "")
	h.seqnum += 2
	h.write("/sys/kernel/uevent_seqnum", fmt.Sprintf("%d\n", h.seqnum))
}

// unreadable makes the address of a controller fail for everyone who reads it.
func (h *host) unreadable(device string) {
	h.t.Helper()
	address := "/sys/devices/virtual/nvme-fabrics/ctl/" + device + "/address"
	if err := os.Remove(h.root.Join(address)); err != nil {
		h.t.Fatal(err)
	}
	h.mkdir(address)
}

// known tells the target address of a controller by its uevent too.
func (h *host) known(device string, t tid.TID) {
	h.t.Helper()
	h.write("/sys/devices/virtual/nvme-fabrics/ctl/"+device+"/uevent", "NVME_TRTYPE="+t.Transport+"\nNVME_TRADDR="+t.Traddr+"\nNVME_TRSVCID="+t.Trsvcid+"\n")
}

// namespace adds a block device to a controller, mounted on point unless that is empty.
func (h *host) namespace(controller, point string) {
	h.t.Helper()
	h.mkdir("/sys/class/nvme/" + controller + "/nvme1c" + strings.TrimPrefix(controller, "nvme") + "n1")
	const subsystem = "devices/virtual/nvme-subsystem/nvme-subsys1"
	for path, target := range map[string]string{
		"/sys/dev/block/259:1":                 "../../" + subsystem + "/nvme1n1",
		"/sys/class/block/nvme1n1":             "../../" + subsystem + "/nvme1n1",
		"/sys/" + subsystem + "/" + controller: "../../nvme-fabrics/ctl/" + controller,
	} {
		h.mkdir(filepath.Dir(path))
		if err := os.Symlink(target, h.root.Join(path)); err != nil && !os.IsExist(err) {
			h.t.Fatal(err)
		}
	}
	if point != "" {
		h.write("/proc/self/mountinfo", "30 1 259:1 / "+point+" rw - ext4 /dev/nvme1n1 rw\n")
	}
}

// gone takes a controller out of sysfs again.
func (h *host) gone(device string) {
	h.t.Helper()
	for _, path := range []string{"/sys/class/nvme/" + device, "/sys/devices/virtual/nvme-fabrics/ctl/" + device, "/dev/" + device} {
		if err := os.RemoveAll(h.root.Join(path)); err != nil {
			h.t.Fatal(err)
		}
	}
	h.seqnum++
	h.write("/sys/kernel/uevent_seqnum", fmt.Sprintf("%d\n", h.seqnum))
}

func (h *host) mkdir(path string) {
	h.t.Helper()
	if err := os.MkdirAll(h.root.Join(path), 0o755); err != nil {
		h.t.Fatal(err)
	}
}

func (h *host) write(path, data string) {
	h.t.Helper()
	h.mkdir(filepath.Dir(path))
	if err := os.WriteFile(h.root.Join(path), []byte(data), 0o644); err != nil {
		h.t.Fatal(err)
	}
}

// program makes a shell script of body at path, which is below the root.
func (h *host) program(path, body string) {
	h.t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		h.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+body+"\n"), 0o755); err != nil {
		h.t.Fatal(err)
	}
}

// records returns everything below /run/nvme except the locks: path and content.
func (h *host) records() map[string]string {
	h.t.Helper()
	found := make(map[string]string)
	filepath.WalkDir(h.root.Join("run/nvme"), func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.Contains(path, "/locks/") {
			return nil
		}
		data, err := os.ReadFile(path)
		if err != nil {
			h.t.Fatal(err)
		}
		if filepath.Base(path) == "instance" { // checked here: the number is another one with each run
			device := filepath.Base(filepath.Dir(path))
			info, err := os.Stat(filepath.Join(h.root.SysClassNVMe(), device))
			if err != nil || string(data) != fmt.Sprintln(info.Sys().(*syscall.Stat_t).Ino) {
				h.t.Errorf("instance of %s: %q, and sysfs has %v, %v", device, data, info, err)
			}
			return nil
		}
		found[strings.TrimPrefix(path, h.root.Join("run/nvme")+"/")] = string(data)
		return nil
	})
	return found
}

// deleted tells whether the controller was told to go.
func (h *host) deleted(device string) bool {
	h.t.Helper()
	data, err := os.ReadFile(h.root.DeleteController(device))
	if err != nil {
		h.t.Fatal(err)
	}
	return strings.HasPrefix(string(data), "1")
}

// short takes the temporary root out of a message.
func (h *host) short(message string) string { return strings.ReplaceAll(message, h.root.Join(), "") }

func (h *host) message(err error) string {
	if err == nil {
		return ""
	}
	return h.short(err.Error())
}

// ioc is a wish of the daemon for an I/O controller.
func ioc() wish.Wish {
	return wish.Wish{
		TID: tid.TID{
			Transport: "tcp", Traddr: "192.0.2.1", Trsvcid: "4420", NQN: nqn,
			HostNQN: "nqn.2014-08.org.nvmexpress:uuid:1", HostID: "1",
		},
		Owner: wish.OwnerDiscoverd,
	}
}

// dc is a wish of the daemon for a discovery controller.
func dc() wish.Wish {
	w := ioc()
	w.Kind, w.TID.NQN, w.TID.Trsvcid = tid.Discovery, tid.DiscoveryNQN, "8009"
	return w
}

// request is what the daemon's unit asks for.
func (h *host) request() Request {
	return Request{
		Wish: ioc(), Idempotent: true, Unit: unit,
		DevidFile: h.root.Join("run/nvme/discoverd/units", strings.TrimSuffix(unit, ".service")+".devid"),
	}
}
