// SPDX-License-Identifier: GPL-3.0-or-later

package secret

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// form makes an interchange form of a key of n bytes.
func form(prefix, hash string, n int) string {
	key := bytes.Repeat([]byte{'k'}, n)
	key = binary.LittleEndian.AppendUint32(key, crc32.ChecksumIEEE(key))
	return prefix + ":" + hash + ":" + base64.StdEncoding.EncodeToString(key) + ":"
}

func TestParse(t *testing.T) {
	good := form("DHHC-1", "01", 32)
	for _, test := range []struct {
		name string
		key  Key
		text string
		err  string
	}{
		{"libnvme's", TLS, "NVMeTLSkey-1:01:VRLbtnN9AQb2WXW3c9+wEf/DRLz0QuLdbYvEhwtdWwNf9LrZ:", ""},
		{"host", DHChap, good, ""},
		{"controller", DHChapCtrl, form("DHHC-1", "03", 64), ""},
		{"another length than the hash's", DHChap, form("DHHC-1", "00", 48), ""},
		{"TLS", TLS, form("NVMeTLSkey-1", "02", 48), ""},
		{"TLS as it is", TLS, form("NVMeTLSkey-1", "00", 48), ""},
		{"nothing", DHChap, "", "it does not begin with DHHC-1:"},
		{"one for the other", TLS, good, "it does not begin with NVMeTLSkey-1:"},
		{"cut off", DHChap, strings.TrimSuffix(good, ":"), "it is damaged: it must be DHHC-1:, two digits, a colon, base64 and a colon"},
		{"more behind", DHChap, good + "x", "it is damaged: it must be DHHC-1:, two digits, a colon, base64 and a colon"},
		{"hash", DHChap, form("DHHC-1", "04", 32), "the two digits after DHHC-1: must be 00 to 03"},
		{"hash of TLS", TLS, form("NVMeTLSkey-1", "03", 64), "the two digits after NVMeTLSkey-1: must be 00 to 02"},
		{"one digit", DHChap, form("DHHC-1", "1", 32), "the two digits after DHHC-1: must be 00 to 03"},
		{"no base64", DHChap, "DHHC-1:00:secret!:", "it is damaged: what is between the last two colons is not base64"},
		{"broken line", DHChap, strings.Replace(good, "a", "a\n", 1), "it is damaged: what is between the last two colons is not base64"},
		{"short", DHChap, "DHHC-1:00:c2U=:", "it is damaged: it holds 0 bytes and a checksum, and DHHC-1:00: is for 32 or 48 or 64"},
		{"length", TLS, form("NVMeTLSkey-1", "01", 48), "it is damaged: it holds 48 bytes and a checksum, and NVMeTLSkey-1:01: is for 32"},
		{"checksum", DHChap, strings.Replace(good, "a2tr", "a2ts", 1), "it is damaged: its checksum is wrong, so a part of it is"},
	} {
		t.Run(test.name, func(t *testing.T) {
			v, err := Parse(test.key, test.text)
			if got := errorText(err); got != test.err {
				t.Fatalf("error %q, want %q", got, test.err)
			}
			if want := test.text; err == nil && (v.Reveal() != want || !v.IsSet()) || err != nil && v.IsSet() {
				t.Errorf("it reveals %q", v.Reveal())
			}
		})
	}
}

