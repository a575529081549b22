// SPDX-License-Identifier: GPL-3.0-or-later

package nbft_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/nvme-discoverd/nvme-discoverd/internal/nbft"
	"github.com/nvme-discoverd/nvme-discoverd/internal/paths"
)

func TestInterface(t *testing.T) {
	root := paths.Root(t.TempDir())
	iface := func(name, mac string, files ...string) {
		dir := filepath.Join(root.SysClassNet(), name)
		write(t, filepath.Join(dir, "address"), []byte(mac+"\n"))
		for _, f := range files {
			write(t, filepath.Join(dir, f), nil)
		}
	}
	iface("a-macvlan0", "52:54:00:00:00:01")
	iface("br0", "52:54:00:00:00:02")
	iface("eth0", "52:54:00:00:00:01", "device")
	iface("eth0.5", "52:54:00:00:00:01")
	iface("eth1", "52:54:00:00:00:02", "device", "master")
	iface("eth2", "52:54:00:00:00:03", "device", "master")
	iface("ib0", "80:00:02:08:fe:80:00:00:00:00:00:00:52:54:00:00:00:01:02:03", "device")
	iface("lo", "00:00:00:00:00:00")
	write(t, filepath.Join(root.SysClassNet(), "bonding_masters"), nil)
	link := func(last byte, vlan uint16) nbft.Link {
		return nbft.Link{MAC: [6]byte{0x52, 0x54, 0, 0, 0, last}, VLAN: vlan}
	}
	expect := func(l nbft.Link, want string) {
		t.Helper()
		if got, err := l.Interface(root); got != want || err != nil {
			t.Errorf("%v: %q, %v, want %q", l, got, err, want)
		}
	}
	expect(link(1, 5), "") // without the module 8021q
	write(t, root.VLANs(), []byte("VLAN Dev name\t | VLAN ID\nName-Type: VLAN_NAME_TYPE_RAW_PLUS_VID_NO_PAD\neth0.5         | 5  | eth0\n"))
	expect(link(1, 0), "eth0")
	expect(link(1, 5), "eth0.5")
	expect(link(1, 6), "")
	expect(link(2, 0), "br0")
	expect(link(3, 0), "eth2")
	expect(link(4, 0), "")
	expect(nbft.Link{}, "")
}

func TestInterfaceError(t *testing.T) {
	root := paths.Root(t.TempDir())
	l := nbft.Link{MAC: [6]byte{1}}
	want := "cannot list the network interfaces: open " + root.SysClassNet() + ": no such file or directory"
	if _, err := l.Interface(root); fmt.Sprint(err) != want {
		t.Errorf("error %v, want %s", err, want)
	}
	for _, dir := range []string{root.SysClassNet(), root.VLANs()} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	want = "cannot list the VLANs: read " + root.VLANs() + ": is a directory"
	if _, err := l.Interface(root); fmt.Sprint(err) != want {
		t.Errorf("error %v, want %s", err, want)
	}
}

func TestLinkString(t *testing.T) {
	for _, test := range []struct {
		link nbft.Link
		want string
	}{
		{nbft.Link{}, ""},
		{nbft.Link{MAC: [6]byte{0x52, 0x54, 0, 0, 0, 1}}, "52:54:00:00:00:01"},
		{nbft.Link{MAC: [6]byte{0x52, 0x54, 0, 0, 0, 1}, VLAN: 5}, "52:54:00:00:00:01 VLAN 5"},
	} {
		if got := test.link.String(); got != test.want {
			t.Errorf("%+v: %q, want %q", test.link, got, test.want)
		}
	}
}

// The kernel's list of VLANs holds names that people give, and may be of a kernel to come.
func FuzzVLANs(f *testing.F) {
	f.Add("VLAN Dev name\t | VLAN ID\nName-Type: VLAN_NAME_TYPE_RAW_PLUS_VID_NO_PAD\neth0.5         | 5  | eth0\n", "52:54:00:00:00:01", uint16(5))
	f.Add("eth0.5|65536|eth0", "52:54:00:00:00:01", uint16(0))
	f.Add("|||\n\n|5", "80:00:02:08:fe:80:00:00:00:00:00:00:52:54:00:00:00:01:02:03", uint16(5))
	f.Fuzz(func(t *testing.T, list, mac string, vlan uint16) {
		root := paths.Root(t.TempDir())
		write(t, filepath.Join(root.SysClassNet(), "eth0.5", "address"), []byte(mac))
		write(t, root.VLANs(), []byte(list))
		l := nbft.Link{MAC: [6]byte{0x52, 0x54, 0, 0, 0, 1}, VLAN: vlan}
		if got, err := l.Interface(root); err != nil || got != "" && got != "eth0.5" {
			t.Errorf("%v: %q, %v", l, got, err)
		}
	})
}
