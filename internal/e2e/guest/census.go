// SPDX-License-Identifier: GPL-3.0-or-later

//go:build e2e

package guest

import "strings"

// Census counts live controllers for measuring: it reads as little of sysfs as it can, since what it reads costs time that
// what is measured then lacks. A controller counted once is believed to be live until it disappears.
type Census struct {
	live map[string]bool
}

// NewCensus begins with nothing counted.
func NewCensus() *Census { return &Census{live: map[string]bool{}} }

// Live tells how many controllers are live now.
func (c *Census) Live() int {
	now := map[string]bool{}
	for _, name := range names(fabricsDevices) {
		if strings.HasPrefix(name, "nvme") && (c.live[name] || ControllerAttribute(name, "state") == "live") {
			now[name] = true
		}
	}
	c.live = now
	return len(now)
}