// Whatever prints a value, alone or in something else, does not show it.
func TestHidden(t *testing.T) {
	const text = "NVMeTLSkey-1:01:VRLbtnN9AQb2WXW3c9+wEf/DRLz0QuLdbYvEhwtdWwNf9LrZ:"
	v, err := Parse(TLS, text)
	if err != nil {
		t.Fatal(err)
	}
	type deep struct{ inner Set }
	set := Set{TLS: {v, "/etc/nvme/key"}}
	var out strings.Builder
	for _, x := range []any{v, &v, set, &set, deep{set}, map[string]deep{"x": {set}}, []Value{v}} {
		fmt.Fprintf(&out, "%v %+v %#v %s %q %x %d\n", x, x, x, x, x, x, x)
		if data, err := json.Marshal(x); err == nil {
			out.Write(data)
		}
		slog.New(slog.NewTextHandler(&out, nil)).Info("text", "x", x)
		slog.New(slog.NewJSONHandler(&out, nil)).Info("JSON", "x", x)
	}
	for _, part := range []string{"NVMeTLSkey", "VRLbtnN9", fmt.Sprintf("%x", "NVMe")} {
		if strings.Contains(out.String(), part) {
			t.Errorf("%q is printed:\n%s", part, out.String())
		}
	}
	if got := fmt.Sprintf("%v|%#v|%s", v, v, set); got != "(secret)|(secret)|tls-key from /etc/nvme/key" {
		t.Error(got)
	}
}

func TestReadFile(t *testing.T) {
	good := form("DHHC-1", "01", 32)
	dir := t.TempDir()
	file := func(text string, mode os.FileMode) string {
		path := filepath.Join(dir, fmt.Sprintf("%x", crc32.ChecksumIEEE([]byte(text+mode.String()))))
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	fifo := filepath.Join(dir, "fifo")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name, path string
		readable   bool
		err        string
	}{
		{"good", file(good+"\n", 0o600), false, ""},
		{"no line feed", file(good, 0o400), false, ""},
		{"of another system", file("\ufeff"+good+"\r\n", 0o600), false, ""},
		{"world-readable", file(good, 0o644), false, "its mode 0644 lets others than its owner at the secret: chmod 600 it"},
		{"group-readable", file(good, 0o640), false, "its mode 0640 lets others than its owner at the secret: chmod 600 it"},
		{"world-writable", file(good, 0o602), false, "its mode 0602 lets others than its owner at the secret: chmod 600 it"},
		{"readable by permission", file(good+" ", 0o644), true, ""},
		{"missing", filepath.Join(dir, "none"), false, "no such file or directory"},
		{"directory", dir, false, "it is not a regular file"},
		{"FIFO", fifo, false, "it is not a regular file"},
		{"empty", file("\n\n", 0o600), false, "it is empty"},
		{"two lines", file(good+"\n"+good, 0o600), false, "it has more than one line: it must hold the secret and nothing else"},
		{"large", file(strings.Repeat("x", maxFile+1), 0o600), false, "it is larger than 1024 bytes: it must hold the secret and nothing else"},
		{"no secret", file("hunter2", 0o600), false, "it does not begin with DHHC-1:"},
	} {
		t.Run(test.name, func(t *testing.T) {
			v, err := ReadFile(DHChap, test.path, test.readable)
			if got := errorText(err); got != test.err {
				t.Fatalf("error %q, want %q", got, test.err)
			}
			if err == nil && v.Reveal() != good {
				t.Errorf("it reveals %q", v.Reveal())
			}
		})
	}
}

