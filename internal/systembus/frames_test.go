// SPDX-License-Identifier: GPL-3.0-or-later

package systembus

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/godbus/dbus/v5"
	"github.com/google/go-cmp/cmp"

	"github.com/nvme-discoverd/nvme-discoverd/internal/systembus/systembustest"
)

// maxUnasked is what the tests let a message have.
const maxUnasked = 1 << 10

// encoded is a message of some type with a body as it is sent.
func encoded(kind dbus.Type, order binary.ByteOrder, body ...any) string {
	msg := &dbus.Message{Type: kind, Body: body, Headers: map[dbus.HeaderField]dbus.Variant{}}
	switch kind {
	case dbus.TypeSignal, dbus.TypeMethodCall:
		msg.Headers[dbus.FieldPath] = dbus.MakeVariant(dbus.ObjectPath("/a"))
		msg.Headers[dbus.FieldInterface] = dbus.MakeVariant("a.b")
		msg.Headers[dbus.FieldMember] = dbus.MakeVariant("C")
	case dbus.TypeMethodReply, dbus.TypeError:
		msg.Headers[dbus.FieldReplySerial] = dbus.MakeVariant(uint32(1))
		msg.Headers[dbus.FieldErrorName] = dbus.MakeVariant("a.b.C")
	}
	if len(body) > 0 {
		msg.Headers[dbus.FieldSignature] = dbus.MakeVariant(dbus.SignatureOf(body...))
	}
	var b bytes.Buffer
	if err := msg.EncodeTo(&b, order); err != nil {
		panic(err)
	}
	return b.String()
}

// stream is the other end of a connection that has sent all it sends.
type stream struct{ io.Reader }

func (stream) Write(p []byte) (int, error) { return len(p), nil }
func (stream) Close() error                { return nil }

// passed is what frames lets pass of what comes after the authentication, and what it logs.
func passed(r io.Reader) (read, journal string, err error) {
	var b strings.Builder
	log := slog.New(slog.NewTextHandler(&b, &slog.HandlerOptions{
		ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		},
	}))
	f := newFrames(stream{r}, maxUnasked, log)
	_, _ = f.Write([]byte("BEGIN\r\n"))
	all, err := io.ReadAll(f)
	return string(all), b.String(), err
}

func TestFrames(t *testing.T) {
	good := encoded(dbus.TypeSignal, binary.LittleEndian, uint32(7), "nvme-discoverd-a.service")
	big := encoded(dbus.TypeSignal, binary.BigEndian, strings.Repeat("x", 100000))
	call := encoded(dbus.TypeMethodCall, binary.LittleEndian)
	bigCall := encoded(dbus.TypeMethodCall, binary.LittleEndian, strings.Repeat("x", 9000))
	other := encoded(dbus.TypeSignal, binary.BigEndian, "x")
	answer := encoded(dbus.TypeMethodReply, binary.LittleEndian, strings.Repeat("x", 100000))
	refusal := encoded(dbus.TypeError, binary.LittleEndian, strings.Repeat("x", 100000))
	head := systembustest.Signal(":1.1", "s", nil)
	text := func(n int) string { // of n bytes in all
		n -= len(head) + 5
		return string(systembustest.WithBody(head, append(binary.LittleEndian.AppendUint32(nil, uint32(n)), strings.Repeat("x", n)+"\x00"...)))
	}
	full := text(maxUnasked)
	dict := systembustest.Signal(":1.1", "a{bs}", nil)
	empty, odd := string(systembustest.WithBody(dict, make([]byte, 8))), string(systembustest.WithBody(dict, []byte(systembustest.OddBody)))
	const ignoring = `level=WARN msg="ignoring a message on the system bus that is too long or cannot be decoded, and further ones without a word" `
	broken := func(at int, value byte) string {
		message := []byte(good)
		message[at] = value
		return string(message)
	}
	lengths := func(body, fields uint32) string {
		header := []byte(good[:fixedHeader])
		binary.LittleEndian.PutUint32(header[4:], body)
		binary.LittleEndian.PutUint32(header[12:], fields)
		return string(header)
	}
	for _, test := range []struct {
		name, sent, want, journal, err string
	}{
		{name: "nothing"},
		{name: "good ones", sent: good + good, want: good + good},
		{name: "the other byte order", sent: other + good, want: other + good},
		{name: "without a body", sent: call + good, want: call + good},
		{name: "as long as may be", sent: full + good, want: full + good},
		{name: "one byte more", sent: text(maxUnasked+1) + good, want: good, journal: ignoring + "type=signal bytes=1025\n"},
		{
			name: "big ones", sent: good + big + big + good + full + big + good,
			want: good + good + full + good, journal: ignoring + fmt.Sprintf("type=signal bytes=%d\n", len(big)),
		},
		{name: "a big call", sent: bigCall + good, want: good, journal: ignoring + fmt.Sprintf("type=\"method call\" bytes=%d\n", len(bigCall))},
		{name: "big answers", sent: answer + refusal + good, want: answer + refusal + good},
		{
			name: "what godbus cannot decode", sent: empty + odd + good,
			want: empty + good, journal: ignoring + fmt.Sprintf("type=signal bytes=%d\n", len(odd)),
		},
		{name: "another type", sent: broken(1, 5) + good, want: good, journal: ignoring + fmt.Sprintf("type=invalid bytes=%d\n", len(good))},
		{name: "another flag", sent: broken(2, 128) + good, want: good, journal: ignoring + fmt.Sprintf("type=signal bytes=%d\n", len(good))},
		{name: "cut short", sent: good + good[:len(good)-1], want: good},
		{name: "a big one cut short", sent: good + big[:len(big)-1], want: good, journal: ignoring + fmt.Sprintf("type=signal bytes=%d\n", len(big))},
		{name: "a header cut short", sent: good + good[:fixedHeader-1], want: good},
		{
			name: "no byte order", sent: good + broken(0, 'x'), want: good,
			err: `cannot read a D-Bus message: its byte order is 'x', neither 'l' nor 'B'`,
		},
		{name: "another protocol", sent: good + broken(3, 2), want: good, err: "cannot read a D-Bus message: its protocol is version 2, not 1"},
		{
			name: "too long", sent: good + lengths(1<<27-15, 0), want: good,
			err: "cannot read a D-Bus message: it has 134217729 bytes, 0 of them fields of the header; at most 134217728 and 67108864 are allowed",
		},
		{
			name: "a header that is too long", sent: good + lengths(0, 1<<26+1), want: good,
			err: "cannot read a D-Bus message: it has 67108888 bytes, 67108865 of them fields of the header; at most 134217728 and 67108864 are allowed",
		},
		{
			name: "lengths that overflow", sent: good + lengths(1<<32-1, 1<<32-1), want: good,
			err: "cannot read a D-Bus message: it has 8589934607 bytes, 4294967295 of them fields of the header; at most 134217728 and 67108864 are allowed",
		},
	} {
		if test.err != "" {
			test.journal = fmt.Sprintf("level=WARN msg=\"the system bus sends what is no message; connecting to it anew\" error=%q\n", test.err)
		}
		for how, r := range map[string]io.Reader{
			"at once":        strings.NewReader(test.sent),
			"byte by byte":   iotest.OneByteReader(strings.NewReader(test.sent)),
			"in other parts": iotest.HalfReader(strings.NewReader(test.sent)),
		} {
			got, journal, err := passed(r)
			text := ""
			if err != nil {
				text = err.Error()
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("%s, %s: other messages (-want +got):\n%s", test.name, how, diff)
			}
			if diff := cmp.Diff(test.journal, journal); diff != "" {
				t.Errorf("%s, %s: another log (-want +got):\n%s", test.name, how, diff)
			}
			if text != test.err {
				t.Errorf("%s, %s: ends with %q, want %q", test.name, how, text, test.err)
			}
		}
	}
}

