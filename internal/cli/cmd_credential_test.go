// SPDX-License-Identifier: GPL-3.0-or-later

package cli

import (
	"os"
	"path/filepath"
	"testing"
)

// What systemd gave to the command goes to the service in a file of root's alone; without it there is no file and no failure.
func TestCredential(t *testing.T) {
	d := newDesk(t)
	dir := t.TempDir()
	d.env["CREDENTIALS_DIRECTORY"] = dir
	if err := os.WriteFile(filepath.Join(dir, "nvme.a"), []byte("secret\n"), 0o400); err != nil {
		t.Fatal(err)
	}
	d.write("run/nvme/discoverd/x", "")
	d.expect([]string{"credential", "nvme.none"}, "")
	d.expect([]string{"credential", "nvme.a"}, "")
	d.holds("run/nvme/discoverd/credentials/nvme.a", "secret\n")
	for path, mode := range map[string]os.FileMode{"credentials": 0o700, "credentials/nvme.a": 0o600} {
		if info, err := os.Stat(d.root.Join("run/nvme/discoverd", path)); err != nil || info.Mode().Perm() != mode {
			t.Errorf("%s: %v, want mode %o", path, info.Mode(), mode)
		}
	}
	if _, err := os.Stat(d.root.Join("run/nvme/discoverd/credentials/nvme.none")); err == nil {
		t.Error("there is a file for a credential that there is not")
	}
}
