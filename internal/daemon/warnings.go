// SPDX-License-Identifier: GPL-3.0-or-later

package daemon

import (
	"context"
	"fmt"
	"log/slog"
	"regexp"
	"sync"
	"time"
)

// warnAgain is how often a warning that comes again and again is logged.
const warnAgain = 10 * time.Minute

// warnings logs warnings, each text at its first time and then every ten minutes at most, with how often it came meanwhile.
type warnings struct {
	log *slog.Logger

	mu    sync.Mutex
	texts map[string]*warning // without what differs from one time to the next
}

type warning struct {
	logged time.Time
	unsaid int // times since then
}

func newWarnings(log *slog.Logger) *warnings {
	return &warnings{log: log, texts: map[string]*warning{}}
}

// temporary is the part of a temporary file's name that differs each time.
var temporary = regexp.MustCompile(`\.tmp\.[0-9]+`)

func (w *warnings) warn(text string, attrs ...slog.Attr) {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now()
	for text, old := range w.texts { // bounds the map
		if now.Sub(old.logged) >= 2*warnAgain {
			delete(w.texts, text)
		}
	}
	key := temporary.ReplaceAllString(text, "")
	if known := w.texts[key]; known != nil {
		since := now.Sub(known.logged)
		if since < warnAgain {
			known.unsaid++
			return
		}
		if known.unsaid > 0 {
			text += fmt.Sprintf(" (and %d more times in the last %.0f minutes)", known.unsaid, since.Minutes())
		}
	}
	w.texts[key] = &warning{logged: now}
	w.log.LogAttrs(context.Background(), slog.LevelWarn, text, attrs...)
}
