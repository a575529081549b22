// SPDX-License-Identifier: GPL-3.0-or-later

package daemon

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/nvme-discoverd/nvme-discoverd/internal/config"
	"github.com/nvme-discoverd/nvme-discoverd/internal/core"
	"github.com/nvme-discoverd/nvme-discoverd/internal/nbft"
)

// slowFile makes a file whose first reader waits until the content is given. begun returns when there is a reader.
func slowFile(t *testing.T, path string) (begun func() (give func(content string))) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	return func() func(string) {
		file, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		return func(content string) {
			defer file.Close()
			if _, err := file.WriteString(content); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// overtaking runs f on another goroutine and gives it the chance to overtake what waits. It returns when f has begun; done is
// closed when f has ended.
func overtaking(f func()) (done <-chan struct{}) {
	begun, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		close(begun)
		f()
	}()
	<-begun
	for range 1000 {
		runtime.Gosched()
	}
	return ended
}

// What a reload makes of the boot tables is posted after what a link made of them by the configuration before.
func TestBootTablesInOrder(t *testing.T) {
	const mac = "52:54:00:12:34:56"
	d, _ := idle(t, host(t))
	var cfg config.Config
	cfg.Settings.NBFT = true
	d.boot = newBootTables(d.Root, d.Log, cfg)
	d.boot.tables = []nbft.Table{{
		HFIs:      []nbft.HFI{{Index: 1, Transport: "tcp", Link: nbft.Link{MAC: [6]byte{0x52, 0x54, 0, 0x12, 0x34, 0x56}}}},
		Discovery: []nbft.Discovery{{Index: 1, HFI: 1, URI: "nvme+tcp://192.0.2.1:8009/", NQN: "nqn.2014-08.org.nvmexpress.discovery"}},
	}}
	address := filepath.Join(d.Root.SysClassNet(), "eth0", "address")
	begun := slowFile(t, address)
	tell := func() { d.boot.tell(func(ev core.NBFTLoaded) { d.post(t.Context(), ev) }) }

	link := make(chan struct{})
	go func() {
		tell()
		close(link)
	}()
	give := begun()
	cfg.Settings.NBFT = false
	d.boot.configured(cfg)
	reload := overtaking(tell)
	give(mac + "\n")
	<-link
	<-reload
	first, last := (<-d.events).Event.(core.NBFTLoaded), (<-d.events).Event.(core.NBFTLoaded)
	if len(first.Connections) != 1 || first.Connections[0].Wish.TID.HostIface != "eth0" {
		t.Errorf("first came %+v, want a connection over eth0", first)
	}
	if len(last.Connections) != 0 {
		t.Errorf("last came %+v, want what the last configuration wants: nothing", last)
	}
}
