// SPDX-License-Identifier: GPL-3.0-or-later

package credential

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nvme-discoverd/nvme-discoverd/internal/paths"
)

func put(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestCheckName(t *testing.T) {
	for name, ok := range map[string]bool{
		"array1": true, "array1.ctrl": true, "A_-9": true, strings.Repeat("a", 250): true, strings.Repeat("a", 251): false,
		"": false, "nvme.array1": false, "a/b": false, "a b": false, "a:b": false, "ä": false, "DHHC-1:00:YWJj:": false,
	} {
		err := CheckName(name)
		if (err == nil) != ok || err != nil && name != "" && name != "nvme.array1" && strings.Contains(err.Error(), name) {
			t.Errorf("%q: %v", name, err)
		}
	}
}

// What systemd gave to the service is read from its directory alone.
func TestDirectory(t *testing.T) {
	dir, root := t.TempDir(), paths.Root(t.TempDir())
	put(t, root.Join("etc/credstore.encrypted/nvme.sealed"), "x")
	put(t, filepath.Join(dir, "nvme.array1"), "x")
	put(t, filepath.Join(dir, "nvme.huge"), strings.Repeat("x", maxSize+1))
	for _, test := range []struct{ dir, name, want, err string }{
		{dir, "nvme.array1", "x", ""},
		{dir, "nvme.array2", "", "there is no such credential: put it into /etc/credstore or, encrypted by systemd-creds encrypt --name=nvme.array2, into /etc/credstore.encrypted, then reload"},
		{"", "nvme.array1", "", "there is no such credential: put it into /etc/credstore or, encrypted by systemd-creds encrypt --name=nvme.array1, into /etc/credstore.encrypted, then reload"},
		{dir, "nvme.sealed", "", "systemd cannot read or decrypt it, or did not know of it: reload, and if that fails too, encrypt it again by systemd-creds encrypt --name=nvme.sealed"},
		{dir, "nvme.huge", "", "it is larger than 1048576 bytes"},
	} {
		data, err := Directory(root, test.dir)(test.name)
		text := ""
		if err != nil {
			text = err.Error()
		}
		if (test.name == "nvme.array2" || test.name == "nvme.sealed") != errors.Is(err, ErrMissing) && test.dir != "" {
			t.Errorf("%s in %s: whether it is missing: %v", test.name, test.dir, err)
		}
		if string(data) != test.want || text != test.err {
			t.Errorf("%s in %s: %q, %v", test.name, test.dir, data, err)
		}
	}
}

// A command finds what systemd would give, in its order, and what the service has.
func TestHost(t *testing.T) {
	root := paths.Root(t.TempDir())
	for path, text := range map[string]string{
		"run/credentials/@system/nvme.both": "booted", "etc/credstore/nvme.both": "kept", "usr/lib/credstore/nvme.plain": "plain",
		"etc/credstore.encrypted/nvme.plain": "sealed", "etc/credstore.encrypted/nvme.sealed": "sealed",
		"run/credentials/nvme-discoverd.service/nvme.sealed": "old", "run/credentials/nvme-discoverd.service/nvme.set": "set",
	} {
		put(t, root.Join(path), text)
	}
	for _, test := range []struct {
		name, want string
		err        error
	}{{"nvme.both", "booted", nil}, {"nvme.plain", "plain", nil}, {"nvme.sealed", "", ErrSealed}, {"nvme.set", "set", nil}, {"nvme.none", "", ErrMissing}} {
		if data, err := Host(root)(test.name); string(data) != test.want || !errors.Is(err, test.err) {
			t.Errorf("%s: %q, %v", test.name, data, err)
		}
	}
}

// What is kept in both ways counts as it is in the clear, which systemd takes first.
func TestEncrypted(t *testing.T) {
	root := paths.Root(t.TempDir())
	put(t, root.Join("etc/credstore/nvme.both"), "x")
	put(t, root.Join("etc/credstore.encrypted/nvme.both"), "x")
	put(t, root.Join("run/credstore.encrypted/nvme.sealed"), "x")
	for name, want := range map[string]bool{"nvme.both": false, "nvme.sealed": true, "nvme.none": false} {
		if got := Encrypted(root, name); got != want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestOnce(t *testing.T) {
	asked := 0
	reader := Once(func(string) ([]byte, error) { asked++; return nil, ErrMissing })
	for range 2 {
		if _, err := reader("nvme.a"); !errors.Is(err, ErrMissing) {
			t.Error(err)
		}
	}
	if asked != 1 {
		t.Errorf("asked %d times", asked)
	}
}
