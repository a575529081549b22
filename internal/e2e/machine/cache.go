// SPDX-License-Identifier: GPL-3.0-or-later

package machine

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/nvme-discoverd/nvme-discoverd/internal/flock"
)

// cacheName is our directory below the user's cache directory.
const cacheName = "nvme-discoverd"

// cacheDir returns the directory that keeps what was built, and makes it.
func cacheDir() (string, error) {
	base, err := os.UserCacheDir()
	if err != nil {
		// A system without HOME, such as a bare CI job.
		base = "/var/cache"
	}
	dir := filepath.Join(base, cacheName)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("cannot make cache directory: %w", err)
	}
	return dir, nil
}

// cached returns the directory <cache>/<kind>-<hash of ingredients>, built by build if it is not there yet.
//
// The directory appears under its name only when it is complete, and a lock lets one process build while others wait:
// two runs at once, or one that was killed half-way, leave nothing broken behind.
func cached(kind string, ingredients []string, build func(dir string) error) (string, error) {
	cache, err := cacheDir()
	if err != nil {
		return "", err
	}
	hash := sha256.New()
	for _, s := range ingredients {
		fmt.Fprintf(hash, "%d:%s", len(s), s)
	}
	final := filepath.Join(cache, kind+"-"+hex.EncodeToString(hash.Sum(nil))[:16])

	unlock, err := flock.Lock(filepath.Join(cache, kind+".lock"))
	if err != nil {
		return "", fmt.Errorf("cannot lock cache: %w", err)
	}
	defer unlock()
	if _, err := os.Stat(final); err == nil {
		now := time.Now()
		if err := os.Chtimes(final, now, now); err != nil {
			return "", fmt.Errorf("cannot mark %q as used: %w", final, err)
		}
		return final, nil
	} else if !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("cannot look at %q: %w", final, err)
	}
	if err := removeStale(cache, kind); err != nil {
		return "", err
	}
	tmp, err := os.MkdirTemp(cache, kind+"-building-")
	if err != nil {
		return "", fmt.Errorf("cannot make build directory: %w", err)
	}
	defer os.RemoveAll(tmp)
	if err := os.Chmod(tmp, 0o755); err != nil {
		return "", fmt.Errorf("cannot open up build directory: %w", err)
	}
	if err := build(tmp); err != nil {
		return "", err
	}
	if err := os.Rename(tmp, final); err != nil {
		return "", fmt.Errorf("cannot keep %q: %w", kind, err)
	}
	return final, nil
}

// unusedFor is how long a version is kept after its last use: two trees with different machines take turns without building
// anew each time, and a run that has not opened its files yet does not lose them.
const unusedFor = 24 * time.Hour

// removeStale deletes abandoned builds and unused versions of kind; the caller holds the lock.
func removeStale(cache, kind string) error {
	old, err := filepath.Glob(filepath.Join(cache, kind+"-*"))
	if err != nil {
		return fmt.Errorf("cannot list %q: %w", cache, err)
	}
	for _, dir := range old {
		info, err := os.Stat(dir)
		if err != nil || time.Since(info.ModTime()) < unusedFor && !strings.HasPrefix(filepath.Base(dir), kind+"-building-") {
			continue
		}
		if err := os.RemoveAll(dir); err != nil {
			return fmt.Errorf("cannot remove old %q: %w", dir, err)
		}
	}
	return nil
}
