// SPDX-License-Identifier: GPL-3.0-or-later

package journal

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"github.com/nvme-discoverd/nvme-discoverd/internal/core"
	"github.com/nvme-discoverd/nvme-discoverd/internal/tid"
)

// fakeJournal takes one record for every value that gate has, and all once it is closed.
type fakeJournal struct {
	slog.Handler
	gate  chan error
	lines []string
}

func newFakeJournal() *fakeJournal {
	return &fakeJournal{Handler: slog.DiscardHandler, gate: make(chan error)}
}

func (f *fakeJournal) Handle(_ context.Context, r slog.Record) error {
	if err := <-f.gate; err != nil {
		return err
	}
	line := r.Level.String() + " " + r.Message
	r.Attrs(func(a slog.Attr) bool {
		line += "\n\t" + a.Key + "=" + a.Value.String()
		return true
	})
	f.lines = append(f.lines, line)
	return nil
}

func TestNative(t *testing.T) {
	f := newFakeJournal()
	close(f.gate)
	native := newNative(slog.LevelInfo, f, 16)
	log := slog.New(native).With("part", "x", "NVME_TRANSPORT", "tcp")
	log.Debug("unseen")
	log.Warn("a\nforged\x1b line", "attempt", 3, "NVME_NQN", "nqn.x:\nMESSAGE=forged")
	slog.New(native).Info("plain")
	native.Close()
	want := []string{"WARN a|forged? line part=x attempt=3\n\tNVME_TRANSPORT=tcp\n\tNVME_NQN=nqn.x:|MESSAGE=forged", "INFO plain"}
	if diff := cmp.Diff(want, f.lines); diff != "" {
		t.Errorf("sent (-want +got):\n%s", diff)
	}
}

// Lines that a journal that hangs does not take are dropped, whoever logs goes on, and how many they were is told in the end.
func TestNativeDrops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeJournal()
		native := newNative(slog.LevelInfo, f, 2)
		log := slog.New(native)
		log.Info("1")
		synctest.Wait() // it is on its way, and hangs
		for _, line := range []string{"2", "3", "4", "5"} {
			log.Info(line)
		}
		f.gate <- errors.New("broken") // the journal is restarted: the first line is lost too
		close(f.gate)
		native.Close()
		want := []string{"INFO 2", "INFO 3", "WARN 3 lines dropped: the journal did not take them\n\tMESSAGE_ID=" + droppedID}
		if diff := cmp.Diff(want, f.lines); diff != "" {
			t.Errorf("sent (-want +got):\n%s", diff)
		}
		log.Info("nobody listens any more, and nobody waits")
	})
}

// A journal that hangs does not keep the daemon from ending.
func TestNativeCloseHanging(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeJournal()
		native := newNative(slog.LevelInfo, f, 2)
		slog.New(native).Info("1")
		native.Close()
		if len(f.lines) != 0 {
			t.Errorf("sent %q, want nothing", f.lines)
		}
		close(f.gate)
	})
}

var fullTID = tid.TID{
	Transport: "tcp", Traddr: "192.0.2.1", Trsvcid: "4420", NQN: "nqn.2024-01.com.example:vol1",
	HostTraddr: "192.0.2.9", HostIface: "eth0", HostNQN: "nqn.2024-01.com.example:host",
}

func TestFields(t *testing.T) {
	for _, test := range []struct {
		name string
		line core.Log
		want string
	}{
		{"nothing", core.Log{Msg: "x"}, ""},
		{"the whole", core.Log{Kind: core.KindBusLost}, "MESSAGE_ID=341f45e571e044a98770175dc8e82f02"},
		{
			"everything",
			core.Log{Kind: core.KindConnected, TID: fullTID, Device: "nvme3", Unit: "u.service"},
			"NVME_UNIT=u.service NVME_DEVICE=nvme3 NVME_NQN=nqn.2024-01.com.example:vol1 NVME_TRANSPORT=tcp NVME_TRADDR=192.0.2.1 " +
				"NVME_TRSVCID=4420 NVME_HOST_TRADDR=192.0.2.9 NVME_HOST_IFACE=eth0 MESSAGE_ID=7727285eae194c969ddf8ba802717ef9",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			var got []string
			for _, a := range Fields(test.line) {
				got = append(got, a.String())
			}
			if diff := cmp.Diff(test.want, strings.Join(got, " ")); diff != "" {
				t.Errorf("fields (-want +got):\n%s", diff)
			}
		})
	}
}
