// SPDX-License-Identifier: GPL-3.0-or-later

package config

import (
	"io/fs"
	"net/netip"
	"strings"
	"testing"

	"github.com/nvme-discoverd/nvme-discoverd/internal/secret"
)

// TestIndex looks up the positions of everything that TOML's syntax makes it hard to find.
func TestIndex(t *testing.T) {
	got, deep := newIndex(`# [not] = a section
top = """ " [x]
y = 1"" \""""  # "
a.b . "c d" = '''it's'''
dt = 1979-05-27 07:32:00 # ]
[ t ]
	"k\u0065y" = 'C:\'
[[l]]
x = [ 1, [2, { é = "}", z = 3 }],
  { "w" = 1 },	# a ]
]
[l.sub]
v = 1
[[l]]
x = 1
[[l.m]]
[l.sub]
`)
	key := func(keys ...string) path {
		var p path
		for _, k := range keys {
			p += "\x00" + path(k)
		}
		return p
	}
	diff(t, "too deep", position{}, deep)
	diff(t, "positions", index{
		key("top"):                              {2, 1},
		key("a"):                                {4, 1},
		key("a", "b"):                           {4, 1},
		key("a", "b", "c d"):                    {4, 1},
		key("dt"):                               {5, 1},
		key("t"):                                {6, 1},
		key("t", "key"):                         {7, 2},
		key("l"):                                {8, 1},
		key("l", "[0]"):                         {8, 1},
		key("l", "[0]", "x"):                    {9, 1},
		key("l", "[0]", "x", "[0]"):             {9, 7},
		key("l", "[0]", "x", "[1]"):             {9, 10},
		key("l", "[0]", "x", "[1]", "[0]"):      {9, 11},
		key("l", "[0]", "x", "[1]", "[1]"):      {9, 14},
		key("l", "[0]", "x", "[1]", "[1]", "é"): {9, 16},
		key("l", "[0]", "x", "[1]", "[1]", "z"): {9, 25},
		key("l", "[0]", "x", "[2]"):             {10, 3},
		key("l", "[0]", "x", "[2]", "w"):        {10, 5},
		key("l", "[0]", "sub"):                  {12, 1},
		key("l", "[0]", "sub", "v"):             {13, 1},
		key("l", "[1]"):                         {14, 1},
		key("l", "[1]", "x"):                    {15, 1},
		key("l", "[1]", "m"):                    {16, 1},
		key("l", "[1]", "m", "[0]"):             {16, 1},
		key("l", "[1]", "sub"):                  {17, 1},
	}, got)
}

// FuzzResolve feeds arbitrary text to the whole way from text to configuration.
func FuzzResolve(f *testing.F) {
	f.Fuzz(func(t *testing.T, text string) {
		fuzzResolve(t, parse("f", text, 0o600, tomlDialect, false), !strings.Contains(text, `\`)) // a key may be spelt with escapes that the index does not know
	})
}

// FuzzINI does the same for nvme-fabrics.conf.
func FuzzINI(f *testing.F) {
	f.Fuzz(func(t *testing.T, text string) {
		fuzzResolve(t, parse("f", text, 0o600, iniDialect, false), true)
	})
}

func fuzzResolve(t *testing.T, s *source, places bool) {
	if places {
		checkPlaces(t, s.doc.tables)
	}
	config := resolve([]*source{s}, identity{nqn: testNQN, id: testID}, secretReader{
		file:       func(secret.Key, string, bool) (secret.Value, error) { return secret.Value{}, fs.ErrNotExist },
		credential: func(secret.Key, string) (secret.Value, error) { return secret.Value{}, fs.ErrNotExist },
	}).Config
	for _, line := range append(s.found.errors.lines("f"), s.found.warnings.lines("f")...) {
		if !strings.HasPrefix(line, "f:") || strings.Contains(line, "\n") {
			t.Errorf("bad message %q", line)
		}
	}
	for _, c := range config.Connections {
		w := c.Wish
		if c.Host != "" {
			var err error
			if w, err = c.Wish.At(c.Host, netip.MustParseAddr("192.0.2.1")); err != nil && w.TID.HostTraddr != "" {
				t.Error(err)
			}
		}
		if strings.Contains(strings.Join(w.Args(), ""), ",") {
			t.Errorf("comma in %q", w.Args())
		}
	}
	if wrong, s := len(s.found.errors) > 0, config.Settings; !wrong && (s.MaxParallelConnects < 1 || s.ReconnectMaxDelay <= 0 || s.DisconnectTimeout <= 0 || s.EPCSDPollInterval <= 0) {
		t.Errorf("settings out of range: %+v", s)
	}
}

func checkPlaces(t *testing.T, tables []table) {
	for _, table := range tables {
		if table.at.line < 1 || table.at.column < 1 {
			t.Errorf("no position for table %q", table.title)
		}
		for _, e := range table.entries {
			if e.at.line < 1 || e.at.column < 1 {
				t.Errorf("no position for key %q", e.key)
			}
		}
		checkPlaces(t, table.controllers)
	}
}
