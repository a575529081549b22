// SPDX-License-Identifier: GPL-3.0-or-later

package fabrics

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/nvme-discoverd/nvme-discoverd/internal/paths"
	"github.com/nvme-discoverd/nvme-discoverd/internal/secret"
	"github.com/nvme-discoverd/nvme-discoverd/internal/tid"
	"github.com/nvme-discoverd/nvme-discoverd/internal/wish"
)

// message is the text of err, "" for none.
func message(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func sorted(s []string) []string {
	s = slices.Clone(s)
	slices.Sort(s)
	return s
}

// fakeKernel answers as the fabrics device does: as the template before a write and after a failed one.
type fakeKernel struct {
	openErrs  []error // of the opens to come; none left: success
	writeErrs []error // of the writes to come
	template  string
	reply     string

	opens, modprobes int
	modules          []string
	written          []string
}

// fakeDevice is one open description.
type fakeDevice struct {
	kernel *fakeKernel
	reader *bytes.Reader
}

func next(errs *[]error) error {
	if len(*errs) == 0 {
		return nil
	}
	err := (*errs)[0]
	*errs = (*errs)[1:]
	return err
}

func (k *fakeKernel) open() (io.ReadWriteCloser, error) {
	k.opens++
	if err := next(&k.openErrs); err != nil {
		return nil, err
	}
	return &fakeDevice{k, bytes.NewReader([]byte(k.template))}, nil
}

func (d *fakeDevice) Write(p []byte) (int, error) {
	d.kernel.written = append(d.kernel.written, string(p))
	if err := next(&d.kernel.writeErrs); err != nil {
		return 0, err
	}
	d.reader = bytes.NewReader([]byte(d.kernel.reply))
	return len(p), nil
}

func (d *fakeDevice) Read(p []byte) (int, error) {
	if d.kernel.template == "" && len(d.kernel.written) == 0 {
		return 0, syscall.EINVAL
	}
	return d.reader.Read(p)
}

func (d *fakeDevice) Close() error { return nil }

func (k *fakeKernel) modprobe(_ context.Context, modules ...string) error {
	k.modprobes++
	k.modules = modules
	return nil
}

func TestConnect(t *testing.T) {
	const plain = "transport=tcp,traddr=192.0.2.1,trsvcid=4420,nqn=" + nqn
	for _, test := range []struct {
		name    string
		wish    wish.Wish
		kernel  fakeKernel
		loaded  bool // nvme_tcp
		want    Result
		err     string
		written []string
		opens   int
		modules []string
	}{
		{
			name: "plain: the kernel is not asked for its options", wish: ioc(t), loaded: true,
			want: Result{Device: "nvme3", CntlID: 1}, written: []string{plain}, opens: 1,
		},
		{
			name: "newer option", wish: ioc(t, "fast-io-fail-tmo", "5"), loaded: true,
			want: Result{Device: "nvme3", CntlID: 1}, written: []string{plain + ",fast_io_fail_tmo=5"}, opens: 2,
		},
		{
			name: "option unknown to the kernel", wish: ioc(t, "fast-io-fail-tmo", "5"), loaded: true,
			kernel: fakeKernel{template: "transport=%s,traddr=%s,trsvcid=%s,nqn=%s\n"},
			want:   Result{Device: "nvme3", CntlID: 1, Dropped: []string{"fast_io_fail_tmo"}}, written: []string{plain}, opens: 2,
		},
		{
			name: "kernel that cannot be asked", wish: dc("nqn.2014-08.org.nvmexpress.discovery"), loaded: true,
			kernel:  fakeKernel{template: "-"},
			want:    Result{Device: "nvme3", CntlID: 1},
			written: []string{"transport=tcp,traddr=192.0.2.1,trsvcid=8009,nqn=nqn.2014-08.org.nvmexpress.discovery"}, opens: 2,
		},
		{
			name: "refused", wish: ioc(t), loaded: true, kernel: fakeKernel{writeErrs: []error{syscall.ECONNREFUSED}},
			err:     "cannot connect (tcp, 192.0.2.1, 4420, nqn.2024-01.com.example:vol1): nothing listens at that address and port (connection refused): start the target, or correct traddr and trsvcid",
			written: []string{plain}, opens: 1,
		},
		{
			name: "transport not loaded", wish: ioc(t), kernel: fakeKernel{writeErrs: []error{syscall.EINVAL}},
			want: Result{Device: "nvme3", CntlID: 1}, written: []string{plain, plain}, opens: 2,
			modules: []string{"nvme-fabrics", "nvme-tcp"},
		},
		{
			name: "loaded once only", wish: ioc(t), kernel: fakeKernel{writeErrs: []error{syscall.EINVAL, syscall.EINVAL}},
			err:     "cannot connect (tcp, 192.0.2.1, 4420, nqn.2024-01.com.example:vol1): the kernel refused an option, or hostnqn and hostid disagree with a pair in use (invalid argument): see the kernel log (dmesg), which names it",
			written: []string{plain, plain}, opens: 2, modules: []string{"nvme-fabrics", "nvme-tcp"},
		},
		{
			name: "EINVAL although loaded", wish: ioc(t), loaded: true, kernel: fakeKernel{writeErrs: []error{syscall.EINVAL}},
			err:     "cannot connect (tcp, 192.0.2.1, 4420, nqn.2024-01.com.example:vol1): the kernel refused an option, or hostnqn and hostid disagree with a pair in use (invalid argument): see the kernel log (dmesg), which names it",
			written: []string{plain}, opens: 1,
		},
		{
			name: "no device", wish: ioc(t), kernel: fakeKernel{openErrs: []error{syscall.ENOENT}},
			want: Result{Device: "nvme3", CntlID: 1}, written: []string{plain}, opens: 2,
			modules: []string{"nvme-fabrics", "nvme-tcp"},
		},
		{
			name: "no device after all", wish: ioc(t), kernel: fakeKernel{openErrs: []error{syscall.ENOENT, syscall.ENOENT}},
			err:   "cannot connect (tcp, 192.0.2.1, 4420, nqn.2024-01.com.example:vol1): this kernel has no NVMe over Fabrics (no such file or directory): install and load the kernel module nvme-tcp",
			opens: 2, modules: []string{"nvme-fabrics", "nvme-tcp"},
		},
		{
			name: "not root", wish: ioc(t), kernel: fakeKernel{openErrs: []error{syscall.EACCES}},
			err:   "cannot connect (tcp, 192.0.2.1, 4420, nqn.2024-01.com.example:vol1): only root may connect (permission denied): run it as root",
			opens: 1,
		},
		{
			name: "no sense in the answer", wish: ioc(t), loaded: true, kernel: fakeKernel{reply: "instance=x,cntlid=1\n"},
			err:     `cannot understand "instance=x,cntlid=1\n", the kernel's answer to a connect: it should read instance=N,cntlid=M`,
			written: []string{plain}, opens: 1,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			fake := &test.kernel
			switch fake.template {
			case "":
				fake.template = template
			case "-": // reads as EINVAL
				fake.template = ""
			}
			if fake.reply == "" {
				fake.reply = "instance=3,cntlid=1\n"
			}
			root := paths.Root(t.TempDir())
			if test.loaded {
				if err := os.MkdirAll(root.Module("nvme_tcp"), 0o755); err != nil {
					t.Fatal(err)
				}
			}
			k := &Kernel{root: root, open: fake.open, modprobe: fake.modprobe}
			got, err := k.Connect(context.Background(), test.wish, secret.Set{})
			if diff := cmp.Diff(test.err, message(err)); diff != "" {
				t.Errorf("error (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(test.want, got); err == nil && diff != "" {
				t.Errorf("result (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(test.written, fake.written); diff != "" {
				t.Errorf("written (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(test.modules, fake.modules); diff != "" {
				t.Errorf("modules (-want +got):\n%s", diff)
			}
			if fake.opens != test.opens {
				t.Errorf("%d opens, want %d", fake.opens, test.opens)
			}
			if fake.modprobes > 1 {
				t.Errorf("%d modprobes", fake.modprobes)
			}
		})
	}
}

// TestMeanings holds the text of every errno that was measured, as an administrator gets to read it.
func TestMeanings(t *testing.T) {
	tls := ioc(t, "tls", "true")
	oneWay := secret.Set{secret.DHChap: {Value: value(t, secret.DHChap, dhchap), From: "/etc/nvme/keys/host"}}
	keyed := secret.Set{secret.TLS: {Value: value(t, secret.TLS, tlsKey), From: "/etc/nvme/keys/tls"}}
	bothWays := oneWay
	bothWays[secret.DHChapCtrl] = secret.Secret{Value: value(t, secret.DHChapCtrl, dhchap), From: "/etc/nvme/discoverd.conf:7"}
	iface := ioc(t)
	iface.TID.HostIface = "eth7"
	overRDMA := ioc(t)
	overRDMA.TID.Transport = tid.RDMA
	for _, test := range []struct {
		wish    wish.Wish
		errno   syscall.Errno
		want    string
		secrets secret.Set
	}{
		{ioc(t), syscall.ENETUNREACH, "this host has no route to the address (network is unreachable): check addresses and routes (ip route get 192.0.2.1)", secret.Set{}},
		{ioc(t), syscall.EHOSTUNREACH, "no host answers at that address (no route to host): check that the target is up and cabled, and the traddr", secret.Set{}},
		{ioc(t), syscall.ETIMEDOUT, "no answer from the target (connection timed out): check that it is up, and firewalls on the way", secret.Set{}},
		{tls, syscall.ETIMEDOUT, "no answer from the target, or no TLS at that port (connection timed out): check that it is up, firewalls on the way, and that the port is set up for TLS", secret.Set{}},
		{ioc(t), syscall.EAGAIN, "the target accepted the connection and then stayed mute (resource temporarily unavailable): check that NVMe/TCP is what listens at that port, and the target's health", secret.Set{}},
		{ioc(t), syscall.ECONNRESET, "the target closed the connection (connection reset by peer): check the target's log; a port that demands TLS needs --tls", secret.Set{}},
		{overRDMA, syscall.ECONNRESET, "no RDMA device of this host reaches the address, or nothing listens there (connection reset by peer): " +
			"check the devices (rdma link) and the target; one whose own RDMA device was reset needs nvme-discoverctl nvmet heal there", secret.Set{}},
		{ioc(t), syscall.EIO, "the target does not know the subsystem or does not allow this host (input/output error): check the nqn, and that the target allows the hostnqn; the kernel log (dmesg) may say more", secret.Set{}},
		{ioc(t), syscall.EIO, "the target does not know the subsystem, does not allow this host, or did not take the dhchap-secret from /etc/nvme/keys/host (input/output error): check the nqn, that the target allows the hostnqn, and the secret; the kernel log (dmesg) may say more", oneWay},
		{ioc(t), syscall.EALREADY, "the kernel has such a connection already (operation already in progress): look for it in nvme-discoverctl status", secret.Set{}},
		{iface, syscall.ENODEV, "there is no such network interface (no such device): check host-iface", secret.Set{}},
		{ioc(t), syscall.ENODEV, "there is no such device (no such device): check the adapter and its driver", secret.Set{}},
		{ioc(t), syscall.EADDRNOTAVAIL, "the source address is not one of this host's (cannot assign requested address): check host-traddr", secret.Set{}},
		{ioc(t), syscall.ENOKEY, "the target demands a DH-HMAC-CHAP secret (required key not available): give dhchap-secret, the one that the target has for this hostnqn", secret.Set{}},
		{ioc(t), syscall.EKEYREJECTED, "the target rejected the DH-HMAC-CHAP secret (key was rejected by service): give the secret that the target has for this hostnqn", secret.Set{}},
		{tls, syscall.ESRCH, "nothing does TLS handshakes on this host (no such process): start tlshd (package ktls-utils)", secret.Set{}},
		{tls, syscall.EACCES, "the TLS handshake failed: the target may not have the tls-key from /etc/nvme/keys/tls (permission denied): give the key that the target has for this hostnqn, then reload; the journal of tlshd.service may say more", keyed},
		{tls, syscall.EACCES, "the TLS handshake failed: the target may not have the key that the kernel's keyring .nvme has for this hostnqn (permission denied): put the one there that the target has; the journal of tlshd.service may say more", secret.Set{}},
		{ioc(t), syscall.ENOSPC, "the kernel refused (no space left on device): see the kernel log (dmesg)", secret.Set{}},
		{ioc(t), syscall.EKEYREJECTED, "the target rejected the dhchap-secret from /etc/nvme/keys/host (key was rejected by service): give the secret that the target has for this hostnqn, then reload", oneWay},
		{ioc(t), syscall.EKEYREJECTED, "the target rejected the dhchap-secret from /etc/nvme/keys/host, or its own is not the dhchap-ctrl-secret from /etc/nvme/discoverd.conf:7 (key was rejected by service): give the secrets that the target has for this hostnqn, then reload", bothWays},
		{ioc(t), syscall.ENOKEY, "a secret is missing beside dhchap-secret from /etc/nvme/keys/host (required key not available): give the one that the target demands", oneWay},
		{tls, syscall.ENOKEY, "there is no TLS key for this host and this subsystem (required key not available): give tls-key, or put one into the kernel's keyring .nvme", oneWay},
	} {
		e := refused(test.wish, test.secrets, test.errno)
		if diff := cmp.Diff("cannot connect "+test.wish.TID.String()+": "+test.want, e.Error()); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
}

func TestModprobe(t *testing.T) {
	root := paths.Root(t.TempDir())
	err := modprobe(context.Background(), root, []string{"nvme-fabrics", "nvme-tcp"})
	want := "cannot load the kernel modules nvme-fabrics and nvme-tcp: fork/exec " + root.Modprobe() + ": no such file or directory: install them with the kernel's package"
	if diff := cmp.Diff(want, message(err)); diff != "" {
		t.Errorf("no modprobe (-want +got):\n%s", diff)
	}
	// Any program will do that prints its arguments; false prints none and fails.
	for name, want := range map[string]string{
		"/bin/echo":  "",
		"/bin/false": "cannot load the kernel modules nvme-fabrics and nvme-tcp: exit status 1: install them with the kernel's package",
	} {
		os.MkdirAll(filepath.Dir(root.Modprobe()), 0o755)
		os.Remove(root.Modprobe())
		if err := os.Symlink(name, root.Modprobe()); err != nil {
			t.Fatal(err)
		}
		err := modprobe(context.Background(), root, []string{"nvme-fabrics", "nvme-tcp"})
		if diff := cmp.Diff(want, message(err)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// TestDevice reads and writes through the real system calls, on a file.
func TestDevice(t *testing.T) {
	root := paths.Root(t.TempDir())
	_, err := New(root).Connect(context.Background(), ioc(t), secret.Set{})
	want := "cannot connect (tcp, 192.0.2.1, 4420, " + nqn + "): this kernel has no NVMe over Fabrics (no such file or directory): " +
		"install and load the kernel module nvme-tcp; cannot load the kernel modules nvme-fabrics and nvme-tcp: fork/exec " + root.Modprobe() +
		": no such file or directory: install them with the kernel's package"
	if diff := cmp.Diff(want, message(err)); diff != "" {
		t.Errorf("without a device (-want +got):\n%s", diff)
	}
	path := filepath.Join(t.TempDir(), "device")
	if err := os.WriteFile(path, []byte("instance=1"), 0o600); err != nil {
		t.Fatal(err)
	}
	d, err := openDevice(path)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	b, err := io.ReadAll(d)
	if string(b) != "instance=1" || err != nil {
		t.Errorf("read %q, %v", b, err)
	}
	if n, err := d.Write([]byte("x")); n != 1 || err != nil {
		t.Errorf("write %d, %v", n, err)
	}
	if _, err := openDevice(path + ".no"); !errors.Is(err, syscall.ENOENT) {
		t.Errorf("open: %v", err)
	}
}
