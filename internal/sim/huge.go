// SPDX-License-Identifier: GPL-3.0-or-later

package sim

import (
	"strconv"

	"github.com/nvme-discoverd/nvme-discoverd/internal/discoverylog"
	"github.com/nvme-discoverd/nvme-discoverd/internal/tid"
)

const (
	mostWanted  = 16384 // connections that log pages may add to, as in internal/core
	hugeDCs     = 9
	hugeTail    = 2500 // entries of one page: nine of them name more than may be wished for …
	longTail    = 300  // … or less
	hugeDead    = 10   // of these lead nowhere and are tried again and again
	hugeAddress = "192.0.2.250"
)

// tail is what a huge page names beside what there is, in so many entries: some connections that nobody serves, entries that lead nowhere, and very many that the
// exclusion list keeps from being tried. Every page has its own.
func tail(dc, length int) []discoverylog.Entry {
	entries := make([]discoverylog.Entry, 0, length)
	for i := range length {
		e := discoverylog.Entry{
			Subtype: discoverylog.NVM, Transport: tid.TCP, Traddr: hugeAddress, Trsvcid: "4420", NQN: "nqn.2024-01.com.example:huge-" + strconv.Itoa(dc) + "-" + strconv.Itoa(i),
		}
		switch {
		case i < hugeDead: // the same in every page
			e.Traddr, e.NQN = "192.0.2.251", "nqn.2024-01.com.example:nobody-"+strconv.Itoa(i)
		case i%10 == 0:
			e.Transport, e.Traddr = tid.FC, "nowhere"
		}
		entries = append(entries, e)
	}
	return entries
}
