// SPDX-License-Identifier: GPL-3.0-or-later

//go:build e2e

package guest

import (
	"encoding/base64"
	"fmt"
	"os"

	"github.com/nvme-discoverd/nvme-discoverd/internal/e2e/machine"
)

// HandOut gives a file to the outside, where a recording (.nvmerec) is replayed, and one that this tree decides otherwise about fails the run.
func HandOut(t T, name, path string) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("cannot hand out: %v", err)
	}
	for len(data) > 0 {
		piece := data[:min(len(data), 3000)]
		data = data[len(piece):]
		fmt.Println(machine.FileMarker + name + " " + base64.StdEncoding.EncodeToString(piece))
	}
}
