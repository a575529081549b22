// SPDX-License-Identifier: GPL-3.0-or-later

//go:build e2e

package guest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"

	"golang.org/x/sys/unix"
)

// OnTerminal runs nvme-discoverctl on a terminal, at which a person types what is given, and returns how it ended. Its Stdout
// is the whole screen, what was typed included.
func OnTerminal(t T, typed string, args ...string) Outcome {
	t.Helper()
	person, terminal, err := openTerminal()
	if err != nil {
		t.Fatalf("cannot open a terminal: %v", err)
	}
	defer person.Close()
	ctx, cancel := context.WithTimeout(context.Background(), commandTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, ctlProgram, args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = terminal, terminal, terminal
	err = cmd.Start()
	terminal.Close()
	if err != nil {
		t.Fatalf("cannot run nvme-discoverctl: %v", err)
	}
	if _, err := person.WriteString(typed); err != nil { // the terminal keeps it until it is read
		t.Errorf("cannot type: %v", err)
	}
	var screen bytes.Buffer
	_, _ = io.Copy(&screen, person) // ends in an error when nobody has the terminal open any more
	var exit *exec.ExitError
	if err := cmd.Wait(); err != nil && (!errors.As(err, &exit) || ctx.Err() != nil) {
		t.Fatalf("cannot run nvme-discoverctl %s: %v\n%s", strings.Join(args, " "), err, screen.String())
	}
	return Outcome{Status: cmd.ProcessState.ExitCode(), Stdout: strings.ReplaceAll(screen.String(), "\r", "")}
}

// openTerminal returns the two ends of a new pseudo-terminal (pty(7)): the one where the person is, and that of programs.
func openTerminal() (person, terminal *os.File, err error) {
	person, err = os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, nil, err
	}
	defer func() {
		if err != nil {
			person.Close()
		}
	}()
	number, err := unix.IoctlGetInt(int(person.Fd()), unix.TIOCGPTN)
	if err != nil {
		return nil, nil, err
	}
	if err := unix.IoctlSetPointerInt(int(person.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		return nil, nil, err
	}
	terminal, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	return person, terminal, err
}
