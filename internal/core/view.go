package core

import (
	"slices"
	"time"

	"github.com/nvme-discoverd/nvme-discoverd/internal/discoverylog"
	"github.com/nvme-discoverd/nvme-discoverd/internal/wish"
)

// LogPageSource begins a source of TargetView that is a log page; the log form of its DC follows.
const LogPageSource = "log page of "

// View is what the core knows at one moment, for people and other programs. It shares nothing with the Machine.
type View struct {
	Status  string // the one line of STATUS=
	Ready   bool
	Bus     bool // systemd can be talked to
	Targets []TargetView
	// Unwanted are connections of ours that nothing wishes for any more; they stay until they drop.
	Unwanted []Device
	// Unexplained are units that systemd holds and neither a target nor a device accounts for.
	Unexplained []string
}

// TargetView is one target.
type TargetView struct {
	Wish        wish.Wish
	Unit        string // "" while it is only named by its host, which has no address yet
	State       State
	Phase       string    // what it waits for within its state; "idle" is nothing
	Since       time.Time // when it came into the state
	Device      string    // nvmeN, "" without
	Owner       string    // of the device, by the registry
	Sources     []string
	Attempts    int       // failed ones since it last stayed connected
	Next        time.Time // of the next attempt, look or poll; zero is none
	LastError   string
	ErrorSince  time.Time
	ErrorCount  int
	RetainUntil time.Time // zero: its source is there
	// Page is a DC's last good log page, PageRead when it was read; nil and zero before the first.
	Page     []PageEntry
	PageRead time.Time
	Flaws    []string // what of the page could not be read, in words for people
}

// PageEntry is an entry of a log page and what became of it.
type PageEntry struct {
	discoverylog.Entry
	Skipped string // why it is not connected although it names a connection; "" otherwise
}

// View returns a copy of what the machine knows.
func (m *Machine) View() View {
	v := View{Status: m.status, Ready: m.ready, Bus: m.bus}
	explained := map[string]bool{}
	for _, t := range m.targets {
		explained[t.unit] = true
		v.Targets = append(v.Targets, m.viewOf(t))
	}
	m.eachName(func(n *name) {
		if len(n.wishes) == 0 {
			v.Targets = append(v.Targets, viewOfName(n))
		}
	})
	for _, name := range sortedKeys(m.devices) {
		d := m.devices[name]
		if d.Unit == "" || m.foreign(d) {
			continue
		}
		if !slices.ContainsFunc(m.targets, func(t *target) bool { return t.device == name }) {
			v.Unwanted = append(v.Unwanted, d.Device)
		}
		explained[d.Unit] = true
	}
	for _, name := range sortedKeys(m.units) {
		if !explained[name] && m.units[name].active {
			v.Unexplained = append(v.Unexplained, name)
		}
	}
	return v
}

// Targets returns how many there are: when it is not what Changed made one expect, some were forgotten.
func (m *Machine) Targets() int { return len(m.targets) }

// Changed returns the targets that the last Step touched, for those who watch.
func (m *Machine) Changed() []TargetView {
	var changed []TargetView
	for _, t := range m.targets {
		if t.touched == m.step {
			changed = append(changed, m.viewOf(t))
		}
	}
	return changed
}

func (m *Machine) viewOf(t *target) TargetView {
	v := TargetView{
		Wish: t.wish, Unit: t.unit, State: t.state, Phase: t.phase.String(), Since: t.since, Device: t.device,
		Sources: slices.Clone(t.sources), Attempts: t.attempts, Next: t.next,
		LastError: t.lastErr, ErrorSince: t.errSince, ErrorCount: t.errRepeated, RetainUntil: t.retainUntil,
		PageRead: t.pageRead, Flaws: slices.Clone(t.flaws),
	}
	if t.page != nil {
		v.Page = make([]PageEntry, len(t.page))
	}
	for i, e := range t.page {
		v.Page[i] = PageEntry{e, t.skipped[i]}
	}
	if d := m.devices[t.device]; d != nil {
		v.Owner = d.Owner
	}
	return v
}

// viewOfName is the target that a name will stand for. Until it has an address, its wish shows the name in its place.
func viewOfName(n *name) TargetView {
	w := n.key.wish
	w.TID = n.tid()
	return TargetView{
		Wish: w, State: Waiting, Phase: "resolving", Since: n.since, Sources: []string{n.from},
		Attempts: n.failed, Next: n.next, LastError: n.err, ErrorSince: n.errAt, ErrorCount: n.errs,
	}
}
