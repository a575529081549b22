// SPDX-License-Identifier: GPL-3.0-or-later

package connect

import (
	"context"
	"testing"

	"github.com/nvme-discoverd/nvme-discoverd/internal/secret"
)

// The secrets of the unit's file and those of the command line, which go first, reach the kernel; without the file that is
// named nothing is connected.
func TestSecrets(t *testing.T) {
	parsed := func(k secret.Key, text string) secret.Value {
		v, err := secret.Parse(k, text)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	const dhchap = "DHHC-1:01:YmJiYmJiYmJiYmJiYmJiYmJiYmJiYmJiYmJiYmJiYmLUSf1H:"
	const tls = "NVMeTLSkey-1:01:VRLbtnN9AQb2WXW3c9+wEf/DRLz0QuLdbYvEhwtdWwNf9LrZ:"
	h := newHost(t)
	req := h.request()
	var err error
	if req.SecretsFile, err = h.state.SecretsFile(unit); err != nil {
		t.Fatal(err)
	}
	_, err = h.Connector.Connect(context.Background(), req)
	const want = "cannot read the secrets of " + unit + ": open /run/nvme/discoverd/secrets/" + unit + ": no such file or directory"
	if got := h.message(err); got != want || len(h.wished) != 0 {
		t.Errorf("error %q, want %q; %d connects", got, want, len(h.wished))
	}
	file := secret.Set{
		secret.DHChap: {Value: parsed(secret.DHChap, dhchap), From: "/etc/nvme/discoverd.conf:3"},
		secret.TLS:    {Value: parsed(secret.TLS, tls), From: "/etc/nvme/discoverd.conf:4"},
	}
	if err := h.state.WriteSecrets(unit, file); err != nil {
		t.Fatal(err)
	}
	req.Secrets[secret.TLS] = secret.Secret{Value: parsed(secret.TLS, tls), From: "/root/key"}
	if _, err := h.Connector.Connect(context.Background(), req); err != nil {
		t.Fatal(err)
	}
	if got, want := h.given.String(), "dhchap-secret from /etc/nvme/discoverd.conf:3, tls-key from /root/key"; got != want {
		t.Errorf("the kernel was given %s, want %s", got, want)
	}
	if h.given[secret.DHChap].Value.Reveal() != dhchap {
		t.Error("the secret is another one")
	}
}
