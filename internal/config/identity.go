// SPDX-License-Identifier: GPL-3.0-or-later

package config

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/nvme-discoverd/nvme-discoverd/internal/paths"
	"github.com/nvme-discoverd/nvme-discoverd/internal/secret"
	"github.com/nvme-discoverd/nvme-discoverd/internal/tid"
)

// uuidNQN begins an NQN that is made from a UUID (NVMe Base Specification 2.0, section 4.5).
const uuidNQN = "nqn.2014-08.org.nvmexpress:uuid:"

// appID makes what is derived here differ from what other programs derive from the same thing. In the form that
// systemd-id128(1) takes: 6d1f0c5b2e8a4f3c9b7d51e04a86c2f9.
const appID = "\x6d\x1f\x0c\x5b\x2e\x8a\x4f\x3c\x9b\x7d\x51\xe0\x4a\x86\xc2\xf9"

// FromMachineID is where the identity of a host comes from that was given none.
const FromMachineID = "derived from the machine ID"

// errNoUUID says how a host ID looks.
var errNoUUID = errors.New("it must be a UUID such as f81d4fae-7dec-11d0-a765-00a0c91e6bf6")

// Identity is who the host is to its targets where no [host] of the configuration says otherwise.
type Identity struct {
	NQN, ID         string // both or neither, the latter where the host has neither a file nor a machine ID
	NQNFrom, IDFrom string // for people: the file, or what the value is derived from
	NQNGiven        bool   // by its file
	IDGiven         bool   // by its file
}

// HostIdentity returns the identity of the host itself. An error is that of a file that cannot be read or used.
func HostIdentity(root paths.Root) (Identity, error) {
	known, err := readIdentity(root)
	if err != nil {
		return Identity{}, err
	}
	return known.exported(), nil
}

// NewIdentity returns the identity of a host without identity files: the one that is derived from its machine ID, or of a
// host without such an ID one made at random.
func NewIdentity(root paths.Root) (Identity, error) {
	id, err := machineUUID(root)
	if err != nil {
		return Identity{}, err
	}
	fresh := identity{id: id, nqnFile: root.HostNQN(), idFile: root.HostID(), derived: true}
	if id != "" {
		return fresh.completed().exported(), nil
	}
	random := make([]byte, 32)
	_, _ = rand.Read(random) // never fails
	fresh.id = derivedUUID(random, []byte(appID))
	out := fresh.completed().exported()
	out.NQNFrom, out.IDFrom = "made at random", "made at random"
	return out, nil
}

// HostIDOf returns the host ID that goes with a host NQN other than the host's own.
func HostIDOf(nqn string) string { return hostIDOf(nqn) }

// exported returns an identity for other packages.
func (i identity) exported() Identity {
	return Identity{NQN: i.nqn, ID: i.id, NQNFrom: i.nqnFrom(), IDFrom: i.idFrom(), NQNGiven: i.nqnGiven, IDGiven: i.idGiven}
}

// identity is who the host is to its targets.
type identity struct {
	nqn, id string
	nqnFile string // where people put the NQN
	idFile  string // and the ID
	derived bool   // from the machine ID: neither file is there

	nqnGiven, idGiven bool // by its file

	odd string // warning that the NQN of its file is not in the form of one, "" if it is
}

