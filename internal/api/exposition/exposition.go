// SPDX-License-Identifier: GPL-3.0-or-later

// Package exposition writes metrics in the text formats that Prometheus and its relatives read.
package exposition

import (
	"bufio"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	wire "github.com/nvme-discoverd/nvme-discoverd/internal/api/orgnvmexpressdiscoverd"
)

// Text writes metrics in Prometheus' text format 0.0.4, which node_exporter's textfile collector reads. A counter is called there as its
// value is, with _total.
func Text(to io.Writer, metrics []wire.Metric) error {
	w := bufio.NewWriter(to)
	for _, m := range metrics {
		name := m.Name
		if m.Type == "counter" {
			name += "_total"
		}
		fmt.Fprintf(w, "# HELP %s %s\n# TYPE %s %s\n", name, help.Replace(m.Help), name, m.Type)
		samples(w, m)
	}
	return w.Flush()
}

// OpenMetrics writes metrics in the text format of OpenMetrics 1.0.
func OpenMetrics(to io.Writer, metrics []wire.Metric) error {
	w := bufio.NewWriter(to)
	for _, m := range metrics {
		fmt.Fprintf(w, "# TYPE %s %s\n", m.Name, m.Type)
		if m.Unit != nil {
			fmt.Fprintf(w, "# UNIT %s %s\n", m.Name, *m.Unit)
		}
		fmt.Fprintf(w, "# HELP %s %s\n", m.Name, help.Replace(m.Help))
		samples(w, m)
	}
	fmt.Fprintln(w, "# EOF")
	return w.Flush()
}

var (
	help  = strings.NewReplacer(`\`, `\\`, "\n", `\n`)
	label = strings.NewReplacer(`\`, `\\`, "\n", `\n`, `"`, `\"`)
)

// samples writes the values of a family. w keeps the error of a write for its Flush.
func samples(w *bufio.Writer, m wire.Metric) {
	for _, s := range m.Samples {
		var labels []string
		for _, name := range slices.Sorted(maps.Keys(s.Labels)) {
			labels = append(labels, fmt.Sprintf(`%s="%s"`, name, label.Replace(s.Labels[name])))
		}
		set, suffix := "", ""
		if len(labels) > 0 {
			set = "{" + strings.Join(labels, ",") + "}"
		}
		if s.Suffix != nil {
			suffix = *s.Suffix
		}
		fmt.Fprintf(w, "%s%s%s %s\n", m.Name, suffix, set, strconv.FormatFloat(s.Value, 'f', -1, 64))
	}
}
