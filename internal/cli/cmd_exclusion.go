package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/nvme-discoverd/nvme-discoverd/internal/connect"
	"github.com/nvme-discoverd/nvme-discoverd/internal/exclusion"
	"github.com/nvme-discoverd/nvme-discoverd/internal/paths"
	"github.com/nvme-discoverd/nvme-discoverd/internal/state"
	"github.com/nvme-discoverd/nvme-discoverd/internal/sysfs"
	"github.com/nvme-discoverd/nvme-discoverd/internal/tid"
	"github.com/nvme-discoverd/nvme-discoverd/internal/wish"
)

func (a *app) exclusionCommand() *cobra.Command {
	return group("exclusion", "Show and change what nobody is to connect",
		`An exclusion stops the next connect of what it matches; what is connected stays
connected. An ENTRY is key=value;key=value…, and matches a connection of which all
its keys match. Keys: transport, traddr, trsvcid, nqn, host-traddr, host-iface,
hostnqn, hostid. Addresses compare as addresses; a host name cannot be excluded.

The lists are the files /etc/nvme/exclusions/LIST.conf. nvme-cli's exclusions.conf
and exclusions.conf.d are obeyed and listed, never changed.

An entry that excludes a connected controller of the boot firmware (owner nbft)
asks first; without a terminal to ask on it is refused unless --yes is given.`,
		a.exclusionListCommand(), a.exclusionCreateCommand(), a.exclusionDeleteCommand(), a.exclusionAddCommand(),
		a.exclusionRemoveCommand(), a.exclusionEditCommand(), a.exclusionTestCommand())
}

// nameFlag adds --name, the list that a command is about.
func nameFlag(flags *pflag.FlagSet, name *string) {
	flags.StringVarP(name, "name", "N", exclusion.User, "exclusion list")
}

func entryFlag(flags *pflag.FlagSet, entry *string) {
	flags.StringVarP(entry, "entry", "e", "", "what is excluded, key=value;key=value…")
}

// exclusionList is one file, for people and programs.
type exclusionList struct {
	Name     string             `json:"name,omitempty"`
	File     string             `json:"file"`
	Entries  []exclusionEntry   `json:"entries"`
	Problems []exclusionProblem `json:"problems"`
}

type exclusionEntry struct {
	File  string `json:"file,omitempty"`
	Line  int    `json:"line"`
	Entry string `json:"entry"`
}

type exclusionProblem struct {
	Line    int    `json:"line,omitempty"`
	Message string `json:"message"`
}

func newExclusionList(s exclusion.Source) exclusionList {
	list := exclusionList{Name: s.Name, File: s.File, Entries: []exclusionEntry{}, Problems: []exclusionProblem{}}
	for _, e := range s.Entries {
		list.Entries = append(list.Entries, exclusionEntry{Line: e.Line, Entry: e.Text})
	}
	for _, p := range s.Problems {
		list.Problems = append(list.Problems, exclusionProblem{p.Line, p.Message})
	}
	return list
}

func (a *app) exclusionListCommand() *cobra.Command {
	var name string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the exclusion lists and their entries",
		Long: `List all exclusion lists with their entries, each with the number of its line, or
the list --name alone. What is in a list and cannot be used is told on standard
error; it excludes nothing. A list that cannot be read is a failure: exit status 1,
after the others are listed.

--json prints an object:
  lists       array, in the order in which entries are looked at:
    name      of the list; left out for nvme-cli's own
    file      its path
    entries   array: line, entry
    problems  array: line (left out if the file cannot be read), message`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var sources []exclusion.Source
			if cmd.Flags().Changed("name") {
				if err := exclusion.CheckName(name); err != nil {
					return err
				}
				source, err := exclusion.Read(a.root, name)
				if err != nil {
					return failed(err)
				}
				sources = append(sources, source)
			} else {
				sources = exclusion.Sources(a.root)
			}
			return failed(a.listExclusions(sources, asJSON))
		},
	}
	cmd.Flags().StringVarP(&name, "name", "N", "", "exclusion list (default all)")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func (a *app) listExclusions(sources []exclusion.Source, asJSON bool) error {
	lists := []exclusionList{}
	unreadable := 0
	for _, s := range sources {
		lists = append(lists, newExclusionList(s))
		if slices.ContainsFunc(s.Problems, func(p exclusion.Problem) bool { return p.Line == 0 }) {
			unreadable++
		}
	}
	if asJSON {
		if err := a.printJSON(map[string]any{"lists": lists}); err != nil {
			return err
		}
	} else {
		a.printExclusions(lists)
	}
	if unreadable > 0 {
		return fmt.Errorf("cannot list everything: %d of %d exclusion lists cannot be read", unreadable, len(lists))
	}
	return nil
}

