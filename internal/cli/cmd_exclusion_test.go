// SPDX-License-Identifier: GPL-3.0-or-later

package cli

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// header is what a list begins with that is made by a command.
const header = `# What nobody is to connect. Each line excludes the connections of which all its keys match:
#   exclusion = transport=tcp;traddr=192.0.2.1
# Keys: transport, traddr, trsvcid, nqn, host-traddr, host-iface, hostnqn, hostid.
[exclusions]
`

const userList = "etc/nvme/exclusions/user.conf"

func exclude(args ...string) []string { return append([]string{"exclusion"}, args...) }

func TestExclusionList(t *testing.T) {
	d := newDesk(t)
	d.expect(exclude("list"), "! there are no exclusion lists\n")
	d.expect(exclude("list", "--json"), "{\n  \"lists\": []\n}\n")
	d.expect(exclude("list", "-N", "user"), "! cannot read exclusion list user: there is no such list, nvme-discoverctl exclusion list shows those that there are\nstatus 1\n")

	d.write(userList, "# mine\nexclusion = nqn=nqn.2024-01.a\nexclude nqn=nqn.2024-01.b\n\nexclusion=transport=fc # all\n")
	d.write("etc/nvme/exclusions/empty.conf", "")
	d.write("etc/nvme/exclusions.conf", "exclusion = colour=red\nexclusion = nqn=nqn.2024-01.c\n")
	d.expect(exclude("list"), `empty  /etc/nvme/exclusions/empty.conf

user  /etc/nvme/exclusions/user.conf
    2  nqn=nqn.2024-01.a
    5  transport=fc

(nvme-cli's)  /etc/nvme/exclusions.conf
    2  nqn=nqn.2024-01.c
! warning: /etc/nvme/exclusions/user.conf:3: cannot use "exclude nqn=nqn.2024-01.b": a line is exclusion = key=value;key=value…; the line excludes nothing
warning: /etc/nvme/exclusions.conf:1: cannot use exclusion "colour=red": unknown key "colour", the keys are transport, traddr, trsvcid, nqn, host-traddr, host-iface, hostnqn, hostid; the line excludes nothing
`)
	d.expect(exclude("list", "--name=user", "--json"), `{
  "lists": [
    {
      "name": "user",
      "file": "/etc/nvme/exclusions/user.conf",
      "entries": [
        {
          "line": 2,
          "entry": "nqn=nqn.2024-01.a"
        },
        {
          "line": 5,
          "entry": "transport=fc"
        }
      ],
      "problems": [
        {
          "line": 3,
          "message": "/etc/nvme/exclusions/user.conf:3: cannot use \"exclude nqn=nqn.2024-01.b\": a line is exclusion = key=value;key=value…; the line excludes nothing"
        }
      ],
      "doubts": []
    }
  ]
}
`)
	d.expect(exclude("list", "--name=../user"), "! cannot use list name \"../user\": it must be of up to 64 letters, digits, ., _ and -: see nvme-discoverctl exclusion list --help\nstatus 2\n")
	d.expect(exclude("list", "--name=user.conf"), "! cannot use list name \"user.conf\": leave out .conf: see nvme-discoverctl exclusion list --help\nstatus 2\n")
}

