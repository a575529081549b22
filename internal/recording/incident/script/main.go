// SPDX-License-Identifier: GPL-3.0-or-later

// Command script writes a recording as a script that tests play, for `make replay`: see docs/incidents.md.
package main

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/nvme-discoverd/nvme-discoverd/internal/recording"
	"github.com/nvme-discoverd/nvme-discoverd/internal/recording/incident"
	"github.com/nvme-discoverd/nvme-discoverd/internal/standin"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	dir := flag.String("dir", "internal/recording/incident/testdata", "directory of the scripts")
	names := flag.Bool("names", false, "leave names, addresses and NQNs as they are")
	since := flag.String("since", "", "begin at this time (RFC 3339)")
	until := flag.String("until", "", "end at this time (RFC 3339)")
	flag.Parse()
	if flag.NArg() != 1 || flag.Arg(0) == "" {
		return fmt.Errorf("cannot write a script: give one recording: make replay FILE=x%s", recording.Suffix)
	}
	times := [2]time.Time{}
	for i, text := range []string{*since, *until} {
		if text == "" {
			continue
		}
		at, err := time.Parse(time.RFC3339, text)
		if err != nil {
			return fmt.Errorf("cannot use the time %q: it must be like 2026-11-21T12:00:00Z", text)
		}
		times[i] = at
	}
	file, err := os.ReadFile(flag.Arg(0))
	if err != nil {
		return err
	}
	if !*names {
		set := standin.New()
		if err := recording.Learn(file, set); err != nil {
			return err
		}
		if file, _, err = recording.Anonymize(file, set.Names()); err != nil {
			return err
		}
	}
	var script bytes.Buffer
	differs, err := incident.Script(&script, file, times[0], times[1])
	if err != nil {
		return err
	}
	played, err := incident.Play(script.String())
	if err != nil {
		return err
	}
	path := filepath.Join(*dir, strings.TrimSuffix(filepath.Base(flag.Arg(0)), recording.Suffix)+".txt")
	if err := os.WriteFile(path, []byte(played), 0o644); err != nil {
		return err
	}
	fmt.Printf("%s: %d steps", path, strings.Count(played, "\n----\n")-1)
	if differs > 0 {
		fmt.Printf("; at %d of them this version decides otherwise than the recorded one: see the comments that begin with !", differs)
	}
	fmt.Println("\nSay at its beginning what it shows, and why; then: go test ./internal/recording/incident")
	return nil
}
