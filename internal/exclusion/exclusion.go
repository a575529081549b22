// Package exclusion reads the exclusion lists (SPEC section 6): what an administrator wants nobody to connect.
//
// The lists are shared with other programs and only read here. Whatever cannot be understood excludes nothing and is
// reported: a typing error must not take connections away.
package exclusion

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

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

// rule is an entry ready to be compared.
type rule struct {
	entry      Entry
	want       tid.TID    // the keys that the entry has, normalised
	traddr     netip.Addr // want.Traddr and want.HostTraddr where they are IP addresses
	hostTraddr netip.Addr
}

// Load reads every list: /etc/nvme/exclusions/*.conf and nvme-cli 3's exclusions.conf and exclusions.conf.d/*.conf. It
// returns the entries that are good. The errors are for the log: one for each bad line, with file and line, and one
// for each list that cannot be read. That there is no list is no error.
func Load(root paths.Root) (List, []error) {
	var list List
	var errs []error
	for _, source := range []func() ([]string, error){
		func() ([]string, error) { return confFiles(root.Exclusions()) },
		func() ([]string, error) { return []string{root.ExclusionsFile()}, nil },
		func() ([]string, error) { return confFiles(root.ExclusionsDropIns()) },
	} {
		files, err := source()
		if err != nil {
			errs = append(errs, err)
		}
		for _, file := range files {
			data, err := os.ReadFile(file)
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err != nil {
				errs = append(errs, fmt.Errorf("cannot read the exclusion list %s, which excludes nothing now: %w", file, err))
				continue
			}
			rules, bad := parse(file, string(data))
			list.rules = append(list.rules, rules...)
			errs = append(errs, bad...)
		}
	}
	return list, errs
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

// comment is one that begins its line or comes after white space: an NQN may have a # in it.
var comment = regexp.MustCompile(`(^|\s)#.*`)

func parse(file, text string) (rules []rule, errs []error) {
	number := 0
	for line := range strings.Lines(text) {
		number++
		line = strings.TrimSpace(comment.ReplaceAllString(line, ""))
		if line == "" || line == "[exclusions]" {
			continue
		}
		r, err := parseLine(line)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s:%d: %w; the line excludes nothing", file, number, err))
			continue
		}
		r.entry.File, r.entry.Line = file, number
		rules = append(rules, r)
	}
	return rules, errs
}

func parseLine(line string) (rule, error) {
	key, text, ok := strings.Cut(line, "=")
	if key = strings.TrimSpace(key); !ok || key != "exclusion" {
		return rule{}, fmt.Errorf("cannot use %q: a line is exclusion = key=value;key=value…", line)
	}
	text = strings.TrimSpace(text)
	r, err := parseEntry(text)
	if err != nil {
		return rule{}, fmt.Errorf("cannot use exclusion %q: %w", text, err)
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
			return rule{}, fmt.Errorf("%q is no key=value", pair)
		case !known:
			return rule{}, fmt.Errorf("unknown key %q, the keys are %s", key, strings.Join(tid.Keys(), ", "))
		case value == "":
			return rule{}, fmt.Errorf("%s has no value", key)
		case old != "":
			return rule{}, fmt.Errorf("%s is there twice", key)
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
		return fmt.Errorf("transport %q must be tcp, rdma, fc or loop", w.Transport)
	}
	if r.traddr, err = address("traddr", w.Traddr, w.Transport); err != nil {
		return err
	}
	if r.hostTraddr, err = address("host-traddr", w.HostTraddr, w.Transport); err != nil {
		return err
	}
	if w.Trsvcid != "" && w.Transport != tid.FC && w.Transport != tid.Loop {
		port, err := strconv.ParseUint(w.Trsvcid, 10, 16)
		if err != nil || port == 0 {
			return fmt.Errorf("trsvcid %q must be a number from 1 to 65535", w.Trsvcid)
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
	return nil
}

// address returns value as an IP address, or none if it is one of Fibre Channel or loop.
func address(key, value, transport string) (netip.Addr, error) {
	if value == "" || transport == tid.FC || transport == tid.Loop {
		return netip.Addr{}, nil
	}
	addr, err := netip.ParseAddr(value)
	if err == nil {
		return addr.Unmap(), nil
	}
	lower := strings.ToLower(value)
	if transport == "" && (strings.HasPrefix(lower, "nn-") || strings.HasPrefix(lower, "pn-")) {
		return netip.Addr{}, nil
	}
	return netip.Addr{}, fmt.Errorf("%s %q is no address; a host name cannot be excluded", key, value)
}

// Match returns the first entry that excludes t, and whether there is one. Every key of the entry must match; one that is
// unset in t does not. IP addresses compare by value, and an entry that names no IPv6 zone holds in every zone; Fibre
// Channel addresses and host IDs compare without regard to case.
func (l List) Match(t tid.TID) (Entry, bool) {
	traddr, hostTraddr := ip(t.Traddr), ip(t.HostTraddr)
	for i := range l.rules {
		r := &l.rules[i]
		if same(r.want.NQN, t.NQN) &&
			sameAddress(r.want.Traddr, r.traddr, t.Traddr, traddr) &&
			same(r.want.Transport, t.Transport) &&
			same(r.want.Trsvcid, t.Trsvcid) &&
			sameAddress(r.want.HostTraddr, r.hostTraddr, t.HostTraddr, hostTraddr) &&
			same(r.want.HostIface, t.HostIface) &&
			same(r.want.HostNQN, t.HostNQN) &&
			(r.want.HostID == "" || strings.EqualFold(r.want.HostID, t.HostID)) {
			return r.entry, true
		}
	}
	return Entry{}, false
}

// ip returns s as an IP address, or the zero Addr.
func ip(s string) netip.Addr {
	addr, _ := netip.ParseAddr(s)
	return addr.Unmap()
}

func same(want, got string) bool { return want == "" || want == got }

func sameAddress(want string, wantIP netip.Addr, got string, gotIP netip.Addr) bool {
	switch {
	case want == "":
		return true
	case !wantIP.IsValid():
		return strings.EqualFold(want, got)
	case wantIP.Zone() == "":
		return wantIP == gotIP.WithZone("")
	}
	return wantIP == gotIP
}
