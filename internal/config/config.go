// Package config reads what the administrator wants: the daemon's settings and the connections to keep (SPEC section 10).
//
// A file goes through two steps. A loader turns its text into a document: tables and keys as they stand there, each with
// its place, every value still text (toml.go). The resolver gives them meaning: it checks every value, lays the levels of
// parameters over each other and answers with one Config (resolve.go). Another format needs another loader and nothing
// else. All errors of a file are reported at once, each as "file:line:column: cannot …".
package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"math"
	"os"
	"time"

	"github.com/nvme-discoverd/nvme-discoverd/internal/param"
	"github.com/nvme-discoverd/nvme-discoverd/internal/paths"
	"github.com/nvme-discoverd/nvme-discoverd/internal/wish"
)

// Infinity is the span of time that never ends, "infinity" in a file.
const Infinity time.Duration = math.MaxInt64

// Persistence says when the connection to a discovery controller is kept (SPEC section 7.6).
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
)

// Settings are the keys of [global], all of them set and in range. The zero value is not valid: Defaults is.
type Settings struct {
	NBFT          bool // connect what firmware booted from, SPEC section 11
	Zeroconf      bool // browse mDNS for discovery controllers, SPEC section 13
	FabricsConfig bool // read nvme-fabrics.conf too

	FCKickstartInterval  time.Duration // whole minutes; 0 never asks after the start
	DiscoveryRetention   time.Duration // 0 to Infinity
	ReconnectMaxDelay    time.Duration // 1 s to 24 h
	DisconnectTimeout    time.Duration // 1 s to Infinity
	EPCSDPollInterval    time.Duration // whole minutes, at least 1
	DiscoveryPersistence Persistence

	MaxParallelConnects int    // 1 to 1024
	NVMePath            string // absolute path of nvme-cli, or "" to connect with our own code
	LogLevel            slog.Level
}

// Defaults returns the settings of an empty file.
func Defaults() Settings {
	return Settings{
		NBFT:                 true,
		FabricsConfig:        true,
		DiscoveryRetention:   72 * time.Hour,
		ReconnectMaxDelay:    5 * time.Minute,
		DisconnectTimeout:    300 * time.Second,
		EPCSDPollInterval:    15 * time.Minute,
		DiscoveryPersistence: PersistenceAuto,
		MaxParallelConnects:  8,
		LogLevel:             slog.LevelInfo,
	}
}

// Connection is one configured path to a controller.
type Connection struct {
	Wish wish.Wish
	From string // "file:line" of its controller table, for people
}

// Config is the whole of what is configured, checked and complete.
type Config struct {
	Settings Settings

	// Connections stand in the order of the file. Their TIDs went through tid.New and carry the host identity; no two of
	// them are the same.
	Connections []Connection

	// Discovered holds the parameters of controllers that are found and not configured: the type defaults and, over them,
	// those of [host].
	Discovered struct{ Discovery, IO param.Set }

	// HostNQN and HostID are the host identity of every connection that brings none of its own. Both are empty only where
	// nothing is configured and the host has no identity at all.
	HostNQN, HostID string

	// Warnings are one sentence each, with the place in the file before it: "file:line:column: unknown key …".
	Warnings []string
}

// maxSize bounds a configuration file in bytes: a thousand connections need a quarter of it.
const maxSize = 1 << 20

// Load reads file, or below root the default file if file is "", and the host identity files below root. That the default
// file is not there means that nothing is configured; a missing file that was asked for is an error. An error holds one
// line for each thing that is wrong; nothing of such a file is to be used.
func Load(root paths.Root, file string) (Config, error) {
	mayMiss := file == ""
	if mayMiss {
		file = root.DaemonConfig()
	}
	text, err := read(file)
	if mayMiss && errors.Is(err, fs.ErrNotExist) {
		text = ""
	} else if err != nil {
		return Config{}, fmt.Errorf("cannot read configuration file %s: %w", file, err)
	}
	doc, findings := parseTOML(text)
	if len(findings.errors) > 0 {
		return Config{}, findings.err(file)
	}
	known, err := readIdentity(root)
	if err != nil {
		return Config{}, err
	}
	config := resolve(file, doc, known, &findings)
	if err := findings.err(file); err != nil {
		return Config{}, err
	}
	config.Warnings = append(config.Warnings, findings.warnings.lines(file)...)
	return config, nil
}

// read returns the text of a file that is not unreasonably long. Its errors do not name the file: callers do.
func read(file string) (string, error) {
	f, err := os.Open(file)
	if err != nil {
		return "", cause(err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxSize+1))
	if err != nil {
		return "", cause(err)
	}
	if len(data) > maxSize {
		return "", fmt.Errorf("it is larger than %d bytes", maxSize)
	}
	return string(data), nil
}

// cause strips the operation and the path from an error of package os.
func cause(err error) error {
	var pathErr *fs.PathError
	if errors.As(err, &pathErr) {
		return pathErr.Err
	}
	return err
}
