// SPDX-License-Identifier: GPL-3.0-or-later

package follow

import (
	"fmt"
	"io"
	"net"
	"os"
	"time"
)

// managerSocket is where PID 1 talks D-Bus to root without a bus. It sends all of its signals (UnitNew, PropertiesChanged, JobRemoved
// and so on) to everybody who is connected there, without Subscribe (bus_foreach_bus, src/core/dbus.c).
const managerSocket = "/run/systemd/private"

// FollowUnits has every signal of PID 1 be an event, until the program ends. PID 1 hangs up when it executes itself anew; that it
// answers again is an event too.
func FollowUnits(events *Events) { go followUnits(events, managerSocket) }

func followUnits(events *Events, socket string) {
	for {
		if conn, err := dialManager(socket); err == nil {
			events.Tell(Units)
			tellReads(events, conn)
			conn.Close()
			events.Tell(Units)
		}
		time.Sleep(Rest)
	}
}

// dialManager connects and says who we are: the kernel tells PID 1 whether that is true.
func dialManager(socket string) (net.Conn, error) {
	conn, err := net.Dial("unix", socket)
	if err != nil {
		return nil, fmt.Errorf("cannot reach PID 1: %w", err)
	}
	uid := fmt.Sprintf("%x", fmt.Sprint(os.Getuid()))
	if _, err := io.WriteString(conn, "\x00AUTH EXTERNAL "+uid+"\r\nBEGIN\r\n"); err != nil {
		conn.Close()
		return nil, fmt.Errorf("cannot speak with PID 1: %w", err)
	}
	return conn, nil
}

// tellReads has whatever arrives be an event: what a signal says is not read.
func tellReads(events *Events, conn io.Reader) {
	buffer := make([]byte, 64<<10)
	for {
		n, err := conn.Read(buffer)
		if n > 0 {
			events.Tell(Units)
		}
		if err != nil {
			return
		}
	}
}
