// SPDX-License-Identifier: GPL-3.0-or-later

package config

import (
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
	"time"

	"github.com/nvme-discoverd/nvme-discoverd/internal/param"
	"github.com/nvme-discoverd/nvme-discoverd/internal/timespan"
)

// globalKey is a key of [global] that a file of another program asks for.
type globalKey struct {
	key, value string // as TOML has it
	file       string
	at         position
}

// discoverdConf imports nvme-discoverd.conf of nvme-cli 3, the settings of its own daemon.
func (i *importer) discoverdConf(text string) {
	section := ""
	scanINI(text, iniEvents{
		section: func(name string, _ position) { section = name },
		junk:    func(at position) { i.refuse(at, "the line is not imported: it is no [section] and no key = value") },
		entry: func(key, value string, at position, _ int) {
			if section != "Global" {
				i.lose(at, "%s is not imported: it is not in [Global], the only section that nvme-cli reads", shown(key))
				return
			}
			i.discoverdSetting(key, value, at)
		},
	})
}

func (i *importer) discoverdSetting(key, value string, at position) {
	var ours, text string
	number, err := strconv.ParseUint(value, 10, 20)
	switch key {
	case "nbft":
		var on bool
		on, err = param.ParseBool(value)
		ours, text = key, strconv.FormatBool(on)
	case "debug-level":
		ours, text = "log-level", quote(strings.ToLower(value))
		s := Defaults()
		if err = nil; !setLogLevel(&s, strings.ToLower(value)) {
			i.lose(at, "debug-level is not imported: log-level of discoverd.conf is debug, info, warning or error")
			return
		}
	case "fc-kickstart-interval-minutes", "epcsd-poll-interval-minutes":
		ours, text = key, strconv.FormatUint(number, 10)
	case "dc-giveup-hours":
		ours, text = "discovery-retention-time", quote(timespan.Format(time.Duration(number)*time.Hour))
	default:
		i.loseKey(at, key)
		return
	}
	if err != nil || value == "" {
		i.refuse(at, "%s is not imported: its value is not one that it can have", key)
		return
	}
	var found findings
	if settingOf(ours, text, &found); len(found.errors) > 0 {
		i.refuse(at, "%s is not imported: %s", key, found.errors[0].text)
		return
	}
	for n, g := range i.global {
		if g.key == ours { // the last one counts
			i.global = append(i.global[:n], i.global[n+1:]...)
			break
		}
	}
	i.global = append(i.global, globalKey{ours, text, i.path, at})
}

// newMain begins a discoverd.conf where there is none.
const newMain = "# Configuration of nvme-discoverd, see discoverd.conf(5).\n"

// main adds what [global] of discoverd.conf lacks: a drop-in has none. What that file sets stays, and what differs from it
// is refused.
func (i *importer) main(out *Import) error {
	if len(i.global) == 0 {
		return nil
	}
	file := i.root.DaemonConfig()
	text, _, err := read(file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		text = newMain
	case err != nil:
		return fmt.Errorf("cannot read configuration file %s: %w", file, err)
	}
	source := parse(file, text, importedMode, tomlDialect, false)
	if err := source.found.errors.lines(file); len(err) > 0 {
		return fmt.Errorf("cannot import: %s is not right: %s", file, err[0])
	}
	global := source.section(secGlobal)
	now, _ := settingsOf(global, Defaults(), &findings{})
	for _, g := range i.global {
		if e, ok := global.find(g.key); ok && e.text != "" {
			if !sameSetting(g.key, now, settingOf(g.key, g.value, &findings{})) {
				line := fmt.Sprintf("%s:%d: %s = %s is not imported: %s sets %s already", g.file, g.at.line, g.key, g.value, source.place(e.at), g.key)
				out.Lost, out.Refused = append(out.Lost, line), append(out.Refused, line)
			}
			continue
		}
		out.Global = append(out.Global, g.key+" = "+g.value)
	}
	if len(out.Global) > 0 {
		out.Main = withGlobal(text, global, out.Global)
	}
	return nil
}

// settingOf returns the settings of a [global] with one key, whose value is written as in TOML.
func settingOf(key, value string, found *findings) Settings {
	s, _ := settingsOf(table{name: secGlobal, entries: []entry{{key: key, text: strings.Trim(value, `"`)}}}, Defaults(), found)
	return s
}

// sameSetting tells whether a setting is the same in a and b.
func sameSetting(key string, a, b Settings) bool {
	for _, s := range settings {
		if s.key == key {
			return s.get(a) == s.get(b)
		}
	}
	return false
}

// withGlobal returns the text of a discoverd.conf with lines more in [global], which begins where that table says if the
// text has it.
func withGlobal(text string, global table, more []string) string {
	added := strings.Join(more, "\n") + "\n"
	number := 0
	var b strings.Builder
	done := false
	for line := range strings.Lines(text) {
		b.WriteString(line)
		if number++; !done && number == global.at.line && strings.HasPrefix(strings.TrimLeft(strings.TrimPrefix(line, "\ufeff"), " \t"), "[") {
			if !strings.HasSuffix(line, "\n") {
				b.WriteString("\n")
			}
			b.WriteString(added)
			done = true
		}
	}
	if done {
		return b.String()
	}
	if !strings.HasSuffix(text, "\n") {
		b.WriteString("\n")
	}
	b.WriteString("\n" + tomlDialect.title(secGlobal) + "\n" + added)
	return b.String()
}
