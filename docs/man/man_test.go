// SPDX-License-Identifier: GPL-3.0-or-later

// Package man_test holds the manual pages to what the programs have: every command, option, configuration key, method and
// error is there, and nothing that is no more.
//
// The pages are written by hand in mdoc(7). In them ".It Cm" is a command or a word of the varlink interface, ".It Va" a
// configuration key with its default, ".It Fl" an option; other items are prose.
package man_test

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/nvme-discoverd/nvme-discoverd/internal/cli"
	"github.com/nvme-discoverd/nvme-discoverd/internal/config"
	"github.com/nvme-discoverd/nvme-discoverd/internal/exclusion"
	"github.com/nvme-discoverd/nvme-discoverd/internal/journal"
	"github.com/nvme-discoverd/nvme-discoverd/internal/param"
	"github.com/nvme-discoverd/nvme-discoverd/internal/paths"
	"github.com/nvme-discoverd/nvme-discoverd/internal/secret"
	"github.com/nvme-discoverd/nvme-discoverd/internal/tid"
)

const (
	daemonPage = "nvme-discoverd.8"
	ctlPage    = "nvme-discoverctl.8"
	configPage = "discoverd.conf.5"
	apiPage    = "org.nvmexpress.discoverd.7"
)

var pages = []string{daemonPage, ctlPage, configPage, apiPage}

