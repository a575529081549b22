// SPDX-License-Identifier: GPL-3.0-or-later

package connect

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/nvme-discoverd/nvme-discoverd/internal/legacy"
	"github.com/nvme-discoverd/nvme-discoverd/internal/wish"
)

// listTimeout is how long systemd may take to say what runs.
const listTimeout = 10 * time.Second

// foreign tells whether another orchestrator looks after a controller of this owner, an attribute of the registry. Where it
// cannot be told, one does.
func (c *Connector) foreign(owner string) bool {
	if wish.Owner(owner) != wish.OwnerAutoconnect {
		return wish.Owner(owner).Foreign(true)
	}
	autoconnects, err := c.autoconnects()
	if err != nil {
		c.warn(err)
	}
	return wish.Owner(owner).Foreign(autoconnects || err != nil)
}

// systemctlAutoconnects looks at the files first: only where those are masked or absent does it matter what still runs.
func (c *Connector) systemctlAutoconnects() (bool, error) {
	if len(legacy.Active(c.root)) > 0 {
		return true, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), listTimeout)
	defer cancel()
	args := append([]string{"list-units", "--plain", "--no-legend", "--full", "--state=active,activating,reloading"}, legacy.Services()...)
	output, err := c.systemctl(ctx, args...)
	if err != nil {
		return false, fmt.Errorf("cannot tell whether nvme-cli's automatic connects run: %w", err)
	}
	return strings.TrimSpace(output) != "", nil
}
