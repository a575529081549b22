package machine

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// driveSize is more than the product, its programs and a race-enabled build of them ever need; the file is sparse.
const driveSize = "512M"

// makeDrive makes the second drive in dir: the tree to install, the program to run, its arguments.
func makeDrive(dir, stage, program string, arguments []string) (string, error) {
	content := filepath.Join(dir, "drive")
	if err := os.MkdirAll(content, 0o755); err != nil {
		return "", fmt.Errorf("cannot make drive: %w", err)
	}
	if err := os.Rename(stage, filepath.Join(content, "stage")); err != nil {
		return "", fmt.Errorf("cannot put installed tree on drive: %w", err)
	}
	if err := copyFile(program, filepath.Join(content, "program"), 0o755); err != nil {
		return "", fmt.Errorf("cannot put program on drive: %w", err)
	}
	lines := strings.Join(arguments, "\n") + "\n"
	if err := os.WriteFile(filepath.Join(content, "arguments"), []byte(lines), 0o644); err != nil {
		return "", fmt.Errorf("cannot put arguments on drive: %w", err)
	}
	disk := filepath.Join(dir, "drive.ext4")
	err := run("mke2fs", "-q", "-t", "ext4", "-O", "^has_journal", "-L", "e2e-drive", "-d", content, disk, driveSize)
	return disk, err
}

func copyFile(from, to string, mode os.FileMode) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, mode)
	if err != nil {
		return err
	}
	if _, err := io.Copy(out, in); err != nil {
		out.Close()
		return err
	}
	return out.Close()
}
