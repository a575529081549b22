//go:build e2e

package guest_test

import (
	"embed"
	"testing"

	"github.com/nvme-discoverd/nvme-discoverd/internal/e2e/guest"
)

//go:embed *_test.go
var sources embed.FS

func TestMain(m *testing.M) {
	guest.Sources = sources
	guest.HideBootTables()
	m.Run()
}
