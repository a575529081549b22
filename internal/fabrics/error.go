// SPDX-License-Identifier: GPL-3.0-or-later

package fabrics

import (
	"errors"
	"fmt"
	"syscall"

	"github.com/nvme-discoverd/nvme-discoverd/internal/param"
	"github.com/nvme-discoverd/nvme-discoverd/internal/secret"
	"github.com/nvme-discoverd/nvme-discoverd/internal/tid"
	"github.com/nvme-discoverd/nvme-discoverd/internal/wish"
)

// Error is a connect that the kernel refused.
type Error struct {
	TID     tid.TID
	Errno   syscall.Errno
	Meaning string // what the kernel means by it, in words
	Advice  string // what a person can do about it
}

// Error says what failed, why, and what to do.
func (e *Error) Error() string {
	return fmt.Sprintf("cannot connect %s: %s (%s): %s", e.TID, e.Meaning, e.Errno.Error(), e.Advice)
}

// Unwrap makes the errno comparable with errors.Is.
func (e *Error) Unwrap() error { return e.Errno }

// refused returns the Error for errno, got for w with secrets from the write to the device. The meanings are measured
// ones; the kernel reuses a number for several causes and tells them apart in its log only.
func refused(w wish.Wish, secrets secret.Set, errno syscall.Errno) *Error {
	e := &Error{TID: w.TID, Errno: errno}
	_, tls := w.Params.Get(param.TLS)
	if errno == syscall.EACCES && tls {
		e.Meaning, e.Advice = noHandshake(secrets)
		return e
	}
	switch errno {
	case syscall.ECONNREFUSED:
		e.Meaning, e.Advice = "nothing listens at that address and port", "start the target, or correct traddr and trsvcid"
	case syscall.ENETUNREACH:
		e.Meaning, e.Advice = "this host has no route to the address", "check addresses and routes (ip route get "+w.TID.Traddr+")"
	case syscall.EHOSTUNREACH:
		e.Meaning, e.Advice = "no host answers at that address", "check that the target is up and cabled, and the traddr"
	case syscall.ETIMEDOUT:
		e.Meaning, e.Advice = "no answer from the target", "check that it is up, and firewalls on the way"
		if tls {
			e.Meaning, e.Advice = "no answer from the target, or no TLS at that port", "check that it is up, firewalls on the way, and that the port is set up for TLS"
		}
	case syscall.EAGAIN:
		e.Meaning, e.Advice = "the target accepted the connection and then stayed mute", "check that NVMe/TCP is what listens at that port, and the target's health"
	case syscall.ECONNRESET:
		e.Meaning, e.Advice = "the target closed the connection", "check the target's log; a port that demands TLS needs --tls"
		if w.TID.Transport == tid.RDMA {
			// nvme_rdma_cm_handler in the kernel's drivers/nvme/host/rdma.c has this one number for all that can go wrong.
			e.Meaning = "no RDMA device of this host reaches the address, or nothing listens there"
			e.Advice = "check the devices (rdma link) and the target; one whose own RDMA device was reset needs nvme-discoverctl nvmet heal there"
		}
	case syscall.EIO:
		e.Meaning, e.Advice = noEntry(secrets)
	case syscall.EALREADY:
		e.Meaning, e.Advice = "the kernel has such a connection already", "look for it in nvme-discoverctl status"
	case syscall.ENODEV:
		e.Meaning, e.Advice = "there is no such network interface", "check host-iface"
		if w.TID.HostIface == "" {
			e.Meaning, e.Advice = "there is no such device", "check the adapter and its driver"
		}
	case syscall.EADDRNOTAVAIL:
		e.Meaning, e.Advice = "the source address is not one of this host's", "check host-traddr"
	case syscall.EINVAL:
		e.Meaning, e.Advice = "the kernel refused an option, or hostnqn and hostid disagree with a pair in use", "see the kernel log (dmesg), which names it"
	case syscall.ENOKEY:
		e.Meaning, e.Advice = noKey(tls, secrets)
	case syscall.EKEYREJECTED:
		e.Meaning, e.Advice = keyRejected(secrets)
	case syscall.ESRCH:
		e.Meaning, e.Advice = "nothing does TLS handshakes on this host", "start tlshd (package ktls-utils)"
	case syscall.ENOENT:
		e.Meaning, e.Advice = "this kernel has no NVMe over Fabrics", "install and load the kernel module nvme-"+w.TID.Transport
	default:
		e.Meaning, e.Advice = "the kernel refused", "see the kernel log (dmesg)"
	}
	return e
}

