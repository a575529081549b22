// SPDX-License-Identifier: GPL-3.0-or-later

package config

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"unicode"

	"github.com/nvme-discoverd/nvme-discoverd/internal/credential"
	"github.com/nvme-discoverd/nvme-discoverd/internal/param"
	"github.com/nvme-discoverd/nvme-discoverd/internal/paths"
	"github.com/nvme-discoverd/nvme-discoverd/internal/secret"
)

// holder is what a key has of a secret.
type holder int

// The holders.
const (
	inPlace      holder = iota // the secret itself
	inFile                     // the path of the file that holds it
	inCredential               // the name of a credential of systemd's
)

// holderSuffixes make the name of a key of the name of a secret. They are constant.
var holderSuffixes = [...]string{inPlace: "", inFile: "-file", inCredential: "-credential"}

// namesOf returns the keys for a secret, given by its name.
func namesOf(name string) []string {
	var names []string
	for _, suffix := range holderSuffixes {
		names = append(names, name+suffix)
	}
	return names
}

// secretKeys are the keys for secrets.
func secretKeys() []string {
	var names []string
	for _, k := range secret.Keys() {
		names = append(names, namesOf(k.String())...)
	}
	return names
}

// otherNames are nvme-cli's names of secrets since August 2026, with ours. They are constant.
var otherNames = map[string]string{"kxchap-secret": "dhchap-secret", "kxchap-ctrl-secret": "dhchap-ctrl-secret"}

// allSecretKeys are the secretKeys under all their names.
func allSecretKeys() []string {
	names := secretKeys()
	for _, other := range slices.Sorted(maps.Keys(otherNames)) {
		names = append(names, namesOf(other)...)
	}
	return names
}

// secretOf tells which secret a key sets, and what it has of it.
func secretOf(key string) (k secret.Key, has holder, ok bool) {
	name := key
	for h, suffix := range holderSuffixes {
		if rest, found := strings.CutSuffix(key, suffix); found && suffix != "" {
			name, has = rest, holder(h)
		}
	}
	if ours, other := otherNames[name]; other {
		name = ours
	}
	k, ok = secret.ByName(name)
	return k, has, ok
}

// secretReader reads secrets that a configuration only names.
type secretReader struct {
	// file reads the one in a file, an absolute path. readable allows one that others than its owner may read.
	file func(k secret.Key, path string, readable bool) (secret.Value, error)
	// credential reads the one in a credential, with its whole name.
	credential func(k secret.Key, name string) (secret.Value, error)
}

// newSecretReader returns one for the files below root and the credentials that credentials reads.
func newSecretReader(root paths.Root, credentials credential.Reader) secretReader {
	return secretReader{
		file: func(k secret.Key, path string, readable bool) (secret.Value, error) {
			return secret.ReadFile(k, root.Join(path), readable)
		},
		credential: func(k secret.Key, name string) (secret.Value, error) {
			data, err := credentials(name)
			switch {
			case errors.Is(err, credential.ErrSealed):
				return secret.Unseen(), nil
			case err != nil:
				return secret.Value{}, err
			}
			return secret.ParseContent(k, data)
		},
	}
}

// hostSecrets adds the secrets of a file's [host] to its persona. They are kept by name, and for those who connect as this
// host. A fault that concerns them leaves those who connect as this host the secrets of the last good state.
func (r *resolver) hostSecrets(s *source, own *persona) {
	set, faults := r.secrets(s, secret.Set{}, s.section(secHost))
	own.faults = append(own.faults, faults...)
	own.secrets = set
	name := secret.Ref(s.dialect.title(secHost) + " of " + s.file)
	wrong := secretFaults(own.faults)
	if len(wrong) == 0 {
		own.ref = r.keep(set, name)
	} else if last := (kept{secrets: r.last.hosts[own.nqn]}); !last.secrets.Empty() && last.hasAll(wrong) && last.lacks(param.Set{}, set) == "" {
		own.ref = r.keep(last.secrets, lastGoodRef(name))
	} else {
		own.ref = r.block(name, wrong)
	}
	if _, other := r.out.HostSecrets[own.nqn]; own.ref != "" && !other && !own.unknowing {
		r.out.HostSecrets[own.nqn] = own.ref
	}
}

// secretFaults returns the faults that concern secrets, or may.
func secretFaults(faults []fault) []fault {
	return slices.DeleteFunc(onlyGrave(faults), func(f fault) bool {
		_, _, ok := secretOf(f.key)
		return !ok && f.key != ""
	})
}

// lastGoodRef names secrets of an earlier load. Nothing else begins like that: other names begin with the name of a file or
// section.
func lastGoodRef(ref secret.Ref) secret.Ref {
	const mark = "last good "
	return mark + secret.Ref(strings.TrimPrefix(string(ref), mark))
}

// keep makes ref the name of set, and returns it; "" for a set of nothing.
func (r *resolver) keep(set secret.Set, ref secret.Ref) secret.Ref {
	if set.Empty() {
		return ""
	}
	r.refs()
	r.out.Secrets[ref] = set
	return ref
}

