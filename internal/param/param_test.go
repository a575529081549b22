// SPDX-License-Identifier: GPL-3.0-or-later

package param

import (
	"strconv"
	"strings"
	"testing"

	"github.com/nvme-discoverd/nvme-discoverd/internal/tid"
)

func TestWith(t *testing.T) {
	for _, tt := range []struct {
		param     Param
		value     string
		want, err string
	}{
		{KeepAliveTMO, "30", "30", ""},
		{CtrlLossTMO, "-1", "-1", ""},
		{CtrlLossTMO, "", "", ""},
		{NrIOQueues, "08", "8", ""},
		{HdrDigest, "yes", "true", ""},
		{HdrDigest, "off", "", ""},
		{HdrDigest, "TRUE", "true", ""},
		{HdrDigest, "On", "true", ""},
		{HdrDigest, "No", "", ""},
		{HdrDigest, "maybe", "", `cannot set hdr-digest to "maybe": it must be true or false`},
		{KeepAliveTMO, "30s", "30", ""},
		{CtrlLossTMO, "1h 30min", "5400", ""},
		{CtrlLossTMO, "infinity", "-1", ""},
		{ReconnectDelay, "1.5min", "90", ""},
		{KeepAliveTMO, "infinity", "", `cannot set keep-alive-tmo to "infinity": it must be whole seconds from 0 to 2147483647, as a number or a span of time such as 10min`},
		{ReconnectDelay, "0", "", `cannot set reconnect-delay to "0": it must be whole seconds from 1 to 2147483647, as a number or a span of time such as 10min`},
		{FastIOFailTMO, "1500ms", "", `cannot set fast-io-fail-tmo to "1500ms": it must be whole seconds from -1 to 2147483647, as a number or a span of time such as 10min, or infinity`},
		{KeepAliveTMO, "100y", "", `cannot set keep-alive-tmo to "100y": it must be whole seconds from 0 to 2147483647, as a number or a span of time such as 10min`},
		{QueueSize, "1min", "", `cannot set queue-size to "1min": it must be a number from 16 to 1024`},
		{QueueSize, "4", "", `cannot set queue-size to "4": it must be a number from 16 to 1024`},
		{TLSKeyIdentity, "NVMe1R01 nqn.a nqn.b,c c2VjcmV0=", "NVMe1R01 nqn.a nqn.b,c c2VjcmV0=", ""},
		{Keyring, ".nvme", ".nvme", ""},
		{Keyring, "a ", "", `cannot set keyring to "a ": it must be at most 1024 printable characters, without white space around them`},
		{TLSKeyIdentity, "a\nb", "", `cannot set tls-key-identity to "a\nb": it must be at most 1024 printable characters, without white space around them`},
		{TOS, "256", "", `cannot set tos to "256": it must be a number from 0 to 255`},
	} {
		set, err := Set{}.With(tt.param, tt.value)
		msg := ""
		if err != nil {
			msg = err.Error()
		}
		if got, ok := set.Get(tt.param); got != tt.want || ok != (tt.want != "") || msg != tt.err {
			t.Errorf("%v = %q: %q, %v, error %q; want %q, error %q", tt.param, tt.value, got, ok, msg, tt.want, tt.err)
		}
	}
}

func TestSetsCompare(t *testing.T) {
	a, _ := Set{}.With(TOS, "7")
	b, _ := Set{}.With(TOS, "07")
	if a != b {
		t.Error("two spellings of one value differ")
	}
	reset, _ := a.With(TOS, "")
	if reset != (Set{}) {
		t.Error("an empty value does not reset")
	}
}

// Each row makes sense by itself, and no two rows have one name.
func TestTable(t *testing.T) {
	names := map[string]Param{}
	for _, p := range All() {
		info := p.Info()
		if info.Name == "" || info.Kernel == "" || info.Help == "" || info.Form.String() == "" {
			t.Errorf("%s lacks its name, kernel name, help or form", p)
		}
		for _, name := range []string{"--" + info.Name, info.Kernel + "=", "-" + info.Letter, "stas " + info.STAS} {
			if other, taken := names[name]; taken && name != "-" && name != "stas " {
				t.Errorf("%s and %s are both called %s", other, p, name)
			}
			names[name] = p
		}
		if bounded := info.Min < info.Max; bounded == (info.Form == Switch) || info.Form == Text && info.Min != 0 {
			t.Errorf("%s has bounds %d and %d", p, info.Min, info.Max)
		}
		switch info.Security {
		case None:
		case Encrypts:
			if info.Form != Switch || info.Baseline {
				t.Errorf("%s encrypts and is not a switch that each kernel is asked for", p)
			}
		case NamesKey:
			if info.Form != Text {
				t.Errorf("%s is not the name of a key", p)
			}
		}
		for _, kind := range []tid.Kind{tid.IO, tid.Discovery} {
			set, err := Set{}.With(p, info.Default[kind])
			got, _ := set.Get(p)
			if def, _ := Defaults(kind).Get(p); err != nil || got != info.Default[kind] || def != got {
				t.Errorf("%s of %s controllers is %q in the table, %q in their defaults and %q when it is set, %v", p, kind, info.Default[kind], def, got, err)
			}
		}
	}
}

