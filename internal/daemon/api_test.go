// SPDX-License-Identifier: GPL-3.0-or-later

package daemon

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/nvme-discoverd/nvme-discoverd/internal/api/client"
	"github.com/nvme-discoverd/nvme-discoverd/internal/config"
	"github.com/nvme-discoverd/nvme-discoverd/internal/core"
	"github.com/nvme-discoverd/nvme-discoverd/internal/paths"
	"github.com/nvme-discoverd/nvme-discoverd/internal/recording"
	"github.com/nvme-discoverd/nvme-discoverd/internal/sysfs"
	"github.com/nvme-discoverd/nvme-discoverd/internal/tid"
	"github.com/nvme-discoverd/nvme-discoverd/internal/unit"
	"github.com/nvme-discoverd/nvme-discoverd/internal/wish"
)

// running starts a daemon without a kernel and a systemd, whose loop knows n controllers that are connected.
func running(t testing.TB, n int) (*Daemon, context.Context) {
	t.Helper()
	d := &Daemon{
		Options: Options{Root: paths.Root(t.TempDir()), Log: slog.New(slog.DiscardHandler), Level: &slog.LevelVar{}, Version: "1.0"},
		machine: core.New(1),
		events:  make(chan arrival, 1024),
	}
	d.recorder = recording.NewRecorder("1.0", d.Root.FlightRecorder(), d.Root.Recordings(), func(warning string) { t.Log(warning) })
	d.notify, d.reader = newNotifier(d.Log), newReader(d.Root)
	d.units = unit.NewManager(unit.ManagerConfig{Notify: func(unit.Event) {}, Log: d.Log})
	d.effects = newExecutor(d.tools())
	d.api = newAPI(d.backing())

	cfg := config.Config{Settings: config.Defaults()}
	snap := core.Snapshot{Token: 1, UnitsKnown: true}
	for i := range n {
		id, err := tid.New(tid.TID{Transport: tid.TCP, Traddr: "192.0.2.1", NQN: fmt.Sprintf("nqn.2024-01.com.example:vol%d", i)}, tid.IO)
		if err != nil {
			t.Fatal(err)
		}
		cfg.Connections = append(cfg.Connections, config.Connection{Wish: wish.Wish{TID: id, Owner: wish.OwnerDiscoverd}, From: "discoverd.conf:1"})
		snap.Devices = append(snap.Devices, connectedAs(id, i+1))
		snap.Units = append(snap.Units, core.UnitInfo{Name: id.UnitName(), Active: "active"})
	}
	d.effects.use(cfg)
	begun := time.Now()
	for _, ev := range []core.Event{core.BusUp{}, core.ConfigLoaded{Config: cfg}, snap} {
		d.api.stepped(begun, ev, d.machine.Step(time.Now(), ev)) // and nothing is done about it
	}

	ctx, cancel := context.WithCancel(context.Background())
	var ends sync.WaitGroup
	ends.Go(func() { d.api.serve(ctx) })
	ends.Go(func() {
		if err := d.loop(ctx, nil); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() {
		cancel()
		ends.Wait()
	})
	return d, ctx
}

// connectedAs is the controller of a TID, as nvmeN.
func connectedAs(id tid.TID, n int) core.Device {
	c := sysfs.Controller{
		Name: fmt.Sprintf("nvme%d", n), Transport: id.Transport, Traddr: id.Traddr, Trsvcid: id.Trsvcid, NQN: id.NQN, State: "live", Type: "io",
	}
	return core.Device{Controller: c, Owner: "discoverd", Unit: id.UnitName()}
}

// dial connects to the daemon, which may not listen yet.
func dial(t testing.TB, ctx context.Context, d *Daemon) *client.Client {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; {
		c, err := client.Dial(ctx, d.Root)
		if err == nil {
			t.Cleanup(func() { c.Close() })
			return c
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
		runtime.Gosched()
	}
}

// Where no socket can be made it is tried again, until it can be or the daemon ends, and that is told once.
func TestListenAtLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		root := paths.Root(t.TempDir())
		blocked := filepath.Dir(root.Socket())
		put(t, blocked, "a file where the directory should be")
		log, said := lines()
		a := newAPI(backing{root: root, log: log})

		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			a.serve(ctx)
		}()
		time.Sleep(2*listenPause + time.Second)
		cancel()
		<-ended
		failed := `msg="cannot make the directory of the varlink socket: mkdir ` + blocked +
			`: not a directory; nvme-discoverctl and nvme-stas cannot ask anything; trying again every 5s"`
		if diff := cmp.Diff([]string{failed}, said()); diff != "" {
			t.Errorf("journal of the one that ends (-want +got):\n%s", diff)
		}

		log, said = lines()
		a = newAPI(backing{root: root, log: log})
		got := make(chan *net.UnixListener)
		go func() { got <- a.listen(t.Context()) }()
		time.Sleep(2*listenPause + time.Second)
		if err := os.Remove(blocked); err != nil {
			t.Fatal(err)
		}
		l := <-got
		defer l.Close()
		c, err := net.Dial("unix", root.Socket())
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
		want := []string{failed, `msg="listening on ` + root.Socket() + ` at last: nvme-discoverctl and nvme-stas can ask again"`}
		if diff := cmp.Diff(want, said()); diff != "" {
			t.Errorf("journal (-want +got):\n%s", diff)
		}
	})
}

