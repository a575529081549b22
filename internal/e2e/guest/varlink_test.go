// SPDX-License-Identifier: GPL-3.0-or-later

//go:build e2e

package guest_test

import (
	"encoding/json"
	"io/fs"
	"os"
	"strings"
	"testing"

	"github.com/nvme-discoverd/nvme-discoverd/internal/e2e/guest"
)

const (
	varlinkSocket    = "/run/nvme/discoverd.socket"
	varlinkInterface = "org.nvmexpress.discoverd"
)

// asNobody runs a command as a user without rights.
func asNobody(t guest.T, name string, args ...string) guest.Outcome {
	t.Helper()
	return guest.Try(t, "setpriv", append([]string{"--reuid=65534", "--regid=65534", "--clear-groups", name}, args...)...)
}

// varlinkctl calls a method and decodes the reply.
func varlinkctl(t guest.T, method, parameters string, reply any) {
	t.Helper()
	out := guest.Run(t, "varlinkctl", "--json=short", "call", varlinkSocket, varlinkInterface+"."+method, parameters)
	if err := json.Unmarshal([]byte(out), reply); err != nil {
		t.Fatalf("reply of %s: %v\n%s", method, err, out)
	}
}

// varlinkList calls a method that lists and decodes its replies.
func varlinkList[Reply any](t guest.T, method, parameters string) []Reply {
	t.Helper()
	out := guest.Run(t, "varlinkctl", "--more", "--json=short", "call", varlinkSocket, varlinkInterface+"."+method, parameters)
	var replies []Reply
	for line := range strings.Lines(out) {
		var reply Reply
		if err := json.Unmarshal([]byte(strings.TrimPrefix(line, "\x1e")), &reply); err != nil {
			t.Fatalf("reply of %s: %v\n%s", method, err, out)
		}
		replies = append(replies, reply)
	}
	return replies
}

// An administrator and a user look at the service with systemd's varlinkctl: the interface explains itself, both may read,
// and only root may control.
func TestVarlinkctl(t *testing.T) {
	f, devices := guest.Shared(t, 2)
	if info, err := os.Stat(varlinkSocket); err != nil {
		t.Errorf("cannot look at the socket: %v", err)
	} else if info.Mode() != fs.ModeSocket|0o666 {
		t.Errorf("socket: got mode %v, want Srw-rw-rw-", info.Mode())
	}
	text := guest.Run(t, "varlinkctl", "introspect", varlinkSocket, varlinkInterface)
	for _, want := range []string{
		"method GetStatus(", "method Monitor(", "error NoSuchController(", "One connection that is wished for", "Disconnect, and stay so",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("introspection: want %q in\n%s", want, text)
		}
	}

	var status struct {
		Ready, Bus, Zeroconf, Nbft bool
		Status                     string
		Counts                     map[string]int
		Unexplained                []string
	}
	varlinkctl(t, "GetStatus", "{}", &status)
	if !status.Ready || !status.Bus || status.Counts["connected"] != 3 || len(status.Unexplained) != 0 {
		t.Errorf("status: got %+v, want ready with 3 connected and nothing unexplained", status)
	}
	list := varlinkList[struct{ Controller map[string]any }](t, "ListControllers", "{}")
	if len(list) != 3 {
		t.Errorf("controllers: got %d replies, want one for each of 3", len(list))
	}
	seen := map[string]string{}
	for _, reply := range list {
		c := reply.Controller
		if c["state"] != "connected" || c["deviceState"] != "live" || c["owner"] != "discoverd" {
			t.Errorf("controller: got %v, want connected, live, of discoverd", c)
		}
		seen[c["nqn"].(string)] = c["device"].(string)
	}
	for nqn, device := range devices {
		if nqn != guest.DiscoveryNQN && seen[nqn] != device {
			t.Errorf("device of %s: got %q, want %s", nqn, seen[nqn], device)
		}
	}

	nqn := f.Subsystems[0].NQN
	target := `{"target":"` + nqn + `"}`
	if out := asNobody(t, "varlinkctl", "call", varlinkSocket, varlinkInterface+".GetController", target); out.Status != 0 {
		t.Errorf("a user reads: exit status %d\n%s", out.Status, out.Stderr)
	}
	for _, method := range []string{"Start", "Stop", "Retry", "Rescan", "Reload"} {
		parameters := target
		if method == "Reload" {
			parameters = "{}"
		}
		out := asNobody(t, "varlinkctl", "call", varlinkSocket, varlinkInterface+"."+method, parameters)
		if out.Status == 0 || !strings.Contains(out.Stderr+out.Stdout, "org.varlink.service.PermissionDenied") {
			t.Errorf("%s by a user: exit status %d, want PermissionDenied\n%s%s", method, out.Status, out.Stdout, out.Stderr)
		}
	}
	if ok, now := unchanged(devices)(); !ok {
		t.Errorf("controllers: %s\nwant %v", now, devices)
	}
	out := guest.Try(t, "varlinkctl", "call", varlinkSocket, varlinkInterface+".GetController", `{"target":"nvme999"}`)
	if out.Status == 0 || !strings.Contains(out.Stderr+out.Stdout, varlinkInterface+".NoSuchController") {
		t.Errorf("nvme999: exit status %d\n%s%s", out.Status, out.Stdout, out.Stderr)
	}
}

