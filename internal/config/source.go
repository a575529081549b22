// SPDX-License-Identifier: GPL-3.0-or-later

package config

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/nvme-discoverd/nvme-discoverd/internal/files"
	"github.com/nvme-discoverd/nvme-discoverd/internal/paths"
)

// source is one configuration file.
type source struct {
	file    string
	dialect *dialect
	dropIn  bool
	mode    fs.FileMode
	doc     document
	found   findings

	loaded    []fault            // errors that cost everything that the file connects, as its loader found them
	faults    []fault            // all of these errors
	keyFaults map[string][]fault // keys at fault of the sections that there is one of

	// The document is the last one that could be parsed: foundNow is what is wrong with the file as it is now.
	stale    bool
	foundNow findings
}

// parse makes a source of the text of a file with that mode.
func parse(file, text string, mode fs.FileMode, d *dialect, dropIn bool) *source {
	s := &source{file: file, dialect: d, dropIn: dropIn, mode: mode}
	if d == iniDialect {
		s.doc, s.found = parseINI(text)
	} else {
		s.doc, s.found = parseTOML(text)
	}
	s.keyFaults = map[string][]fault{}
	if s.found.unparsed {
		s.suspect(text)
	}
	s.placeFaults()
	return s
}

// suspect notes the grave keys that a file which cannot be parsed seems to have: others may inherit what they set. Those of
// endpoints nobody does.
func (s *source) suspect(text string) {
	why := "1:1: cannot parse the file"
	if first := s.found.errors.lines(""); len(first) > 0 {
		why = strings.TrimPrefix(first[0], ":")
	}
	lines := strings.Split(text, "\n")
	section := "" // "" also where it cannot be told
	note := func(key string) {
		if !sections[section] {
			s.found.faults = append(s.found.faults, fault{meant(key), true, why, section == secHost})
		}
	}
	scanINI(text, iniEvents{
		section: func(name string, _ position) {
			section = ""
			for known, title := range s.dialect.titles {
				if title == "["+name+"]" {
					section = known
				}
			}
		},
		junk: func(at position) {
			line := lines[at.line-1]
			if strings.HasPrefix(strings.TrimSpace(line), "[") { // perhaps a section
				section = ""
			}
			if isGuarded(line) {
				note("")
			}
		},
		entry: func(key, value string, _ position, _ int) {
			if key = strings.Trim(key, `"'`); grave(key) {
				note(key)
			} else if strings.HasPrefix(value, "{") && isGuarded(value) {
				note("")
			}
		},
	})
}

// lastVersion makes a source of the version of a file that could be parsed last; false if there is none. found is what is wrong
// with the file as it is now.
func (l *lastGood) lastVersion(file string, found findings) (*source, bool) {
	if l == nil || l.files[file] == nil {
		return nil, false
	}
	before := l.files[file]
	return &source{
		file: file, dialect: before.dialect, dropIn: before.dropIn, mode: before.mode, doc: before.doc,
		faults: slices.Clone(before.loaded), loaded: before.loaded, keyFaults: map[string][]fault{}, stale: true, foundNow: found,
	}, true
}

// section returns the first section of a name, an empty one if there is none.
func (s *source) section(name string) table {
	for _, t := range s.doc.tables {
		if t.name == name {
			return t
		}
	}
	return table{name: name, title: s.dialect.title(name), at: position{1, 1}}
}

// place returns a position as people read it.
func (s *source) place(at position) string { return fmt.Sprintf("%s:%d", s.file, at.line) }

// gather reads everything that is installed, file being the main file if it is not "". The error is what could not be read.
func gather(root paths.Root, file string) ([]*source, error) { return gatherOver(nil, root, file) }

