// SPDX-License-Identifier: GPL-3.0-or-later

// Command controllers lists the controllers of nvme-discoverd over varlink with the library github.com/varlink/go. Its argument is the socket.
package main

import (
	"context"
	"fmt"
	"log"
	"os"

	"github.com/varlink/go/varlink"
)

const service = "org.nvmexpress.discoverd."

// controller has the fields that this program uses; others are ignored.
type controller struct {
	NQN       string  `json:"nqn"`
	State     string  `json:"state"`
	Device    *string `json:"device"`
	LastError *string `json:"lastError"`
}

func main() {
	socket := "/run/nvme/discoverd.socket"
	if len(os.Args) > 1 {
		socket = os.Args[1]
	}
	if err := list(context.Background(), socket); err != nil {
		log.Fatal(err)
	}
}

func list(ctx context.Context, socket string) error {
	c, err := varlink.NewConnection(ctx, "unix:"+socket)
	if err != nil {
		return err
	}
	defer c.Close()

	var status struct {
		Status string `json:"status"`
		Counts struct {
			Wanted    int `json:"wanted"`
			Connected int `json:"connected"`
			Unread    int `json:"unread"`
		} `json:"counts"`
	}
	if err := c.Call(ctx, service+"GetStatus", struct{}{}, &status); err != nil {
		return err
	}
	fmt.Printf("%d of %d: %s\n", status.Counts.Connected, status.Counts.Wanted, status.Status)
	if n := status.Counts.Unread; n > 0 {
		fmt.Printf("log pages to be read, which may name more: %d\n", n)
	}

	receive, err := c.Send(ctx, service+"ListControllers", struct{}{}, varlink.More)
	if err != nil {
		return err
	}
	for flags := uint64(varlink.Continues); flags&varlink.Continues != 0; {
		var reply struct {
			Controller controller `json:"controller"`
		}
		flags, err = receive(ctx, &reply)
		if err != nil { // org.nvmexpress.discoverd.NoSuchController: there is none
			return err
		}
		device := "-"
		if reply.Controller.Device != nil {
			device = *reply.Controller.Device
		}
		fmt.Println(reply.Controller.State, device, reply.Controller.NQN)
	}
	return nil
}
