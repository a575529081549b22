// SPDX-License-Identifier: GPL-3.0-or-later

package state

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/nvme-discoverd/nvme-discoverd/internal/tid"
)

// Retained is a discovery controller that nothing names any more and that is kept until then. Who reads it checks the TID.
type Retained struct {
	TID   tid.TID   `json:"tid"`
	Until time.Time `json:"until"`
	// Announced: only mDNS named it. With a zero Until it still did.
	Announced bool `json:"announced,omitzero"`
}

// maxRetained bounds the file in bytes: thousands of discovery controllers.
const maxRetained = 4 << 20

// WriteRetained records the discovery controllers that are retained, in place of those recorded before.
func (d Dir) WriteRetained(list []Retained) error {
	if len(list) == 0 {
		return remove(d.retained)
	}
	data, err := json.Marshal(list)
	if err != nil {
		return fmt.Errorf("cannot write %s: %v", d.retained, err)
	}
	return write(d.retained, string(data)+"\n")
}

// Retained returns what WriteRetained recorded, nothing if there is no file.
func (d Dir) Retained() ([]Retained, error) {
	info, err := os.Stat(d.retained)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err == nil && info.Size() > maxRetained:
		err = fmt.Errorf("it has %d bytes, at most %d are read", info.Size(), maxRetained)
	}
	var data []byte
	if err == nil {
		data, err = os.ReadFile(d.retained)
	}
	var list []Retained
	if err == nil {
		err = json.Unmarshal(data, &list)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read %s: %v", d.retained, err)
	}
	return list, nil
}