func read(t *testing.T, file string) string {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// item is an ".It" of a list, and where it stands.
type item struct {
	section, subsection string
	words               []string // with the macros among them
}

// unescape turns what the pages have of roff's escapes into the characters meant.
var unescape = strings.NewReplacer(`\-`, "-", `\(dq`, `"`, `\&`, "", `\e`, `\`)

func items(t *testing.T, page string) []item {
	t.Helper()
	var all []item
	var at item
	for line := range strings.Lines(read(t, page)) {
		macro, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		rest = unescape.Replace(rest)
		switch macro {
		case ".Sh":
			at = item{section: rest}
		case ".Ss":
			at.subsection = rest
		case ".It":
			all = append(all, item{at.section, at.subsection, strings.Fields(rest)})
		}
	}
	return all
}

var macro = regexp.MustCompile(`^([A-Z][a-z]|Bro|Brc)$`)

// after returns the words after each macro of a name, up to the next macro.
func (i item) after(name string) []string {
	var words []string
	on := false
	for _, word := range i.words {
		switch {
		case macro.MatchString(word):
			on = word == name
		case on && strings.Trim(word, ",|") != "":
			words = append(words, word)
		}
	}
	return words
}

func (i item) is(macro string) bool { return len(i.words) > 1 && i.words[0] == macro }

// options returns the options of an item as they are typed.
func (i item) options() []string {
	var options []string
	for _, word := range i.after("Fl") {
		options = append(options, "-"+word)
	}
	return options
}

// help returns what a command of nvme-discoverctl says of itself.
func help(t *testing.T, command ...string) string {
	t.Helper()
	var out bytes.Buffer
	status := cli.Run(t.Context(), cli.Env{
		Args: append(command, "--help"), Getenv: func(string) string { return "" }, Stdout: &out, Stderr: &out,
	})
	if status != cli.Done {
		t.Fatalf("%v --help: exit status %d:\n%s", command, status, out.String())
	}
	return out.String()
}

var (
	helpCommand = regexp.MustCompile(`(?m)^  ([a-z-]+) {3,}`)
	helpGroup   = regexp.MustCompile(`(?m)^([A-Z].*):$`)
	helpOption  = regexp.MustCompile(`(?m)^ {2,}(?:(-\w), )?(--[a-z-]+)`)
)

// commands returns the options of every command that there is and is not hidden, below the given one.
func commands(t *testing.T, above ...string) map[string][]string {
	t.Helper()
	text := help(t, above...)
	_, text, _ = strings.Cut(text, "\nUsage:\n")
	list, options, _ := strings.Cut(text, "\nOptions:\n")
	below := helpCommand.FindAllStringSubmatch(list, -1)
	if len(below) == 0 {
		own := []string{}
		for _, m := range helpOption.FindAllStringSubmatch(options, -1) {
			if m[2] != "--help" {
				own = append(own, m[1:]...)
			}
		}
		own = slices.DeleteFunc(own, func(s string) bool { return s == "" })
		slices.Sort(own)
		return map[string][]string{strings.Join(above, " "): own}
	}
	all := map[string][]string{}
	for _, m := range below {
		maps.Copy(all, commands(t, append(slices.Clone(above), m[1])...))
	}
	return all
}

func TestCommands(t *testing.T) {
	documented := map[string][]string{}
	command := ""
	for _, i := range items(t, ctlPage) {
		if i.section != "COMMANDS" {
			continue
		}
		if i.is("Cm") {
			command = strings.Join(i.after("Cm"), " ")
			documented[command] = []string{}
		}
		documented[command] = append(documented[command], i.options()...)
	}
	for command := range documented {
		slices.Sort(documented[command])
		documented[command] = slices.Compact(documented[command])
	}
	if diff := cmp.Diff(commands(t), documented); diff != "" {
		t.Errorf("%s does not have the commands and options that there are (-program +page):\n%s", ctlPage, diff)
	}
}

// The help has the commands in the groups of the page, in its order.
func TestGroups(t *testing.T) {
	var want, got []string
	for _, i := range items(t, ctlPage) {
		if i.section == "COMMANDS" && i.is("Cm") {
			want = append(want, i.subsection+": "+i.after("Cm")[0])
		}
	}
	group := ""
	_, text, _ := strings.Cut(help(t), "\nUsage:\n")
	for line := range strings.Lines(text) {
		if m := helpGroup.FindStringSubmatch(line); m != nil {
			group = m[1]
		} else if m := helpCommand.FindStringSubmatch(line); m != nil {
			got = append(got, group+": "+m[1])
		}
	}
	if diff := cmp.Diff(got, slices.Compact(want)); diff != "" {
		t.Errorf("the help has other groups than %s (-program +page):\n%s", ctlPage, diff)
	}
}

func TestDaemonOptions(t *testing.T) {
	var got, want []string
	for _, m := range regexp.MustCompile(`\bflag\.\w+\("([^"]+)"`).FindAllStringSubmatch(read(t, "../../cmd/nvme-discoverd/main.go"), -1) {
		want = append(want, "--"+m[1])
	}
	for _, i := range items(t, daemonPage) {
		got = append(got, i.options()...)
	}
	slices.Sort(want)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s does not have the options that there are (-program +page):\n%s", daemonPage, diff)
	}
}

func TestJournalFields(t *testing.T) {
	var got, want []string
	for _, f := range journal.About("unit", "nvme0", tid.TID{
		Transport: "tcp", Traddr: "192.0.2.1", Trsvcid: "4420", NQN: "nqn", HostTraddr: "192.0.2.2", HostIface: "eth0",
		HostNQN: "nqn", HostID: "id",
	}) {
		want = append(want, f.Key)
	}
	for _, i := range items(t, daemonPage) {
		if i.section == "JOURNAL" {
			got = append(got, i.words[1])
		}
	}
	slices.Sort(want)
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s does not have the fields that there are (-program +page):\n%s", daemonPage, diff)
	}
}

// keys returns the configuration keys of a place of the page with the defaults that it tells, as a file may have them.
func keys(t *testing.T, section, subsection string) (names []string, defaults map[string]string) {
	t.Helper()
	defaults = map[string]string{}
	for _, i := range items(t, configPage) {
		if i.section != section || i.subsection != subsection || !i.is("Va") {
			continue
		}
		name := i.words[1]
		names = append(names, name)
		if value := i.after("Li"); len(value) > 0 {
			defaults[name] = strings.Join(value, " ")
		}
	}
	return names, defaults
}

