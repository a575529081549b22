// SPDX-License-Identifier: GPL-3.0-or-later

package journal

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestHandler(t *testing.T) {
	var out bytes.Buffer
	log := slog.New(NewHandler(&out, slog.LevelInfo, true)).With("part", "x")
	log.Debug("unseen")
	log.Info("connected", "NVME_NQN", "nqn.2024-01.com.example:vol1")
	log.Warn("cannot connect: a\nforged\x1b[31m line\u009b2J \xff", "attempt", 3)
	log.Error("gone")
	want := "<6>connected part=x\n<4>cannot connect: a|forged?[31m line?2J \ufffd part=x attempt=3\n<3>gone part=x\n"
	if out.String() != want {
		t.Errorf("wrote\n%q, want\n%q", out.String(), want)
	}
}

func TestLeadsHere(t *testing.T) {
	file, err := os.Create(filepath.Join(t.TempDir(), "stream"))
	if err != nil {
		t.Fatal(err)
	}
	var stat syscall.Stat_t
	if err := syscall.Fstat(int(file.Fd()), &stat); err != nil {
		t.Fatal(err)
	}
	this := fmt.Sprintf("%d:%d", stat.Dev, stat.Ino)
	for stream, want := range map[string]bool{
		this: true, "": false, "8:1": false, this + "1": false, strings.TrimSuffix(this, this[len(this)-1:]): false, "x": false,
	} {
		if got := LeadsHere(file, stream); got != want {
			t.Errorf("JOURNAL_STREAM=%s for %s: got %v, want %v", stream, this, got, want)
		}
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	if LeadsHere(file, this) {
		t.Error("a closed file leads to the journal")
	}
}