// What systemd's own client says of calls that are wrong: the field that is, the whole name of the method that there is not, and that a
// listing of several wants --more.
func TestVarlinkErrors(t *testing.T) {
	_, devices := guest.Shared(t, 2)
	info := guest.Run(t, "varlinkctl", "info", varlinkSocket)
	for _, want := range []string{"The nvme-discoverd Project", "nvme-discoverd", "https://github.com/nvme-discoverd/nvme-discoverd"} {
		if !strings.Contains(info, want) {
			t.Errorf("info: want %q in\n%s", want, info)
		}
	}
	for _, test := range []struct{ method, parameters, want, field string }{
		{"GetController", `{"device":7}`, "org.varlink.service.InvalidParameter", "device"},
		{"GetController", `{"divice":"nvme1"}`, "org.varlink.service.InvalidParameter", "divice"},
		{"ListControllers", `{"state":"asleep"}`, "org.varlink.service.InvalidParameter", "state"},
		{"Stop", `{}`, "org.varlink.service.InvalidParameter", "target"},
		{"ListControllers", `{}`, "org.varlink.service.ExpectedMore", ""},
		{"Frobnicate", `{}`, "org.varlink.service.MethodNotFound", "org.nvmexpress.discoverd.Frobnicate"},
		{"GetController", `{}`, "org.nvmexpress.discoverd.NotUnique", "3"},
		{"GetController", `{"nqn":"nqn.nobody"}`, "org.nvmexpress.discoverd.NoSuchController", ""},
	} {
		out := guest.Try(t, "varlinkctl", "--json=short", "call", varlinkSocket, varlinkInterface+"."+test.method, test.parameters)
		if all := out.Stdout + out.Stderr; out.Status == 0 || !strings.Contains(all, test.want) || !strings.Contains(all, test.field) {
			t.Errorf("%s %s: exit status %d, want %s with %q\n%s", test.method, test.parameters, out.Status, test.want, test.field, all)
		}
	}
	for nqn, device := range devices {
		var reply struct{ Controller struct{ Nqn, State string } }
		varlinkctl(t, "GetController", `{"device":"`+device+`"}`, &reply)
		if reply.Controller.Nqn != nqn && nqn != guest.DiscoveryNQN || reply.Controller.State != "connected" {
			t.Errorf("%s: got %+v, want %s connected", device, reply, nqn)
		}
	}
	if ok, now := unchanged(devices)(); !ok {
		t.Errorf("controllers: %s\nwant %v", now, devices)
	}
}

// Somebody watches with `varlinkctl --more` while an administrator stops and starts a controller with nvme-discoverctl: every
// step of it is told.
func TestVarlinkMonitor(t *testing.T) {
	f, _ := guest.Shared(t, 2)
	nqn := f.Subsystems[0].NQN
	lines := linesOf(t, "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups",
		"timeout", "60", "varlinkctl", "--more", "--json=short", "call", varlinkSocket, varlinkInterface+".Monitor", "{}")
	next := func() (snapshot bool, states map[string]string) {
		t.Helper()
		if !lines.Scan() {
			t.Fatalf("monitoring ended: %v", lines.Err())
		}
		var change struct {
			Snapshot    bool
			Controllers []struct{ Nqn, State string }
		}
		if err := json.Unmarshal([]byte(strings.TrimPrefix(lines.Text(), "\x1e")), &change); err != nil {
			t.Fatalf("cannot read %q: %v", lines.Text(), err)
		}
		states = map[string]string{}
		for _, c := range change.Controllers {
			states[c.Nqn] = c.State
		}
		return change.Snapshot, states
	}
	snapshot, states := next()
	if !snapshot || len(states) != 3 || states[nqn] != "connected" {
		t.Fatalf("first: got snapshot %v %v, want a snapshot of 3 connected controllers", snapshot, states)
	}
	until := func(want string) {
		t.Helper()
		for {
			snapshot, states := next()
			if snapshot {
				t.Error("got another snapshot")
			}
			if states[nqn] == want {
				return
			}
		}
	}
	guest.Run(t, "nvme-discoverctl", "stop", nqn)
	until("stopped")
	f.WaitUnit(f.Unit(nqn), "inactive")
	guest.Run(t, "nvme-discoverctl", "start", nqn)
	until("connecting")
	until("connected")
	f.WaitAllLive()
}

