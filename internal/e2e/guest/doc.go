// SPDX-License-Identifier: GPL-3.0-or-later

// Package guest has the end-to-end scenarios (files *_test.go) and the hands and eyes that they use: the kernel's own
// NVMe target, the service under test, the administrator's commands, and what sysfs, systemd and the journal show.
//
// Everything here runs as root inside the machine and only there: it disconnects controllers and empties directories.
// The observers deliberately share no code with the product. They read what an administrator could read.
package guest
