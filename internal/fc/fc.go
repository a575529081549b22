// Package fc speaks with the kernel about discovery controllers on Fibre Channel (SPEC section 12): it asks for what there
// is, and reads the events by which the kernel tells of each. It decides nothing.
//
// The kernel's side is drivers/nvme/host/fc.c: nvme_fc_nvme_discovery_store and nvme_fc_signal_discovery_scan.
package fc

import (
	"fmt"
	"os"

	"github.com/nvme-discoverd/nvme-discoverd/internal/paths"
)

// Announcement says that a remote port with a discovery controller can be reached through a port of this host. Both
// addresses are as the kernel writes them and takes them back in a connect.
type Announcement struct {
	Traddr     string // of the remote port, nn-0x…:pn-0x…
	HostTraddr string // of the port of this host
}

// Parse reads the variables of a uevent of the subsystem fc. ok is false for an event that is about something else.
func Parse(vars map[string]string) (a Announcement, ok bool, err error) {
	if vars["FC_EVENT"] != "nvmediscovery" {
		return Announcement{}, false, nil
	}
	a = Announcement{Traddr: vars["NVMEFC_TRADDR"], HostTraddr: vars["NVMEFC_HOST_TRADDR"]}
	for _, v := range []struct{ name, value string }{{"NVMEFC_TRADDR", a.Traddr}, {"NVMEFC_HOST_TRADDR", a.HostTraddr}} {
		if !isPort(v.value) {
			return Announcement{}, false, fmt.Errorf("cannot use %s=%.80q of a Fibre Channel event: it must be a port such as nn-0x20000090fa942779:pn-0x10000090fa942779", v.name, v.value)
		}
	}
	return a, true, nil
}

// isPort tells whether s is a port as the kernel prints it: "nn-0x%016llx:pn-0x%016llx".
func isPort(s string) bool {
	const node, port = "nn-0x", ":pn-0x"
	if len(s) != len(node)+16+len(port)+16 || s[:len(node)] != node || s[len(node)+16:len(s)-16] != port {
		return false
	}
	return isHex(s[len(node):len(node)+16]) && isHex(s[len(s)-16:])
}

func isHex(s string) bool {
	for _, c := range []byte(s) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// Kickstart asks the kernel to announce all remote ports with a discovery controller. Their uevents have been sent when it
// returns. The error wraps fs.ErrNotExist where the kernel has no NVMe over Fibre Channel.
func Kickstart(root paths.Root) error {
	f, err := os.OpenFile(root.FCDiscovery(), os.O_WRONLY, 0)
	if err == nil {
		_, err = f.WriteString("add")
		f.Close()
	}
	if err != nil {
		return fmt.Errorf("cannot ask Fibre Channel for discovery controllers: %w", err)
	}
	return nil
}
