// SPDX-License-Identifier: GPL-3.0-or-later

package config

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/nvme-discoverd/nvme-discoverd/internal/param"
	"github.com/nvme-discoverd/nvme-discoverd/internal/paths"
	"github.com/nvme-discoverd/nvme-discoverd/internal/tid"
)

// Imported is a drop-in made of files of other programs. It holds one persona.
type Imported struct {
	Name        string // of the file, such as "imported-discovery.conf"
	Text        string // TOML that Load takes
	Shown       string // Text for people: without secrets
	Connections int    // in it
	Mode        fs.FileMode
}

// Import is what comes of the configuration of other programs.
type Import struct {
	DropIns []Imported

	// Global are the lines that [global] of discoverd.conf lacks, Main is the whole of that file with them. Both are empty if
	// it lacks nothing.
	Global []string
	Main   string

	Exclusions []string // entries of an exclusion list, good ones

	// Lost has a line "file:line: …" for each thing that none of these expresses; the drop-ins have them as comments.
	// Refused are those of them that cost a connection or a setting: without it, the host would connect with less security
	// than the file asked for, or what it did not ask for.
	Lost, Refused []string

	Stas bool // a file of nvme-stas is among what was imported
}

// format is one that can be imported.
type format struct {
	name string // of the file, as it is installed
	path func(paths.Root) string
	read func(*importer, string)
}

// formats returns what can be imported, in the order in which it is.
func formats() []format {
	return []format{
		{"discovery.conf", paths.Root.NVMeDiscoveryConfig, (*importer).discoveryConf},
		{"config.json", paths.Root.NVMeJSONConfig, (*importer).configJSON},
		{"nvme-discoverd.conf", paths.Root.NVMeDiscoverdConfig, (*importer).discoverdConf},
		{"stafd.conf", paths.Root.STAFConfig, func(i *importer, text string) { i.stas(text, tid.Discovery) }},
		{"stacd.conf", paths.Root.STACConfig, func(i *importer, text string) { i.stas(text, tid.IO) }},
		{"nvme-stas.conf", paths.Root.STASConfig, (*importer).fabricsConf},
		{fabricsName, paths.Root.FabricsConfig, (*importer).fabricsConf},
	}
}

// fabricsName is the file that is imported only if it is named: the service reads it.
const fabricsName = "nvme-fabrics.conf"

// formatNames returns the names of what can be imported, for people.
func formatNames() string {
	var names []string
	for _, f := range formats() {
		names = append(names, f.name)
	}
	return strings.Join(names[:len(names)-1], ", ") + " or " + names[len(names)-1]
}

// ImportFiles turns the configuration of other programs into drop-ins, settings and exclusions: nvme-cli's discovery.conf,
// nvme-discoverd.conf and nvme-fabrics.conf, libnvme's config.json, nvme-stas' stafd.conf, stacd.conf and nvme-stas.conf.
// from names them, each by the name of its installed file or by a path; without any it is all that are installed and that
// the service does not read. Nothing is lost in silence, and a file of which an exclusion would be lost is not imported at
// all. Secrets are copied of files alone whose format is ours; no message and no comment shows one.
func ImportFiles(root paths.Root, from []string) (Import, error) {
	known, err := readIdentity(root)
	if err != nil {
		return Import{}, err
	}
	all := importer{root: root, known: known, seen: map[connectionKey]string{}}
	for _, name := range from {
		err = errors.Join(err, all.file(name))
	}
	if len(from) == 0 {
		for _, f := range formats() {
			if f.name == fabricsName {
				continue
			}
			if e := all.file(f.name); !errors.Is(e, fs.ErrNotExist) {
				err = errors.Join(err, e)
			}
		}
	}
	if err != nil {
		return Import{}, err
	}
	return all.finish()
}

// importer reads files of other programs into drafts.
type importer struct {
	root   paths.Root
	known  identity // of this host
	drafts []*draft
	seen   map[connectionKey]string // where each connection was first, "file:line"

	global     []globalKey
	exclusions []string
	refused    []string
	stasRead   bool

	name    string // of the drop-ins of the file that is being read
	path    string
	notes   list  // about it
	refusal list  // those of the notes that cost something
	wrong   error // nothing can be made of it
}

