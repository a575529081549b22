// SPDX-License-Identifier: GPL-3.0-or-later

package cli

import (
	"os"
	"testing"
)

func TestRegistryList(t *testing.T) {
	d := newDesk(t)
	d.expect([]string{"registry", "list"}, "! no controller is in the registry\n")
	d.expect([]string{"registry", "list", "--json"}, "{\n  \"entries\": []\n}\n")

	d.write("run/nvme/registry/nvme10/owner", "stas\n")
	d.write("run/nvme/registry/nvme3/owner", "discoverd\n")
	d.write("run/nvme/registry/nvme3/seqnum", "101\n")
	d.write("run/nvme/registry/nvme3/note", "two\nlines \x1b[31m\n")
	d.write("run/nvme/registry/nvme3/owner.tmp.1", "half")
	d.write("run/nvme/registry/nvme3/.note", "hidden\n")
	d.write("run/nvme/registry/nvme4.tmp.1/owner", "half")
	d.write("run/nvme/registry/.nvme5/owner", "hidden\n")
	d.expect([]string{"registry", "list"}, `nvme3    note="two\nlines \x1b[31m" owner=discoverd seqnum=101
nvme10   owner=stas
`)
	d.expect([]string{"registry", "list", "--json"}, `{
  "entries": [
    {
      "device": "nvme3",
      "attributes": {
        "note": "two\nlines \u001b[31m",
        "owner": "discoverd",
        "seqnum": "101"
      }
    },
    {
      "device": "nvme10",
      "attributes": {
        "owner": "stas"
      }
    }
  ]
}
`)
}

// TestRegistryOfOddThings: what does not belong there is told, and the rest works.
func TestRegistryOfOddThings(t *testing.T) {
	d := newDesk(t)
	d.write("run/nvme/registry/nvme3/owner", "discoverd\n")
	d.write("run/nvme/registry/nvme3/directory/file", "")
	d.write("run/nvme/registry/nvme4", "a file")
	for _, name := range []string{"README", "nvme", "nvme3p1", "nvme\xff\n", "-rf", "x"} {
		d.write("run/nvme/registry/"+name, "")
	}
	d.expect([]string{"registry", "list"}, `nvme3    owner=discoverd
! warning: /run/nvme/registry has 6 that are no controllers and are left alone: "-rf", "README", "nvme", "nvme3p1", "nvme\xff\n", …
cannot read /run/nvme/registry/nvme3/directory: read /run/nvme/registry/nvme3/directory: is a directory
cannot list /run/nvme/registry/nvme4: open /run/nvme/registry/nvme4: not a directory
status 1
`)
	d.expect([]string{"registry", "get", "nvme3", "owner"}, "discoverd\n")
	d.expect([]string{"registry", "delete", "nvme4"}, "deleted the entry of nvme4\n")

	if err := os.RemoveAll(d.root.Registry()); err != nil {
		t.Fatal(err)
	}
	d.write("run/nvme/registry", "")
	d.expect([]string{"registry", "list"}, "! cannot list /run/nvme/registry: open /run/nvme/registry: not a directory\nstatus 1\n")
	d.expect([]string{"registry", "list", "--json"}, "{\n  \"entries\": []\n}\n! cannot list /run/nvme/registry: open /run/nvme/registry: not a directory\nstatus 1\n")
}

func TestRegistryGet(t *testing.T) {
	d := newDesk(t)
	d.write("run/nvme/registry/nvme3/owner", "discoverd\n")
	d.write("run/nvme/registry/nvme3/seqnum", "101\n")
	for _, test := range []struct {
		args []string
		want string
	}{
		{[]string{"nvme3"}, "nvme3    owner=discoverd seqnum=101\n"},
		{[]string{"nvme3", "owner"}, "discoverd\n"},
		{[]string{"/dev/nvme3", "owner"}, "discoverd\n"},
		{[]string{"/dev/nvme3"}, "nvme3    owner=discoverd seqnum=101\n"},
		{[]string{"/dev/../nvme3"}, "! cannot use device name \"../nvme3\": it must be nvme and a number, such as nvme3: see nvme-discoverctl registry get --help\nstatus 2\n"},
		{[]string{"nvme3", "seqnum", "--json"}, "{\n  \"device\": \"nvme3\",\n  \"attributes\": {\n    \"seqnum\": \"101\"\n  }\n}\n"},
		{[]string{"nvme3", "colour"}, "! cannot get colour of nvme3: the registry has none\nstatus 1\n"},
		{[]string{"nvme3", "../x"}, "! cannot use attribute name \"../x\": it must be of letters, digits, - and _\nstatus 1\n"},
		{[]string{"nvme4"}, "! cannot get nvme4: it is not in the registry, so nobody owns it\nstatus 1\n"},
		{[]string{"../nvme4"}, "! cannot use device name \"../nvme4\": it must be nvme and a number, such as nvme3: see nvme-discoverctl registry get --help\nstatus 2\n"},
		{nil, "! cannot get: arguments are missing in nvme-discoverctl registry get nvmeN [ATTRIBUTE]: see nvme-discoverctl registry get --help\nstatus 2\n"},
	} {
		d.expect(append([]string{"registry", "get"}, test.args...), test.want)
	}
}

