// SPDX-License-Identifier: GPL-3.0-or-later

package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/nvme-discoverd/nvme-discoverd/internal/connect"
	"github.com/nvme-discoverd/nvme-discoverd/internal/secret"
	"github.com/nvme-discoverd/nvme-discoverd/internal/tid"
	"github.com/nvme-discoverd/nvme-discoverd/internal/wish"
)

func (a *app) connectCommand() *cobra.Command {
	var flags wishFlags
	var req connect.Request
	var owner string
	files := map[secret.Key]*string{}
	cmd := &cobra.Command{
		Use:   "connect --transport=… --traddr=… --nqn=… [option]…",
		Short: "Connect one controller",
		Long: `Connect one controller and wait until it is there. The options, short ones too,
are those of nvme connect. Spans of time may have units, as in
--ctrl-loss-tmo=10min.

The exclusion lists and the ownership registry are obeyed. The units of
nvme-discoverd run this command: what "systemctl status" shows of a unit can be
run by hand.`,
		Args:              takes(0, 0),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			for _, k := range secret.Keys() {
				if cmd.Flags().Changed(k.String()) {
					return fmt.Errorf("cannot take a secret from the command line, which everybody can read: put it into a file of mode 0600 and give --%v-file", k)
				}
			}
			w, err := flags.wish(a)
			if err != nil {
				return err
			}
			if req.Unit == "" { // in the journal of a unit it would come again with each attempt
				if err := tid.CheckForm(w.TID.NQN); err != nil {
					a.warn([]string{"nqn " + err.Error()})
				}
			}
			w.Owner = wish.Owner(owner)
			req.Wish = w
			if req.Secrets, err = readSecrets(files); err != nil {
				return failed(err)
			}
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
	cmd.Flags().StringVar(&req.SecretsFile, "secrets-file", "", "the unit's file of secrets")
	for _, k := range secret.Keys() {
		files[k] = cmd.Flags().String(k.String()+"-file", "", secretHelp(k))
		// The options of nvme connect for the secrets themselves are there to be refused in words that help.
		cmd.Flags().StringP(k.String(), secretLetter(k), "", "")
		_ = cmd.Flags().MarkHidden(k.String()) // the flag is there
	}
	a.completeTIDFlags(cmd)
	return cmd
}

// secretLetter is the short option of nvme connect for a secret.
func secretLetter(k secret.Key) string {
	switch k {
	case secret.DHChap:
		return "S"
	case secret.DHChapCtrl:
		return "C"
	}
	return ""
}

// secretHelp is the help of the option that names the file of a secret. There is none for the secret itself: everybody can
// read command lines.
func secretHelp(k secret.Key) string {
	switch k {
	case secret.DHChap:
		return "`FILE` with the DH-HMAC-CHAP secret of this host, of mode 0600"
	case secret.DHChapCtrl:
		return "`FILE` with the DH-HMAC-CHAP secret of the controller, of mode 0600"
	}
	return "`FILE` with the TLS key for --tls, of mode 0600"
}

// readSecrets reads the files that are named.
func readSecrets(files map[secret.Key]*string) (set secret.Set, err error) {
	for _, k := range secret.Keys() {
		file := *files[k]
		if file == "" {
			continue
		}
		set[k].From = file
		if set[k].Value, err = secret.ReadFile(k, file, false); err != nil {
			return secret.Set{}, fmt.Errorf("cannot use %s as %v: %w", file, k, err)
		}
	}
	return set, nil
}
