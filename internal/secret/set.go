// SPDX-License-Identifier: GPL-3.0-or-later

package secret

import (
	"encoding/json"
	"fmt"
	"strings"
)

// Ref names a Set of the configuration, such as by the place of what it belongs to; "" is none. It is what goes around in
// place of the secrets: anybody may see it.
type Ref string

// Secret is one secret and where it was found.
type Secret struct {
	Value Value
	From  string // "file:line", or the path of the file that holds nothing else
}

// Set holds the secrets of one connection. Comparable with ==: equal sets are copies of one.
type Set [count]Secret

// Empty tells whether there is no secret in s.
func (s Set) Empty() bool { return s == Set{} }

// String lists which secrets there are and where they come from.
func (s Set) String() string {
	var parts []string
	for _, k := range Keys() {
		if s[k].Value.IsSet() {
			parts = append(parts, fmt.Sprintf("%v from %s", k, s[k].From))
		}
	}
	return strings.Join(parts, ", ")
}

// encoded is a Secret in a file.
type encoded struct {
	Value string `json:"value"`
	From  string `json:"from"`
}

// Encode returns s as the file that a unit's command reads holds it. What it returns is secret.
func (s Set) Encode() []byte {
	file := map[string]encoded{}
	for _, k := range Keys() {
		if s[k].Value.IsSet() {
			file[k.String()] = encoded{s[k].Value.Reveal(), s[k].From}
		}
	}
	data, err := json.Marshal(file)
	if err != nil {
		panic(err) // strings in a map always encode
	}
	return append(data, '\n')
}

// Decode reads what Encode wrote. The error contains no secret.
func Decode(data []byte) (Set, error) {
	var file map[string]encoded
	if err := json.Unmarshal(data, &file); err != nil {
		return Set{}, fmt.Errorf("it is not what nvme-discoverd writes there") // the decoder's own words may quote it
	}
	var s Set
	for name, e := range file {
		k, ok := ByName(name)
		if !ok {
			return Set{}, fmt.Errorf("it holds something that this version does not know")
		}
		value, err := Parse(k, e.Value)
		if err != nil {
			return Set{}, fmt.Errorf("%v in it cannot be used: %w", k, err)
		}
		s[k] = Secret{value, e.From}
	}
	return s, nil
}
