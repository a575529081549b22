// SPDX-License-Identifier: GPL-3.0-or-later

package unit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/godbus/dbus/v5"
	"github.com/google/go-cmp/cmp"
)

// scriptedBus answers calls from a function and lets a test send signals.
type scriptedBus struct {
	answer func(ctx context.Context, method string, args []any) ([]any, error)
	sigs   chan *dbus.Signal
	closed chan struct{}
}

func newScriptedBus() *scriptedBus {
	return &scriptedBus{sigs: make(chan *dbus.Signal), closed: make(chan struct{})}
}

func (b *scriptedBus) Signals() <-chan *dbus.Signal { return b.sigs }
func (b *scriptedBus) Done() <-chan struct{}        { return b.closed }

func (b *scriptedBus) Call(ctx context.Context, _ string, _ dbus.ObjectPath, method string, args ...any) ([]any, error) {
	if b.answer != nil {
		if body, err := b.answer(ctx, method, args); body != nil || err != nil {
			return body, err
		}
	}
	switch method {
	case busName + ".GetNameOwner":
		return []any{":1.0"}, nil
	case managerInterface + ".StartTransientUnit":
		return []any{dbus.ObjectPath("/org/freedesktop/systemd1/job/1")}, nil
	}
	return nil, nil
}

// runScripted runs a Manager on the buses that dial returns, in a bubble of virtual time, while test runs.
func runScripted(t *testing.T, dial func(context.Context) (bus, error), log *slog.Logger, test func(t *testing.T, m *Manager, events *[]string)) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		var events []string
		m := NewManager(ManagerConfig{
			Log: log,
			Notify: func(e Event) {
				text := fmt.Sprintf("%v %T", time.Since(start), e)
				if down, ok := e.(BusDown); ok {
					text += ": " + down.Err.Error()
				}
				events = append(events, text)
			},
		})
		m.dial = dial
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- m.Run(ctx) }()
		test(t, m, &events)
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("Run ended with %v, want the context's error", err)
		}
	})
}

func TestRunDialsAgain(t *testing.T) {
	var dialled []string
	var last *scriptedBus
	var start time.Time
	dial := func(context.Context) (bus, error) {
		if start.IsZero() {
			start = time.Now()
		}
		dialled = append(dialled, time.Since(start).String())
		switch len(dialled) {
		case 4, 5:
			last = newScriptedBus()
			return last, nil
		}
		return nil, errors.New("no such file or directory")
	}
	runScripted(t, dial, slog.New(slog.DiscardHandler), func(t *testing.T, _ *Manager, events *[]string) {
		for range 2 {
			time.Sleep(time.Second)
			synctest.Wait()
			close(last.closed)
		}
		time.Sleep(40 * time.Second)
		synctest.Wait()
		wantDialled := []string{
			"0s", "100ms", "300ms", "700ms", // up
			"1.1s", // up again
			"2.1s", "2.3s", "2.7s", "3.5s", "5.1s", "8.3s", "14.7s", "24.7s", "34.7s",
		}
		if diff := cmp.Diff(wantDialled, dialled); diff != "" {
			t.Errorf("dialled at other times (-want +got):\n%s", diff)
		}
		wantEvents := []string{
			"0s unit.BusDown: no such file or directory",
			"700ms unit.BusUp",
			"1s unit.BusDown: the connection to the system bus was lost",
			"1.1s unit.BusUp",
			"2s unit.BusDown: the connection to the system bus was lost",
		}
		if diff := cmp.Diff(wantEvents, *events); diff != "" {
			t.Errorf("other events (-want +got):\n%s", diff)
		}
	})
}

