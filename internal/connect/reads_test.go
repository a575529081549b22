// SPDX-License-Identifier: GPL-3.0-or-later

package connect

import (
	"context"
	"encoding/binary"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/nvme-discoverd/nvme-discoverd/internal/paths"
)

// opens counts which files and directories are opened below a root, by their paths there. The kernel counts (inotify(7)): whoever
// opens them, by whatever call. Directories that appear later are not looked into.
type opens struct {
	t    testing.TB
	fd   int
	root string
	dirs map[int32]string
}

func countOpens(t testing.TB, root paths.Root) *opens {
	t.Helper()
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	o := &opens{t, fd, string(root), map[int32]string{}}
	var dirs []string
	err = filepath.WalkDir(o.root, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			dirs = append(dirs, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range dirs { // now, since the walk opens them all
		watch, err := unix.InotifyAddWatch(fd, dir, unix.IN_OPEN)
		if err != nil {
			t.Fatal(err)
		}
		o.dirs[int32(watch)] = dir
	}
	return o
}

// done returns how often each path was opened. Of several that follow one another directly, the kernel counts one.
func (o *opens) done() map[string]int {
	o.t.Helper()
	count := map[string]int{}
	buf := make([]byte, 1<<20)
	for {
		n, err := unix.Read(o.fd, buf)
		if err == unix.EAGAIN {
			return count
		}
		if err != nil {
			o.t.Fatal(err)
		}
		for rest := buf[:n]; len(rest) > 0; {
			watch, mask := int32(binary.NativeEndian.Uint32(rest)), binary.NativeEndian.Uint32(rest[4:])
			length := binary.NativeEndian.Uint32(rest[12:])
			name := strings.TrimRight(string(rest[16:16+length]), "\x00")
			rest = rest[16+length:]
			if mask&unix.IN_Q_OVERFLOW != 0 {
				o.t.Fatal("the kernel has lost count")
			}
			if name != "" { // not a directory's own event: the one of its parent says the same
				count[strings.TrimPrefix(filepath.Join(o.dirs[watch], name), o.root)]++
			}
		}
	}
}

// amongMany is a host with controllers of other subsystems at the address of the request.
func amongMany(t testing.TB, others int) *host {
	h := newHost(t)
	for i := range others {
		other := ioc().TID
		other.NQN = fmt.Sprintf("nqn.2024-01.com.example:other%d", i)
		h.controller(fmt.Sprintf("nvme%d", 1000+i), other)
	}
	h.write("/etc/nvme/exclusions/a.conf", "exclusion = nqn=nqn.2024-01.com.example:nobody\n")
	return h
}

// A connect opens one attribute of each other controller, once, and lists directories and exclusions once. So what the connects
// of a host cost together does not grow by more than that.
func TestConnectReadsLittle(t *testing.T) {
	const few, many = 10, 500
	var counts [2]int
	for i, others := range []int{few, many} {
		h := amongMany(t, others)
		o := countOpens(t, h.root)
		if _, err := h.Connector.Connect(context.Background(), h.request()); err != nil {
			t.Fatal(err)
		}
		var twice, needless []string
		for path, n := range o.done() {
			counts[i] += n
			dir, attr := filepath.Split(path)
			if strings.HasPrefix(dir, "/sys/devices/virtual/nvme-fabrics/ctl/nvme1") && attr != "subsysnqn" {
				needless = append(needless, path)
			}
			if n > 1 && (strings.HasPrefix(path, "/etc/") || strings.Contains(path, "nvme-fabrics")) {
				twice = append(twice, path)
			}
		}
		t.Logf("among %d: %d opened", others, counts[i])
		if len(twice) > 0 || len(needless) > 0 {
			t.Errorf("among %d: %d are opened more than once, %d need not be:\n%.1000v\n%.1000v", others, len(twice), len(needless), twice, needless)
		}
	}
	if grew := counts[1] - counts[0]; grew != many-few {
		t.Errorf("beside %d more controllers, a connect opens %d more files, want one of each", many-few, grew)
	}
}

// BenchmarkConnect connects beside others: what grows with their number is the look at them.
func BenchmarkConnect(b *testing.B) {
	for _, others := range []int{10, 100, 500} {
		b.Run(fmt.Sprint(others), func(b *testing.B) {
			h := amongMany(b, others)
			for b.Loop() {
				device, err := h.Connector.Connect(context.Background(), h.request())
				if err != nil {
					b.Fatal(err)
				}
				b.StopTimer()
				h.gone(device)
				b.StartTimer()
			}
		})
	}
}
