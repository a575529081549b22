// SPDX-License-Identifier: GPL-3.0-or-later

// Nvme-discoverctl controls the NVMe over Fabrics connections of a host, by hand and for the units of nvme-discoverd.
package main

import (
	"context"
	"fmt"
	"os"

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
		Terminal: func() bool { return cli.IsTerminal(os.Stdin) && cli.IsTerminal(os.Stderr) },
		Columns:  func() int { return cli.Columns(os.Stdout) },
	}))
}
