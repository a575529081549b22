// SPDX-License-Identifier: GPL-3.0-or-later

package mdns

import (
	"bytes"
	"strings"
	"testing"

	"github.com/nvme-discoverd/nvme-discoverd/internal/tid"
)

func strs(list ...string) (all [][]byte) {
	for _, s := range list {
		all = append(all, []byte(s))
	}
	return all
}

func TestParseTXT(t *testing.T) {
	const unique = "nqn.2014-08.org.nvmexpress:uuid:427a94b8-3bcd-4f3a-8c1b-6f0e2d1c9a5e"
	for _, test := range []struct {
		name string
		txt  [][]byte
		want txt
		err  string
	}{
		{"nothing", nil, txt{tid.TCP, tid.DiscoveryNQN}, ""},
		{"tcp", strs("p=tcp", "nqn="+tid.DiscoveryNQN), txt{tid.TCP, tid.DiscoveryNQN}, ""},
		{"unique NQN, keys and values in capitals", strs("NQN="+unique, "P=TCP"), txt{tid.TCP, unique}, ""},
		{"NVMe/TCP", strs("p=NVMe/TCP"), txt{tid.TCP, tid.DiscoveryNQN}, ""},
		{"roce", strs("p=roce"), txt{tid.RDMA, tid.DiscoveryNQN}, ""},
		{"RoCEv2", strs("p=RoCE-v2"), txt{tid.RDMA, tid.DiscoveryNQN}, ""},
		{"rdma", strs("p= RDMA "), txt{tid.RDMA, tid.DiscoveryNQN}, ""},
		{"unknown keys, none, and no value", strs("", "=x", "txtvers=1", "nqn", "p=", "vendor=\xff\x00"), txt{tid.TCP, tid.DiscoveryNQN}, ""},
		{"the first counts", strs("p=tcp", "p=roce"), txt{tid.TCP, tid.DiscoveryNQN}, ""},
		{"padded NQN", strs("nqn=" + unique + "\x00\x00"), txt{tid.TCP, unique}, ""},
		{"other transport", strs("p=fc\x1b[31m"), txt{}, "its transport p=fc?[31m is unknown"},
		{"NQN that injects an option", strs("nqn=nqn.2024-01.a,hostnqn=b"), txt{}, `cannot use NQN "nqn.2024-01.a,hostnqn=b": it contains a comma`},
		{"long NQN", strs("nqn=" + strings.Repeat("x", 300)), txt{}, `cannot use NQN "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"…: it has 300 bytes, at most 223 are allowed`},
		{"much", [][]byte{bytes.Repeat([]byte("x"), 5000)}, txt{}, "its TXT data have 1 strings and 5001 bytes, at most 64 and 4096 are looked at"},
		{"many", make([][]byte, 65), txt{}, "its TXT data have 65 strings and 65 bytes, at most 64 and 4096 are looked at"},
	} {
		got, err := parseTXT(test.txt)
		text := ""
		if err != nil {
			text = err.Error()
		}
		if err == nil && got != test.want || text != test.err {
			t.Errorf("%s: %+v, %q, want %+v, %q", test.name, got, text, test.want, test.err)
		}
	}
}

// FuzzTXT takes TXT data as they are on the wire: each string after its length.
func FuzzTXT(f *testing.F) {
	for _, list := range [][]string{{"p=tcp", "nqn=" + tid.DiscoveryNQN}, {"P=RoCEv2", "NQN=nqn.2024-01.com.example:x"}, {"p=\xff\x1b", ""}, {"nqn=a,b"}} {
		var wire []byte
		for _, s := range list {
			wire = append(append(wire, byte(len(s))), s...)
		}
		f.Add(wire)
	}
	f.Fuzz(func(t *testing.T, wire []byte) {
		var list [][]byte
		for len(wire) > 0 {
			n := min(int(wire[0]), len(wire)-1)
			list, wire = append(list, wire[1:1+n]), wire[1+n:]
		}
		got, err := parseTXT(list)
		if err != nil {
			if strings.ContainsFunc(err.Error(), func(r rune) bool { return r < ' ' || r == 0x7f }) || len(err.Error()) > 500 {
				t.Fatalf("an error that is not fit to print: %q", err)
			}
			return
		}
		if got.transport != tid.TCP && got.transport != tid.RDMA {
			t.Fatalf("transport %q", got.transport)
		}
		if err := tid.CheckNQN(got.nqn); err != nil {
			t.Fatal(err)
		}
	})
}