// python is a client that leaves out parameters, as python-varlink does, and prints what it gets.
const python = `
import varlink
with varlink.Client.new_with_address("unix:` + varlinkSocket + `") as client, client.open("` + varlinkInterface + `") as c:
    s = c.GetStatus()
    print(s["ready"], s["counts"]["connected"])
    print(sorted(x["controller"]["kind"] + " " + x["controller"]["state"] for x in c.ListControllers(_more=True)))
    print([len(l["log"]["entries"]) for l in c.ListDiscoveryLogs(_more=True)])
    for reply in c.Monitor(_more=True):
        print(reply["snapshot"], len(reply["controllers"]))
        break
with varlink.Client.new_with_address("unix:` + varlinkSocket + `") as client, client.open("` + varlinkInterface + `") as c:
    for method, parameters in (("GetController", {"target": "nvme999"}), ("Rescan", {}), ("Retry", {}), ("Reload", {})):
        try:
            print(method, getattr(c, method)(**parameters))
        except varlink.VarlinkError as e:
            print(method, e.error(), e.parameters())
`

// nvme-stas is written in Python: its varlink library, as root and as a user.
func TestVarlinkPython(t *testing.T) {
	_, devices := guest.Shared(t, 2)
	read := "True 3\n['discovery connected', 'io connected', 'io connected']\n[3]\nTrue 3\n" +
		"GetController org.nvmexpress.discoverd.NoSuchController {'target': 'nvme999'}\n"
	denied := func(method string) string {
		return method + " org.varlink.service.PermissionDenied {}\n"
	}
	out := asNobody(t, "python3", "-c", python)
	if want := read + denied("Rescan") + denied("Retry") + denied("Reload"); out.Stdout != want {
		t.Errorf("as a user: got\n%s%s\nwant\n%s", out.Stdout, out.Stderr, want)
	}
	out = guest.Try(t, "python3", "-c", python)
	if want := read + "Rescan {'count': 1}\nRetry {'count': 0}\nReload {}\n"; out.Stdout != want {
		t.Errorf("as root: got\n%s%s\nwant\n%s", out.Stdout, out.Stderr, want)
	}
	if ok, now := unchanged(devices)(); !ok {
		t.Errorf("controllers: %s\nwant %v", now, devices)
	}
}

// The commands of people: what they print when all is well, when nothing runs, and what they end with.
func TestDiscoverctlStatus(t *testing.T) {
	f, devices := guest.Connected(t, 2)
	out := asNobody(t, "/usr/bin/nvme-discoverctl", "status")
	if out.Status != 0 || !strings.Contains(out.Stdout, "3 of 3 controllers connected") {
		t.Errorf("status by a user: exit status %d\n%s%s", out.Status, out.Stdout, out.Stderr)
	}
	for _, nqn := range f.NQNs() {
		if !strings.Contains(out.Stdout, devices[nqn]) || !strings.Contains(out.Stdout, f.Unit(nqn)) {
			t.Errorf("status: want %s and %s of %s in\n%s", devices[nqn], f.Unit(nqn), nqn, out.Stdout)
		}
	}
	var status struct{ Controllers []struct{ Unit string } }
	if err := json.Unmarshal([]byte(guest.Run(t, "nvme-discoverctl", "status", "--json")), &status); err != nil || len(status.Controllers) != 3 {
		t.Errorf("status --json: got %v, %v", status, err)
	}
	if text := guest.Run(t, "nvme-discoverctl", "logs", devices[guest.DiscoveryNQN]); strings.Count(text, "\nnvm ") != 2 {
		t.Errorf("logs: want 2 subsystems in\n%s", text)
	}
	const connects = "nvme_discoverd_connects_total{kind=\"io\"} 2\n"
	if text := guest.Run(t, "nvme-discoverctl", "metrics"); !strings.Contains(text, "# TYPE nvme_discoverd_connects_total counter\n") || !strings.Contains(text, connects) {
		t.Errorf("metrics: want 2 connects and what they are in\n%s", text)
	}
	if text := guest.Run(t, "nvme-discoverctl", "metrics", "--openmetrics"); !strings.Contains(text, connects) || !strings.HasSuffix(text, "# EOF\n") {
		t.Errorf("metrics --openmetrics: want 2 connects and an end in\n%s", text)
	}
	guest.Stop(t)
	out = guest.Try(t, "nvme-discoverctl", "status")
	want := "cannot reach nvme-discoverd: nobody answers on " + varlinkSocket + ": see systemctl status nvme-discoverd\n"
	if out.Status != 1 || out.Stderr != want || out.Stdout != "" {
		t.Errorf("without a service: exit status %d\n%s%s", out.Status, out.Stdout, out.Stderr)
	}
}