// TestExclusionsThatCannotBeRead: they are told, and the rest works.
func TestExclusionsThatCannotBeRead(t *testing.T) {
	d := newDesk(t)
	d.write("etc/nvme/exclusions/directory.conf/x", "")
	d.write(userList, "exclusion = nqn=nqn.2024-01.a\n")
	d.write("etc/nvme/exclusions.conf.d", "")
	if err := os.Symlink("/nowhere", d.root.Join("etc/nvme/exclusions/link.conf")); err != nil {
		t.Fatal(err)
	}
	const warnings = "warning: cannot read the exclusion list /etc/nvme/exclusions/directory.conf, which excludes nothing now: read /etc/nvme/exclusions/directory.conf: is a directory\n" +
		"warning: cannot read the exclusion list /etc/nvme/exclusions/link.conf, which excludes nothing now: it is a link to /nowhere, which does not exist\n" +
		"warning: cannot read the exclusion lists of /etc/nvme/exclusions.conf.d, which exclude nothing now: open /etc/nvme/exclusions.conf.d: not a directory\n"
	d.expect(exclude("list"), `directory  /etc/nvme/exclusions/directory.conf

link  /etc/nvme/exclusions/link.conf

user  /etc/nvme/exclusions/user.conf
    1  nqn=nqn.2024-01.a

(nvme-cli's)  /etc/nvme/exclusions.conf.d
! `+warnings+`cannot list everything: 3 of 4 exclusion lists cannot be read
status 1
`)
	d.expect(exclude("test", "transport=loop;nqn=nqn.2024-01.a"), "excluded: transport=loop;nqn=nqn.2024-01.a\n  /etc/nvme/exclusions/user.conf:1: nqn=nqn.2024-01.a\n! "+warnings)
	d.expect(exclude("add", "-N", "link", "-e", "nqn=nqn.2024-01.b"), "! cannot add to exclusion list link: it is a link to /nowhere, which does not exist\nstatus 1\n")
	d.expect(exclude("create", "-N", "link"), "! cannot create exclusion list link: it exists\nstatus 1\n")
	d.typed = ""
	d.expect(exclude("edit", "-N", "directory"), "! cannot edit exclusion list directory: read /etc/nvme/exclusions/directory.conf: is a directory\nstatus 1\n")
	d.expect(exclude("delete", "-N", "link"), "deleted exclusion list link: /etc/nvme/exclusions/link.conf\n")
}

// TestExclusionJunk: a file of rubbish is told in few words.
func TestExclusionJunk(t *testing.T) {
	d := newDesk(t)
	d.write(userList, strings.Repeat("\x00\xff\x1b[31m\n", 1000)+strings.Repeat("x", 1<<20))
	out := d.run("exclusion", "list")
	lines := strings.Split(out, "\n")
	if len(lines) != 23 || len(out) > 8000 {
		t.Errorf("%d lines, %d bytes, want 23 lines and less than 8000 bytes:\n%s", len(lines), len(out), out)
	}
	if want := "warning: /etc/nvme/exclusions/user.conf:21: from here on, 981 more lines that cannot be used exclude nothing"; lines[21] != want {
		t.Errorf("ends with %q, want %q", lines[21], want)
	}
	if strings.ContainsAny(out, "\x00\x1b") {
		t.Error("control characters reach the terminal")
	}
}

func TestExclusionCreateAndDelete(t *testing.T) {
	d := newDesk(t)
	d.expect(exclude("create"), "created exclusion list user: /etc/nvme/exclusions/user.conf\n")
	d.holds(userList, header)
	d.expect(exclude("create"), "! cannot create exclusion list user: it exists\nstatus 1\n")
	d.expect(exclude("create", "--name", "site.2"), "created exclusion list site.2: /etc/nvme/exclusions/site.2.conf\n")
	d.expect(exclude("create", "--name", ".x"), "! cannot use list name \".x\": it must be of up to 64 letters, digits, ., _ and -: see nvme-discoverctl exclusion create --help\nstatus 2\n")
	d.expect(exclude("delete"), "deleted exclusion list user: /etc/nvme/exclusions/user.conf\n")
	d.holds(userList, "")
	d.expect(exclude("delete"), "! cannot delete exclusion list user: there is no such list, nvme-discoverctl exclusion list shows those that there are\nstatus 1\n")
	d.expect(exclude("delete", "site"), "! cannot delete: \"site\" is one argument too many for nvme-discoverctl exclusion delete: see nvme-discoverctl exclusion delete --help\nstatus 2\n")
}

