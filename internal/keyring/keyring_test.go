// SPDX-License-Identifier: GPL-3.0-or-later

package keyring

import (
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/nvme-discoverd/nvme-discoverd/internal/paths"
)

const list = `0a7e2c3d I--Q---     1 perm 1f3f0000     0 65534 keyring   _uid.0: empty
1c6b7a10 I------     2 perm 1f0b0000     0     0 keyring   .nvme_other: empty
2e3d4c5b I------     2 perm 1f3f0000     0     0 keyring   .nvme: 1
3f000001 I--Q---     1 perm 3f010000     0     0 psk       NVMe1R01 nqn.a nqn.b c2VjcmV0: 32
`

func TestFind(t *testing.T) {
	for _, test := range []struct {
		name, list string
		serial     int
		ok         bool
	}{
		{"there", list, 0x2e3d4c5b, true},
		{"empty", "", 0, false},
		{"others only", list[:len(list)/2-20], 0, false},
		{"torn line", "2e3d4c5b I------     2 perm 1f3f0000     0     0 keyring\n", 0, false},
		{"no number", "xyz I------ 2 perm 1f3f0000 0 0 keyring .nvme: empty\n", 0, false},
		{"negative number", "-1 I------ 2 perm 1f3f0000 0 0 keyring .nvme: empty\n", 0, false},
	} {
		if serial, ok := find(test.list, Default); serial != test.serial || ok != test.ok {
			t.Errorf("%s: %x, %v", test.name, serial, ok)
		}
	}
}

func TestRing(t *testing.T) {
	root := paths.Root(t.TempDir())
	if err := os.MkdirAll(filepath.Dir(root.Keys()), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name, list string
		serial     int
		err        string
	}{
		{"", list, 0x2e3d4c5b, ""},
		{".nvme", list, 0x2e3d4c5b, ""},
		{".nvme_other", list, 0x1c6b7a10, ""},
		{"0x1c6b7a10", "", 0x1c6b7a10, ""},
		{"77", "", 77, ""},
		{"", "", 0, "this kernel has no .nvme keyring"},
		{"mine", list, 0, "cannot find the keyring mine among those that root sees in /proc/keys"},
		{"-5", list, 0, "cannot find the keyring -5 among those that root sees in /proc/keys"},
	} {
		if err := os.WriteFile(root.Keys(), []byte(test.list), 0o644); err != nil {
			t.Fatal(err)
		}
		serial, err := Ring(root, test.name)
		message := ""
		if err != nil {
			message = err.Error()
		}
		if serial != test.serial || message != test.err || errors.Is(err, ErrMissing) != (test.name == "" && test.err != "") {
			t.Errorf("%q: %x, %v", test.name, serial, err)
		}
	}
}

// TestKeys: what the kernel says of a keyring and of its keys.
func TestKeys(t *testing.T) {
	data := binary.NativeEndian.AppendUint32(binary.NativeEndian.AppendUint32(nil, 0x3f000001), 7)
	if got := serials(append(data, 1, 2)); len(got) != 2 || got[0] != 0x3f000001 || got[1] != 7 {
		t.Errorf("serials: %x", got)
	}
	for _, test := range []struct {
		text, description string
		ok                bool
	}{
		{"psk;0;0;3f010000;NVMe1R01 nqn.a nqn.b c2VjcmV0", "NVMe1R01 nqn.a nqn.b c2VjcmV0", true},
		{"psk;0;0;3f010000;a;b", "a;b", true},
		{"user;0;0;3f010000;NVMe1R01 nqn.a nqn.b c2VjcmV0", "", false},
		{"psk;0;0;3f010000", "", false},
		{"", "", false},
	} {
		if description, ok := describes(test.text, pskType); description != test.description || ok != test.ok {
			t.Errorf("%q: %q, %v", test.text, description, ok)
		}
	}
}

func FuzzFind(f *testing.F) {
	f.Add(list)
	f.Fuzz(func(t *testing.T, list string) {
		if serial, ok := find(list, Default); ok && serial <= 0 {
			t.Errorf("serial %d", serial)
		}
	})
}
