package cli

import (
	"context"

	"github.com/nvme-discoverd/nvme-discoverd/internal/api/client"
)

// withDaemon calls f with a connection to the daemon; what goes wrong is a failure of the command.
func (a *app) withDaemon(ctx context.Context, f func(*client.Client) error) error {
	c, err := client.Dial(ctx, a.root)
	if err != nil {
		return failed(err)
	}
	defer c.Close()
	return failed(f(c))
}

const jsonFlag = "print JSON, see org.nvmexpress.discoverd(7)"