// file imports one file.
func (i *importer) file(name string) error {
	f, path, err := i.find(name)
	if err != nil {
		return err
	}
	text, _, err := read(path)
	if err != nil {
		return fmt.Errorf("cannot import %s: %w", path, err)
	}
	if f == nil {
		if f = recognise(path, text); f == nil {
			return fmt.Errorf("cannot import %s: it is not clear what it is; let its name be %s", path, formatNames())
		}
	}
	i.path, i.notes, i.refusal, i.wrong = path, nil, nil, nil
	i.name = strings.TrimSuffix(f.name, filepath.Ext(f.name))
	if f.name == "stafd.conf" || f.name == "stacd.conf" {
		i.name = "stas" // what stacd.conf says of I/O controllers holds for those that stafd's controllers name
	}
	i.stasRead = i.stasRead || strings.HasPrefix(i.name, "stas") || f.name == "nvme-stas.conf"
	var found findings
	text, ok := plain(text, &found)
	if !ok {
		return fmt.Errorf("cannot import %s: it is not UTF-8", path)
	}
	f.read(i, text)
	if i.wrong != nil {
		return fmt.Errorf("cannot import %s: %w", path, i.wrong)
	}
	i.refused = append(i.refused, i.refusal.places(path)...)
	lost := i.notes.places(path)
	if len(lost) == 0 {
		return nil
	}
	tell := i.draft(identity{}) // even if there is nothing to connect
	for _, d := range i.drafts {
		if d.count > 0 && slices.Contains(d.sources, path) {
			tell = d
			break
		}
	}
	tell.lost = append(tell.lost, lost...)
	return nil
}

// find returns the format that a name stands for, nil if the file itself must tell, and the file.
func (i *importer) find(name string) (*format, string, error) {
	for _, f := range formats() {
		if name == f.name {
			return &f, f.path(i.root), nil
		}
	}
	if !strings.Contains(name, "/") {
		if _, _, err := read(name); errors.Is(err, fs.ErrNotExist) {
			return nil, "", fmt.Errorf("cannot import %q: it must be %s or the path of a file", name, strings.Replace(formatNames(), " or ", ", ", 1))
		}
	}
	for _, f := range formats() {
		if filepath.Base(name) == f.name {
			return &f, name, nil
		}
	}
	return nil, name, nil
}

// recognise tells of which format a file with an unusual name is, nil if that cannot be told.
func recognise(path, text string) *format {
	is := ""
	switch trimmed := strings.TrimSpace(text); {
	case strings.HasPrefix(trimmed, "{") || strings.HasPrefix(trimmed, "[") && strings.HasSuffix(path, ".json"):
		is = "config.json"
	case strings.HasPrefix(trimmed, "-"):
		is = "discovery.conf"
	case strings.Contains(text, "\n[Service Discovery]"), strings.Contains(filepath.Base(path), "stafd"):
		is = "stafd.conf"
	case strings.Contains(text, "\n[I/O controller connection management]"), strings.Contains(filepath.Base(path), "stacd"):
		is = "stacd.conf"
	case strings.Contains(filepath.Base(path), "nvme-discoverd"):
		is = "nvme-discoverd.conf"
	case strings.Contains(filepath.Base(path), "nvme-stas"):
		is = "nvme-stas.conf"
	case dialectOf(path, text) == iniDialect:
		is = fabricsName
	}
	for _, f := range formats() {
		if f.name == is {
			return &f
		}
	}
	return nil
}

// places returns the notes as lines of people's lists.
func (l list) places(file string) []string {
	sorted := slices.Clone(l)
	slices.SortStableFunc(sorted, func(a, b finding) int { return a.at.line - b.at.line })
	var lines []string
	for _, f := range sorted {
		lines = append(lines, fmt.Sprintf("%s:%d: %s", file, f.at.line, f.text))
	}
	return slices.Compact(lines)
}

// lose notes something that the drop-in will not say.
func (i *importer) lose(at position, format string, args ...any) { i.notes.add(at, format, args...) }

// refuse notes something that costs a connection or a setting, see Import.
func (i *importer) refuse(at position, format string, args ...any) {
	i.notes.add(at, format, args...)
	i.refusal.add(at, format, args...)
}

// loseKey notes a key that has no place in a drop-in. Its value is not told: it could be a secret.
func (i *importer) loseKey(at position, key string) {
	i.lose(at, "%s is not imported: nothing in discoverd.conf is like it", shown(key))
}

