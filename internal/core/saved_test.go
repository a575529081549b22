// SPDX-License-Identifier: GPL-3.0-or-later

package core

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"
)

// unsaved are the fields that a restored machine need not have like the one that was saved, and why.
var unsaved = map[string]string{
	"Machine.effects":    "of the last step",
	"Machine.work":       "of the last step",
	"Machine.rng":        "draws from random, which is compared",
	"Machine.policy":     "a function; the daemon has one",
	"Machine.told":       "the status line is made anew and is the same",
	"Machine.views":      "made anew",
	"targets.list":       "without its holes",
	"targets.holes":      "there are none",
	"targets.moved":      "of views",
	"names.changed":      "of the last step",
	"name.changedAt":     "of the last step",
	"targets.changed":    "of the last step",
	"targets.unlisted":   "of the last step",
	"targets.unindexed":  "none after a step",
	"target.place":       "in the list without holes",
	"target.changedAt":   "of the last step",
	"target.view":        "of views",
	"target.unviewed":    "of views",
	"dc.judged":          "a page that is no longer the target's stands for any such",
	"devices.changed":    "of views",
	"devices.entered":    "only the order counts, which the indexes have",
	"device.entered":     "likewise",
	"device.changed":     "of views",
	"units.changed":      "of views",
	"timer.place":        "the heap is compared",
	"timer.popped":       "false after a step",
	"timer.step":         "of the last step",
	"timer.fires":        "of the last step",
	"queue.urgent":       "without tickets that were given back",
	"queue.others":       "without tickets that were given back",
	"desired.refreshed":  "of the last step",
	"desired.claims":     "in any order",
	"devices.ofPair":     "in any order",
	"probeState.waiting": "targets that were dropped are one",
	"reading.to":         "targets that were dropped are one",
	"targets.collide":    "without those that were dropped",
	"desired.leaving":    "without those that were dropped",
	"Value.text":         "a secret is not saved, only that there is one",
}

// sameMachine compares two machines field by field, through every pointer, and returns where they differ first.
func sameMachine(a, b *Machine) string {
	c := comparer{seen: map[[2]uintptr]bool{}}
	c.compare("Machine", reflect.ValueOf(a), reflect.ValueOf(b))
	if c.wrong != "" {
		return c.wrong
	}
	switch {
	case !reflect.DeepEqual(refs(compact(a.targets.list)), refs(compact(b.targets.list))):
		return "the targets are not the same"
	case !reflect.DeepEqual(line(a.queue.urgent), line(b.queue.urgent)) || !reflect.DeepEqual(line(a.queue.others), line(b.queue.others)):
		return "the queue is another"
	}
	return ""
}

func compact(list []*target) (all []*target) {
	for _, t := range list {
		if t != nil {
			all = append(all, t)
		}
	}
	return all
}

type comparer struct {
	seen  map[[2]uintptr]bool
	wrong string
}

func (c *comparer) differ(path, format string, args ...any) {
	if c.wrong == "" {
		c.wrong = path + ": " + fmt.Sprintf(format, args...)
	}
}

func (c *comparer) compare(path string, a, b reflect.Value) {
	if c.wrong != "" {
		return
	}
	if a.IsValid() != b.IsValid() || a.IsValid() && a.Type() != b.Type() {
		c.differ(path, "%v and %v", a, b)
		return
	}
	switch a.Kind() {
	case reflect.Invalid, reflect.Func, reflect.Chan:
	case reflect.Pointer:
		if a.IsNil() || b.IsNil() {
			if a.IsNil() != b.IsNil() {
				c.differ(path, "nil %v and %v", a.IsNil(), b.IsNil())
			}
			return
		}
		if key := [2]uintptr{a.Pointer(), b.Pointer()}; !c.seen[key] {
			c.seen[key] = true
			c.compare(path, a.Elem(), b.Elem())
		}
	case reflect.Interface:
		c.compare(path, a.Elem(), b.Elem())
	case reflect.Struct:
		if a.Type() == reflect.TypeFor[time.Time]() { // the reading and not the zone
			c.compare(path, a.Field(0), b.Field(0))
			c.compare(path, a.Field(1), b.Field(1))
			return
		}
		if a.Type().PkgPath() == "net/netip" {
			if x, y := fmt.Sprint(a), fmt.Sprint(b); x != y {
				c.differ(path, "%s and %s", x, y)
			}
			return
		}
		for i := range a.NumField() {
			name := a.Type().Name() + "." + a.Type().Field(i).Name
			if _, skip := unsaved[name]; !skip {
				c.compare(path+"."+a.Type().Field(i).Name, a.Field(i), b.Field(i))
			}
		}
	case reflect.Slice, reflect.Array:
		if a.Len() != b.Len() {
			c.differ(path, "%d and %d", a.Len(), b.Len())
			return
		}
		for i := range a.Len() {
			c.compare(fmt.Sprintf("%s[%d]", path, i), a.Index(i), b.Index(i))
		}
	case reflect.Map:
		c.compareMaps(path, a, b)
	default:
		if x, y := fmt.Sprint(a), fmt.Sprint(b); x != y {
			c.differ(path, "%s and %s", x, y)
		}
	}
}

