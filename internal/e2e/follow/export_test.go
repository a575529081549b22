// SPDX-License-Identifier: GPL-3.0-or-later

package follow

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// binaryField is a field as the export format writes it when its value is not plain text.
func binaryField(name, value string) string {
	return name + "\n" + string(binary.LittleEndian.AppendUint64(nil, uint64(len(value)))) + value + "\n"
}

// readAll reads entries until the end of the text or an error.
func readAll(text string) (entries []map[string]string, err error) {
	r := bufio.NewReader(strings.NewReader(text))
	for {
		entry := map[string]string{}
		if err = readExport(r, func(name, value string) { entry[name] = value }); err != nil {
			return entries, err
		}
		entries = append(entries, entry)
	}
}

func TestReadExport(t *testing.T) {
	text := "__CURSOR=s=1;i=2\nMESSAGE=a = b\nEMPTY=\n\n" + "\n" + binaryField("MESSAGE", "two\n\nlines\x1b") + "PRIORITY=6\n\n"
	got, err := readAll(text)
	want := []map[string]string{
		{"__CURSOR": "s=1;i=2", "MESSAGE": "a = b", "EMPTY": ""},
		{"MESSAGE": "two\n\nlines\x1b", "PRIORITY": "6"},
	}
	if diff := cmp.Diff(want, got); diff != "" || !errors.Is(err, io.EOF) {
		t.Errorf("error %v, entries (-want +got):\n%s", err, diff)
	}
}

func TestReadExportErrors(t *testing.T) {
	for _, test := range []struct{ name, text, want string }{
		{"cut in a line", "MESSAGE=x", "unexpected EOF"},
		{"cut between fields", "MESSAGE=x\n", "unexpected EOF"},
		{"cut in a length", "MESSAGE\n\x01\x00", `cannot read field "MESSAGE" of a journal entry: unexpected EOF`},
		{"cut in a value", "MESSAGE\n\x05\x00\x00\x00\x00\x00\x00\x00ab", `cannot read field "MESSAGE" of a journal entry: unexpected EOF`},
		{"too long", "MESSAGE\n" + strings.Repeat("\xff", 8), `cannot read field "MESSAGE" of a journal entry: length 18446744073709551615 is more than 805306368`},
		{"no end of line", binaryField("MESSAGE", "a")[:len("MESSAGE")+10] + "b", `cannot read field "MESSAGE" of a journal entry: byte 0x62 follows the value, not the end of the line`},
	} {
		t.Run(test.name, func(t *testing.T) {
			if _, err := readAll(test.text); err == nil || err.Error() != test.want {
				t.Errorf("got error %v, want %s", err, test.want)
			}
		})
	}
}

func FuzzReadExport(f *testing.F) {
	f.Add("__CURSOR=s=1;i=2\nMESSAGE=a\n\n" + binaryField("MESSAGE", "b\nc") + "\n")
	f.Add("MESSAGE\n\xff\xff\xff\xff\xff\xff\xff\x7f")
	f.Add("\n\n=\n\n")
	f.Fuzz(func(t *testing.T, text string) {
		entries, err := readAll(text)
		if err == nil {
			t.Error("the text has no end")
		}
		for _, entry := range entries {
			if len(entry) == 0 {
				t.Error("an entry has no field")
			}
		}
	})
}