// noHandshake says whose key the target may not take. The kernel has the number from tlshd, which ends every handshake that fails
// with it, whatever alert the target sent.
func noHandshake(secrets secret.Set) (meaning, advice string) {
	const look = "; the journal of tlshd.service may say more"
	if key := secrets[secret.TLS]; key.Value.IsSet() {
		return "the TLS handshake failed: the target may not have the tls-key from " + key.From, "give the key that the target has for this hostnqn, then reload" + look
	}
	return "the TLS handshake failed: the target may not have the key that the kernel's keyring .nvme has for this hostnqn", "put the one there that the target has" + look
}

// unopened gives an error of opening the device its meaning.
func unopened(w wish.Wish, err error) error {
	var errno syscall.Errno
	if errors.As(err, &errno) && (errno == syscall.EACCES || errno == syscall.EPERM) {
		return &Error{TID: w.TID, Errno: errno, Meaning: "only root may connect", Advice: "run it as root"}
	}
	return failed(w, secret.Set{}, err)
}

// UnknownOptionError tells that the kernel does not know an option without which the connection would be another one.
type UnknownOptionError struct {
	TID    tid.TID
	Option string // as the kernel spells it
}

func (e *UnknownOptionError) Error() string {
	return fmt.Sprintf("cannot connect %s: this kernel does not know the option %q: do without it, or use a kernel that has it", e.TID, e.Option)
}

// failed gives an error of the device its meaning.
func failed(w wish.Wish, secrets secret.Set, err error) error {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return refused(w, secrets, errno)
	}
	return fmt.Errorf("cannot connect %s: %w", w.TID, err)
}

// noEntry says what a target may have against this host that the kernel has one number for. A wrong secret is among it: a target
// that closes the connection right after it refused one may do so before its refusal is read (nvmet_ctrl_fatal_error in the
// kernel's drivers/nvme/target/core.c does).
func noEntry(secrets secret.Set) (meaning, advice string) {
	if host := secrets[secret.DHChap]; host.Value.IsSet() {
		return "the target does not know the subsystem, does not allow this host, or did not take the dhchap-secret from " + host.From,
			"check the nqn, that the target allows the hostnqn, and the secret; the kernel log (dmesg) may say more"
	}
	return "the target does not know the subsystem or does not allow this host",
		"check the nqn, and that the target allows the hostnqn; the kernel log (dmesg) may say more"
}

// noKey says which secret is missing, as far as the kernel's number tells.
func noKey(tls bool, secrets secret.Set) (meaning, advice string) {
	switch {
	case tls && !secrets[secret.TLS].Value.IsSet():
		return "there is no TLS key for this host and this subsystem", "give tls-key, or put one into the kernel's keyring .nvme"
	case !secrets[secret.DHChap].Value.IsSet():
		return "the target demands a DH-HMAC-CHAP secret", "give dhchap-secret, the one that the target has for this hostnqn"
	}
	return "a secret is missing beside " + secrets.String(), "give the one that the target demands"
}

// keyRejected says which secrets may be wrong, by where they are and never what they are.
func keyRejected(secrets secret.Set) (meaning, advice string) {
	host, ctrl := secrets[secret.DHChap], secrets[secret.DHChapCtrl]
	switch {
	case ctrl.Value.IsSet():
		return fmt.Sprintf("the target rejected the dhchap-secret from %s, or its own is not the dhchap-ctrl-secret from %s", host.From, ctrl.From),
			"give the secrets that the target has for this hostnqn, then reload"
	case host.Value.IsSet():
		return "the target rejected the dhchap-secret from " + host.From, "give the secret that the target has for this hostnqn, then reload"
	}
	return "the target rejected the DH-HMAC-CHAP secret", "give the secret that the target has for this hostnqn"
}
