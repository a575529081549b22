package param

import (
	"strings"
	"testing"
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
		{KeepAliveTMO, "30s", "", `cannot set keep-alive-tmo to "30s": it must be a number from 0 to 2147483647`},
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

func TestByName(t *testing.T) {
	for _, p := range All() {
		if got, ok := ByName(p.String()); !ok || got != p {
			t.Errorf("ByName(%s) = %v, %v", p, got, ok)
		}
		if (p.Info().Kernel == "") != p.Info().Text || p.Info().Help == "" {
			t.Errorf("%s lacks its kernel name or help", p)
		}
	}
	if _, ok := ByName("dhchap-secret"); ok {
		t.Error("a secret is a parameter: it would reach a command line")
	}
}

// What a parameter takes cannot end one option of the kernel's string and begin another, and is taken again as it is.
func FuzzWith(f *testing.F) {
	f.Add("ctrl-loss-tmo", "-1")
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
		if p.Info().Text { // it does not reach that string
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