func TestExclusionAdd(t *testing.T) {
	d := newDesk(t)
	d.expect(exclude("add"), "! cannot exclude without knowing what: give --entry key=value;key=value…: see nvme-discoverctl exclusion add --help\nstatus 2\n")
	d.expect(exclude("add", "-e", "traddr=array1"), "! cannot use exclusion \"traddr=array1\": traddr \"array1\" is not an address; a host name cannot be excluded: see nvme-discoverctl exclusion add --help\nstatus 2\n")
	d.expect(exclude("add", "-e", "nqn=nqn.2024-01.a\nexclusion = nqn=nqn.2024-01.b"), "! cannot use exclusion \"nqn=nqn.2024-01.a\\nexclusion = nqn=nqn.2024-01.b\": it must be one line without a comment: see nvme-discoverctl exclusion add --help\nstatus 2\n")
	d.expect(exclude("add", "-e", "host-iface=a #b"), "! cannot use exclusion \"host-iface=a #b\": it must be one line without a comment: see nvme-discoverctl exclusion add --help\nstatus 2\n")
	d.expect(exclude("add", "-e", "host-iface=a\x1bb"), "! cannot use exclusion \"host-iface=a\\x1bb\": host-iface \"a\\x1bb\" contains a control character: see nvme-discoverctl exclusion add --help\nstatus 2\n")
	d.holds(userList, "")

	d.expect(exclude("add", "-e", "transport=tcp;traddr=::1"), "excluded transport=tcp;traddr=::1: /etc/nvme/exclusions/user.conf:5\n")
	d.expect(exclude("add", "-e", " traddr=0:0:0:0:0:0:0:1 ; transport=tcp "), "exclusion list user has it already\n")
	d.holds(userList, header+"exclusion = transport=tcp;traddr=::1\n")

	d.write("etc/nvme/exclusions/site.conf", "exclusion = colour=red\n# without a line feed")
	d.expect(exclude("add", "-N", "site", "-e", "nqn=nqn.2024-01.a"), `excluded nqn=nqn.2024-01.a: /etc/nvme/exclusions/site.conf:3
! warning: /etc/nvme/exclusions/site.conf:2: cannot use exclusion "colour=red": unknown key "colour", the keys are transport, traddr, trsvcid, nqn, host-traddr, host-iface, hostnqn, hostid; the line excludes nothing
`)
	d.holds("etc/nvme/exclusions/site.conf", "[exclusions]\nexclusion = colour=red\nexclusion = nqn=nqn.2024-01.a\n# without a line feed")
}

// TestExclusionShared: where nvme-cli 3 has its places, the commands write there, since its tools read nothing else.
func TestExclusionShared(t *testing.T) {
	d := newDesk(t)
	const shared = "etc/nvme/exclusions.conf.d/user.conf"
	d.write(userList, "exclusion = nqn=nqn.2024-01.old\n")
	d.write("etc/nvme/exclusions.conf", "[exclusions]\nexclusion = nqn=nqn.2024-01.theirs\n")
	d.expect(exclude("add", "-e", "nqn=nqn.2024-01.a"), "excluded nqn=nqn.2024-01.a: /etc/nvme/exclusions.conf.d/user.conf:5\n")
	d.holds(shared, header+"exclusion = nqn=nqn.2024-01.a\n")
	d.edits("exclusion = nqn=nqn.2024-01.b\n", nil)
	d.typed = ""
	d.expect(exclude("edit"), "saved exclusion list user\n! note: exclusion list user is in /etc/nvme/exclusions/user.conf too, which this does not edit\n")
	d.holds(shared, "[exclusions]\nexclusion = nqn=nqn.2024-01.b\n")
	d.expect(exclude("list"), `user  /etc/nvme/exclusions/user.conf
    1  nqn=nqn.2024-01.old

(nvme-cli's)  /etc/nvme/exclusions.conf
    2  nqn=nqn.2024-01.theirs

user  /etc/nvme/exclusions.conf.d/user.conf
    2  nqn=nqn.2024-01.b
`)
	d.typed = "2\n"
	d.expect(exclude("remove"), "removed nqn=nqn.2024-01.old: was /etc/nvme/exclusions/user.conf:1\n!     1  nqn=nqn.2024-01.b\n    2  nqn=nqn.2024-01.old\nNumber of the entry to remove (empty for none): ")
	d.expect(exclude("delete"), "deleted exclusion list user: /etc/nvme/exclusions.conf.d/user.conf\ndeleted exclusion list user: /etc/nvme/exclusions/user.conf\n")
	d.expect(exclude("create"), "created exclusion list user: /etc/nvme/exclusions.conf.d/user.conf\n")
	d.expect(exclude("list", "-N", "user"), "user  /etc/nvme/exclusions.conf.d/user.conf\n")
}

