// SPDX-License-Identifier: GPL-3.0-or-later

package cli

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/nvme-discoverd/nvme-discoverd/internal/files"
	"github.com/nvme-discoverd/nvme-discoverd/internal/legible"
	"github.com/nvme-discoverd/nvme-discoverd/internal/recording"
	"github.com/nvme-discoverd/nvme-discoverd/internal/timespan"
)

// maxRecording is the largest file in bytes that is read as a recording: twice the largest ring.
const maxRecording = 128 << 20

// errDiffers is the failure of a replay that decides otherwise: what differs has been printed.
var errDiffers = errors.New("this version decides otherwise than the recorded one: see the lines that begin with ! above")

func (a *app) replayCommand() *cobra.Command {
	var (
		asJSON        bool
		target, since string
	)
	cmd := &cobra.Command{
		Use:   "replay FILE",
		Short: "Show a recording, and where this version decides otherwise",
		Long: `Show what is in a recording of "record", or of a daemon that has ended: each event, and
what the daemon decided about it. Nothing is done to this host, and no daemon is asked.

This version decides anew about each event. Where that differs from what was recorded,
lines that begin with ! say how, and the exit status is 1: "!-" is what only the recorded
version decided, "!+" what only this one does. A difference may have others as its
consequence, at most until the recording has the daemon's whole state again.

--target shows only events and decisions that have the word in them: a unit, nvmeN, an
NQN, an address. --since is a time such as 2026-11-21T12:00:00Z, or a span before the end
such as 10min. Both hide lines, and no differences.

--json prints a line for each record: an object as nvme-discoverctl(8) describes it.`,
		Args: takes(1, 1),
		RunE: func(_ *cobra.Command, args []string) error {
			file, err := readRecording(args[0])
			if err != nil {
				return failed(err)
			}
			from, err := timelineStart(since, file)
			if err != nil {
				return err
			}
			out := bufio.NewWriter(a.Stdout)
			differs, lines, steps := false, 0, 0
			readErr := recording.Play(file, func(line recording.Line) error {
				lines++
				if line.Event != "" {
					steps++
				}
				differs = differs || line.Difference != nil
				if line.Difference == nil && (line.Time.Before(from) || !line.Mentions(target)) {
					return nil
				}
				if !asJSON {
					printLine(out, line, target)
					return nil
				}
				return json.NewEncoder(out).Encode(line)
			})
			if err := out.Flush(); err != nil {
				return failed(err)
			}
			switch {
			case readErr != nil && lines == 0:
				return failed(fmt.Errorf("cannot read %s: %w", args[0], readErr))
			case readErr != nil:
				return failed(fmt.Errorf("cannot read all of %s: %w", args[0], readErr))
			case differs:
				return failed(errDiffers)
			case !asJSON:
				fmt.Fprintf(a.Stderr, "%s replayed: this version decides the same\n", plural(steps, "event", "events"))
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON, a line for each record")
	cmd.Flags().StringVar(&target, "target", "", "show only what has `WORD` in it")
	cmd.Flags().StringVar(&since, "since", "", "show only what came at `TIME` or later")
	return cmd
}

func readRecording(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("cannot read the recording: %w", err)
	}
	defer f.Close()
	file, err := files.ReadAll(f, maxRecording)
	if err != nil {
		return nil, fmt.Errorf("cannot read %s: %w", path, err)
	}
	return file, nil
}

// timelineStart returns the time that --since means, an error of usage if it means none.
func timelineStart(since string, file []byte) (time.Time, error) {
	if since == "" {
		return time.Time{}, nil
	}
	if at, err := time.Parse(time.RFC3339, since); err == nil {
		return at, nil
	}
	span, err := timespan.Parse(since)
	if err != nil {
		return time.Time{}, fmt.Errorf("cannot replay: --since %q is neither a time such as 2026-11-21T12:00:00Z nor a span of time such as 10min", since)
	}
	return recording.End(file).Add(-span), nil
}

func printLine(out *bufio.Writer, line recording.Line, target string) {
	fmt.Fprintf(out, "%s %s\n", line.Time.Format("2006-01-02T15:04:05.000Z"), legible.Text(line.What))
	for _, effect := range line.Effects {
		if target == "" || strings.Contains(effect, target) || strings.Contains(line.What, target) {
			fmt.Fprintf(out, "    %s\n", legible.Text(effect))
		}
	}
	if d := line.Difference; d != nil {
		for _, text := range d.Words() {
			fmt.Fprintf(out, "  %s\n", legible.Text(text))
		}
	}
}
