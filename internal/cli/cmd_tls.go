// SPDX-License-Identifier: GPL-3.0-or-later

package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/nvme-discoverd/nvme-discoverd/internal/api/client"
	"github.com/nvme-discoverd/nvme-discoverd/internal/config"
	"github.com/nvme-discoverd/nvme-discoverd/internal/keyring"
	"github.com/nvme-discoverd/nvme-discoverd/internal/param"
	"github.com/nvme-discoverd/nvme-discoverd/internal/psk"
	"github.com/nvme-discoverd/nvme-discoverd/internal/secret"
	"github.com/nvme-discoverd/nvme-discoverd/internal/tid"
)

func (a *app) tlsCommand() *cobra.Command {
	return group("tls", "The TLS keys in the kernel's keyring", `The kernel takes the pre-shared keys of TLS connections from a keyring, whoever put them
there: this service, nvme-cli or tlshd.`, a.tlsListCommand())
}

// tlsKey is a TLS key of the keyring, without the key.
type tlsKey struct {
	Serial      string   `json:"serial"`
	Identity    string   `json:"identity"`
	Version     *int     `json:"version,omitempty"`
	Kind        string   `json:"kind,omitempty"`
	HMAC        string   `json:"hmac,omitempty"`
	HostNQN     string   `json:"hostnqn,omitempty"`
	NQN         string   `json:"nqn,omitempty"`
	InUse       []string `json:"inUse"`       // controllers that are connected with it
	Connections []string `json:"connections"` // that would use it at their next connect

	parsed psk.Identity
}

// tlsUser is a connection that is to have TLS.
type tlsUser struct {
	transport, traddr, trsvcid, nqn, hostnqn string

	identity string // of the key that it is told to use, "" if the kernel chooses
	unsure   bool   // it is told a key that only the service can read
}

func (u tlsUser) String() string {
	return tid.TID{Transport: u.transport, Traddr: u.traddr, Trsvcid: u.trsvcid, NQN: u.nqn}.String()
}

