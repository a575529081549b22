// SPDX-License-Identifier: GPL-3.0-or-later

package cli

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/spf13/pflag"
	"pgregory.net/rapid"

	"github.com/nvme-discoverd/nvme-discoverd/internal/config"
	"github.com/nvme-discoverd/nvme-discoverd/internal/param"
	"github.com/nvme-discoverd/nvme-discoverd/internal/paths"
	"github.com/nvme-discoverd/nvme-discoverd/internal/tid"
	"github.com/nvme-discoverd/nvme-discoverd/internal/wish"
)

// drawWish returns any wish that a source of the desired set could have made.
func drawWish(t *rapid.T) wish.Wish {
	draw := func(label string, values ...string) string { return rapid.SampledFrom(values).Draw(t, label) }
	word := rapid.StringMatching(`[!-+\--~]{1,20}`) // printable, without the comma
	name := func(label string) string { return "nqn." + word.Draw(t, label) }

	w := wish.Wish{Kind: rapid.SampledFrom([]tid.Kind{tid.IO, tid.Discovery}).Draw(t, "kind")}
	w.TID = tid.TID{
		Transport:  draw("transport", tid.TCP, tid.RDMA, tid.FC, tid.Loop),
		Traddr:     draw("traddr", "192.0.2.1", "2001:db8::1", "fe80::1%eth0"),
		Trsvcid:    draw("trsvcid", "", "1", "4420", "65535"),
		NQN:        name("nqn"),
		HostTraddr: draw("host-traddr", "", "192.0.2.9", "2001:db8::9"),
		HostIface:  draw("host-iface", "", "eth0", "-d"),
	}
	if rapid.Bool().Draw(t, "identity") {
		w.TID.HostNQN, w.TID.HostID = name("hostnqn"), rapid.StringMatching(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`).Draw(t, "hostid")
	}
	if w.TID.Transport == tid.FC {
		w.TID.Traddr = "nn-0x20000000C9A1B2C3,pn-0x10000000C9A1B2C3"
		if w.TID.HostTraddr != "" {
			w.TID.HostTraddr = "nn-20:00:00:00:c9:a1:b2:c4:pn-10:00:00:00:c9:a1:b2:c4"
		}
	}
	if w.Kind == tid.Discovery && rapid.Bool().Draw(t, "well-known") {
		w.TID.NQN = ""
	}
	for _, p := range param.All() {
		if !rapid.Bool().Draw(t, p.String()) {
			continue
		}
		info := p.Info()
		value := rapid.SampledFrom([]string{"true", "false"}).Draw(t, info.Name+" value")
		if info.Form != param.Switch {
			value = rapid.Custom(func(t *rapid.T) string {
				return strconv.Itoa(rapid.IntRange(info.Min, info.Max).Draw(t, "number"))
			}).Draw(t, info.Name+" value")
		}
		var err error
		if w.Params, err = w.Params.With(p, value); err != nil {
			t.Fatal(err)
		}
	}
	var err error
	if w.TID, err = tid.New(w.TID, w.Kind); err != nil {
		t.Fatal(err)
	}
	return w
}

// TestSameValues: a parameter takes the same on the command line as in both configuration files, and means the same by it.
func TestSameValues(t *testing.T) {
	root := paths.Root(t.TempDir())
	write(t, root.HostNQN(), "nqn.2014-08.org.nvmexpress:uuid:6f1e3a2c-0000-4000-8000-000000000001\n")
	write(t, root.HostID(), "6f1e3a2c-0000-4000-8000-000000000001\n")
	files := map[string]string{ // how each sets a parameter for all I/O controllers
		root.Join("etc/nvme/discoverd.conf"):    "[io-controller-defaults]\n%s = %q\n",
		root.Join("etc/nvme/nvme-fabrics.conf"): "[I/O Controller Defaults]\n%s = %s\n",
	}
	for _, p := range param.All() {
		var taken []string
		for _, value := range []string{
			"-1", "0", "1", "08", "15", "16", "1024", "65535", "65536", "2147483647", "2147483648", "99999999999999999999", "1.5",
			"90s", "1min 30s", "1.5h", "1500ms", "1y", "100y", "infinity", "-5min", "true", "off", "YES", "text", "NVMe1R01 a b",
		} {
			var f wishFlags
			flags := pflag.NewFlagSet("connect", pflag.ContinueOnError)
			f.add(flags)
			if err := flags.Parse([]string{"--transport=tcp", "--traddr=192.0.2.1", "--nqn=nqn.2024-01.a", "--" + p.String() + "=" + value}); err != nil {
				t.Fatal(err)
			}
			w, refused := f.wish(&app{root: root})
			if refused == nil {
				taken = append(taken, value)
			}
			for file, format := range files {
				for other := range files {
					write(t, other, "")
				}
				write(t, file, fmt.Sprintf(format, p, value))
				c, err := config.Load(root, "")
				want, _ := w.Params.Get(p)
				switch got, _ := c.Discovered.IO.Get(p); {
				case refused == nil && (err != nil || got != want):
					t.Errorf("%s = %s is %q on the command line, and %q in %s, %v", p, value, want, got, file, err)
				case refused != nil && (err == nil || !strings.HasSuffix(err.Error(), refused.Error())):
					t.Errorf("%s = %s is %q in %s, %v; on the command line it is refused: %v", p, value, got, file, err, refused)
				}
			}
		}
		if span := slices.Contains(taken, "1min 30s"); len(taken) == 0 || span != (p.Info().Form == param.Seconds || p.Info().Form == param.Text) {
			t.Errorf("the command line takes %q for %s", taken, p)
		}
	}
}

// TestConnectSecrets: secrets come by file, and no command line has one.
func TestConnectSecrets(t *testing.T) {
	root := paths.Root(t.TempDir())
	good, open := root.Join("good"), root.Join("open")
	write(t, good, "DHHC-1:01:YmJiYmJiYmJiYmJiYmJiYmJiYmJiYmJiYmJiYmJiYmLUSf1H:\n")
	write(t, open, "hunter2\n")
	if err := os.Chmod(good, 0o600); err != nil {
		t.Fatal(err)
	}
	connect := []string{"connect", "--transport=tcp", "--traddr=192.0.2.1", "--nqn=nqn.2024-01.a"}
	for _, test := range []struct {
		option, given, stderr string
		status                int
	}{
		{"--dhchap-secret-file=" + good, "dhchap-secret from " + good, "", Done},
		{"--dhchap-ctrl-secret-file=" + good, "dhchap-ctrl-secret from " + good, "", Done},
		{"--tls-key-file=" + good, "", "cannot use " + good + " as tls-key: it does not begin with NVMeTLSkey-1:\n", Failed},
		{"--dhchap-secret-file=" + open, "", "cannot use " + open + " as dhchap-secret: its mode 0644 lets others than its owner at the secret: chmod 600 it\n", Failed},
		{"-ChunterTwo", "", "cannot take a secret from the command line, which everybody can read: put it into a file of mode 0600 and give --dhchap-ctrl-secret-file: see nvme-discoverctl connect --help\n", Usage},
		{"--dhchap-secret=hunter2", "", "cannot take a secret from the command line, which everybody can read: put it into a file of mode 0600 and give --dhchap-secret-file: see nvme-discoverctl connect --help\n", Usage},
	} {
		fake := &fakeConnector{}
		status, _, stderr := run(fake, root, append(connect, test.option)...)
		if status != test.status || stderr != test.stderr || fake.request.Secrets.String() != test.given {
			t.Errorf("%s: status %d, stderr %q, given %q; want %d, %q, %q", test.option, status, stderr, fake.request.Secrets, test.status, test.stderr, test.given)
		}
	}
}

// TestArgsAreTheInverse: what a unit's command line says is what its wish said.
func TestArgsAreTheInverse(t *testing.T) {
	root := paths.Root(t.TempDir()) // without an identity of the host that could be put in
	rapid.Check(t, func(t *rapid.T) {
		want := drawWish(t)
		want.Owner = rapid.SampledFrom([]wish.Owner{"", wish.OwnerDiscoverd, wish.OwnerNBFT}).Draw(t, "owner")
		fake := &fakeConnector{}
		args := wish.Escape(append([]string{"connect", "--owner=" + string(want.Owner)}, want.Args()...))
		if status, _, stderr := run(fake, root, args...); status != Done {
			t.Fatalf("%q: status %d: %s", args, status, stderr)
		}
		if fake.request.Wish != want {
			t.Fatalf("%q gave\n%+v, want\n%+v", args, fake.request.Wish, want)
		}
	})
}

// TestIdentityOfAnotherSystem: the identity files as editors of other systems write them.
func TestIdentityOfAnotherSystem(t *testing.T) {
	root := configTree(t, map[string]string{
		"etc/nvme/hostnqn": "\ufeffnqn.2024-01.com.example:host\r\nsomething else\r\n",
		"etc/nvme/hostid":  "\ufeff11111111-2222-4333-8444-555555555555\r\n",
	})
	f := tidFlags{tid: tid.TID{Transport: tid.TCP, Traddr: "192.0.2.1", NQN: "nqn.a"}}
	got, err := f.readWithHost(&app{root: root})
	if err != nil || got.HostNQN != "nqn.2024-01.com.example:host" || got.HostID != "11111111-2222-4333-8444-555555555555" {
		t.Errorf("%q, %q, %v", got.HostNQN, got.HostID, err)
	}
}
