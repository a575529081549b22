package config

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/nvme-discoverd/nvme-discoverd/internal/param"
	"github.com/nvme-discoverd/nvme-discoverd/internal/paths"
)

// importedMode is what drop-ins are written with.
const importedMode = 0o644

// draft is a drop-in that is being made.
type draft struct {
	name    string
	host    identity // persona; empty for the host's own
	doc     document
	count   int // of connections
	sources []string
	lost    []string
}

// finish writes the drafts.
func (i *importer) finish() (made []Imported, lost []string, err error) {
	count := map[string]int{}
	for _, d := range i.drafts {
		lost = append(lost, d.lost...)
		if d.count == 0 {
			for _, t := range d.doc.tables {
				for _, e := range t.entries {
					lost = append(lost, fmt.Sprintf("%s: %s is not imported: there is no controller that it would hold for; put it into %s of discoverd.conf", strings.Join(d.sources, ", "), e.key, tomlDialect.title(t.name)))
				}
			}
			continue
		}
		count[d.name]++
		name := "imported-" + d.name
		if n := count[d.name]; n > 1 {
			name += "-" + strconv.Itoa(n)
		}
		made = append(made, Imported{Name: name + ".conf", Text: d.toml(), Connections: d.count})
	}
	var sources []*source
	for _, m := range made {
		sources = append(sources, parse(m.Name, m.Text, importedMode, tomlDialect, true))
	}
	host := i.known
	if host.nqn == "" { // it may get a name before it gets this file
		host = identity{nqn: "nqn.2014-08.org.nvmexpress:host", id: hostIDOf("nqn.2014-08.org.nvmexpress:host")}
	}
	resolve(sources, host, nil) // no secret is imported
	for _, s := range sources {
		err = errors.Join(err, s.found.err(s.file))
	}
	if err != nil {
		return nil, nil, fmt.Errorf("cannot import: what comes of it is not right:\n%w", err)
	}
	return made, lost, nil
}

// CheckWith tells what would be wrong with the installed configuration if the drop-ins were installed too.
func CheckWith(root paths.Root, made []Imported) error {
	sources, err := gather(root, "")
	at := slices.IndexFunc(sources, func(s *source) bool { return s.dialect == iniDialect })
	if at < 0 {
		at = len(sources)
	}
	for n, m := range made {
		file := filepath.Join(root.DaemonDropIns(), m.Name)
		sources = slices.Insert(sources, at+n, parse(file, m.Text, importedMode, tomlDialect, true))
	}
	_, err = complete(root, sources, err)
	return err
}

// toml returns the text of a drop-in.
func (d *draft) toml() string {
	var b strings.Builder
	fmt.Fprintf(&b, "# Imported by \"nvme-discoverctl config import\" from %s.\n", comment(strings.Join(d.sources, " and ")))
	if len(d.lost) > 0 {
		b.WriteString("#\n# Not imported:\n")
		for _, line := range d.lost {
			fmt.Fprintf(&b, "#   %s\n", comment(line))
		}
	}
	if d.host.nqn != "" {
		fmt.Fprintf(&b, "\n[host]\nhostnqn = %s\n", quote(d.host.nqn))
		if d.host.id != "" {
			fmt.Fprintf(&b, "hostid = %s\n", quote(d.host.id))
		}
	}
	tables := slices.Clone(d.doc.tables)
	slices.SortStableFunc(tables, func(x, y table) int { // the defaults first
		return slices.Index(sectionNames(), x.name)/4 - slices.Index(sectionNames(), y.name)/4
	})
	for _, t := range tables {
		fmt.Fprintf(&b, "\n%s\n", tomlDialect.title(t.name))
		for _, e := range t.entries {
			fmt.Fprintf(&b, "%s = %s\n", e.key, e.toml())
		}
		if !sections[t.name] {
			continue
		}
		b.WriteString("controller = [\n")
		for _, c := range t.controllers {
			var fields []string
			for _, e := range c.entries {
				fields = append(fields, e.key+" = "+e.toml())
			}
			fmt.Fprintf(&b, "  { %s },\n", strings.Join(fields, ", "))
		}
		b.WriteString("]\n")
	}
	return b.String()
}

// toml returns the value of an entry, which is right.
func (e entry) toml() string {
	if _, ok := param.ByName(e.key); ok {
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
