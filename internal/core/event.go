// SPDX-License-Identifier: GPL-3.0-or-later

package core

import (
	"net/netip"

	"github.com/nvme-discoverd/nvme-discoverd/internal/config"
	"github.com/nvme-discoverd/nvme-discoverd/internal/exclusion"
	"github.com/nvme-discoverd/nvme-discoverd/internal/fc"
	"github.com/nvme-discoverd/nvme-discoverd/internal/mdns"
	"github.com/nvme-discoverd/nvme-discoverd/internal/nbft"
	"github.com/nvme-discoverd/nvme-discoverd/internal/probe"
	"github.com/nvme-discoverd/nvme-discoverd/internal/state"
	"github.com/nvme-discoverd/nvme-discoverd/internal/sysfs"
	"github.com/nvme-discoverd/nvme-discoverd/internal/tid"
)

// Event is something that happened. The types below are all there are.
type Event interface{ event() }

// Device is a controller as it was read at one moment: sysfs, the registry's owner and the unit that the state files name.
type Device struct {
	sysfs.Controller
	Owner string // the registry's owner; "" is unowned
	Unit  string // the unit that connected it; "" is none of ours
	Seq   uint64 // /sys/kernel/uevent_seqnum, read before everything else
}

// UnitInfo is what systemd said of one of our units.
type UnitInfo struct {
	Name   string
	Active string   // ActiveState: active, activating, deactivating, inactive, failed, reloading
	Job    string   // type of the job that is queued or running: start, stop, restart, …; "" is none
	Argv   []string // the command of ExecStart
}

// begins tells whether the unit is being started, or will be as soon as its stop is over.
func (u UnitInfo) begins() bool {
	return u.Active == "activating" || u.Job == "start" || u.Job == "restart"
}

// Op is a job of ours on a unit.
type Op int

const (
	// OpNone is no job.
	OpNone Op = iota
	// OpStart is StartTransientUnit.
	OpStart
	// OpRestart is RestartUnit.
	OpRestart
	// OpStop is StopUnit.
	OpStop
)

// Outcome is how a job ended: systemd's own results and what can keep one from coming.
type Outcome string

// The outcomes that the core tells apart; any other counts as failed.
const (
	Done     Outcome = "done"
	Canceled Outcome = "canceled"
	Exists   Outcome = "exists"  // a unit of that name is there already
	NoUnit   Outcome = "no-unit" // there is no such unit to stop or restart
	Lost     Outcome = "lost"    // the bus went away before the result: nothing is known
)