func TestExclusionOfTheFirmwares(t *testing.T) {
	d := newDesk(t)
	d.controller(tcp("nvme1", "192.0.2.1", nqn), "nbft")
	d.expect(exclude("add", "-e", "traddr=192.0.2.2"), "excluded traddr=192.0.2.2: /etc/nvme/exclusions/user.conf:5\n")
	const because = "nvme1 (tcp, 192.0.2.1, 4420, " + nqn + ") is of the boot firmware and would not be connected again"
	d.expect(exclude("add", "-e", "transport=tcp"), "! cannot exclude transport=tcp without being sure: "+because+"; without a terminal to ask on, --yes says so\nstatus 1\n")
	d.typed = "\n"
	d.expect(exclude("add", "-e", "transport=tcp"), "! "+because+". Exclude transport=tcp? [y/N] nothing was changed\nstatus 1\n")
	d.holds(userList, header+"exclusion = traddr=192.0.2.2\n")
	d.expect(exclude("add", "-e", "transport=tcp", "--yes"), "excluded transport=tcp: /etc/nvme/exclusions/user.conf:6\n")
}

func TestExclusionRemove(t *testing.T) {
	d := newDesk(t)
	const list = "# mine\nexclusion = nqn=nqn.2024-01.a\nexclusion = traddr=::1;transport=tcp # that one\nexclusion = colour=red\nrubbish\nexclusion = nqn=nqn.2024-01.b\n"
	d.write(userList, list)
	d.expect(exclude("remove"), "! cannot remove an exclusion without knowing which: give --entry key=value;key=value…: see nvme-discoverctl exclusion remove --help\nstatus 2\n")
	d.expect(exclude("remove", "-e", "nqn=nqn.2024-01.c"), "! cannot remove from exclusion list user: it has no entry \"nqn=nqn.2024-01.c\"\nstatus 1\n")
	d.expect(exclude("remove", "-e", "transport=tcp"), "! cannot remove from exclusion list user: it has no entry \"transport=tcp\"\nstatus 1\n")
	d.expect(exclude("remove", "-e", "nqn=nqn.2024-01.a", "-N", "site"), "! cannot remove from exclusion list site: there is no such list, nvme-discoverctl exclusion list shows those that there are\nstatus 1\n")
	d.holds(userList, list)
	d.expect(exclude("remove", "-e", "transport=tcp;traddr=0::1"), "removed traddr=::1;transport=tcp: was /etc/nvme/exclusions/user.conf:3\n")
	d.expect(exclude("remove", "-e", "colour=red"), "removed colour=red: was /etc/nvme/exclusions/user.conf:3\n")
	d.expect(exclude("remove", "-e", "rubbish"), "removed rubbish: was /etc/nvme/exclusions/user.conf:3\n")
	d.holds(userList, "# mine\nexclusion = nqn=nqn.2024-01.a\nexclusion = nqn=nqn.2024-01.b\n")

	const shown = "!     1  nqn=nqn.2024-01.a\n    2  nqn=nqn.2024-01.b\nNumber of the entry to remove (empty for none): "
	for typed, want := range map[string]string{
		"":     shown + "nothing was changed\nstatus 1\n",
		"\n":   shown + "nothing was changed\nstatus 1\n",
		"0\n":  shown + "cannot remove entry 0: give a number from 1 to 2\nstatus 1\n",
		"3\n":  shown + "cannot remove entry 3: give a number from 1 to 2\nstatus 1\n",
		"b\n":  shown + "cannot remove entry b: give a number from 1 to 2\nstatus 1\n",
		" 2\n": "removed nqn=nqn.2024-01.b: was /etc/nvme/exclusions/user.conf:3\n" + shown,
	} {
		d.write(userList, "# mine\nexclusion = nqn=nqn.2024-01.a\nexclusion = nqn=nqn.2024-01.b\n")
		d.typed = typed
		d.expect(exclude("remove"), want)
	}
	d.write(userList, "")
	d.typed = "1\n"
	d.expect(exclude("remove"), "! cannot remove from exclusion list user: it has no entries\nstatus 1\n")
}

// edits makes the editor of d one that writes text, after meanwhile.
func (d *desk) edits(text string, meanwhile func()) {
	d.program = func(argv []string) error {
		if meanwhile != nil {
			meanwhile()
		}
		return os.WriteFile(argv[len(argv)-1], []byte(text), 0o600)
	}
}

