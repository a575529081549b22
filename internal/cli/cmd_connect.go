package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/nvme-discoverd/nvme-discoverd/internal/connect"
	"github.com/nvme-discoverd/nvme-discoverd/internal/wish"
)

func (a *app) connectCommand() *cobra.Command {
	var flags wishFlags
	var req connect.Request
	var owner string
	cmd := &cobra.Command{
		Use:   "connect --transport=… --traddr=… --nqn=… [option]…",
		Short: "Connect one controller",
		Long: `Connect one controller and wait until it is there.

The exclusion lists and the ownership registry are obeyed. The units of
nvme-discoverd run this command: what "systemctl status" shows of a unit can be
run by hand.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			w, err := flags.wish(a)
			if err != nil {
				return err
			}
			w.Owner = wish.Owner(owner)
			req.Wish = w
			device, err := a.connector().Connect(cmd.Context(), req)
			if err != nil {
				return failed(err)
			}
			fmt.Fprintf(a.Stdout, "connected %s: %s\n", device, w.TID)
			return nil
		},
	}
	flags.add(cmd.Flags())
	cmd.Flags().BoolVar(&req.Idempotent, "idempotent", false, "succeed if it is connected already")
	cmd.Flags().StringVar(&owner, "owner", "", "owner to register: discoverd or nbft (default nobody)")
	cmd.Flags().StringVar(&req.Unit, "unit", "", "unit of nvme-discoverd to record the controller for")
	cmd.Flags().StringVar(&req.DevidFile, "devid-file", "", "the unit's file for the name of the controller")
	return cmd
}