type (
	// ConfigLoaded brings a configuration, the first one or by reload: what is right of it, and its Errors.
	ConfigLoaded struct{ Config config.Config }
	// NBFTLoaded brings what the boot firmware's tables wish for, host-iface filled in where the interface is there.
	NBFTLoaded struct{ Connections []nbft.Connection }
	// RetainedLoaded brings the discovery controllers that an earlier daemon retained. It comes before the first ConfigLoaded.
	RetainedLoaded struct{ List []Retained }
	// Resolved answers Resolve.
	Resolved struct {
		Host  string
		Addrs []netip.Addr // in the order in which to try them
		Err   string
	}
	// ExclusionsLoaded brings the exclusion lists as they are on disk.
	ExclusionsLoaded struct{ List exclusion.List }
	// Snapshot answers TakeSnapshot: sysfs, units and state files.
	Snapshot struct {
		Token      uint64
		Devices    []Device
		Unreadable []string // controllers that are there and could not be read: nothing is known of them
		Units      []UnitInfo
		UnitsKnown bool              // false: systemd could not be asked, Units says nothing
		UnitsErr   string            // why
		Devids     map[string]string // unit → nvmeN, the devid files
		Stopped    []string          // units stopped by an administrator, remembered on disk
		NoStopped  bool              // they could not be read: Stopped says nothing
		Stopping   []string          // units that an earlier daemon was stopping of its own accord when it ended

		ShuttingDown bool // the system is going down
		// Autoconnect: nvme-cli's automatic connects are in force, or run; without UnitsKnown it says nothing.
		Autoconnect bool
	}
	// SnapshotFailed answers TakeSnapshot when sysfs itself could not be read.
	SnapshotFailed struct {
		Token uint64
		Err   string
	}
	// DeviceSeen is a uevent of a fabrics controller together with what was read because of it.
	DeviceSeen struct {
		Device      Device
		Why         string // for people: connected, rediscover, log page changed
		Reconnected bool   // the kernel has lost the discovery controller and connected it again: its event rediscover, once each time
	}
	// DeviceNoticed is a controller whose state in sysfs is not the one that the machine knows, as a regular look at it found:
	// the kernel sends no uevent when a connection breaks.
	DeviceNoticed struct{ Device Device }
	// DeviceRemoved is the remove uevent of a fabrics controller.
	DeviceRemoved struct {
		Name string
		Seq  uint64 // SEQNUM of the uevent
	}
	// EventsLost tells that uevents or signals may have been missed (overrun, torn message, resume).
	EventsLost struct{ Why string }
	// ProbeDone answers Probe. Err is empty when the peer is there.
	ProbeDone struct {
		Target probe.Target
		Mute   bool
		Err    string
		Errno  int // of the system call that failed, 0 for none
	}
	// JobDone answers StartUnit, RestartUnit and StopUnit.
	JobDone struct {
		Unit    string
		Op      Op
		Outcome Outcome
		Err     string        // of a call that systemd refused
		Device  *Device       // the controller that the unit's devid file names, if it is there and its unit file agrees
		Unread  bool          // that could not be read: a nil Device says nothing
		Failure *state.Result // what a failed connect left
	}
	// ForeignJob is a job on one of our units that we did not ask for, when it begins and when it ends.
	ForeignJob struct {
		Unit    string
		Type    string
		Removed bool
	}
	// UnitState answers AskUnit.
	UnitState struct {
		Unit         string
		Token        uint64 // of AskUnit
		Known        bool   // false: systemd could not be asked
		Info         UnitInfo
		Device       *Device       // as in JobDone
		Unread       bool          // as in JobDone
		Failure      *state.Result // what a failed connect left, of a unit that is not active
		ShuttingDown bool
	}
	// LogRead brings a discovery log page, judged for each of the readers that ReadLog had, in their order.
	LogRead struct {
		Device string
		Token  uint64
		Pages  []JudgedPage
	}
	// Judged answers Judge.
	Judged struct {
		TID  tid.TID
		Page JudgedPage
	}
	// LogFailed tells that it could not be read.
	LogFailed struct {
		Device string
		Token  uint64
		Err    string
	}
	// FCDiscovered is the uevent of a remote port with a discovery controller on Fibre Channel, which the kernel sends
	// when the port appears and upon a kickstart.
	FCDiscovered struct{ fc.Announcement }
	// MDNSReported brings what browsing mDNS has found out: all of it each time.
	MDNSReported struct{ mdns.Report }
	// Kickstarted answers Kickstart. The announcements have been sent by then, and may still come.
	Kickstarted struct {
		Token  uint64
		NoFC   bool // the kernel has no Fibre Channel, and so no port
		Failed bool // it could not be asked
	}
	// LogChanged is the asynchronous event by which a discovery controller says that its log page changed. Nothing else of
	// the controller was read.
	LogChanged struct{ Device string }
	// Kick says that waiting targets of a transport may connect now. Transport "" is every one.
	Kick struct {
		Transport string
		Iface     string       // the interface that came up or got an address; "" is no particular one
		Addrs     []netip.Addr // with Iface: the address that appeared, or all that it has
		Why       string
	}
	// BusUp tells that systemd can be talked to.
	BusUp struct{}
	// BusDown tells that it cannot.
	BusDown struct{ Err string }
	// Tick tells that Deadline has come.
	Tick struct{}
)

func (ConfigLoaded) event()     {}
func (NBFTLoaded) event()       {}
func (RetainedLoaded) event()   {}
func (Resolved) event()         {}
func (ExclusionsLoaded) event() {}
func (Snapshot) event()         {}
func (SnapshotFailed) event()   {}
func (DeviceSeen) event()       {}
func (DeviceNoticed) event()    {}
func (DeviceRemoved) event()    {}
func (EventsLost) event()       {}
func (ProbeDone) event()        {}
func (JobDone) event()          {}
func (ForeignJob) event()       {}
func (UnitState) event()        {}
func (LogRead) event()          {}
func (Judged) event()           {}
func (LogFailed) event()        {}
func (FCDiscovered) event()     {}
func (MDNSReported) event()     {}
func (Kickstarted) event()      {}
func (LogChanged) event()       {}
func (Kick) event()             {}
func (BusUp) event()            {}
func (BusDown) event()          {}
func (Tick) event()             {}
