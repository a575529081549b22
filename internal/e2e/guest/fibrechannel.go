// SPDX-License-Identifier: GPL-3.0-or-later

//go:build e2e

package guest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// fcloop joins a port of this host with ports of the kernel's target, as if there were Fibre Channel between them.
const fcloop = "/sys/class/fcloop/ctl"

// The port of this host on Fibre Channel: node and port name.
const (
	fcHostNode = "0x20000000000000dd"
	fcHostPort = "0x10000000000000dd"
)

// FCHost is its address.
const FCHost = "nn-" + fcHostNode + ":pn-" + fcHostPort

// FCPort is a port of the target on Fibre Channel: one discovery controller, subsystems behind it. It is in the fabric from
// Enter to Leave.
//
// Kernel 6.12 dies in several ways when such a port is taken apart: when a subsystem is taken off it after the port left, and
// when its target's side is deleted while the host does not see it. So what a scenario has made stays until the machine is
// switched off, and every scenario makes its own.
type FCPort struct {
	t             T
	node, port    string
	Subsystems    []*Subsystem
	answers, seen bool
}

// NewFCPort makes a port with n subsystems that is not in the fabric yet. To be called before Begin, so that the fabric
// outlives the connections that use it.
func NewFCPort(t T, n int) *FCPort {
	t.Helper()
	return newFCPort(t, n, func(p *FCPort) string { return p.Traddr() })
}

// NewFCPortWithComma is NewFCPort for a target that was configured with a comma between the names of its port, and writes it so
// in its log page.
func NewFCPortWithComma(t T, n int) *FCPort {
	t.Helper()
	return newFCPort(t, n, func(p *FCPort) string { return "nn-" + p.node + ",pn-" + p.port })
}

// FCSpellings returns other spellings of an address: with a comma, without 0x, and as bytes in capitals.
func FCSpellings(traddr string) (comma, bare, bytes string) {
	node, port, _ := strings.Cut(strings.TrimPrefix(traddr, "nn-0x"), ":pn-0x")
	split := func(name string) string {
		var pairs []string
		for at := 0; at < len(name); at += 2 {
			pairs = append(pairs, strings.ToUpper(name[at:at+2]))
		}
		return strings.Join(pairs, ":")
	}
	return "nn-0x" + node + ",pn-0x" + port, "nn-" + strings.ToUpper(node) + ":pn-" + strings.ToUpper(port), "nn-" + split(node) + ":pn-" + split(port)
}

func newFCPort(t T, n int, traddr func(*FCPort) string) *FCPort {
	t.Helper()
	Run(t, "modprobe", "-a", "nvmet", "nvme-fc", "nvmet-fc", "nvme-fcloop")
	err := os.WriteFile(filepath.Join(fcloop, "add_local_port"), []byte("wwnn="+fcHostNode+",wwpn="+fcHostPort), 0o200)
	if err != nil && !errors.Is(err, syscall.EEXIST) { // of an earlier scenario
		t.Fatalf("cannot make the host's port: %v", err)
	}
	number := 100 + len(fcPorts())
	p := &FCPort{t: t, node: fmt.Sprintf("0x2000000000000%03x", number), port: fmt.Sprintf("0x1000000000000%03x", number)}
	p.Answer()
	dir := filepath.Join(nvmet, "ports", strconv.Itoa(number))
	mkdir(t, dir)
	write(t, filepath.Join(dir, "addr_trtype"), "fc")
	write(t, filepath.Join(dir, "addr_adrfam"), "fc")
	write(t, filepath.Join(dir, "addr_traddr"), traddr(p))
	write(t, filepath.Join(dir, "addr_trsvcid"), "none")
	target, configured := &Target{t: t}, &Port{t: t, dir: dir}
	for i := range n {
		p.Subsystems = append(p.Subsystems, target.Subsystem(fmt.Sprintf("nqn.2024-01.com.example:fc%d-vol%d", number, i+1)))
	}
	configured.Link(p.Subsystems...)
	t.Cleanup(func() {
		reset(t)
		if p.answers && p.seen {
			p.Leave()
		}
	})
	return p
}

// Traddr is the port's address.
func (p *FCPort) Traddr() string { return "nn-" + p.node + ":pn-" + p.port }

func (p *FCPort) names() string { return "wwnn=" + p.node + ",wwpn=" + p.port }

func (p *FCPort) control(file, text string) {
	p.t.Helper()
	write(p.t, filepath.Join(fcloop, file), text)
}

// Appear makes the host see the port, which the kernel announces. After Leave it answers nothing before Answer.
func (p *FCPort) Appear() {
	p.t.Helper()
	// 0x60: a target with a discovery controller. Without the latter there is no announcement.
	p.control("add_remote_port", p.names()+",lpwwnn="+fcHostNode+",lpwwpn="+fcHostPort+",roles=0x60")
	p.seen = true
}

// Answer makes the target's side of the port work.
func (p *FCPort) Answer() {
	p.t.Helper()
	p.control("add_target_port", p.names())
	p.answers = true
}

// Enter puts the port into the fabric.
func (p *FCPort) Enter() {
	p.t.Helper()
	if !p.answers {
		p.Answer()
	}
	p.Appear()
}

// Leave takes the port out of the fabric. No event tells of that; the kernel gives up its controllers after a while.
func (p *FCPort) Leave() {
	p.t.Helper()
	p.control("del_target_port", p.names()) // in this order only
	p.control("del_remote_port", p.names())
	p.answers, p.seen = false, false
}

// NQNs lists the names of all that is behind the port.
func (p *FCPort) NQNs() []string { return NQNs(true, p.Subsystems...) }

// TID returns the transport ID under which the host reaches an NQN on the port.
func (p *FCPort) TID(nqn string) TID {
	return TID{Transport: "fc", Traddr: p.Traddr(), NQN: nqn, HostTraddr: FCHost, HostNQN: HostNQN, HostID: HostID}
}

// Wanted lists the connections to all that is behind the port.
func (p *FCPort) Wanted() []TID {
	var all []TID
	for _, nqn := range p.NQNs() {
		all = append(all, p.TID(nqn))
	}
	return all
}

// fcPorts lists the directories of the target's ports on Fibre Channel.
func fcPorts() []string {
	var found []string
	ports, _ := filepath.Glob(filepath.Join(nvmet, "ports/*"))
	for _, dir := range ports {
		if read(filepath.Join(dir, "addr_trtype")) == "fc" {
			found = append(found, dir)
		}
	}
	return found
}

// onFibreChannel tells whether something of the target's configuration belongs to a port on Fibre Channel.
func onFibreChannel(path string) bool {
	in := func(dir string) bool {
		inside, err := filepath.Rel(dir, path)
		return err == nil && filepath.IsLocal(inside)
	}
	for _, dir := range fcPorts() {
		if in(dir) {
			return true
		}
		for _, nqn := range names(filepath.Join(dir, "subsystems")) {
			if in(filepath.Join(nvmet, "subsystems", nqn)) {
				return true
			}
		}
	}
	return false
}
