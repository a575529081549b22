// SPDX-License-Identifier: GPL-3.0-or-later

package daemon

import (
	"log/slog"
	"sync"

	"github.com/nvme-discoverd/nvme-discoverd/internal/config"
	"github.com/nvme-discoverd/nvme-discoverd/internal/core"
	"github.com/nvme-discoverd/nvme-discoverd/internal/nbft"
	"github.com/nvme-discoverd/nvme-discoverd/internal/paths"
)

// bootTables are what the boot firmware left (docs/design.md, "NBFT"). They are read once, for they are those of this boot; the
// interfaces that they name by MAC address come and go, and the defaults of their parameters with the configuration.
type bootTables struct {
	root paths.Root
	log  *slog.Logger

	order sync.Mutex // is held while the wishes are looked up and posted

	mu     sync.Mutex
	cfg    config.Config
	read   bool
	tables []nbft.Table
}

func newBootTables(root paths.Root, log *slog.Logger, cfg config.Config) *bootTables {
	b := &bootTables{root: root, log: log}
	b.configured(cfg)
	return b
}

// configured makes the tables go by a configuration. The first one that wants them has them read.
func (b *bootTables) configured(cfg config.Config) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.cfg = cfg
	if cfg.Settings.NBFT && !b.read {
		b.load()
		b.read = true
	}
}

// load reads the tables and logs what is wrong with them. A bad table keeps nothing else from working.
func (b *bootTables) load() {
	tables, errs := nbft.Load(b.root)
	for _, err := range errs {
		b.log.Error(err.Error())
	}
	b.tables = tables
	for _, table := range tables {
		_, warnings := nbft.Wishes(table, b.cfg.Discovered.Discovery, b.cfg.Discovered.IO)
		for _, warning := range append(table.Warnings, warnings...) {
			b.log.Warn(table.File + ": " + warning)
		}
	}
}

// any tells whether there are tables.
func (b *bootTables) any() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.tables) > 0
}

// tell hands post what the tables wish for. It is called on several goroutines, and what interfaces and configuration say changes:
// what was looked up last is posted last.
func (b *bootTables) tell(post func(core.NBFTLoaded)) {
	b.order.Lock()
	defer b.order.Unlock()
	post(b.wishes())
}

// wishes is what the tables wish for, over the interfaces that are there now. Two tables that name one connection wish for
// it once; one whose interface is not there is wished for without, since its address may be reachable all the same.
func (b *bootTables) wishes() core.NBFTLoaded {
	b.mu.Lock()
	cfg, tables := b.cfg, b.tables
	b.mu.Unlock()
	var loaded core.NBFTLoaded
	if !cfg.Settings.NBFT {
		return loaded
	}
	for _, table := range tables {
		connections, _ := nbft.Wishes(table, cfg.Discovered.Discovery, cfg.Discovered.IO)
		for _, c := range connections {
			iface, err := c.Link.Interface(b.root)
			if err != nil {
				b.log.Debug(err.Error())
			}
			c.Wish.TID.HostIface = iface
			c.Wish.Secrets = cfg.HostSecrets[c.Wish.TID.HostNQN] // a table holds none
			if _, wrong := cfg.Unusable[config.DefaultsRef]; wrong && c.Wish.Secrets == "" {
				c.Wish.Secrets = config.DefaultsRef
			}
			c.From, c.Table = table.File+", "+c.From, table.File
			loaded.Connections = append(loaded.Connections, c)
		}
	}
	return loaded
}
