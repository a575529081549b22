// SPDX-License-Identifier: GPL-3.0-or-later

package config

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/nvme-discoverd/nvme-discoverd/internal/tid"
)

// node is a JSON value with its place.
type node struct {
	at     position
	text   string // of a string, a number, true or false; "" of null
	plain  bool   // it is one of these
	fields []field
	items  []node
}

// field is a member of an object.
type field struct {
	key   string
	value node
}

// jsonReader reads a JSON text.
type jsonReader struct {
	text    string
	decoder *json.Decoder
	line    int // at offset
	offset  int
}

// maxJSONDepth is more than enough for config.json, which has hosts, their subsystems and their ports.
const maxJSONDepth = 12

// parseJSON returns the one value of a JSON text.
func parseJSON(text string) (node, position, error) {
	r := jsonReader{text: text, decoder: json.NewDecoder(strings.NewReader(text)), line: 1}
	r.decoder.UseNumber()
	n, err := r.value(0)
	if err == nil {
		if _, more := r.decoder.Token(); more != io.EOF {
			err = fmt.Errorf("something follows after the end")
		}
	}
	return n, r.here(), err
}

// here returns the position of what was read last.
func (r *jsonReader) here() position {
	offset := int(r.decoder.InputOffset())
	r.line += strings.Count(r.text[r.offset:offset], "\n")
	r.offset = offset
	return position{r.line, 1}
}

func (r *jsonReader) value(depth int) (node, error) {
	token, err := r.decoder.Token()
	n := node{at: r.here()}
	if err == io.EOF {
		return n, io.ErrUnexpectedEOF
	}
	if err != nil {
		return n, err
	}
	if depth > maxJSONDepth {
		return n, fmt.Errorf("it goes deeper than %d levels", maxJSONDepth)
	}
	switch t := token.(type) {
	case json.Delim:
		err = r.compound(&n, t, depth)
	case nil:
		n.plain = true
	default:
		n.text, n.plain = fmt.Sprint(t), true
	}
	return n, err
}

// compound reads the rest of an object or array.
func (r *jsonReader) compound(n *node, open json.Delim, depth int) error {
	for r.decoder.More() {
		var key string
		if open == '{' {
			token, err := r.decoder.Token()
			if err != nil {
				return err
			}
			key, _ = token.(string)
		}
		value, err := r.value(depth + 1)
		if err != nil {
			return err
		}
		if open == '{' {
			n.fields = append(n.fields, field{key, value})
		} else {
			n.items = append(n.items, value)
		}
	}
	_, err := r.decoder.Token()
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// configJSON imports libnvme's config.json: a list of hosts, each with subsystems, each with ports. An empty file is an
// empty list.
func (i *importer) configJSON(text string) {
	if strings.TrimSpace(text) == "" {
		return
	}
	top, at, err := parseJSON(text)
	if err != nil {
		i.wrong = fmt.Errorf("line %d: it is no JSON: %s", at.line, comment(err.Error()))
		return
	}
	if len(top.fields) > 0 { // {"hosts": […]} is what the schema says, […] what libnvme writes
		for _, f := range top.fields {
			switch {
			case f.key == "hosts":
				top.items = append(top.items, f.value.items...)
			case isGuarded(f.key):
				i.wrong = fmt.Errorf("line %d: nothing in discoverd.conf is like %s, and without it all would be connected with less security", f.value.at.line, shown(f.key))
				return
			default:
				i.loseKey(f.value.at, f.key)
			}
		}
	}
	if top.plain {
		i.wrong = fmt.Errorf("line %d: it is no list of hosts", top.at.line)
	}
	for _, host := range top.items {
		i.jsonHost(host)
	}
}

func (i *importer) jsonHost(host node) {
	var nqn, id, persistent string
	safe := true
	for _, f := range host.fields {
		switch f.key {
		case "hostnqn":
			nqn = f.value.text
		case "hostid":
			id = f.value.text
		case "subsystems":
		case "persistent_discovery_ctrl":
			persistent = jsonPersistence(f.value)
		default:
			safe = i.jsonUnknown("host with all that it connects", f) && safe
		}
	}
	if !safe {
		return
	}
	d := i.persona(host.at, nqn, id)
	if d == nil {
		return
	}
	for _, f := range host.fields {
		if f.key == "subsystems" {
			for _, s := range f.value.items {
				i.jsonSubsystem(d, persistent, s)
			}
		}
	}
}

func (i *importer) jsonSubsystem(d *draft, persistent string, subsystem node) {
	nqn, safe := "", true
	ports := 0
	for _, f := range subsystem.fields {
		switch f.key {
		case "nqn":
			nqn = f.value.text
		case "ports":
			ports += len(f.value.items)
		default:
			safe = i.jsonUnknown("subsystem", f) && safe
		}
	}
	if !safe {
		return
	}
	if ports == 0 {
		i.lose(subsystem.at, "subsystem is not imported: it has no port")
	}
	for _, f := range subsystem.fields {
		if f.key == "ports" {
			for _, p := range f.value.items {
				i.jsonPort(d, nqn, persistent, p)
			}
		}
	}
}

func (i *importer) jsonPort(d *draft, nqn, persistent string, port node) {
	kind, safe := tid.IO, true
	if nqn == tid.DiscoveryNQN {
		kind = tid.Discovery
	}
	entries := []entry{{key: "nqn", at: port.at, text: nqn}}
	for _, f := range port.fields {
		key, text := strings.ReplaceAll(f.key, "_", "-"), f.value.text
		switch {
		case !f.value.says(), f.value.plain && text == "none":
		case key == "persistent":
			persistent = jsonPersistence(f.value)
		case key == "discovery":
			if text == "true" {
				kind = tid.Discovery
			}
		case f.value.plain && (slices.Contains(controllerKeys, key) || isParameter(key) || slices.Contains(endpointKeys, key)):
			entries = append(entries, entry{key: key, at: f.value.at, text: text})
		default:
			i.refuseFor("controller", f.value.at, f.key)
			safe = false
		}
	}
	if !safe {
		return
	}
	if persistent != "" {
		entries = append(entries, entry{key: "persistent", text: persistent})
	}
	i.connect(d, kind, port.at, lastOfEach(entries))
}

// jsonUnknown notes a member that nothing in discoverd.conf is like. safe is false if that costs what the member is of.
func (i *importer) jsonUnknown(what string, f field) (safe bool) {
	switch {
	case !f.value.says():
	case isGuarded(f.key):
		i.refuseFor(what, f.value.at, f.key)
		return false
	default:
		i.loseKey(f.value.at, f.key)
	}
	return true
}

// says tells whether a value is more than nothing.
func (n node) says() bool { return n.text != "" || !n.plain }

// jsonPersistence returns what persistent is in a drop-in for a truth value of config.json.
func jsonPersistence(n node) string {
	switch n.text {
	case "true":
		return "force"
	case "false":
		return "no"
	}
	return ""
}