// explain returns the configuration that these files, named as on a host, make.
func explain(t *testing.T, files map[string]string) config.Explanation {
	t.Helper()
	root := t.TempDir()
	for file, text := range files {
		path := filepath.Join(root, file)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	explained, err := config.Explain(paths.Root(root), "")
	if err != nil {
		t.Fatal(err)
	}
	for _, warning := range explained.Warnings {
		t.Error(warning)
	}
	return explained
}

func TestSettings(t *testing.T) {
	const section = "[global]"
	names, defaults := keys(t, "DISCOVERD.CONF", section)
	var want []string
	builtIn := explain(t, nil)
	for _, v := range builtIn.SettingValues {
		want = append(want, v.Key)
	}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Errorf("%s does not have the settings that there are (-program +page):\n%s", configPage, diff)
	}
	text := section + "\n"
	for _, name := range names {
		if defaults[name] == "" {
			t.Errorf("%s does not tell the default of %s", configPage, name)
		}
		text += fmt.Sprintf("%s = %s\n", name, defaults[name])
	}
	told := explain(t, map[string]string{"etc/nvme/discoverd.conf": text})
	if diff := cmp.Diff(builtIn.Settings, told.Settings); diff != "" {
		t.Errorf("%s tells other defaults than there are (-program +page):\n%s", configPage, diff)
	}
}

func TestParameters(t *testing.T) {
	names, _ := keys(t, "CONNECTION PARAMETERS", "")
	var want []string
	for _, p := range param.All() {
		want = append(want, p.String())
	}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Errorf("%s does not have the parameters that there are (-program +page):\n%s", configPage, diff)
	}
	found := explain(t, nil).Found
	for _, test := range []struct {
		section string
		values  []config.Value
	}{{"[discovery-controller-defaults]", found.Discovery}, {"[io-controller-defaults]", found.IO}} {
		want := map[string]string{}
		for _, v := range test.values {
			want[v.Key] = v.Value
		}
		if _, got := keys(t, "DISCOVERD.CONF", test.section); !cmp.Equal(want, got) {
			t.Errorf("%s tells other defaults in %s than there are (-program +page):\n%s", configPage, test.section, cmp.Diff(want, got))
		}
	}
}

// paragraphs returns what a section of a page says under each ".It Va", in one line without macros, and the word for the value.
func paragraphs(t *testing.T, page, section string) (texts, values map[string]string) {
	t.Helper()
	texts, values = map[string]string{}, map[string]string{}
	key := ""
	on := false
	for line := range strings.Lines(read(t, page)) {
		words := strings.Fields(unescape.Replace(line))
		switch {
		case len(words) == 0:
		case words[0] == ".Sh":
			on, key = strings.Join(words[1:], " ") == section, ""
		case words[0] == ".El":
			key = ""
		case words[0] == ".It" && on:
			i := item{words: words[1:]}
			if key = ""; i.is("Va") {
				key = i.words[1]
				values[key] = strings.Join(i.after("Ar"), " ")
			}
		case key != "":
			words = slices.DeleteFunc(words, func(word string) bool { return macro.MatchString(strings.TrimPrefix(word, ".")) })
			texts[key] += strings.ReplaceAll(strings.Join(words, " "), " ,", ",") + " "
		}
	}
	return texts, values
}

