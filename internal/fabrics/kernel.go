// SPDX-License-Identifier: GPL-3.0-or-later

package fabrics

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"strings"
	"syscall"

	"github.com/nvme-discoverd/nvme-discoverd/internal/keyring"
	"github.com/nvme-discoverd/nvme-discoverd/internal/param"
	"github.com/nvme-discoverd/nvme-discoverd/internal/paths"
	"github.com/nvme-discoverd/nvme-discoverd/internal/psk"
	"github.com/nvme-discoverd/nvme-discoverd/internal/secret"
	"github.com/nvme-discoverd/nvme-discoverd/internal/tid"
	"github.com/nvme-discoverd/nvme-discoverd/internal/wish"
)

// Kernel connects controllers of one host.
type Kernel struct {
	root     paths.Root
	open     func() (io.ReadWriteCloser, error) // a new description of the fabrics device; an error unwraps to a syscall.Errno
	modprobe func(ctx context.Context, modules ...string) error
	ring     func(name string) (serial int, err error) // the keyring of a name; the error may wrap keyring.ErrMissing
	addKey   func(ring int, key psk.TLS) (serial int, err error)
	findKey  func(ring int, identity string) (serial int, err error) // the error may wrap keyring.ErrNoKey
}

// New returns the kernel of the host at root.
func New(root paths.Root) *Kernel {
	return &Kernel{
		root:     root,
		open:     func() (io.ReadWriteCloser, error) { return openDevice(root.Fabrics()) },
		modprobe: func(ctx context.Context, modules ...string) error { return modprobe(ctx, root, modules) },
		ring:     func(name string) (int, error) { return keyring.Ring(root, name) },
		addKey:   keyring.Add,
		findKey:  keyring.Find,
	}
}

// Result is a controller that the kernel connected.
type Result struct {
	Device  string   // nvmeN
	CntlID  int      // the controller ID that the target gave, 0 to 65535
	Dropped []string // options that this kernel does not know and that were left out, as the kernel spells them
}

// Connect has the kernel connect w with secrets and waits for it: for tcp and rdma until the controller is live or has failed, which a
// mute peer draws out to ten seconds, and the connects of other processes before it. A refusal is an *Error. Missing
// kernel modules are loaded once. Only the death of the process interrupts the kernel; ctx bounds the rest.
func (k *Kernel) Connect(ctx context.Context, w wish.Wish, secrets secret.Set) (Result, error) {
	keys := Keys{Set: secrets}
	if err := k.prepareTLS(ctx, w, &keys); err != nil {
		return Result{}, err
	}
	result, err := k.attempt(w, keys)
	if !k.lacksModule(w.TID.Transport, err) {
		return result, err
	}
	if failure := k.modprobe(ctx, "nvme-fabrics", "nvme-"+w.TID.Transport); failure != nil {
		return Result{}, fmt.Errorf("%w; %v", err, failure)
	}
	return k.attempt(w, keys)
}

// prepareTLS finds the keyring and the TLS key that w names, or puts the TLS key of keys, if w is to use it, where the kernel
// looks for it.
func (k *Kernel) prepareTLS(ctx context.Context, w wish.Wish, keys *Keys) error {
	given := keys.Set[secret.TLS]
	name, named := w.Params.Get(param.Keyring)
	identity, identified := w.Params.Get(param.TLSKeyIdentity)
	_, tls := w.Params.Get(param.TLS)
	_, concat := w.Params.Get(param.Concat)
	switch {
	case !tls && !concat, !named && !identified && !given.Value.IsSet():
		return nil
	case !tls && !named: // a key of the authentication's own goes into the kernel's keyring
		return nil
	}
	with := ""
	switch {
	case identified:
		with = fmt.Sprintf(" with tls-key-identity %q", identity)
	case given.Value.IsSet():
		with = " with tls-key from " + given.From
	case named:
		with = " with keyring " + name
	}
	failed := func(err error) error { return fmt.Errorf("cannot connect %s%s: %w", w.TID, with, err) }
	var key psk.TLS
	if tls && !identified && given.Value.IsSet() {
		var err error
		if key, err = psk.Derive(given.Value, w.TID.HostNQN, w.TID.NQN); err != nil {
			return failed(err)
		}
	}
	ring, err := k.ring(name)
	if errors.Is(err, keyring.ErrMissing) { // it comes with the transport's module
		if failure := k.modprobe(ctx, "nvme-fabrics", "nvme-"+w.TID.Transport); failure != nil {
			return fmt.Errorf("cannot connect %s: %w; %v", w.TID, err, failure)
		}
		ring, err = k.ring(name)
	}
	if err != nil {
		return failed(err)
	}
	if named {
		keys.ring, keys.ownRing = ring, name == keyring.Default
	}
	switch {
	case !tls:
	case identified:
		if keys.tlsSerial, err = k.findKey(ring, identity); errors.Is(err, keyring.ErrNoKey) {
			err = fmt.Errorf("%w in the keyring %s: put it there, with nvme tls-key --import for one", err, cmp.Or(name, keyring.Default))
		}
		keys.mustKey = true
	case given.Value.IsSet():
		keys.tlsSerial, err = k.addKey(ring, key)
	}
	if err != nil {
		return failed(err)
	}
	return nil
}

