// SPDX-License-Identifier: GPL-3.0-or-later

package core

import (
	"cmp"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/nvme-discoverd/nvme-discoverd/internal/config"
	"github.com/nvme-discoverd/nvme-discoverd/internal/discoverylog"
	"github.com/nvme-discoverd/nvme-discoverd/internal/fabrics"
	"github.com/nvme-discoverd/nvme-discoverd/internal/nbft"
	"github.com/nvme-discoverd/nvme-discoverd/internal/param"
	"github.com/nvme-discoverd/nvme-discoverd/internal/paths"
	"github.com/nvme-discoverd/nvme-discoverd/internal/state"
	"github.com/nvme-discoverd/nvme-discoverd/internal/tid"
	"github.com/nvme-discoverd/nvme-discoverd/internal/wish"
)

// securityPage holds the table of what is connected with what.
const securityPage = "../../docs/security.md"

// asked are the words of the table for what [host] of a file has.
var asked = map[string]string{
	"dhchap-secret":       `dhchap-secret-file = "/etc/nvme/good"`,
	"dhchap-ctrl-secret":  `dhchap-ctrl-secret-file = "/etc/nvme/good"`,
	"tls":                 `tls = true`,
	"concat":              `concat = true`,
	"wrong dhchap-secret": `dhchap-secret-file = "/etc/nvme/wrong"`,
	"missing credential":  `dhchap-secret-credential = "none"`,
	"readable file":       `dhchap-secret-file = "/etc/nvme/open"`,
	"misspelt tls":        `tsl = true`,
}

// weakRow is a row of the table.
type weakRow struct{ files, page, table, lacks, connected string }

// weakRows reads the table.
func weakRows(t *testing.T) []weakRow {
	t.Helper()
	text, err := os.ReadFile(securityPage)
	if err != nil {
		t.Fatal(err)
	}
	var rows []weakRow
	for line := range strings.Lines(string(text)) {
		cells := strings.Split(strings.TrimSpace(line), "|")
		if len(cells) != 7 || strings.Contains(line, "---") || strings.Contains(line, "kernel lacks") {
			continue
		}
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		rows = append(rows, weakRow{cells[1], cells[2], cells[3], cells[4], cells[5]})
	}
	return rows
}

const (
	weakHost = "nqn.2024-01.com.example:host"
	weakNQN  = "nqn.2024-01.com.example:vol"
)

// weakConfig loads what a row's files have, through which a discovery controller or, where nothing else names it, the subsystem is
// configured.
func weakConfig(t *testing.T, row weakRow) config.Config {
	t.Helper()
	root := paths.Root(t.TempDir())
	text := "[host]\nhostnqn = \"" + weakHost + "\"\n"
	if row.files != "" {
		for _, word := range strings.Split(row.files, ", ") {
			key, ok := asked[word]
			if !ok {
				t.Fatalf("the table has %q among the files, which this test does not know", word)
			}
			text += key + "\n"
		}
	}
	switch {
	case row.page != "":
		text += "[[discovery-controller]]\ntls = false\nconcat = false\ncontroller = [{ transport = \"tcp\", traddr = \"192.0.2.1\" }]\n"
	case row.table == "":
		text += "[[subsystem]]\nnqn = \"" + weakNQN + "\"\ncontroller = [{ transport = \"tcp\", traddr = \"192.0.2.2\" }]\n"
	}
	const good = "DHHC-1:00:YWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWF3F7HK:"
	for name, file := range map[string]struct {
		text string
		mode os.FileMode
	}{
		"discoverd.conf": {text, 0o644}, "good": {good, 0o600}, "open": {good, 0o644},
		"wrong": {strings.Replace(good, "YWFh", "YWFi", 1), 0o600},
	} {
		path := filepath.Join(root.ConfigDir(), name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(file.text), file.mode); err != nil {
			t.Fatal(err)
		}
	}
	c, _ := config.Load(root, "") // what is wrong costs the connections, which is what is looked at
	return c
}

// weakBoot is what a row's boot firmware says, with the secrets that the daemon gives it.
func weakBoot(row weakRow, c config.Config) NBFTLoaded {
	if row.table == "" {
		return NBFTLoaded{}
	}
	w := wish.Wish{Owner: wish.OwnerNBFT, Secrets: c.HostSecrets[weakHost], TID: tid.TID{
		Transport: tid.TCP, Traddr: "192.0.2.2", Trsvcid: "4420", NQN: weakNQN, HostNQN: weakHost,
	}}
	if _, wrong := c.Unusable[config.DefaultsRef]; wrong && w.Secrets == "" {
		w.Secrets = config.DefaultsRef
	}
	w.Params = c.Discovered.IO
	words := strings.Split(row.table, ", ")
	if slices.Contains(words, "TLS") {
		w.Params = requireTLS(w.Params)
	}
	return NBFTLoaded{[]nbft.Connection{{Wish: w, Authentication: slices.Contains(words, "authentication"), From: "NBFT, SSNS 1"}}}
}