// gatherOver is gather for a Loader: a file that cannot be read or parsed stands as it was last.
func gatherOver(last *lastGood, root paths.Root, file string) ([]*source, error) {
	mayMiss := file == ""
	if mayMiss {
		file = root.DaemonConfig()
	}
	sources, err := family(last, file, tomlDialect, mayMiss)
	settings, before := Defaults(), Defaults()
	if last != nil {
		before = last.settings
	}
	for _, s := range sources {
		if !s.dropIn {
			settings, _ = settingsOf(s.section(secGlobal), before, &findings{})
		}
	}
	if !settings.FabricsConfig {
		return sources, err
	}
	shared, sharedErr := family(last, root.FabricsConfig(), iniDialect, true)
	return append(sources, shared...), errors.Join(err, sharedErr)
}

// family reads a main file and its drop-ins in the order of their names.
func family(last *lastGood, main string, d *dialect, mayMiss bool) ([]*source, error) {
	var sources []*source
	var errs []error
	add := func(file string, dropIn, mayMiss bool) {
		text, mode, err := read(file)
		var found findings
		switch {
		case errors.Is(err, fs.ErrNotExist) && mayMiss:
			return
		case err != nil:
			errs = append(errs, fmt.Errorf("cannot read configuration file %s: %w", file, err))
		default:
			s := parse(file, text, mode, d, dropIn)
			if found = s.found; !found.unparsed {
				sources = append(sources, s)
				return
			}
			if _, ok := last.lastVersion(file, found); !ok {
				sources = append(sources, s)
				return
			}
		}
		if s, ok := last.lastVersion(file, found); ok {
			sources = append(sources, s)
		}
	}
	add(main, false, mayMiss)
	dir := main + ".d"
	entries, err := os.ReadDir(dir) // sorted by name
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		errs = append(errs, fmt.Errorf("cannot read configuration directory %s: %w", dir, files.Cause(err)))
		if last != nil {
			for _, file := range slices.Sorted(maps.Keys(last.files)) {
				if s, ok := last.lastVersion(file, findings{}); ok && filepath.Dir(file) == dir {
					sources = append(sources, s)
				}
			}
		}
	}
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), ".conf") && !strings.HasPrefix(e.Name(), ".") {
			add(filepath.Join(dir, e.Name()), true, false)
		}
	}
	return sources, errors.Join(errs...)
}

// given reads the files that somebody names, and finds out what each of them is.
func given(files []string) ([]*source, error) {
	var sources []*source
	var errs []error
	seen := map[*dialect]bool{}
	for _, file := range files {
		text, mode, err := read(file)
		if err != nil {
			errs = append(errs, fmt.Errorf("cannot read configuration file %s: %w", file, err))
			continue
		}
		whole, err := filepath.Abs(file) // "a.conf" may lie in a directory of drop-ins too
		if err != nil {
			whole = file
		}
		d := dialectOf(whole, text)
		dropIn := seen[d] || strings.HasSuffix(filepath.Dir(whole), ".d")
		seen[d] = seen[d] || !dropIn
		sources = append(sources, parse(file, text, mode, d, dropIn))
	}
	return sources, errors.Join(errs...)
}

// dialectOf tells what a file is: by the name of its directory or its own, as the service does, and where they tell nothing
// by its sections. [host] is no help, since it is a likely slip of [Host].
func dialectOf(file, text string) *dialect {
	for _, name := range []string{filepath.Base(filepath.Dir(file)), filepath.Base(file)} {
		switch name {
		case "nvme-fabrics.conf", "nvme-fabrics.conf.d":
			return iniDialect
		case "discoverd.conf", "discoverd.conf.d":
			return tomlDialect
		}
	}
	names := iniSections()
	hasINI, hasTOML := false, false
	scanINI(strings.TrimPrefix(text, byteOrderMark), iniEvents{
		section: func(name string, _ position) {
			title := "[" + name + "]"
			_, known := names[title]
			hasINI = hasINI || known
			for section, other := range tomlDialect.titles {
				hasTOML = hasTOML || title == other && section != secHost
			}
		},
		entry: func(string, string, position, int) {},
		junk:  func(position) {},
	})
	if hasINI && !hasTOML {
		return iniDialect
	}
	return tomlDialect
}
