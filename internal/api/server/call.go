// SPDX-License-Identifier: GPL-3.0-or-later

package server

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/varlink/go/varlink/idl"

	wire "github.com/nvme-discoverd/nvme-discoverd/internal/api/orgnvmexpressdiscoverd"
)

// The errors that systemd's services answer with, beyond those of the interface.
const (
	invalidParameter  = "org.varlink.service.InvalidParameter"
	methodNotFound    = "org.varlink.service.MethodNotFound"
	interfaceNotFound = "org.varlink.service.InterfaceNotFound"
	permissionDenied  = "org.varlink.service.PermissionDenied"
	expectedMore      = "org.varlink.service.ExpectedMore"
)

// fault is an error of org.varlink.service.
type fault struct {
	name       string
	parameters map[string]string
}

// call is one call as it came.
type call struct {
	Method     string          `json:"method"`
	Parameters json.RawMessage `json:"parameters"`
	More       bool            `json:"more,omitempty"`
	Oneway     bool            `json:"oneway,omitempty"`
	message    []byte          // for the dispatcher
}

// parseCall reads a call. It adds the empty parameters that one may leave out (python-varlink does) and that the dispatcher wants.
func parseCall(message []byte) (*call, error) {
	c := &call{}
	if err := json.Unmarshal(message, c); err != nil {
		return nil, err
	}
	if c.Parameters == nil || bytes.Equal(c.Parameters, []byte("null")) {
		c.Parameters = json.RawMessage("{}")
	}
	var err error
	c.message, err = json.Marshal(c)
	return c, err
}

// methodsOf has the parameters of all methods, by the whole name of the method.
var methodsOf = func() map[string][]idl.TypeField {
	methods := map[string][]idl.TypeField{}
	for _, text := range []string{wire.VarlinkNew(nil).VarlinkGetDescription(), serviceInterface} {
		parsed, err := idl.New(text)
		if err != nil {
			panic(err) // a test would have found it
		}
		for _, m := range parsed.Methods {
			methods[parsed.Name+"."+m.Name] = m.In.Fields
		}
	}
	return methods
}()

// serviceInterface is as much of the interface that every service has as calls are checked by.
const serviceInterface = `interface org.varlink.service
method GetInfo() -> (vendor: string, product: string, version: string, url: string, interfaces: []string)
method GetInterfaceDescription(interface: string) -> (description: string)
`

// wrong returns what is wrong with a call by the interface, nil if nothing is.
func (c *call) wrong() *fault {
	parameters, ok := methodsOf[c.Method]
	if !ok {
		of, _, dotted := cutLast(c.Method, ".")
		for name := range methodsOf {
			if known, _, _ := cutLast(name, "."); known == of {
				return &fault{methodNotFound, map[string]string{"method": c.Method}}
			}
		}
		if !dotted {
			return &fault{invalidParameter, map[string]string{"parameter": "method"}}
		}
		return &fault{interfaceNotFound, map[string]string{"interface": of}}
	}
	var given map[string]json.RawMessage
	if err := json.Unmarshal(c.Parameters, &given); err != nil {
		return &fault{invalidParameter, map[string]string{"parameter": "parameters"}}
	}
	wrong := func(name string) *fault { return &fault{invalidParameter, map[string]string{"parameter": name}} }
	for _, p := range parameters {
		if !takes(p.Type, given[p.Name]) {
			return wrong(p.Name)
		}
		delete(given, p.Name)
	}
	if len(given) > 0 {
		names := make([]string, 0, len(given))
		for name := range given {
			names = append(names, name)
		}
		return wrong(slices.MinFunc(names, cmp.Compare[string]))
	}
	return nil
}

func cutLast(s, separator string) (before, after string, found bool) {
	if i := strings.LastIndex(s, separator); i >= 0 {
		return s[:i], s[i+len(separator):], true
	}
	return s, "", false
}

// takes tells whether a value is of a type, of those that parameters have: strings, words of an enumeration, and what may be left out.
func takes(t *idl.Type, value json.RawMessage) bool {
	absent := value == nil || bytes.Equal(value, []byte("null"))
	var text string
	switch t.Kind {
	case idl.TypeMaybe:
		return absent || takes(t.ElementType, value)
	case idl.TypeString:
		return !absent && json.Unmarshal(value, &text) == nil
	case idl.TypeEnum:
		return !absent && json.Unmarshal(value, &text) == nil && slices.ContainsFunc(t.Fields, func(f idl.TypeField) bool { return f.Name == text })
	}
	panic(fmt.Sprintf("no parameter is of kind %d", t.Kind)) // a test would have found it
}

// refuse answers a call with an error of org.varlink.service, which the library sends for itself alone.
func (c *call) refuse(ctx context.Context, to *conn, f fault) error {
	if c.Oneway {
		return nil
	}
	reply := struct {
		Parameters map[string]string `json:"parameters"`
		Error      string            `json:"error"`
	}{f.parameters, f.name}
	if reply.Parameters == nil {
		reply.Parameters = map[string]string{}
	}
	text, err := json.Marshal(reply)
	if err != nil {
		return err
	}
	_, err = to.Write(ctx, append(text, 0))
	return err
}

// standard answers a call that is being carried out with an error of org.varlink.service.
func (m *methods) standard(ctx context.Context, c *wire.VarlinkCall, name string, parameters map[string]string) error {
	return (&call{Oneway: c.IsOneway()}).refuse(ctx, c.Conn.(*conn), fault{name, parameters})
}
