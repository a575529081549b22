// SPDX-License-Identifier: GPL-3.0-or-later

//go:build e2e

package guest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/nvme-discoverd/nvme-discoverd/internal/e2e/follow"
	"golang.org/x/sys/unix"
)

// SmallState puts a small file system under all that the product writes at run time, until the scenario ends. To be called
// before the service starts.
type SmallState struct {
	t T
}

// filler is what takes the room.
const filler = "/run/nvme/filler"

// NewSmallState mounts it.
func NewSmallState(t T) *SmallState {
	t.Helper()
	mkdirAll(t, "/run/nvme")
	Run(t, "mount", "-t", "tmpfs", "-o", "size=512k,mode=755", "small", "/run/nvme")
	mounted(t)
	t.Cleanup(func() {
		Try(t, "mount", "-o", "remount,bind,rw", "/run/nvme")
		Try(t, "systemctl", "stop", Service)
		deleteControllers(t)
		Run(t, "umount", "--lazy", "/run/nvme")
		mounted(t)
	})
	return &SmallState{t}
}

// Fill leaves no room for another byte, and keeps what is filled already.
func (s *SmallState) Fill() {
	s.t.Helper()
	file, err := os.OpenFile(filler, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		s.t.Fatalf("cannot fill the file system: %v", err)
	}
	defer file.Close()
	for err == nil {
		_, err = file.Write(make([]byte, 4096))
	}
	if !errors.Is(err, syscall.ENOSPC) {
		s.t.Fatalf("cannot fill the file system: %v", err)
	}
}

// Free makes room again.
func (s *SmallState) Free() {
	s.t.Helper()
	Remove(s.t, filler)
}

// ReadOnly makes the file system read-only for the commands of units, or writable again. The daemon has mounts of its own, and keeps a
// file open there, for which the kernel refuses to make the file system itself read-only.
func (s *SmallState) ReadOnly(on bool) {
	s.t.Helper()
	option := map[bool]string{true: "ro", false: "rw"}[on]
	Run(s.t, "mount", "-o", "remount,bind,"+option, "/run/nvme")
}

func mkdirAll(t T, dir string) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatalf("cannot make directory: %v", err)
	}
}

// Chmod changes who may do what with a file, until the scenario ends.
func Chmod(t T, path string, mode os.FileMode) (undo func()) {
	t.Helper()
	info, err := os.Stat(path)
	if err == nil {
		err = os.Chmod(path, mode)
	}
	if err != nil {
		t.Fatalf("cannot change permissions: %v", err)
	}
	undo = func() { _ = os.Chmod(path, info.Mode().Perm()) }
	t.Cleanup(undo)
	return undo
}

// TakeBusAway stops the system bus for good, until give is called or the scenario ends.
func TakeBusAway(t T) (give func()) {
	t.Helper()
	units := []string{"dbus.socket", "dbus.service"}
	Run(t, "systemctl", append([]string{"mask", "--runtime", "--quiet"}, units...)...)
	Run(t, "systemctl", append([]string{"stop"}, units...)...)
	away := true
	give = func() {
		if away {
			away = false
			Run(t, "systemctl", append([]string{"unmask", "--runtime", "--quiet"}, units...)...)
			Run(t, "systemctl", "start", "dbus.socket")
		}
	}
	t.Cleanup(give)
	return give
}

// ShiftClock moves the clock that people read, until the scenario ends.
func ShiftClock(t T, by time.Duration) {
	t.Helper()
	shift := func(by time.Duration) {
		var now unix.Timespec
		err := unix.ClockGettime(unix.CLOCK_REALTIME, &now)
		if err == nil {
			now = unix.NsecToTimespec(now.Nano() + int64(by))
			err = unix.ClockSettime(unix.CLOCK_REALTIME, &now)
		}
		if err != nil {
			t.Fatalf("cannot set the clock: %v", err)
		}
	}
	shift(by)
	t.Cleanup(func() { shift(-by) })
}

// crowded is the slice that the units of connections are put into, to be filled up.
const crowded = "e2ecrowded.slice"

// NewCrowd gives the units of connections a slice of their own. To be called before the service starts.
func NewCrowd(t T) {
	t.Helper()
	OverrideConnections(t, "nvme-discoverd-.service", "[Service]\nSlice="+crowded+"\n")
}

// ForbidProcesses fills the slice up, so that systemd cannot start a process in it, until allow is called.
func ForbidProcesses(t T) (allow func()) {
	t.Helper()
	Run(t, "systemd-run", "--quiet", "--unit=e2ecrowd", "--slice="+crowded, "sleep", "infinity")
	Run(t, "systemctl", "set-property", "--runtime", crowded, "TasksMax=1")
	full := true
	allow = func() {
		if full {
			full = false
			Run(t, "systemctl", "set-property", "--runtime", crowded, "TasksMax=infinity")
			Run(t, "systemctl", "stop", "e2ecrowd.service")
		}
	}
	t.Cleanup(allow)
	return allow
}

// LimitMemory bounds the memory of the daemon, in the control group of its service, until undo is called.
func LimitMemory(t T, limit string) (undo func()) {
	t.Helper()
	file := filepath.Join("/sys/fs/cgroup/system.slice", Service, "memory.max")
	before := read(file)
	write(t, file, limit)
	return func() { _ = os.WriteFile(file, []byte(before), 0o644) } // systemd may have made the group anew
}

// Restarts is how often systemd has started the service anew by itself.
func Restarts(t T) string {
	t.Helper()
	return Property(t, Service, "NRestarts")
}

// WaitRestart waits until systemd has started the service anew once more, and it is ready.
func WaitRestart(t T, timeout time.Duration, before string) {
	t.Helper()
	eventually(t, follow.Units, timeout, "the service was started anew", func() (bool, string) {
		got := Properties(t, Service, "NRestarts", "ActiveState", "Result")
		return got["NRestarts"] != before && got["ActiveState"] == "active", strings.TrimPrefix(fmt.Sprint(got), "map")
	})
}
