// SPDX-License-Identifier: GPL-3.0-or-later

// Package param holds the parameters of a connection: everything that `nvme connect` and the kernel let an
// administrator choose about a controller besides its address and name.
//
// One table names each parameter once. The configuration, the imports of other programs' files, the command line and the
// option string for the kernel are all made from it, and tests hold the manual pages to it: to add a parameter, add its row.
package param

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/nvme-discoverd/nvme-discoverd/internal/tid"
	"github.com/nvme-discoverd/nvme-discoverd/internal/timespan"
)

// Param names one parameter.
type Param int

// The parameters, in the order in which command lines list them.
const (
	KeepAliveTMO Param = iota
	CtrlLossTMO
	ReconnectDelay
	FastIOFailTMO
	NrIOQueues
	NrWriteQueues
	NrPollQueues
	QueueSize
	TOS
	HdrDigest
	DataDigest
	DisableSQFlow
	DuplicateConnect
	TLS
	Concat
	Keyring
	TLSKeyIdentity
	count
)

// Form is what the values of a parameter look like.
type Form int

// The forms.
const (
	Number  Form = iota // an integer
	Seconds             // a span of time, which is whole seconds: a number of them or units as in package timespan
	Switch              // on or off; the kernel's option has no value
	Text                // printable characters, spaces inside too, that name something of which the kernel takes the serial number
)

// String returns how command lines call a value of the form.
func (f Form) String() string {
	return [...]string{Number: "number", Seconds: "time", Switch: "bool", Text: "text"}[f]
}

// IsNumber tells whether the kernel takes a value of the form as an integer.
func (f Form) IsNumber() bool { return f == Number || f == Seconds }

// Security is what a parameter has to do with the encryption of a connection.
type Security int

// The parts that parameters play in it.
const (
	None     Security = iota
	Encrypts          // the connection is encrypted. It is not made where the transport or the kernel lacks the parameter.
	NamesKey          // says with which key. It means nothing where no parameter encrypts.
)

// Info describes a parameter: a row of the table.
type Info struct {
	Name   string // as the configuration and `nvme connect` spell it
	Kernel string // as the kernel's option string spells it (drivers/nvme/host/fabrics.c, opt_tokens)
	Form   Form

	// Min and Max bound a number, or seconds: -1 stands for infinity there. Max bounds a text in bytes.
	Min, Max int

	// Default is the value for each tid.Kind that holds where no file sets one, "" leaving it to the kernel.
	Default [2]string

	// Transports take the parameter, nil standing for all: allowed_opts in the kernel's drivers/nvme/host/{tcp,rdma,fc}.c and
	// drivers/nvme/target/loop.c. The others answer EINVAL. Do not change it.
	Transports []string

	// Baseline tells that every kernel since Linux 5.4 knows the option. A connect that needs no other one does not ask.
	Baseline bool

	Security Security

	Letter  string // short option of `nvme connect` and `nvme discover` in nvme-cli 2.13 (fabrics.c, NVMF_ARGS), "" if it has none
	STAS    string // name in the files of nvme-stas where that is another
	Ignored string // value that libnvme takes for none (its add_int_argument, add_int_or_minus_one_argument), "" if there is none

	Help string // one line for a person; Usage completes it
}

// On tells whether a connection by this transport can have the parameter.
func (i Info) On(transport string) bool {
	return i.Transports == nil || slices.Contains(i.Transports, transport)
}

// Usage returns one line for a person: what the parameter does, its unit, its range and its transports.
func (i Info) Usage() string {
	usage := i.Help
	switch i.Form {
	case Number:
		usage += fmt.Sprintf(", %d to %d", i.Min, i.Max)
	case Seconds:
		usage += "; in seconds, or as in 10min"
	case Switch, Text:
	}
	if i.Transports != nil {
		usage += " (" + strings.Join(i.Transports, ", ") + ")"
	}
	return usage
}

// Transports that take what not all of them take. They are constant.
var (
	overTCP     = []string{tid.TCP}
	overIP      = []string{tid.TCP, tid.RDMA}
	overNetwork = []string{tid.TCP, tid.RDMA, tid.FC}
)

const (
	maxInt    = 1<<31 - 1
	maxQueues = 1<<16 - 1
	maxText   = 1024 // the identity of a TLS key holds two NQNs and a digest
)