// TestTable holds what the pages say of each parameter to its row in the table of package param: what its
// values look like, its range, and its transports.
func TestTable(t *testing.T) {
	words := map[param.Form]string{
		param.Seconds: "^SECONDS$", param.Number: "^NUMBER$", param.Switch: "^BOOLEAN$", param.Text: "^(NAME|TEXT)$",
	}
	transports := regexp.MustCompile(`\btcp(, (rdma|fc))*`)
	texts, values := paragraphs(t, configPage, "CONNECTION PARAMETERS")
	options := map[string]string{}
	for _, i := range items(t, ctlPage) {
		if name := i.after("Fl"); i.section == "COMMANDS" && (len(name) == 1 || len(name) == 2 && len(name[0]) == 1) { // the letter first
			options[strings.TrimPrefix(name[len(name)-1], "-")] = strings.Join(i.after("Ar"), " ")
		}
	}
	for _, p := range param.All() {
		info := p.Info()
		var must []string // say of its values
		switch info.Form {
		case param.Number:
			must = append(must, fmt.Sprintf("%d to %d", info.Min, info.Max))
		case param.Seconds:
			if info.Min < 0 {
				must = append(must, "-1")
			} else {
				must = append(must, fmt.Sprintf("%d or more", info.Min))
			}
		case param.Text:
			must = append(must, fmt.Sprintf("up to %d bytes", info.Max))
		case param.Switch:
		}
		over := strings.Join(info.Transports, ", ")
		if got := transports.FindString(texts[p.String()]); got != over {
			t.Errorf("%s has %s over %q, want %q", configPage, p, got, over)
		}
		for _, say := range must {
			if !strings.Contains(texts[p.String()], say) {
				t.Errorf("%s does not say %q of %s: %s", configPage, say, p, texts[p.String()])
			}
		}
		if want := regexp.MustCompile(words[info.Form]); !want.MatchString(values[p.String()]) {
			t.Errorf("%s has a value %q of %s, want %s", configPage, values[p.String()], p, want)
		}
		if want := strings.TrimSuffix(values[p.String()], "BOOLEAN"); options[p.String()] != want {
			t.Errorf("%s has a value %q of --%s, want %q", ctlPage, options[p.String()], p, want)
		}
	}
}

func TestSecrets(t *testing.T) {
	names, _ := keys(t, "SECRETS", "")
	var want []string
	for _, k := range secret.Keys() {
		want = append(want, k.String(), k.String()+"-file", k.String()+"-credential")
	}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Errorf("%s does not have the secrets that there are (-program +page):\n%s", configPage, diff)
	}
}

// The remaining keys: those of a TID, what holds the controllers of an endpoint, and whether a discovery controller is kept.
func TestConnectionKeys(t *testing.T) {
	host, _ := keys(t, "DISCOVERD.CONF", "[host]")
	discovery, defaults := keys(t, "DISCOVERD.CONF", "[[discovery-controller]]")
	subsystem, _ := keys(t, "DISCOVERD.CONF", "[[subsystem]]")
	controller, _ := keys(t, "DISCOVERD.CONF", "Controller tables")
	got := append(slices.Concat(host, controller), discovery...)
	want := append(tid.Keys(), "controller", "persistent")
	slices.Sort(got)
	slices.Sort(want)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s does not have the keys that there are (-program +page):\n%s", configPage, diff)
	}
	shared := slices.DeleteFunc(discovery, func(key string) bool { return key == "persistent" })
	if diff := cmp.Diff(shared, subsystem); diff != "" {
		t.Errorf("%s has other keys in [[subsystem]] than in [[discovery-controller]], persistent apart:\n%s", configPage, diff)
	}
	if want := fmt.Sprintf("%q", tid.DiscoveryNQN); defaults["nqn"] != want {
		t.Errorf("%s tells %s for the NQN of a discovery controller, it is %s", configPage, defaults["nqn"], want)
	}
}

