// SPDX-License-Identifier: GPL-3.0-or-later

package follow

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// FollowUevents has every uevent of the kernel be an event, until the program ends.
func FollowUevents(events *Events) error {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_KOBJECT_UEVENT)
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: 1})
	}
	if err != nil {
		return fmt.Errorf("cannot follow uevents: %w", err)
	}
	go func() {
		defer unix.Close(fd)
		first := make([]byte, 1) // the kernel drops the rest of a message
		for {
			_, _, err := unix.Recvfrom(fd, first, 0)
			switch {
			case err == nil, errors.Is(err, unix.ENOBUFS): // some were lost: one event for all
				events.Tell(Kernel)
			case !errors.Is(err, unix.EINTR):
				return
			}
		}
	}()
	return nil
}
