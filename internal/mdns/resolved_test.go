// SPDX-License-Identifier: GPL-3.0-or-later

package mdns

import (
	"bufio"
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/nvme-discoverd/nvme-discoverd/internal/systembus/systembustest"
)

// fakeResolved is as much of systemd-resolved as this package uses, in the words of systemd 262.
type fakeResolved struct {
	t *testing.T
	l net.Listener

	mu       sync.Mutex
	old      bool              // of a version that cannot browse
	services map[string]string // replies of ResolveService, by name; "" is an error
	browser  chan net.Conn     // connections that browse
}

func newFakeResolved(t *testing.T, socket string) *fakeResolved {
	t.Helper()
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	f := &fakeResolved{t: t, l: l, services: map[string]string{}, browser: make(chan net.Conn, 10)}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go f.serve(conn)
		}
	}()
	return f
}

func (f *fakeResolved) serve(conn net.Conn) {
	in := bufio.NewReader(conn)
	for {
		text, err := in.ReadBytes(0)
		if err != nil {
			conn.Close()
			return
		}
		var call struct {
			Method     string
			More       bool
			Parameters struct {
				Name, Type, Domain string
				Ifindex, Flags     int
			}
		}
		if err := json.Unmarshal(text[:len(text)-1], &call); err != nil {
			f.t.Error(err)
		}
		p := call.Parameters
		if p.Type != serviceType || p.Domain != domain || p.Flags != resolvedMDNS {
			f.t.Errorf("called with %s", text)
		}
		f.mu.Lock()
		answer := f.services[p.Name]
		old := f.old
		f.mu.Unlock()
		switch {
		case old:
			reply(conn, `{"error":"org.varlink.service.MethodNotFound","parameters":{"method":"io.systemd.Resolve.BrowseServices"}}`)
		case call.Method == "io.systemd.Resolve.BrowseServices" && call.More && p.Ifindex == 0:
			f.browser <- conn
		case call.Method == "io.systemd.Resolve.ResolveService" && p.Ifindex == 2 && answer != "":
			reply(conn, `{"parameters":`+answer+`}`)
		default:
			reply(conn, `{"error":"io.systemd.Resolve.QueryTimedOut","parameters":{}}`)
		}
	}
}

func reply(conn net.Conn, text string) { _, _ = conn.Write(append([]byte(text), 0)) }

func update(flag string, family int, name string) string {
	text, _ := json.Marshal(map[string]any{"updateFlag": flag, "family": family, "name": name, "type": serviceType, "domain": "local", "ifindex": 2})
	return string(text)
}

func notify(conn net.Conn, updates ...string) {
	reply(conn, `{"parameters":{"browserServiceData":[`+strings.Join(updates, ",")+`]},"continues":true}`)
}

// TestResolved browses by a systemd-resolved that appears, announces, withdraws, ends and comes back.
func TestResolved(t *testing.T) {
	bus := systembustest.Start(t)
	dir, err := os.MkdirTemp("", "mdns")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	socket := filepath.Join(dir, "resolve")
	r := newReports(t, bus.Socket, socket)
	r.b.Browse(&Families{IPv4: true, IPv6: true})
	r.want("nobody", func(r Report) bool { return r.Problem != "" })
	f := newFakeResolved(t, socket)
	f.mu.Lock()
	f.services["Array"] = `{"services":[{"priority":0,"weight":0,"port":8009,"hostname":"a.local","addresses":[{"ifindex":2,"family":2,"address":[192,0,2,10]},` +
		`{"ifindex":2,"family":10,"address":[254,128,0,0,0,0,0,0,0,0,0,0,0,0,0,16]},{"ifindex":3,"family":2,"address":[192,0,2,99]},{"family":2,"address":[1,2,3,400]}]}],` +
		`"txt":["p=tcp","nqn=nqn.2024-01.com.example:a\\137b"],"canonical":{"name":"Array","type":"_nvme-disc._tcp","domain":"local"},"flags":1}`
	f.mu.Unlock()
	conn := <-f.browser
	r.want("systemd-resolved", func(r Report) bool { return r.Service == "systemd-resolved" })
	notify(conn, update("added", 2, "Array"), update("added", 10, "Array"), update("added", 2, "does not answer"))
	got := r.want("an announcement", has("Array 192.0.2.10", "Array fe80::10%eth0"))
	if got.Found[0].TID.NQN != "nqn.2024-01.com.example:a_b" {
		t.Errorf("its NQN is %s", got.Found[0].TID.NQN)
	}
	notify(conn, update("removed", 10, "Array"), update("removed", 2, "no such"))
	f.mu.Lock()
	f.services["Other"] = strings.ReplaceAll(f.services["Array"], "192,0,2,10", "192,0,2,11")
	f.mu.Unlock()
	notify(conn, update("added", 2, "Other"))
	r.want("another one", func(r Report) bool { return len(r.Found) == 4 })
	notify(conn, update("removed", 2, "Array"))
	r.want("a withdrawal", has("Other 192.0.2.11", "Other fe80::10%eth0"))

	f.mu.Lock()
	f.old = true
	f.mu.Unlock()
	conn.Close()
	r.want("one that cannot browse", func(r Report) bool { return strings.Contains(r.Problem, "systemd-resolved is older than version 258") })
	avahi := newFakeAvahi(t, bus)
	<-avahi.wanted
	r.want("Avahi instead", func(r Report) bool { return r.Service == "Avahi" })
}
