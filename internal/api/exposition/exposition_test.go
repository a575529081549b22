// SPDX-License-Identifier: GPL-3.0-or-later

package exposition

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	wire "github.com/nvme-discoverd/nvme-discoverd/internal/api/orgnvmexpressdiscoverd"
)

// Each format has its own names for counters, and both escape what would end a line or a value.
func TestFormats(t *testing.T) {
	total, bucket, unit := "_total", "_bucket", "seconds"
	metrics := []wire.Metric{
		{Name: "n", Type: "counter", Help: "What \\ there\nis.", Samples: []wire.Sample{
			{Suffix: &total, Labels: map[string]string{"b": "2", "a": "\"x\\y\"\n"}, Value: 3},
		}},
		{Name: "t_seconds", Type: "gauge", Unit: &unit, Help: "When.", Samples: []wire.Sample{{Value: 1.5}}},
		{Name: "h", Type: "histogram", Help: "How long.", Samples: []wire.Sample{{Suffix: &bucket, Labels: map[string]string{"le": "+Inf"}, Value: 1e6}}},
	}
	var text, open strings.Builder
	if err := Text(&text, metrics); err != nil {
		t.Error(err)
	}
	if err := OpenMetrics(&open, metrics); err != nil {
		t.Error(err)
	}
	want := `# HELP n_total What \\ there\nis.
# TYPE n_total counter
n_total{a="\"x\\y\"\n",b="2"} 3
# HELP t_seconds When.
# TYPE t_seconds gauge
t_seconds 1.5
# HELP h How long.
# TYPE h histogram
h_bucket{le="+Inf"} 1000000
`
	if diff := cmp.Diff(want, text.String()); diff != "" {
		t.Errorf("text format: %s", diff)
	}
	want = `# TYPE n counter
# HELP n What \\ there\nis.
n_total{a="\"x\\y\"\n",b="2"} 3
# TYPE t_seconds gauge
# UNIT t_seconds seconds
# HELP t_seconds When.
t_seconds 1.5
# TYPE h histogram
# HELP h How long.
h_bucket{le="+Inf"} 1000000
# EOF
`
	if diff := cmp.Diff(want, open.String()); diff != "" {
		t.Errorf("OpenMetrics: %s", diff)
	}
}
