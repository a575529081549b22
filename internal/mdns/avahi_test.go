// SPDX-License-Identifier: GPL-3.0-or-later

package mdns

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"

	"github.com/nvme-discoverd/nvme-discoverd/internal/systembus/systembustest"
)

// testLimit ends a test that waits for something that does not come. It is no assertion about speed.
const testLimit = 30 * time.Second

// fakeAvahi is as much of Avahi as this package uses. What it hears is up to the test.
type fakeAvahi struct {
	t    *testing.T
	conn *dbus.Conn

	mu      sync.Mutex
	client  string // that browses
	objects int
	names   map[string]string // addresses of the names that are announced, by name and kind; "" is none
	wanted  chan struct{}     // a browser was made
}

func newFakeAvahi(t *testing.T, bus *systembustest.Bus) *fakeAvahi {
	t.Helper()
	f := &fakeAvahi{t: t, conn: bus.Connect(), names: map[string]string{}, wanted: make(chan struct{}, 10)}
	err := f.conn.ExportMethodTable(map[string]any{
		"ServiceBrowserNew":  f.browserNew,
		"ServiceResolverNew": f.resolverNew,
	}, avahiPath, avahiServer)
	if err != nil {
		t.Fatal(err)
	}
	if reply, err := f.conn.RequestName(avahiName, dbus.NameFlagDoNotQueue); err != nil || reply != dbus.RequestNameReplyPrimaryOwner {
		t.Fatalf("cannot own the name of Avahi: %v, %v", reply, err)
	}
	return f
}

// set gives the names their addresses.
func (f *fakeAvahi) set(names map[string]string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.names = names
}

// signalTo sends one signal to the client alone, as Avahi does.
func signalTo(t *testing.T, conn *dbus.Conn, client, name string, path dbus.ObjectPath, body ...any) {
	at := strings.LastIndex(name, ".")
	msg := &dbus.Message{Type: dbus.TypeSignal, Body: body, Headers: map[dbus.HeaderField]dbus.Variant{
		dbus.FieldDestination: dbus.MakeVariant(client),
		dbus.FieldPath:        dbus.MakeVariant(path),
		dbus.FieldInterface:   dbus.MakeVariant(name[:at]),
		dbus.FieldMember:      dbus.MakeVariant(name[at+1:]),
	}}
	if len(body) > 0 {
		msg.Headers[dbus.FieldSignature] = dbus.MakeVariant(dbus.SignatureOf(body...))
	}
	if call := conn.Send(msg, nil); call != nil && call.Err != nil {
		t.Error(call.Err)
	}
}

func (f *fakeAvahi) browserNew(sender dbus.Sender, link, protocol int32, kind, domainName string, _ uint32) (dbus.ObjectPath, *dbus.Error) {
	if link != -1 || protocol != -1 || kind != "_nvme-disc._tcp" || domainName != "local" {
		return "", dbus.NewError("org.freedesktop.Avahi.InvalidServiceTypeError", nil)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.client = string(sender)
	f.wanted <- struct{}{}
	return "/Client1/ServiceBrowser1", nil
}

func (f *fakeAvahi) resolverNew(_ dbus.Sender, link, protocol int32, name, kind, domainName string, address int32, _ uint32) (dbus.ObjectPath, *dbus.Error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if name == "refused" {
		return "", dbus.NewError("org.freedesktop.Avahi.TooManyObjectsError", nil)
	}
	f.objects++
	path := dbus.ObjectPath(fmt.Sprintf("/Client1/ServiceResolver%d", f.objects))
	if text := f.names[fmt.Sprint(name, address)]; text != "" { // before the answer to the call, as it may come
		signalTo(f.t, f.conn, f.client, avahiResolver+".Found", path,
			link, protocol, name, kind, domainName, "array.local", address, text, uint16(8009), [][]byte{[]byte("p=tcp")}, uint32(4))
	}
	return path, nil
}

func (f *fakeAvahi) browse(member, name string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	body := []any{int32(2), int32(0), name, serviceType, domain, uint32(4)}
	if name == "" {
		body = nil
	}
	signalTo(f.t, f.conn, f.client, avahiBrowser+"."+member, "/Client1/ServiceBrowser1", body...)
}

// reports is where a Browser of a test reports to.
type reports struct {
	t  *testing.T
	in chan Report
	b  *Browser
}

func newReports(t *testing.T, bus, resolved string) *reports {
	t.Helper()
	r := &reports{t: t, in: make(chan Report, 100)}
	r.b = New(Config{
		Bus: bus, Resolved: resolved, Report: func(report Report) { r.in <- report }, Staf: func() bool { return true }, Log: slog.New(slog.DiscardHandler),
	})
	r.b.network = func() (network, error) { return host(), nil }
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		r.b.Run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
	})
	return r
}

// want waits for a report that is so.
func (r *reports) want(what string, so func(Report) bool) Report {
	r.t.Helper()
	var last Report
	for limit := time.After(testLimit); ; {
		select {
		case last = <-r.in:
			if so(last) {
				return last
			}
		case <-limit:
			r.t.Fatalf("no report of %s; the last one is %+v", what, last)
		}
	}
}

