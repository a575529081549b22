// SPDX-License-Identifier: GPL-3.0-or-later

// Package incident turns recordings into scripts that tests play: what the core knew, each event, and what this version of the core
// decides (docs/incidents.md). A script is text, in the form of the scenarios of package core:
//
//	# what it shows, and why
//
//	state
//	  {"Version": 1, …}
//	----
//	2 targets, 1 controller, 2 units after step 55
//
//	# nvme1 was removed
//	2026-11-21T12:01:01.336Z DeviceRemoved
//	  {"Name":"nvme1","Seq":120}
//	----
//	log info: lost (tcp, 192.0.2.10, …)
//	ask about nvme-discoverd-0a1b2c3d4e5f.service
//
// A command has its input indented below it; what follows ---- up to an empty line is the trace.
package incident

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/nvme-discoverd/nvme-discoverd/internal/core"
	"github.com/nvme-discoverd/nvme-discoverd/internal/recording"
)

const timeForm = time.RFC3339Nano

// errEnd ends the reading of a recording.
var errEnd = errors.New("the rest is not wanted")

// Script writes a recording as a script, from the first moment at or after from, of which the core's state is made by replaying what
// came before, to until; zero times are its beginning and its end. It returns at how many steps this version decides otherwise than
// the recorded one.
func Script(out io.Writer, file []byte, from, until time.Time) (differs int, err error) {
	var replay recording.Replay
	begun := false
	write := func(format string, args ...any) {
		if err == nil {
			_, err = fmt.Fprintf(out, format, args...)
		}
	}
	readErr := recording.Each(file, func(r recording.Record) error {
		if !until.IsZero() && r.Time().After(until) {
			return errEnd
		}
		gap := r.Start != nil && r.Start.Gap
		switch {
		case r.State != nil && begun && replay.Machine() != nil: // it goes on from what this version knows
			return nil
		case r.Start != nil && !begun && replay.Machine() == nil:
			write("# Recorded by nvme-discoverd %s on %s.\n# Say here what it shows, and why.\n", r.Start.Version, r.Time().Format(time.DateOnly))
		}
		m := replay.Machine()
		if m != nil && !begun && r.Event != nil && !r.Time().Before(from) {
			begun = true
			if writeErr := writeState(write, m); writeErr != nil {
				return writeErr
			}
		}
		_, d := replay.Step(r)
		if m = replay.Machine(); r.State != nil && begun && m != nil { // what came before it is missing
			return writeState(write, m)
		}
		if gap && begun {
			write("\n# Some steps are missing here.\n")
		}
		if r.Event == nil || !begun {
			return err
		}
		text, jsonErr := recording.EventJSON(*r.Event)
		if jsonErr != nil {
			return jsonErr
		}
		ev, decodeErr := recording.DecodeEvent(*r.Event)
		if decodeErr != nil {
			return decodeErr
		}
		write("\n# %s\n", oneLine(recording.Describe(ev)))
		if d != nil {
			differs++
			for _, words := range d.Words() {
				write("# %s\n", oneLine(words))
			}
		}
		write("%s %s\n  %s\n----\n", r.Moment().Format(timeForm), r.Event.Type, text)
		return err
	})
	switch {
	case readErr != nil && !errors.Is(readErr, errEnd):
		return differs, readErr
	case err == nil && !begun:
		err = errors.New("cannot write a script: there is no event at that time, or no state before it")
	}
	return differs, err
}

func oneLine(text string) string { return strings.Join(strings.Fields(text), " ") }

func writeState(write func(string, ...any), m *core.Machine) error {
	saved := m.Save(nil)
	text, err := json.MarshalIndent(saved, "  ", " ")
	if err != nil {
		return err
	}
	var again core.Saved
	if err := json.Unmarshal(text, &again); err != nil {
		return fmt.Errorf("cannot write the state as text: %w", err)
	}
	if twice, err := json.MarshalIndent(&again, "  ", " "); err != nil || !bytes.Equal(text, twice) {
		return fmt.Errorf("cannot write the state as text: it has texts that are no UTF-8, %v", err)
	}
	write("\nstate\n  %s\n----\n", text)
	return nil
}

// Play plays a script and returns it with the traces as they are now. Comments and empty lines between blocks stay.
func Play(script string) (string, error) {
	var out strings.Builder
	var replay recording.Replay
	var command string
	var input []string
	skipping := false
	for number, line := range strings.Split(strings.TrimRight(script, "\n"), "\n") {
		switch {
		case skipping && line != "":
			continue
		case line == "----":
			out.WriteString("----\n")
			trace, err := play(&replay, command, strings.Join(input, "\n"))
			if err != nil {
				return "", fmt.Errorf("line %d: %w", number+1, err)
			}
			for _, text := range trace {
				out.WriteString(oneLine(text) + "\n")
			}
			command, input, skipping = "", nil, true
			continue
		}
		skipping = false
		out.WriteString(line + "\n")
		switch {
		case line == "" || strings.HasPrefix(line, "#"):
		case strings.HasPrefix(line, " "):
			input = append(input, line)
		case command != "":
			return "", fmt.Errorf("line %d: %q has no ----", number+1, command)
		default:
			command = line
		}
	}
	if command != "" {
		return "", fmt.Errorf("the last block has no ----: %q", command)
	}
	return out.String(), nil
}

// play carries out a command and returns its trace.
func play(replay *recording.Replay, command, input string) ([]string, error) {
	if command == "state" {
		var saved core.Saved
		if err := json.Unmarshal([]byte(input), &saved); err != nil {
			return nil, fmt.Errorf("cannot read the state: %w", err)
		}
		*replay = recording.Replay{}
		if _, d := replay.Step(recording.Record{State: &saved}); d != nil {
			return d.Words(), nil
		}
		return []string{fmt.Sprintf("%d targets, %d controllers, %d units after step %d", len(saved.Targets), len(saved.Devices), len(saved.Units), saved.Step)}, nil
	}
	at, typ, _ := strings.Cut(command, " ")
	when, err := time.Parse(timeForm, at)
	if err != nil {
		return nil, fmt.Errorf("%q is neither state nor a time and an event: %w", command, err)
	}
	if replay.Machine() == nil {
		return nil, errors.New("there is no core: it gave up before, or no state is given")
	}
	item, err := recording.EventOfJSON(typ, []byte(input))
	if err != nil {
		return nil, err
	}
	effects, d := replay.Step(recording.Record{At: when.UnixNano(), Event: &item, Unended: true}) // nothing is recorded to compare with
	if d != nil {
		return d.Words(), nil
	}
	var trace []string
	for _, e := range effects {
		trace = append(trace, e.String())
	}
	return trace, nil
}
