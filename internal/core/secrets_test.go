package core

import (
	"testing"

	"github.com/nvme-discoverd/nvme-discoverd/internal/config"
	"github.com/nvme-discoverd/nvme-discoverd/internal/discoverylog"
	"github.com/nvme-discoverd/nvme-discoverd/internal/secret"
	"github.com/nvme-discoverd/nvme-discoverd/internal/tid"
	"github.com/nvme-discoverd/nvme-discoverd/internal/wish"
)

// A unit is restarted with other secrets, but not as one that has none when it wants some, nor the other way round.
func TestStartedAsWithSecrets(t *testing.T) {
	with := wish.Wish{Owner: wish.OwnerDiscoverd, TID: tid.TID{Transport: "tcp", Traddr: "192.0.2.1", NQN: "nqn.a"}, Secrets: "/etc/nvme/discoverd.conf:3:1"}
	without, moved := with, with
	without.Secrets, moved.Secrets = "", "/etc/nvme/discoverd.conf:9:1"
	command := func(w wish.Wish, more ...string) []string {
		argv := append([]string{"/usr/sbin/nvme-discoverctl", "connect"}, w.Args()...)
		return append(append(argv, "--idempotent", "--owner=discoverd", "--devid-file=/x"), more...)
	}
	const file = "--secrets-file=/run/nvme/discoverd/secrets/u"
	for _, test := range []struct {
		name string
		argv []string
		wish wish.Wish
		want bool
	}{
		{"none, none wanted", command(without, "--unit=u"), without, true},
		{"some, some wanted", command(with, file, "--unit=u"), with, true},
		{"some, others wanted", command(with, file, "--unit=u"), moved, true},
		{"none, some wanted", command(without, "--unit=u"), with, false},
		{"some, none wanted", command(with, file, "--unit=u"), without, false},
		{"as this daemon started it", argvOf(with), moved, true},
	} {
		if got := startedAs(test.argv, test.wish); got != test.want {
			t.Errorf("%s: %v", test.name, got)
		}
	}
}

// What a log page names gets the secrets of the host and not those of the discovery controller.
func TestChildSecrets(t *testing.T) {
	o := origin{tid: tid.TID{Transport: "tcp", Traddr: "192.0.2.1"}, found: config.Discovered{Secrets: "[host]"}}
	v := judge(o, discoverylog.Entry{Subtype: discoverylog.NVM, Transport: "tcp", Traddr: "192.0.2.2", Trsvcid: "4420", NQN: "nqn.a"})
	if v.skipped != "" || v.wish.Secrets != secret.Ref("[host]") {
		t.Errorf("%q, %v", v.wish.Secrets, v.skipped)
	}
}