// table has all that is known of each parameter alone. It is constant.
var table = [count]Info{
	KeepAliveTMO: {
		Name: "keep-alive-tmo", Kernel: "keep_alive_tmo", Form: Seconds, Min: 0, Max: maxInt, Baseline: true,
		Default: [2]string{tid.Discovery: "30"}, // without keep-alives a discovery controller tells of changes late or never
		Letter:  "k", STAS: "kato", Ignored: "0",
		Help: "keep-alive timeout, 0 sends none",
	},
	CtrlLossTMO: {
		Name: "ctrl-loss-tmo", Kernel: "ctrl_loss_tmo", Form: Seconds, Min: -1, Max: maxInt, Baseline: true,
		Default:    [2]string{tid.IO: "600"},
		Transports: overNetwork, Letter: "l",
		Help: "time after which the kernel gives a lost controller up, -1 never",
	},
	ReconnectDelay: {
		Name: "reconnect-delay", Kernel: "reconnect_delay", Form: Seconds, Min: 1, Max: maxInt, Baseline: true,
		Transports: overNetwork, Letter: "c", Ignored: "0",
		Help: "time between the kernel's attempts to reconnect, 1 or more",
	},
	FastIOFailTMO: {
		Name: "fast-io-fail-tmo", Kernel: "fast_io_fail_tmo", Form: Seconds, Min: -1, Max: maxInt,
		Letter: "F",
		Help:   "time after which I/O to a lost controller fails, -1 never",
	},
	NrIOQueues: {
		Name: "nr-io-queues", Kernel: "nr_io_queues", Form: Number, Min: 1, Max: maxQueues, Baseline: true,
		Letter: "i", Ignored: "0",
		Help: "number of I/O queues",
	},
	NrWriteQueues: {
		Name: "nr-write-queues", Kernel: "nr_write_queues", Form: Number, Min: 1, Max: maxQueues, Baseline: true,
		Transports: overIP, Letter: "W", Ignored: "0",
		Help: "number of additional queues for writes",
	},
	NrPollQueues: {
		Name: "nr-poll-queues", Kernel: "nr_poll_queues", Form: Number, Min: 1, Max: maxQueues, Baseline: true,
		Transports: overIP, Letter: "P", Ignored: "0",
		Help: "number of additional queues for polled I/O",
	},
	QueueSize: {
		Name: "queue-size", Kernel: "queue_size", Form: Number, Min: 16, Max: 1024, Baseline: true,
		Letter: "Q", Ignored: "0",
		Help: "entries of an I/O queue",
	},
	TOS: {
		Name: "tos", Kernel: "tos", Form: Number, Min: 0, Max: 255, Baseline: true,
		Transports: overIP, Letter: "T", Ignored: "-1",
		Help: "IP type of service",
	},
	HdrDigest: {
		Name: "hdr-digest", Kernel: "hdr_digest", Form: Switch, Baseline: true,
		Transports: overTCP, Letter: "g",
		Help: "check headers with a digest",
	},
	DataDigest: {
		Name: "data-digest", Kernel: "data_digest", Form: Switch, Baseline: true,
		Transports: overTCP, Letter: "G",
		Help: "check data with a digest",
	},
	DisableSQFlow: {
		Name: "disable-sqflow", Kernel: "disable_sqflow", Form: Switch, Baseline: true,
		Help: "no submission queue flow control",
	},
	DuplicateConnect: {
		Name: "duplicate-connect", Kernel: "duplicate_connect", Form: Switch, Baseline: true,
		Letter: "D",
		Help:   "allow a second connection between the same ports",
	},
	TLS: {
		Name: "tls", Kernel: "tls", Form: Switch, Security: Encrypts,
		Transports: overTCP,
		Help:       "TLS 1.3",
	},
	Concat: {
		Name: "concat", Kernel: "concat", Form: Switch, Security: Encrypts,
		Transports: overTCP,
		Help:       "secure channel concatenation: TLS with a key from the authentication",
	},
	Keyring: {
		Name: "keyring", Kernel: "keyring", Form: Text, Max: maxText, Security: NamesKey,
		Transports: overTCP, Ignored: "0",
		Help: "name or serial number of the keyring for TLS keys, default .nvme",
	},
	TLSKeyIdentity: {
		Name: "tls-key-identity", Kernel: "tls_key", Form: Text, Max: maxText, Security: NamesKey,
		Transports: overTCP,
		Help:       "identity of the TLS key in the keyring for --tls",
	},
}

// All returns every parameter in order.
func All() []Param {
	all := make([]Param, count)
	for i := range all {
		all[i] = Param(i)
	}
	return all
}

// Encrypting returns the parameters that encrypt a connection.
func Encrypting() []Param {
	return slices.DeleteFunc(All(), func(p Param) bool { return table[p].Security != Encrypts })
}

