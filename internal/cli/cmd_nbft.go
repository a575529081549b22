// SPDX-License-Identifier: GPL-3.0-or-later

package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/nvme-discoverd/nvme-discoverd/internal/nbft"
	"github.com/nvme-discoverd/nvme-discoverd/internal/param"
)

func (a *app) nbftCommand() *cobra.Command {
	return group("nbft", "What the firmware booted from",
		`A firmware that boots over NVMe over Fabrics leaves tables of what it connected, the
NVMe Boot Firmware Tables (NBFT).`,
		a.nbftShowCommand())
}

func (a *app) nbftShowCommand() *cobra.Command {
	var file string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "show",
		Short: "Show the NVMe Boot Firmware Tables of this host",
		Long: `Show the NVMe Boot Firmware Tables (NBFT) of this host, or the one in a file.

With --json it is an array of one object for each table, in the order of their files, [] if there is none:

  file, size       where the table was read from, its length in bytes
  host             nqn, id
  hfis             index, transport, pci, mac, vlan, address, prefix, gateway, dhcp_server, interface
  discovery        index, hfi, uri, nqn
  subsystems       index, discovery, hfis, transport, traddr, trsvcid, nsid, nid_type, nid, nqn, unavailable
  security         index, authentication, secure_channel, keypath
  warnings         sentences about what is wrong with the table or will not be connected as it says

Values that the table does not give are left out; the lists, "size" and "unavailable" are always there. "discovery", "hfi" and
"hfis" hold indexes of the table. "nid_type" is eui64, nguid or uuid; "authentication" and "secure_channel" are
unsupported, supported or required. "interface" is the interface of this host that has the MAC address and the VLAN now.

A table that cannot be used is an error on stderr; the others are shown all the same, and the exit status is 1.`,
		Args: takes(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			tables, errs := a.nbftTables(file, cmd.Flags().Changed("file"))
			views := make([]nbftView, len(tables))
			for i, t := range tables {
				views[i] = a.nbftView(t)
			}
			switch {
			case asJSON:
				e := json.NewEncoder(a.Stdout)
				e.SetEscapeHTML(false)
				e.SetIndent("", "  ")
				if err := e.Encode(views); err != nil {
					errs = append(errs, fmt.Errorf("cannot write the tables: %v", err))
				}
			case len(views) == 0 && len(errs) == 0:
				fmt.Fprintln(a.Stderr, "This host has no NBFT: its firmware did not boot it over NVMe over Fabrics.")
			default:
				for i, v := range views {
					if i > 0 {
						fmt.Fprintln(a.Stdout)
					}
					a.printNBFT(v)
				}
			}
			return failed(errors.Join(errs...))
		},
	}
	cmd.Flags().StringVar(&file, "file", "", "show the table in this `file`")
	cmd.Flags().BoolVar(&asJSON, "json", false, "write JSON")
	return cmd
}

// nbftTables returns the table in file if there is one asked for, and otherwise all of this host.
func (a *app) nbftTables(file string, asked bool) ([]nbft.Table, []error) {
	if !asked {
		return nbft.Load(a.root)
	}
	t, err := nbft.ReadFile(file)
	if err != nil {
		return nil, []error{err}
	}
	return []nbft.Table{t}, nil
}

// nbftView is one table as --json shows it; the text is made from it too.
type nbftView struct {
	File       string          `json:"file"`
	Size       int             `json:"size"`
	Host       nbftHost        `json:"host"`
	HFIs       []nbftHFI       `json:"hfis"`
	Discovery  []nbftDiscovery `json:"discovery"`
	Subsystems []nbftSubsystem `json:"subsystems"`
	Security   []nbftSecurity  `json:"security"`
	Warnings   []string        `json:"warnings"`
}

type nbftHost struct {
	NQN string `json:"nqn"`
	ID  string `json:"id,omitempty"`
}

type nbftHFI struct {
	Index      uint8      `json:"index"`
	Transport  string     `json:"transport"`
	PCI        string     `json:"pci"`
	MAC        string     `json:"mac,omitempty"`
	VLAN       uint16     `json:"vlan,omitempty"`
	Address    netip.Addr `json:"address,omitzero"`
	Prefix     uint8      `json:"prefix,omitempty"`
	Gateway    netip.Addr `json:"gateway,omitzero"`
	DHCPServer netip.Addr `json:"dhcp_server,omitzero"`
	Interface  string     `json:"interface,omitempty"`
}

type nbftDiscovery struct {
	Index uint8  `json:"index"`
	HFI   uint8  `json:"hfi,omitempty"`
	URI   string `json:"uri"`
	NQN   string `json:"nqn,omitempty"`
}

type nbftSubsystem struct {
	Index       uint16     `json:"index"`
	Discovery   uint8      `json:"discovery,omitempty"`
	HFIs        []int      `json:"hfis"` // encoding/json takes []uint8 for text
	Transport   string     `json:"transport"`
	Traddr      netip.Addr `json:"traddr"`
	Trsvcid     string     `json:"trsvcid,omitempty"`
	NSID        uint32     `json:"nsid,omitempty"`
	NIDType     string     `json:"nid_type,omitempty"`
	NID         string     `json:"nid,omitempty"`
	NQN         string     `json:"nqn"`
	Unavailable bool       `json:"unavailable"`
}

type nbftSecurity struct {
	Index          uint8  `json:"index"`
	Authentication string `json:"authentication"`
	SecureChannel  string `json:"secure_channel"`
	Keypath        string `json:"keypath,omitempty"`
}

