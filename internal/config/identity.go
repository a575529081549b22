package config

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/nvme-discoverd/nvme-discoverd/internal/paths"
	"github.com/nvme-discoverd/nvme-discoverd/internal/tid"
)

// uuidNQN begins an NQN that is made from a UUID (NVMe Base Specification 2.0, section 4.5).
const uuidNQN = "nqn.2014-08.org.nvmexpress:uuid:"

// appID makes what is derived here differ from what other programs derive from the same thing. In the form that
// systemd-id128(1) takes: 6d1f0c5b2e8a4f3c9b7d51e04a86c2f9.
const appID = "\x6d\x1f\x0c\x5b\x2e\x8a\x4f\x3c\x9b\x7d\x51\xe0\x4a\x86\xc2\xf9"

// errNoUUID says how a host ID looks.
var errNoUUID = errors.New("it must be a UUID such as f81d4fae-7dec-11d0-a765-00a0c91e6bf6")

// identity is who the host is to its targets.
type identity struct {
	nqn, id string
	nqnFile string // where people put the NQN
	derived bool   // from the machine ID: neither file is there
}

// readIdentity returns the identity of the host itself. One of the files hostnqn and hostid is enough: the other value
// follows from it. Without both it is derived from /etc/machine-id as sd_id128_get_machine_app_specific(3) does, so that
// it is stable, unique, and does not give the machine ID away. Without any of the three the identity is empty.
func readIdentity(root paths.Root) (identity, error) {
	nqn, err := readLine(root.HostNQN())
	if err != nil {
		return identity{}, err
	}
	id, err := readLine(root.HostID())
	if err != nil {
		return identity{}, err
	}
	known := identity{nqn: nqn, id: strings.ToLower(id), nqnFile: root.HostNQN()}
	if nqn != "" {
		if err := tid.CheckNQN(nqn); err != nil {
			return identity{}, fmt.Errorf("%s:1:1: %v", root.HostNQN(), err)
		}
	}
	if id != "" && !isUUID(known.id) {
		return identity{}, fmt.Errorf("%s:1:1: cannot use host ID %q: %v", root.HostID(), id, errNoUUID)
	}
	if nqn == "" && id == "" {
		if known.id, err = machineUUID(root); err != nil {
			return identity{}, err
		}
		known.derived = known.id != ""
	}
	return known.completed(), nil
}

// completed returns i with the missing one of its two values made from the other.
func (i identity) completed() identity {
	switch {
	case i.nqn == "" && i.id != "":
		i.nqn = uuidNQN + i.id
	case i.nqn != "" && i.id == "":
		i.id = hostIDOf(i.nqn)
	}
	return i
}

// hostIDOf returns the host ID that goes with a host NQN: the UUID in it, or else one derived from it. The kernel wants one
// host ID for each host NQN, and another for another (drivers/nvme/host/fabrics.c, nvmf_host_add).
func hostIDOf(nqn string) string {
	if id, ok := strings.CutPrefix(nqn, uuidNQN); ok && isUUID(strings.ToLower(id)) {
		return strings.ToLower(id)
	}
	return derivedUUID([]byte(appID), []byte(nqn))
}

// machineUUID returns the UUID that is derived from /etc/machine-id, "" if there is none (machine-id(5)).
func machineUUID(root paths.Root) (string, error) {
	text, err := readLine(root.MachineID())
	if err != nil {
		return "", err
	}
	machine, err := hex.DecodeString(text)
	if err != nil || len(machine) != 16 {
		return "", nil // "uninitialized" while the first boot sets the host up
	}
	return derivedUUID(machine, []byte(appID)), nil
}

// derivedUUID makes a UUID of version 4 from the HMAC-SHA256 of a message.
func derivedUUID(key, message []byte) string {
	mac := hmac.New(sha256.New, key)
	mac.Write(message) // never fails
	u := mac.Sum(nil)[:16]
	u[6] = u[6]&0x0f | 0x40
	u[8] = u[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", u[:4], u[4:6], u[6:8], u[8:10], u[10:])
}

// isUUID tells whether s is a UUID in lower case.
func isUUID(s string) bool {
	if len(s) != 36 {
		return false
	}
	for i := range len(s) {
		switch i {
		case 8, 13, 18, 23:
			if s[i] != '-' {
				return false
			}
		default:
			if !strings.Contains("0123456789abcdef", s[i:i+1]) {
				return false
			}
		}
	}
	return true
}

// readLine returns the first line of a small file without the white space around it, "" if there is no such file.
func readLine(file string) (string, error) {
	text, err := read(file)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("cannot read host identity %s: %w", file, err)
	}
	line, _, _ := strings.Cut(strings.TrimSpace(text), "\n")
	return strings.TrimSpace(line), nil
}

// persona returns the identity that [host] asks for. A host NQN of its own brings its own host ID: the host's belongs to
// the host's NQN.
func (r *resolver) persona(host table, known identity) identity {
	own := known
	if nqn := host.text("hostnqn"); nqn != "" && nqn != known.nqn {
		if err := tid.CheckNQN(nqn); err != nil {
			r.found.errors.add(host.place("hostnqn"), "cannot set hostnqn: %v", err)
			return known
		}
		own = identity{nqn: nqn}
	}
	if id := host.text("hostid"); id != "" {
		own.id = strings.ToLower(id)
		if !isUUID(own.id) {
			r.found.errors.add(host.place("hostid"), "cannot set hostid to %q: %v", id, errNoUUID)
			return known
		}
	}
	return own.completed()
}

// checkIdentity reports a host that has no identity, or one that was made up for it.
func (r *resolver) checkIdentity(known identity) {
	switch {
	case r.config.HostNQN == "" && len(r.config.Connections) > 0:
		r.found.errors.add(position{1, 1}, "cannot connect anything without a host NQN: create it with \"nvme gen-hostnqn > %s\" or set hostnqn in [host]", known.nqnFile)
	case r.config.HostNQN == known.nqn && known.derived:
		r.config.Warnings = append(r.config.Warnings, fmt.Sprintf("%s: the file does not exist, and no hostid: using %s, derived from the machine ID", known.nqnFile, known.nqn))
	}
}
