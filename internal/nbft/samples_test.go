// SPDX-License-Identifier: GPL-3.0-or-later

package nbft_test

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/nvme-discoverd/nvme-discoverd/internal/nbft"
	"github.com/nvme-discoverd/nvme-discoverd/internal/nbft/nbfttest"
	"github.com/nvme-discoverd/nvme-discoverd/internal/param"
)

// samples is where tests of all packages find the tables.
const samples = "../../testdata/nbft"

var rewrite = flag.Bool("rewrite", false, "write the tables of testdata/nbft anew")

// The tables that tests share are what the encoder makes, and are read as what they were made from.
func TestSamples(t *testing.T) {
	var names []string
	for _, sample := range nbfttest.Samples() {
		t.Run(sample.Name, func(t *testing.T) {
			names = append(names, sample.Name)
			file := filepath.Join(samples, sample.Name)
			if *rewrite {
				if err := os.WriteFile(file, sample.Data, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(sample.Data, data); diff != "" {
				t.Errorf("%s (-as encoded +as committed; go test ./internal/nbft -run TestSamples -rewrite):\n%s", file, diff)
			}
			got, err := nbft.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			want := sample.Table
			want.File = file
			if diff := cmp.Diff(want, got, equal, ignoreSize); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
	entries, err := os.ReadDir(samples)
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) != len(names) {
		t.Errorf("%s: got %d files, want %v", samples, len(entries), names)
	}
}

// What the samples ask for.
func TestSampleWishes(t *testing.T) {
	for _, test := range []struct {
		name, hostNQN, hostID string
		want                  []string
	}{
		{
			"two-ids", "nqn.2014-08.org.nvmexpress:uuid:4c4c4544-0044-4410-8030-b8c04f445833", "44454c4c-4400-1044-8030-b8c04f445833",
			[]string{"SSNS 1 over HFI 1: I/O traddr=192.0.2.60 trsvcid=4420 nqn=nqn.2024-01.com.example:array:00:88b402df2d762AA7AF94 host-traddr=192.0.2.1 via 02:62:0b:cb:eb:70"},
		},
		{
			"security", "nqn.2014-08.org.nvmexpress:uuid:22222222-2222-4222-8222-222222222222", "22222222-2222-4222-8222-222222222222",
			[]string{
				"discovery 1 over HFI 1: Discovery traddr=192.0.2.5 trsvcid=8009 nqn=nqn.2014-08.org.nvmexpress.discovery host-traddr=192.0.2.50 via 02:54:00:aa:bb:01",
				"SSNS 1 over HFI 1: I/O traddr=192.0.2.5 trsvcid=4420 nqn=nqn.2024-01.com.example:alpha host-traddr=192.0.2.50 hdr-digest tls via 02:54:00:aa:bb:01 with authentication",
				"SSNS 3 over HFI 2: I/O traddr=198.51.100.5 trsvcid=4420 nqn=nqn.2024-01.com.example:beta host-traddr=198.51.100.50 via 02:54:00:aa:bb:02",
			},
		},
		{
			"capitals", "nqn.2014-08.org.nvmexpress:uuid:a1b759e3-035d-4777-b3cc-1754b8b819b9", "a1b759e3-035d-4777-b3cc-1754b8b819b9",
			[]string{"SSNS 1 over HFI 1: I/O traddr=2001:db8::10 trsvcid=4420 nqn=nqn.2024-01.com.example:boot.subsys02 host-traddr=2001:db8::eb via 02:54:00:b8:19:b9 by DHCP"},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			table, err := nbft.ReadFile(filepath.Join(samples, test.name))
			if err != nil {
				t.Fatal(err)
			}
			connections, warnings := nbft.Wishes(table, param.Set{}, param.Set{})
			var got []string
			for _, c := range connections {
				got = append(got, describe(c))
				if id := c.Wish.TID; id.HostNQN != test.hostNQN || id.HostID != test.hostID {
					t.Errorf("%s: host %s, %s, want %s, %s", c.From, id.HostNQN, id.HostID, test.hostNQN, test.hostID)
				}
			}
			if diff := cmp.Diff(test.want, got); diff != "" || warnings != nil {
				t.Errorf("connections (-want +got):\n%s\nwarnings: %s", diff, strings.Join(warnings, "\n"))
			}
		})
	}
}