// readIdentity returns the identity of the host itself. One of the files hostnqn and hostid is enough: the other value
// follows from it. Without both it is derived from /etc/machine-id as sd_id128_get_machine_app_specific(3) does, so that
// it is stable, unique, and does not give the machine ID away. Without any of the three the identity is empty.
func readIdentity(root paths.Root) (identity, error) {
	nqn, err := readLine(root.HostNQN())
	if err != nil {
		return identity{}, err
	}
	id, err := readLine(root.HostID())
	if err != nil {
		return identity{}, err
	}
	known := identity{
		nqn: tid.FoldNQN(nqn), id: strings.ToLower(id), nqnFile: root.HostNQN(), idFile: root.HostID(),
		nqnGiven: nqn != "", idGiven: id != "",
	}
	if nqn != "" {
		if err := tid.CheckNQN(nqn); err != nil {
			return identity{}, fmt.Errorf("%s:1:1: %v", root.HostNQN(), err)
		}
		if err := tid.CheckForm(nqn); err != nil {
			known.odd = fmt.Sprintf("%s:1:1: %v", root.HostNQN(), err)
		}
	}
	if id != "" && !tid.IsUUID(known.id) {
		return identity{}, fmt.Errorf("%s:1:1: cannot use host ID %q: %v", root.HostID(), id, errNoUUID)
	}
	if nqn == "" && id == "" {
		if known.id, err = machineUUID(root); err != nil {
			return identity{}, err
		}
		known.derived = known.id != ""
	}
	return known.completed(), nil
}

// completed returns i with the missing one of its two values made from the other.
func (i identity) completed() identity {
	switch {
	case i.nqn == "" && i.id != "":
		i.nqn = uuidNQN + i.id
	case i.nqn != "" && i.id == "":
		i.id = hostIDOf(i.nqn)
	}
	return i
}

// hostIDOf returns the host ID that goes with a host NQN: the UUID in it, or else one derived from it. The kernel wants one
// host ID for each host NQN, and another for another (drivers/nvme/host/fabrics.c, nvmf_host_add).
func hostIDOf(nqn string) string {
	if id, ok := strings.CutPrefix(nqn, uuidNQN); ok && tid.IsUUID(id) {
		return strings.ToLower(id)
	}
	return derivedUUID([]byte(appID), []byte(nqn))
}

// machineUUID returns the UUID that is derived from /etc/machine-id, "" if there is none (machine-id(5)).
func machineUUID(root paths.Root) (string, error) {
	text, err := readLine(root.MachineID())
	if err != nil {
		return "", err
	}
	machine, err := hex.DecodeString(text)
	if err != nil || len(machine) != 16 {
		return "", nil // "uninitialized" while the first boot sets the host up
	}
	return derivedUUID(machine, []byte(appID)), nil
}

// derivedUUID makes a UUID of version 4 from the HMAC-SHA256 of a message.
func derivedUUID(key, message []byte) string {
	mac := hmac.New(sha256.New, key)
	mac.Write(message) // never fails
	u := mac.Sum(nil)[:16]
	u[6] = u[6]&0x0f | 0x40
	u[8] = u[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", u[:4], u[4:6], u[6:8], u[8:10], u[10:])
}

// readLine returns the first line of a small file without the white space around it, "" if there is no such file.
func readLine(file string) (string, error) {
	text, _, err := read(file)
	text = strings.TrimPrefix(text, byteOrderMark)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("cannot read host identity %s: %w", file, err)
	}
	line, _, _ := strings.Cut(strings.TrimSpace(text), "\n")
	return strings.TrimSpace(line), nil
}

// persona is the identity that a file's connections have.
type persona struct {
	identity
	explicit        bool   // the file sets the host NQN
	where           string // the place of its host NQN
	nqnFrom, idFrom string // where each value comes from

	secrets secret.Set // of [host]
	ref     secret.Ref // and their name

	faults    []fault // of [host] and of the identity
	unknowing bool    // the identity is not the one that the file asks for
}