func (a *app) printExclusions(lists []exclusionList) {
	if len(lists) == 0 {
		fmt.Fprintln(a.Stderr, "there are no exclusion lists")
	}
	for i, list := range lists {
		if i > 0 {
			fmt.Fprintln(a.Stdout)
		}
		name := list.Name
		if name == "" {
			name = "(nvme-cli's)"
		}
		fmt.Fprintf(a.Stdout, "%s  %s\n", printable(name), printable(list.File))
		for _, e := range list.Entries {
			fmt.Fprintf(a.Stdout, "%5d  %s\n", e.Line, e.Entry)
		}
		for _, p := range list.Problems {
			fmt.Fprintln(a.Stderr, "warning:", p.Message)
		}
	}
}

// usable tells of a bad list name before a command does anything.
func usable(name *string) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		if err := cobra.NoArgs(cmd, args); err != nil {
			return err
		}
		return exclusion.CheckName(*name)
	}
}

func (a *app) exclusionCreateCommand() *cobra.Command {
	var name string
	cmd := &cobra.Command{
		Use:   "create",
		Short: "Make an empty exclusion list",
		Args:  usable(&name),
		RunE: func(*cobra.Command, []string) error {
			file, err := exclusion.Create(a.root, name)
			if err != nil {
				return failed(err)
			}
			fmt.Fprintf(a.Stdout, "created exclusion list %s: %s\n", name, file)
			return nil
		},
	}
	nameFlag(cmd.Flags(), &name)
	return cmd
}

func (a *app) exclusionDeleteCommand() *cobra.Command {
	var name string
	cmd := &cobra.Command{
		Use:   "delete",
		Short: "Delete an exclusion list with all its entries",
		Args:  usable(&name),
		RunE: func(*cobra.Command, []string) error {
			file, err := exclusion.Delete(a.root, name)
			if err != nil {
				return failed(err)
			}
			fmt.Fprintf(a.Stdout, "deleted exclusion list %s: %s\n", name, file)
			return nil
		},
	}
	nameFlag(cmd.Flags(), &name)
	return cmd
}

func (a *app) exclusionAddCommand() *cobra.Command {
	var name, entry string
	var yes bool
	cmd := &cobra.Command{
		Use:   "add --entry ENTRY",
		Short: "Add an entry to an exclusion list",
		Long: `Add an entry to an exclusion list, which is made if it is missing. An entry that
the list has already, however it is spelled there, is no error.`,
		Args: usable(&name),
		RunE: func(*cobra.Command, []string) error {
			if entry == "" {
				return errors.New("cannot exclude without knowing what: give --entry key=value;key=value…")
			}
			if _, err := exclusion.Parse(entry); err != nil {
				return err
			}
			return failed(a.exclude(yes, name, entry))
		},
	}
	nameFlag(cmd.Flags(), &name)
	entryFlag(cmd.Flags(), &entry)
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	return cmd
}

// exclude adds good entries to the list called name and says what it did.
func (a *app) exclude(yes bool, name string, entries ...string) error {
	for _, entry := range entries {
		list, err := exclusion.Parse(entry)
		if err != nil {
			return err
		}
		if err := a.confirmExclusion(yes, list, "exclude "+entry); err != nil {
			return err
		}
	}
	added, err := exclusion.Add(a.root, name, entries...)
	if err != nil {
		return err
	}
	for _, e := range added {
		fmt.Fprintf(a.Stdout, "excluded %s: %s:%d\n", e.Text, e.File, e.Line)
	}
	if len(added) == 0 {
		fmt.Fprintf(a.Stdout, "exclusion list %s has it already\n", name)
	}
	a.warnOfProblems(name)
	return nil
}

// warnOfProblems tells the bad lines of a list that was changed.
func (a *app) warnOfProblems(name string) {
	source, err := exclusion.Read(a.root, name)
	if err != nil {
		return // it was read a moment ago
	}
	for _, p := range source.Problems {
		fmt.Fprintln(a.Stderr, "warning:", p.Message)
	}
}

// confirmExclusion asks before list, which is new, excludes a controller that the firmware booted from.
func (a *app) confirmExclusion(yes bool, list exclusion.List, what string) error {
	controllers, err := a.connector().Controllers()
	if err != nil {
		fmt.Fprintln(a.Stderr, "warning: cannot tell whether this excludes a controller of the boot firmware:", err)
		return nil
	}
	for _, c := range controllers {
		if c.Owner != string(wish.OwnerNBFT) || len(matches(list, connect.TIDs(c.Controller))) == 0 {
			continue
		}
		because := fmt.Sprintf("%s %s is of the boot firmware and would not be connected again", c.Name, connect.TIDs(c.Controller)[0])
		return a.confirm(yes, what, because)
	}
	return nil
}

