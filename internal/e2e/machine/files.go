// SPDX-License-Identifier: GPL-3.0-or-later

package machine

import (
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// FileMarker begins a line by which the program inside hands a file out: a name follows, and a piece of the file in base64.
const FileMarker = "e2e: file "

// handedOut is the directory of the files that the program has handed out.
func (m *Machine) handedOut() string { return filepath.Join(m.Dir, "files") }

// Files lists the files that the program inside has handed out, by a pattern for their names.
func (m *Machine) Files(pattern string) []string {
	found, _ := filepath.Glob(filepath.Join(m.handedOut(), pattern))
	return found
}

// takePiece adds a piece to a file that is handed out, and reports whether the line is one.
func (m *Machine) takePiece(line string) bool {
	rest, is := strings.CutPrefix(line, FileMarker)
	if !is {
		return false
	}
	name, piece, _ := strings.Cut(rest, " ")
	if err := m.addPiece(filepath.Base(name), piece); err != nil {
		m.Progress(fmt.Sprintf("cannot take %s out of the machine: %v", name, err))
	}
	return true
}

func (m *Machine) addPiece(name, piece string) error {
	data, err := base64.StdEncoding.DecodeString(piece)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(m.handedOut(), 0o755); err != nil {
		return err
	}
	f, err := os.OpenFile(filepath.Join(m.handedOut(), name), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.Write(data)
	return err
}
