// SPDX-License-Identifier: GPL-3.0-or-later

// Package connect is what the commands of a unit do (docs/design.md, "Unit of a connection"): connect one controller and leave a record of it,
// disconnect the one that was recorded and no other, and clean the record up.
//
// It never sees the daemon: what the two have to tell each other is in the files of packages state and registry.
package connect

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/nvme-discoverd/nvme-discoverd/internal/exclusion"
	"github.com/nvme-discoverd/nvme-discoverd/internal/fabrics"
	"github.com/nvme-discoverd/nvme-discoverd/internal/param"
	"github.com/nvme-discoverd/nvme-discoverd/internal/paths"
	"github.com/nvme-discoverd/nvme-discoverd/internal/registry"
	"github.com/nvme-discoverd/nvme-discoverd/internal/secret"
	"github.com/nvme-discoverd/nvme-discoverd/internal/state"
	"github.com/nvme-discoverd/nvme-discoverd/internal/sysfs"
	"github.com/nvme-discoverd/nvme-discoverd/internal/tid"
	"github.com/nvme-discoverd/nvme-discoverd/internal/wish"
)

// Kernel connects controllers: *fabrics.Kernel, or a stand-in in tests.
type Kernel interface {
	Connect(ctx context.Context, w wish.Wish, secrets secret.Set) (fabrics.Result, error)
}

// Connector connects and disconnects controllers of one host.
type Connector struct {
	root     paths.Root
	kernel   Kernel
	sysfs    sysfs.Reader
	state    state.Dir
	registry registry.Registry
	warn     func(error)
	// systemState returns systemd's word for the state of the system, such as "running".
	systemState func() (string, error)
	// autoconnects tells whether nvme-cli's automatic connects are in force or run.
	autoconnects func() (bool, error)
}

// New returns a Connector for the host at root. What goes wrong beside the job itself is given to warn.
func New(root paths.Root, kernel Kernel, warn func(error)) *Connector {
	c := &Connector{root: root, kernel: kernel, sysfs: sysfs.NewReader(root), state: state.New(root), registry: registry.New(root), warn: warn}
	c.systemState, c.autoconnects = c.systemctlState, c.systemctlAutoconnects
	return c
}

// Request is one connect.
type Request struct {
	Wish       wish.Wish // an empty Owner leaves the controller unowned
	Idempotent bool      // a controller that serves the wish already is a success, not an error
	Unit       string    // the unit that the controller is recorded for; empty for none
	DevidFile  string    // empty, or the path of the unit's devid file: it is said on command lines, not chosen there

	SecretsFile string     // empty, or the path of the unit's file of secrets, likewise
	Secrets     secret.Set // further ones, which go before those of the file
}

// Connect connects what req wishes for and returns its device, nvmeN. With a unit, an error is also left in the unit's
// .result file, unless it is the unit that is wrong; and so is that the process was killed. A *fabrics.Error is in the error's
// chain if the kernel refused.
func (c *Connector) Connect(ctx context.Context, req Request) (device string, err error) {
	if err := c.checkUnit(req); err != nil {
		return "", err
	}
	device, err = c.connect(ctx, req)
	if req.Unit != "" {
		c.leaveResult(req.Unit, err)
	}
	return device, err
}

func (c *Connector) connect(ctx context.Context, req Request) (string, error) {
	if err := checkWish(&req.Wish); err != nil {
		return "", err
	}
	unlock, warn, err := c.enter(ctx, req)
	if err != nil {
		return "", err
	}
	defer unlock()
	found, unread, err := c.look(req)
	if err != nil {
		return "", err
	}
	if found != "" {
		return found, c.claim(req, found)
	}
	if err := c.inTheWay(req, unread); err != nil {
		return "", err
	}
	if err := c.permitted(req.Wish, warn); err != nil {
		return "", err
	}

	secrets, err := c.secrets(req)
	if err != nil {
		return "", err
	}
	result, err := c.ask(ctx, req, secrets)
	if errors.Is(err, syscall.EINVAL) {
		result, err = c.asHolder(ctx, req, secrets, err)
	}
	if errors.Is(err, syscall.EALREADY) {
		return c.already(req, err)
	}
	if err != nil {
		return "", err
	}
	if len(result.Dropped) > 0 {
		c.warn(fmt.Errorf("cannot set %s of %s: this kernel does not know it; connected without", strings.Join(result.Dropped, " and "), result.Device))
	}
	// An entry that is there by now is one of an earlier controller of this name.
	if _, err := c.registry.Remove(result.Device); err != nil {
		return "", recordError(result.Device, err)
	}
	return result.Device, c.record(req, result.Device)
}