func (a *app) tlsListCommand() *cobra.Command {
	var name string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the TLS keys in the kernel's keyring, and what uses them",
		Long: `List the TLS keys in the kernel's keyring .nvme, or in another one, with what their identities say. The keys
themselves are never shown. Only root sees the keyring.

Connections are those that have TLS by the configuration or by the log page that names them. One that is told no
key takes that of its host and its subsystem which the kernel prefers: version 1 before 0, SHA-384 before SHA-256.

With --json it is an array of one object for each key, [] if there is none:

  serial, identity         as keyctl has them, the serial number in hexadecimal
  version, kind, hmac      0 or 1; retained or generated; SHA-256, SHA-384 or none
  hostnqn, nqn             of the host and the subsystem that the key is for
  inUse                    controllers that are connected with it
  connections              those that would use it at their next connect

What the identity does not say is left out; the lists are always there.`,
		Args: takes(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			keys, err := a.tlsKeys(name)
			if err != nil {
				return failed(err)
			}
			users, warnings := a.tlsUsers(cmd.Context())
			assign(keys, users)
			a.tlsInUse(keys)
			for _, w := range warnings {
				fmt.Fprintln(a.Stderr, "warning:", w)
			}
			switch {
			case asJSON:
				return a.printJSON(keys)
			case len(keys) == 0:
				fmt.Fprintf(a.Stderr, "There is no TLS key in the keyring %s.\n", cmp.Or(name, keyring.Default))
				return nil
			}
			for i, k := range keys {
				if i > 0 {
					fmt.Fprintln(a.Stdout)
				}
				a.printTLSKey(k)
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&name, "keyring", "", "look into this `keyring` instead, by its name or serial number")
	cmd.Flags().BoolVar(&asJSON, "json", false, "write JSON")
	return cmd
}

// tlsKeys lists the keys of a keyring.
func (a *app) tlsKeys(name string) ([]tlsKey, error) {
	found, err := a.keys(name)
	switch {
	case errors.Is(err, keyring.ErrMissing) && os.Geteuid() != 0:
		return nil, errors.New("cannot see the keyring .nvme: only root may")
	case errors.Is(err, keyring.ErrMissing): // no module that has it is loaded
		return []tlsKey{}, nil
	case err != nil:
		return nil, err
	}
	keys := []tlsKey{}
	for _, f := range found {
		k := tlsKey{Serial: fmt.Sprintf("%08x", f.Serial), Identity: f.Identity, InUse: []string{}, Connections: []string{}}
		if id, err := psk.ParseIdentity(f.Identity); err == nil {
			k.parsed = id
			k.Version, k.Kind, k.HMAC, k.HostNQN, k.NQN = &id.Version, id.Kind, id.HMAC, id.HostNQN, id.NQN
		}
		keys = append(keys, k)
	}
	slices.SortStableFunc(keys, func(x, y tlsKey) int {
		return cmp.Or(cmp.Compare(x.HostNQN, y.HostNQN), cmp.Compare(x.NQN, y.NQN), cmp.Compare(x.parsed.Preference(), y.parsed.Preference()))
	})
	return keys, nil
}

// assign notes with each key which of users would use it.
func assign(keys []tlsKey, users []tlsUser) {
	for _, u := range users {
		best := -1
		for i, k := range keys {
			switch {
			case u.unsure:
			case u.identity != "" && u.identity == k.Identity:
				best = i
			case u.identity != "" || k.Kind != psk.Retained || k.HostNQN != u.hostnqn || k.NQN != u.nqn:
			case best < 0 || k.parsed.Preference() < keys[best].parsed.Preference():
				best = i
			}
		}
		if best >= 0 {
			keys[best].Connections = append(keys[best].Connections, u.String())
		}
	}
}

// tlsInUse notes with each key which controllers are connected with it.
func (a *app) tlsInUse(keys []tlsKey) {
	files, _ := filepath.Glob(filepath.Join(a.root.SysClassNVMe(), "nvme*", "tls_key")) // the pattern is good
	for _, file := range files {
		text, err := os.ReadFile(file)
		serial, notOne := strconv.ParseUint(strings.TrimSpace(string(text)), 16, 32)
		if err != nil || notOne != nil {
			continue
		}
		for i := range keys {
			if keys[i].Serial == fmt.Sprintf("%08x", serial) {
				keys[i].InUse = append(keys[i].InUse, filepath.Base(filepath.Dir(file)))
			}
		}
	}
}

// tlsUsers lists the connections that are to have TLS with a key of a keyring: those of the configuration and, if the service
// answers, those that log pages name.
func (a *app) tlsUsers(ctx context.Context) (users []tlsUser, warnings []string) {
	cfg, err := config.Load(a.root, "")
	if err != nil {
		warnings = append(warnings, err.Error())
	}
	user := func(id tid.TID, params param.Set, ref secret.Ref) tlsUser {
		u := tlsUser{transport: id.Transport, traddr: id.Traddr, trsvcid: id.Trsvcid, nqn: id.NQN, hostnqn: id.HostNQN}
		if identity, named := params.Get(param.TLSKeyIdentity); named {
			u.identity = identity
			return u
		}
		if key := cfg.Secrets[ref][secret.TLS].Value; key.IsSet() {
			derived, err := psk.Derive(key, id.HostNQN, id.NQN)
			u.identity, u.unsure = derived.Identity, err != nil
		}
		return u
	}
	taken := map[string]bool{}
	for _, c := range cfg.Connections {
		id := c.Wish.TID
		id.Traddr = cmp.Or(id.Traddr, c.Host)
		u := user(id, c.Wish.Params, c.Wish.Secrets)
		taken[u.String()+u.hostnqn] = true
		if _, tls := c.Wish.Params.Get(param.TLS); tls {
			users = append(users, u)
		}
	}
	found, err := a.tlsFound(ctx)
	if err != nil {
		warnings = append(warnings, "what log pages name is left out: "+err.Error())
	}
	for _, f := range found {
		// By whichever discovery controller: [host] of a persona is known by its NQN.
		ref, ok := cfg.HostSecrets[f.hostnqn]
		if !ok {
			ref = cfg.Discovered.Secrets
		}
		u := user(tid.TID{Transport: f.transport, Traddr: f.traddr, Trsvcid: f.trsvcid, NQN: f.nqn, HostNQN: f.hostnqn}, cfg.Discovered.IO, ref)
		if !taken[u.String()+u.hostnqn] {
			users = append(users, u)
		}
	}
	return users, warnings
}

// tlsFound lists the connections that a log page requires a secure channel for.
func (a *app) tlsFound(ctx context.Context) (users []tlsUser, err error) {
	return users, a.withDaemon(ctx, func(c *client.Client) error {
		controllers, err := c.Controllers(ctx, "")
		if err != nil {
			return err
		}
		logs, err := c.DiscoveryLogs(ctx, "")
		if err != nil {
			return err
		}
		e := explainer{app: a, all: controllers, logs: logs}
		for _, controller := range controllers {
			requires := slices.ContainsFunc(e.reasons(controller), func(r reason) bool { return r.Entry != nil && r.Entry.SecureChannel })
			if requires {
				users = append(users, tlsUser{
					transport: controller.Transport, traddr: controller.Traddr, trsvcid: value(controller.Trsvcid), nqn: controller.Nqn, hostnqn: value(controller.Hostnqn),
				})
			}
		}
		return nil
	})
}

// printTLSKey prints one key.
func (a *app) printTLSKey(k tlsKey) {
	p := pairs{app: a, screen: a.screen(), width: 11}
	p.title(printable(k.Identity))
	if k.Version == nil {
		p.line("serial", k.Serial+", with an identity that is none of NVMe's", plain)
	} else {
		p.line("serial", fmt.Sprintf("%s, version %d, %s, HMAC %s", k.Serial, *k.Version, k.Kind, k.HMAC), plain)
		p.line("host", printable(k.HostNQN), plain)
		p.line("subsystem", printable(k.NQN), plain)
	}
	p.line("in use by", strings.Join(k.InUse, ", "), plain)
	for i, c := range k.Connections {
		p.line(heading("for", i), printable(c), plain)
	}
}
