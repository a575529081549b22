// SPDX-License-Identifier: GPL-3.0-or-later

//go:build e2e

package guest_test

import (
	"embed"
	"flag"
	"testing"

	"github.com/nvme-discoverd/nvme-discoverd/internal/e2e/guest"
)

//go:embed *_test.go
var sources embed.FS

func TestMain(m *testing.M) {
	flag.Parse()
	guest.Sources = sources
	// The host asks only what scenarios there are.
	if flag.Lookup("test.list").Value.String() == "" {
		guest.HideBootTables()
	}
	m.Run()
}