// Info returns the description of p.
func (p Param) Info() Info { return table[p] }

// String returns the name of p.
func (p Param) String() string { return table[p].Name }

// ByName returns the parameter called name.
func ByName(name string) (Param, bool) {
	for i, info := range table {
		if info.Name == name {
			return Param(i), true
		}
	}
	return 0, false
}

// Set is a set of parameters with their values, comparable with ==. The zero Set leaves everything to the kernel.
type Set struct {
	values [count]string // canonical decimal, "true" or a text; "" is unset
}

// Get returns the value of p: a decimal number, "true" for a switch that is on, or a text. ok is false when p is unset.
func (s Set) Get(p Param) (value string, ok bool) {
	return s.values[p], s.values[p] != ""
}

// MarshalText returns a line "name=value" for each parameter that is set, in their order.
func (s Set) MarshalText() ([]byte, error) {
	var lines []string
	for p, value := range s.values {
		if value != "" {
			lines = append(lines, table[p].Name+"="+value)
		}
	}
	return []byte(strings.Join(lines, "\n")), nil
}

// UnmarshalText reads what MarshalText wrote. It checks every value.
func (s *Set) UnmarshalText(text []byte) error {
	*s = Set{}
	if len(text) == 0 {
		return nil
	}
	for line := range strings.SplitSeq(string(text), "\n") {
		name, value, _ := strings.Cut(line, "=")
		p, ok := ByName(name)
		if !ok {
			return fmt.Errorf("cannot read the parameter %.40q: this version has none of that name", name)
		}
		var err error
		if *s, err = s.With(p, value); err != nil {
			return err
		}
	}
	return nil
}

// Defaults returns the parameters that hold for a kind of controller where no file sets them.
func Defaults(kind tid.Kind) Set {
	var s Set
	for p, info := range table {
		s.values[p] = info.Default[kind]
	}
	return s
}

// With returns s with p set to value. A number must be in the range of p, and so must the seconds of a span of time; a switch
// takes true or false in any of systemd's spellings, false leaving it unset; a text is printable; an empty value resets p to
// the kernel's default.
func (s Set) With(p Param, value string) (Set, error) {
	info := table[p]
	canonical := value
	switch {
	case value == "":
	case info.Form == Switch:
		on, err := ParseBool(value)
		if err != nil {
			return s, fmt.Errorf("cannot set %s to %q: %w", info.Name, value, err)
		}
		canonical = ""
		if on {
			canonical = "true"
		}
	case info.Form == Text:
		if len(value) > info.Max || !utf8.ValidString(value) || strings.TrimSpace(value) != value || strings.ContainsFunc(value, func(r rune) bool { return !unicode.IsPrint(r) }) {
			return s, fmt.Errorf("cannot set %s to %.40q: it must be at most %d printable characters, without white space around them", info.Name, value, info.Max)
		}
	default:
		n, err := info.number(value)
		if err != nil || n < int64(info.Min) || n > int64(info.Max) {
			return s, fmt.Errorf("cannot set %s to %q: it must be %s", info.Name, value, info.want())
		}
		canonical = strconv.FormatInt(n, 10)
	}
	s.values[p] = canonical
	return s, nil
}

// number reads the value of a number or a span of time.
func (i Info) number(value string) (int64, error) {
	if i.Form == Seconds {
		switch span, err := timespan.Parse(value); {
		case err != nil: // a number alone may be negative
		case span == timespan.Infinity && i.Min < 0:
			return -1, nil
		case span != timespan.Infinity && span%time.Second == 0:
			return int64(span / time.Second), nil
		}
	}
	return strconv.ParseInt(value, 10, 64)
}

// want says what a number or a span of time must be.
func (i Info) want() string {
	switch {
	case i.Form == Number:
		return fmt.Sprintf("a number from %d to %d", i.Min, i.Max)
	case i.Min < 0:
		return fmt.Sprintf("whole seconds from %d to %d, as a number or a span of time such as 10min, or infinity", i.Min, i.Max)
	default:
		return fmt.Sprintf("whole seconds from %d to %d, as a number or a span of time such as 10min", i.Min, i.Max)
	}
}

// ParseBool reads a truth value as systemd does (systemd.syntax(7)): in capital letters too.
func ParseBool(s string) (bool, error) {
	switch strings.ToLower(s) {
	case "1", "yes", "y", "true", "t", "on":
		return true, nil
	case "0", "no", "n", "false", "f", "off":
		return false, nil
	}
	return false, fmt.Errorf("it must be true or false")
}
