// SPDX-License-Identifier: GPL-3.0-or-later

package core

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/nvme-discoverd/nvme-discoverd/internal/config"
	"github.com/nvme-discoverd/nvme-discoverd/internal/discoverylog"
	"github.com/nvme-discoverd/nvme-discoverd/internal/param"
	"github.com/nvme-discoverd/nvme-discoverd/internal/tid"
)

// samplePage reads one of the log pages that several packages' tests share.
func samplePage(t *testing.T, name string) []discoverylog.Entry {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("../../testdata/logpages", name+".bin"))
	if err != nil {
		t.Fatal(err)
	}
	page, err := discoverylog.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	return page.Entries
}

// verdicts judges a page and returns, for each entry, the name and options of its wish, the reason why it has none, or "-".
func verdicts(o Origin, page []discoverylog.Entry) []string {
	var all []string
	for _, e := range page {
		v := judge(o, e)
		text := "-"
		switch {
		case v.skipped != "":
			text = "skipped: " + v.skipped
		case v.wish.TID.NQN != "":
			text = strings.TrimPrefix(strings.Join(v.wish.Args(), " "), "--transport=")
			if v.plain {
				text += " (plain)"
			}
		}
		all = append(all, text)
	}
	return all
}

func TestJudgeTransports(t *testing.T) {
	const (
		vol  = "--nqn=nqn.2024-01.com.example:vol"
		fc   = "nn-0x20000090fae0b5f5:pn-0x10000090fae0b5f5"
		here = "nn-0x20000000000000dd:pn-0x10000000000000dd"

		noLoop  = "skipped: transport loop is the target of this host itself, which a discovery controller on "
		noFC    = "skipped: transport fc needs the host-traddr of a port of this host, which a discovery controller on "
		noIP    = "skipped: a discovery controller on fc does not tell over which network of this host its "
		unknown = "skipped: its transport is unknown"
	)
	dc := " --nqn=" + tid.DiscoveryNQN
	for _, test := range []struct {
		name string
		dc   tid.TID
		page string
		want []string
	}{{
		"from tcp",
		tid.TID{Transport: "tcp", Traddr: "192.0.2.10", HostIface: "eth0", HostTraddr: "192.0.2.1"},
		"transports",
		[]string{
			"-",
			"tcp --traddr=192.0.2.20 --trsvcid=4420 " + vol + "-tcp --host-traddr=192.0.2.1 --host-iface=eth0",
			"rdma --traddr=192.0.2.21 --trsvcid=4420 " + vol + "-rdma --host-traddr=192.0.2.1",
			noFC + "tcp does not tell", noLoop + "tcp cannot name", unknown,
			"tcp --traddr=192.0.2.11 --trsvcid=8009" + dc + " --host-traddr=192.0.2.1 --host-iface=eth0",
		},
	}, {
		"from rdma",
		tid.TID{Transport: "rdma", Traddr: "192.0.2.10", HostTraddr: "192.0.2.1"},
		"transports",
		[]string{
			"-",
			"tcp --traddr=192.0.2.20 --trsvcid=4420 " + vol + "-tcp --host-traddr=192.0.2.1",
			"rdma --traddr=192.0.2.21 --trsvcid=4420 " + vol + "-rdma --host-traddr=192.0.2.1",
			noFC + "rdma does not tell", noLoop + "rdma cannot name", unknown,
			"tcp --traddr=192.0.2.11 --trsvcid=8009" + dc + " --host-traddr=192.0.2.1",
		},
	}, {
		"from fc",
		tid.TID{Transport: "fc", Traddr: fc, HostTraddr: here},
		"transports",
		[]string{
			"-", noIP + "tcp address is reached", noIP + "rdma address is reached",
			"fc --traddr=" + fc + " " + vol + "-fc --host-traddr=" + here,
			noLoop + "fc cannot name", unknown, noIP + "tcp address is reached",
		},
	}, {
		"from loop",
		tid.TID{Transport: "loop"},
		"transports",
		[]string{
			"-",
			"tcp --traddr=192.0.2.20 --trsvcid=4420 " + vol + "-tcp",
			"rdma --traddr=192.0.2.21 --trsvcid=4420 " + vol + "-rdma",
			noFC + "loop does not tell", "loop " + vol + "-loop", unknown,
			"tcp --traddr=192.0.2.11 --trsvcid=8009" + dc,
		},
	}, {
		"spellings of fc",
		tid.TID{Transport: "fc", Traddr: fc, HostTraddr: here},
		"fc-spellings",
		[]string{
			"fc --traddr=nn-0x201700a09890f5bf:pn-0x201900a09890f5bf " + vol + "1 --host-traddr=" + here,
			"fc --traddr=nn-0x201700a09890f5bf:pn-0x201900a09890f5bf " + vol + "2 --host-traddr=" + here,
			"fc --traddr=nn-0x201700a09890f5bf:pn-0x201900a09890f5bf " + vol + "3 --host-traddr=" + here,
			"-",
		},
	}, {
		"link-local, from a zone",
		tid.TID{Transport: "tcp", Traddr: "fe80::10%eth0"},
		"link-local",
		[]string{
			"-",
			"tcp --traddr=fe80::20%eth0 --trsvcid=4420 " + vol + "-tcp",
			"rdma --traddr=fe80::20%eth0 --trsvcid=4420 " + vol + "-rdma",
			"tcp --traddr=2001:db8::20 --trsvcid=4420 " + vol + "-global",
			"tcp --traddr=fe80::11%eth0 --trsvcid=8009" + dc,
		},
	}, {
		"link-local, over an interface",
		tid.TID{Transport: "tcp", Traddr: "fe80::10", HostIface: "eth0"},
		"link-local",
		[]string{
			"-",
			"tcp --traddr=fe80::20 --trsvcid=4420 " + vol + "-tcp --host-iface=eth0",
			"rdma --traddr=fe80::20 --trsvcid=4420 " + vol + "-rdma",
			"tcp --traddr=2001:db8::20 --trsvcid=4420 " + vol + "-global --host-iface=eth0",
			"tcp --traddr=fe80::11 --trsvcid=8009" + dc + " --host-iface=eth0",
		},
	}} {
		t.Run(test.name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, verdicts(Origin{tid: test.dc}, samplePage(t, test.page))); diff != "" {
				t.Errorf("verdicts (-want +got):\n%s", diff)
			}
		})
	}
}

