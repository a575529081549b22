package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/nvme-discoverd/nvme-discoverd/internal/config"
)

func (a *app) configImportCommand() *cobra.Command {
	var from []string
	var dryRun bool
	var output string
	cmd := &cobra.Command{
		Use:   "import",
		Short: "Turn the configuration of nvme-cli 2 and nvme-stas 2 into drop-ins of discoverd.conf",
		Long: `Turn the configuration of nvme-cli 2 and nvme-stas 2 into drop-ins of discoverd.conf, one for each host NQN:
/etc/nvme/discoverd.conf.d/imported-….conf. Nothing is overwritten, and nothing is written that would not load together
with what is installed. What a drop-in does not express is told on stderr and in the drop-in as comments. Secrets are not
copied. The files that are imported stay as they are, and so do the programs that they belong to.

--from is discovery.conf, config.json, stafd.conf, stacd.conf, which stand for the installed files, or the path of another
one; it may be given several times. Without it everything is imported that is installed. stafd.conf and stacd.conf belong
together: import both at once, so that the parameters of I/O controllers hold for what the discovery controllers name.`,
		Args: takes(0, 0),
		RunE: func(*cobra.Command, []string) error {
			if dryRun && output != "" {
				return errors.New("cannot use --output with --dry-run: it prints the drop-ins and writes nothing")
			}
			made, lost, err := config.Import(a.root, from)
			if err != nil {
				return failed(err)
			}
			for _, line := range lost {
				fmt.Fprintln(a.Stderr, line)
			}
			switch {
			case len(made) == 0:
				fmt.Fprintln(a.Stderr, "nothing to import: no file of another program names a controller")
				return nil
			case dryRun:
				for i, m := range made {
					if i > 0 {
						fmt.Fprintln(a.Stdout)
					}
					fmt.Fprintf(a.Stdout, "# %s\n%s", filepath.Join(a.root.DaemonDropIns(), m.Name), m.Text)
				}
				return nil
			case output != "" && len(made) > 1:
				return failed(fmt.Errorf("cannot write %d drop-ins to %s: there is more than one host NQN, and each has a file of its own; leave --output out", len(made), output))
			case output != "":
				return failed(a.writeImported(output, made[0]))
			}
			for _, m := range made {
				file := filepath.Join(a.root.DaemonDropIns(), m.Name)
				if _, err := os.Lstat(file); err == nil {
					return failed(fmt.Errorf("cannot write %s: it exists; remove it first, or see with --dry-run what it would be", file))
				}
			}
			if err := config.CheckWith(a.root, made); err != nil {
				return failed(fmt.Errorf("cannot import: the configuration would not be right, nothing is written:\n%w", err))
			}
			if err := os.MkdirAll(a.root.DaemonDropIns(), 0o755); err != nil {
				return failed(fmt.Errorf("cannot write drop-ins: %w", err))
			}
			for _, m := range made {
				if err := a.writeImported(filepath.Join(a.root.DaemonDropIns(), m.Name), m); err != nil {
					return failed(err)
				}
			}
			fmt.Fprintln(a.Stdout, "Apply it with: systemctl reload nvme-discoverd")
			return nil
		},
	}
	cmd.Flags().StringArrayVar(&from, "from", nil, "what to import: a name or a `PATH`")
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "print the drop-ins, write nothing")
	cmd.Flags().StringVar(&output, "output", "", "write to `FILE` instead, which must not exist")
	return cmd
}

// writeImported makes a new file, whole or not at all.
func (a *app) writeImported(file string, m config.Imported) (err error) {
	defer func() {
		if errors.Is(err, fs.ErrExist) {
			err = fmt.Errorf("cannot write %s: it exists", file)
		} else if err != nil {
			err = fmt.Errorf("cannot write %s: %w", file, err)
		}
	}()
	f, err := os.CreateTemp(filepath.Dir(file), filepath.Base(file)+".tmp.*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	if _, err := f.WriteString(m.Text); err != nil {
		return err
	}
	if err := f.Chmod(0o644); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := os.Link(f.Name(), file); err != nil { // unlike a rename it never overwrites
		return err
	}
	fmt.Fprintf(a.Stdout, "wrote %s: %s\n", file, plural(m.Connections, "connection", "connections"))
	return nil
}
