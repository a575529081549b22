// SPDX-License-Identifier: GPL-3.0-or-later

package cli

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/pflag"

	"github.com/nvme-discoverd/nvme-discoverd/internal/config"
	"github.com/nvme-discoverd/nvme-discoverd/internal/param"
	"github.com/nvme-discoverd/nvme-discoverd/internal/tid"
	"github.com/nvme-discoverd/nvme-discoverd/internal/wish"
)

// tidFlags are the options that name a connection, spelled as `nvme connect` spells them.
type tidFlags struct {
	tid       tid.TID
	discovery bool
}

// tidFlag is the short name and the help of a TID field's option.
func tidFlag(key string) (short, help string) {
	switch key {
	case "transport":
		return "t", "tcp, rdma, fc or loop"
	case "traddr":
		return "a", "address of the target: an IP address, or nn-0x…:pn-0x… for fc"
	case "trsvcid":
		return "s", "port of the target (default 4420, 8009 for a discovery controller over tcp)"
	case "nqn":
		return "n", "NVMe qualified name of the subsystem"
	case "host-traddr":
		return "w", "address of this host to connect from"
	case "host-iface":
		return "f", "network interface to connect through (tcp)"
	case "hostnqn":
		return "q", "NVMe qualified name of this host (default: what hostnqn shows)"
	case "hostid":
		return "I", "identifier of this host, a UUID (default: what hostnqn shows)"
	}
	return "", ""
}

func (f *tidFlags) add(flags *pflag.FlagSet) {
	for _, key := range tid.Keys() {
		short, help := tidFlag(key)
		flags.VarP(&field{&f.tid, key}, key, short, help)
	}
	flags.SetNormalizeFunc(func(_ *pflag.FlagSet, name string) pflag.NormalizedName {
		return pflag.NormalizedName(strings.ReplaceAll(name, "_", "-")) // nvme-cli has --fast_io_fail_tmo
	})
	flags.BoolVar(&f.discovery, "discovery", false, "it is a discovery controller, whatever its NQN")
}

// field is one field of a TID as the value of an option.
type field struct {
	tid *tid.TID
	key string
}

func (f *field) Set(value string) error {
	f.tid.Set(f.key, value)
	return nil
}

func (f *field) String() string {
	if f.tid == nil { // the zero value, which pflag asks for its default
		return ""
	}
	value, _ := f.tid.Get(f.key)
	return value
}

func (f *field) Type() string { return "string" }

// kind tells which kind of controller the options name.
func (f *tidFlags) kind() tid.Kind {
	if f.discovery || f.tid.NQN == tid.DiscoveryNQN {
		return tid.Discovery
	}
	return tid.IO
}

// read returns the TID as it was given, normalised.
func (f *tidFlags) read() (tid.TID, error) {
	if id := f.tid.HostID; id != "" && !tid.IsUUID(id) {
		return tid.TID{}, fmt.Errorf("cannot use hostid %q: it must be a UUID such as f81d4fae-7dec-11d0-a765-00a0c91e6bf6", id)
	}
	return tid.New(f.tid, f.kind())
}

// readWithHost returns the TID with the identity of this host where none was given, as the service connects with it.
func (f *tidFlags) readWithHost(a *app) (tid.TID, error) {
	if f.tid.HostNQN == "" {
		known, err := config.HostIdentity(a.root)
		if err != nil {
			return tid.TID{}, failed(err)
		}
		f.tid.HostNQN = known.NQN
		if f.tid.HostID == "" {
			f.tid.HostID = known.ID
		}
	}
	if f.tid.HostID == "" && f.tid.HostNQN != "" {
		known, err := config.HostIdentity(a.root)
		switch {
		case err != nil:
			return tid.TID{}, failed(err)
		case tid.SameNQN(f.tid.HostNQN, known.NQN):
			f.tid.HostID = known.ID
		default: // this host's own belongs to its own NQN
			f.tid.HostID = config.HostIDOf(f.tid.HostNQN)
		}
	}
	return f.read()
}

// without returns err in the words of a command if it says that the TID lacks something: "cannot VERB without …".
func without(verb string, err error) error {
	if field := (*tid.FieldError)(nil); errors.As(err, &field) && field.Lacks != "" {
		return fmt.Errorf("cannot %s without %s", verb, field.Lacks)
	}
	return err
}

// wishFlags are all options of a connection: wish.Wish.Args is the inverse.
type wishFlags struct {
	tidFlags
	params map[param.Param]*setting
}

func (f *wishFlags) add(flags *pflag.FlagSet) {
	f.tidFlags.add(flags)
	f.params = make(map[param.Param]*setting)
	for _, p := range param.All() {
		info := p.Info()
		s := &setting{form: info.Form}
		f.params[p] = s
		flags.VarP(s, info.Name, info.Letter, info.Usage())
		if info.Form == param.Switch {
			flags.Lookup(info.Name).NoOptDefVal = "true"
		}
	}
}

// setting is a parameter as the value of an option; package param judges it.
type setting struct {
	form  param.Form
	value string
}

func (s *setting) Set(value string) error {
	s.value = value
	return nil
}

func (s *setting) String() string { return s.value }

func (s *setting) Type() string { return s.form.String() }

// wish returns the connection that the options ask for, without an owner.
func (f *wishFlags) wish(a *app) (w wish.Wish, err error) {
	w.Kind = f.kind()
	for _, p := range param.All() {
		if w.Params, err = w.Params.With(p, f.params[p].value); err != nil {
			return wish.Wish{}, err
		}
	}
	w.TID, err = f.readWithHost(a)
	return w, err
}
