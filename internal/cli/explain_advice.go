// SPDX-License-Identifier: GPL-3.0-or-later

package cli

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/nvme-discoverd/nvme-discoverd/internal/api/client"
)

// remedies are what to look at for a failure, by what its message has; the first that matches counts.
var remedies = []struct {
	has  []string // any of these
	look string   // %s is the target's address
}{
	{[]string{"connection refused", "ECONNREFUSED"}, "the target's host answers, but nothing listens at %s: is the port of the target up, and its number right?"},
	{[]string{"no route to host", "network is unreachable", "EHOSTUNREACH", "ENETUNREACH"}, "there is no way to %s: see the link, the addresses and the routes of this host (ip route get), and whether the target is up"},
	{[]string{"timeout", "timed out", "did not answer", "no answer", "ETIMEDOUT"}, "%s does not answer: is the target up, and is a firewall or a wrong VLAN between?"},
	{[]string{"DH-HMAC-CHAP", "dhchap", "ENOKEY", "authentication"}, "compare the secrets of this host with those at the target: see SECRETS in discoverd.conf(5)"},
	{[]string{"TLS", "tls"}, "compare the TLS keys of this host with those at the target: see SECRETS in discoverd.conf(5)"},
	{[]string{"does not let this host in", "does not know this subsystem", "host NQN"}, "compare the host NQN with what the target allows, and see whether the subsystem is still there"},
	{[]string{"cannot resolve", "no such host", "lookup"}, "see whether this host can look the name up: resolvectl query, getent hosts"},
	{[]string{"address is not", "EADDRNOTAVAIL", "cannot assign requested address"}, "this host has not got the address that the connection is to come from: see ip address"},
}

// advice is what to try about a connection, most useful first.
func (e *explainer) advice(x explanation) []string {
	c := x.Controller
	name := c.Tid
	if c.Unit != nil {
		name = *c.Unit
	}
	try := []string{}
	say := func(format string, args ...any) { try = append(try, fmt.Sprintf(format, args...)) }
	switch c.State {
	case "excluded":
		for _, entry := range x.Exclusions {
			if entry.File == e.root.ExclusionsFile() { // no list of these commands
				say("to have it connected: take line %d out of %s", entry.Line, entry.File)
				continue
			}
			say("to have it connected: nvme-discoverctl exclusion remove --name=%s --entry='%s'",
				strings.TrimSuffix(filepath.Base(entry.File), ".conf"), entry.Entry)
		}
		if len(x.Exclusions) == 0 {
			say("no entry excludes it any more: the service notices within seconds")
		}
	case "stopped":
		say("to have it connected: nvme-discoverctl start %s", name)
	case "foreign":
		owner := value(c.Owner)
		say("%s looks after it; to take it over: nvme-discoverctl registry set %s owner discoverd", printable(owner), value(c.Device))
	case "parked":
		say(`nothing: it is polled, as discovery-persistence in discoverd.conf(5) says; to read its log page now: nvme-discoverctl rescan %s`, name)
	case "collision":
		for _, other := range e.all {
			if value(other.Unit) == value(c.Unit) && other.Tid != c.Tid {
				say("%s has the same unit name: exclude one of them, or change an address or the host NQN of one", other.Tid)
			}
		}
	case "waiting", "connecting", "reconnecting", "connected":
		if healthy(c) {
			return try
		}
		e.adviseFailure(c, name, say)
	}
	return try
}

// adviseFailure says what to look at for a connection that fails or is broken.
func (e *explainer) adviseFailure(c client.Controller, name string, say func(string, ...any)) {
	text := value(c.LastError)
	for _, r := range remedies {
		found := false
		for _, has := range r.has {
			found = found || strings.Contains(text, has)
		}
		if found {
			say("%s", strings.ReplaceAll(r.look, "%s", place(c)))
			break
		}
	}
	switch {
	case c.State == "reconnecting":
		say("nothing is needed once the network and the target at %s are well: the kernel reconnects it, and when it gives up the service does", place(c))
		if c.Device != nil {
			say("to give the connection up and have it made anew: nvme-discoverctl disconnect --device=%s", *c.Device)
		}
	case c.State == "waiting" && c.NextRetry != nil && text != "":
		say("to try at once: nvme-discoverctl retry %s", name)
	}
}