func has(instances ...string) func(Report) bool {
	return func(r Report) bool {
		var names []string
		for _, a := range r.Found {
			names = append(names, a.Instance+" "+a.TID.Traddr)
		}
		return strings.Join(names, ", ") == strings.Join(instances, ", ")
	}
}

// TestAvahi browses by an Avahi that appears, announces, withdraws, goes and comes back; others forge its signals.
func TestAvahi(t *testing.T) {
	bus := systembustest.Start(t)
	r := newReports(t, bus.Socket, filepath.Join(t.TempDir(), "none"))
	r.b.Browse(&Families{IPv4: true, IPv6: true})
	r.want("nobody who browses", func(r Report) bool {
		return r.Service == "" && strings.HasPrefix(r.Problem, "Avahi does not run (start avahi-daemon.service); systemd-resolved does not run")
	})
	avahi := newFakeAvahi(t, bus)
	avahi.set(map[string]string{"Array 10": "192.0.2.10", "Array 11": "fe80::10", "Other0": "192.0.2.11", "refused0": "192.0.2.12"})
	<-avahi.wanted
	r.want("Avahi", func(r Report) bool { return r.Service == "Avahi" && r.Problem == "" && !r.Complete })
	avahi.browse("ItemNew", "Array 1")
	avahi.browse("ItemNew", "Array 1")
	r.want("an announcement", has("Array 1 192.0.2.10", "Array 1 fe80::10%eth0"))
	mallory := bus.Connect()
	signalTo(t, mallory, avahi.client, avahiBrowser+".ItemRemove", "/Client1/ServiceBrowser1", int32(2), int32(0), "Array 1", serviceType, domain, uint32(4))
	signalTo(t, avahi.conn, avahi.client, avahiBrowser+".ItemNew", "/Client1/ServiceBrowser1", "what is this?")
	avahi.browse("ItemNew", "refused")
	avahi.browse("ItemNew", "Other")
	got := r.want("two announcements", has("Array 1 192.0.2.10", "Array 1 fe80::10%eth0", "Other 192.0.2.11"))
	if got.Ignored != 2 || got.Example != "refused: Avahi does not resolve it: org.freedesktop.Avahi.TooManyObjectsError" {
		t.Errorf("%d ignored, for example %s", got.Ignored, got.Example)
	}
	avahi.browse("ItemRemove", "Other")
	r.want("a withdrawal", has("Array 1 192.0.2.10", "Array 1 fe80::10%eth0"))

	staf := bus.Connect()
	if _, err := staf.RequestName(stafName, dbus.NameFlagDoNotQueue); err != nil {
		t.Fatal(err)
	}
	r.want("nvme-stas beside", func(r Report) bool { return r.Beside })
	staf.Close()
	r.want("nvme-stas gone", func(r Report) bool { return !r.Beside })

	avahi.conn.Close()
	r.want("Avahi gone", func(r Report) bool { return r.Service == "" && r.Problem != "" })
	again := newFakeAvahi(t, bus)
	again.set(avahi.names)
	<-again.wanted
	r.want("Avahi back", func(r Report) bool { return r.Service == "Avahi" })
	again.browse("ItemNew", "Other")
	r.want("an announcement", has("Other 192.0.2.11"))
	r.b.Browse(nil)
	r.want("the end", func(r Report) bool { return r.same(Report{}) })
	r.b.Browse(&Families{IPv4: true})
	<-again.wanted
	again.browse("ItemNew", "Array 1")
	r.want("an announcement of one family", has("Array 1 192.0.2.10"))
}

// TestAvahiFlood announces more names than are looked at. When they are gone, what was dropped is asked for again.
func TestAvahiFlood(t *testing.T) {
	bus := systembustest.Start(t)
	r := newReports(t, bus.Socket, filepath.Join(t.TempDir(), "none"))
	avahi := newFakeAvahi(t, bus)
	r.b.Browse(&Families{IPv4: true})
	<-avahi.wanted
	names := map[string]string{}
	for i := range maxItems + 100 {
		names[fmt.Sprintf("Flood %d0", i)] = fmt.Sprintf("192.0.2.%d", 2+i%250)
	}
	avahi.set(names)
	for i := range maxItems + 100 {
		avahi.browse("ItemNew", fmt.Sprint("Flood ", i))
	}
	avahi.browse("AllForNow", "")
	r.want("what is ignored", func(r Report) bool {
		return len(r.Found) == MaxAnnouncements && r.Ignored == 100+maxItems-MaxAnnouncements && strings.HasSuffix(r.Example, ": only 400 names are looked at")
	})
	avahi.mu.Lock()
	if avahi.objects > maxItems {
		t.Errorf("%d names are resolved", avahi.objects)
	}
	avahi.mu.Unlock()
	for i := range maxItems {
		avahi.browse("ItemRemove", fmt.Sprint("Flood ", i))
	}
	select {
	case <-avahi.wanted:
	case <-time.After(testLimit):
		t.Fatal("it does not browse again")
	}
}
