// SPDX-License-Identifier: GPL-3.0-or-later

package mdns

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/nvme-discoverd/nvme-discoverd/internal/tid"
)

// maxTXT is how many bytes of TXT data are looked at, and maxStrings how many strings: what is meant for two short keys has less
// (RFC 6763, section 6.2, recommends at most 1300 bytes).
const (
	maxTXT     = 4096
	maxStrings = 64
)

// txt is what the TXT data of an announcement says.
type txt struct {
	transport string
	nqn       string
}

// transports are the values of the key p: how arrays write them, without regard to case and to what is no letter or digit.
var transports = map[string]string{
	"tcp": tid.TCP, "nvmetcp": tid.TCP,
	"rdma": tid.RDMA, "roce": tid.RDMA, "rocev1": tid.RDMA, "rocev2": tid.RDMA, "iwarp": tid.RDMA, "infiniband": tid.RDMA,
}

// parseTXT reads TXT data, one string for each key (RFC 6763, section 6): keys count without regard to case, the first of each,
// and unknown ones do not. Without p it is tcp, as the type of the service says; without nqn the well-known NQN.
func parseTXT(list [][]byte) (txt, error) {
	t := txt{transport: tid.TCP, nqn: tid.DiscoveryNQN}
	size := 0
	seen := map[string]bool{}
	for _, s := range list {
		size += 1 + len(s)
	}
	if len(list) > maxStrings || size > maxTXT {
		return txt{}, fmt.Errorf("its TXT data have %d strings and %d bytes, at most %d and %d are looked at", len(list), size, maxStrings, maxTXT)
	}
	for _, s := range list {
		name, data, given := bytes.Cut(s, []byte("="))
		key := strings.ToLower(string(name))
		if !given || seen[key] {
			continue
		}
		seen[key] = true
		value := strings.Trim(string(data), " \t\r\n\x00")
		switch {
		case key == "p" && value != "":
			transport, ok := transports[plain(value)]
			if !ok {
				return txt{}, fmt.Errorf("its transport p=%s is unknown", printable(value))
			}
			t.transport = transport
		case key == "nqn" && value != "":
			if err := tid.CheckNQN(value); err != nil {
				return txt{}, fitToPrint(err)
			}
			t.nqn = value
		}
	}
	return t, nil
}

// plain is a value without what spellings of it differ in.
func plain(value string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case 'a' <= r && r <= 'z', '0' <= r && r <= '9':
			return r
		case 'A' <= r && r <= 'Z':
			return r - 'A' + 'a'
		case strings.ContainsRune("-_/. ", r):
			return -1
		}
		return '?'
	}, value)
}