// What a number or a span of time may be is what its row says.
func TestBounds(t *testing.T) {
	for _, p := range All() {
		info := p.Info()
		if !info.Form.IsNumber() {
			continue
		}
		for n, want := range map[int]bool{info.Min - 1: false, info.Min: true, info.Max: true, info.Max + 1: false} {
			set, err := Set{}.With(p, strconv.Itoa(n))
			if got, _ := set.Get(p); (err == nil) != want || want && got != strconv.Itoa(n) {
				t.Errorf("%s = %d: %q, %v", p, n, got, err)
			}
		}
		set, err := Set{}.With(p, "2min")
		if got, _ := set.Get(p); (err == nil) != (info.Form == Seconds) || err == nil && got != "120" {
			t.Errorf("%s = 2min: %q, %v", p, got, err)
		}
	}
}

func TestUsage(t *testing.T) {
	for p, want := range map[Param]string{
		CtrlLossTMO: "time after which the kernel gives a lost controller up, -1 never; in seconds, or as in 10min (tcp, rdma, fc)",
		TOS:         "IP type of service, 0 to 255 (tcp, rdma)",
		TLS:         "TLS 1.3 (tcp)",
		Keyring:     "name or serial number of the keyring for TLS keys, default .nvme (tcp)",
	} {
		if got := p.Info().Usage(); got != want {
			t.Errorf("%s: %q, want %q", p, got, want)
		}
	}
}

func TestByName(t *testing.T) {
	for _, p := range All() {
		if got, ok := ByName(p.String()); !ok || got != p {
			t.Errorf("ByName(%s) = %v, %v", p, got, ok)
		}
	}
	if _, ok := ByName("dhchap-secret"); ok {
		t.Error("a secret is a parameter: it would reach a command line")
	}
}

// What a parameter takes cannot end one option of the kernel's string and begin another, and is taken again as it is.
func FuzzWith(f *testing.F) {
	f.Add("ctrl-loss-tmo", "-1")
	f.Add("keep-alive-tmo", "1h 30min")
	f.Add("tls", "Yes")
	f.Add("queue-size", "1,tls")
	f.Add("tls-key-identity", "NVMe1R01 nqn.a nqn.b c2VjcmV0=")
	f.Fuzz(func(t *testing.T, name, value string) {
		p, ok := ByName(name)
		if !ok {
			return
		}
		set, err := Set{}.With(p, value)
		if err != nil {
			return
		}
		got, _ := set.Get(p)
		if p.Info().Form == Text { // it does not reach that string
			if again, err := (Set{}).With(p, got); err != nil || again != set {
				t.Errorf("%q does not come back: %v", got, err)
			}
			return
		}
		if strings.Trim(got, "-0123456789") != "" && got != "true" {
			t.Errorf("%s: %q became %q", name, value, got)
		}
		if again, err := (Set{}).With(p, got); err != nil || again != set {
			t.Errorf("%s: %q is not taken again: %v", name, got, err)
		}
	})
}

// A Set comes back from its text, and a text that is no set is refused.
func TestText(t *testing.T) {
	want := Defaults(tid.Discovery)
	want, err := want.With(Keyring, "a; b=c")
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []Set{{}, want} {
		text, err := s.MarshalText()
		if err != nil {
			t.Fatal(err)
		}
		var back Set
		if err := back.UnmarshalText(text); err != nil || back != s {
			t.Errorf("%q comes back as %v, %v", text, back, err)
		}
	}
	for _, bad := range []string{"colour=red", "queue-size=1"} {
		if err := new(Set).UnmarshalText([]byte(bad)); err == nil {
			t.Errorf("%q is read", bad)
		}
	}
}
