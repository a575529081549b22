// SPDX-License-Identifier: GPL-3.0-or-later

// Package config reads what the administrator wants: the daemon's settings and the connections to keep (docs/design.md, "Configuration").
//
// A file goes through two steps. A loader turns its text into a document: tables and keys as they stand there, each with
// its place, every value still text (toml.go for discoverd.conf, ini.go for nvme-fabrics.conf). The resolver gives the
// documents of all files their meaning: it checks every value, lays the levels of parameters over each other and answers
// with one Config (resolve.go, endpoint.go, identity.go). All errors of all files are reported at once, each as
// "file:line:column: cannot …". What an error costs is in fault.go, what stays as it was at the last load in lastgood.go.
//
// The files of other programs are not read but imported: turned into a drop-in of ours, once (import.go).
package config

import (
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/nvme-discoverd/nvme-discoverd/internal/credential"
	"github.com/nvme-discoverd/nvme-discoverd/internal/files"
	"github.com/nvme-discoverd/nvme-discoverd/internal/param"
	"github.com/nvme-discoverd/nvme-discoverd/internal/paths"
	"github.com/nvme-discoverd/nvme-discoverd/internal/secret"
	"github.com/nvme-discoverd/nvme-discoverd/internal/timespan"
	"github.com/nvme-discoverd/nvme-discoverd/internal/wish"
)

// Infinity is the span of time that never ends, "infinity" in a file.
const Infinity = timespan.Infinity

// Persistence says when the connection to a discovery controller is kept (docs/design.md, "Persistent discovery controllers").
type Persistence string

// The values of discovery-persistence.
const (
	// PersistenceAuto keeps the connection unless the controller itself keeps ending it.
	PersistenceAuto Persistence = "auto"
	// PersistenceEPCSD keeps it only where the controller says that it supports that (EPCSD in its discovery log entry,
	// NVMe Base Specification 2.0, section 5.16.1.23).
	PersistenceEPCSD Persistence = "epcsd"
	// PersistenceAlways keeps it whatever the controller says or does.
	PersistenceAlways Persistence = "always"
	// PersistenceNever ends it after each read of the log page, for one discovery controller only: it is polled.
	PersistenceNever Persistence = "never"
)

// IPFamily says which addresses of what mDNS finds are connected (docs/design.md, "mDNS").
type IPFamily string

// The values of zeroconf-ip-family.
const (
	IPv4     IPFamily = "ipv4"
	IPv6     IPFamily = "ipv6"
	IPv4And6 IPFamily = "ipv4+ipv6"
)

// Settings are the keys of [global], all of them set and in range. The zero value is not valid: Defaults is.
type Settings struct {
	NBFT          bool // connect what firmware booted from, docs/design.md, "NBFT"
	Zeroconf      bool // browse mDNS for discovery controllers, docs/design.md, "mDNS"
	FabricsConfig bool // read nvme-fabrics.conf too

	FCKickstartInterval  time.Duration // whole minutes; 0 never asks by the clock
	DiscoveryRetention   time.Duration // 0 to Infinity
	ReconnectMaxDelay    time.Duration // 1 s to 24 h
	DisconnectTimeout    time.Duration // 1 s to Infinity
	ShutdownPatience     time.Duration // 0 to Infinity; how long a shutdown waits for a controller that is not live
	EPCSDPollInterval    time.Duration // whole minutes, at least 1
	DiscoveryPersistence Persistence

	IfacePinning     bool     // connect through the interface that heard the advertisement; always set with Zeroconf
	ZeroconfIPFamily IPFamily // which of its addresses

	MaxParallelConnects int    // 1 to 1024
	FlightRecorderMiB   int    // 0 to 64; memory for the recording of the recent past, 0 records nothing
	NVMePath            string // absolute path of nvme-cli, or "" to connect with our own code
	LogLevel            slog.Level

	AllowReadableSecrets bool // use secrets from files that others than their owner may read
}

// Defaults returns the settings of an empty file.
func Defaults() Settings {
	return Settings{
		NBFT:                 true,
		FabricsConfig:        true,
		DiscoveryRetention:   72 * time.Hour,
		ReconnectMaxDelay:    5 * time.Minute,
		DisconnectTimeout:    300 * time.Second,
		ShutdownPatience:     60 * time.Second,
		EPCSDPollInterval:    15 * time.Minute,
		DiscoveryPersistence: PersistenceAuto,
		IfacePinning:         true,
		ZeroconfIPFamily:     IPv4And6,
		MaxParallelConnects:  8,
		FlightRecorderMiB:    4,
		LogLevel:             slog.LevelInfo,
	}
}

// Discovered holds the parameters of controllers that are found and not configured, and the name of their secrets: those
// of [host] alone, since what stands at a discovery controller is between it and the host.
type Discovered struct {
	Discovery, IO param.Set
	Secrets       secret.Ref
}

// Connection is one configured path to a controller.
type Connection struct {
	Wish wish.Wish

	// Host is the name that stands for the address of the controller; "" where the address itself is configured. While it
	// is set, Wish.TID.Traddr is empty and the wish not to be connected: Wish.At completes it. Its letters are lower case.
	Host string

	// Discovered holds, for a discovery controller, the parameters of what its log page names: the type defaults of the
	// file that configures it and, over them, those of the file's [host].
	Discovered Discovered
	// Persistence is, for a discovery controller, what its section says instead of Settings.DiscoveryPersistence; "" is
	// nothing. It is no part of the wish: it changes nothing in how the controller is connected.
	Persistence Persistence

	From string // "file:line" of its controller table, for people
}

// DefaultsRef is among Config.Unusable where that is so of what the defaults and [host] of the main files hold for: the parameters
// in Config.Discovered are less than what the files ask for.
const DefaultsRef secret.Ref = "the defaults"

