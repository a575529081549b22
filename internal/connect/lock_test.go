// SPDX-License-Identifier: GPL-3.0-or-later

package connect

import (
	"context"
	"os"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nvme-discoverd/nvme-discoverd/internal/flock"
)

// A process that does not end keeps the lock of its address, even one that systemd killed while it hangs in the kernel.
// Whoever comes next gives up within the time that its unit has, and says who is in the way.
func TestLockHeldUp(t *testing.T) {
	const cannot = "cannot connect (tcp, 192.0.2.1, 4420, nqn.2024-01.com.example:vol1): "
	pid, lock := strconv.Itoa(os.Getpid()), "/run/nvme/discoverd/locks/"+lockName(ioc())
	for _, test := range []struct {
		name, status string
		unsigned     bool
		want         string
	}{
		{
			name: "killed and stuck", status: "State:\tD (disk sleep)\nShdPnd:\t0000000000000100\n",
			want: "process " + pid + " has been connecting to the same address for more than 30s; it was killed and hangs in the kernel, where /proc/" + pid +
				"/stack shows: nothing connects to this address until the kernel lets it go, at the latest after a reboot",
		},
		{
			name: "at work", status: "State:\tS (sleeping)\nShdPnd:\t0000000000000000\n",
			want: "process " + pid + " has been connecting to the same address for more than 30s: `systemctl status " + pid + "` shows its unit; wait for its end, or stop it",
		},
		{
			name: "of an earlier version", unsigned: true,
			want: "another process has been connecting to the same address for more than 30s: `fuser -v " + lock + "` shows which",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHost(t)
				h.write("/proc/"+pid+"/status", test.status)
				unlock, _, err := flock.LockWithin(t.Context(), h.root.Join(lock))
				if err != nil {
					t.Fatal(err)
				}
				if test.unsigned {
					h.write(lock, "")
				}
				begun := time.Now()
				_, err = h.Connector.Connect(t.Context(), h.request())
				if got := h.message(err); got != cannot+test.want {
					t.Errorf("error %s, want %s", got, cannot+test.want)
				}
				if took := time.Since(begun); took != lockPatience {
					t.Errorf("it waited %v, want %v", took, lockPatience)
				}
				left, found, err := h.state.TakeResult(unit)
				if err != nil || !found || h.short(left.Meaning) != cannot+test.want {
					t.Errorf("left for the daemon: %+v, %v, %v, want the error", left, found, err)
				}
				unlock()
				if device, err := h.Connector.Connect(t.Context(), h.request()); err != nil || device != "nvme3" {
					t.Errorf("when the other one has ended: %s, %v", device, err)
				}
			})
		})
	}
}

// Who waits is let go when it is not wanted any more.
func TestLockCanceled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t)
		unlock, _, err := flock.LockWithin(t.Context(), h.root.ConnectLock(lockName(ioc())))
		if err != nil {
			t.Fatal(err)
		}
		defer unlock()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err = h.Connector.Connect(ctx, h.request())
		if want := "cannot connect (tcp, 192.0.2.1, 4420, nqn.2024-01.com.example:vol1): context deadline exceeded"; h.message(err) != want {
			t.Errorf("error %v, want %s", err, want)
		}
	})
}
