package daemon

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/nvme-discoverd/nvme-discoverd/internal/paths"
)

// ErrRunning is wrapped by Run's error when another daemon of the same root runs: another start would end the same way.
var ErrRunning = errors.New("it runs already")

// lock makes sure that this is the only daemon of its root: two would undo each other's work. The lock ends with the process,
// however that ends, or with Close. Only root may open the file, since whoever can open it can lock it.
func lock(root paths.Root) (io.Closer, error) {
	path := root.DaemonLock()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("cannot lock %s: %w", path, err)
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("cannot lock %s: %w", path, err)
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if err == unix.EWOULDBLOCK {
		defer f.Close()
		return nil, fmt.Errorf("cannot start nvme-discoverd: %w%s; stop it first, `systemctl stop nvme-discoverd` if it is the service", ErrRunning, holder(f))
	}
	if err == nil {
		err = sign(f)
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("cannot lock %s: %w", path, err)
	}
	return f, nil
}

// sign leaves the number of this process for the message of the one that comes too late. A disk without room for it is no
// reason not to start.
func sign(f *os.File) error {
	if err := f.Truncate(0); err != nil {
		return err
	}
	if _, err := fmt.Fprintln(f, os.Getpid()); err != nil && !errors.Is(err, unix.ENOSPC) {
		return err
	}
	return nil
}

// holder says who has the lock, if that can be told.
func holder(f *os.File) string {
	text, err := io.ReadAll(io.LimitReader(f, 20))
	pid := strings.TrimSpace(string(text))
	if err != nil || pid == "" || strings.Trim(pid, "0123456789") != "" {
		return ""
	}
	return " as process " + pid
}
