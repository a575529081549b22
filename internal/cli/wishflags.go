package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/spf13/pflag"

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
		return "q", "NVMe qualified name of this host (default from /etc/nvme/hostnqn)"
	case "hostid":
		return "I", "identifier of this host, a UUID (default from /etc/nvme/hostid)"
	}
	return "", ""
}

func (f *tidFlags) add(flags *pflag.FlagSet) {
	for _, key := range tid.Keys() {
		short, help := tidFlag(key)
		flags.VarP(&field{&f.tid, key}, key, short, help)
	}
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
func (f *tidFlags) read() (tid.TID, error) { return tid.New(f.tid, f.kind()) }

// readWithHost returns the TID with the host's identity where none was given.
func (f *tidFlags) readWithHost(a *app) (tid.TID, error) {
	for _, identity := range []struct {
		value *string
		path  string
	}{{&f.tid.HostNQN, a.root.HostNQN()}, {&f.tid.HostID, a.root.HostID()}} {
		if *identity.value != "" {
			continue
		}
		data, err := os.ReadFile(identity.path)
		if err != nil && !errors.Is(err, fs.ErrNotExist) { // without the file the kernel has an identity of its own
			return tid.TID{}, failed(fmt.Errorf("cannot read the identity of this host: %w", err))
		}
		line, _, _ := strings.Cut(strings.TrimSpace(strings.TrimPrefix(string(data), "\ufeff")), "\n") // as the service reads it
		*identity.value = strings.TrimSpace(line)
	}
	return f.read()
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
		flags.Var(s, info.Name, info.Usage())
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