// drafts returns the copies that are left, by content.
func (d *desk) drafts() map[string]string {
	found, _ := filepath.Glob(d.root.Join("etc/nvme/exclusions/*.edit.*"))
	left := make(map[string]string)
	for _, path := range found {
		data, err := os.ReadFile(path)
		if err != nil {
			d.Fatal(err)
		}
		left[strings.TrimPrefix(path, string(d.root))] = string(data)
	}
	return left
}

// TestExclusionAddMistyped: what can exclude nothing is refused, but for a name that a controller really has.
func TestExclusionAddMistyped(t *testing.T) {
	const help = ": see nvme-discoverctl exclusion add --help\nstatus 2\n"
	const form = "is not an NQN: it must begin as nqn.2024-01.com.example does, with nqn, a year and month, and a domain name in reverse"
	d := newDesk(t)
	d.expect(exclude("add", "-e", "nqn=foo"), "! cannot use exclusion \"nqn=foo\": nqn \"foo\" "+form+help)
	d.expect(exclude("add", "-e", "transport=tcp;hostnqn=foo"), "! cannot use exclusion \"transport=tcp;hostnqn=foo\": hostnqn \"foo\" "+form+help)
	d.expect(exclude("add", "-e", "hostid=xyz"), "! cannot use exclusion \"hostid=xyz\": hostid \"xyz\" must be a UUID such as f81d4fae-7dec-11d0-a765-00a0c91e6bf6"+help)
	d.holds(userList, "")
	d.controller(tcp("nvme1", "192.0.2.1", "foo"), "")
	d.expect(exclude("add", "-e", "nqn=foo"), "excluded nqn=foo: /etc/nvme/exclusions/user.conf:5\n! warning: /etc/nvme/exclusions/user.conf:5: exclusion \"nqn=foo\" excludes nothing but what has just this name: nqn \"foo\" "+form+"\n")
}

func TestExclusionEdit(t *testing.T) {
	d := newDesk(t)
	d.edits(header, nil)
	d.expect(exclude("edit"), "! cannot edit exclusion list user without a terminal: use exclusion add and exclusion remove\nstatus 1\n")
	if len(d.programs)+len(d.drafts()) > 0 {
		t.Errorf("without a terminal: ran %q, left %v", d.programs, d.drafts())
	}
	d.typed = ""
	d.expect(exclude("edit"), "exclusion list user stays as it is\n")
	d.holds(userList, "")
	d.edits("exclusion = nqn=nqn.2024-01.a\n", nil)
	d.expect(exclude("edit"), "saved exclusion list user\n")
	d.holds(userList, "[exclusions]\nexclusion = nqn=nqn.2024-01.a\n")
	d.edits("[exclusions]\nexclusion = nqn=nqn.2024-01.a\n", nil)
	d.expect(exclude("edit"), "exclusion list user stays as it is\n")
	d.edits("exclusion = nqn=vol1\n", nil)
	const doubt = "exclusion \"nqn=vol1\" excludes nothing but what has just this name: nqn \"vol1\" is not an NQN: it must begin as nqn.2024-01.com.example does, with nqn, a year and month, and a domain name in reverse\n"
	d.expect(exclude("edit"), "saved exclusion list user\n! warning: /etc/nvme/exclusions/user.conf:2: "+doubt)
	d.expect(exclude("list"), "user  /etc/nvme/exclusions/user.conf\n    2  nqn=vol1\n! warning: /etc/nvme/exclusions/user.conf:2: "+doubt)
	d.edits("", nil)
	d.expect(exclude("edit"), "saved exclusion list user\n")
	d.holds(userList, "")
	if diff := cmp.Diff(map[string]string{}, d.drafts()); diff != "" {
		t.Errorf("left (-want +got):\n%s", diff)
	}

	d.programs = nil
	d.program = nil // fails
	d.env["EDITOR"] = "nano -w"
	d.expect(exclude("edit"), "! cannot edit exclusion list user with nano: exit status 1: set VISUAL or EDITOR to another editor\nstatus 1\n")
	d.env["VISUAL"] = "/opt/editor"
	d.expect(exclude("edit"), "! cannot edit exclusion list user with /opt/editor: exit status 1: set VISUAL or EDITOR to another editor\nstatus 1\n")
	d.env["VISUAL"], d.env["EDITOR"] = " ", ""
	d.expect(exclude("edit"), "! cannot edit exclusion list user with vi: exit status 1: set VISUAL or EDITOR to another editor\nstatus 1\n")
	for i, want := range []string{"nano -w ", "/opt/editor ", "vi "} {
		if got, _, _ := strings.Cut(d.programs[i], "/etc/nvme/exclusions/user.conf.edit."); got != want {
			t.Errorf("ran %q, want it to begin with %q", d.programs[i], want)
		}
	}
	if diff := cmp.Diff(map[string]string{}, d.drafts()); diff != "" {
		t.Errorf("left (-want +got):\n%s", diff)
	}
}

