// SPDX-License-Identifier: GPL-3.0-or-later

package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/spf13/cobra"

	"github.com/nvme-discoverd/nvme-discoverd/internal/atomicfile"
	"github.com/nvme-discoverd/nvme-discoverd/internal/config"
)

// identityView is one of the two values of the host's identity, for people and programs.
type identityView struct {
	Value string `json:"value"`
	From  string `json:"from"`
}

func (a *app) hostnqnCommand() *cobra.Command {
	var write, force, yes, asJSON bool
	cmd := &cobra.Command{
		Use:   "hostnqn",
		Short: "Show who this host is to its targets, or write it down",
		Long: `Show the host NQN and the host ID by which this host introduces itself to its
targets, and where each comes from: /etc/nvme/hostnqn and /etc/nvme/hostid.
Without both files the identity is derived from the machine ID and stays the
same; without one of them its value follows from the other. A [host] of the
configuration may say otherwise for what it connects: see config show.

With --write, write the identity into those of the two files that do not exist,
for other programs such as nvme-cli to use the same; a file that exists stays as
it is. With --force too, both files get the identity that is derived from the
machine ID, as on a machine that was cloned from another: it asks first, and
without a terminal to ask on needs --yes.

--json prints an object with "hostnqn" and "hostid", each an object:
  value  as it is in use
  from   a file, or words`,
		Args:              takes(0, 0),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(*cobra.Command, []string) error {
			switch {
			case force && !write:
				return errors.New("cannot use --force without --write")
			case write:
				if err := a.writeIdentity(force, yes); err != nil {
					return failed(err)
				}
			}
			known, err := config.HostIdentity(a.root)
			if err == nil && known.NQN == "" {
				err = errors.New("cannot tell the identity of this host: it has neither a hostnqn nor a machine ID: create one with nvme-discoverctl hostnqn --write")
			}
			if err != nil {
				return failed(err)
			}
			return failed(a.printIdentity(known, asJSON))
		},
	}
	cmd.Flags().BoolVar(&write, "write", false, "write /etc/nvme/hostnqn and hostid where they do not exist")
	cmd.Flags().BoolVar(&force, "force", false, "with --write: replace the files that exist")
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func (a *app) printIdentity(known config.Identity, asJSON bool) error {
	if asJSON {
		return a.printJSON(struct {
			HostNQN identityView `json:"hostnqn"`
			HostID  identityView `json:"hostid"`
		}{identityView{known.NQN, known.NQNFrom}, identityView{known.ID, known.IDFrom}})
	}
	a.printTable(table{rows: [][]string{{"hostnqn", known.NQN, known.NQNFrom}, {"hostid", known.ID, known.IDFrom}}})
	return nil
}

// writeIdentity makes the identity files that are missing, or with force both of them anew.
func (a *app) writeIdentity(force, yes bool) error {
	known, err := config.HostIdentity(a.root)
	switch {
	case force:
		return a.replaceIdentity(known, err, yes)
	case err != nil:
		return fmt.Errorf("%w; --write --force replaces both files", err)
	case known.NQN == "":
		if known, err = config.NewIdentity(a.root); err != nil {
			return err
		}
	}
	// The NQN first: one with a UUID tells the ID too, should the second file not come about.
	for _, f := range []struct {
		path, value string
		given       bool
	}{{a.root.HostNQN(), known.NQN, known.NQNGiven}, {a.root.HostID(), known.ID, known.IDGiven}} {
		if f.given {
			continue
		}
		err := os.MkdirAll(a.root.ConfigDir(), 0o755)
		if err == nil {
			err = atomicfile.Create(f.path, []byte(f.value+"\n"), 0o644)
		}
		switch {
		case errors.Is(err, fs.ErrExist):
			return fmt.Errorf("cannot write %s: it exists, empty or just made by another program; --write --force replaces it", f.path)
		case errors.Is(err, fs.ErrPermission):
			return fmt.Errorf("cannot write %s: only root may: %w", f.path, err)
		case err != nil:
			return err
		}
		fmt.Fprintf(a.Stderr, "wrote %s\n", f.path)
	}
	return nil
}

// replaceIdentity writes both files anew, having asked if they hold something else. known is what they hold, unless bad tells why
// they cannot be used.
func (a *app) replaceIdentity(known config.Identity, bad error, yes bool) error {
	fresh, err := config.NewIdentity(a.root)
	if err != nil {
		return err
	}
	if bad == nil && known.NQN == fresh.NQN && known.ID == fresh.ID && known.NQNGiven && known.IDGiven {
		return nil
	}
	if bad != nil || known.NQNGiven || known.IDGiven {
		was := known.NQN
		if bad != nil {
			was = "an identity that cannot be used"
		}
		because := fmt.Sprintf("%s becomes %s, %s; targets that know the host by the old name refuse it from its next connect on", was, fresh.NQN, fresh.NQNFrom)
		if err := a.confirm(yes, "replace the identity of this host", because); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(a.root.ConfigDir(), 0o755); err != nil {
		return err
	}
	for _, f := range []struct{ path, value string }{{a.root.HostNQN(), fresh.NQN}, {a.root.HostID(), fresh.ID}} {
		if err := atomicfile.Write(f.path, []byte(f.value+"\n"), 0o644); err != nil {
			return err
		}
	}
	fmt.Fprintf(a.Stderr, "wrote %s and %s; the service uses them from its next reload on: systemctl reload nvme-discoverd\n", a.root.HostNQN(), a.root.HostID())
	return nil
}
