// SPDX-License-Identifier: GPL-3.0-or-later

//go:build e2e

package guest

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// nvmet is where the kernel's own target is configured.
const nvmet = "/sys/kernel/config/nvmet"

// Target is the kernel's NVMe target on this host: one discovery controller per port, subsystems behind it.
type Target struct {
	t T
}

// Port is one port of the target. It listens while at least one subsystem is linked to it.
type Port struct {
	t         T
	dir       string
	Transport string
	Traddr    string
	Trsvcid   string
}

// Subsystem is one subsystem of the target.
type Subsystem struct {
	t   T
	dir string
	NQN string
}

// NewTarget loads the target; the machine's reset removes it again.
func NewTarget(t T) *Target {
	t.Helper()
	Run(t, "modprobe", "-a", "nvmet", "nvmet-tcp")
	return &Target{t: t}
}

// Port adds a port that listens on 127.0.0.1.
func (g *Target) Port(trsvcid int) *Port {
	g.t.Helper()
	return g.PortAt("127.0.0.1", trsvcid)
}

// PortAt adds a port that listens on an address of this host.
func (g *Target) PortAt(traddr string, trsvcid int) *Port {
	g.t.Helper()
	return g.PortOver("tcp", traddr, trsvcid)
}

// PortOver adds a port of a transport, such as "rdma", that listens on an address of this host.
func (g *Target) PortOver(transport, traddr string, trsvcid int) *Port {
	g.t.Helper()
	p := &Port{
		t: g.t, Transport: transport, Traddr: traddr, Trsvcid: strconv.Itoa(trsvcid),
		dir: filepath.Join(nvmet, "ports", strconv.Itoa(trsvcid)),
	}
	mkdir(g.t, p.dir)
	write(g.t, filepath.Join(p.dir, "addr_trtype"), transport)
	family := "ipv4"
	if strings.Contains(traddr, ":") {
		family = "ipv6"
	}
	write(g.t, filepath.Join(p.dir, "addr_adrfam"), family)
	write(g.t, filepath.Join(p.dir, "addr_traddr"), p.Traddr)
	write(g.t, filepath.Join(p.dir, "addr_trsvcid"), p.Trsvcid)
	return p
}

// LoopPort adds the port that leads back to this host without any network. Its transport ID has no address.
func (g *Target) LoopPort() *Port {
	g.t.Helper()
	Run(g.t, "modprobe", "nvme-loop")
	p := &Port{t: g.t, Transport: "loop", dir: filepath.Join(nvmet, "ports", "1")}
	mkdir(g.t, p.dir)
	write(g.t, filepath.Join(p.dir, "addr_trtype"), "loop")
	return p
}

// Subsystem adds a subsystem that any host may use. It has no namespaces, and no port shows it before Link.
func (g *Target) Subsystem(nqn string) *Subsystem {
	g.t.Helper()
	s := &Subsystem{t: g.t, NQN: nqn, dir: filepath.Join(nvmet, "subsystems", nqn)}
	mkdir(g.t, s.dir)
	write(g.t, filepath.Join(s.dir, "attr_allow_any_host"), "1")
	return s
}

// Subsystems adds n subsystems with numbered NQNs.
func (g *Target) Subsystems(n int) []*Subsystem {
	g.t.Helper()
	var all []*Subsystem
	for i := 1; i <= n; i++ {
		all = append(all, g.Subsystem(fmt.Sprintf("nqn.2024-01.com.example:vol%d", i)))
	}
	return all
}

// AllowOnly makes the subsystem refuse every host but those named.
func (s *Subsystem) AllowOnly(hostnqns ...string) {
	s.t.Helper()
	write(s.t, filepath.Join(s.dir, "attr_allow_any_host"), "0")
	allowed := filepath.Join(s.dir, "allowed_hosts")
	for _, name := range names(allowed) {
		if err := os.Remove(filepath.Join(allowed, name)); err != nil {
			s.t.Fatalf("cannot forbid host: %v", err)
		}
	}
	for _, hostnqn := range hostnqns {
		host := filepath.Join(nvmet, "hosts", hostnqn)
		if !exists(host) {
			mkdir(s.t, host)
		}
		if err := os.Symlink(host, filepath.Join(allowed, hostnqn)); err != nil {
			s.t.Fatalf("cannot allow host: %v", err)
		}
	}
}