// weakEntry is a row's log page entry.
func weakEntry(row weakRow) discoverylog.Entry {
	e := discoverylog.Entry{Subtype: discoverylog.NVM, Transport: tid.TCP, Traddr: "192.0.2.2", Trsvcid: "4420", NQN: weakNQN}
	said, isReferral := strings.CutPrefix(row.page, "referral, ")
	if isReferral {
		e.Subtype = discoverylog.Referral
	}
	switch said {
	case "", "nothing":
	case "TLS offered":
		e.TREQ, e.SecType = 2, discoverylog.SecTLS13
	case "TLS required":
		e.TREQ, e.SecType, e.SecureChannel = 1, discoverylog.SecTLS13, true
	case "required over rdma":
		e.Transport, e.TREQ, e.SecureChannel = tid.RDMA, 1, true
	case "nothing over rdma":
		e.Transport = tid.RDMA
	}
	return e
}

// weakly returns with what the kernel is asked to connect, in the words of the table.
func weakly(s *stage, row weakRow, c config.Config) string {
	known := fabrics.ParseOptions([]byte("transport=%s,traddr=%s,trsvcid=%s,nqn=%s,hostnqn=%s,hostid=%s,ctrl_loss_tmo=%d,dhchap_secret=%s,dhchap_ctrl_secret=%s,tls,tls_key=%d,keyring=%d,discovery,concat"))
	delete(known, row.lacks)
	for range 2 {
		var w *TargetView
		for _, target := range s.viewed() {
			if target.Wish.TID.NQN == weakNQN {
				w = target
			}
		}
		if w == nil {
			return "not at all"
		}
		if _, unusable := c.Unusable[w.Wish.Secrets]; unusable { // the executor refuses it: TestProvideSecrets of internal/daemon
			return "not at all"
		}
		options, _, err := fabrics.OptionString(w.Wish, fabrics.Keys{Set: c.Secrets[w.Wish.Secrets]}, known)
		if err == nil {
			return inWords(strings.Split(options, ","))
		}
		var unknown *fabrics.UnknownOptionError
		if !errors.As(err, &unknown) {
			return "not at all"
		}
		s.step(ProbeDone{Target: peer("192.0.2.2")})
		s.step(JobDone{Unit: w.Unit, Op: OpStart, Outcome: "failed", Failure: &state.Result{Meaning: "it lacks it", Lacks: unknown.Option}})
	}
	return "not at all"
}

func inWords(options []string) string {
	has := func(prefix string) bool {
		return slices.ContainsFunc(options, func(o string) bool { return strings.HasPrefix(o, prefix) })
	}
	var words []string
	switch {
	case has("dhchap_ctrl_secret="):
		words = append(words, "authenticated both ways")
	case has("dhchap_secret="):
		words = append(words, "authenticated")
	}
	tls := slices.Contains(options, param.TLS.Info().Kernel)
	switch {
	case tls && slices.Contains(options, param.Concat.Info().Kernel): // the kernel refuses both (drivers/nvme/host/fabrics.c)
		return "not at all"
	case slices.Contains(options, param.Concat.Info().Kernel):
		words = append(words, "with TLS by concat")
	case tls:
		words = append(words, "with TLS")
	}
	return cmp.Or(strings.Join(words, ", "), "in the clear")
}

// TestNeverWeaker: each row of the table in docs/security.md is so, from the files to the options that the kernel gets.
func TestNeverWeaker(t *testing.T) {
	rows := weakRows(t)
	if len(rows) < 30 {
		t.Fatalf("the table in %s has %d rows", securityPage, len(rows))
	}
	for _, row := range rows {
		t.Run(strings.Join([]string{row.files, row.page, row.table, row.lacks}, "|"), func(t *testing.T) {
			c := weakConfig(t, row)
			s := newStage(t, ConfigLoaded{c}, weakBoot(row, c))
			if row.page != "" {
				s.give(c.Connections[0].Wish.TID, weakEntry(row))
			}
			if got := weakly(s, row, c); got != row.connected {
				t.Errorf("connected %s, want %s\n%s", got, row.connected, strings.Join(c.Errors, "\n"))
			}
		})
	}
}
