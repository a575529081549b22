// SPDX-License-Identifier: GPL-3.0-or-later

package fabrics

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/nvme-discoverd/nvme-discoverd/internal/param"
	"github.com/nvme-discoverd/nvme-discoverd/internal/tid"
	"github.com/nvme-discoverd/nvme-discoverd/internal/wish"
)

// template is what /dev/nvme-fabrics of Linux 6.12 reads as.
const template = "instance=-1,cntlid=-1,transport=%s,traddr=%s,trsvcid=%s,nqn=%s,queue_size=%d,nr_io_queues=%d," +
	"reconnect_delay=%d,ctrl_loss_tmo=%d,keep_alive_tmo=%d,hostnqn=%s,host_traddr=%s,host_iface=%s,hostid=%s," +
	"duplicate_connect,disable_sqflow,hdr_digest,data_digest,nr_write_queues=%d,nr_poll_queues=%d,tos=%d,keyring=%d," +
	"tls_key=%d,fast_io_fail_tmo=%d,discovery,dhchap_secret=%s,dhchap_ctrl_secret=%s,tls\n"

const nqn = "nqn.2024-01.com.example:vol1"

// ioc returns a wish for an I/O controller with parameters given as name, value, name, value, ….
func ioc(t *testing.T, params ...string) wish.Wish {
	t.Helper()
	w := wish.Wish{TID: tid.TID{Transport: "tcp", Traddr: "192.0.2.1", Trsvcid: "4420", NQN: nqn}}
	for i := 0; i < len(params); i += 2 {
		p, ok := param.ByName(params[i])
		if !ok {
			t.Fatalf("no parameter %q", params[i])
		}
		var err error
		if w.Params, err = w.Params.With(p, params[i+1]); err != nil {
			t.Fatal(err)
		}
	}
	return w
}

// dc returns a wish for a discovery controller.
func dc(nqn string) wish.Wish {
	return wish.Wish{Kind: tid.Discovery, TID: tid.TID{Transport: "tcp", Traddr: "192.0.2.1", Trsvcid: "8009", NQN: nqn}}
}

