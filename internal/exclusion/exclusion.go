// SPDX-License-Identifier: GPL-3.0-or-later

// Package exclusion reads and changes the exclusion lists (docs/design.md, "Exclusion lists"): what an administrator wants nobody to connect.
//
// The lists are shared with other programs. Whatever cannot be understood excludes nothing and is reported: a typing error
// must not take connections away. The daemon only reads; the changes are those of the command line.
package exclusion

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/nvme-discoverd/nvme-discoverd/internal/paths"
	"github.com/nvme-discoverd/nvme-discoverd/internal/tid"
)

// Entry is the line of a list that excludes a connection.
type Entry struct {
	File string
	Line int    // counted from 1
	Text string // "key=value;key=value…" as written
}

// List is what all lists exclude together. The zero List excludes nothing.
type List struct{ rules []rule }

// Entries returns the entries of the list in their order.
func (l List) Entries() []Entry {
	var entries []Entry
	for _, r := range l.rules {
		entries = append(entries, r.entry)
	}
	return entries
}

// Of returns the list of entries that another List had. An entry that cannot be used is an error.
func Of(entries []Entry) (List, error) {
	var list List
	for _, e := range entries {
		r, err := parseEntry(e.Text)
		if err != nil {
			return List{}, fmt.Errorf("cannot use the exclusion of %s:%d: %w", e.File, e.Line, err)
		}
		r.entry = e
		list.rules = append(list.rules, r)
	}
	return list, nil
}

// rule is an entry ready to be compared.
type rule struct {
	entry      Entry
	want       tid.TID    // the keys that the entry has, normalised
	traddr     netip.Addr // want.Traddr and want.HostTraddr where they are IP addresses
	hostTraddr netip.Addr
}

// Source is one file and what is in it.
type Source struct {
	Name     string // of the list, as the functions of this package take it; "" for exclusions.conf, which is only read
	File     string
	Entries  []Entry
	Problems []Problem
	Doubts   []Problem // entries that hold, and seem to be mistyped; the first few of them
}

// Problem is something that excludes nothing although it was meant to.
type Problem struct {
	File    string
	Line    int    // 0: the file, or directory, cannot be read
	Message string // with file and line
}

func (p Problem) Error() string { return p.Message }

// Load reads every list: /etc/nvme/exclusions/*.conf and nvme-cli 3's exclusions.conf and exclusions.conf.d/*.conf. It
// returns the entries that are good. The errors, all of type Problem, are for the log: one for each bad line, up to a limit
// for each file, and one for each list that cannot be read. That there is no list is no error.
func Load(root paths.Root) (List, []error) {
	var list List
	var errs []error
	scan(root, func(_, _ string, rules []rule, problems []error) {
		list.rules = append(list.rules, rules...)
		errs = append(errs, problems...)
	})
	return list, errs
}

// Sources reads every list as Load does, and returns it file by file. A directory that cannot be read is a source with a
// problem.
func Sources(root paths.Root) []Source {
	var sources []Source
	scan(root, func(name, file string, rules []rule, problems []error) {
		sources = append(sources, newSource(name, file, rules, problems))
	})
	return sources
}

func newSource(name, file string, rules []rule, problems []error) Source {
	s := Source{Name: name, File: file}
	for _, r := range rules {
		s.Entries = append(s.Entries, r.entry)
		if err := r.checkForm(func(string) bool { return false }); err != nil && len(s.Doubts) < maxProblems {
			s.Doubts = append(s.Doubts, Problem{file, r.entry.Line, fmt.Sprintf("%s:%d: exclusion %s excludes nothing but what has just this name: %v", file, r.entry.Line, brief(r.entry.Text), err)})
		}
	}
	for _, err := range problems {
		var p Problem
		if !errors.As(err, &p) {
			p = Problem{File: file, Message: err.Error()}
		}
		s.Problems = append(s.Problems, p)
	}
	return s
}

