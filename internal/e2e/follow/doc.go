// SPDX-License-Identifier: GPL-3.0-or-later

// Package follow follows what happens on a machine and wakes those who wait for it: uevents of the kernel, signals of PID 1,
// lines of the journal, changes below directories, and what a program tells it.
//
// An event is a hint and nothing more. It says that it is worth looking again, not what there is to see: whoever waits looks for
// himself, at what an administrator could see. So a source that loses an event costs time and never a wrong answer. Only the journal
// is kept, so that it can be read without running journalctl for each look.
package follow