// refuseFor notes that a key costs what, a connection or more, since it could have to do with security or path.
func (i *importer) refuseFor(what string, at position, key string) {
	if isGuarded(key) {
		i.refuse(at, "%s is not imported: it has %s, secrets are not copied, and it would be connected with less security; configure it with dhchap-secret-file or tls-key-file, see discoverd.conf(5)", what, shown(key))
		return
	}
	i.refuse(at, "%s is not imported: nothing in discoverd.conf is like %s, which could say over which path or how it is to be connected", what, shown(key))
}

// draft returns the draft of a persona, the zero identity being the host's own.
func (i *importer) draft(host identity) *draft {
	for _, d := range i.drafts {
		if d.name == i.name && d.host == host {
			return i.into(d)
		}
	}
	d := &draft{name: i.name, host: host, sources: []string{i.path}}
	i.drafts = append(i.drafts, d)
	return d
}

// into returns d, which the file is going to add to.
func (i *importer) into(d *draft) *draft {
	if !slices.Contains(d.sources, i.path) {
		d.sources = append(d.sources, i.path)
	}
	return d
}

// persona returns the draft of who a file says that the host is, nil if the file's connections cannot be made as anybody.
func (i *importer) persona(at position, nqn, id string) *draft {
	nqn = tid.FoldNQN(nqn)
	host := identity{nqn: nqn, id: strings.ToLower(id)}
	if nqn != "" {
		if err := tid.CheckNQN(nqn); err != nil {
			i.refuse(at, "not imported with all that it connects: %v", err)
			return nil
		}
	}
	if host.id != "" && !tid.IsUUID(host.id) {
		i.lose(at, "hostid is not imported: %v", errNoUUID)
		host.id = ""
	}
	if nqn == "" || nqn == i.known.nqn {
		if host.id != "" && host.id != i.known.id {
			i.lose(at, "hostid is not imported: that of %s holds", cmp.Or(i.known.nqn, "the host"))
		}
		return i.draft(identity{})
	}
	for _, d := range i.drafts {
		if d.host.nqn != nqn {
			continue
		}
		if d.closed {
			i.wrong = fmt.Errorf("hostnqn %s is that of %s too, whose defaults hold for all of one drop-in: import the two one after the other, and join the drop-ins by hand", nqn, d.sources[0])
			return nil
		}
		if host.id != "" && host.id != d.host.completed().id {
			i.lose(at, "hostid is not imported: hostnqn %s has another one already", nqn)
		}
		return i.into(d) // whichever file it is of: a host NQN belongs in one drop-in
	}
	for _, id := range []string{host.id, ""} {
		host.id = id
		other := i.sharing(host.completed().id)
		if other == "" {
			return i.draft(host)
		}
		if id != "" {
			i.lose(at, "hostid is not imported: it is that of hostnqn %s, and targets would take both for one host", other)
		}
	}
	i.refuse(at, "hostnqn %s is not imported with all that it connects: its hostid is that of another one, and targets would take both for one host", nqn)
	return nil
}

// sharing returns the host NQN that has a host ID already, "" if none has.
func (i *importer) sharing(id string) string {
	if id == i.known.id {
		return i.known.nqn
	}
	for _, d := range i.drafts {
		if d.host.nqn != "" && d.host.completed().id == id {
			return d.host.nqn
		}
	}
	return ""
}

// defaults adds parameters to the type defaults of a draft.
func (i *importer) defaults(d *draft, kind tid.Kind, entries []entry) {
	name := secIODefaults
	if kind == tid.Discovery {
		name = secDiscoveryDefaults
	}
	good, bad := i.parameters(entries)
	if bad != nil {
		i.wrong = fmt.Errorf("line %d: %s", bad.at.line, bad.text)
	}
	if len(good) > 0 {
		d.doc.tables = append(d.doc.tables, table{name: name, entries: good})
	}
}

