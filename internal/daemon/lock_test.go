package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"testing"

	"github.com/nvme-discoverd/nvme-discoverd/internal/config"
	"github.com/nvme-discoverd/nvme-discoverd/internal/paths"
)

func TestLock(t *testing.T) {
	root := paths.Root(t.TempDir())
	put(t, root.DaemonLock(), "12345678\n") // of an earlier boot's daemon, longer than ours
	first, err := lock(root)
	if err != nil {
		t.Fatal(err)
	}
	_, err = lock(root)
	want := fmt.Sprintf("cannot start nvme-discoverd: it runs already as process %d; stop it first, `systemctl stop nvme-discoverd` if it is the service", os.Getpid())
	if err == nil || err.Error() != want || !errors.Is(err, ErrRunning) {
		t.Errorf("the second: %v, want %s", err, want)
	}
	if other, err := lock(paths.Root(t.TempDir())); err != nil {
		t.Errorf("below another root: %v", err)
	} else {
		other.Close()
	}
	first.Close()
	again, err := lock(root)
	if err != nil {
		t.Fatalf("after the first has ended: %v", err)
	}
	again.Close()
}

// The holder's number is whatever the file says, and is not believed to be one.
func TestLockUnsigned(t *testing.T) {
	root := paths.Root(t.TempDir())
	first, err := lock(root)
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	put(t, root.DaemonLock(), "garbage\n")
	_, err = lock(root)
	if want := "cannot start nvme-discoverd: it runs already; stop it first, `systemctl stop nvme-discoverd` if it is the service"; err == nil || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
}

// A whole daemon, on an empty root: it starts, answers, keeps a second one from running, and ends.
func TestRun(t *testing.T) {
	root := host(t)
	opts := Options{Root: root, Config: config.Config{Settings: config.Defaults()}, Log: slog.New(slog.DiscardHandler), Level: &slog.LevelVar{}, Version: "1.0"}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- Run(ctx, opts) }()
	c := dial(t, ctx, &Daemon{Options: opts})
	if _, err := c.Controllers(ctx, ""); err != nil {
		t.Error(err)
	}
	if err := Run(ctx, opts); !errors.Is(err, ErrRunning) {
		t.Errorf("the second: %v", err)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
