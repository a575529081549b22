// SPDX-License-Identifier: GPL-3.0-or-later

package cli

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/nvme-discoverd/nvme-discoverd/internal/atomicfile"
	"github.com/nvme-discoverd/nvme-discoverd/internal/credential"
)

// credentialCommand is what the daemon has systemd run to read a credential anew at a reload: it leaves what systemd gave it
// where only root can read it. If systemd gave it nothing there will be no file, which is no failure.
func (a *app) credentialCommand() *cobra.Command {
	return &cobra.Command{
		Use:    "credential NAME",
		Short:  "Hand a credential of systemd's to the service",
		Hidden: true,
		Args:   takes(1, 1),
		RunE: func(_ *cobra.Command, args []string) error {
			name := args[0]
			data, err := credential.Directory(a.root, a.Getenv("CREDENTIALS_DIRECTORY"))(name)
			if errors.Is(err, credential.ErrMissing) {
				return nil
			}
			if err != nil {
				return failed(fmt.Errorf("cannot read credential %s: %w", name, err))
			}
			file := a.root.FreshCredential(name)
			if err := os.Mkdir(filepath.Dir(file), 0o700); err != nil && !errors.Is(err, os.ErrExist) {
				return failed(fmt.Errorf("cannot hand credential %s to the service: %w", name, err))
			}
			return failed(atomicfile.Write(file, data, 0o600))
		},
	}
}