func (a *app) exclusionRemoveCommand() *cobra.Command {
	var name, entry string
	cmd := &cobra.Command{
		Use:   "remove [--entry ENTRY]",
		Short: "Remove an entry from an exclusion list",
		Long: `Remove an entry from an exclusion list, however it is spelled there. A line that
cannot be used is removed by its text. Without --entry the list is shown and the
number of the entry is asked for, on a terminal only.`,
		Args: usable(&name),
		RunE: func(*cobra.Command, []string) error {
			if entry == "" {
				if !a.onTerminal() {
					return errors.New("cannot remove an exclusion without knowing which: give --entry key=value;key=value…")
				}
				var err error
				if entry, err = a.chooseEntry(name); err != nil {
					return failed(err)
				}
			}
			removed, err := exclusion.Remove(a.root, name, entry)
			if err != nil {
				return failed(err)
			}
			for _, e := range removed {
				fmt.Fprintf(a.Stdout, "removed %s: was %s:%d\n", e.Text, e.File, e.Line)
			}
			return nil
		},
	}
	nameFlag(cmd.Flags(), &name)
	entryFlag(cmd.Flags(), &entry)
	return cmd
}

// chooseEntry shows a list and asks for an entry. The choice is the entry, not the number: the list may change meanwhile.
func (a *app) chooseEntry(name string) (string, error) {
	source, err := exclusion.Read(a.root, name)
	if err != nil {
		return "", err
	}
	if len(source.Entries) == 0 {
		return "", fmt.Errorf("cannot remove from exclusion list %s: it has no entries", name)
	}
	for i, e := range source.Entries {
		fmt.Fprintf(a.Stderr, "%5d  %s\n", i+1, e.Text)
	}
	answer, err := a.ask("Number of the entry to remove (empty for none): ")
	if err != nil {
		return "", err
	}
	if answer == "" {
		return "", errDeclined
	}
	number, err := strconv.Atoi(answer)
	if err != nil || number < 1 || number > len(source.Entries) {
		return "", fmt.Errorf("cannot remove entry %s: give a number from 1 to %d", printable(answer), len(source.Entries))
	}
	return source.Entries[number-1].Text, nil
}

func (a *app) exclusionEditCommand() *cobra.Command {
	var name string
	var yes bool
	cmd := &cobra.Command{
		Use:   "edit",
		Short: "Edit an exclusion list with $VISUAL or $EDITOR",
		Long: `Edit a copy of an exclusion list with the program in $VISUAL or else $EDITOR, vi if
neither is set. Words after the first are passed to the program; quotes mean
nothing.

The copy takes the list's place if each of its lines is good and nobody has
changed the list meanwhile. Otherwise the list stays, and so does the copy, whose
path is told.`,
		Args: usable(&name),
		RunE: func(cmd *cobra.Command, _ []string) error {
			edit, err := exclusion.Begin(a.root, name)
			if err != nil {
				return failed(err)
			}
			editor := append(a.editor(), edit.Draft)
			if err := a.program(cmd.Context(), editor...); err != nil {
				err = fmt.Errorf("cannot edit exclusion list %s with %s: %w: set VISUAL or EDITOR to another editor", name, editor[0], err)
				return failed(errors.Join(err, edit.Drop()))
			}
			return failed(a.finishEdit(edit, yes, name))
		},
	}
	nameFlag(cmd.Flags(), &name)
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	return cmd
}

// editor returns the person's editor, a program and its first arguments.
func (a *app) editor() []string {
	for _, variable := range []string{"VISUAL", "EDITOR"} {
		if words := strings.Fields(a.Getenv(variable)); len(words) > 0 {
			return words
		}
	}
	return []string{"vi"}
}

func (a *app) finishEdit(edit *exclusion.Edit, yes bool, name string) error {
	added, changed, err := edit.Changed()
	if err == nil && !changed {
		fmt.Fprintf(a.Stdout, "exclusion list %s stays as it is\n", name)
		return edit.Drop()
	}
	if err == nil {
		err = a.confirmExclusion(yes, added, "save exclusion list "+name)
	}
	if err == nil {
		err = edit.Save()
	}
	if err != nil {
		return fmt.Errorf("%w\nexclusion list %s stays as it was; your edit is in %s", err, name, edit.Draft)
	}
	fmt.Fprintf(a.Stdout, "saved exclusion list %s\n", name)
	return nil
}

// exclusionTest is what the lists say of one connection, for people and programs.
type exclusionTest struct {
	TIDs     []string         `json:"tids"`
	Device   string           `json:"device,omitempty"`
	Excluded bool             `json:"excluded"`
	Entries  []exclusionEntry `json:"entries"`
	Problems []string         `json:"problems"`
}

