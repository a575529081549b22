// SPDX-License-Identifier: GPL-3.0-or-later

//go:build e2e

package guest_test

import (
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/nvme-discoverd/nvme-discoverd/internal/e2e/guest"
)

// hostile is what a user without rights does to the socket: 500 connections, as many as are let in with half a message that
// never ends; a message of 100 MB; a monitor that is never read. It stays until it is told to go.
const hostile = `
import socket, os, time
def dial():
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(20)
    s.connect("/run/nvme/discoverd.socket")
    return s
held = []
monitor = dial()
monitor.sendall(b'{"method":"org.nvmexpress.discoverd.Monitor","more":true}\0')
held.append(monitor)
big, sent = dial(), 0
try:
    while sent < 100 << 20:
        sent += big.send(b'{"method":"' + b'x' * 65536)
except OSError:
    pass
for i in range(500):
    try:
        s = dial()
        s.sendall(b'{"method":"org.nvmexpress.disc')
        held.append(s)
    except OSError:
        pass
with open("/tmp/hostile", "w") as f:
    f.write("%d %d\n" % (len(held), sent))
while os.path.exists("/tmp/hostile"):
    time.sleep(0.2)
`

// Hostile clients take neither memory nor attention: root is answered beside them, a lost controller comes back, and the
// message of 100 MB was cut off early.
//
//e2e:crowded
func TestVarlinkHostileClients(t *testing.T) {
	f, devices := guest.Connected(t, 3)
	wait := guest.Background(t, "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "python3", "-c", hostile)
	told := ""
	guest.Eventually(t, connectTimeout, "the hostile ones have done their worst", func() (bool, string) {
		text, _ := os.ReadFile("/tmp/hostile")
		told = string(text)
		return strings.HasSuffix(told, "\n"), told
	})
	opened, sent, _ := strings.Cut(strings.TrimSpace(told), " ")
	if n, err := strconv.Atoi(sent); err != nil || n >= 100<<20 {
		t.Errorf("bytes of the message of 100 MB that were taken: got %s", sent)
	}
	nqn := f.Subsystems[0].NQN
	guest.Delete(t, devices[nqn])
	guest.WaitOneLive(t, nqn, "what is lost comes back beside them")
	if out := guest.TryCtl(t, "status"); out.Status != 0 || !strings.Contains(out.Stdout, "of 4 controllers connected") {
		t.Errorf("status beside them: exit status %d\n%s%s", out.Status, out.Stdout, out.Stderr)
	}
	memory, err := strconv.Atoi(guest.Property(t, guest.Service, "MemoryCurrent"))
	if err != nil || memory > 128<<20 {
		t.Errorf("memory of the service: got %d bytes, %v; want at most 128 MiB", memory, err)
	}
	t.Logf("%s connections were opened, %s bytes of the big message taken, %d KiB of memory used", opened, sent, memory>>10)
	guest.Remove(t, "/tmp/hostile")
	wait()
	guest.WaitConsistent(t, connectTimeout, f.Wanted())
}
