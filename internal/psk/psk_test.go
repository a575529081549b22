// SPDX-License-Identifier: GPL-3.0-or-later

package psk

import (
	"strings"
	"testing"

	"github.com/nvme-discoverd/nvme-discoverd/internal/secret"
)

// The keys and what libnvme's own tests expect of them.
const (
	key32 = "NVMeTLSkey-1:01:VRLbtnN9AQb2WXW3c9+wEf/DRLz0QuLdbYvEhwtdWwNf9LrZ:"
	key48 = "NVMeTLSkey-1:02:VRLbtnN9AQb2WXW3c9+wEf/DRLz0QuLdbYvEhwtdWwP/w0S89ELi3W2LxIcLXVsDn8kXZQ==:"
	plain = "NVMeTLSkey-1:00:VRLbtnN9AQb2WXW3c9+wEf/DRLz0QuLdbYvEhwtdWwNf9LrZ:"
	host  = "nqn.psk-test-host"
	sub   = "nqn.psk-test-subsys"
)

func TestDerive(t *testing.T) {
	for _, test := range []struct {
		name, key, host, identity, err string
		length                         int
	}{
		{"SHA-256", key32, host, "NVMe1R01 nqn.psk-test-host nqn.psk-test-subsys iSbjiStwJ/1TrTvDlt2fjFmzvsytOJelidNnA+X5lEU=", "", 32},
		{"SHA-384", key48, host, "NVMe1R02 nqn.psk-test-host nqn.psk-test-subsys QhW2+Rp6RzHlNtCslyRxMnwJ11tKKhz8JCAQpQ+XUD8f9td1VeH5h53yz2wKJG1a", "", 48},
		{"as it is", plain, host, "", "", 32},
		{"no host", key32, "", "", "cannot derive a TLS key for no host: give the hostnqn", 0},
		{"no NQN", key32, strings.Repeat("x", 256), "", `cannot derive the retained TLS key: "` + strings.Repeat("x", 256) + `" is longer than 255 bytes`, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			value, err := secret.Parse(secret.TLS, test.key)
			if err != nil {
				t.Fatal(err)
			}
			got, err := Derive(value, test.host, sub)
			if text := errorText(err); text != test.err {
				t.Fatalf("error %q, want %q", text, test.err)
			}
			if test.identity != "" && got.Identity != test.identity {
				t.Errorf("identity %q, want %q", got.Identity, test.identity)
			}
			if len(got.Key) != test.length {
				t.Errorf("a key of %d bytes, want %d", len(got.Key), test.length)
			}
		})
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