func TestMuteBus(t *testing.T) {
	var start time.Time
	var dialled []string
	dial := func(context.Context) (bus, error) {
		if start.IsZero() {
			start = time.Now()
		}
		dialled = append(dialled, time.Since(start).String())
		b := newScriptedBus()
		b.answer = func(ctx context.Context, _ string, _ []any) ([]any, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}
		return b, nil
	}
	runScripted(t, dial, slog.New(slog.DiscardHandler), func(t *testing.T, m *Manager, events *[]string) {
		time.Sleep(time.Minute)
		synctest.Wait()
		want := []string{"30s unit.BusDown: cannot reach systemd over the system bus: no answer within 30s"}
		if diff := cmp.Diff(want, *events); diff != "" {
			t.Errorf("other events (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff([]string{"0s", "30.1s"}, dialled); diff != "" {
			t.Errorf("dialled at other times (-want +got):\n%s", diff)
		}
		got := m.Start(t.Context(), Spec{Name: "nvme-discoverd-a.service"})
		wantErr := "cannot call StartTransientUnit for nvme-discoverd-a.service: there is no connection to the system bus"
		if got.Outcome != Lost || got.Err.Error() != wantErr {
			t.Errorf("Start gave %q (%v), want lost (%s)", got.Outcome, got.Err, wantErr)
		}
	})
}

func TestSystemdAbsent(t *testing.T) {
	dial := func(context.Context) (bus, error) {
		b := newScriptedBus()
		b.answer = func(_ context.Context, method string, _ []any) ([]any, error) {
			if method == busName+".GetNameOwner" {
				return nil, dbus.Error{Name: "org.freedesktop.DBus.Error.NameHasNoOwner", Body: []any{"The name has no owner"}}
			}
			return nil, nil
		}
		return b, nil
	}
	runScripted(t, dial, slog.New(slog.DiscardHandler), func(t *testing.T, _ *Manager, events *[]string) {
		synctest.Wait()
		want := []string{"0s unit.BusDown: cannot find systemd on the system bus: The name has no owner"}
		if diff := cmp.Diff(want, *events); diff != "" {
			t.Errorf("other events (-want +got):\n%s", diff)
		}
	})
}

// TestSignalsBeforeUp sends signals before systemd is known: they hold up no answer, and systemd's move is not missed.
func TestSignalsBeforeUp(t *testing.T) {
	var b *scriptedBus // made within the bubble
	dial := func(context.Context) (bus, error) {
		b = newScriptedBus()
		b.answer = func(_ context.Context, method string, _ []any) ([]any, error) {
			if method == busName+".GetNameOwner" {
				for range 100 {
					b.sigs <- &dbus.Signal{Sender: ":1.66", Path: managerPath, Name: managerInterface + ".JobNew"}
				}
				b.sigs <- &dbus.Signal{Sender: busName, Path: busPath, Name: busName + ".NameOwnerChanged", Body: []any{systemdName, ":1.0", ":1.9"}}
			}
			return nil, nil
		}
		return b, nil
	}
	runScripted(t, dial, slog.New(slog.DiscardHandler), func(t *testing.T, _ *Manager, events *[]string) {
		synctest.Wait()
		for _, sender := range []string{":1.0", ":1.9"} {
			job := []any{uint32(1), managerPath + dbus.ObjectPath("/job/"+sender[3:]), "nvme-discoverd-a.service"}
			b.sigs <- &dbus.Signal{Sender: sender, Path: managerPath, Name: managerInterface + ".JobNew", Body: job}
			synctest.Wait()
		}
		if diff := cmp.Diff([]string{"0s unit.BusUp", "0s unit.ForeignJob"}, *events); diff != "" {
			t.Errorf("other events (-want +got):\n%s", diff)
		}
	})
}

// TestSignalsIgnored sends, while a job is open, everything that must not end it.
func TestSignalsIgnored(t *testing.T) {
	const path = dbus.ObjectPath("/org/freedesktop/systemd1/job/1")
	const unit = "nvme-discoverd-a.service"
	good := []any{uint32(1), path, unit, "done"}
	removed, moved := managerInterface+".JobRemoved", busName+".NameOwnerChanged"

	var b *scriptedBus // made within the bubble
	var log bytes.Buffer
	logger := slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{
		Level: slog.LevelDebug,
		ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey || a.Key == slog.LevelKey || a.Key == slog.MessageKey {
				return slog.Attr{}
			}
			return a
		},
	}))
	dial := func(context.Context) (bus, error) {
		b = newScriptedBus()
		return b, nil
	}
	runScripted(t, dial, logger, func(t *testing.T, m *Manager, _ *[]string) {
		synctest.Wait()
		result := make(chan Result, 1)
		go func() { result <- m.Start(t.Context(), Spec{Name: unit}) }()
		synctest.Wait()
		for _, sig := range []*dbus.Signal{
			{Sender: ":1.66", Path: managerPath, Name: removed, Body: good},
			{Sender: "", Path: managerPath, Name: removed, Body: good},
			{Sender: systemdName, Path: managerPath, Name: removed, Body: good},
			{Sender: ":1.66", Path: busPath, Name: moved, Body: []any{systemdName, ":1.0", ":1.66"}},
			{Sender: ":1.0", Path: "/elsewhere", Name: removed, Body: good},
			{Sender: ":1.0", Path: managerPath, Name: removed},
			{Sender: ":1.0", Path: managerPath, Name: removed, Body: good[:3]},
			{Sender: ":1.0", Path: managerPath, Name: removed, Body: []any{uint32(1), string(path), unit, "done"}},
			{Sender: ":1.0", Path: managerPath, Name: removed, Body: []any{uint32(1), path, 7, "done"}},
			{Sender: ":1.0", Path: managerPath, Name: removed, Body: []any{uint32(1), path, unit, 7}},
			{Sender: busName, Path: busPath, Name: moved, Body: []any{systemdName}},
			{Sender: busName, Path: busPath, Name: moved, Body: []any{"org.example", "", ":1.66"}},
			{Sender: ":1.0", Path: managerPath, Name: managerInterface + ".UnitNew"},
		} {
			b.sigs <- sig
		}
		synctest.Wait()
		select {
		case r := <-result:
			t.Fatalf("the job ended with %q, although systemd said nothing", r.Outcome)
		default:
		}
		b.sigs <- &dbus.Signal{Sender: ":1.0", Path: managerPath, Name: removed, Body: good}
		if r := <-result; r != (Result{Outcome: Done}) {
			t.Errorf("the job ended with %q (%v), want done", r.Outcome, r.Err)
		}
	})
	want := []string{
		`signal=org.freedesktop.systemd1.Manager.JobRemoved sender=:1.66 reason="it is not from systemd"`,
		`signal=org.freedesktop.systemd1.Manager.JobRemoved sender="" reason="it is not from systemd"`,
		`signal=org.freedesktop.systemd1.Manager.JobRemoved sender=org.freedesktop.systemd1 reason="it is not from systemd"`,
		`signal=org.freedesktop.DBus.NameOwnerChanged sender=:1.66 reason="it is not from the bus"`,
		`signal=org.freedesktop.systemd1.Manager.JobRemoved sender=:1.0 reason="its arguments are not those of the signal"`,
		`signal=org.freedesktop.systemd1.Manager.JobRemoved sender=:1.0 reason="its arguments are not those of the signal"`,
		`signal=org.freedesktop.systemd1.Manager.JobRemoved sender=:1.0 reason="its arguments are not those of the signal"`,
		`signal=org.freedesktop.systemd1.Manager.JobRemoved sender=:1.0 reason="its arguments are not those of the signal"`,
		`signal=org.freedesktop.systemd1.Manager.JobRemoved sender=:1.0 reason="its arguments are not those of the signal"`,
		`signal=org.freedesktop.systemd1.Manager.JobRemoved sender=:1.0 reason="its arguments are not those of the signal"`,
		`signal=org.freedesktop.DBus.NameOwnerChanged sender=busName reason="its arguments are not those of NameOwnerChanged"`,
	}
	want[10] = strings.Replace(want[10], "busName", busName, 1)
	if diff := cmp.Diff(want, strings.Split(strings.TrimSpace(log.String()), "\n")); diff != "" {
		t.Errorf("other log lines (-want +got):\n%s", diff)
	}
}

