// SPDX-License-Identifier: GPL-3.0-or-later

package connect

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"os"
	"strings"
	"time"

	"github.com/nvme-discoverd/nvme-discoverd/internal/flock"
	"github.com/nvme-discoverd/nvme-discoverd/internal/tid"
	"github.com/nvme-discoverd/nvme-discoverd/internal/wish"
)

// lockPatience is how long a connect waits for another one. It is well within the start timeout of a unit, so that there is
// time to say why it failed, and longer than the kernel takes to give up two peers that accept a connection and stay mute.
const lockPatience = 30 * time.Second

// lock waits until no other process connects what w could be a duplicate of: the kernel does not refuse a second
// connection to a discovery controller. The end of the process unlocks too. A process that was killed while it hangs in the
// kernel has no end, so the wait has.
func (c *Connector) lock(ctx context.Context, w wish.Wish) (unlock func(), err error) {
	limited, cancel := context.WithTimeout(ctx, lockPatience)
	defer cancel()
	unlock, holder, err := flock.LockWithin(limited, c.root.ConnectLock(lockName(w)))
	switch {
	case err == nil:
		return unlock, nil
	case errors.Is(err, os.ErrPermission):
		return nil, fmt.Errorf("cannot connect %s: only root may: %w", w.TID, err)
	case !errors.Is(err, flock.ErrHeld):
		return nil, fmt.Errorf("cannot lock %s against a second connect: %w", w.TID, err)
	case ctx.Err() != nil:
		return nil, fmt.Errorf("cannot connect %s: %w", w.TID, ctx.Err())
	}
	return nil, fmt.Errorf("cannot connect %s: %s", w.TID, c.heldUp(holder, c.root.ConnectLock(lockName(w))))
}

// tryLock is lock for who does not want to wait. Its error is for nobody to read.
func (c *Connector) tryLock(w wish.Wish) (unlock func(), err error) {
	return flock.TryLock(c.root.ConnectLock(lockName(w)))
}

// heldUp says which process has had the lock for too long, and what to do about it.
func (c *Connector) heldUp(pid, lock string) string {
	const what = "has been connecting to the same address for more than "
	switch {
	case pid == "":
		return fmt.Sprintf("another process %s%v: `fuser -v %s` shows which", what, lockPatience, lock)
	case flock.Dying(c.root, pid):
		return fmt.Sprintf("process %s %s%v; it was killed and hangs in the kernel, where /proc/%s/stack shows: nothing connects to this address until the kernel lets it go, at the latest after a reboot", pid, what, lockPatience, pid)
	}
	return fmt.Sprintf("process %s %s%v: `systemctl status %s` shows its unit; wait for its end, or stop it", pid, what, lockPatience, pid)
}

// lockName is the same for all wishes that one connection could serve: the address and, because a target has one
// discovery service under many names and many subsystems, the NQN of an I/O controller. Bindings of this host do not
// part wishes, as a wish that pins none is served by any.
func lockName(w wish.Wish) string {
	nqn := ""
	if w.Kind == tid.IO {
		nqn = tid.FoldNQN(w.TID.NQN)
	}
	h := fnv.New64a()
	for _, part := range []string{w.TID.Transport, strings.ToLower(w.TID.Traddr), w.TID.Trsvcid, nqn} {
		io.WriteString(h, part+"\n") // never fails; no part contains a line feed
	}
	return fmt.Sprintf("%016x", h.Sum64())
}
