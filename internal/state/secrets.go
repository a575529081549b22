// SPDX-License-Identifier: GPL-3.0-or-later

package state

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/nvme-discoverd/nvme-discoverd/internal/atomicfile"
	"github.com/nvme-discoverd/nvme-discoverd/internal/secret"
)

// SecretsFile is the path of the file that gives a unit's command its secrets, mode 0600 in a directory of mode 0700. It is
// written before the unit is started and stays for as long as somebody may restart it.
func (d Dir) SecretsFile(unit string) (string, error) {
	if err := checkUnit(unit); err != nil {
		return "", err
	}
	return filepath.Join(d.secrets, unit), nil
}

// WriteSecrets gives unit its secrets.
func (d Dir) WriteSecrets(unit string, s secret.Set) error {
	path, err := d.SecretsFile(unit)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(d.secrets), 0o755); err != nil {
		return fmt.Errorf("cannot write %s: %w", path, err)
	}
	if err := os.Mkdir(d.secrets, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("cannot write %s: %w", path, err)
	}
	return atomicfile.Write(path, s.Encode(), 0o600)
}

// Secrets returns the secrets of unit. That it has none is an error.
func (d Dir) Secrets(unit string) (secret.Set, error) {
	path, err := d.SecretsFile(unit)
	if err != nil {
		return secret.Set{}, err
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return secret.Set{}, fmt.Errorf("cannot read the secrets of %s: %w", unit, err)
	}
	s, err := secret.Decode(data)
	if err != nil {
		return secret.Set{}, fmt.Errorf("cannot read %s: %w", path, err)
	}
	return s, nil
}

// HasSecrets tells whether unit has secrets.
func (d Dir) HasSecrets(unit string) bool {
	path, err := d.SecretsFile(unit)
	if err != nil {
		return false
	}
	_, err = os.Lstat(path)
	return err == nil
}

// RemoveSecrets takes the secrets of unit away, if it has any.
func (d Dir) RemoveSecrets(unit string) error {
	path, err := d.SecretsFile(unit)
	if err != nil {
		return err
	}
	return remove(path)
}

// WithSecrets returns the units that have secrets, in the order of their names.
func (d Dir) WithSecrets() ([]string, error) { return listUnits(d.secrets) }
