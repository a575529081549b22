// SPDX-License-Identifier: GPL-3.0-or-later

package machine

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// pid1Marker is what the init wrapper in rootfs prints first.
const pid1Marker = "e2e: PID 1 starts"

// untilPID1 is how long a boot may take to reach PID 1: the slowest seen took a tenth of this.
const untilPID1 = 90 * time.Second

// Boot is one start of the machine.
type Boot struct {
	// Name is that of the boot's console: <Name>.console in the machine's directory.
	Name string
	// Kernel is the one to boot.
	Kernel Kernel
	// Parameters are words for the kernel's command line beside those that all boots have.
	Parameters []string
	// Arguments are the program's.
	Arguments []string
	// Data is the file of a drive, made by NewData, to which the machine writes what the next boot shall find; "" for none.
	// Inside it is the virtio drive with the serial number "data".
	Data string
}

// fatalMarks are words of a kernel that cannot be trusted any more. A machine that shows one is stopped, not waited for.
var fatalMarks = []string{"Kernel panic - not syncing", "BUG: unable to handle", "Oops: ", "kernel BUG at", "PANIC: double fault"}

// boot starts the machine once, with the program's drive.
func (m *Machine) boot(ctx context.Context, b Boot, emulator qemu, image, drive string, tables []string) (int, error) {
	console, err := os.Create(m.consolePath(b))
	if err != nil {
		return 0, fmt.Errorf("cannot keep console: %w", err)
	}
	defer console.Close()
	consoleOut, consoleIn, err := os.Pipe()
	if err != nil {
		return 0, fmt.Errorf("cannot make console pipe: %w", err)
	}
	defer consoleOut.Close()
	programOut, programIn, err := os.Pipe()
	if err != nil {
		return 0, fmt.Errorf("cannot make program pipe: %w", err)
	}
	defer programOut.Close()

	// Children get the pipes as file descriptors 3 and 4.
	words := slices.Concat(emulator.command, m.arguments(image, drive, "/proc/self/fd/3", "/proc/self/fd/4"), b.arguments(image))
	for _, table := range tables {
		words = append(words, "-acpitable", "file="+table)
	}
	cmd := exec.Command(words[0], words[1:]...)
	cmd.Env = append(os.Environ(), emulator.environment...)
	cmd.ExtraFiles = []*os.File{consoleIn, programIn}
	var complaints strings.Builder
	cmd.Stdout, cmd.Stderr = &complaints, &complaints
	// Its own process group, so that Ctrl-C reaches it through us only; and it never outlives us.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	exited := make(chan error, 1)
	started := make(chan error, 1)
	go func() {
		// Pdeathsig is about the thread that started the child.
		runtime.LockOSThread()
		err := cmd.Start()
		consoleIn.Close()
		programIn.Close()
		started <- err
		if err == nil {
			exited <- cmd.Wait()
		}
	}()
	if err := <-started; err != nil {
		return 0, fmt.Errorf("cannot start QEMU: %w", err)
	}
	defer func() { _ = cmd.Process.Kill() }()

	w := watch{
		machine: m, ctx: ctx, exited: exited,
		console: lines(io.TeeReader(consoleOut, console)), program: lines(programOut),
	}
	status, err := w.untilEnd()
	if err != nil && complaints.Len() > 0 {
		// Safe to read only once the process is gone.
		_ = cmd.Process.Kill()
		if !w.gone {
			<-exited
		}
		err = fmt.Errorf("%w\nQEMU said:\n%s", err, lastLines(complaints.String(), 10))
	}
	return status, err
}

// unused are drivers for what the emulated computer has but nobody uses; loading them takes ten seconds of every boot.
var unused = []string{
	"aesni_intel", "ata_piix", "ata_generic", "binfmt_misc", "button", "crc32_pclmul", "crct10dif_pclmul", "drm", "efi_pstore", "evdev", "floppy",
	"ghash_clmulni_intel", "i2c_piix4", "joydev", "kvm_amd", "kvm_intel", "pcspkr", "psmouse", "qemu_fw_cfg", "serio_raw", "sg",
	"sha1_ssse3", "sha256_ssse3", "sha512_ssse3",
}

// commandLine is what every kernel is told. Security modules beside the one for capabilities, and the clearing of memory
// that nobody asked for, only cost emulated time: nothing that is tested depends on them.
var commandLine = []string{
	"root=/dev/nvme0n1", "rw", "init=/usr/lib/e2e/init", "console=ttyS0", "panic=-1", "oops=panic", "loglevel=4",
	"systemd.show_status=0", "systemd.log_target=journal", "mitigations=off", "random.trust_cpu=1",
	"lsm=capability", "init_on_alloc=0",
	"modprobe.blacklist=" + strings.Join(unused, ","),
}

