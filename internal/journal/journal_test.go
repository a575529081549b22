package journal

import (
	"bytes"
	"log/slog"
	"testing"
)

func TestHandler(t *testing.T) {
	var out bytes.Buffer
	log := slog.New(NewHandler(&out, slog.LevelInfo, true)).With("part", "x")
	log.Debug("unseen")
	log.Info("connected")
	log.Warn("cannot connect: a\nforged\x1b[31m line", "attempt", 3)
	log.Error("gone")
	want := "<6>connected part=x\n<4>cannot connect: a|forged?[31m line part=x attempt=3\n<3>gone part=x\n"
	if out.String() != want {
		t.Errorf("wrote\n%s, want\n%s", out.String(), want)
	}
}
