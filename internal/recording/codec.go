// SPDX-License-Identifier: GPL-3.0-or-later

package recording

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"time"

	"github.com/fxamacker/cbor/v2"

	"github.com/nvme-discoverd/nvme-discoverd/internal/core"
	"github.com/nvme-discoverd/nvme-discoverd/internal/discoverylog"
	"github.com/nvme-discoverd/nvme-discoverd/internal/exclusion"
	"github.com/nvme-discoverd/nvme-discoverd/internal/secret"
	"github.com/nvme-discoverd/nvme-discoverd/internal/tid"
)

// Item is an event or an effect: the name of its type in package core, and its fields.
type Item struct {
	_    struct{} `cbor:",toarray"`
	Type string
	Data cbor.RawMessage
}

// kind is how one type of package core is written. Most are written as they are; wire is what is written of the others.
type kind struct {
	typ  reflect.Type
	wire reflect.Type
	to   func(v any, moment func(time.Time) time.Time) any
	from func(wire any) (any, error)
}

// plain is a type that is written as it is.
func plain[T any]() kind {
	typ := reflect.TypeFor[T]()
	return kind{typ, typ, func(v any, _ func(time.Time) time.Time) any { return v }, func(wire any) (any, error) { return wire, nil }}
}

// as is a type that is written as another one.
func as[T, W any](to func(T) W, from func(W) (T, error)) kind {
	return kind{
		reflect.TypeFor[T](), reflect.TypeFor[W](),
		func(v any, _ func(time.Time) time.Time) any { return to(v.(T)) },
		func(wire any) (any, error) { return from(wire.(W)) },
	}
}

// events are all types of events, in no order that counts.
var events = index(
	plain[core.ConfigLoaded](),
	plain[core.NBFTLoaded](),
	plain[core.RetainedLoaded](),
	plain[core.Resolved](),
	as(func(e core.ExclusionsLoaded) exclusions { return exclusions{e.List.Entries()} }, func(w exclusions) (core.ExclusionsLoaded, error) {
		list, err := exclusion.Of(w.Entries)
		return core.ExclusionsLoaded{List: list}, err
	}),
	as(hideInSnapshot, same[core.Snapshot]),
	plain[core.SnapshotFailed](),
	plain[core.DeviceSeen](),
	plain[core.DeviceNoticed](),
	plain[core.DeviceRemoved](),
	plain[core.EventsLost](),
	plain[core.ProbeDone](),
	plain[core.JobDone](),
	plain[core.ForeignJob](),
	as(func(e core.UnitState) core.UnitState {
		e.Info.Argv = secret.HideInArgs(e.Info.Argv)
		return e
	}, same[core.UnitState]),
	as(logReadTo, logReadFrom),
	as(func(e core.Judged) judged { return judged{e.TID, core.SaveOrigin(e.Page.JudgedBy())} }, func(w judged) (core.Judged, error) {
		return core.Judged{TID: w.TID, Page: core.JudgeAnew(&core.Page{}, w.Origin.Origin())}, nil
	}),
	plain[core.LogFailed](),
	plain[core.FCDiscovered](),
	plain[core.MDNSReported](),
	plain[core.Kickstarted](),
	plain[core.LogChanged](),
	plain[core.Kick](),
	plain[core.BusUp](),
	plain[core.BusDown](),
	plain[core.Tick](),
	plain[core.Request](),
)

// effects are all types of effects.
var effects = index(
	plain[core.Probe](),
	plain[core.Resolve](),
	plain[core.StartUnit](),
	plain[core.RestartUnit](),
	plain[core.StopUnit](),
	plain[core.AskUnit](),
	as(readLogTo, readLogFrom),
	as(func(e core.Judge) judged { return judged{e.TID, core.SaveOrigin(e.Origin)} }, func(w judged) (core.Judge, error) {
		return core.Judge{TID: w.TID, Origin: w.Origin.Origin()}, nil
	}),
	plain[core.Kickstart](),
	plain[core.TakeSnapshot](),
	plain[core.ForgetState](),
	plain[core.RestoreOwner](),
	plain[core.RestoreDevid](),
	keepRetained(),
	plain[core.MarkStopped](),
	plain[core.UnmarkStopped](),
	plain[core.Log](),
	plain[core.Status](),
	plain[core.Ready](),
	plain[core.Answer](),
)

type exclusions struct{ Entries []exclusion.Entry }

// judged is what is written of Judge and Judged: the page is one that the core had before, so that a replay has it too.
type judged struct {
	TID    tid.TID
	Origin core.SavedOrigin
}