func TestRegistrySet(t *testing.T) {
	d := newDesk(t)
	d.controller(tcp("nvme3", "192.0.2.1", nqn), "")
	set := func(args ...string) []string { return append([]string{"registry", "set"}, args...) }

	d.expect(set("nvme9", "owner", "me"), "! cannot set owner of nvme9: no such fabrics controller is connected\nstatus 1\n")
	d.expect(set("nvme3", "owner", "me"), "owner of nvme3 is me\n")
	d.expect(set("/dev/nvme3", "owner", "me"), "owner of nvme3 is me\n")
	d.holds("run/nvme/registry/nvme3/owner", "me\n")
	d.expect(set("nvme3", "owner", "you"), "! cannot change the owner of nvme3 to you without being sure: nvme3 belongs to me; without a terminal to ask on, --yes says so\nstatus 1\n")
	d.holds("run/nvme/registry/nvme3/owner", "me\n")
	d.expect(set("nvme3", "owner", "you", "--yes"), "owner of nvme3 is you\n")
	d.expect(set("nvme3", "seqnum", "many"), "! cannot set seqnum to \"many\": it must be the number of an event\nstatus 1\n")
	d.expect(set("nvme3", "note", ""), "! cannot set note to nothing: an attribute has a value or is absent\nstatus 1\n")
	d.expect(set("nvme3", "note"), "! cannot set: arguments are missing in nvme-discoverctl registry set nvmeN ATTRIBUTE VALUE: see nvme-discoverctl registry set --help\nstatus 2\n")

	const question = "nvme3 belongs to you. Change the owner of nvme3 to me? [y/N] "
	for _, typed := range []string{"", "\n", "n\n", "yeah\n"} {
		d.typed = typed
		d.expect(set("nvme3", "owner", "me"), "! "+question+"nothing was changed\nstatus 1\n")
		d.holds("run/nvme/registry/nvme3/owner", "you\n")
	}
	d.typed = "Y\n"
	d.expect(set("nvme3", "owner", "me"), "owner of nvme3 is me\n! "+question)
	d.holds("run/nvme/registry/nvme3/owner", "me\n")
}

func TestRegistryDelete(t *testing.T) {
	d := newDesk(t)
	d.write("run/nvme/registry/nvme3/owner", "discoverd\n")
	d.write("run/nvme/registry/nvme3/note", "x\n")
	remove := func(args ...string) []string { return append([]string{"registry", "delete"}, args...) }

	d.expect(remove("nvme3", "note"), "deleted note of nvme3\n")
	d.holds("run/nvme/registry/nvme3/note", "")
	d.expect(remove("nvme3", "owner"), "! cannot delete owner of nvme3 without being sure: nvme3 belongs to discoverd; without a terminal to ask on, --yes says so\nstatus 1\n")
	d.expect(remove("nvme3"), "! cannot delete the entry of nvme3 without being sure: nvme3 belongs to discoverd; without a terminal to ask on, --yes says so\nstatus 1\n")
	d.holds("run/nvme/registry/nvme3/owner", "discoverd\n")
	d.typed = "yes\n"
	d.expect(remove("nvme3"), "deleted the entry of nvme3\n! nvme3 belongs to discoverd. Delete the entry of nvme3? [y/N] ")
	d.holds("run/nvme/registry/nvme3/owner", "")
	d.expect(remove("nvme3"), "! cannot delete the entry of nvme3: it is not in the registry\nstatus 1\n")
	d.expect(remove("nvme3", "note"), "! cannot delete note of nvme3: it is not in the registry\nstatus 1\n")
	d.write("run/nvme/registry/nvme3/note", "x\n")
	d.expect(remove("/dev/nvme3", "note"), "deleted note of nvme3\n")
	d.expect(remove("nvme3", "foo"), "! cannot delete foo of nvme3: it is not in the registry\nstatus 1\n")
}
