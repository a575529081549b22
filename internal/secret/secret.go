// SPDX-License-Identifier: GPL-3.0-or-later

// Package secret holds DH-HMAC-CHAP secrets and TLS keys without letting them out: a Value prints as "(secret)" in every
// form, and what is said of it is the place that it came from.
//
// Values are given in the interchange forms: "DHHC-1:xx:…:" (NVMe Base Specification 2.0, section 8.13.5.8) and
// "NVMeTLSkey-1:xx:…:" (NVMe/TCP Transport Specification 1.1, section 3.6.1.5).
package secret

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"log/slog"
	"slices"
	"strings"
)

// Key names one of the secrets of a connection.
type Key int

// The secrets, in the order in which they are listed.
const (
	DHChap     Key = iota // by which the host proves who it is
	DHChapCtrl            // by which the controller does
	TLS                   // the configured pre-shared key of TLS 1.3
	count
)

// key is what is known of one.
type key struct {
	name, prefix string
	lengths      [][]int // for each hash that the form names, of the key in bytes
}

// keys describes each: the name that the configuration and `nvme connect` have for it, and its form.
var keys = [count]key{
	DHChap:     {"dhchap-secret", "DHHC-1", dhchapLengths},
	DHChapCtrl: {"dhchap-ctrl-secret", "DHHC-1", dhchapLengths},
	// 01 is SHA-256 and 02 SHA-384, whose keys are as long as their output; 00 is a key that is used as it is.
	TLS: {"tls-key", "NVMeTLSkey-1", [][]int{{32, 48}, {32}, {48}}},
}

// dhchapLengths are those for no transformation, SHA-256, SHA-384 and SHA-512: the kernel takes any of them with any
// (drivers/nvme/common/auth.c, nvme_auth_extract_key).
var dhchapLengths = [][]int{{32, 48, 64}, {32, 48, 64}, {32, 48, 64}, {32, 48, 64}}

// Keys returns all of them in order.
func Keys() []Key { return []Key{DHChap, DHChapCtrl, TLS} }

// String returns the name of k.
func (k Key) String() string { return keys[k].name }

// ByName returns the secret called name, such as "tls-key".
func ByName(name string) (Key, bool) {
	for i, key := range keys {
		if key.name == name {
			return Key(i), true
		}
	}
	return 0, false
}

// hidden is how a Value shows itself.
const hidden = "(secret)"

// Value is a secret that was checked. The zero Value is none. The text is behind a pointer, since package fmt prints the
// fields of an unexported field without asking their methods.
type Value struct{ text *string }

// Parse checks text, the interchange form of k. The error never contains any of it.
func Parse(k Key, text string) (Value, error) {
	if _, _, err := decode(k, text); err != nil {
		return Value{}, err
	}
	return Value{&text}, nil
}

// Unseen stands for a secret that is there and was not looked at. It reveals no key: nothing can be connected with it.
func Unseen() Value {
	stand := hidden
	return Value{&stand}
}

// Reveal returns the interchange form, "" for none. It goes to the kernel and into root's own file, nowhere else.
func (v Value) Reveal() string {
	if v.text == nil {
		return ""
	}
	return *v.text
}

// IsSet tells whether there is a secret.
func (v Value) IsSet() bool { return v.text != nil }

// PSK returns the key in a TLS key and the number of the hash that it names, 0 for none, 1 for SHA-256, 2 for SHA-384. v
// must have been parsed as a TLS key.
func (v Value) PSK() (key []byte, hash int, err error) { return decode(TLS, v.Reveal()) }

// String, GoString and LogValue are how values are printed and logged: not at all.
func (Value) String() string       { return hidden }
func (Value) GoString() string     { return hidden }
func (Value) LogValue() slog.Value { return slog.StringValue(hidden) }

// MarshalText returns whether there is a secret, and nothing else of it: "" for none.
func (v Value) MarshalText() ([]byte, error) {
	if !v.IsSet() {
		return nil, nil
	}
	return []byte(hidden), nil
}

