// SPDX-License-Identifier: GPL-3.0-or-later

// Package credential reads what systemd hands to the service as credentials (systemd.exec(5), "Credentials"): files in a
// directory that only the service and root can read, which systemd has decrypted if they are kept encrypted on disk.
//
// The credentials of this project are called "nvme." and a name, and hold one secret each.
package credential

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/nvme-discoverd/nvme-discoverd/internal/files"
	"github.com/nvme-discoverd/nvme-discoverd/internal/paths"
)

// Prefix begins the names of all our credentials, as ImportCredential=nvme.* of the service has it.
const Prefix = "nvme."

// maxName bounds the name of a credential with Prefix, in bytes: systemd takes a file name.
const maxName = 255

// CheckName tells why a configuration cannot name a credential so, without Prefix. The error does not contain the name: a secret
// may stand there by mistake.
func CheckName(name string) error {
	const want = "it must be the name of a credential without the nvme. that it begins with, such as array1 for nvme.array1"
	switch {
	case name == "", len(Prefix)+len(name) > maxName, strings.HasPrefix(name, Prefix):
		return errors.New(want)
	case strings.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") != "":
		return errors.New(want + ", of letters, digits and . _ -")
	}
	return nil
}

// Reader returns the content of the credential with a whole name, such as "nvme.array1". What it returns is secret, its errors are
// not. The error wraps ErrMissing if there is no such credential, and ErrSealed if only systemd can read it.
type Reader func(name string) ([]byte, error)

// ErrMissing tells that there is no such credential, ErrSealed that there is one and only systemd can decrypt it.
var (
	ErrMissing = errors.New("there is no such credential")
	ErrSealed  = errors.New("the credential is encrypted")
)

// missing is ErrMissing with what to do.
func missing(name string) error {
	return fmt.Errorf("%w: put it into /etc/credstore or, encrypted by systemd-creds encrypt --name=%s, into /etc/credstore.encrypted, then reload", ErrMissing, name)
}

// withheld is ErrMissing for a credential that systemd has encrypted and did not give out. New versions pass over what they cannot
// decrypt, others start no service with it.
type withheld string

func (w withheld) Error() string {
	return fmt.Sprintf("systemd cannot read or decrypt it, or did not know of it: reload, and if that fails too, encrypt it again by systemd-creds encrypt --name=%s", string(w))
}

func (withheld) Unwrap() error { return ErrMissing }

// maxSize bounds a credential in bytes, as systemd does.
const maxSize = 1 << 20

// Directory reads the credentials in dir, which systemd gave to this process as $CREDENTIALS_DIRECTORY; "" if it gave none.
func Directory(root paths.Root, dir string) Reader {
	return func(name string) ([]byte, error) {
		data, err := []byte(nil), missing(name)
		if dir != "" {
			data, err = read(filepath.Join(dir, name), name)
		}
		if errors.Is(err, ErrMissing) && Encrypted(root, name) {
			err = withheld(name)
		}
		return data, err
	}
}

func read(path, name string) ([]byte, error) {
	f, err := os.Open(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, missing(name)
	case err != nil:
		return nil, files.Cause(err)
	}
	defer f.Close()
	return files.ReadAll(f, maxSize)
}

// Host looks for credentials as a command that systemd gives none: in the directories where systemd finds them for the service when
// that starts, in its order, and among those that the service was given then. Encrypted ones are only looked for.
func Host(root paths.Root) Reader {
	return func(name string) ([]byte, error) {
		for _, dir := range root.CredentialStores() {
			if data, err := read(filepath.Join(dir, name), name); !errors.Is(err, ErrMissing) {
				return data, err
			}
		}
		for _, dir := range root.EncryptedCredentialStores() {
			_, err := os.Stat(filepath.Join(dir, name))
			switch {
			case err == nil:
				return nil, ErrSealed
			case !errors.Is(err, fs.ErrNotExist):
				return nil, files.Cause(err)
			}
		}
		return read(filepath.Join(root.ServiceCredentials(), name), name)
	}
}

// Encrypted tells whether a credential is kept encrypted, and not in the clear too, as far as this process can see.
func Encrypted(root paths.Root, name string) bool {
	kept := func(dirs []string) bool {
		return slices.ContainsFunc(dirs, func(dir string) bool {
			_, err := os.Stat(filepath.Join(dir, name))
			return err == nil
		})
	}
	return kept(root.EncryptedCredentialStores()) && !kept(root.CredentialStores())
}

// Once returns a Reader that asks another one once about each credential. It is not safe for concurrent use.
func Once(reader Reader) Reader {
	type answer struct {
		data []byte
		err  error
	}
	known := map[string]answer{}
	return func(name string) ([]byte, error) {
		a, ok := known[name]
		if !ok {
			a.data, a.err = reader(name)
			known[name] = a
		}
		return a.data, a.err
	}
}
