// SPDX-License-Identifier: GPL-3.0-or-later

package rdma

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/nvme-discoverd/nvme-discoverd/internal/paths"
)

// attr is an attribute with its value.
func attr(kind uint16, value ...byte) []byte {
	b := binary.NativeEndian.AppendUint16(nil, uint16(unix.SizeofNlAttr+len(value)))
	b = append(binary.NativeEndian.AppendUint16(b, kind), value...)
	return append(b, make([]byte, (4-len(b)%4)%4)...)
}

// storage is a struct __kernel_sockaddr_storage.
func storage(addr string) []byte {
	at := netip.MustParseAddrPort(addr)
	b := make([]byte, 128)
	binary.BigEndian.PutUint16(b[2:], at.Port())
	if at.Addr().Is4() {
		binary.NativeEndian.PutUint16(b, unix.AF_INET)
		copy(b[4:], at.Addr().AsSlice())
	} else {
		binary.NativeEndian.PutUint16(b, unix.AF_INET6)
		copy(b[8:], at.Addr().AsSlice())
	}
	return b
}

func join(parts ...[]byte) []byte {
	var all []byte
	for _, part := range parts {
		all = append(all, part...)
	}
	return all
}

// sample is an answer with two listeners, a connection, an identifier without an address and one of a program.
func sample() []byte {
	nvmet := attr(attrOwner, []byte("nvmet_rdma\x00")...)
	id := func(parts ...[]byte) []byte { return attr(attrConnectionID|unix.NLA_F_NESTED, join(parts...)...) }
	return join(attr(attrDeviceIndex, 1, 0, 0, 0), attr(attrDeviceName, []byte("rxe0\x00")...), attr(attrConnectionIDs, join(
		id(nvmet, attr(attrSource, storage("192.0.2.1:4420")...), attr(attrDestination, storage("0.0.0.0:0")...)),
		id(nvmet, attr(attrSource, storage("[2001:db8::1]:4421")...)),
		id(nvmet, attr(attrSource, storage("192.0.2.1:4420")...), attr(attrDestination, storage("192.0.2.2:40000")...)),
		id(nvmet), attr(77, 1),
		id(attr(28, 1, 0, 0, 0), attr(attrSource, storage("192.0.2.1:7471")...)),
	)...))
}

func TestParse(t *testing.T) {
	tests := []struct {
		name   string
		answer []byte
		want   string
	}{
		{"sample", sample(), "[{rxe0 192.0.2.1:4420 nvmet_rdma} {rxe0 [2001:db8::1]:4421 nvmet_rdma} {rxe0 192.0.2.1:7471 }]"},
		{"empty", nil, "[]"},
		{"cut off", sample()[:40], "[]"},
		{"address too short", attr(attrConnectionIDs, attr(attrConnectionID, attr(attrSource, 2, 0, 1, 1)...)...), "[]"},
		{"other family", attr(attrConnectionIDs, attr(attrConnectionID, attr(attrSource, make([]byte, 128)...)...)...), "[]"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := fmt.Sprint(parse(test.answer)); got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	f.Add(sample())
	f.Fuzz(func(t *testing.T, answer []byte) {
		for _, l := range parse(answer) {
			if !l.Addr.IsValid() || l.Addr.Addr().Zone() != "" {
				t.Errorf("listener %v", l)
			}
		}
	})
}

// A host without RDMA has no listeners; one with it may have some.
func TestListeners(t *testing.T) {
	if _, err := Listeners(); err != nil {
		t.Error(err)
	}
}

func TestHas(t *testing.T) {
	const unused, linkLocal = "0000:0000:0000:0000:0000:0000:0000:0000", "fe80:0000:0000:0000:0202:03ff:fe04:0506"
	tests := []struct {
		name, nodeType, linkLayer string
		gids                      []string
		addr                      string
		want                      bool
	}{
		{"RoCE has it", "1: CA", "Ethernet", []string{linkLocal, "0000:0000:0000:0000:0000:ffff:c000:0201"}, "192.0.2.1", true},
		{"RoCE has another", "1: CA", "Ethernet", []string{linkLocal, "0000:0000:0000:0000:0000:ffff:c000:0202"}, "192.0.2.1", false},
		{"IPv6", "1: CA", "Ethernet", []string{unused, "2001:0db8:0000:0000:0000:0000:0000:0001"}, "2001:db8::1", true},
		{"IPv6 with a zone", "1: CA", "Ethernet", []string{linkLocal}, "fe80::202:3ff:fe04:506%eth0", true},
		{"unused places", "1: CA", "Ethernet", []string{unused}, "192.0.2.1", false},
		{"InfiniBand does not tell", "1: CA", "InfiniBand", []string{linkLocal}, "192.0.2.1", true},
		{"iWARP does not tell", "4: RNIC", "Ethernet", []string{linkLocal}, "192.0.2.1", true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			root := paths.Root(t.TempDir())
			files := map[string]string{"node_type": test.nodeType, "ports/1/link_layer": test.linkLayer}
			for i, gid := range test.gids {
				files[fmt.Sprintf("ports/1/gids/%d", i)] = gid
			}
			for name, text := range files {
				path := filepath.Join(root.InfiniBand(), "mlx5_0", name)
				if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, []byte(text+"\n"), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if got := Has(root, netip.MustParseAddr(test.addr)); got != test.want {
				t.Errorf("Has: got %v, want %v", got, test.want)
			}
		})
	}
	if Has(paths.Root(t.TempDir()), netip.MustParseAddr("192.0.2.1")) {
		t.Error("a host without RDMA devices has an address on one")
	}
}
