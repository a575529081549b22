// SPDX-License-Identifier: GPL-3.0-or-later

package recording

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/nvme-discoverd/nvme-discoverd/internal/atomicfile"
)

// segments is how many a ring has: the oldest makes room for a new one, so that at least all but one of them are history.
const segments = 4

// MinRing is the smallest ring in bytes.
const MinRing = 64 << 10

// store is where the bytes of a ring are.
type store interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
}

// ring keeps the last segments in a file of fixed size, or in memory. A file outlives the process whatever ends it. It is itself a
// recording: what is in it can be read at any moment, up to the last batch.
type ring struct {
	store  store
	size   int // of all of it, in bytes
	room   int // of a segment, in bytes
	at     int // the segment that is written, -1 before the first
	number uint64
	used   int // of it
}

// memory is a store without a file.
type memory []byte

func (m memory) ReadAt(p []byte, off int64) (int, error)  { return copy(p, m[off:]), nil }
func (m memory) WriteAt(p []byte, off int64) (int, error) { return copy(m[off:], p), nil }
func (m memory) Close() error                             { return nil }

// newRing makes a ring of so many bytes in a new file of root's own. Where that has no room for it, the ring is in memory; the error says
// why, and the ring works.
func newRing(file string, size int) (*ring, error) {
	size = max(size, MinRing)
	r := &ring{size: size, room: (size-len(magic))/segments - headerSize, at: -1}
	f, err := allocate(file, size)
	if err != nil {
		r.store = make(memory, size)
		err = fmt.Errorf("cannot keep the recording in %s, an unexpected end of nvme-discoverd leaves none: %w", file, err)
	} else {
		r.store = f
	}
	if _, werr := r.store.WriteAt([]byte(magic), 0); werr != nil {
		_ = r.store.Close()
		_ = os.Remove(file)
		return nil, fmt.Errorf("cannot begin the recording, nothing is recorded: %w", werr)
	}
	return r, err
}

// allocate makes a file whose bytes all have their room from the beginning: no later write finds the disk full.
func allocate(file string, size int) (*os.File, error) {
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(file, os.O_RDWR|os.O_CREATE|os.O_TRUNC|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Fallocate(int(f.Fd()), 0, 0, int64(size)); err != nil {
		f.Close()
		os.Remove(file)
		return nil, err
	}
	return f, nil
}

func (r *ring) offset(at int) int64 { return int64(len(magic) + at*(headerSize+r.room)) }

// next begins a new segment in place of the oldest.
func (r *ring) next() error {
	r.at, r.number, r.used = (r.at+1)%segments, r.number+1, 0
	return r.mark()
}

// mark writes the header of the segment: from then on, what was written counts.
func (r *ring) mark() error {
	_, err := r.store.WriteAt(header(r.room, r.number, uint64(r.used)), r.offset(r.at))
	return err
}

// add adds bytes to the segment, and reports whether there was room for them.
func (r *ring) add(data []byte) (bool, error) {
	if r.at < 0 || r.used+len(data) > r.room {
		return false, nil
	}
	if _, err := r.store.WriteAt(data, r.offset(r.at)+headerSize+int64(r.used)); err != nil {
		return false, err
	}
	r.used += len(data)
	return true, r.mark()
}

// whole returns the ring as it is.
func (r *ring) whole() ([]byte, error) {
	file := make([]byte, len(magic)+segments*(headerSize+r.room))
	if _, err := r.store.ReadAt(file, 0); err != nil && err != io.EOF {
		return nil, err
	}
	return file, nil
}

// Compact returns a recording without the room that a ring keeps free.
func Compact(file []byte) ([]byte, error) {
	all, err := split(file)
	if err != nil {
		return nil, err
	}
	return join(all), nil
}

// Leave writes a recording into dir under a name that is made of stem and begins with a time, so that names sort by age, and keeps that
// many recordings: the oldest ones make room for it first. Where there is none all the same, more of them do, but never the newest.
func Leave(dir, stem string, file []byte, keep int) (path string, err error) {
	return leaveBy(atomicfile.Write, dir, stem, file, keep)
}

// leaveBy is Leave, by a function that makes the file.
func leaveBy(write func(path string, data []byte, perm fs.FileMode) error, dir, stem string, file []byte, keep int) (path string, err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("cannot keep a recording: %w", err)
	}
	left, err := Left(dir)
	if err != nil {
		return "", fmt.Errorf("cannot keep a recording: %w", err)
	}
	keepOnly := func(n int) {
		for len(left) > n {
			_ = os.Remove(left[0])
			left = left[1:]
		}
	}
	path = filepath.Join(dir, stem+Suffix)
	for n := 2; slices.Contains(left, path); n++ { // two of one moment
		path = filepath.Join(dir, fmt.Sprintf("%s_%d%s", stem, n, Suffix))
	}
	keepOnly(max(keep-1, 1))
	for {
		err = write(path, file, 0o600)
		if err == nil || !errors.Is(err, unix.ENOSPC) || len(left) <= 1 {
			break
		}
		keepOnly(len(left) - 1)
	}
	if err != nil {
		return "", err
	}
	keepOnly(keep - 1)
	return path, nil
}

// Suffix ends the names of recordings.
const Suffix = ".nvmerec"

// Left returns the recordings in dir, the oldest first.
func Left(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var files []string
	for _, e := range entries {
		if name := e.Name(); strings.HasSuffix(name, Suffix) && name[0] != '.' {
			files = append(files, filepath.Join(dir, name))
		}
	}
	slices.Sort(files)
	return files, nil
}
