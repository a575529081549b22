package daemon

import (
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nvme-discoverd/nvme-discoverd/internal/paths"
	"github.com/nvme-discoverd/nvme-discoverd/internal/sysfs"
)

// A controller that is stuck in the kernel is given up for the time being, with one read under way at most, and is read
// again when that has come back.
func TestStuckController(t *testing.T) {
	r := newReader(paths.Root(t.TempDir()))
	r.patience = time.Millisecond
	release, returned := make(chan struct{}), make(chan struct{})
	var reads atomic.Int32
	stuck := func(string) (sysfs.Controller, error) {
		reads.Add(1)
		defer close(returned)
		<-release
		return sysfs.Controller{}, nil
	}
	for range 3 {
		_, err := r.attempt("nvme3", stuck)
		if want := "cannot read the attributes of nvme3: sysfs does not answer"; err == nil || err.Error() != want || !errors.Is(err, errWedged) {
			t.Fatalf("error %v, want %q", err, want)
		}
	}
	r.patience = time.Hour
	if c, err := r.attempt("nvme4", func(name string) (sysfs.Controller, error) { return sysfs.Controller{Name: name}, nil }); err != nil || c.Name != "nvme4" {
		t.Errorf("another controller reads as %+v, %v", c, err)
	}
	close(release)
	<-returned
	if n := reads.Load(); n != 1 {
		t.Errorf("%d reads of a stuck controller", n)
	}
	for { // until the read that came back has been seen to
		if _, err := r.attempt("nvme3", func(string) (sysfs.Controller, error) { return sysfs.Controller{}, nil }); err == nil {
			return
		}
	}
}