func TestDecode(t *testing.T) {
	v, err := Parse(DHChap, form("DHHC-1", "01", 32))
	if err != nil {
		t.Fatal(err)
	}
	s := Set{DHChap: {v, "/etc/nvme/discoverd.conf:3"}}
	got, err := Decode(s.Encode())
	if err != nil || got.String() != s.String() || got[DHChap].Value.Reveal() != v.Reveal() {
		t.Errorf("%v, %v", got, err)
	}
	if s.Empty() || !(Set{}).Empty() {
		t.Error("Empty is wrong")
	}
	for _, test := range []struct{ text, err string }{
		{"", "it is not what nvme-discoverd writes there"},
		{`{"tls-key":"NVMeTLSkey-1:01"}`, "it is not what nvme-discoverd writes there"},
		{`{"password":{}}`, "it holds something that this version does not know"},
		{`{"tls-key":{"value":"hunter2"}}`, "tls-key in it cannot be used: it does not begin with NVMeTLSkey-1:"},
	} {
		if _, err := Decode([]byte(test.text)); errorText(err) != test.err {
			t.Errorf("%s: error %q, want %q", test.text, errorText(err), test.err)
		}
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// FuzzParse: what is accepted is safe to write to the kernel as an option, and what is not is not quoted.
func FuzzParse(f *testing.F) {
	f.Add(0, form("DHHC-1", "01", 32))
	f.Add(1, form("DHHC-1", "03", 64))
	f.Add(2, "NVMeTLSkey-1:01:VRLbtnN9AQb2WXW3c9+wEf/DRLz0QuLdbYvEhwtdWwNf9LrZ:")
	f.Add(0, "DHHC-1:00:,tls:")
	f.Add(2, "NVMeTLSkey-1::::")
	f.Fuzz(func(t *testing.T, k int, text string) {
		key := Keys()[uint(k)%uint(len(Keys()))]
		v, err := Parse(key, text)
		if err != nil {
			if len(text) > 24 && strings.Contains(err.Error(), text) {
				t.Errorf("the error quotes it: %v", err)
			}
			return
		}
		if v.Reveal() != text || strings.ContainsAny(text, ", \r\n\x00") || len(text) > 107 {
			t.Errorf("accepted: %q", text)
		}
		var set Set
		set[key] = Secret{v, text}
		again, err := Decode(set.Encode())
		if err != nil || again[key].Value.Reveal() != text {
			t.Errorf("%q does not come back: %v", text, err)
		}
	})
}

// FuzzDecode: the file of a unit, whatever is in it.
func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"dhchap-secret":{"value":"x","from":"y"}}`))
	f.Add([]byte(`{}`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := Decode(data)
		if err == nil {
			if _, err := Decode(s.Encode()); err != nil {
				t.Error(err)
			}
		}
	})
}

// A Value written as text says whether there is a secret, and nothing of it; what comes back reveals none.
func TestTextSaysWhether(t *testing.T) {
	set, err := Parse(DHChap, form("DHHC-1", "01", 32))
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range []Value{{}, set} {
		text, err := v.MarshalText()
		if err != nil || strings.Contains(string(text), "DHHC") {
			t.Fatalf("%q, %v", text, err)
		}
		var back Value
		if err := back.UnmarshalText(text); err != nil || back.IsSet() != v.IsSet() || strings.Contains(back.Reveal(), "DHHC") {
			t.Errorf("%q comes back as set %v, %v", text, back.IsSet(), err)
		}
	}
	if err := new(Value).UnmarshalText([]byte("DHHC-1:00:x:")); err == nil {
		t.Error("a secret in plain text is read")
	}
}

func TestHideInArgs(t *testing.T) {
	plain := []string{"nvme", "connect", "--nqn=n", "--tls-key", "--traddr=192.0.2.1", "--concat"}
	if got := HideInArgs(plain); !slices.Equal(got, plain) {
		t.Errorf("hidden without need: %q", got)
	}
	argv := []string{"nvme", "connect", "--dhchap-secret=DHHC-1:00:YWJj:", "-C", "DHHC-1:00:ZGVm:", "--tls_key=NVMeTLSkey-1:01:Z2hp:", "--kxchap-secret=x"}
	got := HideInArgs(argv)
	if want := []string{"nvme", "connect", "--dhchap-secret=(secret)", "-C", "(secret)", "--tls_key=(secret)", "--kxchap-secret=(secret)"}; !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
	if argv[2] != "--dhchap-secret=DHHC-1:00:YWJj:" {
		t.Error("the command itself was changed")
	}
}

func TestHideInText(t *testing.T) {
	for text, want := range map[string]string{
		"":                                "",
		"DHHC-1:00:YWJj:":                 "(secret)",
		"a DHHC-1:00:YWJj:, DHHC-1:x b":   "a (secret), (secret) b",
		"x NVMeTLSkey-1:01:Z2hp: DHHC-1:": "x (secret) (secret)",
	} {
		if got := HideInText(text); got != want {
			t.Errorf("%q becomes %q", text, got)
		}
		if Shows([]byte(text)) != (text != "") || Shows([]byte(want)) {
			t.Errorf("whether %q shows a secret is not seen", text)
		}
	}
}
