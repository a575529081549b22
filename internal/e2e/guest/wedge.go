// SPDX-License-Identifier: GPL-3.0-or-later

//go:build e2e

package guest

import (
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"

	"github.com/nvme-discoverd/nvme-discoverd/internal/e2e/follow"
	"golang.org/x/sys/unix"
)

// observedSys is a second mount of sysfs, which only the scenarios look at: what lies on an attribute below /sys does not lie
// on the one below here.
const observedSys = "/run/e2e/sys"

// mountObservedSys makes it.
func mountObservedSys(t T) {
	t.Helper()
	if exists(filepath.Join(observedSys, "class")) {
		return
	}
	mkdirAll(t, observedSys)
	Run(t, "mount", "-t", "sysfs", "sysfs", observedSys)
}

// Wedge lies on an attribute of a controller in sysfs: whoever reads that, but for the scenario, waits in the kernel until the
// wedge is taken out and gets the true value then, or gets an error. It is a file system in user space that is one file.
type Wedge struct {
	t    T
	path string // of the attribute below /sys
	from string // of the attribute as scenarios see it
	fuse int

	mu    sync.Mutex
	err   syscall.Errno // what readers get; 0: they wait
	out   bool
	stuck []uint64 // requests to read that wait
}

// WedgeAttribute lays a wedge on an attribute that is to hang for its readers or, with an error, to fail, until it is taken
// out or the scenario ends.
func WedgeAttribute(t T, device, attribute string, err syscall.Errno) *Wedge {
	t.Helper()
	Run(t, "modprobe", "fuse")
	w := &Wedge{
		t: t, err: err, path: filepath.Join("/sys/devices/virtual/nvme-fabrics/ctl", device, attribute),
		from: filepath.Join(fabricsDevices, device, attribute),
	}
	var failed error
	if w.fuse, failed = unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0); failed == nil {
		options := fmt.Sprintf("fd=%d,rootmode=100444,user_id=0,group_id=0,allow_other", w.fuse)
		failed = unix.Mount("wedge", w.path, "fuse", 0, options)
	}
	if failed != nil {
		t.Fatalf("cannot wedge %s: %v", w.path, failed)
	}
	t.Cleanup(w.TakeOut)
	go w.serve()
	return w
}

// Stuck is how many reads wait.
func (w *Wedge) Stuck() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.stuck)
}

// WaitStuck waits until a read waits.
func (w *Wedge) WaitStuck() {
	w.t.Helper()
	eventually(w.t, follow.Told, connectTimeout, w.path+" is read", func() (bool, string) {
		stuck := w.Stuck()
		return stuck > 0, strconv.Itoa(stuck)
	})
}

// TakeOut makes the attribute be read as before, by those too that have waited.
func (w *Wedge) TakeOut() {
	if !w.letGo() {
		return
	}
	// The controller may have taken it along.
	if err := unix.Unmount(w.path, unix.MNT_DETACH); err != nil && !gone(err) && !errors.Is(err, unix.EINVAL) {
		w.t.Errorf("cannot take the wedge out of %s: %v", w.path, err)
	}
}

// letGo answers all that wait and will come; false if that has been done.
func (w *Wedge) letGo() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.out {
		return false
	}
	w.out, w.err = true, 0
	for _, unique := range w.stuck {
		w.reply(unique, 0, []byte(read(w.from)+"\n"))
	}
	w.stuck = nil
	return true
}

// Requests of the kernel (include/uapi/linux/fuse.h).
const (
	fuseForget      = 2
	fuseGetattr     = 3
	fuseOpen        = 14
	fuseRead        = 15
	fuseRelease     = 18
	fuseFlush       = 25
	fuseInit        = 26
	fuseInterrupt   = 36
	fuseBatchForget = 42

	fuseHeader = 40 // bytes before each request
)

// serve answers until the last mount and open file are gone.
func (w *Wedge) serve() {
	defer unix.Close(w.fuse)
	request := make([]byte, 64<<10)
	for {
		n, err := unix.Read(w.fuse, request)
		switch {
		case errors.Is(err, unix.EINTR), errors.Is(err, unix.ENOENT), errors.Is(err, unix.EAGAIN):
		case err != nil || n < fuseHeader:
			return
		default:
			w.answer(le.Uint32(request[4:]), le.Uint64(request[8:]), request[fuseHeader:n])
		}
	}
}

func (w *Wedge) answer(op uint32, unique uint64, body []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch op {
	case fuseForget, fuseBatchForget, fuseInterrupt: // who is interrupted goes on waiting, as in a kernel that is stuck
	case fuseInit:
		out := make([]byte, 64)
		le.PutUint32(out, 7) // version 7.31
		le.PutUint32(out[4:], 31)
		le.PutUint32(out[20:], 4096) // the most that can be written
		w.reply(unique, 0, out)
	case fuseGetattr:
		out := make([]byte, 104)
		le.PutUint64(out[16:], 1)        // inode
		le.PutUint64(out[24:], 4096)     // size, as in sysfs
		le.PutUint32(out[76:], 0o100444) // mode
		le.PutUint32(out[80:], 1)        // links
		w.reply(unique, 0, out)
	case fuseOpen:
		out := make([]byte, 16)
		le.PutUint32(out[8:], 1) // every read is to come here
		w.reply(unique, 0, out)
	case fuseRead:
		offset := le.Uint64(body[8:])
		switch {
		case w.err != 0:
			w.reply(unique, w.err, nil)
		case offset > 0:
			w.reply(unique, 0, nil)
		case w.out:
			w.reply(unique, 0, []byte(read(w.from)+"\n"))
		default:
			w.stuck = append(w.stuck, unique)
			happen().Tell(follow.Told)
		}
	case fuseRelease, fuseFlush:
		w.reply(unique, 0, nil)
	default:
		w.reply(unique, unix.ENOSYS, nil)
	}
}

// reply sends an answer; a reader that has been killed meanwhile gets none.
func (w *Wedge) reply(unique uint64, err syscall.Errno, data []byte) {
	out := make([]byte, 16, 16+len(data))
	le.PutUint32(out, uint32(16+len(data)))
	le.PutUint32(out[4:], uint32(-int32(err)))
	le.PutUint64(out[8:], unique)
	_, _ = unix.Write(w.fuse, append(out, data...))
}
