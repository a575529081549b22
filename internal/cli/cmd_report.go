// SPDX-License-Identifier: GPL-3.0-or-later

package cli

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/nvme-discoverd/nvme-discoverd/internal/atomicfile"
	"github.com/nvme-discoverd/nvme-discoverd/internal/legible"
)

func (a *app) reportCommand() *cobra.Command {
	var output string
	var anonymize, list bool
	cmd := &cobra.Command{
		Use:   "report",
		Short: "Write a file for a bug report",
		Long: `Write a file for a bug report that only its owner may read: nvme-discoverd-TIME.tar.gz
in the current directory, or FILE. First it is listed what it contains: the recording of
what the daemon heard and decided, status, configuration, exclusion lists, registry, units,
versions, what the kernel shows of controllers over fabrics, and the journal. What cannot
be had is named in it. Nothing is sent anywhere.

Secrets are never in it. With --anonymize, addresses, NQNs, UUIDs and names of hosts,
interfaces and files are replaced by stand-ins that are the same in all of it, and files
as they are written are left out for their comments; the recording can be replayed as
before. Text of your own may remain where it has no such form: read it before you publish
it.

--list collects and lists, and writes nothing.`,
		Args: takes(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			begun := a.now().UTC()
			r := a.collect(cmd.Context(), anonymize)
			if anonymize {
				r.anonymize(a.hostNames())
			}
			r.describe(begun, a.Version, anonymize)
			for _, f := range r.files {
				fmt.Fprintf(a.Stdout, "%-28s %6d KiB  %s\n", f.name, (len(f.data)+1023)>>10, f.what)
			}
			for _, m := range r.missing {
				fmt.Fprintf(a.Stdout, "missing: %s\n", legible.Text(m))
			}
			if list {
				return nil
			}
			stem := "nvme-discoverd-" + begun.Format("20060102T150405Z")
			if output == "" {
				output = stem + ".tar.gz"
			}
			path, err := filepath.Abs(output)
			if err != nil {
				return failed(err)
			}
			archive, err := r.archive(stem, begun)
			if err != nil {
				return failed(fmt.Errorf("cannot make the report: %w", err))
			}
			if err := atomicfile.Write(path, archive, 0o600); err != nil {
				return failed(err)
			}
			fmt.Fprintf(a.Stdout, "%s: %d KiB\n", output, (len(archive)+1023)>>10)
			return nil
		},
	}
	cmd.Flags().StringVar(&output, "output", "", "write `FILE`")
	cmd.Flags().BoolVar(&anonymize, "anonymize", false, "replace names, addresses and NQNs by stand-ins")
	cmd.Flags().BoolVar(&list, "list", false, "list what it would contain, and write nothing")
	return cmd
}

// Bounds of a report in bytes: whatever a host has, the report of it can be sent.
const (
	maxReportText       = 8 << 20
	maxReportRecordings = 160 << 20 // of all, before they are compressed
)

// report is what goes into the file.
type report struct {
	files   []reportFile
	missing []string // what could not be had, and why
}

// reportFile is one file of it.
type reportFile struct {
	name string
	what string // for people
	data []byte
	// recording: it is one, and not a text.
	recording bool
	// learned: it is only there for the names in it, and left out.
	learned bool
}

// miss notes what could not be had.
func (r *report) miss(what string, err error) {
	r.missing = append(r.missing, what+": "+strings.TrimSpace(hideSecrets(err.Error())))
}

// text adds a text without its secrets, cut to its last bytes where it is too long.
func (r *report) text(name, what string, text []byte) {
	const cut = "[what came before this is left out]\n"
	hidden := hideSecrets(string(text)) // before it is cut: half a secret does not look like one
	if len(hidden) > maxReportText {
		hidden = cut + hidden[len(hidden)-maxReportText:]
	}
	if len(hidden) > 0 {
		r.files = append(r.files, reportFile{name: name, what: what, data: []byte(hidden)})
	}
}

// describe adds the file that says what is there.
func (r *report) describe(begun time.Time, version string, anonymous bool) {
	var b strings.Builder
	fmt.Fprintf(&b, "Report of nvme-discoverctl %s, %s\n\n", version, begun.Format(time.RFC3339))
	if anonymous {
		b.WriteString("Names, addresses, NQNs and UUIDs are stand-ins, the same in all files.\n\n")
	}
	for _, f := range r.files {
		fmt.Fprintf(&b, "%-28s %s\n", f.name, f.what)
	}
	b.WriteString("\nTo look at a recording: nvme-discoverctl replay FILE\n")
	if len(r.missing) > 0 {
		b.WriteString("\nMissing:\n")
	}
	for _, m := range r.missing {
		fmt.Fprintf(&b, "- %s\n", m)
	}
	r.files = append([]reportFile{{name: "README", what: "what is here, and what is missing", data: []byte(b.String())}}, r.files...)
}

// archive returns the report as a tar file, compressed, with all files in the directory dir.
func (r *report) archive(dir string, at time.Time) ([]byte, error) {
	var out bytes.Buffer
	packer := gzip.NewWriter(&out)
	writer := tar.NewWriter(packer)
	for _, f := range r.files {
		if err := writer.WriteHeader(&tar.Header{
			Typeflag: tar.TypeReg, Name: dir + "/" + f.name, Mode: 0o600, Size: int64(len(f.data)), ModTime: at.Truncate(time.Second),
		}); err != nil {
			return nil, err
		}
		if _, err := writer.Write(f.data); err != nil {
			return nil, err
		}
	}
	if err := writer.Close(); err != nil {
		return nil, err
	}
	if err := packer.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}