// TestExclusionEditKept: an edit that cannot be saved is not lost, and the list stays.
func TestExclusionEditKept(t *testing.T) {
	for _, test := range []struct {
		name      string
		edit      string
		meanwhile string // what somebody else writes; "gone" removes the list
		want      string // DRAFT stands for the copy's path
		list      string
	}{
		{
			"bad line", "exclusion = nqn=nqn.2024-01.a\nexclusion = traddr=array1\n", "",
			"! DRAFT:2: cannot use exclusion \"traddr=array1\": traddr \"array1\" is not an address; a host name cannot be excluded; the line excludes nothing\n", "exclusion = nqn=nqn.2024-01.a\n",
		},
		{
			"changed meanwhile", "exclusion = nqn=nqn.2024-01.b\n", "exclusion = nqn=nqn.2024-01.c\n",
			"! cannot save exclusion list user: somebody else has changed it meanwhile\n", "exclusion = nqn=nqn.2024-01.c\n",
		},
		{
			"deleted meanwhile", "exclusion = nqn=nqn.2024-01.b\n", "gone",
			"! cannot save exclusion list user: somebody else has changed it meanwhile\n", "",
		},
		{
			"the firmware's", "exclusion = nqn=nqn.2024-01.a\nexclusion = transport=tcp\n", "",
			"! nvme1 (tcp, 192.0.2.1, 4420, " + nqn + ") is of the boot firmware and would not be connected again. Save exclusion list user? [y/N] nothing was changed\n",
			"exclusion = nqn=nqn.2024-01.a\n",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			d := newDesk(t)
			d.typed = ""
			d.controller(tcp("nvme1", "192.0.2.1", nqn), "nbft")
			d.write(userList, "exclusion = nqn=nqn.2024-01.a\n")
			d.edits(test.edit, func() {
				switch test.meanwhile {
				case "":
				case "gone":
					if err := os.Remove(d.root.Join(userList)); err != nil {
						t.Error(err)
					}
				default:
					d.write(userList, test.meanwhile)
				}
			})
			out := d.run("exclusion", "edit")
			drafts := d.drafts()
			if len(drafts) != 1 {
				t.Fatalf("drafts: %v", drafts)
			}
			for path, text := range drafts {
				out = strings.ReplaceAll(out, path, "DRAFT")
				if text != test.edit {
					t.Errorf("the copy is %q, want %q", text, test.edit)
				}
			}
			want := test.want + "exclusion list user stays as it was; your edit is in DRAFT\nstatus 1\n"
			if diff := cmp.Diff(want, out); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			d.holds(userList, test.list)
			if list := d.run("exclusion", "list", "--json"); strings.Contains(list, "edit") {
				t.Errorf("the copy counts as a list: %s", list)
			}
		})
	}
}

