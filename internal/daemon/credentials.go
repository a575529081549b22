// SPDX-License-Identifier: GPL-3.0-or-later

package daemon

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/nvme-discoverd/nvme-discoverd/internal/credential"
	"github.com/nvme-discoverd/nvme-discoverd/internal/files"
	"github.com/nvme-discoverd/nvme-discoverd/internal/paths"
	"github.com/nvme-discoverd/nvme-discoverd/internal/unit"
)

// fetcher has systemd give a credential to a command: a *unit.Manager, or a stand-in in tests.
type fetcher interface {
	FetchCredential(context.Context, unit.CredentialFetch) unit.Result
}

// fetches reads credentials as they are now. $CREDENTIALS_DIRECTORY has those of the moment at which the service started, so systemd gives
// each to a short-lived service, which hands it over in a file that only root can read and that does not stay. It is for one goroutine.
type fetches struct {
	systemd fetcher
	root    paths.Root
	ctl     string // path of nvme-discoverctl
	made    int
}

// clean removes what fetches left that a daemon began which did not live to take them.
func (f *fetches) clean() error { return os.RemoveAll(filepath.Dir(f.root.FreshCredential("nvme."))) }

// read returns the content of a credential, as credential.Reader.
func (f *fetches) read(ctx context.Context, name string) ([]byte, error) {
	f.made++
	fetch := unit.CredentialFetch{
		// With the PID: that of a daemon that was killed may still be there.
		Unit: fmt.Sprintf("nvme-discoverctl-credential-%d-%d.service", os.Getpid(), f.made), Credential: name, Encrypted: credential.Encrypted(f.root, name),
		Command: []string{f.ctl, "credential", name},
	}
	file := f.root.FreshCredential(name)
	if err := os.Remove(file); err != nil && !errors.Is(err, os.ErrNotExist) { // of a fetch that its process did not live to end
		return nil, files.Cause(err)
	}
	defer os.Remove(file)
	switch result := f.systemd.FetchCredential(ctx, fetch); {
	case result.Outcome == unit.Done:
		return credential.Directory(f.root, filepath.Dir(file))(name)
	case result.Err != nil:
		return nil, fmt.Errorf("%w; reload when systemd answers again", result.Err)
	default:
		return nil, fmt.Errorf("systemd cannot read or decrypt it: see journalctl --unit=%s", fetch.Unit)
	}
}
