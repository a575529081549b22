// SPDX-License-Identifier: GPL-3.0-or-later

//go:build e2e

package guest

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"hash/crc32"
	"os"
	"path/filepath"
	"time"

	"github.com/nvme-discoverd/nvme-discoverd/internal/e2e/follow"
)

// DHChapSecret makes a DH-HMAC-CHAP secret in the interchange form, another one for each seed.
func DHChapSecret(seed byte) string { return interchange("DHHC-1:00:", seed) }

// TLSKey makes a TLS key in the interchange form, another one for each seed.
func TLSKey(seed byte) string { return interchange("NVMeTLSkey-1:01:", seed) }

func interchange(prefix string, seed byte) string {
	key := bytes.Repeat([]byte{seed, 'k'}, 16)
	return prefix + base64.StdEncoding.EncodeToString(binary.LittleEndian.AppendUint32(key, crc32.ChecksumIEEE(key))) + ":"
}

// Authenticate makes the target demand a secret of a host, and prove itself by another one if that is asked for. The host
// must be one that a subsystem allows.
func (g *Target) Authenticate(hostnqn, secret, ctrlSecret string) {
	g.t.Helper()
	host := filepath.Join(nvmet, "hosts", hostnqn)
	write(g.t, filepath.Join(host, "dhchap_key"), secret)
	if ctrlSecret != "" {
		write(g.t, filepath.Join(host, "dhchap_ctrl_key"), ctrlSecret)
	}
	write(g.t, filepath.Join(host, "dhchap_hash"), "hmac(sha256)")
}

// Concatenate has the target agree to a key from the authentication of a host, for which the exchange needs a group.
func (g *Target) Concatenate(hostnqn string) {
	g.t.Helper()
	write(g.t, filepath.Join(nvmet, "hosts", hostnqn, "dhchap_dhgroup"), "ffdhe2048")
}

// PortOfferingTLS adds a port on 127.0.0.1 that takes connections with TLS and without.
func (g *Target) PortOfferingTLS(trsvcid int) *Port {
	g.t.Helper()
	p := g.Port(trsvcid)
	write(g.t, filepath.Join(p.dir, "addr_tsas"), "tls1.3")
	write(g.t, filepath.Join(p.dir, "addr_treq"), "not required")
	return p
}

// PortTLS adds a port on 127.0.0.1 that takes TLS connections only.
func (g *Target) PortTLS(trsvcid int) *Port {
	g.t.Helper()
	p := g.Port(trsvcid)
	write(g.t, filepath.Join(p.dir, "addr_tsas"), "tls1.3")
	write(g.t, filepath.Join(p.dir, "addr_treq"), "required")
	return p
}

// StartTLS starts the daemon that does the kernel's TLS handshakes, until the scenario ends.
func StartTLS(t T) {
	t.Helper()
	Run(t, "systemctl", "start", "tlshd.service")
	t.Cleanup(func() { Run(t, "systemctl", "stop", "tlshd.service") })
	eventually(t, follow.Units, time.Minute, "tlshd runs", func() (bool, string) {
		state := ActiveState(t, "tlshd.service")
		return state == "active", state
	})
}

// PutSecret makes a file that only root can read.
func PutSecret(t T, path, text string) {
	t.Helper()
	put(t, path, text)
	if err := os.Chmod(path, 0o600); err != nil {
		t.Fatalf("cannot hide %s: %v", path, err)
	}
}

// KernelSays returns the last messages of the kernel.
func KernelSays(lines int) string { return kernelTail(lines) }
