// SPDX-License-Identifier: GPL-3.0-or-later

package nbft

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/nvme-discoverd/nvme-discoverd/internal/files"
	"github.com/nvme-discoverd/nvme-discoverd/internal/paths"
)

// maxSize bounds a table in bytes. Those of firmware have a few thousand.
const maxSize = 1 << 20

// Load reads every NBFT of the host, in the order of their numbers. There is one error for each table that cannot be used;
// the others are returned all the same. No table is no error.
func Load(root paths.Root) ([]Table, []error) {
	entries, err := os.ReadDir(root.ACPITables())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, []error{fmt.Errorf("cannot list the ACPI tables: %v", err)}
	}
	var names []string
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), "NBFT") {
			names = append(names, e.Name())
		}
	}
	// NBFT10 comes behind NBFT9.
	slices.SortFunc(names, func(a, b string) int { return cmp.Or(cmp.Compare(len(a), len(b)), cmp.Compare(a, b)) })
	var tables []Table
	var errs []error
	for _, name := range names {
		t, err := ReadFile(filepath.Join(root.ACPITables(), name))
		if err != nil {
			errs = append(errs, err)
			continue
		}
		tables = append(tables, t)
	}
	return tables, errs
}

// ReadFile reads the table in a file. Errors name the file.
func ReadFile(file string) (Table, error) {
	data, err := read(file)
	if err != nil {
		return Table{}, fmt.Errorf("cannot read %s: %v", file, err)
	}
	t, err := Parse(data)
	if err != nil {
		return Table{}, fmt.Errorf("%s: %v", file, err)
	}
	t.File = file
	return t, nil
}

func read(file string) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, files.Cause(err)
	}
	defer f.Close()
	return files.ReadAll(f, maxSize)
}
