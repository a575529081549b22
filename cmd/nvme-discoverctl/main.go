// Nvme-discoverctl controls the NVMe over Fabrics connections of a host, by hand and for the units of nvme-discoverd.
package main

import (
	"context"
	"os"

	"golang.org/x/sys/unix"

	"github.com/nvme-discoverd/nvme-discoverd/internal/cli"
)

// version is set by the linker.
var version = "dev"

func main() {
	os.Exit(cli.Run(context.Background(), cli.Env{
		Version:  version,
		Args:     os.Args[1:],
		Getenv:   os.Getenv,
		Stdin:    os.Stdin,
		Stdout:   os.Stdout,
		Stderr:   os.Stderr,
		Terminal: func() bool { return isTerminal(os.Stdin) && isTerminal(os.Stderr) },
	}))
}

// isTerminal tells a terminal by what only terminals answer.
func isTerminal(f *os.File) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}
