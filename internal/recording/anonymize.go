// SPDX-License-Identifier: GPL-3.0-or-later

package recording

import (
	"maps"
	"slices"
	"strings"

	"github.com/nvme-discoverd/nvme-discoverd/internal/core"
	"github.com/nvme-discoverd/nvme-discoverd/internal/param"
	"github.com/nvme-discoverd/nvme-discoverd/internal/standin"
	"github.com/nvme-discoverd/nvme-discoverd/internal/tid"
)

// Learn has the set take in all that a recording names, which may come from anywhere, and the connections that the core makes of it: their
// units are named by them.
func Learn(file []byte, set *standin.Set) error {
	var replay Replay
	made := map[tid.TID]bool{}
	return Each(file, func(r Record) error {
		x, err := generic(r)
		if err != nil {
			return err
		}
		learn(set, "", x)
		replay.Next(r)
		m := replay.Machine()
		if m == nil || m.Work().Changed == 0 && r.State == nil {
			return nil
		}
		targets := m.View().Targets
		replay.work += targets.Len()
		for t := range targets.All() {
			if !made[t.Wish.TID] {
				made[t.Wish.TID] = true
				set.LearnTID(t.Wish.TID)
			}
		}
		return nil
	})
}

// generic returns a record as values without types.
func generic(r Record) (x any, err error) {
	data, err := r.Encode()
	if err != nil {
		return nil, err
	}
	err = decoding.Unmarshal(data, &x)
	return x, err
}

// learn has the set take in what is in a value, which is in a field.
func learn(set *standin.Set, field string, x any) {
	switch x := x.(type) {
	case string:
		switch field {
		case "NQN", "HostNQN":
			set.LearnNQN(x)
		case "Host", "Instance":
			set.LearnName(x)
		case "Example": // of what mDNS announces and nobody connects: the instance, and what is wrong with it
			if instance, _, ok := strings.Cut(x, ": "); ok {
				set.LearnName(instance)
			}
		case "HostIface", "SrcIface", "Iface":
			set.LearnInterface(x)
		case "Warnings", "Errors", "Unusable": // of the configuration: they quote what is wrong, which may be any name
			for i, quoted := range strings.Split(x, `"`) {
				if _, ok := param.ByName(quoted); i%2 == 1 && !ok && !slices.Contains(tid.Keys(), quoted) {
					set.LearnName(quoted)
				}
			}
		}
		set.Learn(x)
	case []any:
		for _, x := range x {
			learn(set, field, x)
		}
	case map[any]any:
		if t, ok := tidOf(x); ok {
			set.LearnTID(t)
		}
		for key, x := range x {
			name, _ := key.(string)
			if !isField(name) {
				set.Learn(name)
				name = field
			}
			learn(set, name, x)
		}
	}
}

// isField tells whether the key of a map is the name of a field: those of maps proper are names of units, transports and NQNs.
func isField(key string) bool {
	return key != "" && key[0] >= 'A' && key[0] <= 'Z' &&
		strings.Trim(key, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789") == ""
}

// tidOf returns a connection if x is one.
func tidOf(x map[any]any) (t tid.TID, ok bool) {
	data, err := encoding.Marshal(x)
	if err != nil || len(x) != len(tid.Keys()) {
		return t, false
	}
	for _, field := range []string{"Transport", "Traddr", "NQN", "HostNQN", "HostID"} {
		if _, ok := x[field]; !ok {
			return t, false
		}
	}
	return t, decoding.Unmarshal(data, &t) == nil
}

// Anonymize returns a recording with stand-ins for names, and at how many of its steps and states it does not replay as the original
// does. The set that the names are of has learned the recording.
//
// What the core did is what it does with the other names, if that differs only in words and in the order of what it decided at once: the
// core goes through units by their names, which are hashes.
func Anonymize(file []byte, names *standin.Names) (anonymous []byte, differs int, err error) {
	var records []Record
	var before, after Replay
	err = each(file, maxHeld, func(r Record) error {
		n, err := renameRecord(r, names.Replace)
		if err != nil {
			return err
		}
		same := before.Next(r) == nil
		if n.State != nil {
			if m, err := restore(n.State); err == nil {
				n.State = m.Save(nil) // lists that are sorted by names are so again
			}
		}
		effects, d := after.Step(n)
		if d != nil && same && n.Event != nil && alike(n.Effects, effects) {
			d = nil
			n.Effects = nil
			for _, e := range effects {
				item, err := EncodeEffect(e, nil)
				if err != nil {
					return err
				}
				n.Effects = append(n.Effects, item)
			}
		}
		if d != nil && same {
			differs++
		}
		records = append(records, n)
		return nil
	})
	if err != nil && len(records) == 0 {
		return nil, 0, err
	}
	anonymous, writeErr := Write(records)
	if writeErr != nil {
		return nil, 0, writeErr
	}
	return anonymous, differs, err
}

func renameRecord(r Record, rename func(string) string) (Record, error) {
	x, err := generic(r)
	if err != nil {
		return Record{}, err
	}
	data, err := encoding.Marshal(renameIn(x, rename))
	if err != nil {
		return Record{}, err
	}
	return Decode(data)
}

func renameIn(x any, rename func(string) string) any {
	switch x := x.(type) {
	case string:
		return rename(x)
	case []any:
		for i := range x {
			x[i] = renameIn(x[i], rename)
		}
	case map[any]any:
		renamed := make(map[any]any, len(x))
		for key, value := range x {
			if name, ok := key.(string); ok && !isField(name) {
				key = rename(name)
			}
			renamed[key] = renameIn(value, rename)
		}
		return renamed
	}
	return x
}

// words are the effects that are texts for people, which the core puts together from names, cut off where they are long.
var words = map[string]bool{"Log": true, "Status": true}

// alike tells whether effects are the same but for their order and for words.
func alike(recorded []Item, now []core.Effect) bool {
	count := map[string]int{}
	key := func(item Item) string {
		if words[item.Type] {
			return item.Type
		}
		return item.key()
	}
	for _, e := range now {
		item, err := EncodeEffect(e, nil)
		if err != nil {
			return false
		}
		count[key(item)]++
	}
	for _, item := range recorded {
		count[key(item)]--
	}
	return !slices.ContainsFunc(slices.Collect(maps.Values(count)), func(n int) bool { return n != 0 })
}