func TestOptionString(t *testing.T) {
	full := ioc(t, "keep-alive-tmo", "30", "ctrl-loss-tmo", "-1", "nr-io-queues", "4", "hdr-digest", "true", "tls", "true")
	full.TID.HostTraddr, full.TID.HostIface = "192.0.2.9", "eth0"
	full.TID.HostNQN, full.TID.HostID = "nqn.2014-08.org.nvmexpress:uuid:1", "1"
	bad := func(change func(*tid.TID)) wish.Wish {
		w := ioc(t)
		change(&w.TID)
		return w
	}
	without := func(names ...string) map[string]bool {
		known := ParseOptions([]byte(template))
		for _, name := range names {
			delete(known, name)
		}
		return known
	}
	for _, test := range []struct {
		name    string
		wish    wish.Wish
		known   map[string]bool
		want    string
		dropped []string
		err     string
	}{
		{
			name: "plain", wish: ioc(t), known: without(),
			want: "transport=tcp,traddr=192.0.2.1,trsvcid=4420,nqn=" + nqn,
		},
		{
			name: "everything", wish: full, known: without(),
			want: "transport=tcp,traddr=192.0.2.1,trsvcid=4420,nqn=" + nqn + ",hostnqn=nqn.2014-08.org.nvmexpress:uuid:1,hostid=1," +
				"host_traddr=192.0.2.9,host_iface=eth0,keep_alive_tmo=30,ctrl_loss_tmo=-1,nr_io_queues=4,hdr_digest,tls",
		},
		{
			name: "well-known DC", wish: dc(tid.DiscoveryNQN), known: without(),
			want: "transport=tcp,traddr=192.0.2.1,trsvcid=8009,nqn=nqn.2014-08.org.nvmexpress.discovery,discovery",
		},
		{
			name: "well-known DC on an old kernel", wish: dc(tid.DiscoveryNQN), known: without("discovery"),
			want: "transport=tcp,traddr=192.0.2.1,trsvcid=8009,nqn=nqn.2014-08.org.nvmexpress.discovery",
		},
		{
			name: "DC by its own NQN", wish: dc(nqn), known: without(),
			want: "transport=tcp,traddr=192.0.2.1,trsvcid=8009,nqn=" + nqn + ",discovery",
		},
		{
			name: "DC by its own NQN on an old kernel", wish: dc(nqn), known: without("discovery"),
			err: `cannot connect (tcp, 192.0.2.1, 8009, nqn.2024-01.com.example:vol1): this kernel does not know the option "discovery": do without it, or use a kernel that has it`,
		},
		{
			name: "unknown and harmless", wish: ioc(t, "fast-io-fail-tmo", "5", "tos", "8"), known: without("fast_io_fail_tmo", "tos"),
			want: "transport=tcp,traddr=192.0.2.1,trsvcid=4420,nqn=" + nqn, dropped: []string{"tos", "fast_io_fail_tmo"},
		},
		{
			name: "unknown tls", wish: ioc(t, "tls", "true"), known: without("tls"),
			err: `cannot connect (tcp, 192.0.2.1, 4420, nqn.2024-01.com.example:vol1): this kernel does not know the option "tls": do without it, or use a kernel that has it`,
		},
		{
			name: "unknown concat", wish: ioc(t, "concat", "true"), known: without(),
			err: `cannot connect (tcp, 192.0.2.1, 4420, nqn.2024-01.com.example:vol1): this kernel does not know the option "concat": do without it, or use a kernel that has it`,
		},
		{
			name: "comma", wish: bad(func(t *tid.TID) { t.NQN = "a,tls" }), known: without(),
			err: `cannot use nqn "a,tls": it contains ',', which would end the option in the kernel's eyes`,
		},
		{
			name: "line feed", wish: bad(func(t *tid.TID) { t.HostIface = "a\nb" }), known: without(),
			err: `cannot use host_iface "a\nb": it contains '\n', which would end the option in the kernel's eyes`,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, dropped, err := OptionString(test.wish, Keys{}, test.known)
			if diff := cmp.Diff(test.err, message(err)); diff != "" {
				t.Errorf("error (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("options (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(append([]string{}, sorted(test.dropped)...), append([]string{}, sorted(dropped)...)); diff != "" {
				t.Errorf("dropped (-want +got):\n%s", diff)
			}
		})
	}
}

func TestParseOptions(t *testing.T) {
	known := ParseOptions([]byte(template))
	for _, name := range append([]string{"tls", "discovery", "host_iface", "instance"}, slices.Collect(maps.Keys(baselineOptions()))...) {
		if !known[name] {
			t.Errorf("%s is not known", name)
		}
	}
	for _, p := range param.All() { // Linux 6.16 has concat
		if !known[p.Info().Kernel] && p != param.Concat {
			t.Errorf("the kernel does not know %s of %s", p.Info().Kernel, p)
		}
	}
	if len(known) != 29 {
		t.Errorf("%d options, want 29: %v", len(known), known)
	}
	if diff := cmp.Diff(map[string]bool{"a_1": true}, ParseOptions([]byte("A=1,a_1=%s,,=x,b c\n"))); diff != "" {
		t.Errorf("garbage (-want +got):\n%s", diff)
	}
}

// FuzzOptionString: whatever the fields hold, the string has exactly the options that were meant.
func FuzzOptionString(f *testing.F) {
	f.Add("192.0.2.1", nqn, "eth0")
	f.Add("fe80::1%eth0", "a,tls", "b\ndiscovery")
	known := ParseOptions([]byte(template))
	f.Fuzz(func(t *testing.T, traddr, nqn, iface string) {
		w := wish.Wish{TID: tid.TID{Transport: "tcp", Traddr: traddr, NQN: nqn, HostIface: iface}}
		s, _, err := OptionString(w, Keys{}, known)
		if err != nil {
			return
		}
		want := 1
		for _, v := range []string{traddr, nqn, iface} {
			if v != "" {
				want++
			}
		}
		if got := len(strings.FieldsFunc(s, func(r rune) bool { return r == ',' || r == '\n' })); got != want {
			t.Errorf("%q has %d options, want %d", s, got, want)
		}
	})
}

// FuzzParseOptions: no name that it returns could be more than a name.
func FuzzParseOptions(f *testing.F) {
	f.Add([]byte(template))
	f.Add([]byte(",=,a b,\x00=1"))
	f.Fuzz(func(t *testing.T, b []byte) {
		for name := range ParseOptions(b) {
			if name == "" || strings.ContainsAny(name, ",= \n") {
				t.Errorf("name %q", name)
			}
		}
	})
}
