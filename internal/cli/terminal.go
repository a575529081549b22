// SPDX-License-Identifier: GPL-3.0-or-later

package cli

import (
	"os"

	"golang.org/x/sys/unix"
)

// IsTerminal tells a terminal by what only terminals answer.
func IsTerminal(f *os.File) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

// Columns returns the width of the terminal that f leads to, 0 if it leads to none.
func Columns(f *os.File) int {
	size, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ)
	if err != nil {
		return 0
	}
	if size.Col == 0 { // a serial console does not know
		return 80
	}
	return int(size.Col)
}
