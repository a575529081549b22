// SPDX-License-Identifier: GPL-3.0-or-later

package core

// Kind is what a line of the journal tells of, whatever its words are. The journal package gives each a message ID, the
// catalog explains it; both are promises to administrators, so that a kind that is out of use leaves a hole.
type Kind int

// The kinds of lines.
const (
	KindNone               Kind = iota // of interest to nobody's filter
	KindConnected                      // a controller is there that was not
	KindAdopted                        // one that was connected already serves a wish
	KindLost                           // a connection was lost
	KindShortLived                     // so soon after it began that the next attempt waits
	KindCannotConnect                  // a failure, the first of its cause
	KindStillCannotConnect             // the same again for a while
	KindUnresolved                     // a configured name has no usable address
	KindUnwanted                       // nothing asks for a connection any more
	KindExcluded                       // the exclusion list forbids it
	KindReadmitted                     // and does so no longer
	KindForeign                        // another orchestrator owns the controller
	KindForeignLost                    // and has lost it
	KindStopped                        // an administrator stopped the unit
	KindStopFailed                     // a unit cannot be stopped
	KindParked                         // a discovery controller is asked now and then instead of kept
	KindCollision                      // two wishes have one unit name
	KindClaimed                        // a controller whose unit is gone gets a new one
	KindMistaken                       // a controller does not serve what it seemed to serve
	KindSourceGone                     // an address that the boot firmware had is not this host's
	KindRedundant                      // the configuration asks for what the boot firmware asks for
	KindLogPageRead                    // a log page is in force
	KindLogPageFlawed                  // some of it is not
	KindLogPageUnreadable              // the last one stays in force
	KindConfigLoaded                   // the configuration was loaded anew
	KindConfigRefused                  // some of it is wrong and not in force
	KindConfigWarning                  // something in it is odd
	KindEventsLost                     // the kernel's events may be incomplete
	KindCompareFailed                  // sysfs or systemd could not be read
	KindBusLost                        // systemd cannot be talked to
	KindBusBack                        // and can be again
	KindShutdown                       // the system goes down
	KindShutdownOff                    // and does not after all
	KindKicked                         // what waits is tried now, for a reason
	KindOwnerRestored                  // the registry lost that a controller is ours
	KindReconnecting                   // the connection of a controller broke, and the kernel reconnects it
	KindReconnected                    // and it has
	kinds
)

// Kinds is how many kinds there are, KindNone among them.
const Kinds = int(kinds)
