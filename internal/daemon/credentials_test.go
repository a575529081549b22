// SPDX-License-Identifier: GPL-3.0-or-later

package daemon

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/nvme-discoverd/nvme-discoverd/internal/credential"
	"github.com/nvme-discoverd/nvme-discoverd/internal/paths"
	"github.com/nvme-discoverd/nvme-discoverd/internal/unit"
)

// store is a systemd that gives credentials to commands.
type store struct {
	file           string
	content        string // "" for none
	outcome        unit.Result
	fetched, stale []string
}

func (s *store) FetchCredential(_ context.Context, fetch unit.CredentialFetch) unit.Result {
	s.fetched = append(s.fetched, fmt.Sprint(fetch.Unit, " ", fetch.Credential, " ", fetch.Encrypted, " ", fetch.Command))
	if _, err := os.Stat(s.file); err == nil {
		s.stale = append(s.stale, fetch.Unit)
	}
	if s.outcome.Outcome == unit.Done && s.content != "" {
		if err := os.WriteFile(s.file, []byte(s.content), 0o600); err != nil {
			return unit.Result{Outcome: unit.Error, Err: err}
		}
	}
	return s.outcome
}

// A credential is read through a short-lived unit. What its command left does not stay.
func TestFreshCredentials(t *testing.T) {
	noBus := errors.New("no bus")
	for _, test := range []struct {
		name    string
		content string
		outcome unit.Result
		want    string
		is      error
		err     string
	}{
		{"there", "x", unit.Result{Outcome: unit.Done}, "x", nil, ""},
		{"none", "", unit.Result{Outcome: unit.Done}, "", credential.ErrMissing, ""},
		{"damaged", "x", unit.Result{Outcome: unit.Failed}, "", nil, fmt.Sprintf("systemd cannot read or decrypt it: see journalctl --unit=nvme-discoverctl-credential-%d-1.service", os.Getpid())},
		{"no bus", "x", unit.Result{Outcome: unit.Lost, Err: noBus}, "", noBus, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			root := paths.Root(t.TempDir())
			s := &store{file: root.FreshCredential("nvme.a"), content: test.content, outcome: test.outcome}
			if err := os.MkdirAll(filepath.Dir(s.file), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(s.file, []byte("of another fetch"), 0o600); err != nil {
				t.Fatal(err)
			}
			data, err := (&fetches{systemd: s, root: root, ctl: "ctl"}).read(t.Context(), "nvme.a")
			switch {
			case string(data) != test.want:
				t.Errorf("read %q, want %q", data, test.want)
			case test.is != nil && !errors.Is(err, test.is):
				t.Errorf("error %v, want %v", err, test.is)
			case test.err != "" && (err == nil || err.Error() != test.err):
				t.Errorf("error %v, want %s", err, test.err)
			case test.is == nil && test.err == "" && err != nil:
				t.Error(err)
			}
			if want := []string{fmt.Sprintf("nvme-discoverctl-credential-%d-1.service nvme.a false [ctl credential nvme.a]", os.Getpid())}; !slices.Equal(s.fetched, want) || len(s.stale) > 0 {
				t.Errorf("fetched %q, want %q; before what another one left was removed: %q", s.fetched, want, s.stale)
			}
			if _, err := os.Stat(s.file); err == nil {
				t.Error("the credential stays in its file")
			}
		})
	}
}
