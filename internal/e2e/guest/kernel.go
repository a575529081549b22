// SPDX-License-Identifier: GPL-3.0-or-later

//go:build e2e

package guest

import (
	"os"
	"regexp"
	"strings"
	"syscall"
)

// kernelComplaint matches messages with which a kernel says that something inside it is wrong.
var kernelComplaint = regexp.MustCompile(`WARNING: |BUG: |Oops|INFO: task .* blocked|possible .* detected|` +
	`general protection fault|refcount_t: |KASAN|stack segment|UBSAN`)

// kernelLog reads the kernel's messages from where they stood when it was opened.
type kernelLog struct {
	fd int
}

func openKernelLog(t T) *kernelLog {
	t.Helper()
	fd, err := syscall.Open("/dev/kmsg", syscall.O_RDONLY|syscall.O_NONBLOCK|syscall.O_CLOEXEC, 0)
	if err != nil {
		t.Fatalf("cannot open kernel log: %v", err)
	}
	if _, err := syscall.Seek(fd, 0, 2); err != nil {
		t.Fatalf("cannot find the kernel log's end: %v", err)
	}
	t.Cleanup(func() { syscall.Close(fd) })
	return &kernelLog{fd: fd}
}

// check fails the scenario if the kernel complained.
func (k *kernelLog) check(t T) {
	t.Helper()
	record := make([]byte, 8192)
	for {
		n, err := syscall.Read(k.fd, record)
		if err == syscall.EPIPE || err == syscall.EINTR {
			continue // messages were overwritten before we read them
		}
		if err != nil {
			return // EAGAIN: read all
		}
		_, text, _ := strings.Cut(string(record[:n]), ";")
		if kernelComplaint.MatchString(text) {
			t.Errorf("the kernel complains: %s", strings.TrimSpace(text))
		}
	}
}

// kernelTail returns the last messages of the kernel.
func kernelTail(lines int) string {
	buffer := make([]byte, 1<<20)
	n, err := syscall.Klogctl(3, buffer) // SYSLOG_ACTION_READ_ALL
	if err != nil {
		return os.NewSyscallError("klogctl", err).Error()
	}
	all := strings.Split(strings.TrimSpace(string(buffer[:n])), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}