func (a *app) exclusionTestCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "test TID|nvmeN|UNIT",
		Short: "Tell which entries exclude a connection",
		Long: `Tell which entries of which lists exclude a connection:
  TID    key=value;key=value… with the keys of an entry. What is left out is what
         "connect" takes: the port of the transport, and this host's identity.
  nvmeN  a connected controller, with the host address and interface that it was
         pinned to. A discovery controller that shows a unique NQN is looked for by
         that and by the well-known one.
  UNIT   a unit of nvme-discoverd, by the controller that it has connected.

The exit status is 0 whether it is excluded or not.

--json prints an object:
  tids      array of the TIDs that were looked for
  device    nvmeN; left out for a TID
  excluded  boolean
  entries   array, in the order in which they are looked at: file, line, entry
  problems  array of messages about what cannot be used and excludes nothing`,
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			result := exclusionTest{Entries: []exclusionEntry{}, Problems: []string{}}
			tids, device, err := a.connection(args[0])
			if err != nil {
				return err
			}
			result.Device = device
			for _, t := range tids {
				result.TIDs = append(result.TIDs, t.Canonical())
			}
			list, errs := exclusion.Load(a.root)
			for _, err := range errs {
				result.Problems = append(result.Problems, err.Error())
			}
			for _, e := range matches(list, tids) {
				result.Entries = append(result.Entries, exclusionEntry{e.File, e.Line, e.Text})
			}
			result.Excluded = len(result.Entries) > 0
			if asJSON {
				return failed(a.printJSON(result))
			}
			a.printExclusionTest(result)
			return nil
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func (a *app) printExclusionTest(result exclusionTest) {
	for _, problem := range result.Problems {
		fmt.Fprintln(a.Stderr, "warning:", problem)
	}
	if !result.Excluded {
		fmt.Fprintf(a.Stdout, "not excluded: %s\n", result.TIDs[0])
		return
	}
	fmt.Fprintf(a.Stdout, "excluded: %s\n", result.TIDs[0])
	for _, e := range result.Entries {
		fmt.Fprintf(a.Stdout, "  %s:%d: %s\n", e.File, e.Line, e.Entry)
	}
}

// matches returns the entries that exclude any of tids, in the order of the lists.
func matches(list exclusion.List, tids []tid.TID) []exclusion.Entry {
	var all []exclusion.Entry
	for _, t := range tids {
		for _, e := range list.Matches(t) {
			if !slices.Contains(all, e) {
				all = append(all, e)
			}
		}
	}
	return all
}

// connection returns what a person means by a TID, a device or a unit, and the device if it is one. A TID that is none is an
// error of the command line.
func (a *app) connection(what string) (tids []tid.TID, device string, err error) {
	if strings.Contains(what, "=") {
		t, err := a.parseTID(what)
		return []tid.TID{t}, "", err
	}
	device = what
	switch {
	case strings.HasSuffix(what, ".service"):
		if device, err = a.deviceOf(what); err != nil {
			return nil, "", failed(err)
		}
	case paths.CheckDevice(what) != nil:
		return nil, "", fmt.Errorf("cannot test %s: give a TID such as \"transport=tcp;traddr=192.0.2.1;nqn=…\", a device nvmeN or a unit of nvme-discoverd", printable(what))
	}
	controller, err := sysfs.NewReader(a.root).Read(device)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, "", failed(fmt.Errorf("cannot test %s: no such fabrics controller is connected: give its TID", device))
	case err != nil:
		return nil, "", failed(err)
	}
	return connect.TIDs(controller), device, nil
}

// deviceOf returns the controller on record for unit, provided that both records agree: names are recycled.
func (a *app) deviceOf(unit string) (string, error) {
	dir := state.New(a.root)
	device, err := dir.Devid(unit)
	if err != nil {
		return "", err
	}
	if device != "" {
		holder, err := dir.UnitOf(device)
		if err != nil {
			return "", err
		}
		if holder == unit {
			return device, nil
		}
	}
	return "", fmt.Errorf("cannot test %s: it has no controller on record: give the TID of its connection", unit)
}

// parseTID reads the canonical form of a TID, in any order, and completes it as connect does.
func (a *app) parseTID(text string) (tid.TID, error) {
	var flags tidFlags
	for pair := range strings.SplitSeq(text, ";") {
		key, value, _ := strings.Cut(strings.TrimSpace(pair), "=")
		if key == "" {
			continue
		}
		if !flags.tid.Set(key, value) {
			return tid.TID{}, fmt.Errorf("cannot use TID %s: unknown key %s, the keys are %s", printable(text), printable(key), strings.Join(tid.Keys(), ", "))
		}
	}
	return flags.readWithHost(a)
}