// logRead is what is written of LogRead: the page as it was read. What becomes of it follows from the origins.
type logRead struct {
	Device  string
	Token   uint64
	Entries []discoverylog.Entry `json:",omitzero"`
	Flaws   []string             `json:",omitzero"`
	Dropped int                  `json:",omitzero"`
	Origins []core.SavedOrigin
}

// readLog is what is written of ReadLog.
type readLog struct {
	Device  string
	Token   uint64
	Origins []core.SavedOrigin
	Keep    int
}

func same[T any](v T) (T, error) { return v, nil }

func hideInSnapshot(e core.Snapshot) core.Snapshot {
	for i, u := range e.Units {
		argv := secret.HideInArgs(u.Argv)
		if len(argv) == 0 || &argv[0] == &u.Argv[0] {
			continue
		}
		e.Units = append([]core.UnitInfo(nil), e.Units...)
		e.Units[i].Argv = argv
	}
	return e
}

func logReadTo(e core.LogRead) logRead {
	w := logRead{Device: e.Device, Token: e.Token}
	for i, p := range e.Pages {
		if i == 0 {
			saved := core.SavePage(p.Page)
			w.Entries, w.Flaws, w.Dropped = saved.Entries, saved.Flaws, saved.Dropped
		}
		w.Origins = append(w.Origins, core.SaveOrigin(p.JudgedBy()))
	}
	return w
}

func logReadFrom(w logRead) (core.LogRead, error) {
	if len(w.Entries)*len(w.Origins) > maxJudged {
		return core.LogRead{}, fmt.Errorf("%d entries are to be judged %d times", len(w.Entries), len(w.Origins))
	}
	readers := make([]core.PageReader, len(w.Origins))
	for i, o := range w.Origins {
		readers[i].Origin = o.Origin()
	}
	page := discoverylog.Page{Entries: w.Entries, Warnings: w.Flaws, Dropped: w.Dropped}
	return core.LogRead{Device: w.Device, Token: w.Token, Pages: core.JudgePages(page, readers)}, nil
}

func readLogTo(e core.ReadLog) readLog {
	w := readLog{Device: e.Device, Token: e.Token, Keep: e.Keep}
	for _, r := range e.Readers {
		w.Origins = append(w.Origins, core.SaveOrigin(r.Origin))
	}
	return w
}

func readLogFrom(w readLog) (core.ReadLog, error) {
	e := core.ReadLog{Device: w.Device, Token: w.Token, Keep: w.Keep}
	for _, o := range w.Origins {
		e.Readers = append(e.Readers, core.PageReader{Origin: o.Origin()})
	}
	return e, nil
}

// keepRetained has times that the core computed: in a recording all of these are of one clock.
func keepRetained() kind {
	k := plain[core.KeepRetained]()
	k.to = func(v any, moment func(time.Time) time.Time) any {
		e := core.KeepRetained{}
		for _, r := range v.(core.KeepRetained).List {
			if !r.Until.IsZero() {
				r.Until = moment(r.Until)
			}
			e.List = append(e.List, r)
		}
		return e
	}
	return k
}

// kinds finds how a type is written.
type kinds struct {
	byType map[reflect.Type]kind
	byName map[string]kind
}

func index(all ...kind) kinds {
	ks := kinds{map[reflect.Type]kind{}, map[string]kind{}}
	for _, k := range all {
		ks.byType[k.typ], ks.byName[k.typ.Name()] = k, k
	}
	return ks
}

func (ks kinds) encode(v any, moment func(time.Time) time.Time) (Item, error) {
	k, ok := ks.byType[reflect.TypeOf(v)]
	if !ok {
		return Item{}, fmt.Errorf("cannot record a %T: no kind of it is known", v)
	}
	data, err := encode(k.to(v, moment))
	if err != nil {
		return Item{}, fmt.Errorf("cannot record a %T: %w", v, err)
	}
	return Item{Type: k.typ.Name(), Data: data}, nil
}

func (ks kinds) decode(item Item) (any, error) {
	k, ok := ks.byName[item.Type]
	if !ok {
		return nil, fmt.Errorf("cannot read a %.60q: this version knows none", item.Type)
	}
	wire, err := k.read(item.Data)
	if err != nil {
		return nil, fmt.Errorf("cannot read a %s: %w", item.Type, err)
	}
	v, err := k.from(wire)
	if err != nil {
		return nil, fmt.Errorf("cannot read a %s: %w", item.Type, err)
	}
	return v, nil
}

// read returns what was written, as the type that is.
func (k kind) read(data []byte) (any, error) {
	wire := reflect.New(k.wire)
	if err := decoding.Unmarshal(data, wire.Interface()); err != nil {
		return nil, err
	}
	return wire.Elem().Interface(), nil
}

