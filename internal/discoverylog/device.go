// SPDX-License-Identifier: GPL-3.0-or-later

package discoverylog

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// device is a controller that answers Get Log Page commands.
type device interface {
	// getLog fills buf, a multiple of 4 bytes, with the log page from its byte offset on, a multiple of 4 too. An NVMe
	// status is returned as a status, a failure of the system call as an errno.
	getLog(page logPage, offset uint64, buf []byte) error
}

// logPage says which log page a Get Log Page command wants, and how.
type logPage struct {
	id       uint8 // LID
	specific uint8 // LSP, 7 bits
	retain   bool  // RAE: reading it does not acknowledge the asynchronous event that announced a change
}

// Log pages and their specific fields (NVMe Base Specification 2.1, sections 5.1.12.1.1 and 5.1.12.3.1, figures 292, 293).
const (
	supportedLogs = 0x00
	discoveryLog  = 0x70

	supportedPortLocal = 1 << 1 // PLEOS, of the LID Specific Parameter of log 0x70 in log 0
	portLocal          = 1 << 1 // PLEO, of the LSP of log 0x70
)

// commandTimeout bounds one command. When it expires the kernel resets the controller, hence it is as long as the kernel's
// own for admin commands (nvme_core.admin_timeout): who does not answer for that long is gone.
const commandTimeout = 60 * time.Second

// passthruCmd is struct nvme_passthru_cmd of include/uapi/linux/nvme_ioctl.h, alias nvme_admin_cmd.
type passthruCmd struct {
	opcode      uint8
	flags       uint8
	_           uint16
	nsid        uint32
	cdw2        uint32
	cdw3        uint32
	metadata    uint64
	addr        uint64
	metadataLen uint32
	dataLen     uint32
	cdw10       uint32
	cdw11       uint32
	cdw12       uint32
	cdw13       uint32
	cdw14       uint32
	cdw15       uint32
	timeoutMS   uint32
	result      uint32
}

// ioctlAdminCmd is NVME_IOCTL_ADMIN_CMD, _IOWR('N', 0x41, struct nvme_admin_cmd), as all architectures but alpha, mips,
// powerpc and sparc number it.
const ioctlAdminCmd = 3<<30 | unsafe.Sizeof(passthruCmd{})<<16 | 'N'<<8 | 0x41

// getLogPage is the opcode of Get Log Page (NVMe Base Specification 2.1, section 5.1.12).
const getLogPage = 0x02

// command encodes a Get Log Page command, the address of the buffer apart (NVMe Base Specification 2.1, figures 198-202).
func (p logPage) command(offset uint64, length int) passthruCmd {
	dwords := uint32(length/4 - 1) // NUMD, a zeroes based value
	cmd := passthruCmd{
		opcode:    getLogPage,
		dataLen:   uint32(length),
		cdw10:     uint32(p.id) | uint32(p.specific)<<8 | dwords<<16,
		cdw11:     dwords >> 16,
		cdw12:     uint32(offset),
		cdw13:     uint32(offset >> 32),
		timeoutMS: uint32(commandTimeout.Milliseconds()),
	}
	if p.retain {
		cmd.cdw10 |= 1 << 15
	}
	return cmd
}

// char is the character device of a controller.
type char struct{ file *os.File }

func (c char) getLog(page logPage, offset uint64, buf []byte) error {
	cmd := page.command(offset, len(buf))
	// The kernel writes to the buffer by an address that the garbage collector does not see.
	var pinner runtime.Pinner
	pinner.Pin(&buf[0])
	defer pinner.Unpin()
	cmd.addr = uint64(uintptr(unsafe.Pointer(&buf[0])))
	result, _, errno := unix.Syscall(unix.SYS_IOCTL, c.file.Fd(), ioctlAdminCmd, uintptr(unsafe.Pointer(&cmd)))
	switch {
	case errno != 0:
		return errno
	case result != 0:
		return status(result)
	}
	return nil
}

// status is the status field of an NVMe completion, without its phase bit: code in bits 7:0, type in bits 10:8 (NVMe Base
// Specification 2.1, section 4.2.3).
type status uint16

// meanings of the codes that a Get Log Page command may end with, and those that the Linux host makes up itself.
var meanings = map[status]string{
	0x001: "the controller does not know the command",
	0x002: "a field of the command is invalid or not supported",
	0x004: "the data transfer failed",
	0x006: "internal error of the controller",
	0x007: "the command was aborted",
	0x008: "the command was aborted because its queue was deleted",
	0x00c: "the controller is not ready for the command",
	0x021: "the command was interrupted",
	0x022: "the transport failed for a moment",
	0x109: "the controller does not have this log page",
	0x191: "the controller wants the host to authenticate itself",
	0x360: "internal error of the path",
	0x370: "the path to the controller is down",
	0x371: "the host aborted the command, because the connection broke or was taken down",
}

func (s status) Error() string {
	if text, ok := meanings[s&0x7ff]; ok {
		return fmt.Sprintf("%s (NVMe status %#x)", text, uint16(s))
	}
	return fmt.Sprintf("NVMe status %#x", uint16(s))
}

// portLocalSupported asks whether the controller can restrict its log page to the port that is asked. A controller that
// does not know log 0 cannot.
func portLocalSupported(d device) bool {
	log := make([]byte, 256*4) // a dword for each log page: support in bits 15:0, the LID Specific Parameter in 31:16
	if err := d.getLog(logPage{id: supportedLogs, retain: true}, 0, log); err != nil {
		return false
	}
	return binary.LittleEndian.Uint32(log[discoveryLog*4:])>>16&supportedPortLocal != 0
}

// failed words the end of a command.
func failed(err error) error {
	var s status
	switch {
	case errors.As(err, &s):
		return err
	case errors.Is(err, unix.ENODEV):
		return fmt.Errorf("the controller is gone: %w", err)
	case errors.Is(err, unix.EAGAIN):
		return fmt.Errorf("the controller is not live: %w", err)
	}
	return err
}
