// SPDX-License-Identifier: GPL-3.0-or-later

package discoverylog

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/nvme-discoverd/nvme-discoverd/internal/tid"
)

var rewrite = flag.Bool("rewrite", false, "write the log pages of testdata/logpages anew")

// samples is where the log pages are that the tests of several packages share.
const samples = "../../testdata/logpages"

// over makes an entry one of another transport and address family.
func over(transport, family byte) func([]byte) {
	return func(r []byte) { r[0], r[1] = transport, family }
}

var (
	ipv6  = over(3, 2)
	rdma  = over(1, 1)
	fc    = over(2, 4)
	loop  = over(254, 254)
	other = over(99, 0)
)

func flags(eflags byte) func([]byte) { return func(r []byte) { r[10] = eflags } }

// security sets TREQ and, for tcp, SECTYPE.
func security(treq, sectype byte) func([]byte) {
	return func(r []byte) { r[3], r[768] = treq, sectype }
}

// TestSamples holds the shared log pages to the bytes that they are made of, and tells what is read from them.
func TestSamples(t *testing.T) {
	const vol = "nqn.2024-01.com.example:vol"
	for _, sample := range []struct {
		name string
		raw  []byte
		want []string
	}{{
		name: "fc-spellings",
		raw: rawPage(
			3,
			rawEntry(NVM, "nn-0x201700a09890f5bf,pn-0x201900a09890f5bf", "none", vol+"1", fc),
			rawEntry(NVM, "NN-20:17:00:A0:98:90:F5:BF:PN-20:19:00:A0:98:90:F5:BF", "none", vol+"2", fc),
			rawEntry(NVM, "nn-201700a09890f5bf:pn-201900a09890f5bf", "", vol+"3", fc),
			rawEntry(NVM, "nn-0x201700a09890f5bf,pn-0x2019", "none", vol+"4", fc),
			rawEntry(Current, "nn-0x201700a09890f5bf,pn-0x201900a09890f5bf", "none", tid.DiscoveryNQN, fc, flags(2)),
		),
		want: []string{
			"nvm fc nn-0x201700a09890f5bf:pn-0x201900a09890f5bf  " + vol + "1",
			"nvm fc nn-0x201700a09890f5bf:pn-0x201900a09890f5bf  " + vol + "2",
			"nvm fc nn-0x201700a09890f5bf:pn-0x201900a09890f5bf  " + vol + "3",
			"current fc nn-0x201700a09890f5bf:pn-0x201900a09890f5bf  " + tid.DiscoveryNQN + " epcsd",
			`entry 3 of the discovery log page is skipped: cannot use traddr "nn-0x201700a09890f5bf,pn-0x2019": "0x2019" is not a World Wide Name of 16 hexadecimal digits; it must be like nn-0x20000090fa942779:pn-0x10000090fa942779`,
		},
	}, {
		name: "transports",
		raw: rawPage(
			1,
			rawEntry(Current, "192.0.2.10", "8009", tid.DiscoveryNQN),
			rawEntry(NVM, "192.0.2.20", "4420", vol+"-tcp"),
			rawEntry(NVM, "192.0.2.21", "4420", vol+"-rdma", rdma),
			rawEntry(NVM, "nn-0x20000090fae0b5f5:pn-0x10000090fae0b5f5", "none", vol+"-fc", fc),
			rawEntry(NVM, "", "", vol+"-loop", loop),
			rawEntry(NVM, "x", "", vol+"-other", other),
			rawEntry(Referral, "192.0.2.11", "8009", tid.DiscoveryNQN, flags(1)),
		),
		want: []string{
			"current tcp 192.0.2.10 8009 " + tid.DiscoveryNQN,
			"nvm tcp 192.0.2.20 4420 " + vol + "-tcp",
			"nvm rdma 192.0.2.21 4420 " + vol + "-rdma",
			"nvm fc nn-0x20000090fae0b5f5:pn-0x10000090fae0b5f5  " + vol + "-fc",
			"nvm loop   " + vol + "-loop",
			"nvm  x  " + vol + "-other",
			"referral tcp 192.0.2.11 8009 " + tid.DiscoveryNQN + " dupretinfo",
		},
	}, {
		name: "link-local",
		raw: rawPage(
			1,
			rawEntry(Current, "fe80::10", "8009", tid.DiscoveryNQN, ipv6, flags(2)),
			rawEntry(NVM, "fe80::20", "4420", vol+"-tcp", ipv6),
			rawEntry(NVM, "fe80::20", "4420", vol+"-rdma", over(1, 2)),
			rawEntry(NVM, "2001:db8::20", "4420", vol+"-global", ipv6),
			rawEntry(Referral, "fe80::11", "8009", tid.DiscoveryNQN, ipv6),
		),
		want: []string{
			"current tcp fe80::10 8009 " + tid.DiscoveryNQN + " epcsd",
			"nvm tcp fe80::20 4420 " + vol + "-tcp",
			"nvm rdma fe80::20 4420 " + vol + "-rdma",
			"nvm tcp 2001:db8::20 4420 " + vol + "-global",
			"referral tcp fe80::11 8009 " + tid.DiscoveryNQN,
		},
	}, {
		name: "ports",
		raw: rawPage(
			9,
			rawEntry(Current, "192.0.2.10", "8009", tid.DiscoveryNQN),
			rawEntry(Current, "192.0.2.11", "8009", tid.DiscoveryNQN, flags(3)),
			rawEntry(Current, "192.0.2.11", "4420", tid.DiscoveryNQN, rdma),
			rawEntry(Current, "0.0.0.0", "8009", tid.DiscoveryNQN, flags(2)),
		),
		want: []string{
			"current tcp 192.0.2.10 8009 " + tid.DiscoveryNQN,
			"current tcp 192.0.2.11 8009 " + tid.DiscoveryNQN + " dupretinfo epcsd",
			"current rdma 192.0.2.11 4420 " + tid.DiscoveryNQN,
			"current tcp   " + tid.DiscoveryNQN + " epcsd",
		},
	}, {
		name: "security",
		raw: rawPage(
			2,
			rawEntry(NVM, "192.0.2.20", "4420", vol+"-none-unspecified", security(0, 0)),
			rawEntry(NVM, "192.0.2.20", "4420", vol+"-none-not-required", security(2, 0)),
			rawEntry(NVM, "192.0.2.20", "4420", vol+"-none-required", security(1, 0)),
			rawEntry(NVM, "192.0.2.20", "4420", vol+"-tls13-unspecified", security(0, 2)),
			rawEntry(NVM, "192.0.2.20", "4420", vol+"-tls13-not-required", security(2|4, 2)),
			rawEntry(NVM, "192.0.2.20", "4420", vol+"-tls13-required", security(1|4, 2)),
			rawEntry(NVM, "192.0.2.20", "4420", vol+"-rdma-required", rdma, security(1, 2)),
			rawEntry(Referral, "192.0.2.11", "8009", tid.DiscoveryNQN, security(1, 2)),
		),
		want: []string{
			"nvm tcp 192.0.2.20 4420 " + vol + "-none-unspecified",
			"nvm tcp 192.0.2.20 4420 " + vol + "-none-not-required",
			"nvm tcp 192.0.2.20 4420 " + vol + "-none-required required",
			"nvm tcp 192.0.2.20 4420 " + vol + "-tls13-unspecified sectype2",
			"nvm tcp 192.0.2.20 4420 " + vol + "-tls13-not-required sectype2 offered",
			"nvm tcp 192.0.2.20 4420 " + vol + "-tls13-required sectype2 required",
			"nvm rdma 192.0.2.20 4420 " + vol + "-rdma-required required",
			"referral tcp 192.0.2.11 8009 " + tid.DiscoveryNQN + " sectype2 required",
		},
	}} {
		t.Run(sample.name, func(t *testing.T) {
			file := filepath.Join(samples, sample.name+".bin")
			if *rewrite {
				if err := os.WriteFile(file, sample.raw, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			raw, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(raw, sample.raw) {
				t.Errorf("%s has other bytes: if this is as it should be, run go test ./internal/discoverylog -rewrite", file)
			}
			page, err := Parse(raw)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, e := range page.Entries {
				got = append(got, brief(e))
			}
			if diff := cmp.Diff(sample.want, append(got, page.Warnings...)); diff != "" {
				t.Errorf("page (-want +got):\n%s", diff)
			}
		})
	}
}

// brief is an entry in one line.
func brief(e Entry) string {
	text := fmt.Sprintf("%v %s %s %s %s", e.Subtype, e.Transport, e.Traddr, e.Trsvcid, e.NQN)
	for _, f := range []struct {
		set  bool
		name string
	}{
		{e.SecType != SecNone, fmt.Sprintf("sectype%d", e.SecType)},
		{e.SecureChannel, "required"},
		{e.OffersTLS(), "offered"},
		{e.DupRetInfo, "dupretinfo"},
		{e.EPCSD, "epcsd"},
	} {
		if f.set {
			text += " " + f.name
		}
	}
	return text
}

// sampleFiles returns the contents of the shared log pages.
func sampleFiles(f *testing.F) [][]byte {
	files, err := filepath.Glob(filepath.Join(samples, "*.bin"))
	if err != nil || len(files) == 0 {
		f.Fatalf("no log pages in %s: %v", samples, err)
	}
	var all [][]byte
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		all = append(all, raw)
	}
	return all
}