// scan reads every file in the order in which entries go before each other.
func scan(root paths.Root, found func(name, file string, rules []rule, problems []error)) {
	dir := func(dir string) {
		files, err := confFiles(dir)
		if err != nil {
			found("", dir, nil, []error{Problem{File: dir, Message: err.Error()}})
		}
		for _, file := range files {
			name := strings.TrimSuffix(filepath.Base(file), suffix)
			text, err := readList(file)
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err != nil {
				found(name, file, nil, []error{unreadable(file, err)})
				continue
			}
			rules, problems := parse(file, text)
			found(name, file, rules, problems)
		}
	}
	dir(root.Exclusions())
	if text, err := readList(root.ExclusionsFile()); err == nil {
		rules, problems := parse(root.ExclusionsFile(), text)
		found("", root.ExclusionsFile(), rules, problems)
	} else if !errors.Is(err, fs.ErrNotExist) {
		found("", root.ExclusionsFile(), nil, []error{unreadable(root.ExclusionsFile(), err)})
	}
	dir(root.ExclusionsDropIns())
}

func unreadable(file string, err error) Problem {
	return Problem{File: file, Message: fmt.Sprintf("cannot read the exclusion list %s, which excludes nothing now: %v", file, err)}
}

// maxList is the longest list in bytes: far more than ten thousand entries, far less than would hurt every connect.
const maxList = 16 << 20

// readList returns the text of a list. What would never end, such as a pipe, is refused, as it would hold up every connect.
// The error wraps fs.ErrNotExist only if there is nothing of that name.
func readList(file string) (string, error) {
	info, err := os.Stat(file)
	if errors.Is(err, fs.ErrNotExist) {
		if target, linkErr := os.Readlink(file); linkErr == nil {
			return "", fmt.Errorf("it is a link to %s, which does not exist", target)
		}
	}
	switch {
	case err != nil:
		return "", err
	case !info.Mode().IsRegular() && !info.IsDir(): // reading a directory says what is wrong
		return "", errors.New("it is not a file")
	case info.Size() > maxList:
		return "", fmt.Errorf("it has %d bytes, at most %d are allowed", info.Size(), maxList)
	}
	data, err := os.ReadFile(file)
	return string(data), err
}

// confFiles returns the *.conf files of dir in the order of their names.
func confFiles(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("cannot read the exclusion lists of %s, which exclude nothing now: %w", dir, err)
	}
	var files []string
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), ".conf") {
			files = append(files, filepath.Join(dir, e.Name()))
		}
	}
	return files, nil
}

// maxProblems is how many bad lines of one file are told one by one.
const maxProblems = 20

func parse(file, text string) (rules []rule, problems []error) {
	more, first := 0, 0
	for l := range lines(text) {
		if l.bare == "" || l.header && !l.misspelt() || !l.header && !l.counts {
			continue
		}
		var r rule
		var err error
		if l.header {
			err = fmt.Errorf("cannot use section %s: entries count under [%s] only; what stands below", brief(l.bare), section)
		} else if r, err = parseLine(l.bare); err != nil {
			err = fmt.Errorf("%w; the line", err)
		}
		switch {
		case err == nil:
			r.entry.File, r.entry.Line = file, l.number
			rules = append(rules, r)
		case len(problems) < maxProblems:
			problems = append(problems, Problem{file, l.number, fmt.Sprintf("%s:%d: %v excludes nothing", file, l.number, err)})
		case more == 0:
			more, first = 1, l.number
		default:
			more++
		}
	}
	if more > 0 {
		problems = append(problems, Problem{file, first, fmt.Sprintf("%s:%d: from here on, %d more lines that cannot be used exclude nothing", file, first, more)})
	}
	return rules, problems
}

// withoutComment cuts a comment off: one that begins its line or comes after white space, as an NQN may have a # in it.
func withoutComment(line string) string {
	for i, r := range line {
		if r == '#' && (i == 0 || strings.ContainsRune(" \t\n\f\r", rune(line[i-1]))) {
			return line[:i]
		}
	}
	return line
}

// brief is s, quoted, as far as a person wants to read it.
func brief(s string) string {
	const most = 300
	if len(s) <= most {
		return strconv.Quote(s)
	}
	return strconv.Quote(s[:most]) + "…"
}

func parseLine(line string) (rule, error) {
	key, text, ok := strings.Cut(line, "=")
	if key = strings.TrimSpace(key); !ok || key != "exclusion" {
		return rule{}, fmt.Errorf("cannot use %s: a line is exclusion = key=value;key=value…", brief(line))
	}
	text = strings.TrimSpace(text)
	r, err := parseEntry(text)
	if err != nil {
		return rule{}, fmt.Errorf("cannot use exclusion %s: %w", brief(text), err)
	}
	return r, nil
}