func TestResultOf(t *testing.T) {
	for _, test := range []struct {
		err  error
		want Outcome
	}{
		{dbus.Error{Name: "org.freedesktop.systemd1.UnitExists"}, Exists},
		{dbus.Error{Name: "org.freedesktop.systemd1.NoSuchUnit"}, NoUnit},
		{dbus.Error{Name: "org.freedesktop.systemd1.TransactionIsDestructive"}, Error},
		{dbus.Error{Name: "org.freedesktop.DBus.Error.AccessDenied"}, Error},
		{dbus.Error{Name: "org.freedesktop.DBus.Error.NoReply"}, Lost},
		{dbus.Error{Name: "org.freedesktop.DBus.Error.ServiceUnknown"}, Lost},
		{dbus.ErrClosed, Lost},
		{fmt.Errorf("cannot wait: %w", context.Canceled), Lost},
	} {
		if got := resultOf(test.err); got.Outcome != test.want || got.Err == nil {
			t.Errorf("%v means %q, want %q", test.err, got.Outcome, test.want)
		}
	}
}

// FuzzSignal gives the session the messages of anybody who may write to the bus.
func FuzzSignal(f *testing.F) {
	f.Fuzz(func(t *testing.T, data []byte) {
		msg, err := dbus.DecodeMessage(bytes.NewReader(data))
		if err != nil || msg.Type != dbus.TypeSignal {
			return
		}
		text := func(field dbus.HeaderField) string {
			s, _ := msg.Headers[field].Value().(string)
			return s
		}
		path, _ := msg.Headers[dbus.FieldPath].Value().(dbus.ObjectPath)
		sig := &dbus.Signal{
			Sender: text(dbus.FieldSender), Path: path,
			Name: text(dbus.FieldInterface) + "." + text(dbus.FieldMember), Body: msg.Body,
		}
		if job, ok := parseJobSignal(sig); ok && (sig.Path != managerPath || job.path == "") {
			t.Errorf("took %v for a signal of a job", sig)
		}
		ownerChange(sig.Body)
	})
}
