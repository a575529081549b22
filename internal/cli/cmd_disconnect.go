package cli

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/nvme-discoverd/nvme-discoverd/internal/paths"
	"github.com/nvme-discoverd/nvme-discoverd/internal/sysfs"
	"github.com/nvme-discoverd/nvme-discoverd/internal/tid"
)

func (a *app) disconnectCommand() *cobra.Command {
	var flags tidFlags
	var unit, device string
	cmd := &cobra.Command{
		Use:   "disconnect --device=nvmeN | --nqn=… | --transport=… --traddr=… --nqn=… | --unit=… --transport=…",
		Short: "Disconnect controllers",
		Long: `Disconnect controllers and wait until they are gone: the one called --device, all
of the subsystem --nqn, or those that connect with the same options would make.
Controllers that another program owns, and local ones, are never disconnected.

With --unit, disconnect what that unit has connected, provided that it still is
what the other options say; else say why not, and succeed.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch {
			case unit != "" && device != "":
				return errors.New("cannot disconnect by --unit and --device at once: give one of them")
			case unit != "":
				t, err := flags.read()
				if err != nil {
					return err
				}
				outcome, err := a.connector().DisconnectUnit(unit, t)
				if err != nil {
					return failed(err)
				}
				fmt.Fprintln(a.Stdout, outcome)
				return nil
			}
			what, match, err := a.selection(&flags, device)
			if err != nil {
				return err
			}
			outcomes, err := a.connector().Disconnect(what, match)
			for _, outcome := range outcomes {
				fmt.Fprintln(a.Stdout, outcome)
			}
			return failed(err)
		},
	}
	flags.add(cmd.Flags())
	cmd.Flags().StringVarP(&device, "device", "d", "", "name of the controller, nvmeN")
	cmd.Flags().StringVar(&unit, "unit", "", "unit of nvme-discoverd that has connected the controller")
	return cmd
}

// selection returns the controllers that a person means, and what to call them.
func (a *app) selection(flags *tidFlags, device string) (what string, match func(sysfs.Controller) bool, err error) {
	given := flags.tid
	switch {
	case device != "" && given != (tid.TID{}):
		return "", nil, errors.New("cannot disconnect by --device and other options at once: give one or the others")
	case device != "":
		if err := paths.CheckDevice(device); err != nil {
			return "", nil, err
		}
		return device, func(c sysfs.Controller) bool { return c.Name == device }, nil
	case given == (tid.TID{}):
		return "", nil, errors.New("cannot disconnect without knowing what: give --device, --nqn, or the options of connect")
	case given == (tid.TID{NQN: given.NQN}):
		if err := tid.CheckNQN(given.NQN); err != nil {
			return "", nil, err
		}
		return given.NQN, func(c sysfs.Controller) bool { return c.NQN == given.NQN }, nil
	}
	t, err := flags.readWithHost(a)
	if err != nil {
		return "", nil, err
	}
	return t.String(), func(c sysfs.Controller) bool { return c.Serves(t) }, nil
}
