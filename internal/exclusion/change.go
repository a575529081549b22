// SPDX-License-Identifier: GPL-3.0-or-later

package exclusion

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/nvme-discoverd/nvme-discoverd/internal/atomicfile"
	"github.com/nvme-discoverd/nvme-discoverd/internal/flock"
	"github.com/nvme-discoverd/nvme-discoverd/internal/paths"
)

// User is the list that the commands change when none is named.
const User = "user"

// suffix ends the file name of every list.
const suffix = ".conf"

// header begins a list that is made here.
const header = `# What nobody is to connect. Each line excludes the connections of which all its keys match:
#   exclusion = transport=tcp;traddr=192.0.2.1
# Keys: transport, traddr, trsvcid, nqn, host-traddr, host-iface, hostnqn, hostid.
[` + section + `]
`

// CheckName tells why name cannot be that of a list: letters, digits, "_", "-" and, not first, ".", at most 64.
func CheckName(name string) error {
	const valid = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-."
	switch {
	case name == "" || len(name) > 64 || name[0] == '.' || name[0] == '-' || strings.Trim(name, valid) != "":
		return fmt.Errorf("cannot use list name %s: it must be of up to 64 letters, digits, ., _ and -", brief(name))
	case strings.HasSuffix(name, suffix):
		return fmt.Errorf("cannot use list name %q: leave out %s", name, suffix)
	}
	return nil
}

// target returns the file that is written for the list called name: one of those that nvme-cli 3 and all that use libnvme
// read, where this host has their places, since they read no others.
func target(root paths.Root, name string) (string, error) {
	if err := CheckName(name); err != nil {
		return "", err
	}
	dropIns, err := os.Stat(root.ExclusionsDropIns())
	if exists(root.ExclusionsFile()) || err == nil && dropIns.IsDir() {
		return filepath.Join(root.ExclusionsDropIns(), name+suffix), nil
	}
	return filepath.Join(root.Exclusions(), name+suffix), nil
}

// exists tells whether something has this name, be it a link that leads nowhere.
func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// files returns the files of the list called name: the one that is written, and one that was written before this host had
// the places of nvme-cli 3. Without any, it is the one that would be written.
func files(root paths.Root, name string) ([]string, error) {
	first, err := target(root, name)
	if err != nil {
		return nil, err
	}
	var all []string
	for _, file := range []string{filepath.Join(root.ExclusionsDropIns(), name+suffix), filepath.Join(root.Exclusions(), name+suffix)} {
		if exists(file) {
			all = append(all, file)
		}
	}
	if all == nil {
		return []string{first}, nil
	}
	return all, nil
}

// Read reads one list, which may be of two files.
func Read(root paths.Root, name string) ([]Source, error) {
	files, err := files(root, name)
	if err != nil {
		return nil, err
	}
	var sources []Source
	for _, file := range files {
		text, err := readList(file)
		if err != nil {
			return nil, listError("read", name, err)
		}
		rules, problems := parse(file, text)
		sources = append(sources, newSource(name, file, rules, problems))
	}
	return sources, nil
}

// listError says in the words of the commands what could not be done with a list.
func listError(verb, name string, err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("cannot %s exclusion list %s: there is no such list, nvme-discoverctl exclusion list shows those that there are", verb, name)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("cannot %s exclusion list %s: only root may: %w", verb, name, err)
	}
	return fmt.Errorf("cannot %s exclusion list %s: %w", verb, name, err)
}

// Create makes an empty list and returns its file.
func Create(root paths.Root, name string) (file string, err error) {
	file, err = target(root, name)
	if err != nil {
		return "", err
	}
	err = locked(root, func() error {
		files, err := files(root, name)
		if err == nil && exists(files[0]) {
			err = errors.New("it exists")
		}
		if err != nil {
			return err
		}
		return store(file, header)
	})
	if err != nil {
		return "", listError("create", name, err)
	}
	return file, nil
}