// block makes ref the name of secrets that cannot be used because of faults, and returns it.
func (r *resolver) block(ref secret.Ref, faults []fault) secret.Ref {
	r.refs()
	r.out.Unusable[ref] = faults[0].why
	return ref
}

// refs makes the maps of names of secrets.
func (r *resolver) refs() {
	if r.out.HostSecrets == nil {
		r.out.Secrets, r.out.HostSecrets = map[secret.Ref]secret.Set{}, map[string]secret.Ref{}
		r.out.Unusable = map[secret.Ref]string{}
	}
}

// secrets lays the secrets of a table over those of the level above it. An empty value takes one away.
func (r *resolver) secrets(s *source, set secret.Set, t table) (_ secret.Set, faults []fault) {
	before := map[secret.Key]entry{}
	wrong := func(e entry, format string, args ...any) {
		faults = append(faults, s.wrong(e.at, e.key, true, format, args...))
	}
	for _, e := range t.entries {
		k, has, ok := secretOf(e.key)
		if !ok || e.strange != "" {
			continue
		}
		other, twice := before[k]
		switch {
		case twice && e.text == "": // it is set as the other
			continue
		case twice && other.text != "":
			wrong(e, "cannot set %s and %s in %s: leave one of them out", other.key, e.key, t.title)
			continue
		}
		before[k] = e
		set[k] = secret.Secret{}
		if e.text == "" {
			continue
		}
		if r.nvmePath != "" {
			// It is nvme-path that is not in force: nothing is connected without its secrets.
			s.found.errors.add(e.at, "cannot use %s with nvme-path, which is set at %s: nvme-cli takes secrets on its command line, where everybody can read them; leave one of the two out", e.key, r.nvmePath)
			r.out.Settings.NVMePath = ""
		}
		value, err := r.secret(s, k, has, e.text)
		if err != nil {
			wrong(e, "cannot use %s: %v", e.key, err)
			continue
		}
		set[k] = secret.Secret{Value: value, From: s.place(e.at)}
		switch has {
		case inPlace:
		case inCredential:
			set[k].From = "credential " + credential.Prefix + e.text
		case inFile:
			set[k].From = e.text
			if dir := hiddenDir(e.text); dir != "" {
				s.found.warnings.add(e.at, "%s: as installed, the service does not see what is below %s: keep the file in a directory such as /etc/nvme", e.text, dir)
			}
		}
	}
	if len(before) > 0 && len(faults) == 0 && set[secret.DHChapCtrl].Value.IsSet() && !set[secret.DHChap].Value.IsSet() {
		at := cmp.Or(before[secret.DHChapCtrl], before[secret.DHChap]).at
		wrong(entry{key: secret.DHChap.String(), at: at}, "cannot use dhchap-ctrl-secret without dhchap-secret: a controller proves who it is to a host that does so too")
	}
	return set, faults
}

// hiddenDir returns the directory above file that ProtectHome= and PrivateTmp= hide from the service, "" for none.
func hiddenDir(file string) string {
	for _, dir := range []string{"/home", "/root", "/run/user", "/tmp", "/var/tmp"} {
		if strings.HasPrefix(file, dir+"/") {
			return dir
		}
	}
	return ""
}

// secret returns the secret that a key's text is, or names the file or the credential of. The error contains nothing of it.
func (r *resolver) secret(s *source, k secret.Key, has holder, text string) (secret.Value, error) {
	var value secret.Value
	var err error
	readable := r.out.Settings.AllowReadableSecrets
	switch {
	case has == inPlace && !readable:
		if err = secret.CheckMode(s.mode); err == nil {
			value, err = secret.Parse(k, text)
		} else {
			err = fmt.Errorf("this file: %w", err)
		}
	case has == inPlace:
		value, err = secret.Parse(k, text)
	case has == inCredential:
		if err = credential.CheckName(text); err != nil {
			break
		}
		if value, err = r.readSecret.credential(k, credential.Prefix+text); err != nil {
			err = fmt.Errorf("credential %s: %w", credential.Prefix+text, err)
		}
	case !filepath.IsAbs(text) || filepath.Clean(text) != text || strings.ContainsFunc(text, unicode.IsControl):
		err = errors.New("it must be the absolute path of a file") // it could be a secret: it is not shown
	default:
		if value, err = r.readSecret.file(k, text, readable); err != nil {
			err = fmt.Errorf("%s: %w", text, err)
		}
	}
	var mode secret.ModeError
	if errors.As(err, &mode) {
		err = fmt.Errorf("%w, or set allow-readable-secrets in %s", err, tomlDialect.title(secGlobal))
	}
	if errors.Is(err, fs.ErrPermission) {
		err = fmt.Errorf("%w: be root", err)
	}
	return value, err
}

// listSecrets returns the secrets for people, without their values.
func listSecrets(set secret.Set) []Value {
	var list []Value
	for _, k := range secret.Keys() {
		if set[k].Value.IsSet() {
			list = append(list, Value{k.String(), set[k].Value.String(), set[k].From})
		}
	}
	return list
}
