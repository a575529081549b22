// SPDX-License-Identifier: GPL-3.0-or-later

// Package docs_test checks the documentation against the programs: commands parse, configuration loads, links resolve, message IDs
// and tests exist, and quoted output is what the program prints.
//
//	go test ./docs -update
//
// copies quoted output from the golden files again.
package docs_test

import (
	"bytes"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/nvme-discoverd/nvme-discoverd/internal/cli"
	"github.com/nvme-discoverd/nvme-discoverd/internal/exclusion"
	"github.com/nvme-discoverd/nvme-discoverd/internal/paths"
)

var update = flag.Bool("update", false, "copy quoted output from the golden files")

func read(t *testing.T, file string) string {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// pages returns the text of every page, by its path from this directory.
func pages(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, pattern := range []string{"*.md", "../*.md"} {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %v, %v", pattern, files, err)
		}
		for _, file := range files {
			all[file] = read(t, file)
		}
	}
	return all
}

// block is a fenced code block.
type block struct {
	page     string
	line     int    // of its first line, counted from 1
	language string // the first word after the fence
	info     string // what follows that
	text     string
}

func (b block) String() string { return fmt.Sprintf("%s:%d", b.page, b.line) }

// blocks returns the fenced blocks of every page, and the pages without them.
func blocks(t *testing.T) (all []block, prose map[string]string) {
	t.Helper()
	prose = map[string]string{}
	for page, text := range pages(t) {
		var open *block
		number := 0
		for line := range strings.Lines(text) {
			number++
			info, fence := strings.CutPrefix(strings.TrimSpace(line), "```")
			switch {
			case fence && open == nil:
				language, rest, _ := strings.Cut(info, " ")
				open = &block{page: page, line: number + 1, language: language, info: rest}
			case fence:
				all = append(all, *open)
				open = nil
			case open != nil:
				open.text += line
			default:
				prose[page] += line
			}
		}
		if open != nil {
			t.Errorf("%s: the fenced block does not end", open)
		}
	}
	return all, prose
}

// inlineCode matches code between backticks in prose.
var inlineCode = regexp.MustCompile("`([^`]+)`")

// commands returns the simple commands of a shell text as words. It knows quotes, comments and operators, and no more.
func commands(text string) [][]string {
	var all [][]string
	var words []string
	var word strings.Builder
	quoted, began := rune(0), false
	endWord := func() {
		if began {
			words = append(words, word.String())
		}
		word.Reset()
		began = false
	}
	endCommand := func() {
		endWord()
		if len(words) > 0 {
			all = append(all, words)
		}
		words = nil
	}
	comment := false
	for _, r := range strings.ReplaceAll(text, "\\\n", " ") {
		switch {
		case comment && r != '\n':
		case quoted != 0:
			if r == quoted {
				quoted = 0
			} else {
				word.WriteRune(r)
			}
		case r == '\'' || r == '"':
			quoted, began = r, true
		case r == '#' && !began:
			comment = true
		case strings.ContainsRune("\n|&;()<>", r):
			comment = false
			endCommand()
		case r == ' ' || r == '\t':
			endWord()
		default:
			began = true
			word.WriteRune(r)
		}
	}
	endCommand()
	return all
}

