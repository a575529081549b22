// SPDX-License-Identifier: GPL-3.0-or-later

package timespan

import (
	"testing"
	"time"
)

func TestParse(t *testing.T) {
	for _, test := range []struct {
		text string
		want time.Duration
		err  string
	}{
		{text: "0"},
		{text: "90", want: 90 * time.Second},
		{text: " 5min ", want: 5 * time.Minute},
		{text: "5 min", want: 5 * time.Minute},
		{text: "72h", want: 72 * time.Hour},
		{text: "3days 5hours", want: 77 * time.Hour},
		{text: "1h30min", want: 90 * time.Minute},
		{text: "1.5h", want: 90 * time.Minute},
		{text: ".5s", want: 500 * time.Millisecond},
		{text: "2 3min", want: 3*time.Minute + 2*time.Second},
		{text: "1y 1month 1w 1d 1us", want: 31557600*time.Second + 2629800*time.Second + 8*24*time.Hour + time.Microsecond},
		{text: "1M 1m", want: 2629800*time.Second + time.Minute},
		{text: "infinity", want: Infinity},
		{text: "", err: "it is empty"},
		{text: "h", err: `"" is not a number`},
		{text: "-1", err: `"" is not a number`},
		{text: "5 minuten", err: `it has no unit of time "minuten"`},
		{text: "1.2.3s", err: `"1.2.3" is not a number`},
		{text: "infinity 1s", err: `it has no unit of time "infinity"`},
		{text: "293y", err: "it is longer than 292 years"},
		{text: "200y 200y", err: "it is longer than 292 years"},
		{text: "99999999999999999999999999", err: "it is longer than 292 years"},
	} {
		got, err := Parse(test.text)
		message := ""
		if err != nil {
			message = err.Error()
		}
		if message != test.err || got != test.want {
			t.Errorf("%q: %v, error %q; want %v, error %q", test.text, got, message, test.want, test.err)
		}
	}
}

func TestFormat(t *testing.T) {
	for want, d := range map[string]time.Duration{
		"0s": 0, "72h": 72 * time.Hour, "5min": 5 * time.Minute, "90s": 90 * time.Second, "1500ms": 1500 * time.Millisecond, "infinity": Infinity,
	} {
		if got := Format(d); got != want {
			t.Errorf("%v: %q, want %q", int64(d), got, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Fuzz(func(t *testing.T, text string) {
		got, err := Parse(text)
		if got < 0 {
			t.Errorf("%q: negative: %v", text, got)
		}
		if err != nil && got != 0 {
			t.Errorf("%q: %v with an error: %v", text, got, err)
		}
		if err == nil && got != Infinity {
			if again, err := Parse(Format(got.Truncate(time.Microsecond))); err != nil || again != got.Truncate(time.Microsecond) {
				t.Errorf("%q: %v reads as %v, %v", text, got, again, err)
			}
		}
	})
}