// TestFramesBegin reads what is said before the messages as it comes.
func TestFramesBegin(t *testing.T) {
	good := encoded(dbus.TypeSignal, binary.LittleEndian, "x")
	f := newFrames(stream{iotest.OneByteReader(strings.NewReader("REJECTED EXTERNAL\r\nOK 1234\r\n" + good))}, maxUnasked, slog.New(slog.DiscardHandler))
	_, _ = f.Write([]byte("AUTH EXTERNAL\r\n"))
	lines := make([]byte, len("REJECTED EXTERNAL\r\nOK 1234\r\n"))
	if _, err := io.ReadFull(f, lines); err != nil || string(lines) != "REJECTED EXTERNAL\r\nOK 1234\r\n" {
		t.Errorf("read %q, %v", lines, err)
	}
	_, _ = f.Write([]byte("BEGIN\r\n"))
	if all, err := io.ReadAll(f); err != nil || string(all) != good {
		t.Errorf("read %q, %v, want %q", all, err, good)
	}
}

// FuzzFrames puts anything between two good messages.
func FuzzFrames(f *testing.F) {
	good := encoded(dbus.TypeSignal, binary.LittleEndian, "x")
	f.Fuzz(func(t *testing.T, data []byte) {
		whole := data
		for len(whole) >= fixedHeader {
			n, err := messageLength(whole)
			if err != nil || n > len(whole) {
				break
			}
			whole = whole[n:]
		}
		got, _, _ := passed(strings.NewReader(good + string(data) + good))
		if !strings.HasPrefix(got, good) {
			t.Fatalf("the first message is lost in %q", got)
		}
		if len(whole) == 0 && (!strings.HasSuffix(got, good) || len(got) < 2*len(good)) {
			t.Fatalf("the last message is lost in %q", got)
		}
		for len(got) > 0 {
			n, err := messageLength([]byte(got + strings.Repeat("\x00", fixedHeader))[:fixedHeader])
			if err != nil {
				t.Fatalf("no message has passed: %v", err)
			}
			kind := dbus.Type(got[1])
			if kind == dbus.TypeMethodReply || kind == dbus.TypeError {
				got = got[min(n, len(got)):]
				continue
			}
			if n > maxUnasked || n > len(got) || !decodes([]byte(got[:n])) {
				t.Fatalf("passed although it is too long or cannot be decoded: %q", got[:min(n, len(got))])
			}
			got = got[n:]
		}
	})
}
