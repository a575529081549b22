// SPDX-License-Identifier: GPL-3.0-or-later

package config

import (
	"log/slog"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/nvme-discoverd/nvme-discoverd/internal/param"
	"github.com/nvme-discoverd/nvme-discoverd/internal/timespan"
)

// The sections of a file.
const (
	secGlobal            = "global"
	secDiscoveryDefaults = "discovery-controller-defaults"
	secIODefaults        = "io-controller-defaults"
	secHost              = "host"
	secDiscovery         = "discovery-controller"
	secSubsystem         = "subsystem"
)

// sections tells of each section whether there may be several: those are endpoints, with a list of controllers.
var sections = map[string]bool{
	secGlobal:            false,
	secDiscoveryDefaults: false,
	secIODefaults:        false,
	secHost:              false,
	secDiscovery:         true,
	secSubsystem:         true,
}

func sectionNames() []string {
	return []string{secGlobal, secDiscoveryDefaults, secIODefaults, secHost, secDiscovery, secSubsystem}
}

// persistentKey is the key that says of one discovery controller when its connection is kept.
const persistentKey = "persistent"

// controllerKeys are the fields of a TID that belong to one path.
var controllerKeys = []string{"transport", "traddr", "trsvcid", "host-traddr", "host-iface"}

// hostKeys are the fields of a TID that belong to a persona.
var hostKeys = []string{"hostnqn", "hostid"}

// setting is one key of [global].
type setting struct {
	key  string
	want string                       // what a value must be
	set  func(*Settings, string) bool // reports whether the value is that
	get  func(Settings) string        // the value as a file may have it
}

var settings = []setting{
	boolean("nbft", func(s *Settings) *bool { return &s.NBFT }),
	boolean("zeroconf", func(s *Settings) *bool { return &s.Zeroconf }),
	boolean("iface-pinning", func(s *Settings) *bool { return &s.IfacePinning }),
	{"zeroconf-ip-family", "ipv4, ipv6 or ipv4+ipv6", func(s *Settings, v string) bool {
		s.ZeroconfIPFamily = IPFamily(v)
		return slices.Contains([]IPFamily{IPv4, IPv6, IPv4And6}, s.ZeroconfIPFamily)
	}, func(s Settings) string { return string(s.ZeroconfIPFamily) }},
	boolean("fabrics-config", func(s *Settings) *bool { return &s.FabricsConfig }),
	minutes("fc-kickstart-interval-minutes", 0, func(s *Settings) *time.Duration { return &s.FCKickstartInterval }),
	span("discovery-retention-time", 0, Infinity, func(s *Settings) *time.Duration { return &s.DiscoveryRetention }),
	{"discovery-persistence", "auto, epcsd or always", setPersistence, func(s Settings) string { return string(s.DiscoveryPersistence) }},
	minutes("epcsd-poll-interval-minutes", 1, func(s *Settings) *time.Duration { return &s.EPCSDPollInterval }),
	span("reconnect-max-delay", time.Second, 24*time.Hour, func(s *Settings) *time.Duration { return &s.ReconnectMaxDelay }),
	span("disconnect-timeout", time.Second, Infinity, func(s *Settings) *time.Duration { return &s.DisconnectTimeout }),
	span("shutdown-patience", time.Second, Infinity, func(s *Settings) *time.Duration { return &s.ShutdownPatience }),
	{"max-parallel-connects", "a number from 1 to 1024", func(s *Settings, v string) bool {
		n, err := strconv.Atoi(v)
		s.MaxParallelConnects = n
		return err == nil && n >= 1 && n <= 1024
	}, func(s Settings) string { return strconv.Itoa(s.MaxParallelConnects) }},
	{"flight-recorder-mib", "a number from 0 to 64", func(s *Settings, v string) bool {
		n, err := strconv.Atoi(v)
		s.FlightRecorderMiB = n
		return err == nil && n >= 0 && n <= 64
	}, func(s Settings) string { return strconv.Itoa(s.FlightRecorderMiB) }},
	{"nvme-path", "the absolute path of nvme-cli, or empty", func(s *Settings, v string) bool {
		s.NVMePath = v
		return filepath.IsAbs(v) && filepath.Clean(v) == v && !strings.ContainsFunc(v, unicode.IsControl)
	}, func(s Settings) string { return s.NVMePath }},
	boolean("allow-readable-secrets", func(s *Settings) *bool { return &s.AllowReadableSecrets }),
	{"log-level", "debug, info, warning or error", setLogLevel, func(s Settings) string { return logLevels[s.LogLevel] }},
}

