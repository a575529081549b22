// SPDX-License-Identifier: GPL-3.0-or-later

package server

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"

	"github.com/nvme-discoverd/nvme-discoverd/internal/paths"
)

// socketMode lets everybody call; what is root's alone is decided call by call.
const socketMode = 0o666

// Listen makes the varlink socket below root. It appears under its name only when it can be connected to by everybody, and
// replaces what a daemon that crashed left. One that another daemon still answers on is not replaced. The caller removes it
// with Remove when the daemon ends.
func Listen(root paths.Root) (*net.UnixListener, error) {
	path := root.Socket()
	if c, err := net.Dial("unix", path); err == nil {
		c.Close()
		return nil, fmt.Errorf("cannot listen on %s: another daemon does", path)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("cannot make the directory of the varlink socket: %w", err)
	}
	temp := path + ".tmp." + strconv.Itoa(os.Getpid())
	if err := os.Remove(temp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("cannot remove a socket that is left over: %w", err)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: temp, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("cannot listen on %s: %w", path, err)
	}
	l.SetUnlinkOnClose(false) // it has another name by then
	err = os.Chmod(temp, socketMode)
	if err == nil {
		err = os.Rename(temp, path)
	}
	if err != nil {
		l.Close()
		_ = os.Remove(temp) // the error is already there
		return nil, fmt.Errorf("cannot make the varlink socket: %w", err)
	}
	return l, nil
}

// Remove removes the socket.
func Remove(root paths.Root) error {
	if err := os.Remove(root.Socket()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("cannot remove the varlink socket: %w", err)
	}
	return nil
}
