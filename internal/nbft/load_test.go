// SPDX-License-Identifier: GPL-3.0-or-later

package nbft_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/nvme-discoverd/nvme-discoverd/internal/nbft"
	"github.com/nvme-discoverd/nvme-discoverd/internal/nbft/nbfttest"
	"github.com/nvme-discoverd/nvme-discoverd/internal/paths"
)

func write(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestLoad(t *testing.T) {
	root := paths.Root(t.TempDir())
	if tables, errs := nbft.Load(root); tables != nil || errs != nil {
		t.Errorf("no directory: %v, %v", tables, errs)
	}
	dir := root.ACPITables()
	write(t, filepath.Join(dir, "DSDT"), []byte("DSDT"))
	if tables, errs := nbft.Load(root); tables != nil || errs != nil {
		t.Errorf("no table: %v, %v", tables, errs)
	}
	data := nbfttest.Encode(sample())
	write(t, filepath.Join(dir, "NBFT10"), data)
	write(t, filepath.Join(dir, "NBFT2"), data)
	write(t, filepath.Join(dir, "NBFT"), data)
	write(t, filepath.Join(dir, "NBFT3"), data[:100])
	write(t, filepath.Join(dir, "NBFT4"), make([]byte, 1<<20+1))
	if err := os.Mkdir(filepath.Join(dir, "NBFT5"), 0o755); err != nil {
		t.Fatal(err)
	}
	tables, errs := nbft.Load(root)
	var files, messages []string
	for _, table := range tables {
		files = append(files, table.File)
		if table.Size != len(data) || len(table.SSNS) != 2 {
			t.Errorf("%s: size %d, %d SSNS", table.File, table.Size, len(table.SSNS))
		}
	}
	for _, err := range errs {
		messages = append(messages, err.Error())
	}
	if diff := cmp.Diff([]string{dir + "/NBFT", dir + "/NBFT2", dir + "/NBFT10"}, files); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{
		dir + "/NBFT3: cannot use the NBFT: it has 100 bytes, at least 128 are needed",
		"cannot read " + dir + "/NBFT4: it is larger than 1048576 bytes",
		"cannot read " + dir + "/NBFT5: is a directory",
	}, messages); diff != "" {
		t.Errorf("errors (-want +got):\n%s", diff)
	}
}

func TestReadFileMissing(t *testing.T) {
	file := filepath.Join(t.TempDir(), "table")
	if _, err := nbft.ReadFile(file); fmt.Sprint(err) != "cannot read "+file+": no such file or directory" {
		t.Error(err)
	}
}
