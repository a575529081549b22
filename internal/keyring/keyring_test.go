package keyring

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/nvme-discoverd/nvme-discoverd/internal/paths"
	"github.com/nvme-discoverd/nvme-discoverd/internal/psk"
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
		if serial, ok := find(test.list); serial != test.serial || ok != test.ok {
			t.Errorf("%s: %x, %v", test.name, serial, ok)
		}
	}
}

func TestAddWithoutKeyring(t *testing.T) {
	root := paths.Root(t.TempDir())
	if err := os.MkdirAll(filepath.Dir(root.Keys()), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(root.Keys(), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	_, err := Add(root, psk.TLS{})
	if !errors.Is(err, ErrMissing) || err.Error() != "cannot add a TLS key: this kernel has no .nvme keyring" {
		t.Error(err)
	}
}

func FuzzFind(f *testing.F) {
	f.Add(list)
	f.Fuzz(func(t *testing.T, list string) {
		if serial, ok := find(list); ok && serial <= 0 {
			t.Errorf("serial %d", serial)
		}
	})
}