// What the daemon knows reaches a client, and what the client asks for reaches the loop and is answered.
func TestAPI(t *testing.T) {
	d, ctx := running(t, 3)
	c := dial(t, ctx, d)
	controllers, err := c.Controllers(ctx, "nvme2")
	if err != nil || len(controllers) != 1 || controllers[0].State != "connected" {
		t.Fatalf("nvme2: got %v, %v", controllers, err)
	}
	// In the order of the calls: each answer is of a state no older than its call.
	if _, err := c.Control(ctx, "Retry", "nvme2"); err == nil || !strings.Contains(err.Error(), "it is connected") {
		t.Errorf("retry of what is connected: got %v, want that it is connected", err)
	}
	if n, err := c.Control(ctx, "Stop", "nqn.2024-01.com.example:vol1"); n != 1 || err != nil {
		t.Errorf("stop: got %d, %v", n, err)
	}
	controllers, err = c.Controllers(ctx, "nqn.2024-01.com.example:vol1")
	if err != nil || controllers[0].State != "stopped" {
		t.Errorf("after the stop: got %v, %v", controllers, err)
	}
	if _, err := c.Controllers(ctx, "nvme99"); err == nil {
		t.Error("nvme99: got no error")
	}
	metrics, err := c.Metrics(ctx)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, m := range metrics {
		for _, s := range m.Samples {
			if s.Value != 0 && (m.Type == "counter" || m.Type == "gauge") && m.Unit == nil {
				got[fmt.Sprint(m.Name, s.Labels)] = s.Value
			}
		}
	}
	delete(got, "nvme_discoverd_varlink_callsmap[]") // this one among them
	delete(got, "nvme_discoverd_resyncsmap[]")       // nothing here answers them
	want := map[string]float64{
		"nvme_discoverd_build_infomap[version:1.0]":              1,
		"nvme_discoverd_controllersmap[kind:io state:connected]": 2,
		"nvme_discoverd_controllersmap[kind:io state:stopped]":   1,
		"nvme_discoverd_connectsmap[kind:io]":                    3,
		"nvme_discoverd_requestsmap[operation:retry]":            1,
		"nvme_discoverd_requestsmap[operation:stop]":             1,
		"nvme_discoverd_varlink_clientsmap[]":                    1,
		"nvme_discoverd_wanted_controllersmap[kind:io]":          2,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("metrics: %s", diff)
	}
}

