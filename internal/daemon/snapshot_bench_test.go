// SPDX-License-Identifier: GPL-3.0-or-later

package daemon

import (
	"context"
	"fmt"
	"testing"
)

// BenchmarkSnapshot is an audit's look at everything.
func BenchmarkSnapshot(b *testing.B) {
	for _, n := range []int{20, 500} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			d, cfg := connecting(b, n)
			d.untilConnected(b, cfg)
			for b.Loop() {
				if snap, bad, err := d.reader.snapshot(context.Background(), 1, d.effects.units); err != nil || len(bad) > 0 || len(snap.Devices) != n {
					b.Fatal(len(snap.Devices), bad, err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*n), "µs/controller")
		})
	}
}