// enter takes the lock. Where that takes time, or fails, it looks first: then those need not wait who have nothing to wait for.
// What counts is the look under the lock. warn is for what is to be told of the lists that this look reads.
func (c *Connector) enter(ctx context.Context, req Request) (unlock func(), warn func(error), err error) {
	if unlock, err = c.tryLock(req.Wish); err == nil {
		return unlock, c.warn, nil
	}
	found, _, err := c.look(req)
	if err != nil {
		return nil, nil, err
	}
	warn = c.warn
	if found == "" {
		if err := c.permitted(req.Wish, c.warn); err != nil {
			return nil, nil, err
		}
		warn = func(error) {} // they have been told
	}
	unlock, err = c.lock(ctx, req.Wish)
	return unlock, warn, err
}

// unfinished is why a connect failed that had no end.
const unfinished = "the connect was killed, or not done within the unit's start timeout"

// ask asks the kernel. That it did not answer is said in advance, since what is killed cannot say it; where there is no room to
// say it, that is told at the end. The room is free again when the connection is to be recorded.
func (c *Connector) ask(ctx context.Context, req Request, secrets secret.Set) (fabrics.Result, error) {
	if req.Unit != "" {
		_ = c.state.WriteResult(req.Unit, state.Result{Meaning: unfinished, Time: time.Now().UTC()})
		defer func() { _ = c.state.ClearResult(req.Unit) }()
	}
	return c.kernel.Connect(ctx, req.Wish, secrets)
}

// checkUnit checks what could become a path.
func (c *Connector) checkUnit(req Request) error {
	if req.Unit == "" {
		if req.DevidFile != "" {
			return fmt.Errorf("cannot write %s without the unit that it belongs to: give --unit too", req.DevidFile)
		}
		if req.SecretsFile != "" {
			return fmt.Errorf("cannot read %s without the unit that it belongs to: give --unit too", req.SecretsFile)
		}
		return nil
	}
	file, err := c.state.DevidFile(req.Unit)
	if err != nil {
		return err
	}
	if req.DevidFile != "" && req.DevidFile != file {
		return fmt.Errorf("cannot use %s as the devid file of %s: it must be %s", req.DevidFile, req.Unit, file)
	}
	if file, err = c.state.SecretsFile(req.Unit); err != nil {
		return err
	}
	if req.SecretsFile != "" && req.SecretsFile != file {
		return fmt.Errorf("cannot use %s as the secrets of %s: it must be %s", req.SecretsFile, req.Unit, file)
	}
	return nil
}

// secrets returns what to connect with.
func (c *Connector) secrets(req Request) (set secret.Set, err error) {
	if req.SecretsFile != "" {
		if set, err = c.state.Secrets(req.Unit); err != nil {
			return secret.Set{}, err
		}
	}
	for k, s := range req.Secrets {
		if s.Value.IsSet() {
			set[k] = s
		}
	}
	return set, nil
}

// checkWish checks and normalises what goes to the kernel and the registry.
func checkWish(w *wish.Wish) (err error) {
	if w.Owner != "" && !w.Owner.Ours() {
		return fmt.Errorf("cannot connect for owner %q: it must be %s or %s", w.Owner, wish.OwnerDiscoverd, wish.OwnerNBFT)
	}
	w.TID, err = tid.New(w.TID, w.Kind)
	return err
}

// look returns the controller that serves the wish and that req may use, "" when there is none; then also those of which that
// cannot be told.
func (c *Connector) look(req Request) (device string, unread []sysfs.Unread, err error) {
	if duplicates(req) && !req.Idempotent {
		return "", nil, nil // the second connection is what is asked for
	}
	controller, found, unread, err := c.sysfs.Serving(req.Wish.TID)
	if err != nil || !found {
		return "", unread, err
	}
	if !req.Idempotent {
		return "", nil, fmt.Errorf("cannot connect %s: it is already connected as %s", req.Wish.TID, controller.Name)
	}
	owner, err := c.registry.Owner(controller.Name)
	if err != nil {
		return "", nil, err
	}
	if c.foreign(owner) {
		return "", nil, fmt.Errorf("cannot connect %s: it is connected as %s, which is owned by %s", req.Wish.TID, controller.Name, owner)
	}
	return controller.Name, nil, nil
}

func duplicates(req Request) bool {
	_, duplicate := req.Wish.Params.Get(param.DuplicateConnect)
	return duplicate
}

// inTheWay tells whether one of the controllers that cannot be read may be the very connection that is asked for: one that
// leads to the same target address, or that does as far as is known. A controller that hangs should keep no others from being
// connected, so those do not count that belong to another unit. But one connection may be what two wishes ask for, pinned
// and not, and then only the kernel tells: its transports, but for loop, refuse a second one to an I/O controller, and never
// one to a discovery controller.
func (c *Connector) inTheWay(req Request, unread []sysfs.Unread) error {
	kernelTells := req.Wish.Kind == tid.IO && req.Wish.TID.Transport != tid.Loop && !duplicates(req)
	for _, u := range unread {
		if !u.Alike && kernelTells {
			continue
		}
		holder, err := c.state.UnitOf(u.Name)
		if others := err == nil && req.Unit != "" && holder != "" && holder != req.Unit; others && (!u.Alike || kernelTells) {
			continue
		}
		return fmt.Errorf("cannot tell whether %s is connected as %s already: %w", req.Wish.TID, u.Name, u.Err)
	}
	return nil
}

