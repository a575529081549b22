// SPDX-License-Identifier: GPL-3.0-or-later

// Package timespan reads and writes spans of time in systemd's syntax (systemd.time(7), "Parsing Time Spans"): "90",
// "5min", "1h 30min", "infinity".
package timespan

import (
	"fmt"
	"math"
	"math/bits"
	"strconv"
	"strings"
	"time"
)

// Infinity is the span of time that never ends, "infinity" in a file.
const Infinity time.Duration = math.MaxInt64

// units of time as systemd spells them (systemd.time(7)). A month is 30.44 days, a year 365.25.
var units = map[string]time.Duration{
	"": time.Second,

	"us": time.Microsecond, "usec": time.Microsecond, "µs": time.Microsecond, "μs": time.Microsecond,
	"ms": time.Millisecond, "msec": time.Millisecond,
	"s": time.Second, "sec": time.Second, "second": time.Second, "seconds": time.Second,
	"m": time.Minute, "min": time.Minute, "minute": time.Minute, "minutes": time.Minute,
	"h": time.Hour, "hr": time.Hour, "hour": time.Hour, "hours": time.Hour,
	"d": day, "day": day, "days": day,
	"w": 7 * day, "week": 7 * day, "weeks": 7 * day,
	"M": 2629800 * time.Second, "month": 2629800 * time.Second, "months": 2629800 * time.Second,
	"y": 31557600 * time.Second, "year": 31557600 * time.Second, "years": 31557600 * time.Second,
}

const day = 24 * time.Hour

// Parse reads a span of time: numbers with units, added up, or "infinity". A number without a unit is in seconds.
func Parse(text string) (time.Duration, error) {
	const blanks = " \t\r\n"
	rest := strings.Trim(text, blanks)
	switch rest {
	case "infinity":
		return Infinity, nil
	case "":
		return 0, fmt.Errorf("it is empty")
	}
	var total time.Duration
	for rest != "" {
		number := rest[:spanOf(rest, "0123456789.")]
		rest = strings.TrimLeft(rest[len(number):], blanks)
		name := rest
		if i := strings.IndexAny(rest, blanks+"0123456789.+-"); i >= 0 {
			name = rest[:i]
		}
		unit, ok := units[name]
		if !ok {
			return 0, fmt.Errorf("it has no unit of time %q", name)
		}
		rest = strings.TrimLeft(rest[len(name):], blanks)
		part, err := times(number, unit)
		if err != nil {
			return 0, err
		}
		if total > Infinity-1-part {
			return 0, fmt.Errorf("it is longer than 292 years")
		}
		total += part
	}
	return total, nil
}

// spanOf returns how many bytes at the beginning of s are in set.
func spanOf(s, set string) int { return len(s) - len(strings.TrimLeft(s, set)) }

// times multiplies a decimal number, possibly with a fraction, with a unit; what is shorter than a nanosecond is dropped.
func times(number string, unit time.Duration) (time.Duration, error) {
	whole, fraction, _ := strings.Cut(number, ".")
	if whole+fraction == "" || strings.Contains(fraction, ".") {
		return 0, fmt.Errorf("%q is not a number", number)
	}
	var n uint64
	for _, digit := range whole {
		hi, lo := bits.Mul64(n, 10)
		n = lo + uint64(digit-'0')
		if hi != 0 || n > uint64(Infinity) {
			return 0, fmt.Errorf("it is longer than 292 years")
		}
	}
	hi, total := bits.Mul64(n, uint64(unit))
	for _, digit := range fraction {
		unit /= 10
		total += uint64(digit-'0') * uint64(unit)
	}
	if hi != 0 || total >= uint64(Infinity) {
		return 0, fmt.Errorf("it is longer than 292 years")
	}
	return time.Duration(total), nil
}

// Format is the inverse of Parse, for whole microseconds.
func Format(d time.Duration) string {
	if d == Infinity {
		return "infinity"
	}
	for _, unit := range []string{"h", "min", "s", "ms", "us"} {
		if size := units[unit]; d%size == 0 && (d != 0 || unit == "s") {
			return strconv.FormatInt(int64(d/size), 10) + unit
		}
	}
	return strconv.FormatInt(int64(d/time.Microsecond), 10) + "us"
}
