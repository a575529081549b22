// SPDX-License-Identifier: GPL-3.0-or-later

package tid

import (
	"errors"
	"fmt"
	"strings"
)

// wwnDigits is how long a World Wide Name is in hexadecimal: it has 64 bits.
const wwnDigits = 16

// FCAddr returns the address of a Fibre Channel port in its normal form, which is the kernel's: "nn-0x", the name of the
// node, ":pn-0x", the name of the port, each of 16 lower-case digits. Targets and people spell it in other ways: a comma in
// place of the colon between the names, no "0x", a name as bytes with colons between them, capitals. What has not
// exactly two names of 64 bits is an error.
func FCAddr(s string) (string, error) {
	addr, err := parseFC(s)
	if err != nil {
		return "", fmt.Errorf("cannot use Fibre Channel address %.80q: %w", s, err)
	}
	return addr, nil
}

// parseFC is FCAddr; its error is the cause alone.
func parseFC(s string) (string, error) {
	const like = "it must be like nn-0x20000090fa942779:pn-0x10000090fa942779"
	rest, ok := strings.CutPrefix(strings.ToLower(s), "nn-")
	if !ok {
		return "", errors.New("it does not begin with nn-; " + like)
	}
	at := strings.Index(rest, "pn-")
	if at < 1 || rest[at-1] != ':' && rest[at-1] != ',' {
		return "", errors.New("it has no :pn- after the name of the node; " + like)
	}
	node, err := wwn(rest[:at-1])
	if err != nil {
		return "", fmt.Errorf("%w; %s", err, like)
	}
	port, err := wwn(rest[at+len("pn-"):])
	if err != nil {
		return "", fmt.Errorf("%w; %s", err, like)
	}
	return "nn-0x" + node + ":pn-0x" + port, nil
}

// wwn returns the digits of a World Wide Name in lower case.
func wwn(s string) (string, error) {
	digits := strings.TrimPrefix(s, "0x")
	if strings.Contains(digits, ":") {
		bytes := strings.Split(digits, ":")
		for _, b := range bytes {
			if len(b) != 2 {
				return "", fmt.Errorf("%.40q is not a World Wide Name of 8 bytes", s)
			}
		}
		digits = strings.Join(bytes, "")
	}
	if len(digits) != wwnDigits || strings.Trim(digits, "0123456789abcdef") != "" {
		return "", fmt.Errorf("%.40q is not a World Wide Name of %d hexadecimal digits", s, wwnDigits)
	}
	return digits, nil
}