// claim records a controller that look found. An owner's entry that is there stays, except that of nvme-cli's automatic
// connects: look has found that they are not in force.
func (c *Connector) claim(req Request, device string) error {
	owner, err := c.registry.Owner(device)
	if err != nil {
		return recordError(device, err)
	}
	if owner != "" && wish.Owner(owner) != wish.OwnerAutoconnect {
		req.Wish.Owner = ""
	}
	if err := c.free(req, device); err != nil {
		return err
	}
	return c.record(req, device)
}

// free tells why device cannot be recorded for req: the kernel is reconnecting it, and another unit has it, or nobody has and the
// wish pins a path. Until it is live no source address is shown, and it may serve the other unit's wish, or another path, and not this one.
func (c *Connector) free(req Request, device string) error {
	holder, err := c.state.UnitOf(device)
	if err != nil || req.Unit == "" || holder == req.Unit {
		return err
	}
	controller, err := c.sysfs.Read(device)
	switch {
	case err != nil || controller.State == "live":
		return err
	case holder != "":
		return fmt.Errorf("cannot tell yet whether %s serves %s: it is %s's and in state %s", device, req.Wish.TID, holder, controller.State)
	case !controller.ServesSurely(req.Wish.TID):
		return fmt.Errorf("cannot tell yet whether %s serves %s: it is in state %s and does not show its source address", device, req.Wish.TID, controller.State)
	}
	return nil
}

// permitted reads the exclusion lists on disk: this check counts, the daemon's own is a courtesy. Lists that cannot be read
// exclude nothing.
func (c *Connector) permitted(w wish.Wish, warn func(error)) error {
	list, errs := exclusion.Load(c.root)
	for _, err := range errs {
		warn(err)
	}
	if entry, excluded := list.Match(w.TID); excluded {
		return fmt.Errorf("cannot connect %s: it is excluded by %q in %s:%d", w.TID, entry.Text, entry.File, entry.Line)
	}
	return nil
}

// already resolves EALREADY: another program connected between our look and our write, or the kernel's idea of a duplicate
// is wider than ours.
func (c *Connector) already(req Request, refusal error) (string, error) {
	found, unread, err := c.look(req)
	if err != nil {
		return "", err
	}
	if found != "" {
		return found, c.claim(req, found)
	}
	if len(unread) > 0 {
		return "", fmt.Errorf("%w; it may be %s: %v", refusal, unread[0].Name, unread[0].Err)
	}
	return "", fmt.Errorf("%w; no controller in sysfs serves it, so one of another host-traddr or host-iface is in the way: disconnect that, or pin this one or allow it with --duplicate-connect", refusal)
}

// record writes down that device was connected for req: first whose it is, then for the unit where it is.
func (c *Connector) record(req Request, device string) error {
	if req.Wish.Owner != "" {
		// It parts the events of this controller from those of an earlier one of the same name.
		seqnum, err := c.sysfs.UeventSeqnum()
		if err != nil {
			return recordError(device, err)
		}
		entry := map[string]string{
			registry.Owner:  string(req.Wish.Owner),
			registry.Seqnum: strconv.FormatUint(seqnum, 10),
		}
		if err := c.registry.Create(device, entry); err != nil {
			return recordError(device, err)
		}
	}
	if req.Unit == "" {
		return nil
	}
	if err := c.state.WriteDevid(req.Unit, device); err != nil {
		return recordError(device, err)
	}
	if err := c.state.Bind(device, req.Unit); err != nil {
		return recordError(device, err)
	}
	return nil
}

// recordError says that the controller is there all the same: a retry with --idempotent finds it and records it.
func recordError(device string, err error) error {
	return fmt.Errorf("cannot record %s, which is connected: %w", device, err)
}

// leaveResult tells the daemon why the unit failed, which systemd forgets with the unit.
func (c *Connector) leaveResult(unit string, err error) {
	var warning error
	if err == nil {
		warning = c.state.ClearResult(unit)
	} else {
		result := state.Result{Meaning: err.Error(), Time: time.Now().UTC()}
		var refusal *fabrics.Error
		if errors.As(err, &refusal) {
			result.Errno, result.Meaning = int(refusal.Errno), refusal.Meaning
		}
		var unknown *fabrics.UnknownOptionError
		if errors.As(err, &unknown) {
			result.Lacks = unknown.Option
		}
		warning = c.state.WriteResult(unit, result)
	}
	if warning != nil {
		c.warn(warning)
	}
}
