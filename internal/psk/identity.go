// SPDX-License-Identifier: GPL-3.0-or-later

package psk

import (
	"fmt"
	"strings"
)

// Identity is what the name of a TLS key says of it (NVMe/TCP Transport Specification 1.1, section 3.6.1.3). Who may see the keyring sees
// it.
type Identity struct {
	Version int    // 0, without a digest, or 1
	Kind    string // Retained or Generated
	HMAC    string // "SHA-256", "SHA-384", or "none" for a key that is used as it is
	HostNQN string
	NQN     string // of the subsystem
	Digest  string // of the retained key, with version 1
}

// Kinds of keys.
const (
	Retained  = "retained"  // from a configured one
	Generated = "generated" // by an authentication (secure channel concatenation)
)

// hmacs are the names of the hashes by their numbers. They are constant.
var hmacs = [...]string{asIs: "none", hashSHA256: "SHA-256", hashSHA384: "SHA-384"}

// ParseIdentity takes the name of a key apart, such as "NVMe1R01 nqn.host nqn.subsystem c2VjcmV0=".
func ParseIdentity(text string) (Identity, error) {
	wrong := func(what string) (Identity, error) {
		return Identity{}, fmt.Errorf("cannot understand the identity %q of a TLS key: %s", text, what)
	}
	parts := strings.Split(text, " ")
	name, ok := strings.CutPrefix(parts[0], "NVMe")
	if !ok || len(name) != 4 {
		return wrong("it does not begin with NVMe, a digit, R or G and two digits")
	}
	var id Identity
	switch name[0] {
	case '0', '1':
		id.Version = int(name[0] - '0')
	default:
		return wrong("its version is unknown")
	}
	switch name[1] {
	case 'R':
		id.Kind = Retained
	case 'G':
		id.Kind = Generated
	default:
		return wrong("its kind is unknown")
	}
	if name[2] != '0' || name[3] < '0' || int(name[3]-'0') >= len(hmacs) {
		return wrong("its hash is unknown")
	}
	id.HMAC = hmacs[name[3]-'0']
	if len(parts) != 3+id.Version || parts[1] == "" || parts[2] == "" {
		return wrong("it does not name a host and a subsystem, with version 1 a digest too")
	}
	id.HostNQN, id.NQN = parts[1], parts[2]
	if id.Version == 1 {
		id.Digest = parts[3]
	}
	return id, nil
}

// Preference orders the keys that a host has for one subsystem as the kernel takes them where it is told none: the least goes first
// (drivers/nvme/common/keyring.c, nvme_tls_psk_prio). It takes no generated ones.
func (i Identity) Preference() int {
	p := 2 * (1 - i.Version)
	if i.HMAC != hmacs[hashSHA384] {
		p++
	}
	if i.Kind == Generated {
		p += 4
	}
	return p
}