func parseEntry(text string) (rule, error) {
	r := rule{entry: Entry{Text: text}}
	for pair := range strings.SplitSeq(text, ";") {
		pair = strings.TrimSpace(pair)
		if pair == "" {
			continue
		}
		key, value, ok := strings.Cut(pair, "=")
		key, value = strings.TrimSpace(key), strings.TrimSpace(value)
		switch old, known := r.want.Get(key); {
		case !ok:
			return rule{}, fmt.Errorf("%s is not key=value", brief(pair))
		case !known:
			return rule{}, fmt.Errorf("unknown key %s, the keys are %s", brief(key), strings.Join(tid.Keys(), ", "))
		case value == "":
			return rule{}, fmt.Errorf("%s has no value", key)
		case old != "":
			return rule{}, fmt.Errorf("%s is there twice", key)
		}
		if strings.ContainsFunc(value, unicode.IsControl) {
			return rule{}, fmt.Errorf("%s %s contains a control character", key, brief(value))
		}
		r.want.Set(key, value)
	}
	if r.want == (tid.TID{}) {
		return rule{}, errors.New("it is empty")
	}
	return r, r.normalise()
}

func (r *rule) normalise() (err error) {
	w := &r.want
	if !slices.Contains([]string{"", tid.TCP, tid.RDMA, tid.FC, tid.Loop}, w.Transport) {
		return fmt.Errorf("transport %s must be tcp, rdma, fc or loop", brief(w.Transport))
	}
	if w.Traddr, r.traddr, err = address("traddr", w.Traddr, w.Transport); err != nil {
		return err
	}
	if w.HostTraddr, r.hostTraddr, err = address("host-traddr", w.HostTraddr, w.Transport); err != nil {
		return err
	}
	if w.Trsvcid != "" && w.Transport != tid.FC && w.Transport != tid.Loop {
		port, err := strconv.ParseUint(w.Trsvcid, 10, 16)
		if err != nil || port == 0 {
			return fmt.Errorf("trsvcid %s must be a number from 1 to 65535", brief(w.Trsvcid))
		}
		w.Trsvcid = strconv.FormatUint(port, 10)
	}
	for _, nqn := range []string{w.NQN, w.HostNQN} {
		if nqn == "" {
			continue
		}
		if err := tid.CheckNQN(nqn); err != nil {
			return err
		}
	}
	if w.HostID != "" && !tid.IsUUID(w.HostID) {
		return fmt.Errorf("hostid %s must be a UUID such as f81d4fae-7dec-11d0-a765-00a0c91e6bf6", brief(w.HostID))
	}
	w.NQN, w.HostNQN = tid.FoldNQN(w.NQN), tid.FoldNQN(w.HostNQN)
	return nil
}

// address returns value in its normal form and, where it is an IP address, as that. Which kind of address it is follows from
// the transport or, where the entry names none, from itself.
func address(key, value, transport string) (string, netip.Addr, error) {
	if value == "" || transport == tid.Loop {
		return value, netip.Addr{}, nil
	}
	if transport == tid.FC || transport == "" && strings.HasPrefix(strings.ToLower(value), "nn-") {
		addr, err := tid.FCAddr(value)
		if err != nil {
			return "", netip.Addr{}, fmt.Errorf("%s: %w", key, err)
		}
		return addr, netip.Addr{}, nil
	}
	addr, err := netip.ParseAddr(value)
	if err != nil {
		return "", netip.Addr{}, fmt.Errorf("%s %s is not an address; a host name cannot be excluded", key, brief(value))
	}
	return value, addr.Unmap(), nil
}

// Parse returns the list of one entry, "key=value;key=value…", or why it cannot be one.
func Parse(entry string) (List, error) {
	line := "exclusion = " + entry
	if strings.ContainsAny(entry, "\n\r") || withoutComment(line) != line {
		return List{}, fmt.Errorf("cannot use exclusion %s: it must be one line without a comment", brief(entry))
	}
	r, err := parseLine(line)
	if err != nil {
		return List{}, err
	}
	return List{[]rule{r}}, nil
}

// CheckForm tells which NQN in the list is not in the form of one (tid.CheckForm): most likely it is mistyped, though some targets
// have such names. One that is known to be a target's or a host's passes.
func (l List) CheckForm(known func(nqn string) bool) error {
	for i := range l.rules {
		if err := l.rules[i].checkForm(known); err != nil {
			return fmt.Errorf("cannot use exclusion %s: %w", brief(l.rules[i].entry.Text), err)
		}
	}
	return nil
}