// The table has the sections of nvme-fabrics.conf beside those of discoverd.conf.
func TestSections(t *testing.T) {
	pairs := map[string]string{}
	for _, i := range items(t, configPage) {
		if title, same, ok := strings.Cut(strings.Join(i.words, " "), " Ta "); ok && i.section == "NVME-FABRICS.CONF" && !i.is("Em") {
			pairs[title] = same
		}
	}
	if len(pairs) != 5 {
		t.Errorf("%s has %d sections of nvme-fabrics.conf, want 5", configPage, len(pairs))
	}
	var toml, ini string
	for title, same := range pairs {
		toml += same + "\n"
		ini += title + "\n"
		if strings.HasPrefix(same, "[[") {
			toml += fmt.Sprintf("nqn = \"nqn.2024-01.com.example:a%d\"\ncontroller = [{ transport = \"loop\" }]\n", len(toml))
			ini += fmt.Sprintf("nqn = nqn.2024-01.com.example:b%d\ncontroller = transport=loop\n", len(ini))
		}
	}
	explained := explain(t, map[string]string{
		"etc/nvme/hostnqn": "nqn.2024-01.com.example:host", "etc/nvme/discoverd.conf": toml, "etc/nvme/nvme-fabrics.conf": ini,
	})
	if n := len(explained.Connections); n != 4 {
		t.Errorf("the sections make %d connections, want 4", n)
	}
}

// examples returns the literal displays below EXAMPLES.
func examples(t *testing.T, page string) []string {
	t.Helper()
	_, text, ok := strings.Cut(read(t, page), "\n.Sh EXAMPLES\n")
	if !ok {
		t.Fatalf("%s has no examples", page)
	}
	var all []string
	for _, part := range strings.Split("\n"+text, "\n.Bd -literal -offset indent\n")[1:] {
		example, _, _ := strings.Cut(part, "\n.Ed\n")
		all = append(all, unescape.Replace(example)+"\n")
	}
	return all
}

// The page about the configuration begins with one that works.
func TestFirstLines(t *testing.T) {
	_, text, _ := strings.Cut(read(t, configPage), "\n.Sh DESCRIPTION\n")
	_, text, _ = strings.Cut(text, "\n.Bd -literal -offset indent\n")
	text, _, _ = strings.Cut(text, "\n.Ed\n")
	explained := explain(t, map[string]string{
		"etc/nvme/hostnqn": "nqn.2024-01.com.example:host", "etc/nvme/discoverd.conf": unescape.Replace(text) + "\n",
	})
	if n := len(explained.Connections); n != 1 || strings.Count(text, "\n") != 4 {
		t.Errorf("the first lines make %d connections, want 1 by five lines:\n%s", n, text)
	}
}