// Config is the whole of what is configured, checked and complete.
type Config struct {
	Settings Settings

	// Connections stand in the order of the files and in each file in its order: discoverd.conf, its drop-ins by name, then
	// nvme-fabrics.conf and its drop-ins. Their TIDs went through tid.New, but for a traddr that is still a name, and carry
	// the identity of their file. No two of them are the same. Those with unusable secrets are not to be connected; those of the
	// last good state of a file stand last.
	Connections []Connection

	// Discovered holds the parameters of what no configured discovery controller leads to (Fibre Channel, mDNS): the type
	// defaults and [host] of nvme-fabrics.conf and, over them, those of discoverd.conf.
	Discovered Discovered

	// HostNQN and HostID are the host identity of the same controllers: that of [host] in discoverd.conf, else in
	// nvme-fabrics.conf, else the host's own. Both are empty only where nothing is configured and the host has no identity
	// at all.
	HostNQN, HostID string
	// HostIDFrom tells people where the host ID of each host NQN comes from: a file, a place in one, or what it was derived from.
	HostIDFrom map[string]string

	// Secrets are what the names of secrets in all of the above stand for.
	Secrets map[secret.Ref]secret.Set
	// HostSecrets names the secrets of each host NQN for which a [host] has any.
	HostSecrets map[string]secret.Ref

	// Unusable says of the names of secrets that stand for none why: an error in a file, with its place. What has such a name
	// is wished for and not to be connected, since it would not be what the file asks for.
	Unusable map[secret.Ref]string

	// Errors are what is wrong, one line each. What they concern is as it was at the last good load, or not connected.
	Errors []string

	// Warnings are one sentence each, with the place in the file before it: "file:line:column: unknown key …".
	Warnings []string
	// Ignored counts what some of the warnings say.
	Ignored Ignored
}

// maxSize bounds a configuration file in bytes: a thousand connections need a quarter of it.
const maxSize = 1 << 20

// Load reads file, or below root the default file if file is "", with its drop-ins file.d/*.conf; nvme-fabrics.conf with
// its drop-ins, unless the settings say not to; and the host identity files below root. That the default file or any of the
// others is not there means that nothing is configured in it; a missing file that was asked for is an error. An error holds
// one line for each thing that is wrong. The Config is what is right nevertheless: an error costs its connection, what its
// section governs or its file.
func Load(root paths.Root, file string) (Config, error) {
	return NewLoader(root, file).Load()
}

// Loader loads the installed configuration again and again, and remembers the last good state of each file. It is not safe
// for concurrent use.
type Loader struct {
	// Credentials reads those that systemd gave to the service. Nil, for commands: those that it would give are looked for.
	Credentials credential.Reader

	root paths.Root
	file string
	last *lastGood // nil before the first load
}

// NewLoader returns a Loader that knows no last good state. root and file are those of Load.
func NewLoader(root paths.Root, file string) *Loader { return &Loader{root: root, file: file} }

// Load is the function Load, but what an error costs stays as it was at the last load: a file that cannot be read or parsed as
// a whole, a connection if it is no less secure, and over no other path, than the file asks for now.
func (l *Loader) Load() (Config, error) {
	sources, err := gatherOver(l.last, l.root, l.file)
	explained, next, err := completeOver(l.last, l.root, sources, l.Credentials, err)
	l.last = next
	return explained.Config, err
}

// Check reads files as Load does, in the place of everything that is installed: as the drop-ins those that stand in a
// directory whose name ends in ".d", as drop-ins of its kind also all but the first of the others. What a file is tells its
// name or that of its directory, discoverd.conf or nvme-fabrics.conf; else one with the sections of nvme-fabrics.conf is
// read as one.
func Check(root paths.Root, files []string) (Config, error) {
	sources, err := given(files)
	explained, err := complete(root, sources, err)
	return explained.Config, err
}

// complete resolves the sources. err is what went wrong before.
func complete(root paths.Root, sources []*source, err error) (Explanation, error) {
	explained, _, err := completeOver(nil, root, sources, nil, err)
	return explained, err
}

func completeOver(last *lastGood, root paths.Root, sources []*source, credentials credential.Reader, err error) (Explanation, *lastGood, error) {
	if credentials == nil {
		credentials = credential.Host(root)
	}
	known, unknown := readIdentity(root)
	if unknown != nil {
		known = identity{nqnFile: root.HostNQN(), idFile: root.HostID()}
	}
	explained, next := resolveOver(last, sources, known, newSecretReader(root, credential.Once(credentials)))
	if known.odd != "" {
		explained.Warnings = append(explained.Warnings, known.odd)
	}
	errs := []error{err, unknown}
	for _, s := range sources {
		if unknown != nil { // every lack of an identity follows from this
			s.found.errors = slices.DeleteFunc(s.found.errors, func(f finding) bool { return f.text == noIdentity })
		}
		if s.stale { // what is to tell is about the file as it is now
			s.found = s.foundNow
		}
		errs = append(errs, s.found.err(s.file))
		explained.Warnings = append(explained.Warnings, s.found.warnings.lines(s.file)...)
		s.found.warnings.count(&explained.Ignored)
	}
	err = errors.Join(errs...)
	if err != nil {
		explained.Errors = strings.Split(err.Error(), "\n")
	}
	return explained, next, err
}

// read returns the text and the mode of a file that is not unreasonably long. Its errors do not name the file: callers do.
func read(file string) (string, fs.FileMode, error) {
	f, err := os.Open(file)
	if err != nil {
		return "", 0, files.Cause(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "", 0, files.Cause(err)
	}
	data, err := files.ReadAll(f, maxSize)
	if err != nil {
		return "", 0, err
	}
	return string(data), info.Mode(), nil
}
