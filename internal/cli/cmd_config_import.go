// SPDX-License-Identifier: GPL-3.0-or-later

package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/nvme-discoverd/nvme-discoverd/internal/api/client"
	"github.com/nvme-discoverd/nvme-discoverd/internal/atomicfile"
	"github.com/nvme-discoverd/nvme-discoverd/internal/config"
)

func (a *app) configImportCommand() *cobra.Command {
	var from []string
	var dryRun, yes bool
	var output string
	cmd := &cobra.Command{
		Use:   "import",
		Short: "Turn the configuration of nvme-cli and nvme-stas into that of this service",
		Long: `Turn the configuration of nvme-cli and nvme-stas into that of this service:
  drop-ins    /etc/nvme/discoverd.conf.d/imported-….conf, one for each host NQN
  settings    of nvme-discoverd.conf, into [global] of discoverd.conf if it does not set them
  exclusions  the exclude lines of nvme-stas, into the exclusion list imported-stas
Nothing is overwritten, and nothing is written that would not load together with what is installed. What none of these
expresses is told on stderr and in the drop-in as comments. What would be connected with less security without it, or
over another path, is left out; then the exit status is 1, and the rest is written. A file with an exclude line that
cannot be used is not imported at all. Secrets are copied from nvme-stas.conf and nvme-fabrics.conf alone, into a drop-in
that only root can read. An exclusion of a connected controller of the boot firmware (owner nbft) asks first; without a
terminal to ask on it is refused unless --yes is given. The files that are imported stay as they are, and so do the
programs that they belong to.

--from is discovery.conf, config.json, nvme-discoverd.conf, stafd.conf, stacd.conf, nvme-stas.conf, nvme-fabrics.conf,
which stand for the installed files, or the path of another one; it may be given several times. Without it everything is
imported that is installed, but for nvme-fabrics.conf, which the service reads. stafd.conf and stacd.conf belong
together: import both at once, so that the parameters of I/O controllers hold for what the discovery controllers name.`,
		Args: takes(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if dryRun && output != "" {
				return errors.New("cannot use --output with --dry-run: it prints the drop-ins and writes nothing")
			}
			found, err := config.ImportFiles(a.root, from)
			if err != nil {
				return failed(err)
			}
			for _, line := range found.Lost {
				if !slices.Contains(found.Refused, line) {
					fmt.Fprintln(a.Stderr, line)
				}
			}
			switch {
			case len(found.DropIns)+len(found.Global)+len(found.Exclusions) == 0:
				fmt.Fprintln(a.Stderr, "nothing to import: no file of another program names a controller, a setting or an exclusion")
			case dryRun:
				a.printImport(found)
			case output != "":
				err = a.importInto(output, found)
			default:
				err = a.install(cmd.Context(), found, yes)
			}
			if len(found.Refused) > 0 {
				err = errors.Join(err, errors.New("cannot import everything, these would not be as their files ask for and are left out:\n"+strings.Join(found.Refused, "\n")))
			}
			return failed(err)
		},
	}
	cmd.Flags().StringArrayVar(&from, "from", nil, "what to import: a name or a `PATH`")
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "print the drop-ins, write nothing")
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	cmd.Flags().StringVar(&output, "output", "", "write to `FILE` instead, which must not exist")
	return cmd
}

// importedList is the exclusion list of what nvme-stas excludes.
const importedList = "imported-stas"

// printImport shows what an import would write, without secrets.
func (a *app) printImport(found config.Import) {
	between := ""
	if len(found.Exclusions) > 0 {
		fmt.Fprintf(a.Stdout, "# exclusion list %s\n[exclusions]\n", importedList)
		for _, entry := range found.Exclusions {
			fmt.Fprintf(a.Stdout, "exclusion = %s\n", entry)
		}
		between = "\n"
	}
	if len(found.Global) > 0 {
		fmt.Fprintf(a.Stdout, "%s# %s, more in it:\n[global]\n%s\n", between, a.root.DaemonConfig(), strings.Join(found.Global, "\n"))
		between = "\n"
	}
	for _, m := range found.DropIns {
		fmt.Fprintf(a.Stdout, "%s# %s\n%s", between, filepath.Join(a.root.DaemonDropIns(), m.Name), m.Shown)
		between = "\n"
	}
}

// importInto writes the one drop-in of an import to a file that a person names.
func (a *app) importInto(file string, found config.Import) error {
	switch {
	case len(found.DropIns) > 1:
		return fmt.Errorf("cannot write %d drop-ins to %s: there is more than one host NQN, and each has a file of its own; leave --output out", len(found.DropIns), file)
	case len(found.Exclusions)+len(found.Global) > 0:
		return fmt.Errorf("cannot write to %s alone: exclusions and settings have files of their own; leave --output out", file)
	}
	return a.writeImported(file, found.DropIns[0])
}

// install writes an import to where the service reads it.
func (a *app) install(ctx context.Context, found config.Import, yes bool) error {
	for _, m := range found.DropIns {
		file := filepath.Join(a.root.DaemonDropIns(), m.Name)
		if _, err := os.Lstat(file); err == nil {
			return fmt.Errorf("cannot write %s: it exists; remove it first, or see with --dry-run what it would be", file)
		}
	}
	if err := config.CheckWith(a.root, found); err != nil {
		return fmt.Errorf("cannot import: the configuration would not be right, nothing is written:\n%w", err)
	}
	if len(found.Exclusions) > 0 { // first: nothing of it is to be connected meanwhile
		if err := a.exclude(yes, importedList, found.Exclusions...); err != nil {
			return err
		}
	}
	if found.Main != "" {
		if err := replaceMain(a.root.DaemonConfig(), found.Main); err != nil {
			return err
		}
		fmt.Fprintf(a.Stdout, "added to %s: %s\n", a.root.DaemonConfig(), strings.Join(found.Global, ", "))
	}
	if len(found.DropIns) > 0 {
		if err := os.MkdirAll(a.root.DaemonDropIns(), 0o755); err != nil {
			return fmt.Errorf("cannot write drop-ins: %w", err)
		}
	}
	for _, m := range found.DropIns {
		if err := a.writeImported(filepath.Join(a.root.DaemonDropIns(), m.Name), m); err != nil {
			return err
		}
	}
	if found.Stas {
		fmt.Fprintln(a.Stdout, "Stop nvme-stas with: systemctl disable --now stafd stacd")
	}
	verb := "start"
	if c, err := client.Dial(ctx, a.root); err == nil {
		_ = c.Close() // it runs
		verb = "reload"
	}
	fmt.Fprintf(a.Stdout, "Apply it with: systemctl %s nvme-discoverd\n", verb)
	return nil
}

// replaceMain writes discoverd.conf anew, with the permissions that it has.
func replaceMain(file, text string) error {
	if target, err := filepath.EvalSymlinks(file); err == nil {
		file = target
	}
	perm := fs.FileMode(0o644)
	if info, err := os.Stat(file); err == nil {
		perm = info.Mode().Perm()
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return fmt.Errorf("cannot write %s: %w", file, err)
	}
	return atomicfile.Write(file, []byte(text), perm)
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
	if err := f.Chmod(m.Mode); err != nil {
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