// A host name that has no address is a controller that waits.
func TestMetricsOfNames(t *testing.T) {
	d, ctx := running(t, 0)
	d.effects.lookUp = func(context.Context, string) ([]netip.Addr, error) { return nil, errors.New("no such host") }
	id := tid.TID{Transport: tid.TCP, Trsvcid: "8009", NQN: tid.DiscoveryNQN}
	d.postAndWait(ctx, core.ConfigLoaded{Config: config.Config{Settings: config.Defaults(), Connections: []config.Connection{
		{Wish: wish.Wish{Kind: tid.Discovery, TID: id, Owner: wish.OwnerDiscoverd}, Host: "array.example", From: "discoverd.conf:3"},
	}}})
	metrics, err := d.api.Metrics(ctx)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, m := range metrics {
		for _, s := range m.Samples {
			if m.Name == "nvme_discoverd_controllers" && s.Value != 0 {
				got[s.Labels["kind"]+" "+s.Labels["state"]] = s.Value
			}
		}
	}
	if diff := cmp.Diff(map[string]float64{"discovery waiting": 1}, got); diff != "" {
		t.Errorf("controllers (-want +got):\n%s", diff)
	}
}

// Those who watch hear of every change, and of what was forgotten.
func TestAPIMonitor(t *testing.T) {
	d, ctx := running(t, 2)
	c := dial(t, ctx, d)
	enough := fmt.Errorf("enough")
	var heard []string
	err := c.Monitor(ctx, func(change client.Change) error {
		for _, c := range change.Controllers {
			heard = append(heard, c.Nqn+" "+c.State)
		}
		for _, tid := range change.Removed {
			heard = append(heard, "removed "+tid)
		}
		switch {
		case change.Snapshot:
			cfg := config.Config{Settings: config.Defaults()}
			go d.post(ctx, core.ConfigLoaded{Config: cfg}) // nothing is wished for any more
		case len(change.Removed) > 0:
			return enough
		}
		return nil
	})
	if err != enough {
		t.Fatal(err)
	}
	slices.Sort(heard)
	want := []string{
		"nqn.2024-01.com.example:vol0 connected", "nqn.2024-01.com.example:vol1 connected",
		"removed transport=tcp;traddr=192.0.2.1;trsvcid=4420;nqn=nqn.2024-01.com.example:vol0",
		"removed transport=tcp;traddr=192.0.2.1;trsvcid=4420;nqn=nqn.2024-01.com.example:vol1",
	}
	if diff := cmp.Diff(want, heard); diff != "" {
		t.Error(diff)
	}
}

// Clients must not delay the loop, whatever they call and however often. Medians are compared: the longest waits are those of
// goroutines on a machine with too few processors.
const (
	// maxDelay bounds how many times longer an event waits while clients call than while nobody does, on a machine that is as
	// busy: where processors are short, everybody waits for one, and that is not for the daemon to mend.
	maxDelay = 20
	// harmless is a wait that is short enough whatever the quiet loop does: systemd takes longer to start a process.
	harmless = 10 * time.Millisecond
)