// parameters returns the entries whose values are right, as a file of ours has them. bad is one that is not and has to do
// with security.
func (i *importer) parameters(entries []entry) (good []entry, bad *finding) {
	for _, e := range entries {
		p, ok := param.ByName(e.key)
		if !ok {
			continue
		}
		if e.text != "" && e.text == p.Info().Ignored {
			continue
		}
		set, err := param.Set{}.With(p, e.text)
		if err != nil && isGuarded(e.key) {
			bad = &finding{at: e.at, text: err.Error()}
			continue
		}
		if err != nil {
			i.lose(e.at, "%s is not imported: %v", e.key, err)
			continue
		}
		e.text, ok = set.Get(p)
		if p.Info().Form == param.Switch {
			e.text, ok = strconv.FormatBool(ok), true
		}
		if ok {
			good = append(good, e)
		}
	}
	return good, bad
}

// endpointKeys are the keys that a controller has of its section, besides parameters.
var endpointKeys = []string{"nqn", persistentKey}

// connect adds a connection: the fields of its TID, its NQN and other keys of its section among them, and parameters.
func (i *importer) connect(d *draft, kind tid.Kind, at position, entries []entry) {
	key, path, err := connectionOf(kind, entries)
	if err != nil {
		i.refuse(at, "controller is not imported: %v", err)
		return
	}
	nqn := key.id.NQN
	if kind == tid.Discovery && nqn == tid.DiscoveryNQN {
		nqn = ""
	}
	params, bad := i.parameters(entries)
	if bad != nil {
		i.refuse(at, "controller is not imported: %s", bad.text)
		return
	}
	key.id.HostNQN = d.host.nqn
	if before, ok := i.seen[key]; ok {
		i.lose(at, "controller is not imported: it is at %s already", before)
		return
	}
	for _, e := range params {
		if p, ok := param.ByName(e.key); ok && !p.Info().On(key.id.Transport) {
			if isGuarded(e.key) {
				i.refuse(at, "controller is not imported: transport %s does not take %s", key.id.Transport, e.key)
				return
			}
			i.lose(e.at, "%s is not imported: transport %s does not take it", e.key, key.id.Transport)
			continue
		}
		path.entries = append(path.entries, e)
	}
	i.seen[key] = fmt.Sprintf("%s:%d", i.path, at.line)
	d.count++
	var own []entry
	if nqn != "" {
		own = append(own, entry{key: "nqn", text: nqn})
	}
	for _, e := range entries {
		if e.key == persistentKey && kind == tid.Discovery {
			own = append(own, entry{key: e.key, text: e.text})
		}
	}
	name := secSubsystem
	if kind == tid.Discovery {
		name = secDiscovery
	}
	for n, t := range d.doc.tables {
		if t.name == name && sameEntries(t.entries, own) {
			d.doc.tables[n].controllers = append(t.controllers, path)
			return
		}
	}
	d.doc.tables = append(d.doc.tables, table{name: name, entries: own, controllers: []table{path}})
}

// connectionOf returns what the entries name, and what a controller table has of it.
func connectionOf(kind tid.Kind, entries []entry) (connectionKey, table, error) {
	var id tid.TID
	path := table{name: "controller"}
	for _, e := range entries {
		switch {
		case e.text == "":
		case e.key == "nqn":
			id.NQN = e.text
		case slices.Contains(controllerKeys, e.key):
			if e.key == "traddr" || e.key == "host-traddr" { // an IPv6 address may stand in brackets elsewhere
				if inner, ok := strings.CutPrefix(e.text, "["); ok {
					e.text = strings.TrimSuffix(inner, "]")
				}
			}
			id.Set(e.key, e.text)
			path.entries = append(path.entries, e)
		}
	}
	if err := tomlDialect.checkNQN(id.NQN, kind); err != nil {
		return connectionKey{}, table{}, err
	}
	host := hostName(&id)
	if host != "" {
		id.Traddr = "::"
	}
	checked, err := tid.New(id, kind)
	if err == nil {
		err = checkSource(checked, host)
	}
	return connectionKey{checked, host}, path, err
}

// NotRead returns a sentence for each installed file of a neighbour that an administrator could take for ours: the service
// does not read it.
func NotRead(root paths.Root) []string {
	var sentences []string
	for _, file := range []string{root.NVMeDiscoverdConfig(), root.STASConfig()} {
		if _, err := os.Stat(file); err == nil {
			sentences = append(sentences, fmt.Sprintf("%s is there and is not read: it is of another program; `nvme-discoverctl config import --from=%s` turns it into configuration of this service",
				file, filepath.Base(file)))
		}
	}
	return sentences
}