// EncodeEvent returns an event as it is recorded.
func EncodeEvent(ev core.Event) (Item, error) { return events.encode(ev, sameMoment) }

// DecodeEvent returns the event that was recorded. The pages of a LogRead and Judged are judged anew, and differ from none before;
// a Judged lacks its page, which a Replay has.
func DecodeEvent(item Item) (core.Event, error) {
	v, err := events.decode(item)
	if err != nil {
		return nil, err
	}
	return v.(core.Event), nil
}

// EventJSON returns the fields of an event as JSON, from which EventOfJSON makes the same event.
func EventJSON(item Item) ([]byte, error) {
	text := fieldsOf(item)
	if text == nil {
		return nil, fmt.Errorf("cannot write a %.60q as JSON", item.Type)
	}
	again, err := EventOfJSON(item.Type, text)
	if err != nil {
		return nil, err
	}
	// The item may be of an earlier version, which had other fields.
	wire, err := events.byName[item.Type].read(item.Data)
	if err != nil {
		return nil, err
	}
	if data, err := encode(wire); err != nil || !bytes.Equal(data, again.Data) {
		return nil, fmt.Errorf("cannot write a %s as JSON: it has texts that are no UTF-8", item.Type)
	}
	return text, nil
}

// EventOfJSON reads what EventJSON wrote.
func EventOfJSON(typ string, text []byte) (Item, error) {
	k, ok := events.byName[typ]
	if !ok {
		return Item{}, fmt.Errorf("there is no event %.60q", typ)
	}
	wire := reflect.New(k.wire)
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(wire.Interface()); err != nil {
		return Item{}, fmt.Errorf("cannot read a %s: %w", typ, err)
	}
	data, err := encode(wire.Elem().Interface())
	return Item{Type: typ, Data: data}, err
}

// EncodeEffect returns an effect as it is recorded. moment is applied to the times that the core computed, nil for none.
func EncodeEffect(e core.Effect, moment func(time.Time) time.Time) (Item, error) {
	if moment == nil {
		moment = sameMoment
	}
	return effects.encode(e, moment)
}

// DecodeEffect returns the effect that was recorded, without the pages of ReadLog and Judge.
func DecodeEffect(item Item) (core.Effect, error) {
	v, err := effects.decode(item)
	if err != nil {
		return nil, err
	}
	return v.(core.Effect), nil
}

func sameMoment(t time.Time) time.Time { return t }

// encoding writes equal values as equal bytes; times with nanoseconds, and what has a text as that.
var encoding = func() cbor.EncMode {
	mode, err := cbor.EncOptions{
		Sort: cbor.SortBytewiseLexical, Time: cbor.TimeRFC3339Nano, BinaryMarshaler: cbor.BinaryMarshalerNone, TextMarshaler: cbor.TextMarshalerTextString,
	}.EncMode()
	if err != nil {
		panic(err)
	}
	return mode
}()

// decoding reads what may come from anywhere: sizes are bounded. A field that this version does not know is passed over; strings may be
// no UTF-8, since the kernel's need not be.
var decoding = func() cbor.DecMode {
	mode, err := cbor.DecOptions{
		MaxArrayElements: 1 << 18, MaxMapPairs: 1 << 18, MaxNestedLevels: 24, BinaryUnmarshaler: cbor.BinaryUnmarshalerNone,
		TextUnmarshaler: cbor.TextUnmarshalerTextString, UTF8: cbor.UTF8DecodeInvalid, IndefLength: cbor.IndefLengthForbidden,
	}.DecMode()
	if err != nil {
		panic(err)
	}
	return mode
}()

// encode writes a value without any secret.
func encode(v any) ([]byte, error) {
	data, err := encoding.Marshal(v)
	if err != nil {
		return nil, err
	}
	return hide(data)
}

// hide returns data with secrets hidden that are in it in their interchange form. There are none in what is recorded, but for one that a
// person put where none belongs, such as into the command of a unit of that person's own, or into a name.
func hide(data []byte) ([]byte, error) {
	if !secret.Shows(data) {
		return data, nil
	}
	var v any
	if err := decoding.Unmarshal(data, &v); err != nil {
		return nil, err
	}
	return encoding.Marshal(hideIn(v))
}

func hideIn(v any) any {
	switch v := v.(type) {
	case string:
		return secret.HideInText(v)
	case []any:
		for i := range v {
			v[i] = hideIn(v[i])
		}
	case map[any]any:
		hidden := make(map[any]any, len(v))
		for key, value := range v {
			hidden[hideIn(key)] = hideIn(value)
		}
		return hidden
	}
	return v
}