// UnmarshalText reads what MarshalText wrote. The Value is set if the one that was written was, and reveals no key: nothing can be
// connected with it.
func (v *Value) UnmarshalText(text []byte) error {
	switch string(text) {
	case "":
		*v = Value{}
	case hidden:
		*v = Unseen()
	default:
		return errors.New("cannot read a secret: recordings say only whether there is one")
	}
	return nil
}

var errForm = errors.New("it is damaged")

// decode takes an interchange form apart: prefix, number of a hash, base64 of the key and its CRC-32 (the polynomial of
// Ethernet, little endian), and a colon at the end.
func decode(k Key, text string) (key []byte, hash int, err error) {
	form := keys[k]
	parts := strings.Split(text, ":")
	switch {
	case parts[0] != form.prefix:
		return nil, 0, fmt.Errorf("it does not begin with %s", form.prefix+":")
	case len(parts) != 4 || parts[3] != "":
		return nil, 0, fmt.Errorf("%w: it must be %s:, two digits, a colon, base64 and a colon", errForm, form.prefix)
	case len(parts[1]) != 2 || parts[1][0] != '0' || parts[1][1] < '0' || int(parts[1][1]-'0') >= len(form.lengths):
		return nil, 0, fmt.Errorf("the two digits after %s: must be 00 to %02d", form.prefix, len(form.lengths)-1)
	}
	hash = int(parts[1][1] - '0')
	data, err := base64.StdEncoding.Strict().DecodeString(parts[2])
	if err != nil || strings.ContainsAny(parts[2], "\r\n") { // which the decoder passes over
		return nil, 0, fmt.Errorf("%w: what is between the last two colons is not base64", errForm)
	}
	if key = data[:max(0, len(data)-4)]; !slices.Contains(form.lengths[hash], len(key)) {
		return nil, 0, fmt.Errorf("%w: it holds %d bytes and a checksum, and %s:%s: is for %s", errForm, len(key), form.prefix, parts[1], alternatives(form.lengths[hash]))
	}
	if binary.LittleEndian.Uint32(data[len(key):]) != crc32.ChecksumIEEE(key) {
		return nil, 0, fmt.Errorf("%w: its checksum is wrong, so a part of it is", errForm)
	}
	return key, hash, nil
}

// alternatives is a list of numbers in words.
func alternatives(numbers []int) string {
	words := make([]string, len(numbers))
	for i, n := range numbers {
		words[i] = fmt.Sprint(n)
	}
	return strings.Join(words, " or ")
}

// Shows tells whether data has a secret in its interchange form in it, or what begins like one.
func Shows(data []byte) bool {
	return slices.ContainsFunc(keys[:], func(k key) bool { return bytes.Contains(data, []byte(k.prefix+":")) })
}

// HideInText returns text with the secrets hidden that are in it in their interchange form.
func HideInText(text string) string {
	for _, key := range keys {
		prefix := key.prefix + ":"
		before, rest, found := strings.Cut(text, prefix)
		for text = before; found; {
			var more string
			more, rest, found = strings.Cut(strings.TrimLeft(rest, "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ+/=:"), prefix)
			text += hidden + more
		}
	}
	return text
}

// HideInArgs returns a command with the secrets hidden that it may have: those of units that another program started. It returns argv
// itself where there is nothing to hide.
func HideInArgs(argv []string) []string {
	hiding := argv
	for i, arg := range argv {
		if hide := hideInArg(argv, i, arg); hide != arg {
			if &hiding[0] == &argv[0] {
				hiding = slices.Clone(argv)
			}
			hiding[i] = hide
		}
	}
	return hiding
}

// secretOptions are the options of nvme-cli, of all its versions, that take a secret.
var secretOptions = []string{"--dhchap-secret", "--dhchap-ctrl-secret", "--kxchap-secret", "--kxchap-ctrl-secret", "--tls-key", "-S", "-C"}

func hideInArg(argv []string, i int, arg string) string {
	if i > 0 && slices.Contains(secretOptions, argv[i-1]) && !strings.HasPrefix(arg, "-") {
		return hidden
	}
	for _, option := range secretOptions {
		if rest, ok := strings.CutPrefix(arg, option); ok && strings.HasPrefix(option, "--") && strings.HasPrefix(rest, "=") {
			return option + "=" + hidden
		}
	}
	return HideInText(arg)
}
