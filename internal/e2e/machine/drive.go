// SPDX-License-Identifier: GPL-3.0-or-later

package machine

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// driveSize is more than the product, its programs and a race-enabled build of them ever need; the file is sparse.
const driveSize = "512M"

// makeDrive makes the drive of one boot: the tree to install, the program to run, its arguments, and the consoles of the
// boots before.
func (m *Machine) makeDrive(arguments []string) (string, error) {
	content := filepath.Join(m.Dir, "drive")
	if err := m.fillDrive(content); err != nil {
		return "", err
	}
	lines := strings.Join(arguments, "\n") + "\n"
	if err := os.WriteFile(filepath.Join(content, "arguments"), []byte(lines), 0o644); err != nil {
		return "", fmt.Errorf("cannot put arguments on drive: %w", err)
	}
	for _, console := range m.Consoles() {
		if err := copyFile(console, filepath.Join(content, "consoles", filepath.Base(console)), 0o644); err != nil {
			return "", fmt.Errorf("cannot put console on drive: %w", err)
		}
	}
	disk := filepath.Join(m.Dir, "drive.ext4")
	err := run("mke2fs", "-q", "-F", "-t", "ext4", "-O", "^has_journal", "-L", "e2e-drive", "-d", content, disk, driveSize)
	return disk, err
}

// fillDrive puts into the directory what the drives of all boots have.
func (m *Machine) fillDrive(content string) error {
	if _, err := os.Stat(content); err == nil {
		return nil
	}
	if err := os.MkdirAll(filepath.Join(content, "consoles"), 0o755); err != nil {
		return fmt.Errorf("cannot make drive: %w", err)
	}
	if err := run("cp", "-a", m.Stage, filepath.Join(content, "stage")); err != nil {
		return fmt.Errorf("cannot put installed tree on drive: %w", err)
	}
	if err := copyFile(m.Program, filepath.Join(content, "program"), 0o755); err != nil {
		return fmt.Errorf("cannot put program on drive: %w", err)
	}
	return nil
}

// dataSize is that of a data drive; the file is sparse.
const dataSize = 256 << 20

// NewData makes an empty data drive, which boots may have one after the other (Boot.Data).
func NewData(path string) error {
	if err := os.WriteFile(path, nil, 0o644); err != nil {
		return fmt.Errorf("cannot make data drive: %w", err)
	}
	if err := os.Truncate(path, dataSize); err != nil {
		return fmt.Errorf("cannot make data drive: %w", err)
	}
	return nil
}

// CopyRoot makes a data drive that has the machine's root file system on its one partition, for boots with RootOnFabric.
func (m *Machine) CopyRoot(path string) error {
	image, err := baseImage(m.Suite, m.Progress)
	if err != nil {
		return err
	}
	if err := run("dd", "if="+filepath.Join(image, rootDisk), "of="+path, "bs=1M", "seek=1", "conv=sparse", "status=none"); err != nil {
		return err
	}
	return onePartition(path)
}

// onePartition gives a drive a DOS partition table whose first partition is all but the first MiB (block/partitions/msdos.c).
func onePartition(path string) error {
	const sector, first = 512, 2048
	info, err := os.Stat(path)
	if err != nil {
		return fmt.Errorf("cannot partition data drive: %w", err)
	}
	table := make([]byte, sector)
	entry := table[446:]
	entry[4] = 0x83 // Linux
	binary.LittleEndian.PutUint32(entry[8:], first)
	binary.LittleEndian.PutUint32(entry[12:], uint32(info.Size()/sector-first))
	binary.LittleEndian.PutUint16(table[510:], 0xaa55)
	file, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return fmt.Errorf("cannot partition data drive: %w", err)
	}
	_, err = file.WriteAt(table, 0)
	if err = errors.Join(err, file.Close()); err != nil {
		return fmt.Errorf("cannot partition data drive: %w", err)
	}
	return nil
}

func copyFile(from, to string, mode os.FileMode) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, mode)
	if err != nil {
		return err
	}
	if _, err := io.Copy(out, in); err != nil {
		out.Close()
		return err
	}
	return out.Close()
}
