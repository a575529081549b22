// SPDX-License-Identifier: GPL-3.0-or-later

package cli

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
)

// screen is how to write for people where Stdout leads.
type screen struct {
	columns int // 0: as many as a line takes
	color   bool
	unicode bool
}

func (a *app) screen() screen {
	s := screen{unicode: true}
	if a.Columns != nil {
		s.columns = a.Columns()
	}
	for _, name := range []string{"LC_ALL", "LC_CTYPE", "LANG"} {
		if locale := a.Getenv(name); locale != "" {
			locale = strings.ToLower(locale)
			s.unicode = strings.Contains(locale, "utf-8") || strings.Contains(locale, "utf8")
			break
		}
	}
	s.color = s.columns > 0 && a.Getenv("NO_COLOR") == "" && a.Getenv("TERM") != "dumb"
	return s
}

// Colours that can be read on a light and on a dark ground, and say nothing that the words do not.
const (
	plain  = ""
	bold   = "1"
	faint  = "2"
	bad    = "1;31"
	good   = "32"
	moving = "35"
)

func (s screen) paint(color, text string) string {
	if !s.color || color == plain || text == "" {
		return text
	}
	return "\x1b[" + color + "m" + text + "\x1b[0m"
}

// mark begins the line of something that is wrong.
func (s screen) mark() string {
	if s.unicode {
		return "✗"
	}
	return "x"
}

func (s screen) ellipsis() string {
	if s.unicode {
		return "…"
	}
	return "..."
}

// branches are what a tree is drawn with: before an item, before the last one, below an item, below the last one.
func (s screen) branches() [4]string {
	if s.unicode {
		return [4]string{"├─ ", "└─ ", "│  ", "   "}
	}
	return [4]string{"|- ", "`- ", "|  ", "   "}
}

func pad(text string, width int) string {
	return text + strings.Repeat(" ", max(width-utf8.RuneCountInString(text), 0))
}

// span is a length of time in at most two units: 12s, 5min 3s, 2d 4h.
func span(d time.Duration) string {
	d = max(d, 0).Truncate(time.Second)
	units := []struct {
		size time.Duration
		name string
	}{{24 * time.Hour, "d"}, {time.Hour, "h"}, {time.Minute, "min"}, {time.Second, "s"}}
	for i, u := range units {
		if d < u.size {
			continue
		}
		text := fmt.Sprintf("%d%s", d/u.size, u.name)
		if rest := d % u.size; i+1 < len(units) && rest >= units[i+1].size {
			text += fmt.Sprintf(" %d%s", rest/units[i+1].size, units[i+1].name)
		}
		return text
	}
	return "0s"
}

// ago is how long ago a time of the interface was, "" for one that is not there.
func (a *app) ago(when string) string {
	t, err := time.Parse(time.RFC3339, when)
	if err != nil {
		return ""
	}
	return span(a.now().Sub(t))
}

// until is how long it is until a time of the interface.
func (a *app) until(when string) string {
	t, err := time.Parse(time.RFC3339, when)
	if err != nil {
		return ""
	}
	return span(t.Sub(a.now()))
}

// value is an optional string of the interface.
func value(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// plural is n of something.
func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// pairs writes lines of a key and a text, which is broken where the screen ends.
type pairs struct {
	*app
	screen
	width int // of the keys
}

func (p pairs) title(text string) {
	for i, line := range p.folded(text, 2) {
		p.write("", strings.Repeat("  ", min(i, 1)), line, bold)
	}
}

// line writes a text behind its key; "" is the key of one that continues. Without a text there is no line.
func (p pairs) line(key, text, color string) {
	if text == "" {
		return
	}
	for i, line := range p.folded(text, p.width+2) {
		p.write(pad("", p.width-utf8.RuneCountInString(key))+heading(key, i), "  ", line, color)
		if i == 0 {
			key = ""
		}
	}
}

func (p pairs) write(key, gap, text, color string) {
	fmt.Fprintln(p.Stdout, strings.TrimRight(key+gap+p.paint(color, text), " "))
}

// folded breaks a text so that it fits behind so many columns: between words, and words that are too long, as NQNs are, behind one of
// their marks.
func (s screen) folded(text string, behind int) []string {
	room := s.columns - behind
	if s.columns == 0 || room < 16 {
		return []string{text}
	}
	var lines []string
	for _, line := range s.broken(text, behind) {
		for {
			head, rest := s.split(line, room)
			lines = append(lines, head)
			if rest == "" {
				break
			}
			line = rest
		}
	}
	return lines
}

// split cuts a line that is longer than room where an NQN or a path has a mark, or where the room ends if there is none.
func (screen) split(line string, room int) (head, rest string) {
	runes := []rune(line)
	if len(runes) <= room {
		return line, ""
	}
	at := room
	for i := room; i > room/2; i-- {
		if strings.ContainsRune(" :;.,/-=&", runes[i-1]) {
			at = i
			break
		}
	}
	return string(runes[:at]), string(runes[at:])
}
