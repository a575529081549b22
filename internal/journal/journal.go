// SPDX-License-Identifier: GPL-3.0-or-later

// Package journal writes log lines: to systemd's journal with the fields by which journalctl finds and explains them, to
// anything else as text.
package journal

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync"
	"unicode"

	"golang.org/x/sys/unix"
)

// Handler is a slog.Handler that writes one line a record, with the priority prefix of sd-daemon(3) where the journal reads
// them. Attributes follow the message as key=value, but for the journal's fields.
type Handler struct {
	mu     *sync.Mutex
	w      io.Writer
	level  slog.Leveler
	prefix bool
	attrs  string
}

// NewHandler returns a handler that writes records of at least this level to w. prefix is for a w that leads to the journal.
func NewHandler(w io.Writer, level slog.Leveler, prefix bool) *Handler {
	return &Handler{mu: &sync.Mutex{}, w: w, level: level, prefix: prefix}
}

// LeadsHere tells whether f is the stream that systemd has opened for this process to the journal. stream is the value of
// $JOURNAL_STREAM, device:inode (systemd.exec(5)); it is inherited also by those who write elsewhere.
func LeadsHere(f *os.File, stream string) bool {
	var stat unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &stat); err != nil {
		return false
	}
	return stream == fmt.Sprintf("%d:%d", stat.Dev, stat.Ino)
}

// Enabled tells whether records of a level are written.
func (h *Handler) Enabled(_ context.Context, level slog.Level) bool { return level >= h.level.Level() }

// Handle writes a record. Control characters, as names from outside may bring them, do not get through: a line stays one.
func (h *Handler) Handle(_ context.Context, r slog.Record) error {
	var b strings.Builder
	if h.prefix {
		b.WriteString(priority(r.Level))
	} else {
		b.WriteString(r.Time.Format("15:04:05.000 "))
	}
	text, _ := split(r)
	b.WriteString(oneLine(r.Message) + h.attrs + text + "\n")
	h.mu.Lock()
	defer h.mu.Unlock()
	_, err := io.WriteString(h.w, b.String())
	return err
}

// WithAttrs returns a handler that adds attributes to every record.
func (h *Handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	with := *h
	text, _ := sort(attrs)
	with.attrs += text
	return &with
}

// WithGroup returns h: no line of ours has groups.
func (h *Handler) WithGroup(string) slog.Handler { return h }

// split parts the attributes of a record into those for people, as text, and the journal's fields.
func split(r slog.Record) (text string, fields []slog.Attr) {
	attrs := make([]slog.Attr, 0, r.NumAttrs())
	r.Attrs(func(a slog.Attr) bool {
		attrs = append(attrs, a)
		return true
	})
	return sort(attrs)
}

// sort tells fields by the upper case that the journal asks of their names.
func sort(attrs []slog.Attr) (text string, fields []slog.Attr) {
	for _, a := range attrs {
		value := oneLine(a.Value.Resolve().String())
		if a.Key == strings.ToUpper(a.Key) {
			fields = append(fields, slog.String(a.Key, value))
		} else {
			text += " " + a.Key + "=" + value
		}
	}
	return text, fields
}

func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n':
			return '|'
		case unicode.IsControl(r):
			return '?'
		}
		return r
	}, s)
}

// priority is the syslog priority of a level as sd-daemon(3) spells it.
func priority(level slog.Level) string {
	switch {
	case level >= slog.LevelError:
		return "<3>"
	case level >= slog.LevelWarn:
		return "<4>"
	case level >= slog.LevelInfo:
		return "<6>"
	}
	return "<7>"
}
