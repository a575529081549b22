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
	"github.com/nvme-discoverd/nvme-discoverd/internal/unit"
)

// store is a systemd that gives credentials to commands.
type store struct {
	file           string
	plain, sealed  string // "" for none
	outcome        unit.Result
	fetched, stale []string
}

func (s *store) FetchCredential(_ context.Context, fetch unit.CredentialFetch) unit.Result {
	s.fetched = append(s.fetched, fmt.Sprint(fetch.Credential, " ", fetch.Encrypted, " ", fetch.Command))
	if _, err := os.Stat(s.file); err == nil {
		s.stale = append(s.stale, fetch.Unit)
	}
	text := s.plain
	if fetch.Encrypted {
		text = s.sealed
	}
	if s.outcome.Outcome == unit.Done && text != "" {
		if err := os.WriteFile(s.file, []byte(text), 0o600); err != nil {
			return unit.Result{Outcome: unit.Error, Err: err}
		}
	}
	return s.outcome
}

// A credential is read through a unit of a moment: as it is kept in the clear, and else encrypted. What the command left does not stay.
func TestFreshCredentials(t *testing.T) {
	noBus := errors.New("no bus")
	plain, both := []string{"nvme.a false [ctl credential nvme.a]"}, []string{"nvme.a false [ctl credential nvme.a]", "nvme.a true [ctl credential nvme.a]"}
	for _, test := range []struct {
		name          string
		plain, sealed string
		outcome       unit.Result
		want          string
		fetched       []string
		is            error
		err           string
	}{
		{"plain", "x", "y", unit.Result{Outcome: unit.Done}, "x", plain, nil, ""},
		{"encrypted", "", "y", unit.Result{Outcome: unit.Done}, "y", both, nil, ""},
		{"none", "", "", unit.Result{Outcome: unit.Done}, "", both, credential.ErrMissing, ""},
		{"damaged", "x", "", unit.Result{Outcome: unit.Failed}, "", plain, nil, "systemd cannot read or decrypt it: see journalctl --unit=nvme-discoverctl-credential-1.service"},
		{"no bus", "x", "", unit.Result{Outcome: unit.Lost, Err: noBus}, "", plain, noBus, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := &store{file: filepath.Join(t.TempDir(), "nvme.a"), plain: test.plain, sealed: test.sealed, outcome: test.outcome}
			if err := os.WriteFile(s.file, []byte("of another fetch"), 0o600); err != nil {
				t.Fatal(err)
			}
			data, err := newFetches(s, "ctl", func(string) string { return s.file }).read(t.Context(), "nvme.a")
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
			if !slices.Equal(s.fetched, test.fetched) || len(s.stale) > 0 {
				t.Errorf("fetched %q, want %q; before what another one left was removed: %q", s.fetched, test.fetched, s.stale)
			}
			if _, err := os.Stat(s.file); err == nil {
				t.Error("the credential stays in its file")
			}
		})
	}
}
