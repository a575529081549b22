// SPDX-License-Identifier: GPL-3.0-or-later

package cli

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"

	"github.com/nvme-discoverd/nvme-discoverd/internal/paths"
)

// A word or option that does not exist is told together with the one that was probably meant, in one line.
func TestSuggestions(t *testing.T) {
	const see = ": see nvme-discoverctl"
	for args, want := range map[string]string{
		"stauts":               `unknown command "stauts" for "nvme-discoverctl" (did you mean status?)` + see + " --help\n",
		"conect":               `unknown command "conect" for "nvme-discoverctl" (did you mean connect?)` + see + " --help\n",
		"disconect-all":        `unknown command "disconect-all" for "nvme-discoverctl" (did you mean disconnect-all?)` + see + " --help\n",
		"exc":                  `unknown command "exc" for "nvme-discoverctl" (did you mean exclusion?)` + see + " --help\n",
		"lunch":                `unknown command "lunch" for "nvme-discoverctl"` + see + " --help\n",
		"exclusion lsit":       `unknown command "lsit" for "nvme-discoverctl exclusion" (did you mean list?)` + see + " exclusion --help\n",
		"help stauts":          "cannot help with stauts: there is no such command (did you mean status?)" + see + " help --help\n",
		"help exclusion delet": "cannot help with exclusion delet: there is no such command (did you mean delete?)" + see + " help --help\n",
		"status --jsno":        "unknown flag: --jsno (did you mean --json?)" + see + " status --help\n",
		"connect --trasport=x": "unknown flag: --trasport (did you mean --transport?)" + see + " connect --help\n",
		"list --lunch":         "unknown flag: --lunch" + see + " list --help\n",
		"list -x":              "unknown shorthand flag: 'x' in -x" + see + " list --help\n",
	} {
		status, out, errs := run(&fakeConnector{}, paths.Root(t.TempDir()), strings.Fields(args)...)
		if diff := cmp.Diff([]any{Usage, "", want}, []any{status, out, errs}); diff != "" {
			t.Errorf("%s: %s", args, diff)
		}
	}
}

// Every command that a person can call is in one group of the help, and its usage is without noise.
func TestHelp(t *testing.T) {
	status, out, errs := ctl(t, paths.Root(t.TempDir()), 0, nil, "--help")
	if status != Done || errs != "" {
		t.Fatalf("--help: got status %d and %q", status, errs)
	}
	checkGolden(t, "help.txt", out)
	if _, same, _ := ctl(t, paths.Root(t.TempDir()), 0, nil); same != out {
		t.Errorf("without a command: got\n%s\nwant the help", same)
	}
	a := &app{}
	root := a.rootCommand()
	var walk func(*cobra.Command)
	walk = func(cmd *cobra.Command) {
		path := strings.Fields(cmd.CommandPath())[1:]
		for _, columns := range []int{60, 80, 200} {
			_, out, errs := ctl(t, paths.Root(t.TempDir()), columns, map[string]string{"NO_COLOR": "1"}, append(path, "--help")...)
			if strings.Contains(out, "[flags]") || !strings.Contains(out, "\nUsage:\n  nvme-discoverctl") || errs != "" {
				t.Errorf("%v --help: got %q and\n%s", path, errs, out)
			}
			for line := range strings.Lines(out) {
				if n := len([]rune(strings.TrimSuffix(line, "\n"))); n > columns {
					t.Errorf("%v --help at %d columns: a line of %d: %s", path, columns, n, line)
				}
			}
		}
		for _, c := range cmd.Commands() {
			walk(c)
		}
	}
	for _, c := range root.Commands() {
		walk(c)
		in := 0
		for _, g := range commandGroups {
			for _, name := range g.commands {
				if name == c.Name() {
					in++
				}
			}
		}
		if want := 1; c.Hidden && in != 0 || !c.Hidden && in != want {
			t.Errorf("%s is in %d groups of the help", c.Name(), in)
		}
	}
}

func TestVersion(t *testing.T) {
	for _, args := range []string{"version", "--version"} {
		if status, out, errs := run(&fakeConnector{}, "", args); status != Done || out != "nvme-discoverctl 1.2.3\n" || errs != "" {
			t.Errorf("%s: got %d, %q, %q", args, status, out, errs)
		}
	}
}

// On a narrow screen the paragraphs of a help text are broken anew, and so are rows of tables.
func TestReflow(t *testing.T) {
	const text = "one two three\nfour\n\n  indented line that is long\nfive six"
	if got, want := (screen{columns: 10}).reflow(text), "one two\nthree four\n\n  indented\n  line\n  that is\n  long\nfive six"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := (screen{}).reflow(text); got != text {
		t.Errorf("in a pipe: got %q", got)
	}
}
