package connect

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
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
	output, err := exec.CommandContext(ctx, c.root.Systemctl(), args...).Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) && len(exit.Stderr) > 0 {
			err = errors.New(strings.TrimSpace(string(exit.Stderr)))
		}
		return false, fmt.Errorf("cannot tell whether nvme-cli's automatic connects run: %w", err)
	}
	return strings.TrimSpace(string(output)) != "", nil
}
