// SPDX-License-Identifier: GPL-3.0-or-later

package config

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/nvme-discoverd/nvme-discoverd/internal/credential"
	"github.com/nvme-discoverd/nvme-discoverd/internal/param"
	"github.com/nvme-discoverd/nvme-discoverd/internal/paths"
)

// importedMode is what drop-ins are written with, secretMode those with secrets in them.
const (
	importedMode = 0o644
	secretMode   = 0o600
)

// draft is a drop-in that is being made.
type draft struct {
	name    string
	host    identity // persona; empty for the host's own
	own     []entry  // of [host], besides the persona
	doc     document
	closed  bool // its defaults are for the file that it is of alone
	count   int  // of connections
	sources []string
	lost    []string
}

// finish writes the drafts.
func (i *importer) finish() (out Import, err error) {
	out = Import{Exclusions: i.exclusions, Refused: i.refused, Stas: i.stasRead}
	count := map[string]int{}
	for _, d := range i.drafts {
		out.Lost = append(out.Lost, d.lost...)
		if d.count == 0 {
			for _, t := range d.doc.tables {
				for _, e := range t.entries {
					out.Lost = append(out.Lost, fmt.Sprintf("%s: %s is not imported: there is no controller that it would hold for; put it into %s of discoverd.conf", strings.Join(d.sources, ", "), e.key, tomlDialect.title(t.name)))
				}
			}
			continue
		}
		count[d.name]++
		name := "imported-" + d.name
		if n := count[d.name]; n > 1 {
			name += "-" + strconv.Itoa(n)
		}
		m := Imported{Name: name + ".conf", Text: d.toml(false), Shown: d.toml(true), Connections: d.count, Mode: importedMode}
		if m.Text != m.Shown {
			m.Mode = secretMode
		}
		out.DropIns = append(out.DropIns, m)
	}
	if err := i.main(&out); err != nil {
		return Import{}, err
	}
	var sources []*source
	for _, m := range out.DropIns {
		sources = append(sources, parse(m.Name, m.Text, m.Mode, tomlDialect, true))
	}
	host := i.known
	if host.nqn == "" { // it may get a name before it gets this file
		host = identity{nqn: "nqn.2014-08.org.nvmexpress:host", id: hostIDOf("nqn.2014-08.org.nvmexpress:host")}
	}
	resolve(sources, host, newSecretReader(i.root, credential.Host(i.root)))
	for _, s := range sources {
		err = errors.Join(err, s.found.err(s.file))
	}
	if err != nil {
		return Import{}, fmt.Errorf("cannot import: what comes of it is not right:\n%w", err)
	}
	return out, nil
}

// CheckWith tells what would be wrong with the installed configuration if what was imported were installed too.
func CheckWith(root paths.Root, imported Import) error {
	sources, err := gather(root, "")
	if imported.Main != "" {
		main := parse(root.DaemonConfig(), imported.Main, importedMode, tomlDialect, false)
		if len(sources) > 0 && sources[0].file == main.file {
			main.mode = sources[0].mode
			sources = sources[1:]
		}
		sources = slices.Insert(sources, 0, main)
	}
	at := slices.IndexFunc(sources, func(s *source) bool { return s.dialect == iniDialect })
	if at < 0 {
		at = len(sources)
	}
	for n, m := range imported.DropIns {
		file := filepath.Join(root.DaemonDropIns(), m.Name)
		sources = slices.Insert(sources, at+n, parse(file, m.Text, m.Mode, tomlDialect, true))
	}
	_, err = complete(root, sources, err)
	return err
}

// toml returns the text of a drop-in, with hide without its secrets.
func (d *draft) toml(hide bool) string {
	value := func(e entry) string {
		if _, has, ok := secretOf(e.key); ok && has == inPlace && hide && e.text != "" {
			return quote("(secret)")
		}
		return e.toml()
	}
	var b strings.Builder
	fmt.Fprintf(&b, "# Imported by \"nvme-discoverctl config import\" from %s.\n", comment(strings.Join(d.sources, " and ")))
	if len(d.lost) > 0 {
		b.WriteString("#\n# Not imported:\n")
		for _, line := range d.lost {
			fmt.Fprintf(&b, "#   %s\n", comment(line))
		}
	}
	if d.host.nqn != "" || len(d.own) > 0 {
		b.WriteString("\n[host]\n")
	}
	if d.host.nqn != "" {
		fmt.Fprintf(&b, "hostnqn = %s\n", quote(d.host.nqn))
		if d.host.id != "" {
			fmt.Fprintf(&b, "hostid = %s\n", quote(d.host.id))
		}
	}
	for _, e := range d.own {
		fmt.Fprintf(&b, "%s = %s\n", e.key, value(e))
	}
	tables := slices.Clone(d.doc.tables)
	slices.SortStableFunc(tables, func(x, y table) int { // the defaults first
		return slices.Index(sectionNames(), x.name)/4 - slices.Index(sectionNames(), y.name)/4
	})
	for _, t := range tables {
		fmt.Fprintf(&b, "\n%s\n", tomlDialect.title(t.name))
		for _, e := range t.entries {
			fmt.Fprintf(&b, "%s = %s\n", e.key, value(e))
		}
		if !sections[t.name] {
			continue
		}
		b.WriteString("controller = [\n")
		for _, c := range t.controllers {
			var fields []string
			for _, e := range c.entries {
				fields = append(fields, e.key+" = "+value(e))
			}
			fmt.Fprintf(&b, "  { %s },\n", strings.Join(fields, ", "))
		}
		b.WriteString("]\n")
	}
	return b.String()
}

// toml returns the value of an entry, which is right.
func (e entry) toml() string {
	_, err := strconv.Atoi(e.text)
	if _, ok := param.ByName(e.key); ok && (err == nil || e.text == "true" || e.text == "false") {
		return e.text
	}
	return quote(e.text)
}

// quote returns a text without control characters as TOML.
func quote(text string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(text) + `"`
}

// comment returns a text as it can stand in one.
func comment(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, text)
}
