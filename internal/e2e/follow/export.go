// SPDX-License-Identifier: GPL-3.0-or-later

package follow

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// longestField bounds a field of a journal entry, in bytes: journald takes no larger ones (DATA_SIZE_MAX, src/shared/journal-importer.h).
const longestField = 768 << 20

// readExport reads one entry in the Journal Export Format (systemd.io/JOURNAL_EXPORT_FORMATS) and gives each of its fields to field.
// It returns io.EOF before the first field if the stream ends there.
func readExport(r *bufio.Reader, field func(name, value string)) error {
	for fields := 0; ; {
		line, err := r.ReadBytes('\n')
		switch {
		case errors.Is(err, io.EOF) && len(line) == 0 && fields == 0:
			return io.EOF
		case errors.Is(err, io.EOF):
			return io.ErrUnexpectedEOF
		case err != nil:
			return err
		}
		line = line[:len(line)-1]
		if len(line) == 0 {
			if fields > 0 {
				return nil
			}
			continue // more than one empty line between two entries
		}
		fields++
		name, value, text := bytes.Cut(line, []byte{'='})
		if !text {
			if value, err = readBinary(r); err != nil {
				return fmt.Errorf("cannot read field %q of a journal entry: %w", name, err)
			}
		}
		field(string(name), string(value))
	}
}

// readBinary reads the value of a field that is not plain text: its length, the bytes, the end of the line.
func readBinary(r *bufio.Reader) ([]byte, error) {
	var length uint64
	if err := binary.Read(r, binary.LittleEndian, &length); err != nil {
		return nil, noEOF(err)
	}
	if length > longestField {
		return nil, fmt.Errorf("length %d is more than %d", length, longestField)
	}
	var value bytes.Buffer // grows with what there is: a length alone takes no memory
	if _, err := io.CopyN(&value, r, int64(length)); err != nil {
		return nil, noEOF(err)
	}
	switch end, err := r.ReadByte(); {
	case err != nil:
		return nil, noEOF(err)
	case end != '\n':
		return nil, fmt.Errorf("byte %#x follows the value, not the end of the line", end)
	}
	return value.Bytes(), nil
}

// noEOF turns the end of the stream into an error, for where an entry must go on.
func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