func TestCommandWords(t *testing.T) {
	got := commands("a 'b c' | d \"e;f\" > g && h \\\n  i # j k\nl \\\nm")
	want := [][]string{{"a", "b c"}, {"d", "e;f"}, {"g"}, {"h", "i"}, {"l", "m"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// eachCommand calls f with every command in fenced blocks and inline code that begins with the program given, that word left out.
func eachCommand(t *testing.T, program string, f func(where string, words []string)) {
	t.Helper()
	each := func(where, text string) {
		for _, words := range commands(text) {
			for len(words) > 1 && slices.Contains([]string{"sudo", "if", "!", "while", "$"}, words[0]) {
				words = words[1:]
			}
			if words[0] == program {
				f(where, words[1:])
			}
		}
	}
	fenced, prose := blocks(t)
	for _, b := range fenced {
		if slices.Contains([]string{"", "sh", "console"}, b.language) {
			each(b.String(), b.text)
		}
	}
	for page, text := range prose {
		for _, m := range inlineCode.FindAllStringSubmatch(text, -1) {
			each(page, m[1])
		}
	}
}

var (
	helpCommand = regexp.MustCompile(`(?m)^  [a-z-]+ {3,}`)
	helpPath    = regexp.MustCompile(`\nUsage:\n  nvme-discoverctl((?: [a-z-]+)*)`)
)

// parses returns what is wrong with the arguments of nvme-discoverctl, "" if its command and its options exist.
func parses(t *testing.T, args []string) string {
	t.Helper()
	var out bytes.Buffer
	status := cli.Run(t.Context(), cli.Env{
		Version: "1.0", Args: append(slices.Clone(args), "--help"), Getenv: func(string) string { return "" }, Stdout: &out, Stderr: &out,
	})
	if status != cli.Done {
		return strings.TrimSpace(out.String())
	}
	path := helpPath.FindStringSubmatch(out.String())
	list, _, _ := strings.Cut(out.String(), "\nOptions:\n")
	_, list, _ = strings.Cut(list, "\nUsage:\n")
	if path != nil && helpCommand.MatchString(list) && len(strings.Fields(path[1])) < len(args) && !strings.HasPrefix(args[len(args)-1], "-") {
		return "there is no such command below nvme-discoverctl" + path[1]
	}
	return ""
}

func TestParses(t *testing.T) {
	for line, fine := range map[string]bool{
		"status --check": true, "config check --strict FILE": true, "exclusion": true, "--version": true,
		"stats": false, "status --chek": false, "config chek": false, "wait --timeout": false, "exclusion add --entry=nqn=x": true,
	} {
		if wrong := parses(t, strings.Fields(line)); (wrong == "") != fine {
			t.Errorf("%s: got %q, want fine: %v", line, wrong, fine)
		}
	}
}

// Every command line of nvme-discoverctl has a command and options that exist.
func TestCommands(t *testing.T) {
	seen := 0
	eachCommand(t, "nvme-discoverctl", func(where string, words []string) {
		seen++
		if wrong := parses(t, words); len(words) > 0 && wrong != "" {
			t.Errorf("%s: nvme-discoverctl %s: %s", where, strings.Join(words, " "), wrong)
		}
	})
	if seen < 50 {
		t.Errorf("found %d commands: are they still looked for in the right way?", seen)
	}
}

// Every make target that a page names exists.
func TestMakeTargets(t *testing.T) {
	makefile := read(t, "../Makefile")
	eachCommand(t, "make", func(where string, words []string) {
		for _, word := range words {
			if strings.HasPrefix(word, "-") || strings.Contains(word, "=") {
				continue
			}
			if !regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(word) + `:`).MatchString(makefile) {
				t.Errorf("%s: there is no make target %s", where, word)
			}
		}
	})
}

// Every unit of ours that a page names is shipped.
func TestUnits(t *testing.T) {
	unit := regexp.MustCompile(`\bnvme-(?:discoverd|fabrics)(?:-[a-z]+)*\.service\b`)
	for page, text := range pages(t) {
		for _, name := range unit.FindAllString(text, -1) {
			if strings.Contains(text, "`/etc/systemd/system/"+name+"`") { // the page has the reader make it
				continue
			}
			if _, err := os.Stat("../systemd/" + name); err != nil {
				t.Errorf("%s: %v", page, err)
			}
		}
	}
}

// firstLine finds the path in the comment that a block of configuration begins with.
var firstLine = regexp.MustCompile(`^# /(etc/\S+)\n`)

// secretFile finds the files of secrets that a configuration names.
var secretFile = regexp.MustCompile(`(?m)(dhchap-secret|dhchap-ctrl-secret|tls-key)-file = "?/?([^"\n]+)"?`)

// secrets are valid ones of each kind, for the files that an example names.
var secrets = map[string]string{
	"dhchap-secret":      "DHHC-1:00:+/eRrg42iQ7QNPFw8BlbE+kFa7fLCJK21A+GosGqEp2rHVG2:\n",
	"dhchap-ctrl-secret": "DHHC-1:00:+/eRrg42iQ7QNPFw8BlbE+kFa7fLCJK21A+GosGqEp2rHVG2:\n",
	"tls-key":            "NVMeTLSkey-1:01:ggMVdpiG8pa0CL7q3IzAtxMc2O7FA6HTi0SeCtoNmAdUKFK2:\n",
}

// Every block of configuration passes "config check --strict", each on a host of its own. It is TOML for discoverd.conf, or INI that
// begins with the comment "# /etc/nvme/FILE"; an exclusion list has neither a useless line nor none.
func TestConfiguration(t *testing.T) {
	fenced, _ := blocks(t)
	seen := map[string]int{}
	for _, b := range fenced {
		file := ""
		if m := firstLine.FindStringSubmatch(b.text); m != nil {
			file = m[1]
		}
		switch {
		case b.language == "toml" && file == "":
			file = "etc/nvme/discoverd.conf"
		case b.language == "ini" && file == "":
			t.Errorf("%s: the block does not begin with the path of its file, as # /etc/…", b)
			continue
		case b.language != "toml" && b.language != "ini" || !strings.HasPrefix(file, "etc/nvme/"):
			continue
		}
		seen[b.language]++
		root := t.TempDir()
		write := func(file, text string) {
			path := filepath.Join(root, file)
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		write("etc/nvme/hostnqn", "nqn.2014-08.org.nvmexpress:uuid:11111111-2222-4333-8444-555555555555\n")
		write(file, b.text)
		for _, m := range secretFile.FindAllStringSubmatch(b.text, -1) {
			write(m[2], secrets[m[1]])
		}
		if strings.Contains(file, "exclusions") {
			for _, source := range exclusion.Sources(paths.Root(root)) {
				if len(source.Problems) > 0 || len(source.Entries) == 0 {
					t.Errorf("%s: %d entries, problems %v", b, len(source.Entries), source.Problems)
				}
			}
			continue
		}
		var out bytes.Buffer
		status := cli.Run(t.Context(), cli.Env{
			Args: []string{"config", "check", "--strict", "--root=" + root}, Getenv: func(string) string { return "" }, Stdout: &out, Stderr: &out,
		})
		if status != cli.Done {
			t.Errorf("%s: %s", b, out.String())
		}
	}
	if seen["toml"] < 10 || seen["ini"] < 2 {
		t.Errorf("found %v blocks of configuration: are they still looked for in the right way?", seen)
	}
}

var (
	link      = regexp.MustCompile(`\]\(([^)#\s]*)(#[^)\s]*)?\)`)
	heading   = regexp.MustCompile(`(?m)^#+ (.*)$`)
	notInSlug = regexp.MustCompile(`[^\p{L}\p{N}\- _]`)
)

// anchors returns what links can lead to in a page, as GitHub names it.
func anchors(text string) map[string]bool {
	all := map[string]bool{}
	for _, m := range heading.FindAllStringSubmatch(text, -1) {
		slug := strings.ReplaceAll(notInSlug.ReplaceAllString(strings.ToLower(m[1]), ""), " ", "-")
		for n, base := 1, slug; all[slug]; n++ {
			slug = fmt.Sprintf("%s-%d", base, n)
		}
		all[slug] = true
	}
	return all
}

// Every link within the project leads somewhere.
func TestLinks(t *testing.T) {
	_, prose := blocks(t)
	for page, text := range prose {
		for _, m := range link.FindAllStringSubmatch(text, -1) {
			to, anchor := m[1], strings.TrimPrefix(m[2], "#")
			if strings.Contains(to, ":") {
				continue
			}
			file := page
			if to != "" {
				file = strings.TrimPrefix(filepath.Join(filepath.Dir(page), to), "../docs/") // as pages are named here
			}
			if _, err := os.Stat(file); err != nil {
				t.Errorf("%s: %v", page, err)
			} else if anchor != "" && !anchors(prose[file])[anchor] {
				t.Errorf("%s: there is no heading %s in %s", page, anchor, file)
			}
		}
	}
}

// Pages that a text or a comment in the code names exist, and so do the headings of this project's design that comments cite.
func TestCitations(t *testing.T) {
	cited := regexp.MustCompile(`\bdocs/([\w-]+\.md)(?:, "([^"]+)")?`)
	headings := map[string]map[string]bool{}
	check := func(where, text string) {
		for _, m := range cited.FindAllStringSubmatch(text, -1) {
			if headings[m[1]] == nil {
				data, err := os.ReadFile(m[1])
				if err != nil {
					t.Errorf("%s: %v", where, err)
					continue
				}
				headings[m[1]] = map[string]bool{}
				for _, h := range heading.FindAllStringSubmatch(string(data), -1) {
					headings[m[1]][h[1]] = true
				}
			}
			if m[2] != "" && !headings[m[1]][m[2]] {
				t.Errorf("%s: there is no heading %q in docs/%s", where, m[2], m[1])
			}
		}
	}
	for page, text := range pages(t) {
		check(page, text)
	}
	err := filepath.WalkDir("..", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, ".go") {
			return err
		}
		text, err := os.ReadFile(path)
		check(path, string(text))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// The operations page lists every message ID of the journal, and no other.
func TestMessageIDs(t *testing.T) {
	id := regexp.MustCompile(`\b[0-9a-f]{32}\b`)
	unique := func(text string) []string {
		all := id.FindAllString(text, -1)
		slices.Sort(all)
		return slices.Compact(all)
	}
	var source string
	files, err := filepath.Glob("../internal/journal/*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if !strings.HasSuffix(file, "_test.go") {
			source += read(t, file)
		}
	}
	want := unique(source)
	if len(want) < 30 {
		t.Errorf("found %d message IDs: are they still looked for in the right place?", len(want))
	}
	if diff := cmp.Diff(want, unique(read(t, "operations.md"))); diff != "" {
		t.Errorf("operations.md does not have the message IDs that there are (-program +page):\n%s", diff)
	}
}

// A block whose fence names a file, as in "```text internal/cli/testdata/status.txt", quotes it.
func TestQuotedOutput(t *testing.T) {
	fenced, _ := blocks(t)
	seen := 0
	for _, b := range fenced {
		if !strings.Contains(b.info, "/") {
			continue
		}
		seen++
		want := read(t, filepath.Join("..", b.info))
		if *update {
			text := read(t, b.page)
			fence := "```" + b.language + " " + b.info + "\n"
			if err := os.WriteFile(b.page, []byte(strings.Replace(text, fence+b.text+"```", fence+want+"```", 1)), 0o644); err != nil {
				t.Fatal(err)
			}
		} else if diff := cmp.Diff(want, b.text); diff != "" {
			t.Errorf("%s is not what %s has; if that is right, call go test ./docs -update\n%s", b, b.info, diff)
		}
	}
	if seen == 0 {
		t.Error("nothing is quoted")
	}
}

// declared returns the names of all tests.
func declared(t *testing.T) map[string]bool {
	t.Helper()
	all := map[string]bool{}
	declaration := regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`)
	err := filepath.WalkDir("..", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		for _, match := range declaration.FindAllSubmatch(text, -1) {
			all[string(match[1])] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// Every test and every scenario script that a page names exists.
func TestNamedTests(t *testing.T) {
	exists := declared(t)
	name := regexp.MustCompile(`\b(?:Test|Fuzz)[A-Z]\w*…?`)
	script := regexp.MustCompile("`(internal/[^` ]+\\.txt)`")
	for page, text := range pages(t) {
		for _, test := range name.FindAllString(text, -1) {
			if !exists[test] && !strings.HasSuffix(test, "…") && test != "TestName" {
				t.Errorf("%s: there is no test %s", page, test)
			}
		}
		for _, match := range script.FindAllStringSubmatch(text, -1) {
			if _, err := os.Stat(filepath.Join("..", match[1])); err != nil {
				t.Errorf("%s: %v", page, err)
			}
		}
	}
}

// faultRows returns the first cell of each row of the tables of a page.
func faultRows(text string) []string {
	var rows []string
	for _, m := range regexp.MustCompile(`(?m)^\| ([^|]+) \|`).FindAllStringSubmatch(text, -1) {
		if !strings.HasPrefix(m[1], "---") && !strings.HasPrefix(m[1], "Fault") {
			rows = append(rows, m[1])
		}
	}
	return rows
}

// The page for developers names the tests of every fault in the page for administrators, in the same order.
func TestFaultsAreTested(t *testing.T) {
	if diff := cmp.Diff(faultRows(read(t, "faults.md")), faultRows(read(t, "fault-tests.md"))); diff != "" {
		t.Errorf("fault-tests.md has other faults than faults.md (-faults.md +fault-tests.md):\n%s", diff)
	}
}
