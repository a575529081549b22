// SPDX-License-Identifier: GPL-3.0-or-later

package cli

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/nvme-discoverd/nvme-discoverd/internal/core"
	"github.com/nvme-discoverd/nvme-discoverd/internal/registry"
)

// The shell is offered what makes sense in each place, and no file where none is taken.
func TestCompletions(t *testing.T) {
	s := three()
	second := *s.state.Targets[1] // another path to the subsystem
	second.Device, second.Unit = "nvme9", "nvme-discoverd-000000000009.service"
	s.state.Targets = append(s.state.Targets, &second)
	s.state.Targets[2].State = core.Connected
	root := s.serve(t)
	d := newDesk(t)
	d.root = root
	d.controller(tcp("nvme3", "192.0.2.1", nqn), "")
	write(t, root.Exclusions()+"/user.conf", "exclusion = nqn="+nqn+"\nexclusion = traddr=192.0.2.1\n")
	write(t, root.Exclusions()+"/lab.conf", "")
	write(t, root.SysClassNet()+"/eth0/address", "")
	if err := registry.New(root).Create("nvme3", map[string]string{"owner": "stas", "seqnum": "7"}); err != nil {
		t.Fatal(err)
	}
	for args, want := range map[string]string{
		"logs ":                       "nvme1 nvme-discoverd-061dd2c0fa69.service",
		"rescan ":                     "nvme1 nvme-discoverd-061dd2c0fa69.service",
		"logs nvme1 ":                 "",
		"wait --for ":                 "connected ready",
		"wait nvme1 ":                 "nvme1 nvme-discoverd-061dd2c0fa69.service nvme2 " + vol(1) + " nvme-discoverd-13f6612e5da5.service nvme3 " + vol(2) + " nvme-discoverd-a567c27019e2.service nvme9 nvme-discoverd-000000000009.service",
		"connect --transport ":        "tcp rdma fc loop",
		"connect --host-iface ":       "eth0",
		"connect --owner ":            "discoverd nbft",
		"disconnect --transport ":     "tcp rdma fc loop",
		"disconnect-all --owner ":     "stas",
		"registry get ":               "nvme3",
		"registry get nvme3 ":         "owner seqnum",
		"registry set nvme3 ":         "owner seqnum",
		"registry set ":               "nvme3",
		"exclusion test ":             "nvme3",
		"exclusion list --name ":      "lab user",
		"exclusion remove --entry ":   "nqn=" + nqn + " traddr=192.0.2.1",
		"exclusion remove -N lab -e ": "",
		"list ":                       "",
		"version ":                    "",
	} {
		status, out, _ := ctl(t, root, 0, nil, append([]string{"__complete"}, strings.Split(args, " ")...)...)
		var words []string
		directive := ""
		for line := range strings.Lines(out) {
			word, _, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
			if strings.HasPrefix(word, ":") {
				directive = word
				continue
			}
			words = append(words, word)
		}
		if diff := cmp.Diff([]any{Done, want, ":4"}, []any{status, strings.Join(words, " "), directive}); diff != "" {
			t.Errorf("%s: %s", args, diff)
		}
	}
}
