// SPDX-License-Identifier: GPL-3.0-or-later

package fabrics

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/nvme-discoverd/nvme-discoverd/internal/keyring"
	"github.com/nvme-discoverd/nvme-discoverd/internal/paths"
	"github.com/nvme-discoverd/nvme-discoverd/internal/psk"
	"github.com/nvme-discoverd/nvme-discoverd/internal/secret"
	"github.com/nvme-discoverd/nvme-discoverd/internal/wish"
)

const (
	dhchap = "DHHC-1:01:YmJiYmJiYmJiYmJiYmJiYmJiYmJiYmJiYmJiYmJiYmLUSf1H:"
	tlsKey = "NVMeTLSkey-1:01:VRLbtnN9AQb2WXW3c9+wEf/DRLz0QuLdbYvEhwtdWwNf9LrZ:"
)

func value(t *testing.T, k secret.Key, text string) secret.Value {
	t.Helper()
	v, err := secret.Parse(k, text)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// TestConnectSecrets: which secrets go into the option string, and the TLS key into the kernel's keyring.
func TestConnectSecrets(t *testing.T) {
	const plain = "transport=tcp,traddr=192.0.2.1,trsvcid=4420,nqn=" + nqn
	const key = "NVMe1R01 nqn.h " + nqn
	without := func(name string) string { return strings.Replace(template, name, "none", 1) }
	all := secret.Set{
		secret.DHChap:     {Value: value(t, secret.DHChap, dhchap), From: "/etc/nvme/keys/host"},
		secret.DHChapCtrl: {Value: value(t, secret.DHChapCtrl, dhchap), From: "/etc/nvme/keys/ctrl"},
		secret.TLS:        {Value: value(t, secret.TLS, tlsKey), From: "/etc/nvme/keys/tls"},
	}
	host := all
	host[secret.DHChapCtrl] = secret.Secret{}
	named := func(w wish.Wish) wish.Wish {
		w.TID.HostNQN = "nqn.h"
		return w
	}
	tls := named(ioc(t, "tls", "true"))
	const tlsPlain = plain + ",hostnqn=nqn.h,tls"
	for _, test := range []struct {
		name     string
		wish     wish.Wish
		secrets  secret.Set
		template string
		ringErrs []error // of the looks for the keyring to come
		addErrs  []error // of the keys to come
		written  string
		added    string // beginning of the identity
		modules  []string
		err      string
	}{
		{name: "none", wish: ioc(t), template: template, written: plain},
		{name: "one way, and no TLS", wish: ioc(t), secrets: host, template: template, written: plain + ",dhchap_secret=" + dhchap},
		{name: "both ways, and TLS", wish: tls, secrets: all, template: template, written: tlsPlain + ",dhchap_secret=" + dhchap + ",dhchap_ctrl_secret=" + dhchap + ",tls_key=77", added: key},
		{name: "a kernel that looks for the key itself", wish: tls, secrets: secret.Set{secret.TLS: all[secret.TLS]}, template: without("tls_key"), written: tlsPlain, added: key},
		{
			name: "a kernel without authentication", wish: ioc(t), secrets: host, template: without("dhchap_secret"),
			err: `cannot connect (tcp, 192.0.2.1, 4420, ` + nqn + `): this kernel does not know the option "dhchap_secret": do without it, or use a kernel that has it`,
		},
		{
			name: "the keyring comes with the module", wish: tls, secrets: all, template: template, ringErrs: []error{keyring.ErrMissing},
			written: tlsPlain + ",dhchap_secret=" + dhchap + ",dhchap_ctrl_secret=" + dhchap + ",tls_key=77", added: key, modules: []string{"nvme-fabrics", "nvme-tcp"},
		},
		{
			name: "a kernel without TLS", wish: tls, secrets: all, template: template, ringErrs: []error{keyring.ErrMissing, keyring.ErrMissing}, modules: []string{"nvme-fabrics", "nvme-tcp"},
			err: "cannot connect (tcp, 192.0.2.1, 4420, " + nqn + ") with tls-key from /etc/nvme/keys/tls: this kernel has no .nvme keyring",
		},
		{
			name: "a key of the keyring by its identity", wish: named(ioc(t, "tls", "true", "tls-key-identity", key+" digest=")), template: template,
			written: tlsPlain + ",tls_key=87",
		},
		{
			name: "the same in a keyring of its own", wish: named(ioc(t, "tls", "true", "tls-key-identity", key+" digest=", "keyring", "mine")), template: template,
			written: tlsPlain + ",tls_key=88,keyring=6",
		},
		{name: "the keyring alone", wish: named(ioc(t, "tls", "true", "keyring", ".nvme")), template: template, written: tlsPlain + ",keyring=5"},
		{name: "the kernel's keyring, and a kernel without the option", wish: named(ioc(t, "tls", "true", "keyring", ".nvme")), template: without("keyring"), written: tlsPlain},
		{
			name: "another keyring, and a kernel without the option", wish: named(ioc(t, "tls", "true", "keyring", "mine")), template: without("keyring"),
			err: `cannot connect (tcp, 192.0.2.1, 4420, ` + nqn + `): this kernel does not know the option "keyring": do without it, or use a kernel that has it`,
		},
		{name: "neither without TLS", wish: named(ioc(t, "tls-key-identity", "x", "keyring", "mine")), template: template, written: plain + ",hostnqn=nqn.h"},
		{name: "a key that goes into a keyring of its own", wish: named(ioc(t, "tls", "true", "keyring", "mine")), secrets: secret.Set{secret.TLS: all[secret.TLS]}, template: template, written: tlsPlain + ",tls_key=78,keyring=6", added: key},
		{
			name: "an identity that is not there", wish: named(ioc(t, "tls", "true", "tls-key-identity", "NVMe1R01 x")), template: template,
			err: `cannot connect (tcp, 192.0.2.1, 4420, ` + nqn + `) with tls-key-identity "NVMe1R01 x": there is no such key in the keyring .nvme: put it there, with nvme tls-key --import for one`,
		},
		{
			name: "an identity on a kernel that takes no key", wish: named(ioc(t, "tls", "true", "tls-key-identity", key+" digest=")), template: without("tls_key"),
			err: `cannot connect (tcp, 192.0.2.1, 4420, ` + nqn + `): this kernel does not know the option "tls_key": do without it, or use a kernel that has it`,
		},
		{
			name: "a keyring that is not there", wish: named(ioc(t, "tls", "true", "keyring", "mine")), template: template, ringErrs: []error{errors.New("no such keyring")},
			err: `cannot connect (tcp, 192.0.2.1, 4420, ` + nqn + `) with keyring mine: no such keyring`,
		},
		{
			name: "nobody's key", wish: ioc(t, "tls", "true"), secrets: all, template: template,
			err: "cannot connect (tcp, 192.0.2.1, 4420, " + nqn + ") with tls-key from /etc/nvme/keys/tls: cannot derive a TLS key for no host: give the hostnqn",
		},
		{
			name: "a keyring that refuses", wish: tls, secrets: all, template: template, addErrs: []error{errors.New("disk quota exceeded")},
			err: "cannot connect (tcp, 192.0.2.1, 4420, " + nqn + ") with tls-key from /etc/nvme/keys/tls: disk quota exceeded",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			fake := &fakeKernel{template: test.template, reply: "instance=3,cntlid=1\n"}
			var added string
			k := &Kernel{root: paths.Root(t.TempDir()), open: fake.open, modprobe: fake.modprobe, ring: func(name string) (int, error) {
				return map[string]int{"": 5, ".nvme": 5, "mine": 6}[name], next(&test.ringErrs)
			}, addKey: func(ring int, key psk.TLS) (int, error) {
				if err := next(&test.addErrs); err != nil {
					return 0, err
				}
				added = key.Identity
				return 72 + ring, nil
			}, findKey: func(ring int, identity string) (int, error) {
				if identity != key+" digest=" {
					return 0, keyring.ErrNoKey
				}
				return 82 + ring, nil
			}}
			got, err := k.Connect(context.Background(), test.wish, test.secrets)
			if diff := cmp.Diff(test.err, strings.ReplaceAll(message(err), "; ", "")); diff != "" {
				t.Errorf("error (-want +got):\n%s", diff)
			}
			if test.err == "" && (!slices.Equal(fake.written, []string{test.written}) || len(got.Dropped) > 0) {
				t.Errorf("written %q, want %q, dropped %v", fake.written, test.written, got.Dropped)
			}
			if !strings.HasPrefix(added, test.added) || test.added == "" && added != "" {
				t.Errorf("added key %q, want %q", added, test.added)
			}
			if diff := cmp.Diff(test.modules, fake.modules); diff != "" {
				t.Errorf("modules (-want +got):\n%s", diff)
			}
		})
	}
}
