// SPDX-License-Identifier: GPL-3.0-or-later

package tid

import (
	"strings"
	"testing"
)

// fcSpellings are all one address; fcNormal is its normal form.
const fcNormal = "nn-0x201700a09890f5bf:pn-0x201900a09890f5bf"

var fcSpellings = []string{
	fcNormal,
	"nn-0x201700a09890f5bf,pn-0x201900a09890f5bf", // log pages of arrays
	"nn-201700a09890f5bf:pn-201900a09890f5bf",     // the kernel takes this too (nvme_fc_parse_traddr)
	"nn-201700a09890f5bf,pn-0x201900a09890f5bf",
	"NN-0X201700A09890F5BF:PN-0X201900A09890F5BF",
	"nn-20:17:00:a0:98:90:f5:bf:pn-20:19:00:a0:98:90:f5:bf",
	"nn-20:17:00:A0:98:90:F5:BF,pn-20:19:00:A0:98:90:F5:BF",
	"nn-0x201700a09890f5bf:pn-20:19:00:a0:98:90:f5:bf",
}

func TestFCAddr(t *testing.T) {
	for _, spelling := range fcSpellings {
		if got, err := FCAddr(spelling); got != fcNormal || err != nil {
			t.Errorf("FCAddr(%q) = %q, %v; want %q", spelling, got, err, fcNormal)
		}
		if !SameAddr(FC, spelling, fcNormal) {
			t.Errorf("SameAddr does not know %q", spelling)
		}
	}
	for _, tt := range []struct{ in, err string }{
		{"", "it does not begin with nn-"},
		{"192.0.2.1", "it does not begin with nn-"},
		{"20:17:00:a0:98:90:f5:bf:20:19:00:a0:98:90:f5:bf", "it does not begin with nn-"},
		{"nn-0x201700a09890f5bf", "it has no :pn- after the name of the node"},
		{"nn-0x201700a09890f5bf_pn-0x201900a09890f5bf", "it has no :pn- after the name of the node"},
		{"nn-pn-0x201900a09890f5bf", "it has no :pn- after the name of the node"},
		{"nn-:pn-0x201900a09890f5bf", `"" is not a World Wide Name of 16 hexadecimal digits`},
		{"nn-0x201700a09890f5bf:pn-0x1", `"0x1" is not a World Wide Name of 16 hexadecimal digits`},
		{"nn-0x201700a09890f5bf0:pn-0x201900a09890f5bf", `"0x201700a09890f5bf0" is not a World Wide Name of 16 hexadecimal digits`},
		{"nn-0x201700a09890f5bg:pn-0x201900a09890f5bf", `"0x201700a09890f5bg" is not a World Wide Name of 16 hexadecimal digits`},
		{"nn-0x201700a09890f5bf:pn-0x201900a09890f5bf,dup", `"0x201900a09890f5bf,dup" is not a World Wide Name of 16 hexadecimal digits`},
		{"nn-20:17:0:a0:98:90:f5:bf0:pn-0x201900a09890f5bf", `"20:17:0:a0:98:90:f5:bf0" is not a World Wide Name of 8 bytes`},
		{"nn-20:17:00:a0:98:90:f5:pn-0x201900a09890f5bf", `"20:17:00:a0:98:90:f5" is not a World Wide Name of 16 hexadecimal digits`},
	} {
		got, err := FCAddr(tt.in)
		if err == nil || got != "" || !strings.Contains(err.Error(), tt.err) {
			t.Errorf("FCAddr(%q) = %q, %v; want an error with %q", tt.in, got, err, tt.err)
		}
	}
}

// FuzzFCAddr: what is taken has the kernel's form, whatever the spelling was.
func FuzzFCAddr(f *testing.F) {
	for _, spelling := range fcSpellings {
		f.Add(spelling)
	}
	f.Add(fcNormal + ",host_iface=x")
	f.Fuzz(func(t *testing.T, s string) {
		addr, err := FCAddr(s)
		if err != nil {
			return
		}
		if len(addr) != len(fcNormal) || strings.Trim(addr, "np-x:0123456789abcdef") != "" {
			t.Fatalf("FCAddr(%q) = %q", s, addr)
		}
		if again, err := FCAddr(addr); again != addr || err != nil {
			t.Fatalf("FCAddr(%q) = %q, %v", addr, again, err)
		}
	})
}
