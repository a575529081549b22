// SPDX-License-Identifier: GPL-3.0-or-later

package uevent

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/nvme-discoverd/nvme-discoverd/internal/paths"
)

// raw joins the strings of a message as the kernel does.
func raw(strs ...string) []byte {
	return []byte(strings.Join(strs, "\x00") + "\x00")
}

const ctl = "/devices/virtual/nvme-fabrics/ctl/"

// aen is what the kernel's TCP host sends when a log page changed.
var aen = raw("change@"+ctl+"nvme3", "ACTION=change", "DEVPATH="+ctl+"nvme3", "SUBSYSTEM=nvme", "NVME_AEN=0x70f002",
	"NVME_TRTYPE=tcp", "NVME_TRADDR=127.0.0.1", "NVME_TRSVCID=8009", "NVME_HOST_TRADDR=none", "NVME_HOST_IFACE=none",
	"MAJOR=241", "MINOR=3", "DEVNAME=nvme3", "SEQNUM=1234")

func TestParse(t *testing.T) {
	tests := []struct {
		name    string
		message []byte
		want    Event
		err     string
	}{{
		name:    "log page changed",
		message: aen,
		want: Event{Action: "change", Subsystem: "nvme", DevPath: ctl + "nvme3", Seq: 1234, Vars: map[string]string{
			"ACTION": "change", "DEVPATH": ctl + "nvme3", "SUBSYSTEM": "nvme", "NVME_AEN": "0x70f002",
			"NVME_TRTYPE": "tcp", "NVME_TRADDR": "127.0.0.1", "NVME_TRSVCID": "8009", "NVME_HOST_TRADDR": "none", "NVME_HOST_IFACE": "none",
			"MAJOR": "241", "MINOR": "3", "DEVNAME": "nvme3", "SEQNUM": "1234",
		}},
	}, {
		name:    "no subsystem",
		message: raw("add@/module/nvme_tcp", "SEQNUM=18446744073709551615"),
		want:    Event{Action: "add", DevPath: "/module/nvme_tcp", Seq: 1<<64 - 1, Vars: map[string]string{"SEQNUM": "18446744073709551615"}},
	}, {
		name:    "empty value",
		message: raw("add@/x", "A=", "SEQNUM=1"),
		want:    Event{Action: "add", DevPath: "/x", Seq: 1, Vars: map[string]string{"A": "", "SEQNUM": "1"}},
	}, {
		name: "empty",
		err:  `cannot parse uevent "": it is cut off`,
	}, {
		name:    "header without end",
		message: []byte("add@/x"),
		err:     `cannot parse uevent "add@/x": it is cut off`,
	}, {
		name:    "torn",
		message: []byte("add@/x\x00SEQNUM=12"),
		err:     `cannot parse uevent "add@/x\x00SEQNUM=12": it is cut off`,
	}, {
		name:    "udevd's",
		message: append([]byte("libudev\x00\xfe\xed\xca\xfe"), make([]byte, 60)...),
		err:     `cannot parse uevent "libudev\x00\xfe\xed\xca\xfe` + strings.Repeat(`\x00`, 60) + `": it is not the kernel's`,
	}, {
		name:    "equals sign in a value",
		message: raw("add@/x", "MODALIAS=a=b", "SEQNUM=1"),
		err:     `cannot parse uevent "add@/x\x00MODALIAS=a=b\x00SEQNUM=1\x00": wrong uevent format`,
	}, {
		name:    "unknown action",
		message: raw("explode@/x", "SEQNUM=1"),
		err:     `cannot parse uevent "explode@/x\x00SEQNUM=1\x00": wrong uevent format`,
	}, {
		name:    "no number",
		message: raw("add@/x"),
		err:     `cannot parse uevent "add@/x\x00": SEQNUM "" is no number`,
	}}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, err := Parse(test.message)
			if message(err) != test.err {
				t.Fatalf("error %q, want %q", message(err), test.err)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("event (-want +got):\n%s", diff)
			}
		})
	}
}

func TestDeviceName(t *testing.T) {
	tests := []struct {
		event Event
		want  string
	}{
		{Event{Subsystem: "nvme", DevPath: ctl + "nvme3"}, "nvme3"},
		{Event{Subsystem: "nvme", DevPath: ctl + "nvme12"}, "nvme12"},
		{Event{Subsystem: "nvme", DevPath: "/devices/pci0000:00/0000:00:04.0/nvme/nvme0"}, ""},
		{Event{Subsystem: "block", DevPath: ctl + "nvme3/nvme3c3n1"}, ""},
		{Event{Subsystem: "nvme-generic", DevPath: ctl + "nvme3/ng3n1"}, ""},
		{Event{Subsystem: "nvme", DevPath: ctl + "nvme3/nvme3n1"}, ""},
		{Event{Subsystem: "nvme", DevPath: "/devices/virtual/nvme-fabrics-ctl/nvme3"}, ""},
		{Event{Subsystem: "nvme-subsystem", DevPath: "/devices/virtual/nvme-subsystem/nvme-subsys3"}, ""},
		{Event{Subsystem: "nvme-fabrics", DevPath: "/devices/virtual/nvme-fabrics/ctl"}, ""},
		{Event{}, ""},
	}
	for _, test := range tests {
		got, ok := DeviceName(test.event)
		if got != test.want || ok != (test.want != "") {
			t.Errorf("%s of %s: %q, %v, want %q", test.event.DevPath, test.event.Subsystem, got, ok, test.want)
		}
	}
}

