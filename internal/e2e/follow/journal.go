// SPDX-License-Identifier: GPL-3.0-or-later

package follow

import (
	"bufio"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Entry is one entry of the journal.
type Entry struct {
	Cursor    string
	Message   string
	Priority  int    // as in syslog(3); 6 where the entry has none, as journalctl has it
	Transport string // kernel for the kernel's own messages
	MessageID string // "" where the entry has none
	NQN       string // of the product's field NVME_NQN

	unit     string   // whose process has written it
	about    []string // the units that PID 1 has written about
	rootOf   []string // the units that a process of root's has written about
	pid, uid string
}

// Of reports whether journalctl --unit would show the entry for one of the units, which may be patterns as in path.Match.
func (e *Entry) Of(units ...string) bool {
	matches := func(unit string) bool {
		return slices.ContainsFunc(units, func(pattern string) bool {
			match, _ := path.Match(pattern, unit)
			return match
		})
	}
	return matches(e.unit) || e.pid == "1" && slices.ContainsFunc(e.about, matches) || e.uid == "0" && slices.ContainsFunc(e.rootOf, matches)
}

// set takes one field.
func (e *Entry) set(name, value string) {
	switch name {
	case "__CURSOR":
		e.Cursor = value
	case "MESSAGE":
		e.Message = value
	case "PRIORITY":
		if n, err := strconv.Atoi(value); err == nil {
			e.Priority = n
		}
	case "MESSAGE_ID":
		e.MessageID = value
	case "NVME_NQN":
		e.NQN = value
	case "_TRANSPORT":
		e.Transport = value
	case "_PID":
		e.pid = value
	case "_UID":
		e.uid = value
	case "_SYSTEMD_UNIT":
		e.unit = value
	case "UNIT":
		e.about = append(e.about, value)
	case "OBJECT_SYSTEMD_UNIT", "COREDUMP_UNIT":
		e.rootOf = append(e.rootOf, value)
	}
}

// fields are those that Entry.set takes; an export has the cursor in any case.
const fields = "MESSAGE,MESSAGE_ID,NVME_NQN,PRIORITY,_TRANSPORT,_PID,_UID,_SYSTEMD_UNIT,UNIT,OBJECT_SYSTEMD_UNIT,COREDUMP_UNIT"

// Journal has what journald has recorded since the machine booted, as one journalctl hands it on.
type Journal struct {
	events *Events
	reader *exec.Cmd

	mu      sync.Mutex
	entries []Entry
	dropped int // by Forget: the number of entries before the first one in entries
	last    position
	err     error // why there will be no more
}

// Place is a place in the journal: what comes after it is newer.
type Place struct {
	Cursor string // of the last entry before the place, as journalctl --after-cursor takes it
	number int    // of entries before the place
}

// FollowJournal starts the journalctl that reads the journal until the program ends; new entries are events.
func FollowJournal(events *Events) (*Journal, error) {
	// --no-tail: what is recorded while journalctl starts must not be missed.
	reader := exec.Command("journalctl", "--boot", "--follow", "--no-tail", "--quiet", "--output=export", "--output-fields="+fields)
	output, err := reader.StdoutPipe()
	if err == nil {
		err = reader.Start()
	}
	if err != nil {
		return nil, fmt.Errorf("cannot follow the journal: %w", err)
	}
	j := &Journal{events: events, reader: reader}
	go func() {
		err := j.read(output)
		_ = reader.Process.Kill()
		if failed := reader.Wait(); failed != nil && errors.Is(err, io.EOF) {
			err = failed
		}
		j.end(fmt.Errorf("cannot follow the journal any more: %w", err))
	}()
	return j, nil
}

// Close ends following. There must be no Sync any more.
func (j *Journal) Close() { _ = j.reader.Process.Kill() }

// read takes entries until the stream ends, and returns why it ends.
func (j *Journal) read(from io.Reader) error {
	r := bufio.NewReaderSize(from, 64<<10)
	kinds := Logged
	for {
		entry := Entry{Priority: 6}
		if err := readExport(r, entry.set); err != nil {
			return err
		}
		if err := j.add(entry); err != nil {
			return err
		}
		if entry.Transport == "kernel" {
			kinds |= Kernel
		}
		if r.Buffered() == 0 { // what has come at one time is one event
			j.events.Tell(kinds)
			kinds = Logged
		}
	}
}

func (j *Journal) add(entry Entry) error {
	at, err := parsePosition(entry.Cursor)
	if err != nil {
		return err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.entries = append(j.entries, entry)
	j.last = at
	return nil
}

func (j *Journal) end(err error) {
	j.mu.Lock()
	j.err = err
	j.mu.Unlock()
	j.events.Tell(Logged)
}

// position is an entry's place in a sequence of journald's.
type position struct {
	sequence [16]byte
	number   uint64
}

// parsePosition reads the position that a cursor has (sd_journal_get_cursor(3) calls it opaque; journald has written it so since 2012).
func parsePosition(cursor string) (position, error) {
	var p position
	found := 0
	for part := range strings.SplitSeq(cursor, ";") {
		key, value, _ := strings.Cut(part, "=")
		switch key {
		case "s":
			id, err := hex.DecodeString(value)
			if err != nil || len(id) != len(p.sequence) {
				return position{}, fmt.Errorf("cannot read the sequence of the cursor %q", cursor)
			}
			copy(p.sequence[:], id)
			found++
		case "i":
			number, err := strconv.ParseUint(value, 16, 64)
			if err != nil {
				return position{}, fmt.Errorf("cannot read the number of the cursor %q", cursor)
			}
			p.number = number
			found++
		}
	}
	if found != 2 {
		return position{}, fmt.Errorf("cannot find a position in the cursor %q", cursor)
	}
	return p, nil
}

// reached reports whether all that journald had written at a position has been followed.
func (j *Journal) reached(to position) (bool, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.last.sequence == to.sequence && j.last.number >= to.number, j.err
}

// syncTimeout bounds a Sync: a journald, or a journalctl, that hangs is to be seen.
const syncTimeout = 2 * time.Minute

// Sync waits until all that has been logged before the call has been followed, and returns the place after that.
func (j *Journal) Sync() (Place, error) {
	if err := synchronize(journaldSocket, syncTimeout); err != nil {
		return Place{}, err
	}
	written, files, err := journalEnd(journalDirs)
	if err != nil {
		return Place{}, err
	}
	end := time.Now().Add(syncTimeout)
	timer := time.NewTicker(Rest)
	defer timer.Stop()
	// journald says up to 250 ms late that a file has grown (POST_CHANGE_TIMER_INTERVAL_USEC, src/libsystemd/sd-journal/journal-file.h).
	wake(files)
	for {
		w := j.events.next(Logged)
		done, err := j.reached(written)
		if err == nil && !done && time.Now().After(end) {
			err = fmt.Errorf("cannot follow the journal: entry %d is not seen within %v", written.number, syncTimeout)
		}
		if !done && err == nil {
			select {
			case <-w.woken:
			case <-timer.C:
				wake(files)
			}
		}
		j.events.forget(w)
		if done || err != nil {
			return j.place(), err
		}
	}
}

func (j *Journal) place() Place {
	j.mu.Lock()
	defer j.mu.Unlock()
	p := Place{number: j.dropped + len(j.entries)}
	if n := len(j.entries); n > 0 {
		p.Cursor = j.entries[n-1].Cursor
	}
	return p
}

// After returns the entries after a place that have been followed so far and that keep holds for.
func (j *Journal) After(p Place, keep func(*Entry) bool) []Entry {
	j.mu.Lock()
	defer j.mu.Unlock()
	var found []Entry
	for i := max(p.number-j.dropped, 0); i < len(j.entries); i++ {
		if keep(&j.entries[i]) {
			found = append(found, j.entries[i])
		}
	}
	return found
}

// Forget drops the entries before a place, which nobody will ask for any more.
func (j *Journal) Forget(before Place) {
	j.mu.Lock()
	defer j.mu.Unlock()
	// One entry stays: its cursor is that of the next place.
	if n := min(before.number-j.dropped, len(j.entries)) - 1; n > 0 {
		j.entries = slices.Clone(j.entries[n:])
		j.dropped += n
	}
}
