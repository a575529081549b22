// SPDX-License-Identifier: GPL-3.0-or-later

package follow

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"time"
)

// journaldSocket is where journald answers to calls over varlink (systemd-journald.service(8)).
const journaldSocket = "/run/systemd/journal/io.systemd.journal"

// synchronize waits until journald has written all that has been logged before the call, as `journalctl --sync` does.
func synchronize(socket string, timeout time.Duration) error {
	conn, err := net.DialTimeout("unix", socket, timeout)
	if err != nil {
		return fmt.Errorf("cannot reach journald: %w", err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(timeout))
	if _, err := io.WriteString(conn, `{"method":"io.systemd.Journal.Synchronize"}`+"\x00"); err != nil {
		return fmt.Errorf("cannot ask journald to write: %w", err)
	}
	answer, err := bufio.NewReader(conn).ReadBytes(0)
	if err != nil {
		return fmt.Errorf("cannot hear that journald has written: %w", err)
	}
	var reply struct {
		Error string `json:"error"`
	}
	if err := json.Unmarshal(answer[:len(answer)-1], &reply); err != nil {
		return fmt.Errorf("cannot read journald's answer: %w", err)
	}
	if reply.Error != "" {
		return fmt.Errorf("cannot have journald write: %s", reply.Error)
	}
	return nil
}

// journalDirs are where journald has its files, each in a directory named after the machine.
var journalDirs = []string{"/run/log/journal", "/var/log/journal"}

// Places in the header of a journal file (systemd.io/JOURNAL_FILE_FORMAT), and its length up to there.
const (
	headerSequence = 72  // seqnum_id, 16 bytes
	headerNumber   = 160 // tail_entry_seqnum
	headerLength   = 168
)

// journalEnd returns the position of the newest entry of the system's journal, and the files that are being written.
func journalEnd(dirs []string) (position, []string, error) {
	var files []string
	for _, dir := range dirs {
		found, _ := filepath.Glob(filepath.Join(dir, "*", "system.journal"))
		files = append(files, found...)
	}
	var newest position
	for _, file := range files {
		active, err := readPosition(file)
		if err != nil {
			return position{}, nil, err
		}
		if active.sequence != newest.sequence || active.number > newest.number {
			newest = active
		}
		// A file has no entry right after its forerunner was put aside.
		others, _ := filepath.Glob(filepath.Join(filepath.Dir(file), "system@*.journal"))
		for _, other := range others {
			if p, err := readPosition(other); err == nil && p.sequence == newest.sequence && p.number > newest.number {
				newest = p
			}
		}
	}
	if newest.number == 0 {
		return position{}, nil, fmt.Errorf("cannot find an entry in the journal files below %v", dirs)
	}
	return newest, files, nil
}

// readPosition reads the position of the last entry of a journal file.
func readPosition(file string) (position, error) {
	f, err := os.Open(file)
	if err != nil {
		return position{}, fmt.Errorf("cannot read journal file: %w", err)
	}
	defer f.Close()
	header := make([]byte, headerLength)
	if _, err := f.ReadAt(header, 0); err != nil {
		return position{}, fmt.Errorf("cannot read journal file %s: %w", file, err)
	}
	p := position{number: binary.LittleEndian.Uint64(header[headerNumber:])}
	copy(p.sequence[:], header[headerSequence:])
	return p, nil
}

// wake has whoever follows journal files look at them at once: a change of their times is an event of inotify(7) and changes nothing.
func wake(files []string) {
	now := time.Now()
	for _, file := range files {
		_ = os.Chtimes(file, now, now)
	}
}
