// SPDX-License-Identifier: GPL-3.0-or-later

package firmware

import (
	"slices"
	"testing"

	"github.com/nvme-discoverd/nvme-discoverd/internal/nbft"
	"github.com/nvme-discoverd/nvme-discoverd/internal/param"
)

// The first table asks for what the constants say, the second one cannot be used.
func TestTables(t *testing.T) {
	tables := Tables()
	good, err := nbft.Parse(tables[0])
	if err != nil || len(good.Warnings) > 0 {
		t.Fatalf("good table: %v %v", err, good.Warnings)
	}
	connections, warnings := nbft.Wishes(good, param.Set{}, param.Set{})
	var got []string
	for _, c := range connections {
		got = append(got, c.From+" "+c.Wish.TID.String()+" "+c.Host+" "+c.Link.String())
	}
	want := []string{
		"discovery 1 over HFI 1 (tcp, 192.0.2.1, 4477, nqn.2014-08.org.nvmexpress.discovery, 192.0.2.2)  02:00:00:00:00:77",
		"discovery 2 over HFI 3 (tcp, 4479, nqn.2014-08.org.nvmexpress.discovery, 192.0.3.2) boot.array.example 02:00:00:00:00:77 VLAN 5",
		"SSNS 1 over HFI 1 (tcp, 192.0.2.1, 4477, nqn.2024-01.com.example:boot, 192.0.2.2)  02:00:00:00:00:77",
		"SSNS 3 over HFI 1 (tcp, 192.0.2.9, 4477, nqn.2024-01.com.example:boot, 192.0.2.2)  02:00:00:00:00:77",
		"SSNS 4 over HFI 2 (tcp, 192.0.2.1, 4478, nqn.2024-01.com.example:lease, 192.0.2.222)  02:00:00:00:00:78",
		"SSNS 5 over HFI 3 (tcp, 192.0.3.1, 4479, nqn.2024-01.com.example:vlan, 192.0.3.2)  02:00:00:00:00:77 VLAN 5",
		"SSNS 6 over HFI 1 (tcp, 192.0.2.1, 4477, nqn.2024-01.com.example:paths, 192.0.2.2)  02:00:00:00:00:77",
		"SSNS 6 over HFI 4 (tcp, 192.0.2.1, 4477, nqn.2024-01.com.example:paths, 192.0.2.3)  02:00:00:00:00:77",
		"SSNS 7 over HFI 1 (tcp, 192.0.2.1, 4477, nqn.2024-01.com.example:guarded, 192.0.2.2)  02:00:00:00:00:77",
	}
	if !slices.Equal(got, want) {
		t.Errorf("connections:\n got %q\nwant %q", got, want)
	}
	if want := []string{"SSNS 3: firmware says that it is unavailable; it is connected all the same"}; len(warnings) != 1 || warnings[0] != want[0] {
		t.Errorf("warnings: got %q, want %q", warnings, want)
	}
	if _, err := nbft.Parse(tables[1]); err == nil || err.Error() != "cannot use the NBFT: "+Why {
		t.Errorf("spoiled table: got error %v, want %q", err, Why)
	}
}