func TestExclusionTest(t *testing.T) {
	d := newDesk(t)
	d.write("etc/nvme/hostnqn", "nqn.2014-08.org.nvmexpress:uuid:1\n")
	d.write(userList, "exclusion = transport=tcp\nexclusion = nqn="+nqn+";host-iface=eth0\nexclusion = hostnqn=nqn.2014-08.org.nvmexpress:uuid:1;trsvcid=4420\nexclusion = nqn=nqn.2014-08.org.nvmexpress.discovery\n")
	d.write("etc/nvme/exclusions/site.conf", "exclusion = traddr=192.0.2.2\n")
	pinned := tcp("nvme2", "192.0.2.2", nqn)
	pinned.HostIface = "eth0"
	d.controller(pinned, "discoverd")
	dc := tcp("nvme3", "192.0.2.3", "nqn.2024-01.com.example:dc")
	dc.Type, dc.Trsvcid = "discovery", "8009"
	d.controller(dc, "")
	d.controller(tcp("nvme4", "192.0.2.4", "nqn.\x1b[2J"), "")
	d.write("run/nvme/discoverd/units/nvme-discoverd-0123456789ab.devid", "nvme2\n")
	d.write("run/nvme/discoverd/controllers/nvme2/unit", unit+"\n")

	const ofNVMe2 = "excluded: transport=tcp;traddr=192.0.2.2;trsvcid=4420;nqn=" + nqn + ";host-iface=eth0;hostnqn=nqn.2014-08.org.nvmexpress:uuid:1;hostid=1\n" +
		"  /etc/nvme/exclusions/site.conf:1: traddr=192.0.2.2\n" +
		"  /etc/nvme/exclusions/user.conf:1: transport=tcp\n" +
		"  /etc/nvme/exclusions/user.conf:2: nqn=" + nqn + ";host-iface=eth0\n" +
		"  /etc/nvme/exclusions/user.conf:3: hostnqn=nqn.2014-08.org.nvmexpress:uuid:1;trsvcid=4420\n"
	for _, test := range []struct{ what, want string }{
		{"nvme2", ofNVMe2},
		{unit, ofNVMe2},
		{
			"nvme3", "excluded: transport=tcp;traddr=192.0.2.3;trsvcid=8009;nqn=nqn.2024-01.com.example:dc;hostnqn=nqn.2014-08.org.nvmexpress:uuid:1;hostid=1\n" +
				"  /etc/nvme/exclusions/user.conf:1: transport=tcp\n" +
				"  /etc/nvme/exclusions/user.conf:4: nqn=nqn.2014-08.org.nvmexpress.discovery\n",
		},
		{
			"nqn=" + nqn + ";transport=rdma;traddr=2001:DB8::1;", "excluded: transport=rdma;traddr=2001:db8::1;trsvcid=4420;nqn=" + nqn + ";hostnqn=nqn.2014-08.org.nvmexpress:uuid:1;hostid=bcefaf7f-8657-4815-b428-5fa2664d8eb9\n" +
				"  /etc/nvme/exclusions/user.conf:3: hostnqn=nqn.2014-08.org.nvmexpress:uuid:1;trsvcid=4420\n",
		},
		{"transport=loop;nqn=nqn.2024-01.x", "not excluded: transport=loop;nqn=nqn.2024-01.x;hostnqn=nqn.2014-08.org.nvmexpress:uuid:1;hostid=bcefaf7f-8657-4815-b428-5fa2664d8eb9\n"},
		{"nvme4", `excluded: transport=tcp;traddr=192.0.2.4;trsvcid=4420;nqn=nqn.\x1b[2J;hostnqn=nqn.2014-08.org.nvmexpress:uuid:1;hostid=1` + "\n" +
			"  /etc/nvme/exclusions/user.conf:1: transport=tcp\n  /etc/nvme/exclusions/user.conf:3: hostnqn=nqn.2014-08.org.nvmexpress:uuid:1;trsvcid=4420\n"},
		{"nvme9", "! cannot test nvme9: no such fabrics controller is connected: give its TID\nstatus 1\n"},
		{"nvme-discoverd-000000000000.service", "! cannot test nvme-discoverd-000000000000.service: it has no controller on record: give the TID of its connection\nstatus 1\n"},
		{"sshd.service", "! cannot use unit name \"sshd.service\": it must be that of an nvme-discoverd-….service\nstatus 1\n"},
		{"array", "! cannot test array: give a TID such as \"transport=tcp;traddr=192.0.2.1;nqn=…\", a device nvmeN or a unit of nvme-discoverd: see nvme-discoverctl exclusion test --help\nstatus 2\n"},
		{"colour=red", "! cannot use TID colour=red: unknown key colour, the keys are transport, traddr, trsvcid, nqn, host-traddr, host-iface, hostnqn, hostid: see nvme-discoverctl exclusion test --help\nstatus 2\n"},
		{"traddr=192.0.2.1", "! cannot test traddr=192.0.2.1 without a transport: give tcp, rdma, fc or loop: see nvme-discoverctl exclusion test --help\nstatus 2\n"},
		{"transport=tcp;traddr=192.0.2.1", "! cannot test transport=tcp;traddr=192.0.2.1 without the nqn of its subsystem: see nvme-discoverctl exclusion test --help\nstatus 2\n"},
		{"transport=loop;nqn=x;hostid=xyz", "! cannot use hostid \"xyz\": it must be a UUID such as f81d4fae-7dec-11d0-a765-00a0c91e6bf6: see nvme-discoverctl exclusion test --help\nstatus 2\n"},
		{"transport=tcp;traddr=array1", "! cannot use traddr \"array1\": transport tcp needs an IP address: see nvme-discoverctl exclusion test --help\nstatus 2\n"},
	} {
		d.expect(exclude("test", test.what), test.want)
	}
	d.expect(exclude("test", "--json", "nvme2"), `{
  "tids": [
    "transport=tcp;traddr=192.0.2.2;trsvcid=4420;nqn=`+nqn+`;host-iface=eth0;hostnqn=nqn.2014-08.org.nvmexpress:uuid:1;hostid=1"
  ],
  "device": "nvme2",
  "excluded": true,
  "entries": [
    {
      "file": "/etc/nvme/exclusions/site.conf",
      "line": 1,
      "entry": "traddr=192.0.2.2"
    },
    {
      "file": "/etc/nvme/exclusions/user.conf",
      "line": 1,
      "entry": "transport=tcp"
    },
    {
      "file": "/etc/nvme/exclusions/user.conf",
      "line": 2,
      "entry": "nqn=`+nqn+`;host-iface=eth0"
    },
    {
      "file": "/etc/nvme/exclusions/user.conf",
      "line": 3,
      "entry": "hostnqn=nqn.2014-08.org.nvmexpress:uuid:1;trsvcid=4420"
    }
  ],
  "problems": []
}
`)
	d.write(userList, "rubbish\n")
	d.expect(exclude("test", "--json", "transport=loop;nqn=nqn.2024-01.x"), `{
  "tids": [
    "transport=loop;nqn=nqn.2024-01.x;hostnqn=nqn.2014-08.org.nvmexpress:uuid:1;hostid=bcefaf7f-8657-4815-b428-5fa2664d8eb9"
  ],
  "excluded": false,
  "entries": [],
  "problems": [
    "/etc/nvme/exclusions/user.conf:1: cannot use \"rubbish\": a line is exclusion = key=value;key=value…; the line excludes nothing"
  ]
}
`)
}

