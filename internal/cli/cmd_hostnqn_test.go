// SPDX-License-Identifier: GPL-3.0-or-later

package cli

import (
	"os"
	"testing"

	"github.com/nvme-discoverd/nvme-discoverd/internal/tid"
)

const (
	machineID   = "0123456789abcdef0123456789abcdef\n"
	ofMachine   = "dc43e2d4-44fb-4331-8814-cee90f938094" // what is derived from it
	uuidNQN     = "nqn.2014-08.org.nvmexpress:uuid:"
	clonedID    = "11111111-2222-4333-8444-555555555555"
	derivedFrom = "  derived from the machine ID\n"
)

func TestHostNQN(t *testing.T) {
	show := []string{"hostnqn"}
	write := []string{"hostnqn", "--write"}
	d := newDesk(t)
	d.expect(show, "! cannot tell the identity of this host: it has neither a hostnqn nor a machine ID: create one with nvme-discoverctl hostnqn --write\nstatus 1\n")
	d.write("etc/machine-id", machineID)
	d.expect(show, "hostnqn  "+uuidNQN+ofMachine+derivedFrom+"hostid   "+ofMachine+"                                "+derivedFrom)
	const written = "hostnqn  " + uuidNQN + ofMachine + "  /etc/nvme/hostnqn\nhostid   " + ofMachine + "                                  /etc/nvme/hostid\n"
	d.expect(write, written+"! wrote /etc/nvme/hostnqn\nwrote /etc/nvme/hostid\n")
	d.holds("etc/nvme/hostnqn", uuidNQN+ofMachine+"\n")
	d.holds("etc/nvme/hostid", ofMachine+"\n")
	d.expect(write, written)
	d.expect(append(write, "--force"), written)
	d.expect([]string{"hostnqn", "--json"}, `{
  "hostnqn": {
    "value": "`+uuidNQN+ofMachine+`",
    "from": "/etc/nvme/hostnqn"
  },
  "hostid": {
    "value": "`+ofMachine+`",
    "from": "/etc/nvme/hostid"
  }
}
`)
	d.expect([]string{"hostnqn", "--force"}, "! cannot use --force without --write: see nvme-discoverctl hostnqn --help\nstatus 2\n")
}

// TestHostNQNKeeps: what is written down already stays, and what is missing follows from it.
func TestHostNQNKeeps(t *testing.T) {
	d := newDesk(t)
	d.write("etc/machine-id", machineID)
	d.write("etc/nvme/hostnqn", uuidNQN+clonedID+"\n")
	d.expect([]string{"hostnqn", "--write"}, "hostnqn  "+uuidNQN+clonedID+"  /etc/nvme/hostnqn\nhostid   "+clonedID+"                                  /etc/nvme/hostid\n! wrote /etc/nvme/hostid\n")
	d.holds("etc/nvme/hostnqn", uuidNQN+clonedID+"\n")

	d.write("etc/nvme/hostid", "")
	d.expect([]string{"hostnqn", "--write"}, "! cannot write /etc/nvme/hostid: it exists, empty or just made by another program; --write --force replaces it\nstatus 1\n")
	d.write("etc/nvme/hostid", "1234\n")
	d.expect([]string{"hostnqn", "--write"}, "! /etc/nvme/hostid:1:1: cannot use host ID \"1234\": it must be a UUID such as f81d4fae-7dec-11d0-a765-00a0c91e6bf6; --write --force replaces both files\nstatus 1\n")
	d.holds("etc/nvme/hostid", "1234\n")
}

// TestHostNQNForce: a clone gets an identity of its own, once somebody is sure.
func TestHostNQNForce(t *testing.T) {
	const because = uuidNQN + clonedID + " becomes " + uuidNQN + ofMachine + ", derived from the machine ID; targets that know the host by the old name refuse it from its next connect on"
	const written = "hostnqn  " + uuidNQN + ofMachine + "  /etc/nvme/hostnqn\nhostid   " + ofMachine + "                                  /etc/nvme/hostid\n"
	const told = "wrote /etc/nvme/hostnqn and /etc/nvme/hostid; the service uses them from its next reload on: systemctl reload nvme-discoverd\n"
	force := []string{"hostnqn", "--write", "--force"}
	d := newDesk(t)
	d.write("etc/machine-id", machineID)
	d.write("etc/nvme/hostnqn", uuidNQN+clonedID+"\n")
	d.expect(force, "! cannot replace the identity of this host without being sure: "+because+"; without a terminal to ask on, --yes says so\nstatus 1\n")
	d.typed = "n\n"
	d.expect(force, "! "+because+". Replace the identity of this host? [y/N] nothing was changed\nstatus 1\n")
	d.holds("etc/nvme/hostnqn", uuidNQN+clonedID+"\n")
	d.typed = "y\n"
	d.expect(force, written+"! "+because+". Replace the identity of this host? [y/N] "+told)
	d.typed = noTerminal
	d.write("etc/nvme/hostid", "1234\n")
	d.expect(append(force, "--yes"), written+"! "+told)
}

// TestHostNQNAtRandom: a host without a machine ID gets an identity that lasts.
func TestHostNQNAtRandom(t *testing.T) {
	d := newDesk(t)
	first := d.run("hostnqn", "--write")
	id, err := os.ReadFile(d.root.HostID())
	if err != nil || len(id) != 37 || !tid.IsUUID(string(id[:36])) {
		t.Fatalf("host ID %q, %v\n%s", id, err, first)
	}
	d.holds("etc/nvme/hostnqn", uuidNQN+string(id))
}