// attempt is one connect.
func (k *Kernel) attempt(w wish.Wish, keys Keys) (Result, error) {
	s, dropped, err := OptionString(w, keys, baselineOptions())
	if err != nil || len(dropped) > 0 || keys.tlsSerial != 0 || keys.ring != 0 || w.Kind == tid.Discovery {
		known, err := k.options(w)
		if err != nil {
			return Result{}, err
		}
		if s, dropped, err = OptionString(w, keys, known); err != nil {
			return Result{}, err
		}
	}
	result, err := k.write(w, keys, s)
	result.Dropped = dropped
	return result, err
}

// options asks the kernel what it knows. Kernels before 5.17 answer EINVAL: they know the baseline at least.
func (k *Kernel) options(w wish.Wish) (map[string]bool, error) {
	device, err := k.open()
	if err != nil {
		return nil, unopened(w, err)
	}
	defer device.Close()
	template, err := io.ReadAll(io.LimitReader(device, 1<<16))
	switch {
	case errors.Is(err, syscall.EINVAL):
		return baselineOptions(), nil
	case err != nil:
		return nil, failed(w, secret.Set{}, err)
	}
	return ParseOptions(template), nil
}

// write makes the one write and the one read of a connect. The read follows a good write only: after a bad one the device
// reads as the template, which is no answer.
func (k *Kernel) write(w wish.Wish, keys Keys, s string) (Result, error) {
	device, err := k.open()
	if err != nil {
		return Result{}, unopened(w, err)
	}
	defer device.Close()
	if _, err := device.Write([]byte(s)); err != nil {
		return Result{}, failed(w, keys.Set, err)
	}
	reply := make([]byte, 4096)
	n, err := device.Read(reply)
	if err != nil {
		return Result{}, fmt.Errorf("cannot read which controller the kernel connected for %s: %w", w.TID, err)
	}
	return parseReply(reply[:n])
}

// lacksModule tells whether err may come from a kernel module that is not loaded.
func (k *Kernel) lacksModule(transport string, err error) bool {
	var refusal *Error
	if !errors.As(err, &refusal) {
		return false
	}
	switch refusal.Errno {
	case syscall.ENOENT, syscall.ENXIO: // no device node, or one with nothing behind it
		return true
	case syscall.ENODEV, syscall.EINVAL: // ENODEV also means a wrong host-iface, EINVAL any wrong option
		_, err := os.Stat(k.root.Module("nvme_" + transport))
		return errors.Is(err, fs.ErrNotExist)
	}
	return false
}

// modprobe loads kernel modules; those that are loaded or built in are no error.
func modprobe(ctx context.Context, root paths.Root, modules []string) error {
	cmd := exec.CommandContext(ctx, root.Modprobe(), append([]string{"-a"}, modules...)...)
	out, err := cmd.CombinedOutput()
	if err == nil {
		return nil
	}
	why := err.Error()
	if line, _, _ := strings.Cut(strings.TrimSpace(string(out)), "\n"); line != "" {
		why = line
	}
	return fmt.Errorf("cannot load the kernel modules %s: %s: install them with the kernel's package",
		strings.Join(modules, " and "), why)
}

// device is an open fabrics device. Every call is one system call: os.File would repeat a write that a signal interrupted,
// and each write is a connect.
type device int

func openDevice(path string) (io.ReadWriteCloser, error) {
	fd, err := syscall.Open(path, syscall.O_RDWR|syscall.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	return device(fd), nil
}

func (d device) Write(p []byte) (int, error) { return syscall.Write(int(d), p) }

func (d device) Read(p []byte) (int, error) {
	n, err := syscall.Read(int(d), p)
	switch {
	case err != nil:
		return 0, err
	case n == 0 && len(p) > 0:
		return 0, io.EOF
	}
	return n, nil
}

func (d device) Close() error { return syscall.Close(int(d)) }
