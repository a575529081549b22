// Package keyring puts TLS keys where the kernel's NVMe/TCP looks for them: the keyring ".nvme" (drivers/nvme/common/keyring.c).
package keyring

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/nvme-discoverd/nvme-discoverd/internal/paths"
	"github.com/nvme-discoverd/nvme-discoverd/internal/psk"
)

// ErrMissing tells that the keyring is not there: the kernel's NVMe/TCP is not loaded, or knows no TLS.
var ErrMissing = errors.New("this kernel has no .nvme keyring")

// Add puts a key into the keyring, in place of any of the same identity, and returns its serial number. The error wraps
// ErrMissing, or a unix.Errno, and does not contain the key.
func Add(root paths.Root, key psk.TLS) (serial int, err error) {
	list, err := os.ReadFile(root.Keys())
	if err != nil {
		return 0, fmt.Errorf("cannot find the kernel's .nvme keyring: %w", err)
	}
	ring, ok := find(string(list))
	if !ok {
		return 0, fmt.Errorf("cannot add a TLS key: %w", ErrMissing)
	}
	if serial, err = unix.AddKey("psk", key.Identity, key.Key, ring); err != nil {
		return 0, fmt.Errorf("cannot add a TLS key to the kernel's .nvme keyring: %w", err)
	}
	return serial, nil
}

// find returns the serial number of the keyring ".nvme" in the text of /proc/keys (keyrings(7)): in each line the number in
// hexadecimal, seven columns of other things, the description and a summary.
func find(list string) (serial int, ok bool) {
	for line := range strings.Lines(list) {
		fields := strings.Fields(line)
		if len(fields) < 9 || fields[7] != "keyring" || fields[8] != ".nvme:" {
			continue
		}
		n, err := strconv.ParseInt(fields[0], 16, 32)
		if err == nil && n > 0 {
			return int(n), true
		}
	}
	return 0, false
}