// arguments are QEMU's options for every boot. Emulation only, never KVM, so that every host runs the same machine.
func (m *Machine) arguments(image, drive, console, program string) []string {
	return []string{
		"-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-nic", "none",
		"-accel", "tcg,thread=multi", "-cpu", "max", "-smp", strconv.Itoa(m.Processors), "-m", "2048",
		"-chardev", "file,id=console,path=" + console, "-serial", "chardev:console",
		"-device", "virtio-serial-pci",
		"-chardev", "file,id=program,path=" + program, "-device", "virtserialport,chardev=program,name=e2e",
		// The disk that the product must leave alone.
		"-drive", "file=" + filepath.Join(image, rootDisk) + ",if=none,id=root,format=raw,cache=unsafe,snapshot=on",
		"-device", "nvme,drive=root,serial=root",
		"-drive", "file=" + drive + ",if=none,id=drive,format=raw,cache=unsafe,snapshot=on",
		"-device", "virtio-blk-pci,drive=drive",
	}
}

// arguments are QEMU's options that this boot has beside those that all have.
func (b Boot) arguments(image string) []string {
	kernel, initrd := b.Kernel.files(image)
	words := []string{"-kernel", kernel, "-append", strings.Join(slices.Concat(commandLine, b.Parameters), " ")}
	if initrd != "" {
		words = append(words, "-initrd", initrd)
	}
	if b.Data != "" {
		words = append(words, "-drive", "file="+b.Data+",if=none,id=data,format=raw,cache=unsafe",
			"-device", "virtio-blk-pci,drive=data,serial=data")
	}
	return words
}

// watch follows one boot.
type watch struct {
	machine          *Machine
	ctx              context.Context
	console, program <-chan string
	exited           <-chan error

	sawPID1 bool
	fatal   string
	status  *int
	leaving bool // the program switches the machine off itself
	gone    bool
}

// untilEnd returns when the machine has switched itself off, or must be given up.
func (w *watch) untilEnd() (int, error) {
	pid1 := time.After(untilPID1)
	silence := time.NewTimer(w.machine.Silence)
	for {
		select {
		case line, open := <-w.console:
			if !open {
				w.console = nil
				continue
			}
			w.readConsole(line)
			if w.fatal != "" && w.sawPID1 {
				w.drain()
				return 0, fmt.Errorf("cannot go on: the machine's kernel died: %s", w.fatal)
			}
		case line, open := <-w.program:
			if !open {
				w.program = nil
				continue
			}
			silence.Reset(w.machine.Silence)
			w.readProgram(line)
		case <-w.exited:
			w.gone = true
			w.drain()
			return w.verdict()
		case <-pid1:
			if !w.sawPID1 {
				return 0, fmt.Errorf("%w (nothing after %v)", ErrBootDied, untilPID1)
			}
		case <-silence.C:
			return 0, fmt.Errorf("cannot go on: no line from inside for %v", w.machine.Silence)
		case <-w.ctx.Done():
			return 0, context.Cause(w.ctx)
		}
	}
}

// verdict is the outcome once the emulator is gone.
func (w *watch) verdict() (int, error) {
	switch {
	case w.fatal != "" && w.sawPID1:
		return 0, fmt.Errorf("cannot go on: the machine's kernel died: %s", w.fatal)
	case w.status != nil:
		return *w.status, nil
	case w.leaving:
		return 0, nil
	case !w.sawPID1:
		return 0, ErrBootDied
	default:
		return 0, errors.New("cannot tell the outcome: the machine stopped before the program's exit status came")
	}
}

// drain reads what is still in the pipes, up to a moment.
func (w *watch) drain() {
	limit := time.After(2 * time.Second)
	for w.console != nil || w.program != nil {
		select {
		case line, open := <-w.console:
			if !open {
				w.console = nil
				continue
			}
			w.readConsole(line)
		case line, open := <-w.program:
			if !open {
				w.program = nil
				continue
			}
			w.readProgram(line)
		case <-limit:
			return
		}
	}
}

func (w *watch) readConsole(line string) {
	if strings.Contains(line, pid1Marker) {
		w.sawPID1 = true
	}
	for _, mark := range fatalMarks {
		if w.fatal == "" && strings.Contains(line, mark) {
			w.fatal = strings.TrimSpace(line)
		}
	}
}

func (w *watch) readProgram(line string) {
	if status, ok := exitStatus(line); ok {
		w.status = &status
		return
	}
	if w.machine.takePiece(line) {
		return
	}
	w.leaving = w.leaving || line == LeaveMarker
	w.machine.Line(line)
}

// lines turns a stream into lines, closed at its end.
func lines(from io.Reader) <-chan string {
	to := make(chan string, 64)
	go func() {
		defer close(to)
		reader := bufio.NewReader(from)
		for {
			line, err := reader.ReadString('\n')
			if line != "" {
				to <- strings.TrimRight(line, "\r\n")
			}
			if err != nil {
				return
			}
		}
	}()
	return to
}
