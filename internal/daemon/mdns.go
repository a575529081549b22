// SPDX-License-Identifier: GPL-3.0-or-later

package daemon

import (
	"context"

	"github.com/nvme-discoverd/nvme-discoverd/internal/config"
	"github.com/nvme-discoverd/nvme-discoverd/internal/core"
	"github.com/nvme-discoverd/nvme-discoverd/internal/mdns"
)

// newBrowser returns the browser of mDNS. Each report waits until the loop has dealt with the one before.
func (d *Daemon) newBrowser(ctx context.Context) *mdns.Browser {
	return mdns.New(mdns.Config{
		Bus: d.Root.SystemBus(), Resolved: d.Root.Resolved(),
		Report: func(r mdns.Report) { d.postAndWait(ctx, core.MDNSReported{Report: r}) },
		Staf:   func() bool { return config.StafBrowses(d.Root) },
		Log:    d.Log,
	})
}

// families returns the addresses that the settings have mDNS browsed for, nil for none.
func families(s config.Settings) *mdns.Families {
	if !s.Zeroconf {
		return nil
	}
	return &mdns.Families{IPv4: s.ZeroconfIPFamily != config.IPv6, IPv6: s.ZeroconfIPFamily != config.IPv4}
}
