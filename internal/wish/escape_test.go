// SPDX-License-Identifier: GPL-3.0-or-later

package wish

import (
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestEscape(t *testing.T) {
	for _, test := range []struct{ name, args, want string }{
		{"nothing to do", `connect --nqn=nqn.a\x24b --idempotent`, `connect --nqn=nqn.a\x24b --idempotent`},
		{"dollar signs", `connect --nqn=nqn.$HOME${x}$ --traddr=a`, `connect --escaped --nqn=nqn.\x24HOME\x24{x}\x24 --traddr=a`},
		{"with the escape's own sign", `disconnect --nqn=\x24$\ --unit=a`, `disconnect --escaped --nqn=\x5cx24\x24\x5c --unit=a`},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := strings.Join(Escape(strings.Fields(test.args)), " "); got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
		})
	}
}

func TestUnescapeTakesBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		args := append([]string{"connect"}, rapid.SliceOf(rapid.StringMatching(`--[$\\x245c{}a]{0,9}`)).Draw(t, "args")...)
		got := Escape(args)
		if strings.Contains(strings.Join(got, " "), "$") {
			t.Errorf("%q has a dollar sign", got)
		}
		if back := Unescape(got); !slices.Equal(back, args) {
			t.Errorf("%q became %q", args, back)
		}
	})
}

func TestUnescapeLeaves(t *testing.T) {
	for _, args := range [][]string{nil, {"connect"}, {"--escaped"}, {"connect", `--nqn=\x24`}, {"connect", `--nqn=\x24`, "--escaped"}} {
		if got := Unescape(args); !slices.Equal(got, args) {
			t.Errorf("%q became %q", args, got)
		}
	}
}
