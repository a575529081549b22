package connect

import (
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"os"
	"strings"

	"github.com/nvme-discoverd/nvme-discoverd/internal/flock"
	"github.com/nvme-discoverd/nvme-discoverd/internal/tid"
	"github.com/nvme-discoverd/nvme-discoverd/internal/wish"
)

// lock waits until no other process connects what w could be a duplicate of: the kernel does not refuse a second
// connection to a discovery controller. The end of the process unlocks too.
func (c *Connector) lock(w wish.Wish) (unlock func(), err error) {
	unlock, err = flock.Lock(c.root.ConnectLock(lockName(w)))
	if err != nil {
		return nil, lockError(w, err)
	}
	return unlock, nil
}

func lockError(w wish.Wish, err error) error {
	if errors.Is(err, os.ErrPermission) {
		return fmt.Errorf("cannot connect %s: only root may: %w", w.TID, err)
	}
	return fmt.Errorf("cannot lock %s against a second connect: %w", w.TID, err)
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
