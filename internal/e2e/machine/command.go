// SPDX-License-Identifier: GPL-3.0-or-later

package machine

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strings"
)

// run runs a command to its end; if it fails, the error carries the last lines of what it printed.
func run(name string, args ...string) error {
	cmd := exec.Command(name, args...)
	// The C locale keeps package scripts from complaining about locales that the new tree does not have.
	// Packages of kernels need not make initial RAM disks: nobody would read them.
	cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8", "DEBIAN_FRONTEND=noninteractive", "INITRD=No")
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("cannot run %s: %w\n%s", name, err, lastLines(output.String(), 15))
	}
	return nil
}

// lastLines returns the last n lines of text, indented.
func lastLines(text string, n int) string {
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	if len(lines) > n {
		lines = lines[len(lines)-n:]
	}
	return "\t" + strings.Join(lines, "\n\t")
}