// AllowAll makes the subsystem accept every host again.
func (s *Subsystem) AllowAll() {
	s.t.Helper()
	allowed := filepath.Join(s.dir, "allowed_hosts")
	for _, name := range names(allowed) {
		if err := os.Remove(filepath.Join(allowed, name)); err != nil {
			s.t.Fatalf("cannot forbid host: %v", err)
		}
	}
	write(s.t, filepath.Join(s.dir, "attr_allow_any_host"), "1")
}

// Namespace adds namespace number 1 on a sparse file of that many bytes, reached through a loop device.
func (s *Subsystem) Namespace(bytes int64) {
	s.t.Helper()
	s.NamespaceOn(strings.TrimSpace(Run(s.t, "losetup", "--find", "--show", sparseFile(s.t, bytes))))
}

// sparseFile makes a file that the reset of the machine removes.
func sparseFile(t T, bytes int64) string {
	t.Helper()
	file, err := os.CreateTemp("/var/tmp", "namespace-")
	if err != nil {
		t.Fatalf("cannot make namespace: %v", err)
	}
	defer file.Close()
	if err := file.Truncate(bytes); err != nil {
		t.Fatalf("cannot make namespace: %v", err)
	}
	return file.Name()
}

// NamespaceOn adds namespace number 1 on a block device.
func (s *Subsystem) NamespaceOn(device string) {
	s.t.Helper()
	dir := filepath.Join(s.dir, "namespaces", "1")
	mkdir(s.t, dir)
	write(s.t, filepath.Join(dir, "device_path"), device)
	write(s.t, filepath.Join(dir, "enable"), "1")
}

// Link shows subsystems on the port: the discovery log page changes, and the port begins to listen with the first one.
func (p *Port) Link(subsystems ...*Subsystem) {
	p.t.Helper()
	for _, s := range subsystems {
		if err := os.Symlink(s.dir, filepath.Join(p.dir, "subsystems", s.NQN)); err != nil {
			p.t.Fatalf("cannot link subsystem to port: %v", err)
		}
	}
}

// Unlink takes subsystems off the port: the discovery log page changes, the kernel ends the controllers' connections, and
// the port stops listening with the last one.
func (p *Port) Unlink(subsystems ...*Subsystem) {
	p.t.Helper()
	for _, s := range subsystems {
		if err := os.Remove(filepath.Join(p.dir, "subsystems", s.NQN)); err != nil {
			p.t.Fatalf("cannot unlink subsystem from port: %v", err)
		}
	}
}

// Refer adds a referral to another port's discovery controller to the port's log page.
func (p *Port) Refer(to *Port) {
	p.t.Helper()
	dir := filepath.Join(p.dir, "referrals", to.Trsvcid)
	mkdir(p.t, dir)
	write(p.t, filepath.Join(dir, "addr_trtype"), to.Transport)
	write(p.t, filepath.Join(dir, "addr_adrfam"), "ipv4")
	write(p.t, filepath.Join(dir, "addr_traddr"), to.Traddr)
	write(p.t, filepath.Join(dir, "addr_trsvcid"), to.Trsvcid)
	write(p.t, filepath.Join(dir, "enable"), "1")
}

func mkdir(t T, dir string) {
	t.Helper()
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatalf("cannot make %v", err)
	}
}

// removeTarget removes all that any scenario configured in the target, but what is on Fibre Channel (see FCPort).
func removeTarget(t T) {
	t.Helper()
	remove := func(pattern string) {
		found, _ := filepath.Glob(filepath.Join(nvmet, pattern))
		for _, path := range found {
			if onFibreChannel(path) {
				continue
			}
			if err := os.Remove(path); err != nil && !gone(err) {
				t.Fatalf("cannot remove target: %v", err)
			}
		}
	}
	enabled, _ := filepath.Glob(filepath.Join(nvmet, "subsystems/*/namespaces/*/enable"))
	for _, path := range enabled {
		write(t, path, "0")
	}
	for _, pattern := range []string{
		"ports/*/subsystems/*", "ports/*/referrals/*", "ports/*", "subsystems/*/allowed_hosts/*",
		"subsystems/*/namespaces/*", "subsystems/*", "hosts/*",
	} {
		remove(pattern)
	}
	if attached, _ := filepath.Glob("/sys/block/loop*/loop/backing_file"); len(attached) > 0 {
		Run(t, "losetup", "--detach-all")
	}
	files, _ := filepath.Glob("/var/tmp/namespace-*")
	for _, file := range files {
		_ = os.Remove(file)
	}
}
