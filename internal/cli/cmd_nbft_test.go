// SPDX-License-Identifier: GPL-3.0-or-later

package cli

import (
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/nvme-discoverd/nvme-discoverd/internal/nbft"
	"github.com/nvme-discoverd/nvme-discoverd/internal/nbft/nbfttest"
	"github.com/nvme-discoverd/nvme-discoverd/internal/paths"
)

var rewriteNBFT = flag.Bool("rewrite-nbft", false, "write the golden files of nbft show")

// nbftRoot returns a tree with one table that has everything in it and one that has nothing, and the file "plain": a table
// of which there is nothing to warn.
func nbftRoot(t *testing.T) paths.Root {
	t.Helper()
	const hostNQN = "nqn.2014-08.org.nvmexpress:uuid:11111111-2222-3333-4444-555555555555"
	host := nbft.Host{NQN: hostNQN, ID: "11111111-2222-3333-4444-555555555555"}
	mac := [6]byte{0x52, 0x54, 0, 0x12, 0x34, 0x56}
	root := paths.Root(t.TempDir())
	full := nbfttest.Encode(nbft.Table{
		Host: host,
		HFIs: []nbft.HFI{
			{
				Index: 1, PCI: 0x0018, Link: nbft.Link{MAC: mac, VLAN: 5}, Flags: 4, Address: netip.MustParseAddr("192.0.2.2"), Prefix: 24,
				Gateway: netip.MustParseAddr("192.0.2.254"), DHCPServer: netip.MustParseAddr("192.0.2.253"),
			},
			{Index: 2, PCI: 0x0020, Link: nbft.Link{MAC: mac}, Address: netip.MustParseAddr("2001:db8::2")},
		},
		Security: []nbft.Security{{Index: 1, Flags: 0x0043, Keypath: "https://192.0.2.3/redfish/v1/keys"}},
		Discovery: []nbft.Discovery{
			{Index: 1, HFI: 1, URI: "nvme+tcp://192.0.2.1:8009/", NQN: "nqn.2014-08.org.nvmexpress.discovery"},
			{Index: 2, HFI: 2, URI: "nvme+tcp://[2001:db8::1]/<&>"},
		},
		SSNS: []nbft.SSNS{
			{
				Index: 1, Discovery: 1, HFIs: []uint8{1, 2, 9}, Traddr: netip.MustParseAddr("192.0.2.1"), Trsvcid: "4420",
				NSID: 1, NIDType: nbft.NIDUUID, NID: [16]byte{0xaa}, NQN: nqn, Flags: 4, Security: 1,
			},
			{Index: 2, Traddr: netip.MustParseAddr("2001:db8::1"), NQN: "nqn.2024-01.com.example:vol2", Flags: 0x100},
		},
	})
	write(t, filepath.Join(root.ACPITables(), "NBFT1"), string(full))
	write(t, filepath.Join(root.ACPITables(), "NBFT2"), string(nbfttest.Encode(nbft.Table{Host: nbft.Host{NQN: hostNQN}})))
	plain := nbft.Table{Host: host, HFIs: []nbft.HFI{{Index: 1, PCI: 0x0020, Link: nbft.Link{MAC: mac}, Address: netip.MustParseAddr("192.0.2.2")}}}
	write(t, root.Join("plain"), string(nbfttest.Encode(plain)))
	write(t, filepath.Join(root.SysClassNet(), "eth0", "address"), "52:54:00:12:34:56\n")
	write(t, filepath.Join(root.SysClassNet(), "eth0.5", "address"), "52:54:00:12:34:56\n")
	write(t, root.VLANs(), "eth0.5         | 5  | eth0\n")
	return root
}

func TestNBFTShow(t *testing.T) {
	root := nbftRoot(t)
	for _, test := range []struct {
		golden string
		args   []string
	}{
		{"nbft-show.txt", []string{"nbft", "show"}},
		{"nbft-show.json", []string{"nbft", "show", "--json"}},
		{"nbft-show-file.json", []string{"nbft", "show", "--json", "--file=" + filepath.Join(root.ACPITables(), "NBFT2")}},
		{"nbft-show-plain.json", []string{"nbft", "show", "--json", "--file=" + root.Join("plain")}},
	} {
		t.Run(test.golden, func(t *testing.T) {
			status, stdout, stderr := run(nil, root, test.args...)
			if status != Done || stderr != "" {
				t.Errorf("status %d, stderr %q", status, stderr)
			}
			got := strings.ReplaceAll(stdout, string(root), "")
			file := filepath.Join("testdata", test.golden)
			if *rewriteNBFT {
				write(t, file, got)
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestNBFTShowMessages(t *testing.T) {
	none := paths.Root(t.TempDir())
	bad := paths.Root(t.TempDir())
	table := filepath.Join(bad.ACPITables(), "NBFT")
	write(t, table, "NBFT")
	message := table + ": cannot use the NBFT: it has 4 bytes, at least 128 are needed\n"
	some := nbftRoot(t)
	write(t, filepath.Join(some.ACPITables(), "NBFT1"), "NBFT")
	for _, test := range []struct {
		name   string
		root   paths.Root
		args   []string
		status int
		stdout string // its beginning
		stderr string
	}{
		{"no table", none, nil, Done, "", "This host has no NBFT: its firmware did not boot it over NVMe over Fabrics.\n"},
		{"no table as JSON", none, []string{"--json"}, Done, "[]\n", ""},
		{"no file", none, []string{"--file=" + table + "x"}, Failed, "", "cannot read " + table + "x: no such file or directory\n"},
		{"empty file name", none, []string{"--file="}, Failed, "", "cannot read : no such file or directory\n"},
		{"bad table", bad, nil, Failed, "", message},
		{"bad table as JSON", bad, []string{"--json"}, Failed, "[]\n", message},
		{"bad file", none, []string{"--file=" + table}, Failed, "", message},
		{"one of two is bad", some, nil, Failed, some.ACPITables() + "/NBFT2, 229 bytes\n", some.ACPITables() + "/NBFT1: cannot use the NBFT: it has 4 bytes, at least 128 are needed\n"},
		{"argument", none, []string{"x"}, Usage, "", "cannot show: \"x\" is one argument too many for nvme-discoverctl nbft show: see nvme-discoverctl nbft show --help\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			status, stdout, stderr := run(nil, test.root, append([]string{"nbft", "show"}, test.args...)...)
			if status != test.status || !strings.HasPrefix(stdout, test.stdout) || (stdout == "") != (test.stdout == "") {
				t.Errorf("status %d, stdout %q, want %d, %q", status, stdout, test.status, test.stdout)
			}
			if diff := cmp.Diff(test.stderr, stderr); diff != "" {
				t.Errorf("stderr (-want +got):\n%s", diff)
			}
		})
	}
}
