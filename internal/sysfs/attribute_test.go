package sysfs

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Whatever its length, an attribute is read whole.
func TestReadAt(t *testing.T) {
	for _, length := range []int{0, 1, 4095, 4096, 4097, 20000} {
		path := filepath.Join(t.TempDir(), "attribute")
		want := strings.Repeat("x", length)
		if err := os.WriteFile(path, []byte(want), 0o600); err != nil {
			t.Fatal(err)
		}
		dir, err := openDirectory(filepath.Dir(path))
		if err != nil {
			t.Fatal(err)
		}
		got, err := readAt(dir.fd, "attribute", path)
		dir.close()
		if err != nil || string(got) != want {
			t.Errorf("%d bytes: got %d, %v", length, len(got), err)
		}
	}
}
