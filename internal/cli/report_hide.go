// SPDX-License-Identifier: GPL-3.0-or-later

package cli

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/nvme-discoverd/nvme-discoverd/internal/files"
	"github.com/nvme-discoverd/nvme-discoverd/internal/recording"
	"github.com/nvme-discoverd/nvme-discoverd/internal/secret"
	"github.com/nvme-discoverd/nvme-discoverd/internal/standin"
)

// secretValue is the value of a key that is a secret, whatever its form: in TOML, which has strings of several lines, in INI, in JSON, and in
// commands. Keys that go on, such as dhchap-secret-file, are none.
var secretValue = regexp.MustCompile(`(?is)(\b(?:dhchap|kxchap)[-_](?:ctrl[-_])?(?:secret|key)["']?|\btls[-_](?:key|psk)["']?|\bpsk["']?)(\s*=\s*|["']\s*:\s*|(?:["'],?)?\s+["']?)` +
	`("""(?:.*?)"""|'''(?:.*?)'''|"(?:[^"\\\n]|\\.)*"?|'[^'\n]*'?|[^\s,;}\]"']+)`)

// hideSecrets returns text with the secrets hidden that may be in it: those of the interchange forms, and what stands where a secret
// belongs.
func hideSecrets(text string) string {
	text = secret.HideInText(text)
	var b strings.Builder
	done := 0
	for _, m := range secretValue.FindAllStringSubmatchIndex(text, -1) {
		separator := text[m[4]:m[5]]
		// Without a sign between them, two words are key and value only in a command.
		if !strings.ContainsAny(separator, "=:") && !strings.HasSuffix(text[:m[2]], "--") {
			continue
		}
		b.WriteString(text[done:m[6]])
		b.WriteString("(secret)")
		done = m[7]
	}
	b.WriteString(text[done:])
	return b.String()
}

// hostNames are the names of this host.
func (a *app) hostNames() []string {
	var names []string
	if name, err := os.Hostname(); err == nil {
		names = append(names, name)
	}
	if data, err := files.Read(a.root.Join("etc/hostname")); err == nil {
		names = append(names, strings.TrimSpace(string(data)))
	}
	return names
}

// namedValue is a value whose key says what it is, however it is written: traddr=…, "nqn": "…", serial: …
var namedValue = regexp.MustCompile(`\b((?:host|sub|subsys|source_?)?nqn|host[-_]?iface|src[-_]?iface|iface|(?:host[-_]?)?traddr|host[-_]?name|serial|[a-z-]+-(?:file|credential))["']?\s*[=:]\s*["']?([^\s"',;]+)`)

// keyAndValue is the same where they are values themselves, in the JSON of config show.
var keyAndValue = regexp.MustCompile(`"key": "([a-z-]+)",\s+"value": "([^"]*)"`)

// instanceForms are what the texts of a report have around the names of mDNS instances, which may be any words.
var instanceForms = []*regexp.Regexp{
	regexp.MustCompile(`"instance": "((?:[^"\\]|\\.)+)"`),
	regexp.MustCompile(`mDNS announces (.+?) at \S+ on \S+`),
	regexp.MustCompile(`mDNS: (.+?) on \S+`),
	regexp.MustCompile(`mDNS announces what is not connected \([0-9]+\): (.+?): `),
}

// anonymize replaces names by stand-ins, in all files. The names of this host are given. A recording that cannot be replaced is left
// out.
func (r *report) anonymize(hostNames []string) {
	set := standin.New()
	for _, name := range hostNames {
		set.LearnName(name)
	}
	learnNamed := func(key, value string) {
		key = strings.NewReplacer("-", "", "_", "").Replace(strings.ToLower(key))
		switch {
		case strings.HasSuffix(key, "nqn"):
			set.LearnNQN(value)
		case strings.HasSuffix(key, "iface"):
			set.LearnInterface(value)
		case strings.HasSuffix(key, "file"), strings.HasSuffix(key, "credential"):
			set.LearnName(strings.TrimSuffix(filepath.Base(value), filepath.Ext(value)))
		case strings.HasSuffix(key, "traddr"):
			if _, err := netip.ParseAddr(value); err != nil && !strings.HasPrefix(value, "nn-") {
				set.LearnName(value)
			}
		default: // serial, host name
			set.LearnName(value)
		}
	}
	var kept []reportFile
	for _, f := range r.files {
		if f.recording {
			if err := recording.Learn(f.data, set); err != nil {
				r.miss(f.name, fmt.Errorf("its names cannot be replaced: %w", err))
				continue
			}
		} else {
			set.Learn(string(f.data))
			for _, form := range instanceForms {
				for _, m := range form.FindAllStringSubmatch(string(f.data), -1) {
					set.LearnName(m[1])
				}
			}
			for _, form := range []*regexp.Regexp{namedValue, keyAndValue} {
				for _, m := range form.FindAllStringSubmatch(string(f.data), -1) {
					if form == keyAndValue && !namedValue.MatchString(m[1]+"="+m[2]) {
						continue
					}
					learnNamed(m[1], m[2])
				}
			}
		}
		if !f.learned {
			kept = append(kept, f)
		}
	}
	for _, m := range r.missing {
		set.Learn(m)
	}
	names := set.Names()
	r.files = kept[:0]
	for _, f := range kept {
		if !f.recording {
			f.data = []byte(names.Replace(string(f.data)))
			r.files = append(r.files, f)
			continue
		}
		anonymous, differs, err := recording.Anonymize(f.data, names)
		if err != nil {
			r.miss(f.name, fmt.Errorf("its names cannot be replaced: %w", err))
			continue
		}
		if differs > 0 {
			f.what += fmt.Sprintf("; at %s it replays otherwise than with its names", plural(differs, "step", "steps"))
		}
		f.data = anonymous
		r.files = append(r.files, f)
	}
	for i, m := range r.missing {
		r.missing[i] = names.Replace(m)
	}
}