// compareMaps compares maps; those whose keys are pointers, which are sets of targets, by the Order of these.
func (c *comparer) compareMaps(path string, a, b reflect.Value) {
	if a.Len() != b.Len() {
		c.differ(path, "%d and %d entries", a.Len(), b.Len())
		return
	}
	if a.Type().Key().Kind() == reflect.Pointer {
		orders := func(m reflect.Value) map[uint64]string {
			all := map[uint64]string{}
			for _, key := range m.MapKeys() {
				all[key.Elem().FieldByName("order").Uint()] = fmt.Sprint(m.MapIndex(key))
			}
			return all
		}
		if x, y := orders(a), orders(b); !reflect.DeepEqual(x, y) {
			c.differ(path, "%v and %v", x, y)
		}
		return
	}
	for _, key := range a.MapKeys() {
		c.compare(fmt.Sprintf("%s[%.60v]", path, key), a.MapIndex(key), b.MapIndex(key))
	}
}

// throughJSON is how a saved state comes back from a file.
func throughJSON(t *testing.T, s *Saved) *Saved {
	t.Helper()
	text, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	var back Saved
	if err := json.Unmarshal(text, &back); err != nil {
		t.Fatal(err)
	}
	return &back
}

// TestRestore makes machines anew at many moments of many lives: each must be like the one that it was made of, in every field.
func TestRestore(t *testing.T) {
	for seed := range uint64(8) {
		runMonkeyWith(t, seed, 1000, func(k *monkey, done int) {
			if done%20 != 0 {
				return
			}
			restored, err := Restore(throughJSON(t, k.m.Save(nil)))
			if err != nil {
				t.Fatalf("seed %d, step %d: %v", seed, done, err)
			}
			if wrong := sameMachine(k.m, restored); wrong != "" {
				t.Fatalf("seed %d, step %d: the restored machine differs (saved, restored): %s", seed, done, wrong)
			}
		})
	}
}

// TestRestoreRefuses holds Restore to its word that what contradicts itself is an error.
func TestRestoreRefuses(t *testing.T) {
	var saved *Saved
	runMonkeyWith(t, 3, 1000, func(k *monkey, _ int) {
		if s := k.m.Save(nil); saved == nil && len(s.Targets) > 1 && len(s.Devices) > 0 {
			saved = s
		}
	})
	for what, damage := range map[string]func(*Saved){
		"version":         func(s *Saved) { s.Version = SavedVersion + 1 },
		"random source":   func(s *Saved) { s.Random = s.Random[:3] },
		"state":           func(s *Saved) { s.Targets[0].State = "asleep" },
		"step":            func(s *Saved) { s.Targets[0].Phase = "dreaming" },
		"order":           func(s *Saved) { s.Targets[1].Order = s.Targets[0].Order },
		"twice":           func(s *Saved) { s.Targets[1].Wish.TID = s.Targets[0].Wish.TID },
		"device":          func(s *Saved) { s.Targets[0].Device = "nvme4711" },
		"reader":          func(s *Saved) { s.Devices[0].Readers = []uint64{4711} },
		"place of timers": func(s *Saved) { s.Audit.Timer = SavedTimer{s.Now, 4711} },
	} {
		s := throughJSON(t, saved)
		damage(s)
		if _, err := Restore(s); err == nil || !strings.HasPrefix(err.Error(), "cannot restore") {
			t.Errorf("%s: Restore answers %v", what, err)
		}
	}
}

// A state may be read again after a machine was restored from it: the machine changes nothing in it.
func TestRestoreSharesNothing(t *testing.T) {
	w := newWorld(t)
	w.run([]string{"bus up", "config", "  subsystem vol1 192.0.2.20", "probe 192.0.2.20 connection refused"}, 0)
	saved := w.m.Save(nil)
	saved.Targets[0].Ended = []time.Time{w.now.Add(-time.Hour), w.now}
	before, err := json.Marshal(saved)
	if err != nil {
		t.Fatal(err)
	}
	m, err := Restore(saved)
	if err != nil {
		t.Fatal(err)
	}
	at := m.Deadline()
	for _, e := range m.Step(at, Tick{}) {
		if p, ok := e.(Probe); ok {
			m.Step(at, ProbeDone{Target: p.Target, Err: "no route to host"})
		}
	}
	m.recentEnds(m.targets.list[0])
	after, err := json.Marshal(saved)
	if err != nil {
		t.Fatal(err)
	}
	if string(after) != string(before) {
		t.Errorf("the state is another by now:\n%s\n%s", before, after)
	}
}