func boolean(key string, field func(*Settings) *bool) setting {
	return setting{key, "true or false", func(s *Settings, v string) bool {
		on, err := param.ParseBool(v)
		*field(s) = on
		return err == nil
	}, func(s Settings) string { return strconv.FormatBool(*field(&s)) }}
}

// minutes makes a setting whose key says that it is in minutes, up to a year.
func minutes(key string, least int, field func(*Settings) *time.Duration) setting {
	const most = 365 * 24 * 60
	want := "a number of minutes from " + strconv.Itoa(least) + " to " + strconv.Itoa(most)
	return setting{key, want, func(s *Settings, v string) bool {
		n, err := strconv.Atoi(v)
		if err != nil || n < least || n > most {
			return false
		}
		*field(s) = time.Duration(n) * time.Minute
		return true
	}, func(s Settings) string { return strconv.Itoa(int(*field(&s) / time.Minute)) }}
}

func span(key string, least, most time.Duration, field func(*Settings) *time.Duration) setting {
	want := `a span of time such as 90 (seconds), "5min" or "1h 30min"`
	switch {
	case most == Infinity && least > 0:
		want += `, at least a second, or "infinity"`
	case most == Infinity:
		want += `, or "infinity"`
	default:
		want += ", from a second to a day"
	}
	return setting{key, want, func(s *Settings, v string) bool {
		d, err := timespan.Parse(v)
		*field(s) = d
		return err == nil && d >= least && d <= most
	}, func(s Settings) string { return timespan.Format(*field(&s)) }}
}

func setPersistence(s *Settings, v string) bool {
	s.DiscoveryPersistence = Persistence(v)
	return slices.Contains([]Persistence{PersistenceAuto, PersistenceEPCSD, PersistenceAlways}, s.DiscoveryPersistence)
}

// logLevels are the names of the levels. They are constant.
var logLevels = map[slog.Level]string{slog.LevelDebug: "debug", slog.LevelInfo: "info", slog.LevelWarn: "warning", slog.LevelError: "error"}

func setLogLevel(s *Settings, v string) bool {
	for level, name := range logLevels {
		if v == name || v == "warn" && level == slog.LevelWarn {
			s.LogLevel = level
			return true
		}
	}
	return false
}

// persistences are the values of persistent, which says of one discovery controller when its connection is kept. They are
// constant.
var persistences = map[string]Persistence{"no": PersistenceNever, "auto": PersistenceAuto, "force": PersistenceAlways}

// allowedIn returns the keys that a table of this name knows.
func allowedIn(name string) []string {
	var keys []string
	switch name {
	case "":
		return sectionNames()
	case secGlobal:
		for _, s := range settings {
			keys = append(keys, s.key)
		}
		return keys
	case secHost:
		keys = append(keys, hostKeys...)
	case secDiscovery:
		keys = append(keys, "nqn", "controller", persistentKey)
	case secSubsystem:
		keys = append(keys, "nqn", "controller")
	case "controller":
		keys = append(keys, controllerKeys...)
	}
	if name != secDiscoveryDefaults && name != secIODefaults {
		keys = append(keys, allSecretKeys()...)
	}
	for _, p := range param.All() {
		keys = append(keys, p.String())
	}
	return keys
}

// belongs tells where a key is at home that a table does not know, "" if nowhere.
func (d *dialect) belongs(key string) string {
	_, isParam := param.ByName(key)
	switch {
	case slices.Contains(allSecretKeys(), key):
		return d.title(secHost) + ", an endpoint or " + d.path
	case isParam:
		return d.title(secHost) + ", a section of defaults, an endpoint or " + d.path
	case slices.ContainsFunc(settings, func(s setting) bool { return s.key == key }):
		return d.title(secGlobal)
	case slices.Contains(hostKeys, key):
		return d.title(secHost)
	case slices.Contains(controllerKeys, key):
		return d.path + ", " + d.controller
	case key == persistentKey:
		return d.title(secDiscovery)
	case key == "nqn", key == "controller":
		return d.title(secDiscovery) + " or " + d.title(secSubsystem)
	}
	return ""
}
