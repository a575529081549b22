// SPDX-License-Identifier: GPL-3.0-or-later

// Package keyring puts TLS keys where the kernel's NVMe/TCP looks for them: the keyring ".nvme" (drivers/nvme/common/keyring.c).
package keyring

import (
	"encoding/binary"
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

// ErrNoKey tells that a keyring does not hold the key.
var ErrNoKey = errors.New("there is no such key")

// Default is the keyring in which the kernel's NVMe/TCP looks when it is told no other.
const Default = ".nvme"

// Ring returns the serial number of a keyring, which name gives by its description or as the number itself: in decimal, or in
// hexadecimal after "0x". "" is Default. The error wraps ErrMissing if there is none of that name.
func Ring(root paths.Root, name string) (serial int, err error) {
	if name == "" {
		name = Default
	}
	if n, err := strconv.ParseInt(name, 0, 32); err == nil && n > 0 {
		return int(n), nil
	}
	list, err := os.ReadFile(root.Keys())
	if err != nil {
		return 0, fmt.Errorf("cannot find the keyring %s: %w", name, err)
	}
	ring, ok := find(string(list), name)
	switch {
	case !ok && name == Default:
		return 0, ErrMissing
	case !ok:
		return 0, fmt.Errorf("cannot find the keyring %s among those that root sees in /proc/keys", name)
	}
	return ring, nil
}

// Add puts a key into a keyring, in place of any of the same identity, and returns its serial number. The error wraps a
// unix.Errno and does not contain the key.
func Add(ring int, key psk.TLS) (serial int, err error) {
	if serial, err = unix.AddKey(pskType, key.Identity, key.Key, ring); err != nil {
		return 0, fmt.Errorf("cannot add a TLS key to the kernel's keyring: %w", err)
	}
	return serial, nil
}

// pskType is the kernel's type of TLS keys (drivers/nvme/common/keyring.c, nvme_tls_psk_key_type).
const pskType = "psk"

// Identity returns the identity of the TLS key with a serial number. The error wraps ErrNoKey if that is no TLS key.
func Identity(serial int) (string, error) {
	description, err := unix.KeyctlString(unix.KEYCTL_DESCRIBE, serial)
	if err != nil {
		return "", fmt.Errorf("cannot describe key %08x: %w", serial, err)
	}
	identity, ok := describes(description, pskType)
	if !ok {
		return "", ErrNoKey
	}
	return identity, nil
}

// Key is a TLS key in a keyring, without the key itself.
type Key struct {
	Serial   int
	Identity string
}

// List returns the TLS keys in a keyring, in its order. It reads the keyring, and does not have it searched: a search finds only keys of
// keyrings that the process itself holds.
func List(ring int) ([]Key, error) {
	data := make([]byte, 4096)
	for {
		n, err := unix.KeyctlBuffer(unix.KEYCTL_READ, ring, data, 0)
		if err != nil {
			return nil, fmt.Errorf("cannot read the keyring: %w", err)
		}
		if n <= len(data) {
			data = data[:n]
			break
		}
		data = make([]byte, 2*n) // it may grow meanwhile
	}
	var keys []Key
	for _, serial := range serials(data) {
		if identity, err := Identity(serial); err == nil { // else it is gone meanwhile, revoked, not for us to see, or no TLS key
			keys = append(keys, Key{serial, identity})
		}
	}
	return keys, nil
}

// Find returns the serial number of the TLS key in a keyring that has an identity. The error wraps ErrNoKey if none has.
func Find(ring int, identity string) (serial int, err error) {
	keys, err := List(ring)
	if err != nil {
		return 0, err
	}
	for _, key := range keys {
		if key.Identity == identity {
			return key.Serial, nil
		}
	}
	return 0, ErrNoKey
}

// serials returns what the kernel gives for the content of a keyring: the serial numbers of its keys (keyctl_read(3)).
func serials(data []byte) []int {
	var list []int
	for ; len(data) >= 4; data = data[4:] {
		list = append(list, int(int32(binary.NativeEndian.Uint32(data))))
	}
	return list
}

// describes returns the description of a key from "type;uid;gid;permissions;description" (keyctl_describe(3)) if it is of
// the type.
func describes(text, keyType string) (description string, ok bool) {
	parts := strings.SplitN(text, ";", 5)
	if len(parts) < 5 || parts[0] != keyType {
		return "", false
	}
	return parts[4], true
}

// find returns the serial number of a keyring in the text of /proc/keys (keyrings(7)): in each line the number in
// hexadecimal, seven columns of other things, the description and a summary.
func find(list, name string) (serial int, ok bool) {
	for line := range strings.Lines(list) {
		fields := strings.Fields(line)
		if len(fields) < 9 || fields[7] != "keyring" || fields[8] != name+":" {
			continue
		}
		n, err := strconv.ParseInt(fields[0], 16, 32)
		if err == nil && n > 0 {
			return int(n), true
		}
	}
	return 0, false
}
