// SPDX-License-Identifier: GPL-3.0-or-later

package recording

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/nvme-discoverd/nvme-discoverd/internal/secret"
)

// typesOfCore returns the types of package core that have a method.
func typesOfCore(t *testing.T, method string) map[string]bool {
	t.Helper()
	names := map[string]bool{}
	files, err := filepath.Glob("../core/*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, decl := range file.Decls {
			f, ok := decl.(*ast.FuncDecl)
			if !ok || f.Recv == nil || f.Name.Name != method {
				continue
			}
			names[f.Recv.List[0].Type.(*ast.Ident).Name] = true
		}
	}
	return names
}

// Every type of event and effect can be recorded: one that is added to the core is added here too.
func TestAllTypes(t *testing.T) {
	for method, kinds := range map[string]kinds{"event": events, "effect": effects} {
		known := typesOfCore(t, method)
		if len(known) < 15 {
			t.Fatalf("found %d types with the method %s", len(known), method)
		}
		for name := range known {
			if _, ok := kinds.byName[name]; !ok {
				t.Errorf("core.%s cannot be recorded: add it to codec.go", name)
			}
		}
		for name := range kinds.byName {
			if !known[name] {
				t.Errorf("%s is no %s of the core", name, method)
			}
		}
	}
}

// opaque are types with unexported fields that are written as text.
var opaque = map[string]bool{
	"time.Time": true, "netip.Addr": true, "param.Set": true, "secret.Value": true, "slog.Level": true,
}

// What is written of any type of the core is written whole, and of no secret anything but whether there is one: each field is exported,
// or its type writes itself as a text.
func TestNoSecretInTypes(t *testing.T) {
	seen := map[reflect.Type]bool{}
	secrets := 0
	var walk func(path string, typ reflect.Type)
	walk = func(path string, typ reflect.Type) {
		if typ == reflect.TypeFor[secret.Value]() {
			secrets++
		}
		if seen[typ] || opaque[typ.String()] {
			return
		}
		seen[typ] = true
		switch typ.Kind() {
		case reflect.Pointer, reflect.Slice, reflect.Array:
			walk(path, typ.Elem())
		case reflect.Map:
			walk(path, typ.Key())
			walk(path, typ.Elem())
		case reflect.Struct:
			for i := range typ.NumField() {
				field := typ.Field(i)
				if !field.IsExported() && field.Name != "_" {
					t.Errorf("%s.%s is not written: it is unexported", path, field.Name)
				}
				if name := strings.ToLower(field.Name); strings.Contains(name, "secret") && field.Type.Kind() == reflect.String && field.Type != reflect.TypeFor[secret.Ref]() {
					t.Errorf("%s.%s may be a secret", path, field.Name)
				}
				walk(path+"."+field.Name, field.Type)
			}
		case reflect.Interface, reflect.Func, reflect.Chan, reflect.Uintptr, reflect.UnsafePointer:
			t.Errorf("%s is a %v, which cannot be written", path, typ)
		}
	}
	for _, kinds := range []kinds{events, effects} {
		for name, k := range kinds.byName {
			walk(name, k.wire)
		}
	}
	walk("Record", reflect.TypeFor[Record]())
	if secrets == 0 {
		t.Error("the configuration's secrets were not found: the test looks at the wrong types")
	}
	var v secret.Value
	typ := reflect.TypeOf(v)
	for i := range typ.NumField() {
		field := typ.Field(i)
		if field.IsExported() {
			t.Errorf("secret.Value.%s is exported: it is written", field.Name)
		}
	}
}
