// SPDX-License-Identifier: GPL-3.0-or-later

package daemon

import (
	"fmt"

	"github.com/nvme-discoverd/nvme-discoverd/internal/core"
	"github.com/nvme-discoverd/nvme-discoverd/internal/state"
	"github.com/nvme-discoverd/nvme-discoverd/internal/tid"
)

// writeRetained records the discovery controllers that are retained, for the next daemon.
func (r *reader) writeRetained(list []core.Retained) error {
	var records []state.Retained
	for _, retained := range list {
		records = append(records, state.Retained{TID: retained.TID, Until: retained.Until, Announced: retained.Announced})
	}
	return r.state.WriteRetained(records)
}

// retained returns what an earlier daemon retained, and an error for each record that cannot be used.
func (r *reader) retained() (list []core.Retained, errs []error) {
	records, err := r.state.Retained()
	if err != nil {
		errs = append(errs, err)
	}
	for _, record := range records {
		id, err := tid.New(record.TID, tid.Discovery)
		if err != nil {
			errs = append(errs, fmt.Errorf("cannot retain %.200q, which an earlier nvme-discoverd recorded: %v", record.TID.String(), err))
			continue
		}
		list = append(list, core.Retained{TID: id, Until: record.Until, Announced: record.Announced})
	}
	return list, errs
}
