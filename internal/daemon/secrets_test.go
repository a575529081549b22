package daemon

import (
	"context"
	"slices"
	"testing"

	"github.com/nvme-discoverd/nvme-discoverd/internal/config"
	"github.com/nvme-discoverd/nvme-discoverd/internal/core"
	"github.com/nvme-discoverd/nvme-discoverd/internal/secret"
	"github.com/nvme-discoverd/nvme-discoverd/internal/unit"
	"github.com/nvme-discoverd/nvme-discoverd/internal/wish"
)

// configuration has one secret, found at a place.
func configuration(t *testing.T, from string) config.Config {
	t.Helper()
	v, err := secret.Parse(secret.DHChap, "DHHC-1:01:YmJiYmJiYmJiYmJiYmJiYmJiYmJiYmJiYmJiYmJiYmLUSf1H:")
	if err != nil {
		t.Fatal(err)
	}
	return config.Config{Secrets: map[secret.Ref]secret.Set{"[host]": {secret.DHChap: {Value: v, From: from}}}}
}

// The secrets of a wish are there when its job begins: those of the configuration of the moment at which it was wanted. A
// reload renews those that are there, and no others. A wish without secrets takes them away.
func TestProvideSecrets(t *testing.T) {
	x, posted, _ := executing(t, host(t))
	const unitB = "nvme-discoverd-bbbbbbbbbbbb.service"
	w := wish.Wish{Secrets: "[host]"}
	from := func(name string) string {
		done := make(chan struct{})
		x.queue.run(name, func() { close(done) })
		<-done
		if !x.reader.state.HasSecrets(name) {
			return ""
		}
		set, err := x.reader.state.Secrets(name)
		if err != nil {
			t.Fatal(err)
		}
		return set.String()
	}
	run := func(w wish.Wish) core.JobDone {
		j := job{op: core.OpRestart, unit: unitA, prepare: x.provide(unitA, w)}
		j.do = func(context.Context) unit.Result { return unit.Result{Outcome: unit.Done, Err: nil} }
		j.timeout = config.Infinity
		x.use(configuration(t, "a reload after it was wanted"))
		x.run(t.Context(), j)
		return (<-posted).(core.JobDone)
	}
	x.use(configuration(t, "one"))
	if done := run(w); done.Outcome != core.Done || from(unitA) != "dhchap-secret from one" {
		t.Errorf("%+v, %q", done, from(unitA))
	}
	x.use(configuration(t, "two"))
	x.renew(slices.Values([]*core.TargetView{{Wish: w, Unit: unitA}, {Wish: w, Unit: unitB}, {Wish: w}}))
	if a, b := from(unitA), from(unitB); a != "dhchap-secret from two" || b != "" {
		t.Errorf("after a reload: %q, %q", a, b)
	}
	x.use(config.Config{})
	done := run(w)
	if want := "cannot connect (): its secrets, those of [host], are no longer configured"; done.Outcome != core.Outcome(unit.Error) || done.Err != want {
		t.Errorf("%+v, want error %q", done, want)
	}
	x.use(config.Config{Unusable: map[secret.Ref]string{"[host]": "/etc/nvme/discoverd.conf:3:1: cannot use it"}})
	stop := job{op: core.OpStart, unit: unitA, prepare: x.provide(unitA, w)}
	if err := stop.prepare(); err == nil || err.Error() != "its configuration has an error: /etc/nvme/discoverd.conf:3:1: cannot use it" {
		t.Errorf("unusable: %v", err)
	}
	if run(wish.Wish{}); from(unitA) != "" {
		t.Errorf("left: %q", from(unitA))
	}
}
