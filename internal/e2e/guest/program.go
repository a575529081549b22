// SPDX-License-Identifier: GPL-3.0-or-later

//go:build e2e

package guest

import (
	"fmt"
	"os"
	"slices"
)

// Program stands in for a test where the support code is used outside one: the first failure ends it.
type Program struct {
	name     string
	failed   bool
	cleanups []func()
}

// RunProgram runs body and then everything it asked to clean up; the process ends with status 1 if anything failed.
func RunProgram(name string, body func(T)) {
	p := &Program{name: name}
	func() {
		defer func() {
			if reason := recover(); reason != nil && reason != any(p) {
				panic(reason)
			}
		}()
		body(p)
	}()
	p.clean()
	if p.failed {
		os.Exit(1)
	}
}

// clean runs the cleanups, last one first. Each may fail without keeping the others from running.
func (p *Program) clean() {
	for _, cleanup := range slices.Backward(p.cleanups) {
		func() {
			defer func() {
				if reason := recover(); reason != nil && reason != any(p) {
					panic(reason)
				}
			}()
			cleanup()
		}()
	}
}

// Helper does nothing: messages carry no line numbers.
func (p *Program) Helper() {}

// Name returns the program's name.
func (p *Program) Name() string { return p.name }

// Logf prints.
func (p *Program) Logf(format string, args ...any) { fmt.Printf(format+"\n", args...) }

// Errorf prints and remembers that something failed.
func (p *Program) Errorf(format string, args ...any) {
	p.failed = true
	fmt.Printf("FAILED: "+format+"\n", args...)
}

// Fatalf prints and ends the body.
func (p *Program) Fatalf(format string, args ...any) {
	p.Errorf(format, args...)
	panic(p)
}

// Failed tells whether something failed.
func (p *Program) Failed() bool { return p.failed }

// Cleanup notes what to do at the end.
func (p *Program) Cleanup(f func()) { p.cleanups = append(p.cleanups, f) }