// What go-udev refuses of other subsystems is none of our business; what may be of ours is.
func TestConcerns(t *testing.T) {
	tests := []struct {
		name    string
		message []byte
		want    bool
	}{
		{"a log page", aen, true},
		{"Fibre Channel", raw("change@/devices/virtual/fc/fc_udev_device", "SUBSYSTEM=fc", "SEQNUM=1"), true},
		{"RDMA", raw("add@/devices/pci0000:00/infiniband/mlx5_0", "SUBSYSTEM=infiniband", "SEQNUM=1"), true},
		{"a refused one of ours", raw("change@"+ctl+"nvme3", "SUBSYSTEM=nvme", "A=b=c", "SEQNUM=1"), true},
		{"torn", aen[:40], true},
		{"empty", nil, true},
		{"without a header", raw("SUBSYSTEM=net", "SEQNUM=1"), true},
		{"equals sign in a value", raw("add@/x", "SUBSYSTEM=platform", "MODALIAS=a=b", "SEQNUM=1"), false},
		{"at sign in the path", raw("add@/devices/platform/soc@0/a", "SUBSYSTEM=platform", "SEQNUM=1"), false},
		{"no subsystem", raw("add@/module/nvme_tcp", "SEQNUM=1"), false},
		{"a value that names ours", raw("add@/x", "A=SUBSYSTEM=nvme", "SUBSYSTEM=block", "SEQNUM=1"), false},
		{"a namespace", raw("add@"+ctl+"nvme3/nvme3n1", "SUBSYSTEM=block", "SEQNUM=1"), false},
	}
	for _, test := range tests {
		if got := concerns(test.message); got != test.want {
			t.Errorf("%s: %v, want %v", test.name, got, test.want)
		}
	}
}

// TestKernel lets the kernel send an event and receives it, below the choice of subsystems: the loopback interface is the
// one device that is everywhere.
func TestKernel(t *testing.T) {
	const lo = "/devices/virtual/net/lo"
	source, err := Open(1 << 20)
	if err != nil {
		t.Skipf("cannot listen for uevents here: %v", err)
	}
	defer source.Close()
	if err := os.WriteFile("/sys"+lo+"/uevent", []byte("change"), 0); err != nil {
		t.Skipf("cannot trigger a uevent here: %v", err)
	}
	for {
		n, err := source.socket.Receive(source.buf)
		if err != nil {
			t.Fatal(err)
		}
		event, err := Parse(source.buf[:n])
		if err != nil || event.DevPath != lo {
			continue // of another device
		}
		if event.Action != "change" || event.Subsystem != "net" || event.Vars["INTERFACE"] != "lo" || event.Seq == 0 {
			t.Errorf("event %+v", event)
		}
		return
	}
}

func TestCloseWakesReceive(t *testing.T) {
	source, err := Open(0)
	if err != nil {
		t.Skipf("cannot listen for uevents here: %v", err)
	}
	done := make(chan error)
	go func() {
		var err error
		for err == nil || errors.Is(err, ErrLost) {
			_, err = source.Receive()
		}
		done <- err
	}()
	if err := source.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; !errors.Is(err, os.ErrClosed) {
		t.Errorf("Receive ended with %v, want os.ErrClosed", err)
	}
}

// FuzzParse checks that no message, however torn, panics, and that none gives a name that is unsafe in a path.
func FuzzParse(f *testing.F) {
	f.Add(aen)
	f.Add(aen[:len(aen)-1])
	f.Add([]byte("add@/x"))
	f.Add(append([]byte("libudev\x00\xfe\xed\xca\xfe"), make([]byte, 60)...))
	f.Fuzz(func(t *testing.T, message []byte) {
		event, err := Parse(message)
		if err != nil {
			return
		}
		if _, ok := DeviceName(event); ok && !concerns(message) {
			t.Errorf("%q would be passed over", message)
		}
		if name, ok := DeviceName(event); ok && paths.CheckDevice(name) != nil {
			t.Errorf("device name %q from %q", name, message)
		}
	})
}

func message(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
