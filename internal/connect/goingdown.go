package connect

import (
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
	output, err := exec.Command(c.root.Systemctl(), "is-system-running").Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) && len(exit.Stderr) > 0 {
		err = errors.New(strings.TrimSpace(string(exit.Stderr)))
	}
	return string(output), err
}
