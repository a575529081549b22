// Package journal writes log lines so that the journal gives each its priority.
package journal

import (
	"context"
	"io"
	"log/slog"
	"strings"
	"sync"
)

// Handler is a slog.Handler that writes one line a record, with the priority prefix of sd-daemon(3) where the journal reads
// them. Attributes follow the message as key=value.
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
	b.WriteString(oneLine(r.Message) + h.attrs)
	r.Attrs(func(a slog.Attr) bool {
		b.WriteString(format(a))
		return true
	})
	b.WriteByte('\n')
	h.mu.Lock()
	defer h.mu.Unlock()
	_, err := io.WriteString(h.w, b.String())
	return err
}

// WithAttrs returns a handler that adds attributes to every record.
func (h *Handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	with := *h
	for _, a := range attrs {
		with.attrs += format(a)
	}
	return &with
}

// WithGroup returns h: no line of ours has groups.
func (h *Handler) WithGroup(string) slog.Handler { return h }

func format(a slog.Attr) string { return " " + a.Key + "=" + oneLine(a.Value.String()) }

func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n':
			return '|'
		case r < ' ' || r == 0x7f:
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
