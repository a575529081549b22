// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"
)

// The drawing is well-formed and says what its axes and curves are.
func TestDraw(t *testing.T) {
	for _, attempts := range [][]int{nil, {0}, make([]int, shown-1), make([]int, 10*shown)} {
		got := draw([]panel{{"A & B", []curve{{"one", attempts}, {"two", []int{9, 9, 9, 9, 9, 0, 0, 100_000}}}}}, 500)
		for decoder := xml.NewDecoder(strings.NewReader(got)); ; {
			if _, err := decoder.Token(); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatalf("%v in\n%s", err, got)
			}
		}
		for _, want := range []string{">one<", ">two<", "minutes since the array is back", "attempts per second", "A &amp; B"} {
			if !strings.Contains(got, want) {
				t.Errorf("%q is missing", want)
			}
		}
	}
}

func TestMeans(t *testing.T) {
	c := curve{"", append(make([]int, step), 1, 2, 3, 4, 5, 50)}
	got := c.means()
	if len(got) != 4 || got[0] != 0 || got[1] != 3 || got[2] != 10 || got[3] != 0 {
		t.Errorf("got %v, want 0, 3, 10, 0", got)
	}
}

// A scale has two to six lines above zero, at round numbers.
func TestTick(t *testing.T) {
	for highest, want := range map[float64]float64{5: 1, 10: 2, 31: 10, 500: 100, 7600: 2000, 90000: 20000} {
		if got := tick(highest); got != want {
			t.Errorf("tick(%v) = %v, want %v", highest, got, want)
		}
	}
}
