// SPDX-License-Identifier: GPL-3.0-or-later

package state

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/nvme-discoverd/nvme-discoverd/internal/paths"
	"github.com/nvme-discoverd/nvme-discoverd/internal/secret"
)

func TestSecrets(t *testing.T) {
	root := paths.Root(t.TempDir())
	d := New(root)
	const u = "nvme-discoverd-0123456789ab.service"
	v, err := secret.Parse(secret.TLS, "NVMeTLSkey-1:01:VRLbtnN9AQb2WXW3c9+wEf/DRLz0QuLdbYvEhwtdWwNf9LrZ:")
	if err != nil {
		t.Fatal(err)
	}
	set := secret.Set{secret.TLS: {Value: v, From: "/etc/nvme/keys/tls"}}
	if d.HasSecrets(u) {
		t.Error("there are secrets at the beginning")
	}
	for range 2 { // the second time over the first
		if err := d.WriteSecrets(u, set); err != nil {
			t.Fatal(err)
		}
	}
	got, err := d.Secrets(u)
	if err != nil || got.String() != set.String() || got[secret.TLS].Value.Reveal() != v.Reveal() || !d.HasSecrets(u) {
		t.Errorf("%v, %v", got, err)
	}
	path, err := d.SecretsFile(u)
	if err != nil || path != root.Join("run/nvme/discoverd/secrets", u) {
		t.Errorf("%s, %v", path, err)
	}
	for name, mode := range map[string]os.FileMode{path: 0o600, filepath.Dir(path): 0o700 | os.ModeDir} {
		if info, err := os.Stat(name); err != nil || info.Mode() != mode {
			t.Errorf("%s: %v, %v, want %v", name, info.Mode(), err, mode)
		}
	}
	if units, err := d.WithSecrets(); err != nil || !slices.Equal(units, []string{u}) {
		t.Errorf("%v, %v", units, err)
	}
	for range 2 {
		if err := d.RemoveSecrets(u); err != nil || d.HasSecrets(u) {
			t.Errorf("they are not removed: %v", err)
		}
	}
	if _, err := d.Secrets(u); err == nil || err.Error() != "cannot read the secrets of "+u+": open "+path+": no such file or directory" {
		t.Error(err)
	}
	if err := os.WriteFile(path, []byte("hunter2"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Secrets(u); err == nil || err.Error() != "cannot read "+path+": it is not what nvme-discoverd writes there" {
		t.Error(err)
	}
	const bad = "../x.service"
	for _, err := range []error{d.WriteSecrets(bad, set), d.RemoveSecrets(bad), second(d.Secrets(bad)), second(d.SecretsFile(bad))} {
		if err == nil || err.Error() != `cannot use unit name "../x.service": it must be that of an nvme-discoverd-….service` {
			t.Error(err)
		}
	}
}

func second[T any](_ T, err error) error { return err }
