// SPDX-License-Identifier: GPL-3.0-or-later

//go:build e2e

package guest

import (
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// Far is another host's network, one cable away.
type Far struct {
	t T
}

// The cable's end at this host, and the address of its other end.
const (
	FarLink    = "fabric"
	FarAddress = "192.0.2.1"
)

// NewFar lays the cable. To be called before Begin, so that the network outlives the connections that use it.
func NewFar(t T) *Far {
	t.Helper()
	Run(t, "ip", "netns", "add", "far")
	t.Cleanup(func() {
		reset(t)
		Run(t, "ip", "link", "delete", FarLink)
		Run(t, "ip", "netns", "delete", "far")
	})
	Run(t, "ip", "link", "add", FarLink, "type", "veth", "peer", "name", "port", "netns", "far")
	Run(t, "ip", "address", "add", "192.0.2.2/24", "dev", FarLink)
	Run(t, "ip", "-n", "far", "address", "add", FarAddress+"/24", "dev", "port")
	Run(t, "ip", "-n", "far", "link", "set", "port", "up")
	// An end of a cable answers for its own address alone, as a switch port in another network does.
	Run(t, "ip", "netns", "exec", "far", "sysctl", "--quiet", "net.ipv4.conf.all.arp_ignore=1")
	f := &Far{t: t}
	f.SetLink("up")
	return f
}

// Cable lays one more cable: link is its end at this host, with the address near; far is the address of its other end, both
// with the length of their prefix.
func (f *Far) Cable(link, near, far string) {
	f.t.Helper()
	Run(f.t, "ip", "link", "add", link, "type", "veth", "peer", "name", "port-"+link, "netns", "far")
	Run(f.t, "ip", "address", "add", near, "dev", link)
	Run(f.t, "ip", "-n", "far", "address", "add", far, "dev", "port-"+link)
	Run(f.t, "ip", "-n", "far", "link", "set", "port-"+link, "up")
	Run(f.t, "ip", "link", "set", link, "up")
}

// NewBridge makes a bridge of that name without a port, with an address that has the length of its prefix. To be called before
// Begin, as NewFar.
func NewBridge(t T, link, address string) {
	t.Helper()
	Run(t, "ip", "link", "add", link, "type", "bridge")
	t.Cleanup(func() {
		reset(t)
		Run(t, "ip", "link", "delete", link)
	})
	Run(t, "ip", "address", "add", address, "dev", link)
	Run(t, "ip", "link", "set", link, "up")
}

// NewLinkLocal makes an interface of that name whose only address is link-local, and returns that with its zone. To be called
// before Begin, as NewFar.
func NewLinkLocal(t T, link string) string {
	t.Helper()
	Run(t, "ip", "link", "add", link, "type", "dummy")
	t.Cleanup(func() {
		reset(t)
		Run(t, "ip", "link", "delete", link)
	})
	Run(t, "ip", "link", "set", link, "addrgenmode", "none")
	Run(t, "ip", "link", "set", link, "up")
	Run(t, "ip", "address", "add", "fe80::10/64", "dev", link, "nodad")
	return "fe80::10%" + link
}

// SetLink plugs the cable ("up") or pulls it ("down").
func (f *Far) SetLink(state string) {
	f.t.Helper()
	Run(f.t, "ip", "link", "set", FarLink, state)
}

// SetPort has the other host's end of the cable carry traffic ("up") or not ("down"): nobody answers then.
func (f *Far) SetPort(state string) {
	f.t.Helper()
	Run(f.t, "ip", "-n", "far", "link", "set", "port", state)
}

// There runs what is to be done by the other host: the target listens where the one is who links its first subsystem.
func (f *Far) There(do func()) {
	f.t.Helper()
	done := make(chan error, 1)
	go func() {
		defer close(done)
		// Never unlocked: the thread, which is in the other network, ends with the goroutine.
		runtime.LockOSThread()
		network, err := os.Open("/run/netns/far")
		if err == nil {
			defer network.Close()
			err = unix.Setns(int(network.Fd()), unix.CLONE_NEWNET)
		}
		if err != nil {
			done <- err
			return
		}
		do()
	}()
	if err := <-done; err != nil {
		f.t.Fatalf("cannot enter the other network: %v", err)
	}
}
