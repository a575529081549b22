package config

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"unicode"

	"github.com/nvme-discoverd/nvme-discoverd/internal/secret"
)

// fileSuffix makes the name of a key that names a file of the name of a secret.
const fileSuffix = "-file"

// secretKeys are the keys for secrets, as they are and by file.
func secretKeys() []string {
	var names []string
	for _, k := range secret.Keys() {
		names = append(names, k.String(), k.String()+fileSuffix)
	}
	return names
}

// secretOf tells which secret a key sets, and whether by a file.
func secretOf(key string) (k secret.Key, byFile, ok bool) {
	name, byFile := strings.CutSuffix(key, fileSuffix)
	k, ok = secret.ByName(name)
	return k, byFile, ok
}

// elsewhere are keys that other tools know, and what there is instead.
var elsewhere = map[string]string{
	"keyring":          "TLS keys are looked for in the kernel's keyring .nvme, where tls-key puts them",
	"tls-key-identity": "the identity of a TLS key follows from tls-key, hostnqn and nqn",
}

// secretReader reads the secret in a file, an absolute path. readable allows one that others than its owner may read.
type secretReader func(k secret.Key, file string, readable bool) (secret.Value, error)

// hostSecrets returns the secrets of a file's [host]. They are kept by name, and for those who connect as this host.
func (r *resolver) hostSecrets(s *source, own persona) (secret.Set, secret.Ref) {
	set := r.secrets(s, secret.Set{}, s.section(secHost))
	ref := r.keep(set, secret.Ref(s.dialect.title(secHost)+" of "+s.file))
	if _, other := r.out.HostSecrets[own.nqn]; ref != "" && !other {
		r.out.HostSecrets[own.nqn] = ref
	}
	return set, ref
}

// keep makes ref the name of set, and returns it; "" for a set of nothing.
func (r *resolver) keep(set secret.Set, ref secret.Ref) secret.Ref {
	if set.Empty() {
		return ""
	}
	if r.out.Secrets == nil {
		r.out.Secrets, r.out.HostSecrets = map[secret.Ref]secret.Set{}, map[string]secret.Ref{}
	}
	r.out.Secrets[ref] = set
	return ref
}

// secrets lays the secrets of a table over those of the level above it. An empty value takes one away.
func (r *resolver) secrets(s *source, set secret.Set, t table) secret.Set {
	before := map[secret.Key]entry{}
	wrong := false
	for _, e := range t.entries {
		k, byFile, ok := secretOf(e.key)
		if !ok || e.strange != "" {
			continue
		}
		other, twice := before[k]
		switch {
		case twice && e.text == "": // it is set as the other
			continue
		case twice && other.text != "":
			s.found.errors.add(e.at, "cannot set %s and %s in %s: leave one of them out", other.key, e.key, t.title)
			continue
		}
		before[k] = e
		set[k] = secret.Secret{}
		if e.text == "" {
			continue
		}
		if r.nvmePath != "" {
			s.found.errors.add(e.at, "cannot use %s with nvme-path, which is set at %s: nvme-cli takes secrets on its command line, where everybody can read them; leave one of the two out", e.key, r.nvmePath)
			wrong = true
			continue
		}
		value, err := r.secret(s, k, byFile, e.text)
		if err != nil {
			s.found.errors.add(e.at, "cannot use %s: %v", e.key, err)
			wrong = true
			continue
		}
		set[k] = secret.Secret{Value: value, From: s.place(e.at)}
		if byFile {
			set[k].From = e.text
			if dir := hiddenDir(e.text); dir != "" {
				s.found.warnings.add(e.at, "%s: as installed, the service does not see what is below %s: keep the file in a directory such as /etc/nvme", e.text, dir)
			}
		}
	}
	if len(before) > 0 && !wrong && set[secret.DHChapCtrl].Value.IsSet() && !set[secret.DHChap].Value.IsSet() {
		s.found.errors.add(cmp.Or(before[secret.DHChapCtrl], before[secret.DHChap]).at,
			"cannot use dhchap-ctrl-secret without dhchap-secret: a controller proves who it is to a host that does so too")
	}
	return set
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

// secret returns the secret that a key's text is, or names the file of. The error contains nothing of it.
func (r *resolver) secret(s *source, k secret.Key, byFile bool, text string) (secret.Value, error) {
	var value secret.Value
	var err error
	readable := r.out.Settings.AllowReadableSecrets
	switch {
	case !byFile && !readable:
		if err = secret.CheckMode(s.mode); err == nil {
			value, err = secret.Parse(k, text)
		} else {
			err = fmt.Errorf("this file: %w", err)
		}
	case !byFile:
		value, err = secret.Parse(k, text)
	case !filepath.IsAbs(text) || filepath.Clean(text) != text || strings.ContainsFunc(text, unicode.IsControl):
		err = errors.New("it must be the absolute path of a file") // it could be a secret: it is not shown
	default:
		if value, err = r.readSecret(k, text, readable); err != nil {
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
