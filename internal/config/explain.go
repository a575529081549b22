// SPDX-License-Identifier: GPL-3.0-or-later

package config

import (
	"github.com/nvme-discoverd/nvme-discoverd/internal/param"
	"github.com/nvme-discoverd/nvme-discoverd/internal/paths"
	"github.com/nvme-discoverd/nvme-discoverd/internal/secret"
	"github.com/nvme-discoverd/nvme-discoverd/internal/tid"
)

// Value is a key with its value and where that was set: "file:line", the name of a file, or words. The value of a secret
// is not there, only where it is.
type Value struct{ Key, Value, From string }

// FoundValues are the parameters of controllers that are found and not configured.
type FoundValues struct{ Discovery, IO []Value }

// ConnectionValues are those of one connection: the fields of its TID, then the parameters that anything sets or resets.
type ConnectionValues struct {
	Own   []Value
	Found FoundValues // of what a discovery controller names

	Unusable string // the error that keeps it from being connected
}

// Explanation is a Config with where everything in it comes from.
type Explanation struct {
	Config
	Files         []string           // that were read, in the order in which their connections stand
	SettingValues []Value            // every key of [global]
	Values        []ConnectionValues // of Config.Connections
	Found         FoundValues        // of what is found by itself
}

// Explain is Load for people.
func Explain(root paths.Root, file string) (Explanation, error) {
	sources, err := gather(root, file)
	return complete(root, sources, err)
}

// list returns the parameters in their order. The value of one that was reset is "".
func (v values) list() []Value {
	var list []Value
	for _, p := range param.All() {
		if from, ok := v.from[p]; ok {
			value, set := v.set.Get(p)
			if !set && p.Info().Form == param.Switch {
				value = "false"
			}
			list = append(list, Value{p.String(), value, from})
		}
	}
	return list
}

func (l levels) found(secrets secret.Set) FoundValues {
	return FoundValues{
		append(l[tid.Discovery].list(), listSecrets(secrets)...),
		append(l[tid.IO].list(), listSecrets(secrets)...),
	}
}

// origins are the tables that the TID of a connection is made of.
type origins struct {
	table, endpoint table
	own             persona
	base            levels
}

func (o origins) list(s *source, c Connection) []Value {
	var list []Value
	for _, key := range tid.Keys() {
		value, _ := c.Wish.TID.Get(key)
		if key == "traddr" && c.Host != "" {
			value = c.Host
		}
		if value == "" {
			continue
		}
		from := builtIn
		switch key {
		case "hostnqn":
			from = o.own.nqnFrom
		case "hostid":
			from = o.own.idFrom
		default:
			for _, t := range []table{o.endpoint, o.table} {
				if e, ok := t.find(key); ok && e.text != "" {
					from = s.place(e.at)
				}
			}
		}
		list = append(list, Value{key, value, from})
	}
	if e, ok := o.endpoint.find(persistentKey); ok && c.Persistence != "" {
		list = append(list, Value{persistentKey, e.text, s.place(e.at)})
	}
	return list
}

func (r *resolver) explainSettings(sources []*source) {
	from := map[string]string{}
	for _, s := range sources {
		r.out.Files = append(r.out.Files, s.file)
		if s.dialect == tomlDialect && !s.dropIn {
			_, set := settingsOf(s.section(secGlobal), Defaults(), &findings{})
			for key, at := range set {
				from[key] = s.place(at)
			}
		}
	}
	for _, s := range settings {
		where, ok := from[s.key]
		if !ok {
			where = builtIn
		}
		r.out.SettingValues = append(r.out.SettingValues, Value{s.key, s.get(r.out.Settings), where})
	}
}
