// SPDX-License-Identifier: GPL-3.0-or-later

package connect

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
)

// goingDown asks systemd whether the system is shutting down, soft-reboot included. systemctl is used because it
// reaches systemd without the bus as well, which may be down by then; and so that the command of every unit does without
// D-Bus for what one stop in a thousand asks.
func (c *Connector) goingDown() (bool, error) {
	output, err := c.systemState()
	state := strings.TrimSpace(output)
	switch state {
	case "stopping":
		return true, nil
	case "initializing", "starting", "running", "degraded", "maintenance": // the exit status of most is an error
		return false, nil
	}
	if err == nil {
		err = fmt.Errorf("its state is %q", state)
	}
	return false, fmt.Errorf("cannot tell whether the system is shutting down: %v", err)
}

// systemctlState returns what systemctl(1), is-system-running, prints.
func (c *Connector) systemctlState() (string, error) {
	return c.systemctl(context.Background(), "is-system-running")
}

// systemctl returns what systemctl(1) prints. The error is what it says itself, if it says anything.
func (c *Connector) systemctl(ctx context.Context, args ...string) (string, error) {
	output, err := exec.CommandContext(ctx, c.root.Systemctl(), args...).Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) && len(exit.Stderr) > 0 {
		err = errors.New(strings.TrimSpace(string(exit.Stderr)))
	}
	return string(output), err
}
