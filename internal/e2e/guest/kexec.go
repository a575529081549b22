// SPDX-License-Identifier: GPL-3.0-or-later

//go:build e2e

package guest

import (
	"runtime"
	"slices"
	"unsafe"

	"golang.org/x/sys/unix"
)

// AnotherSystem is what the system of PrepareKexec prints on the console.
const AnotherSystem = "e2e: another system begins"

// PrepareKexec loads a system for `systemctl kexec`. It says on the console that it has begun, and has the computer reset, which
// ends the machine. With a system loaded, systemd can do without kexec(8), which the machine does not have: it makes the system call
// itself (src/shutdown/shutdown.c).
func PrepareKexec(t T) {
	t.Helper()
	const text = "\r\n" + AnotherSystem + "\r\n"
	// The kernel jumps to the first byte in 64-bit mode, with memory mapped as it is (arch/x86/kernel/relocate_kernel_64.S).
	system := slices.Concat([]byte{
		0xfc,                            // cld
		0x48, 0x8d, 0x35, 0x1f, 0, 0, 0, // lea text(%rip), %rsi
		0xb9, byte(len(text)), 0, 0, 0, // mov $len(text), %ecx
		0xba, 0xfd, 0x03, 0, 0, // next: mov $0x3fd, %edx: the line status of the first serial port
		0xec,       // busy: in (%dx), %al
		0xa8, 0x20, // test $0x20, %al: whether it takes a byte
		0x74, 0xfb, // jz busy
		0xba, 0xf8, 0x03, 0, 0, // mov $0x3f8, %edx
		0xac,       // lodsb
		0xee,       // out %al, (%dx)
		0xe2, 0xed, // loop next
		0xb0, 0xfe, // mov $0xfe, %al: reset, to the keyboard controller
		0xe6, 0x64, // out %al, $0x64
		0xf4,       // stop: hlt
		0xeb, 0xfd, // jmp stop
	}, []byte(text))
	segment := struct { // struct kexec_segment, include/uapi/linux/kexec.h
		buffer     *byte
		bufferSize uintptr
		memory     uintptr
		memorySize uintptr
	}{&system[0], uintptr(len(system)), 16 << 20, uintptr(unix.Getpagesize())}
	_, _, errno := unix.Syscall6(unix.SYS_KEXEC_LOAD, segment.memory, 1, uintptr(unsafe.Pointer(&segment)), 0, 0, 0)
	runtime.KeepAlive(system)
	if errno != 0 {
		t.Fatalf("cannot load another system: %v", errno)
	}
}
