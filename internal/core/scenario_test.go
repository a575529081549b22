// SPDX-License-Identifier: GPL-3.0-or-later

package core

import (
	"strings"
	"testing"

	"github.com/nvme-discoverd/nvme-discoverd/internal/golden"
)

// The scenarios in testdata/*.txt are stories for people who run storage: what happens outside, and everything that the
// daemon does about it, in order. A file opens with a comment that says what it shows and why; then come blocks of
//
//	commands, each with its input indented below it
//	----
//	the trace, up to an empty line
//
// scenario_world_test.go says what the commands are. After a change of the core,
//
//	go test ./internal/core -run TestScenarios -rewrite
//
// writes the traces anew. Only commit the changes if you understand what caused them.
func TestScenarios(t *testing.T) { golden.Scripts(t, play) }

// play runs a scenario and returns it with the traces as they are now. Comments and empty lines between blocks stay.
func play(t *testing.T, script string) string {
	w := newWorld(t)
	var out strings.Builder
	var block []string
	skipping := false
	for number, line := range strings.Split(strings.TrimRight(script, "\n"), "\n") {
		switch {
		case skipping:
			if line != "" {
				continue
			}
			skipping = false
			out.WriteString("\n")
		case line == "----":
			out.WriteString("----\n")
			w.run(block, number)
			out.WriteString(w.takeTrace())
			block, skipping = nil, true
		default:
			out.WriteString(line + "\n")
			if line != "" && !strings.HasPrefix(line, "#") {
				block = append(block, line)
			}
		}
	}
	if block != nil {
		t.Fatalf("the last block has no ----: %q", block)
	}
	return out.String()
}