func (r *rule) checkForm(known func(nqn string) bool) error {
	for _, key := range []string{"nqn", "hostnqn"} {
		nqn, _ := r.want.Get(key)
		if err := tid.CheckForm(nqn); nqn != "" && err != nil && !known(nqn) {
			return fmt.Errorf("%s %w", key, err)
		}
	}
	return nil
}

// Match returns the first entry that excludes t, and whether there is one. Every key of the entry must match; one that is
// unset in t does not. IP addresses compare by value, and an entry that names no IPv6 zone holds in every zone; Fibre
// Channel addresses compare in any spelling, ports as numbers, host IDs and the UUIDs in NQNs without regard to case.
func (l List) Match(t tid.TID) (Entry, bool) {
	t.NQN, t.HostNQN = tid.FoldNQN(t.NQN), tid.FoldNQN(t.HostNQN)
	traddr, hostTraddr := ip(t.Traddr), ip(t.HostTraddr)
	for i := range l.rules {
		if l.rules[i].matches(&t, traddr, hostTraddr) {
			return l.rules[i].entry, true
		}
	}
	return Entry{}, false
}

// Matches returns all entries that exclude t.
func (l List) Matches(t tid.TID) []Entry {
	var all []Entry
	t.NQN, t.HostNQN = tid.FoldNQN(t.NQN), tid.FoldNQN(t.HostNQN)
	traddr, hostTraddr := ip(t.Traddr), ip(t.HostTraddr)
	for i := range l.rules {
		if l.rules[i].matches(&t, traddr, hostTraddr) {
			all = append(all, l.rules[i].entry)
		}
	}
	return all
}

// matches compares with t, whose addresses are the two where they are IP addresses.
func (r *rule) matches(t *tid.TID, traddr, hostTraddr netip.Addr) bool {
	return same(r.want.NQN, t.NQN) &&
		sameAddress(t.Transport, r.want.Traddr, r.traddr, t.Traddr, traddr) &&
		same(r.want.Transport, t.Transport) &&
		samePort(r.want.Trsvcid, t.Trsvcid) &&
		sameAddress(t.Transport, r.want.HostTraddr, r.hostTraddr, t.HostTraddr, hostTraddr) &&
		same(r.want.HostIface, t.HostIface) &&
		same(r.want.HostNQN, t.HostNQN) &&
		(r.want.HostID == "" || strings.EqualFold(r.want.HostID, t.HostID))
}

// meaning is the same for all entries that exclude the same, however they are spelled.
func (r *rule) meaning() tid.TID {
	m := r.want
	m.Traddr, m.HostTraddr, m.HostID = spelled(m.Traddr, r.traddr), spelled(m.HostTraddr, r.hostTraddr), strings.ToLower(m.HostID)
	return m
}

// spelled is one spelling of an address, which is addr where that is valid.
func spelled(text string, addr netip.Addr) string {
	if addr.IsValid() {
		return addr.String()
	}
	return strings.ToLower(text)
}

// meanings is the set of what rules exclude.
func meanings(rules []rule) map[tid.TID]bool {
	set := make(map[tid.TID]bool, len(rules))
	for i := range rules {
		set[rules[i].meaning()] = true
	}
	return set
}

// ip returns s as an IP address, or the zero Addr.
func ip(s string) netip.Addr {
	addr, _ := netip.ParseAddr(s)
	return addr.Unmap()
}

func same(want, got string) bool { return want == "" || want == got }

// samePort compares numbers as such: that of a connection may have leading zeros too.
func samePort(want, got string) bool {
	if same(want, got) {
		return true
	}
	a, errA := strconv.ParseUint(want, 10, 16)
	b, errB := strconv.ParseUint(got, 10, 16)
	return errA == nil && errB == nil && a == b
}

// sameAddress compares with the address of a connection over transport. wantIP and gotIP are the two where they are IP
// addresses, which one of Fibre Channel may look like.
func sameAddress(transport, want string, wantIP netip.Addr, got string, gotIP netip.Addr) bool {
	switch {
	case want == "":
		return true
	case transport == tid.FC || !wantIP.IsValid():
		return tid.SameAddr(transport, want, got)
	case wantIP.Zone() == "":
		return wantIP == gotIP.WithZone("")
	}
	return wantIP == gotIP
}