// TestLongList: the commands hold out on a list of ten thousand entries.
func TestLongList(t *testing.T) {
	d := newDesk(t)
	var list strings.Builder
	for i := range 10_000 {
		fmt.Fprintf(&list, "exclusion = nqn=nqn.2024-01.com.example:%d\n", i)
	}
	d.write(userList, list.String())
	d.expect(exclude("add", "-e", "nqn=nqn.2024-01.com.example:9999"), "exclusion list user has it already\n")
	d.expect(exclude("add", "-e", "nqn=nqn.2024-01.new"), "excluded nqn=nqn.2024-01.new: /etc/nvme/exclusions/user.conf:10002\n")
	d.expect(exclude("test", "transport=loop;nqn=nqn.2024-01.new"), "excluded: transport=loop;nqn=nqn.2024-01.new\n  /etc/nvme/exclusions/user.conf:10002: nqn=nqn.2024-01.new\n")
	d.typed = ""
	d.program = func(argv []string) error {
		path := argv[len(argv)-1]
		data, err := os.ReadFile(path)
		return errors.Join(err, os.WriteFile(path, append(data, "exclusion = nqn=nqn.2024-01.newer\n"...), 0o600))
	}
	d.expect(exclude("edit"), "saved exclusion list user\n")
	d.expect(exclude("remove", "-e", "nqn=nqn.2024-01.newer"), "removed nqn=nqn.2024-01.newer: was /etc/nvme/exclusions/user.conf:10003\n")
}
