// Nvme-discoverctl controls the NVMe over Fabrics connections of a host, by hand and for the units of nvme-discoverd.
package main

import (
	"context"
	"os"

	"github.com/nvme-discoverd/nvme-discoverd/internal/cli"
)

// version is set by the linker.
var version = "dev"

func main() {
	os.Exit(cli.Run(context.Background(), cli.Env{
		Version: version,
		Args:    os.Args[1:],
		Getenv:  os.Getenv,
		Stdout:  os.Stdout,
		Stderr:  os.Stderr,
	}))
}