func TestConfigurationExamples(t *testing.T) {
	files := map[string]string{"etc/nvme/hostnqn": "nqn.2024-01.com.example:host"}
	for _, text := range examples(t, configPage) {
		first, _, _ := strings.Cut(text, "\n")
		files[strings.TrimPrefix(first, "# /")] = text
	}
	explained := explain(t, files)
	if n := len(explained.Connections); n != 6 {
		t.Errorf("the examples make %d connections, want 6", n)
	}
	root := t.TempDir()
	list := paths.Root(root).Exclusions()
	if err := os.MkdirAll(list, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(list, "user.conf"), []byte(files["etc/nvme/exclusions/user.conf"]), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, source := range exclusion.Sources(paths.Root(root)) {
		if len(source.Problems) > 0 || len(source.Entries) != 2 {
			t.Errorf("the exclusion list of the examples has %d entries, want 2, and the problems %v", len(source.Entries), source.Problems)
		}
	}
}

// Every command line of the examples has a command and options that exist.
func TestCommandExamples(t *testing.T) {
	known, seen := commands(t), 0
	for _, page := range []string{ctlPage, daemonPage} {
		for _, line := range strings.Split(strings.Join(examples(t, page), ""), "\n") {
			for _, part := range regexp.MustCompile(`nvme-discoverctl ([^|>&)]*)`).FindAllStringSubmatch(line, -1) {
				seen++
				words := strings.Fields(part[1])
				options, ok := known[words[0]]
				if !ok && len(words) > 1 {
					options, ok = known[words[0]+" "+words[1]]
				}
				if !ok {
					t.Errorf("%s: no such command: %s", page, line)
				}
				for _, word := range words {
					name, _, _ := strings.Cut(word, "=")
					if strings.HasPrefix(word, "-") && !slices.Contains(options, name) {
						t.Errorf("%s: no such option: %s", page, line)
					}
				}
			}
		}
	}
	if seen == 0 {
		t.Error("there are no examples")
	}
}

func TestInterface(t *testing.T) {
	text := read(t, "../../internal/api/orgnvmexpressdiscoverd/org.nvmexpress.discoverd.varlink")
	want := map[string][]string{}
	for _, m := range regexp.MustCompile(`(?m)^(method|error) (\w+)`).FindAllStringSubmatch(text, -1) {
		want[m[1]] = append(want[m[1]], m[2])
	}
	states := regexp.MustCompile(`(?m)^  state: \(([^)]*)\)`).FindStringSubmatch(text)
	want["state"] = strings.Split(states[1], ", ")

	got := map[string][]string{}
	for _, i := range items(t, apiPage) {
		kind := "method"
		switch {
		case i.section == "STATES":
			kind = "state"
		case i.subsection == "Errors":
			kind = "error"
		}
		got[kind] = append(got[kind], i.words[1])
	}
	for _, lists := range []map[string][]string{want, got} {
		for _, list := range lists {
			slices.Sort(list)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s does not have what the interface has (-interface +page):\n%s", apiPage, diff)
	}
}

// A reference to a page of ours leads to one that there is, and those of the services do too.
func TestReferences(t *testing.T) {
	references := map[string]bool{}
	for _, page := range pages {
		for _, m := range regexp.MustCompile(`(?m)^\.Xr (\S+) (\d)`).FindAllStringSubmatch(read(t, page), -1) {
			references[m[1]+"."+m[2]] = true
		}
	}
	units := read(t, "../../systemd/nvme-discoverd.service") + read(t, "../../systemd/nvme-fabrics-shutdown.service") + read(t, "../../systemd/nvme-discoverd-wait-online.service")
	for _, m := range regexp.MustCompile(`man:(\S+)\((\d)\)`).FindAllStringSubmatch(units, -1) {
		references[m[1]+"."+m[2]] = true
	}
	for reference := range references {
		if strings.Contains(reference, "discover") && !slices.Contains(pages, reference) {
			t.Errorf("there is no page %s", reference)
		}
	}
	found, err := filepath.Glob("*.[0-9]")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(found, slices.Sorted(slices.Values(pages))); diff != "" {
		t.Errorf("pages that are not tested (-there +tested):\n%s", diff)
	}
}

// A plain hyphen in what people copy is another character in some renderings.
func TestHyphens(t *testing.T) {
	literal := regexp.MustCompile(`^\.(It|Fl|Pa|Cm|Va|Li|Ql|Ev|Dl|Fa) `)
	plain := regexp.MustCompile(`(^|[^\\])-`)
	for _, page := range pages {
		display := false
		for n, line := range strings.Split(read(t, page), "\n") {
			switch {
			case strings.HasPrefix(line, ".Bd -literal"):
				display = true
			case line == ".Ed":
				display = false
			case (display || literal.MatchString(line)) && plain.MatchString(line):
				t.Errorf(`%s:%d: write the hyphens as \-: %s`, page, n+1, line)
			}
		}
	}
}

// Where the programs are installed that show manual pages, they find nothing wrong.
func TestRender(t *testing.T) {
	for _, argv := range [][]string{
		{"mandoc", "-Tlint", "-Wwarning"},
		{"groff", "-mdoc", "-ww", "-z", "-Tutf8"},
	} {
		t.Run(argv[0], func(t *testing.T) {
			if _, err := exec.LookPath(argv[0]); err != nil {
				t.Skip(err)
			}
			for _, page := range pages {
				out, err := exec.CommandContext(t.Context(), argv[0], append(argv[1:], page)...).CombinedOutput()
				if err != nil || len(out) > 0 {
					t.Errorf("%s: %v\n%s", page, err, out)
				}
			}
		})
	}
}
