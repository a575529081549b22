// SPDX-License-Identifier: GPL-3.0-or-later

package psk

import (
	"slices"
	"strings"
	"testing"
)

func TestParseIdentity(t *testing.T) {
	for _, test := range []struct {
		text string
		want Identity
		err  string
	}{
		{"NVMe1R01 nqn.h nqn.s ZGlnZXN0", Identity{1, Retained, "SHA-256", "nqn.h", "nqn.s", "ZGlnZXN0"}, ""},
		{"NVMe0R02 nqn.h nqn.s", Identity{0, Retained, "SHA-384", "nqn.h", "nqn.s", ""}, ""},
		{"NVMe1G01 nqn.h nqn.s eA==", Identity{1, Generated, "SHA-256", "nqn.h", "nqn.s", "eA=="}, ""},
		{"NVMe0R00 nqn.h nqn.s", Identity{0, Retained, "none", "nqn.h", "nqn.s", ""}, ""},
		{"", Identity{}, "it does not begin with NVMe, a digit, R or G and two digits"},
		{"NVMe1R1 nqn.h nqn.s x", Identity{}, "it does not begin with NVMe, a digit, R or G and two digits"},
		{"NVMe2R01 nqn.h nqn.s x", Identity{}, "its version is unknown"},
		{"NVMe1X01 nqn.h nqn.s x", Identity{}, "its kind is unknown"},
		{"NVMe1R03 nqn.h nqn.s x", Identity{}, "its hash is unknown"},
		{"NVMe1R01 nqn.h nqn.s", Identity{}, "it does not name a host and a subsystem, with version 1 a digest too"},
		{"NVMe0R01 nqn.h ", Identity{}, "it does not name a host and a subsystem, with version 1 a digest too"},
	} {
		got, err := ParseIdentity(test.text)
		if got != test.want || !strings.HasSuffix(errorText(err), test.err) || (err == nil) != (test.err == "") {
			t.Errorf("%q: %+v, %v", test.text, got, err)
		}
	}
}

// The kernel takes the newest version and the longest hash first.
func TestPreference(t *testing.T) {
	order := []string{"NVMe1R02 h s d", "NVMe1R01 h s d", "NVMe0R02 h s", "NVMe0R01 h s", "NVMe1G02 h s d"}
	got := slices.Clone(order)
	slices.Reverse(got)
	slices.SortFunc(got, func(x, y string) int {
		a, _ := ParseIdentity(x)
		b, _ := ParseIdentity(y)
		return a.Preference() - b.Preference()
	})
	if !slices.Equal(got, order) {
		t.Errorf("got %q", got)
	}
}

func FuzzParseIdentity(f *testing.F) {
	f.Add("NVMe1R01 nqn.h nqn.s ZGlnZXN0")
	f.Add("NVMe0R02 nqn.h nqn.s")
	f.Fuzz(func(t *testing.T, text string) {
		id, err := ParseIdentity(text)
		if err == nil && (id.HostNQN == "" || id.NQN == "" || strings.Contains(id.HostNQN+id.NQN, " ")) {
			t.Errorf("%q: %+v", text, id)
		}
	})
}
