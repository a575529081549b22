// SPDX-License-Identifier: GPL-3.0-or-later

// Package fabrics talks to /dev/nvme-fabrics, the kernel's device that connects NVMe over Fabrics controllers: one option
// string written, one line read back (drivers/nvme/host/fabrics.c).
package fabrics

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"

	"github.com/nvme-discoverd/nvme-discoverd/internal/param"
	"github.com/nvme-discoverd/nvme-discoverd/internal/secret"
	"github.com/nvme-discoverd/nvme-discoverd/internal/tid"
	"github.com/nvme-discoverd/nvme-discoverd/internal/wish"
)

// baselineOptions returns the options that every kernel since 5.4 knows, in the form of ParseOptions. A connect that needs
// nothing else does not ask the kernel: reading the device takes the lock under which the kernel serialises its connects.
func baselineOptions() map[string]bool {
	known := map[string]bool{
		"transport": true, "traddr": true, "trsvcid": true, "nqn": true, "host_traddr": true, "hostnqn": true, "hostid": true,
	}
	for _, p := range param.All() {
		if info := p.Info(); info.Baseline {
			known[info.Kernel] = true
		}
	}
	return known
}

// ParseOptions returns the names of the options in the template that the device reads as before a controller was made:
// "instance=-1,cntlid=-1,transport=%s,traddr=%s,…,tls". What is no option name is skipped.
func ParseOptions(template []byte) map[string]bool {
	known := make(map[string]bool)
	for _, option := range strings.Split(strings.TrimSpace(string(template)), ",") {
		name, _, _ := strings.Cut(option, "=")
		if name != "" && strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789_") == "" {
			known[name] = true
		}
	}
	return known
}

// option is one option of the string; an option without a value is a switch.
type option struct {
	name, value string
	must        bool // the connection would not be the one that is wished for without it
	silent      bool // without it the kernel does the same, so that nobody needs to know
	hidden      bool // the value is a secret
}

// OptionString returns the string that connects w on a kernel that knows the options in known. What the kernel does not
// know is left out and named in dropped, in the kernel's spelling, for a warning; it is an error where that would connect
// something else than w: another controller, another host, or without the encryption that w asks for. A value that could
// end its option and begin another is an error too, whatever tid.New let through. What is returned holds the secrets of
// keys; the error does not.
func OptionString(w wish.Wish, keys Keys, known map[string]bool) (s string, dropped []string, err error) {
	if err := taken(w); err != nil {
		return "", nil, err
	}
	var b strings.Builder
	for _, o := range options(w, keys) {
		if i := strings.IndexFunc(o.value, endsOption); i >= 0 {
			if o.hidden {
				return "", nil, fmt.Errorf("cannot use %s: it contains a character that would end the option in the kernel's eyes", o.name)
			}
			return "", nil, fmt.Errorf("cannot use %s %q: it contains %q, which would end the option in the kernel's eyes", o.name, o.value, o.value[i])
		}
		if !known[o.name] {
			if o.must {
				return "", nil, &UnknownOptionError{w.TID, o.name}
			}
			if !o.silent {
				dropped = append(dropped, o.name)
			}
			continue
		}
		if b.Len() > 0 {
			b.WriteByte(',')
		}
		b.WriteString(o.name)
		if o.value != "" {
			b.WriteString("=" + o.value)
		}
	}
	return b.String(), dropped, nil
}

// taken tells why a connection by this transport cannot be the one that w asks for: it would go over another path, or without
// encryption. The other parameters that a transport does not take are left out, since defaults hold for all transports.
func taken(w wish.Wish) error {
	refuse := func(key string) error {
		return fmt.Errorf("cannot connect %s: transport %s takes no %s", w.TID, w.TID.Transport, key)
	}
	if w.TID.HostIface != "" && !tid.Takes(w.TID.Transport, "host-iface") {
		return refuse("host-iface")
	}
	for _, p := range param.Encrypting() {
		if _, on := w.Params.Get(p); on && !p.Info().On(w.TID.Transport) {
			return refuse(p.String())
		}
	}
	return nil
}

// discoveryOption makes the kernel treat the controller as a DC whatever its NQN.
const discoveryOption = "discovery"

// Keys are the secrets that the kernel is given for one connection.
type Keys struct {
	secret.Set
	tlsSerial int  // of the TLS key in a keyring, 0 for none
	mustKey   bool // no other key will do
	ring      int  // of the keyring that the wish names, 0 for none
	ownRing   bool // which is the one that the kernel takes anyway
}

// options lists what w asks for with keys.
func options(w wish.Wish, keys Keys) []option {
	var list []option
	add := func(name, value string, must bool) {
		if value != "" {
			list = append(list, option{name: name, value: value, must: must})
		}
	}
	t := w.TID
	add("transport", t.Transport, true)
	add("traddr", t.Traddr, true)
	add("trsvcid", t.Trsvcid, true)
	add("nqn", t.NQN, true)
	add("hostnqn", t.HostNQN, true)
	add("hostid", t.HostID, true)
	add("host_traddr", t.HostTraddr, true)
	add("host_iface", t.HostIface, true)
	for _, p := range param.All() {
		value, ok := w.Params.Get(p)
		info := p.Info()
		// Configured defaults hold for all transports, so what this one cannot have is left out without a word.
		if !ok || info.Form == param.Text || !info.On(t.Transport) {
			continue
		}
		if info.Form == param.Switch {
			value = ""
		}
		list = append(list, option{name: info.Kernel, value: value, must: info.Security == param.Encrypts})
	}
	for _, o := range []option{
		{name: "dhchap_secret", value: keys.Set[secret.DHChap].Value.Reveal(), must: true, hidden: true},
		{name: "dhchap_ctrl_secret", value: keys.Set[secret.DHChapCtrl].Value.Reveal(), must: true, hidden: true},
	} {
		if o.value != "" {
			list = append(list, o)
		}
	}
	if keys.tlsSerial != 0 { // without it the kernel looks for a key that goes with both NQNs
		list = append(list, option{name: param.TLSKeyIdentity.Info().Kernel, value: strconv.Itoa(keys.tlsSerial), must: keys.mustKey, silent: true})
	}
	if keys.ring != 0 {
		list = append(list, option{name: param.Keyring.Info().Kernel, value: strconv.Itoa(keys.ring), must: !keys.ownRing, silent: true})
	}
	if w.Kind == tid.Discovery {
		// Behind nqn: the kernel clears the mark when it comes to that option. The well-known NQN says the same alone.
		list = append(list, option{name: discoveryOption, must: t.NQN != tid.DiscoveryNQN, silent: true})
	}
	return list
}

// endsOption tells the characters that the kernel splits the string at (strsep on ",\n"), and others that no value has.
func endsOption(r rune) bool {
	return r == ',' || unicode.IsControl(r) || unicode.IsSpace(r) || r == unicode.ReplacementChar
}
