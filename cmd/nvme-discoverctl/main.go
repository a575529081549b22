// Nvme-discoverctl controls the NVMe over Fabrics connections of a host, by hand and for the units of nvme-discoverd.
package main

import (
	"context"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/nvme-discoverd/nvme-discoverd/internal/cli"
	"github.com/nvme-discoverd/nvme-discoverd/internal/secret"
)

// version is set by the linker.
var version = "dev"

func main() {
	if err := secret.NoDumps(); err != nil { // some of the commands read secrets
		fmt.Fprintln(os.Stderr, "warning:", err)
	}
	os.Exit(cli.Run(context.Background(), cli.Env{
		Version:  version,
		Args:     os.Args[1:],
		Getenv:   os.Getenv,
		Stdin:    os.Stdin,
		Stdout:   os.Stdout,
		Stderr:   os.Stderr,
		Terminal: func() bool { return isTerminal(os.Stdin) && isTerminal(os.Stderr) },
		Columns:  columns,
	}))
}

// isTerminal tells a terminal by what only terminals answer.
func isTerminal(f *os.File) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

// columns returns the width of the terminal that stdout leads to, 0 if it leads to none.
func columns() int {
	size, err := unix.IoctlGetWinsize(int(os.Stdout.Fd()), unix.TIOCGWINSZ)
	if err != nil {
		return 0
	}
	if size.Col == 0 { // a serial console does not know
		return 80
	}
	return int(size.Col)
}
