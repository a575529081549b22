// SPDX-License-Identifier: GPL-3.0-or-later

package cli

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/nvme-discoverd/nvme-discoverd/internal/core"
	"github.com/nvme-discoverd/nvme-discoverd/internal/tid"
)

// picture is the host of the picture in README.md: two ports, an array with two, each with a discovery controller, and three
// subsystems, to one of which a path is broken. Another program looks after a fourth one.
func picture(t *testing.T) *standIn {
	t.Helper()
	s := newStandIn()
	for path, iface := range []string{"eth1", "eth2"} {
		traddr := fmt.Sprintf("192.0.2.%d", 11+path)
		add := func(kind tid.Kind, nqn, device string) *core.TargetView {
			id, err := tid.New(tid.TID{Transport: "tcp", Traddr: traddr, NQN: nqn, HostIface: iface, HostNQN: hostNQN}, kind)
			if err != nil {
				t.Fatal(err)
			}
			view := &core.TargetView{Unit: id.UnitName(), State: core.Connected, Since: noon.Add(-time.Hour), Device: device, Owner: "discoverd"}
			view.Wish.TID, view.Wish.Kind = id, kind
			s.state.Targets = append(s.state.Targets, view)
			return view
		}
		add(tid.Discovery, "", fmt.Sprintf("nvme%d", 10*path+1))
		for n := 1; n <= 3; n++ {
			view := add(tid.IO, fmt.Sprintf("nqn.2024-01.com.example.storage:array1:vol%d", n), fmt.Sprintf("nvme%d", 10*path+1+n))
			if path == 1 && n == 2 {
				fails(view, "cannot reach "+traddr+":4420: connection refused")
			}
		}
		if path == 0 {
			view := add(tid.IO, "nqn.2014-08.org.nvmexpress:uuid:1b4e28ba-2fa1-11d2-883f-0016d3cca427", "nvme9")
			view.State, view.Owner = core.Foreign, "stas"
		}
	}
	return s
}

// The picture in README.md is what --svg draws: make picture draws it anew.
func TestPicture(t *testing.T) {
	const file = "../../docs/topology.svg"
	status, out, errs := ctl(t, picture(t).serve(t), 0, nil, "status", "--svg")
	if status != Done || errs != "" {
		t.Fatalf("exit status %d, stderr %q", status, errs)
	}
	if *update {
		if err := os.WriteFile(file, []byte(out), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), out); diff != "" {
		t.Errorf("%s: if this is as it should be, call make picture\n%s", file, diff)
	}
}

// The picture is XML whatever names there are, shows every port, device and subsystem, and nothing lies outside of it.
func TestSVG(t *testing.T) {
	odd := newStandIn()
	view := odd.ioc(odd.dc("192.0.2.1", "nvme1"), 1)
	view.Wish.TID.NQN = `nqn.<&">`
	longNames, longest := long(t)
	for name, test := range map[string]struct {
		scene *standIn
		shows []string
	}{
		"none": {newStandIn(), nil},
		"odd":  {odd, []string{`nqn.<&">`}},
		"long": {longNames, []string{longest, "nvme10", "enp129s0f1np1"}},
		"30":   {thirty(), []string{"nvme1", "nvme31", vol(1), vol(28), "192.0.2.11", "as routed"}},
		"304":  {many(), []string{vol(1), vol(296), "nvme1007"}},
	} {
		status, out, errs := ctl(t, test.scene.serve(t), 0, nil, "status", "--svg")
		if status != Done || errs != "" {
			t.Fatalf("%s: exit status %d, stderr %q", name, status, errs)
		}
		decoder := xml.NewDecoder(strings.NewReader(out))
		text, width, height := "", 0, 0
		for {
			token, err := decoder.Token()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			switch token := token.(type) {
			case xml.CharData:
				text += strings.TrimSpace(string(token))
			case xml.StartElement:
				at := map[string]int{}
				for _, a := range token.Attr {
					var n int
					if _, err := fmt.Sscan(a.Value, &n); err == nil {
						at[a.Name.Local] = n
					}
				}
				if token.Name.Local == "svg" {
					width, height = at["width"], at["height"]
				}
				if at["x"] < 0 || at["y"] < 0 || at["x"] > width || at["y"] > height || token.Name.Local == "rect" && at["width"] != 100 && (at["x"]+at["width"] > width || at["y"]+at["height"] > height) {
					t.Errorf("%s: %v lies outside of %d×%d", name, token, width, height)
				}
			}
		}
		for _, want := range test.shows {
			if !strings.Contains(text, want) {
				t.Errorf("%s: want %q in\n%s", name, want, text)
			}
		}
	}
}
