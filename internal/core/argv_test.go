// SPDX-License-Identifier: GPL-3.0-or-later

package core

import (
	"strings"
	"testing"

	"github.com/nvme-discoverd/nvme-discoverd/internal/tid"
	"github.com/nvme-discoverd/nvme-discoverd/internal/wish"
)

// FuzzTIDOf reads the commands of units, which another version, nvme-cli's daemon or a person may have made: what is taken
// from one as a TID is spelt the same in a command of ours.
func FuzzTIDOf(f *testing.F) {
	f.Add("/usr/sbin/nvme-discoverctl\x00connect\x00--transport=tcp\x00--traddr=192.0.2.1\x00--trsvcid=4420\x00--nqn=nqn.a=b\x00--idempotent")
	f.Add("/usr/sbin/nvme\x00connect\x00-t\x00tcp\x00--traddr\x00192.0.2.1")
	f.Add("/bin/true\x00--\x00----nqn==\x00--=")
	f.Add("")
	f.Fuzz(func(t *testing.T, command string) {
		argv := strings.Split(command, "\x00")
		for _, kind := range []tid.Kind{tid.IO, tid.Discovery} {
			id, err := tid.New(tidOf(argv), kind)
			if err != nil {
				continue
			}
			w := wish.Wish{Kind: kind, TID: id, Owner: wish.OwnerDiscoverd}
			if again := tidOf(argvOf(w)); again != id {
				t.Errorf("%q: %v became %v", argv, id, again)
			}
			if !startedAs(append(argvOf(w), "--unit=u"), w) {
				t.Errorf("%q: a unit for %v is not taken for one", argv, id)
			}
		}
		startedAs(argv, wish.Wish{})
	})
}