func (a *app) nbftView(t nbft.Table) nbftView {
	connections, warnings := nbft.Wishes(t, param.Set{}, param.Set{})
	for _, c := range connections {
		if c.Authentication {
			warnings = append(warnings, c.From+": it requires authentication: an NBFT holds no secret, and without dhchap-secret in [host] of the configuration it is not connected")
		}
	}
	v := nbftView{
		File: t.File, Size: t.Size, Host: nbftHost{NQN: t.Host.NQN, ID: t.Host.ID},
		HFIs: []nbftHFI{}, Discovery: []nbftDiscovery{}, Subsystems: []nbftSubsystem{}, Security: []nbftSecurity{},
		Warnings: append(append([]string{}, t.Warnings...), warnings...), // slices.Concat of nothing is nil
	}
	for _, h := range t.HFIs {
		name, err := h.Link.Interface(a.root)
		if err != nil {
			v.Warnings = append(v.Warnings, fmt.Sprintf("HFI %d: its interface is unknown: %v", h.Index, err))
		}
		view := nbftHFI{
			Index: h.Index, Transport: h.Transport, PCI: h.PCI.String(), VLAN: h.Link.VLAN,
			Address: h.Address, Prefix: h.Prefix, Gateway: h.Gateway, DHCPServer: h.DHCPServer, Interface: name,
		}
		if h.Link.MAC != ([6]byte{}) {
			view.MAC = net.HardwareAddr(h.Link.MAC[:]).String()
		}
		v.HFIs = append(v.HFIs, view)
	}
	for _, d := range t.Discovery {
		v.Discovery = append(v.Discovery, nbftDiscovery{Index: d.Index, HFI: d.HFI, URI: d.URI, NQN: d.NQN})
	}
	for _, s := range t.SSNS {
		view := nbftSubsystem{
			Index: s.Index, Discovery: s.Discovery, HFIs: []int{}, Transport: s.Transport, Traddr: s.Traddr, Trsvcid: s.Trsvcid,
			NSID: s.NSID, NIDType: s.NIDType.String(), NID: s.NIDString(), NQN: s.NQN, Unavailable: s.Unavailable(),
		}
		for _, index := range s.HFIs {
			view.HFIs = append(view.HFIs, int(index))
		}
		v.Subsystems = append(v.Subsystems, view)
	}
	for _, s := range t.Security {
		v.Security = append(v.Security, nbftSecurity{
			Index: s.Index, Authentication: s.Authentication().String(), SecureChannel: s.SecureChannel().String(), Keypath: s.Keypath,
		})
	}
	return v
}

// printNBFT writes one table for people.
func (a *app) printNBFT(v nbftView) {
	fmt.Fprintf(a.Stdout, "%s, %d bytes\n", v.File, v.Size)
	a.printFolded("host NQN  ", v.Host.NQN, plain)
	if v.Host.ID != "" {
		fmt.Fprintf(a.Stdout, "host ID   %s\n", v.Host.ID)
	}
	rows := [][]string{{"HFI", "TRANSPORT", "INTERFACE", "MAC", "VLAN", "ADDRESS", "GATEWAY", "DHCP SERVER", "PCI"}}
	for _, h := range v.HFIs {
		addr := address(h.Address)
		if h.Prefix > 0 {
			addr += "/" + decimal(h.Prefix)
		}
		rows = append(rows, []string{
			decimal(h.Index), h.Transport, h.Interface, h.MAC, decimal(h.VLAN), addr, address(h.Gateway), address(h.DHCPServer), h.PCI,
		})
	}
	a.printColumns(rows)
	rows = [][]string{{"DISCOVERY", "HFI", "URI", "NQN"}}
	for _, d := range v.Discovery {
		rows = append(rows, []string{decimal(d.Index), decimal(d.HFI), d.URI, d.NQN})
	}
	a.printColumns(rows)
	rows = [][]string{{"SUBSYSTEM", "HFIS", "DISCOVERY", "TRANSPORT", "ADDRESS", "PORT", "NSID", "NAMESPACE", "UNAVAILABLE", "NQN"}}
	for _, s := range v.Subsystems {
		unavailable := ""
		if s.Unavailable {
			unavailable = "yes"
		}
		rows = append(rows, []string{
			decimal(s.Index), strings.Trim(strings.ReplaceAll(fmt.Sprint(s.HFIs), " ", ","), "[]"), decimal(s.Discovery), s.Transport,
			s.Traddr.String(), s.Trsvcid, decimal(s.NSID), s.NID, unavailable, s.NQN,
		})
	}
	a.printColumns(rows)
	rows = [][]string{{"SECURITY", "AUTHENTICATION", "SECURE CHANNEL", "KEY"}}
	for _, s := range v.Security {
		rows = append(rows, []string{decimal(s.Index), s.Authentication, s.SecureChannel, s.Keypath})
	}
	a.printColumns(rows)
	if len(v.Warnings) > 0 {
		fmt.Fprintln(a.Stdout)
	}
	for _, w := range v.Warnings {
		a.printFolded("warning: ", w, plain)
	}
}

// printColumns writes rows below an empty line, the first one being the heading: nothing if there is no other, and no
// column that is empty in all of them.
func (a *app) printColumns(rows [][]string) {
	if len(rows) == 1 {
		return
	}
	fmt.Fprintln(a.Stdout)
	a.printTable(table{rows: rows, heading: true, dense: true})
}

// decimal returns n, or "" for 0, which stands for none.
func decimal[N uint8 | uint16 | uint32](n N) string {
	if n == 0 {
		return ""
	}
	return strconv.FormatUint(uint64(n), 10)
}

// address returns the address, or "" for none.
func address(addr netip.Addr) string {
	if !addr.IsValid() {
		return ""
	}
	return addr.String()
}