// identityOf returns the identity that [host] of a file asks for. A host NQN of its own brings its own host ID: the host's
// belongs to the host's NQN.
func (r *resolver) identityOf(s *source) persona {
	host := s.section(secHost)
	own := persona{identity: r.known, where: r.known.nqnFile, nqnFrom: r.known.nqnFrom(), idFrom: r.known.idFrom()}
	if nqn := tid.FoldNQN(host.text("hostnqn")); nqn != "" {
		if err := tid.CheckNQN(nqn); err != nil {
			own.refuse(s.wrong(host.place("hostnqn"), "hostnqn", true, "cannot set hostnqn: %v", err))
			return own
		}
		if err := tid.CheckForm(nqn); err != nil {
			s.found.warnings.add(host.place("hostnqn"), "hostnqn %v", err)
		}
		own.explicit, own.where = true, s.place(host.place("hostnqn"))
		own.nqnFrom = own.where
		if nqn != r.known.nqn {
			own.identity, own.idFrom = identity{nqn: nqn}, "derived from hostnqn"
		}
	}
	if id := host.text("hostid"); id != "" {
		at := host.place("hostid")
		switch own.id = strings.ToLower(id); {
		case !tid.IsUUID(own.id) || own.id == "00000000-0000-0000-0000-000000000000":
			own.refuse(s.wrong(at, "hostid", true, "cannot set hostid to %q: %v", id, errNoUUID))
			own.id = ""
		case s.dropIn && !own.explicit:
			own.refuse(s.wrong(at, "hostid", true, "cannot set hostid without hostnqn in a drop-in: add the hostnqn that it belongs to"))
		}
		own.idFrom = s.place(at)
	}
	own.identity = own.completed()
	return own
}

// persona returns the identity of a file, having compared it with those of the files before it.
func (r *resolver) persona(s *source) persona {
	own := r.identityOf(s)
	connects := slices.ContainsFunc(s.doc.tables, func(t table) bool { return sections[t.name] })
	if connects && own.nqn == "" {
		own.refuse(s.wrong(position{1, 1}, "hostnqn", true, "%s", noIdentity))
	}
	if !own.unknowing && (connects || own.explicit || s.dialect == tomlDialect && !s.dropIn) {
		r.use(&own, s)
	}
	return own
}

// refuse notes that the file's connections cannot be made as the host that it asks for.
func (p *persona) refuse(f fault) {
	p.faults, p.unknowing = append(p.faults, f), true
}

// noIdentity is what is wrong when there is something to connect and no host NQN.
const noIdentity = "cannot connect anything without a host NQN: create one with nvme-discoverctl hostnqn --write, or set hostnqn in [host]"

// use adds a persona, and reports it when it cannot be one beside the others. The kernel allows one host ID for a host NQN
// (drivers/nvme/host/fabrics.c, nvmf_host_add), and targets take two host NQNs with one host ID for one host (NVMe Base
// Specification 2.3, section 5.2.26.1.32).
func (r *resolver) use(own *persona, s *source) {
	host := s.section(secHost)
	idAt := host.place("hostnqn")
	if e, ok := host.find("hostid"); ok {
		idAt = e.at
	}
	for _, other := range r.personas {
		switch {
		case own.nqn == "" || other.nqn == "":
		case own.nqn == other.nqn && own.explicit && other.explicit:
			own.refuse(s.wrong(host.place("hostnqn"), "hostnqn", true, "cannot use hostnqn %q in two files: it is at %s already; put what it connects into that file", own.nqn, other.where))
		case own.nqn == other.nqn && own.id != other.id:
			own.refuse(s.wrong(idAt, "hostid", true, "cannot use hostid %q: hostnqn %q of %s has hostid %q, and a host NQN has one", own.id, other.nqn, other.where, other.id))
		case own.nqn != other.nqn && own.id == other.id:
			own.refuse(s.wrong(idAt, "hostid", true, "cannot use hostid %q for hostnqn %q: it is that of hostnqn %q of %s, and targets would take both for one host", own.id, own.nqn, other.nqn, other.where))
		default:
			continue
		}
		return // one report is enough
	}
	r.personas = append(r.personas, *own)
}

// nqnFrom and idFrom tell where the host's own identity comes from.
func (i identity) nqnFrom() string {
	switch {
	case i.derived:
		return FromMachineID
	case i.nqnGiven:
		return i.nqnFile
	}
	return "derived from " + i.idFile
}

func (i identity) idFrom() string {
	switch {
	case i.derived:
		return FromMachineID
	case i.idGiven:
		return i.idFile
	}
	return "derived from " + i.nqnFile
}
