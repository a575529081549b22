// SPDX-License-Identifier: GPL-3.0-or-later

package machine

import (
	"bufio"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// errNoMirror says that this host's apt does not tell where Debian's packages are.
var errNoMirror = errors.New("cannot find a Debian mirror: no Debian archive in /etc/apt/sources.list or " +
	"/etc/apt/sources.list.d (name one in the environment variable DEBIAN_MIRROR)")

// mirror returns the URI from which this host gets Debian's packages, so that the machine's come from there too.
func mirror() (string, error) {
	if uri := os.Getenv("DEBIAN_MIRROR"); uri != "" {
		return uri, nil
	}
	files := []string{"/etc/apt/sources.list"}
	for _, pattern := range []string{"*.sources", "*.list"} {
		more, _ := filepath.Glob(filepath.Join("/etc/apt/sources.list.d", pattern))
		files = append(files, more...)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		if uri := archiveURI(string(text)); uri != "" {
			return uri, nil
		}
	}
	return "", errNoMirror
}

// archiveURI returns the first URI of Debian's main archive that an apt source file of either format names. The archive
// is told from the security one and from other vendors' by its path, which every mirror has.
func archiveURI(text string) string {
	isArchive := func(word string) bool {
		return strings.Contains(word, "://") && strings.HasSuffix(strings.TrimSuffix(word, "/"), "/debian")
	}
	lines := bufio.NewScanner(strings.NewReader(text))
	for lines.Scan() {
		words := strings.Fields(lines.Text())
		if len(words) < 2 || words[0] != "URIs:" && words[0] != "deb" {
			continue
		}
		if i := slices.IndexFunc(words, isArchive); i > 0 {
			return words[i]
		}
	}
	return ""
}
