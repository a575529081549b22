// SPDX-License-Identifier: GPL-3.0-or-later

package blockuse

import (
	"strings"
)

// mount is one line of /proc/self/mountinfo (proc_pid_mountinfo(5)).
type mount struct {
	device string // "259:3"; major number 0 where the file system is on no single block device
	point  string
	kind   string // ext4
	source string // as it was given to mount(2)
	layers []string
}

// holds tells whether path is on this mount or on one inside it.
func (m mount) holds(path string) bool {
	return path == m.point || m.point == "/" || strings.HasPrefix(path, m.point+"/")
}

// parseMounts reads a whole mountinfo file. Lines that are none are left out.
func parseMounts(text string) []mount {
	var all []mount
	for line := range strings.Lines(text) {
		// 36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 shared:2 - ext3 /dev/root rw,errors=continue
		front, back, found := strings.Cut(strings.TrimSuffix(line, "\n"), " - ")
		fields, rest := strings.Fields(front), strings.Fields(back)
		if !found || len(fields) < 6 || len(rest) < 2 {
			continue
		}
		m := mount{device: fields[2], point: unescape(fields[4]), kind: rest[0], source: unescape(rest[1])}
		if m.kind == "overlay" && len(rest) > 2 {
			m.layers = layers(rest[2])
		}
		all = append(all, m)
	}
	return all
}

// layers returns the directories that an overlay is made of, from its options (fs/overlayfs/params.c, ovl_show_options).
func layers(options string) []string {
	var all []string
	for option := range strings.SplitSeq(options, ",") {
		key, value, _ := strings.Cut(option, "=")
		switch key {
		case "lowerdir", "lowerdir+", "datadir+", "upperdir":
			for dir := range strings.SplitSeq(value, ":") {
				if dir != "" { // two colons come before layers that hold data only
					all = append(all, unescape(dir))
				}
			}
		}
	}
	return all
}

// parseSwaps returns the files and devices of /proc/swaps, which has a heading (mm/swapfile.c, swap_show).
func parseSwaps(text string) []string {
	var all []string
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) > 1 && strings.HasPrefix(fields[0], "/") {
			all = append(all, unescape(fields[0]))
		}
	}
	return all
}

// unescape undoes the \040 that the kernel writes for a space and its like (fs/seq_file.c, mangle_path).
func unescape(s string) string {
	var b strings.Builder
	for len(s) > 0 {
		if s[0] == '\\' && len(s) >= 4 {
			if c, ok := octal(s[1:4]); ok {
				b.WriteByte(c)
				s = s[4:]
				continue
			}
		}
		b.WriteByte(s[0])
		s = s[1:]
	}
	return b.String()
}

func octal(digits string) (c byte, ok bool) {
	var value int
	for _, d := range []byte(digits) {
		if d < '0' || d > '7' {
			return 0, false
		}
		value = 8*value + int(d-'0')
	}
	return byte(value), value < 256
}
