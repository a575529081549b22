// Package param holds the parameters of a connection: everything that `nvme connect` and the kernel let an
// administrator choose about a controller besides its address and name.
//
// One table names each parameter once; the configuration, the command line and the option string for the kernel are all
// made from it.
package param

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/nvme-discoverd/nvme-discoverd/internal/tid"
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

// Info describes a parameter.
type Info struct {
	Name     string // as the configuration and `nvme connect` spell it
	Kernel   string // as the kernel's option string spells it (drivers/nvme/host/fabrics.c, opt_tokens); "" for a text, of which it takes the serial number
	Bool     bool   // a switch, without a value for the kernel
	Min, Max int    // allowed values of a number
	Help     string // one line for a person, with the unit

	// on are the transports that take the parameter, nil for all of them: allowed_opts in the kernel's
	// drivers/nvme/host/{tcp,rdma,fc}.c and drivers/nvme/target/loop.c. The others answer EINVAL.
	on []string

	Text bool // neither a number nor a switch: printable characters, spaces inside too
}

// On tells whether a connection by this transport can have the parameter.
func (i Info) On(transport string) bool { return i.on == nil || slices.Contains(i.on, transport) }

// Transports that take what not all of them take.
var (
	overTCP     = []string{tid.TCP}
	overIP      = []string{tid.TCP, tid.RDMA}
	overNetwork = []string{tid.TCP, tid.RDMA, tid.FC}
)

const maxInt = 1<<31 - 1

// maxText bounds a text in bytes: the identity of a TLS key holds two NQNs and a digest.
const maxText = 1024

var table = [count]Info{
	KeepAliveTMO:     {"keep-alive-tmo", "keep_alive_tmo", false, 0, maxInt, "keep-alive timeout in seconds, 0 sends none", nil, false},
	CtrlLossTMO:      {"ctrl-loss-tmo", "ctrl_loss_tmo", false, -1, maxInt, "seconds after which the kernel gives a lost controller up, -1 never", overNetwork, false},
	ReconnectDelay:   {"reconnect-delay", "reconnect_delay", false, 1, maxInt, "seconds between the kernel's attempts to reconnect", overNetwork, false},
	FastIOFailTMO:    {"fast-io-fail-tmo", "fast_io_fail_tmo", false, -1, maxInt, "seconds after which I/O to a lost controller fails, -1 never", nil, false},
	NrIOQueues:       {"nr-io-queues", "nr_io_queues", false, 1, 65535, "number of I/O queues", nil, false},
	NrWriteQueues:    {"nr-write-queues", "nr_write_queues", false, 1, 65535, "number of additional queues for writes", overIP, false},
	NrPollQueues:     {"nr-poll-queues", "nr_poll_queues", false, 1, 65535, "number of additional queues for polled I/O", overIP, false},
	QueueSize:        {"queue-size", "queue_size", false, 16, 1024, "entries of an I/O queue", nil, false},
	TOS:              {"tos", "tos", false, 0, 255, "IP type of service", overIP, false},
	HdrDigest:        {"hdr-digest", "hdr_digest", true, 0, 0, "check headers with a digest (tcp)", overTCP, false},
	DataDigest:       {"data-digest", "data_digest", true, 0, 0, "check data with a digest (tcp)", overTCP, false},
	DisableSQFlow:    {"disable-sqflow", "disable_sqflow", true, 0, 0, "no submission queue flow control", nil, false},
	DuplicateConnect: {"duplicate-connect", "duplicate_connect", true, 0, 0, "allow a second connection between the same ports", nil, false},
	TLS:              {"tls", "tls", true, 0, 0, "TLS 1.3 (tcp)", overTCP, false},
	Concat:           {"concat", "concat", true, 0, 0, "secure channel concatenation: TLS with a key from the authentication (tcp)", overTCP, false},
	Keyring:          {"keyring", "", false, 0, 0, "name or serial number of the keyring for TLS keys (tcp, default .nvme)", overTCP, true},
	TLSKeyIdentity:   {"tls-key-identity", "", false, 0, 0, "identity of the TLS key in the keyring for --tls (tcp)", overTCP, true},
}

// All returns every parameter in order.
func All() []Param {
	all := make([]Param, count)
	for i := range all {
		all[i] = Param(i)
	}
	return all
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

// With returns s with p set to value. A number must be in the range of p; a switch takes true or false in any of
// systemd's spellings, false leaving it unset; a text is printable; an empty value resets p to the kernel's default.
func (s Set) With(p Param, value string) (Set, error) {
	info := table[p]
	switch {
	case value == "":
		s.values[p] = ""
	case info.Bool:
		on, err := ParseBool(value)
		if err != nil {
			return s, fmt.Errorf("cannot set %s to %q: %w", info.Name, value, err)
		}
		s.values[p] = ""
		if on {
			s.values[p] = "true"
		}
	case info.Text:
		if len(value) > maxText || !utf8.ValidString(value) || strings.TrimSpace(value) != value || strings.ContainsFunc(value, func(r rune) bool { return !unicode.IsPrint(r) }) {
			return s, fmt.Errorf("cannot set %s to %.40q: it must be at most %d printable characters, without white space around them", info.Name, value, maxText)
		}
		s.values[p] = value
	default:
		n, err := strconv.Atoi(value)
		if err != nil || n < info.Min || n > info.Max {
			return s, fmt.Errorf("cannot set %s to %q: it must be a number from %d to %d", info.Name, value, info.Min, info.Max)
		}
		s.values[p] = strconv.Itoa(n)
	}
	return s, nil
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
