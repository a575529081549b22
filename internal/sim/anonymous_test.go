// SPDX-License-Identifier: GPL-3.0-or-later

package sim

import (
	"flag"
	"strings"
	"testing"
	"time"

	"github.com/nvme-discoverd/nvme-discoverd/internal/recording"
	"github.com/nvme-discoverd/nvme-discoverd/internal/recording/incident"
	"github.com/nvme-discoverd/nvme-discoverd/internal/standin"
)

var anonymousSeeds = flag.Uint64("sim.anonymous", 12, "how many runs TestAnonymous takes")

// TestAnonymous records whole runs and replays what comes out when all names have stand-ins: each decision is the recorded one. The same
// goes through a script and back.
func TestAnonymous(t *testing.T) {
	lab := newLab(t)
	steps := 0
	for seed := range *anonymousSeeds {
		recordings(t, lab, seed, func(file []byte) {
			set := standin.New()
			if err := recording.Learn(file, set); err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
			anonymous, differs, err := recording.Anonymize(file, set.Names())
			if err != nil || differs > 0 {
				t.Errorf("seed %d: %d differ, %v", seed, differs, err)
			}
			if err := recording.Play(anonymous, func(line recording.Line) error {
				if line.Difference != nil {
					t.Errorf("seed %d: %s: %v", seed, line.What, line.Difference.Words())
				}
				for _, text := range append(line.Effects, line.What, string(line.Fields)) {
					for _, name := range []string{"192.0.2.", "array at ", "com.example:s", ":uuid:1", "198.51.100."} {
						if strings.Contains(text, name) {
							t.Errorf("seed %d has %s in it: %s", seed, name, text)
						}
					}
				}
				if line.Event != "" {
					steps++
				}
				return nil
			}); err != nil {
				t.Errorf("seed %d: %v", seed, err)
			}
			var script strings.Builder
			if differs, err := incident.Script(&script, anonymous, time.Time{}, time.Time{}); err != nil || differs > 0 {
				t.Errorf("seed %d: a script differs at %d steps, %v", seed, differs, err)
			}
			if played, err := incident.Play(script.String()); err != nil || strings.Contains(played, "\n! ") {
				t.Errorf("seed %d: a script cannot be played: %v", seed, err)
			}
		})
	}
	if steps < 1500 && *anonymousSeeds >= 12 {
		t.Errorf("%d steps were replayed: too few to tell anything", steps)
	}
}