// Delete removes a list with all that is in it and returns its files.
func Delete(root paths.Root, name string) (deleted []string, err error) {
	all, err := files(root, name)
	if err != nil {
		return nil, err
	}
	err = locked(root, func() error {
		for _, file := range all {
			if err := os.Remove(file); err != nil {
				return err
			}
			deleted = append(deleted, file)
		}
		return nil
	})
	if err != nil {
		return deleted, listError("delete", name, err)
	}
	return deleted, nil
}

// Add adds entries to a list, which is made if it is missing, and returns those that it did not have yet. One that is no
// good is an error, and then none is added.
func Add(root paths.Root, name string, entries ...string) (added []Entry, err error) {
	file, err := target(root, name)
	if err != nil {
		return nil, err
	}
	var fresh []rule
	for _, text := range entries {
		list, err := Parse(text)
		if err != nil {
			return nil, err
		}
		fresh = append(fresh, list.rules...)
	}
	err = locked(root, func() error {
		text, err := readList(file)
		if errors.Is(err, fs.ErrNotExist) {
			text, err = header, nil
		}
		if err != nil {
			return err
		}
		rules, _ := parse(file, text)
		there := meanings(rules)
		bare := text
		text = headed(text)
		unread := text != bare // by other tools
		offset, header := room(text)
		rest := text[offset:]
		if text = text[:offset]; text != "" && !strings.HasSuffix(text, "\n") {
			text += "\n"
		}
		for _, r := range fresh {
			if there[r.meaning()] {
				continue
			}
			there[r.meaning()] = true
			if header {
				text, header = text+"["+section+"]\n", false
			}
			text += "exclusion = " + r.entry.Text + "\n"
			r.entry.File, r.entry.Line = file, strings.Count(text, "\n")
			added = append(added, r.entry)
		}
		if added == nil && !unread {
			return nil
		}
		return store(file, text+rest)
	})
	if err != nil {
		return nil, listError("add to", name, err)
	}
	return added, nil
}

// Remove removes all entries of a list that mean the same as entry, and returns them. A line that is no good can be removed
// by its text.
func Remove(root paths.Root, name, entry string) (removed []Entry, err error) {
	all, err := files(root, name)
	if err != nil {
		return nil, err
	}
	entry = strings.TrimSpace(entry)
	wanted := func(line string) bool { return line == entry || entryOf(line) == entry }
	if list, err := Parse(entry); err == nil {
		meaning := list.rules[0].meaning()
		wanted = func(line string) bool {
			r, err := parseLine(line)
			return err == nil && r.meaning() == meaning
		}
	}
	err = locked(root, func() error {
		for _, file := range all {
			text, err := readList(file)
			if err != nil {
				return err
			}
			rest, gone := without(file, text, wanted)
			if gone == nil {
				continue
			}
			if err := store(file, rest); err != nil {
				return err
			}
			removed = append(removed, gone...)
		}
		if removed == nil {
			return fmt.Errorf("it has no entry %s", brief(entry))
		}
		return nil
	})
	if err != nil {
		return removed, listError("remove from", name, err)
	}
	return removed, nil
}

// without returns a list without the entries that are wanted, and these.
func without(file, text string, wanted func(line string) bool) (rest string, gone []Entry) {
	var b strings.Builder
	for l := range lines(text) {
		if !l.header && l.counts && l.bare != "" && wanted(l.bare) {
			gone = append(gone, Entry{file, l.number, entryOf(l.bare)})
			continue
		}
		b.WriteString(l.raw)
	}
	return b.String(), gone
}

// entryOf returns what a line has as its entry, good or not; of another line, the line.
func entryOf(line string) string {
	key, text, ok := strings.Cut(line, "=")
	if !ok || strings.TrimSpace(key) != "exclusion" {
		return line
	}
	return strings.TrimSpace(text)
}