// What an entry requires is done or it is not connected; what it offers is used where this host can; what the
// configuration asks for is never left out.
func TestJudgeSecurity(t *testing.T) {
	with := func(p param.Param) config.Discovered {
		set, err := param.Set{}.With(p, "true")
		if err != nil {
			t.Fatal(err)
		}
		return config.Discovered{IO: set, Discovery: set}
	}
	const rdma = "skipped: it requires a secure channel, which this host does not have over rdma"
	for _, test := range []struct {
		name string
		o    Origin
		// By SECTYPE and TREQ: none, none not required, none required, TLS unspecified, TLS not required, TLS required, rdma
		// required, and a referral that requires TLS.
		want []string
	}{
		{"nothing configured", Origin{}, []string{"", "", "tls", "", "plain", "tls", rdma, "tls"}},
		{"a secret", Origin{concats: true}, []string{"", "", "tls", "", "concat", "tls", rdma, "tls"}},
		{"tls", Origin{found: with(param.TLS), concats: true}, []string{"tls", "tls", "tls", "tls", "tls", "tls", rdma, "tls"}},
		{"concat", Origin{found: with(param.Concat), concats: true}, []string{"concat", "concat", "tls", "concat", "concat", "tls", rdma, "tls"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.o.tid = tid.TID{Transport: "tcp", Traddr: "192.0.2.10"}
			var got []string
			for _, e := range samplePage(t, "security") {
				v := judge(test.o, e)
				var text []string
				for _, p := range []param.Param{param.TLS, param.Concat} {
					if _, on := v.wish.Params.Get(p); on {
						text = append(text, p.String())
					}
				}
				if v.plain {
					text = append(text, "plain")
				}
				if v.skipped != "" {
					text = append(text, "skipped: "+v.skipped)
				}
				got = append(got, strings.Join(text, " "))
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("verdicts (-want +got):\n%s", diff)
			}
		})
	}
	plain := discoverylog.Entry{Subtype: discoverylog.NVM, Transport: "rdma", Traddr: "192.0.2.21", Trsvcid: "4420", NQN: "nqn.a"}
	for p, want := range map[param.Param]string{
		param.TLS:    "the configuration asks for tls, which transport rdma does not take",
		param.Concat: "the configuration asks for concat, which transport rdma does not take",
	} {
		if got := judge(Origin{tid: tid.TID{Transport: "rdma", Traddr: "192.0.2.10"}, found: with(p)}, plain).skipped; got != want {
			t.Errorf("%v over rdma: %q, want %q", p, got, want)
		}
	}
}

// The flags that count are those of the port that was asked.
func TestOwnEntry(t *testing.T) {
	for _, test := range []struct {
		name, page string
		dc         tid.TID
		epcsd, ok  bool
	}{
		{"the first", "ports", tid.TID{Transport: "tcp", Traddr: "192.0.2.10", Trsvcid: "8009"}, false, true},
		{"the second", "ports", tid.TID{Transport: "tcp", Traddr: "192.0.2.11", Trsvcid: "8009"}, true, true},
		{"by another transport", "ports", tid.TID{Transport: "rdma", Traddr: "192.0.2.11", Trsvcid: "4420"}, false, true},
		{"none: the one without an address", "ports", tid.TID{Transport: "tcp", Traddr: "198.51.100.1", Trsvcid: "8009"}, true, true},
		{"another port, no entry without an address", "transports", tid.TID{Transport: "tcp", Traddr: "192.0.2.10", Trsvcid: "4420"}, false, false},
		{"in a zone", "link-local", tid.TID{Transport: "tcp", Traddr: "fe80::10%eth1", Trsvcid: "8009"}, true, true},
		{"on fc", "fc-spellings", tid.TID{Transport: "fc", Traddr: "nn-0x201700a09890f5bf:pn-0x201900a09890f5bf"}, true, true},
		{"another port on fc", "fc-spellings", tid.TID{Transport: "fc", Traddr: "nn-0x201700a09890f5bf:pn-0x201900a09890f5b0"}, false, false},
		{"none at all", "security", tid.TID{Transport: "tcp", Traddr: "192.0.2.10", Trsvcid: "8009"}, false, false},
	} {
		own, ok := ownEntry(test.dc, judgePage(Origin{}, slices.Values(samplePage(t, test.page)), 0).Entries)
		if ok != test.ok || own.EPCSD != test.epcsd {
			t.Errorf("%s: got EPCSD %v, %v, want %v, %v", test.name, own.EPCSD, ok, test.epcsd, test.ok)
		}
	}
}
