// SPDX-License-Identifier: GPL-3.0-or-later

package cli

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/nvme-discoverd/nvme-discoverd/internal/psk"
	"github.com/nvme-discoverd/nvme-discoverd/internal/secret"
	"github.com/nvme-discoverd/nvme-discoverd/internal/state"
)

// secretState says of a secret that the unit of a connection has whether the controller is connected with it.
type secretState struct {
	Key  string `json:"key"`
	From string `json:"from"`
	Next bool   `json:"next"` // the controller is connected with another one: this one is used at the next connect
}

// secrets compares what a unit has with what its controller, device, was connected with. Only root can see either; for others the list is empty.
func (e *explainer) secrets(unit, device string) ([]secretState, error) {
	set, err := state.New(e.root).Secrets(unit)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, fs.ErrPermission):
		return nil, nil
	case err != nil:
		return nil, err
	}
	attribute := func(name string) string {
		text, err := os.ReadFile(filepath.Join(e.root.SysClassNVMe(), device, name))
		if err != nil {
			return "" // this kernel does not say
		}
		return strings.TrimSpace(string(text))
	}
	var list []secretState
	for _, k := range secret.Keys() {
		s := set[k]
		if !s.Value.IsSet() {
			continue
		}
		now := secretState{Key: k.String(), From: s.From}
		switch k {
		case secret.DHChap:
			used := attribute("dhchap_secret")
			now.Next = used != "" && used != s.Value.Reveal()
		case secret.DHChapCtrl:
			used := attribute("dhchap_ctrl_secret")
			now.Next = used != "" && used != s.Value.Reveal()
		case secret.TLS:
			serial, err := strconv.ParseInt(attribute("tls_key"), 16, 32)
			if err != nil { // it is not connected with TLS
				continue
			}
			// A key is for the NQN that was connected, which may have been the well-known one of discovery; one that an authentication
			// made is no configured one.
			used, err := e.keyIdentity(int(serial))
			id, unknown := psk.ParseIdentity(used)
			if err != nil || unknown != nil || id.Kind == psk.Generated {
				break
			}
			derived, failed := psk.Derive(s.Value, id.HostNQN, id.NQN)
			now.Next = failed == nil && used != derived.Identity
		}
		list = append(list, now)
	}
	return list, nil
}

// secretText says where a secret comes from, and whether it is in use.
func secretText(s secretState) string {
	text := s.Key + " from " + printable(s.From)
	if s.Next {
		text += ": it has changed since this connection was made, and is used at the next connect"
	}
	return text
}
