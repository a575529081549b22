// SPDX-License-Identifier: GPL-3.0-or-later

package machine

import "testing"

func TestArchiveURI(t *testing.T) {
	tests := []struct{ name, text, want string }{
		{"deb822", "Types: deb\nURIs: http://mirror.example/debian/\nSuites: bookworm\n", "http://mirror.example/debian/"},
		{"one line", "# c\ndeb [signed-by=/k.gpg] https://mirror.example/debian bookworm main\n", "https://mirror.example/debian"},
		{"security is not the archive", "URIs: http://mirror.example/debian-security\n", ""},
		{"second of two", "URIs: http://a.example/debian-security http://b.example/debian\n", "http://b.example/debian"},
		{"other vendor", "deb https://vendor.example/apt stable main\n", ""},
		{"commented out", "# URIs: http://mirror.example/debian\n", ""},
		{"source packages only", "deb-src http://mirror.example/debian trixie main\n", ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := archiveURI(test.text); got != test.want {
				t.Errorf("archiveURI: got %q, want %q", got, test.want)
			}
		})
	}
}
