// SPDX-License-Identifier: GPL-3.0-or-later

package config

import (
	"testing"

	"github.com/nvme-discoverd/nvme-discoverd/internal/tid"
)

func TestIdentity(t *testing.T) {
	const (
		otherID = "aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee"
		machine = "0123456789abcdef0123456789abcdef\n"
		one     = "[[discovery-controller]]\ncontroller = [{ transport = \"tcp\", traddr = \"192.0.2.1\" }]\n"

		// what `systemd-id128 -u machine-id --app-specific=6d1f0c5b2e8a4f3c9b7d51e04a86c2f9` prints on a host with that machine ID
		fromMachine = "dc43e2d4-44fb-4331-8814-cee90f938094"
		fromName    = "c1bc0e26-9933-4c56-8602-48e7f126d85d"

		nqnFile, idFile, machineFile, configFile = "etc/nvme/hostnqn", "etc/nvme/hostid", "etc/machine-id", "etc/nvme/discoverd.conf"
	)
	const oddName = `"nqn.h" is not an NQN: it must begin as nqn.2024-01.com.example does, with nqn, a year and month, and a domain name in reverse`
	for _, test := range []struct {
		name     string
		files    map[string]string
		nqn, id  string
		warnings []string
		err      string
	}{
		{
			name:  "both files",
			files: map[string]string{nqnFile: "nqn.h\n", idFile: "AAAAAAAA-BBBB-4CCC-8DDD-EEEEEEEEEEEE\n", machineFile: machine},
			nqn:   "nqn.h", id: otherID,
			warnings: []string{"/etc/nvme/hostnqn:1:1: " + oddName},
		},
		{
			name:  "hostnqn in capitals",
			files: map[string]string{nqnFile: uuidNQN + "AAAAAAAA-BBBB-4CCC-8DDD-EEEEEEEEEEEE\n", idFile: testID},
			nqn:   uuidNQN + otherID, id: testID,
		},
		{
			name:  "persona in capitals that is the host",
			files: map[string]string{nqnFile: uuidNQN + otherID, idFile: testID, configFile: one + "[host]\nhostnqn = \"" + uuidNQN + "AAAAAAAA-BBBB-4CCC-8DDD-EEEEEEEEEEEE\""},
			nqn:   uuidNQN + otherID, id: testID,
		},
		{name: "hostnqn alone", files: map[string]string{nqnFile: testNQN}, nqn: testNQN, id: testID},
		{name: "hostnqn alone, no UUID in it", files: map[string]string{nqnFile: "nqn.h"}, nqn: "nqn.h", id: fromName, warnings: []string{"/etc/nvme/hostnqn:1:1: " + oddName}},
		{
			name:  "hostnqn with half a UUID",
			files: map[string]string{nqnFile: uuidNQN + "aaaaaaaa-bbbb", idFile: testID},
			nqn:   uuidNQN + "aaaaaaaa-bbbb", id: testID,
			warnings: []string{`/etc/nvme/hostnqn:1:1: "nqn.2014-08.org.nvmexpress:uuid:aaaaaaaa-bbbb" is not an NQN: what follows :uuid: must be a UUID such as f81d4fae-7dec-11d0-a765-00a0c91e6bf6`},
		},
		{name: "hostid alone", files: map[string]string{idFile: testID}, nqn: testNQN, id: testID},
		{
			name:  "persona",
			files: map[string]string{nqnFile: testNQN, idFile: testID, configFile: one + "[host]\nhostnqn = \"" + uuidNQN + otherID + "\""},
			nqn:   uuidNQN + otherID, id: otherID,
		},
		{
			name:  "persona without a UUID does not take the host's ID",
			files: map[string]string{nqnFile: testNQN, idFile: testID, configFile: one + "[host]\nhostnqn = \"nqn.h\""},
			nqn:   "nqn.h", id: fromName,
			warnings: []string{"/etc/nvme/discoverd.conf:4:1: hostnqn " + oddName},
		},
		{
			name:  "persona that is the host",
			files: map[string]string{nqnFile: "nqn.h", idFile: testID, configFile: one + "[host]\nhostnqn = \"nqn.h\""},
			nqn:   "nqn.h", id: testID,
			warnings: []string{"/etc/nvme/hostnqn:1:1: " + oddName, "/etc/nvme/discoverd.conf:4:1: hostnqn " + oddName},
		},
		{
			name:  "persona complete",
			files: map[string]string{configFile: one + "[host]\nhostnqn = \"nqn.h\"\nhostid = \"" + testID + "\""},
			nqn:   "nqn.h", id: testID,
			warnings: []string{"/etc/nvme/discoverd.conf:4:1: hostnqn " + oddName},
		},
		{
			name:  "derived from the machine ID",
			files: map[string]string{machineFile: machine, configFile: one},
			nqn:   uuidNQN + fromMachine, id: fromMachine,
		},
		{name: "none, and nothing to connect", files: map[string]string{machineFile: "uninitialized\n"}},
		{
			name:  "none",
			files: map[string]string{configFile: one},
			err:   `/etc/nvme/discoverd.conf:1:1: cannot connect anything without a host NQN: create one with nvme-discoverctl hostnqn --write, or set hostnqn in [host]`,
		},
		{
			name:  "bad hostnqn",
			files: map[string]string{nqnFile: "nqn.a,b"},
			err:   `/etc/nvme/hostnqn:1:1: cannot use NQN "nqn.a,b": it contains a comma`,
		},
		{
			name:  "bad hostid",
			files: map[string]string{idFile: "1234"},
			err:   `/etc/nvme/hostid:1:1: cannot use host ID "1234": it must be a UUID such as f81d4fae-7dec-11d0-a765-00a0c91e6bf6`,
		},
		{
			name:  "hostnqn is a directory",
			files: map[string]string{nqnFile + "/x": ""},
			err:   "cannot read host identity /etc/nvme/hostnqn: is a directory",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := loadRoot(t, write(t, test.files))
			diff(t, "error", test.err, err)
			diff(t, "identity", []string{test.nqn, test.id}, []string{got.HostNQN, got.HostID})
			diff(t, "warnings", test.warnings, got.Warnings)
			for _, c := range got.Connections {
				diff(t, "identity of the connection", []string{test.nqn, test.id}, []string{c.Wish.TID.HostNQN, c.Wish.TID.HostID})
			}
		})
	}
}

// Whatever the identity files hold, the identity is a whole one that a kernel takes, or none, or an error.
func FuzzIdentity(f *testing.F) {
	f.Add(testNQN+"\n", testID+"\n", "0123456789abcdef0123456789abcdef\n")
	f.Add("nqn.h", "", "")
	f.Add("", "AAAAAAAA-BBBB-4CCC-8DDD-EEEEEEEEEEEE", "uninitialized")
	f.Add("", "", "0123456789ABCDEF0123456789abcdef")
	f.Add("nqn.h,tls", "0", "\x00")
	f.Fuzz(func(t *testing.T, nqn, id, machine string) {
		root := write(t, map[string]string{"etc/nvme/hostnqn": nqn, "etc/nvme/hostid": id, "etc/machine-id": machine})
		got, err := readIdentity(root)
		switch {
		case err != nil && got != (identity{}):
			t.Errorf("an identity beside an error: %+v, %v", got, err)
		case err != nil || got.nqn == "" && got.id == "":
		case tid.CheckNQN(got.nqn) != nil || !tid.IsUUID(got.id):
			t.Errorf("got host NQN %q with ID %q", got.nqn, got.id)
		}
	})
}
