// SPDX-License-Identifier: GPL-3.0-or-later

// Package psk derives the pre-shared key of a TLS connection from a configured one, as the NVMe/TCP Transport
// Specification 1.1 says in sections 3.6.1.3 and 3.6.1.4.
package psk

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"hash"

	"github.com/nvme-discoverd/nvme-discoverd/internal/secret"
)

// TLS is the key of the connections between one host and one subsystem.
type TLS struct {
	Identity string // by which both sides name it: public
	Key      []byte // 32 or 48 bytes: secret
}

// The hashes as the interchange form and the identity number them.
const (
	asIs = iota
	hashSHA256
	hashSHA384
)

// Derive returns the key of the connections between a host and a subsystem, with an identity of version 1. key must be a
// TLS key.
func Derive(key secret.Value, hostNQN, subsysNQN string) (TLS, error) {
	if hostNQN == "" {
		return TLS{}, fmt.Errorf("cannot derive a TLS key for no host: give the hostnqn")
	}
	configured, by, err := key.PSK()
	if err != nil {
		return TLS{}, fmt.Errorf("cannot use the TLS key: %w", err)
	}
	retained := configured
	if by != asIs {
		if retained, err = expandLabel(by, configured, "HostNQN", hostNQN); err != nil {
			return TLS{}, fmt.Errorf("cannot derive the retained TLS key: %w", err)
		}
	}
	cipher := hashSHA256 // of the cipher suite that keys of this length are for
	if len(retained) == sha512.Size384 {
		cipher = hashSHA384
	}
	digest := digest(cipher, retained, hostNQN, subsysNQN)
	derived, err := expandLabel(cipher, retained, "nvme-tls-psk", fmt.Sprintf("%02d %s", cipher, digest))
	if err != nil {
		return TLS{}, fmt.Errorf("cannot derive the TLS key: %w", err)
	}
	return TLS{fmt.Sprintf("NVMe1R%02d %s %s %s", cipher, hostNQN, subsysNQN, digest), derived}, nil
}

// digest tells apart the keys that one host has for one subsystem.
func digest(by int, key []byte, hostNQN, subsysNQN string) string {
	mac := hmac.New(function(by), key)
	mac.Write([]byte(hostNQN + " " + subsysNQN + " NVMe-over-Fabrics")) // never fails
	return base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

// expandLabel is HKDF-Extract without salt and HKDF-Expand-Label (RFC 8446, section 7.1), for as many bytes as the hash has.
func expandLabel(by int, key []byte, label, context string) ([]byte, error) {
	h := function(by)
	size := h().Size()
	label = "tls13 " + label
	if len(context) > 255 {
		return nil, fmt.Errorf("%q is longer than 255 bytes", context)
	}
	info := binary.BigEndian.AppendUint16(nil, uint16(size))
	info = append(append(info, byte(len(label))), label...)
	info = append(append(info, byte(len(context))), context...)
	return hkdf.Key(h, key, nil, string(info), size)
}

func function(by int) func() hash.Hash {
	if by == hashSHA384 {
		return sha512.New384
	}
	return sha256.New
}