// Edit is a list while a person edits a copy of it.
type Edit struct {
	Draft string   // the copy, beside the list
	Other []string // files of the same list that are not edited

	root       paths.Root
	name, file string
	before     string // what the list held, "" if there was none
	existed    bool
}

// Begin makes the copy that is to be edited; of a list that there is not, one with nothing but an explanation.
func Begin(root paths.Root, name string) (*Edit, error) {
	file, err := target(root, name)
	if err != nil {
		return nil, err
	}
	e := &Edit{root: root, name: name, file: file}
	all, err := files(root, name)
	if err != nil {
		return nil, err
	}
	e.Other = slices.DeleteFunc(all, func(other string) bool { return other == file })
	e.before, e.existed, err = current(file)
	if err == nil {
		err = e.copy()
	}
	if err != nil {
		return nil, listError("edit", name, err)
	}
	return e, nil
}

func (e *Edit) copy() error {
	if err := os.MkdirAll(filepath.Dir(e.file), 0o755); err != nil {
		return err
	}
	draft, err := os.CreateTemp(filepath.Dir(e.file), e.name+suffix+".edit.*") // does not end as a list does
	if err != nil {
		return err
	}
	defer draft.Close()
	e.Draft = draft.Name()
	text := e.before
	if !e.existed {
		text = header
	}
	_, err = draft.WriteString(text)
	return err
}

// current returns what a list holds and whether there is one.
func current(file string) (text string, exists bool, err error) {
	text, err = readList(file)
	if errors.Is(err, fs.ErrNotExist) {
		return "", false, nil
	}
	return text, err == nil, err
}

// Changed returns the entries that the copy has and the list had not, and whether the copy differs at all. The error says
// which lines of it are no good.
func (e *Edit) Changed() (added List, changed bool, err error) {
	text, err := readList(e.Draft)
	if err != nil {
		return List{}, false, fmt.Errorf("cannot read the edit of exclusion list %s: %w", e.name, err)
	}
	if text == e.before && e.existed || text == header && !e.existed {
		return List{}, false, nil
	}
	rules, problems := parse(e.Draft, text)
	if problems != nil {
		return List{}, true, errors.Join(problems...)
	}
	old, _ := parse(e.file, e.before)
	there := meanings(old)
	for _, r := range rules {
		if !there[r.meaning()] {
			added.rules = append(added.rules, r)
		}
	}
	return added, true, nil
}

// Save makes the copy the list, unless the list has changed since Begin, and removes the copy.
func (e *Edit) Save() error {
	err := locked(e.root, func() error {
		now, exists, err := current(e.file)
		if err != nil {
			return err
		}
		if now != e.before || exists != e.existed {
			return errors.New("somebody else has changed it meanwhile")
		}
		text, err := readList(e.Draft)
		if err != nil {
			return err
		}
		return store(e.file, headed(text))
	})
	if err != nil {
		return fmt.Errorf("cannot save exclusion list %s: %w", e.name, err)
	}
	return e.Drop()
}

// Drop removes the copy.
func (e *Edit) Drop() error {
	if err := os.Remove(e.Draft); err != nil {
		return fmt.Errorf("cannot remove the edit of exclusion list %s: %w", e.name, err)
	}
	return nil
}

// store replaces a list; of one that is a link, what the link leads to. The permissions stay.
func store(file, text string) error {
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	if target, err := filepath.EvalSymlinks(file); err == nil {
		file = target
	}
	perm := fs.FileMode(0o644)
	if info, err := os.Stat(file); err == nil {
		perm = info.Mode().Perm()
	}
	return atomicfile.Write(file, []byte(text), perm)
}

// locked runs change while no other command changes a list. Readers need no lock: a list is replaced in one step.
func locked(root paths.Root, change func() error) error {
	unlock, err := flock.Lock(root.ExclusionsLock())
	if err != nil {
		return err
	}
	defer unlock()
	return change()
}