// For each method that reads, sixteen clients call it as fast as they can, while others watch, do not read or send half a
// call. Events that change something are timed meanwhile, from their arrival until the loop has dealt with them.
func TestLoopLatencyUnderLoad(t *testing.T) {
	const controllers, events, clients = 4000, 25, 16
	d, ctx := running(t, controllers)
	dial(t, ctx, d).Close() // it listens
	state, err := d.api.State(ctx)
	if err != nil {
		t.Fatal(err)
	}
	views := state.Targets
	next := 0
	median := func(what string) time.Duration {
		waits := make([]time.Duration, events)
		for i := range waits {
			time.Sleep(3 * time.Millisecond) // the pace of events, not a wait for anything
			next = (next + 1) % len(views)
			begun := time.Now()
			d.postAndWait(ctx, core.DeviceSeen{Device: connectedAs(views[next].Wish.TID, next+1), Why: "connected"})
			waits[i] = time.Since(begun)
		}
		slices.Sort(waits)
		t.Logf("%-17s median %v, 90 %% within %v, longest %v", what, waits[events/2], waits[events*9/10], waits[events-1])
		return waits[events/2]
	}
	median("quiet machine")
	// busy is the median while as many goroutines as there are clients work and nobody asks the daemon anything.
	busy := func() time.Duration {
		var work sync.WaitGroup
		var enough atomic.Bool
		for range clients {
			work.Go(func() {
				for !enough.Load() {
					_, _ = json.Marshal(views[:100])
					runtime.Gosched() // as a client that waits for its answer
				}
			})
		}
		defer work.Wait()
		defer enough.Store(true)
		return median("busy machine")
	}

	client := func(load *sync.WaitGroup, how func(net.Conn)) net.Conn {
		c, err := net.Dial("unix", d.Root.Socket())
		if err != nil {
			t.Fatal(err)
		}
		load.Go(func() { how(c) })
		return c
	}
	call := func(method, parameters string) string {
		return `{"method":"org.nvmexpress.discoverd.` + method + `","parameters":{` + parameters + `}}` + "\x00"
	}
	var hostile sync.WaitGroup
	var sockets []net.Conn
	for range 4 {
		for _, how := range []func(net.Conn){
			func(c net.Conn) { // watches and never reads
				_, _ = io.WriteString(c, `{"method":"org.nvmexpress.discoverd.Monitor","more":true}`+"\x00")
			},
			func(c net.Conn) { // never reads what it calls for
				for {
					if _, err := io.WriteString(c, call("GetStatus", "")); err != nil {
						return
					}
				}
			},
			func(c net.Conn) { _, _ = io.WriteString(c, `{"method":`) },
		} {
			sockets = append(sockets, client(&hostile, how))
		}
	}
	defer hostile.Wait()
	defer func() {
		for _, c := range sockets {
			c.Close()
		}
	}()

	unasked := busy()
	for _, method := range []struct {
		name, parameters string
		more             bool
	}{
		{name: "GetStatus"},
		{name: "ListControllers", more: true},
		{name: "GetController", parameters: `"target":"nvme2000"`},
		{name: "ListDiscoveryLogs", more: true},
		{name: "Monitor"}, // without more: the snapshot alone
		{name: "ListMetrics", more: true},
	} {
		var load sync.WaitGroup
		var callers []net.Conn
		var answers atomic.Int64
		for range clients {
			callers = append(callers, client(&load, func(c net.Conn) {
				for r := bufio.NewReader(c); ; answers.Add(1) {
					request := call(method.name, method.parameters)
					if method.more {
						request = strings.Replace(request, "{", `{"more":true,`, 1)
					}
					if _, err := io.WriteString(c, request); err != nil {
						return
					}
					for more := true; more; {
						part, err := r.ReadSlice(0)
						for err == bufio.ErrBufferFull {
							part, err = r.ReadSlice(0)
						}
						if err != nil {
							return
						}
						more = bytes.HasSuffix(part, []byte(`"continues":true}`+"\x00"))
					}
				}
			}))
		}
		begun := time.Now()
		wait := median(method.name)
		t.Logf("%d calls a second were answered", answers.Load()*int64(time.Second)/int64(time.Since(begun)))
		// Other processes come and go: a wait that is the daemon's fault comes again.
		for tries := 1; tries < 3 && wait > harmless && wait > maxDelay*unasked; tries++ {
			wait = min(wait, median(method.name+" again"))
		}
		for _, c := range callers {
			c.Close()
		}
		load.Wait()
		for d.api.server.Metrics()[0].Samples[0].Value > float64(len(sockets)) { // some still make an answer
			time.Sleep(time.Millisecond)
		}
		if wait > harmless && wait > maxDelay*unasked {
			t.Errorf("while %d clients call %s an event waits for %v, %.0f times longer than while nobody asks (%v), want at most %d times",
				clients, method.name, wait, float64(wait)/float64(unasked), unasked, maxDelay)
		}
	}
}
