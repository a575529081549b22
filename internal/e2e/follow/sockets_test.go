// SPDX-License-Identifier: GPL-3.0-or-later

package follow

import (
	"bufio"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// listen accepts connections at a new socket, one after the other, until the test ends.
func listen(t *testing.T, serve func(net.Conn)) (socket string) {
	t.Helper()
	socket = filepath.Join(t.TempDir(), "socket")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			serve(conn)
			conn.Close()
		}
	}()
	return socket
}

func TestSynchronize(t *testing.T) {
	for _, test := range []struct{ name, reply, want string }{
		{"done", `{"parameters":{}}` + "\x00", ""},
		{"refused", `{"error":"org.varlink.service.MethodNotFound"}` + "\x00", "cannot have journald write: org.varlink.service.MethodNotFound"},
		{"nonsense", "x\x00", "cannot read journald's answer: "},
		{"hangs up", "{", "cannot hear that journald has written: EOF"},
	} {
		t.Run(test.name, func(t *testing.T) {
			asked := make(chan string, 1)
			socket := listen(t, func(conn net.Conn) {
				call, _ := bufio.NewReader(conn).ReadString(0)
				asked <- call
				_, _ = conn.Write([]byte(test.reply))
			})
			err := synchronize(socket, time.Minute)
			if got := <-asked; got != `{"method":"io.systemd.Journal.Synchronize"}`+"\x00" {
				t.Errorf("asked: %q", got)
			}
			if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.HasPrefix(err.Error(), test.want)) {
				t.Errorf("got error %v, want %q", err, test.want)
			}
		})
	}
}

// PID 1 executes itself anew: its signals are followed again afterwards.
func TestFollowUnits(t *testing.T) {
	const greeting = "\x00AUTH EXTERNAL "
	serving, signal := make(chan net.Conn), make(chan struct{})
	socket := listen(t, func(conn net.Conn) {
		line, err := bufio.NewReader(conn).ReadString('\n')
		if err != nil || !strings.HasPrefix(line, greeting) {
			t.Errorf("greeting: got %q, %v", line, err)
		}
		serving <- conn
		<-signal
	})
	events := NewEvents()
	go followUnits(events, socket)
	for range 2 {
		conn := <-serving
		next := events.next(Units)
		if _, err := conn.Write([]byte("signal")); err != nil {
			t.Fatal(err)
		}
		<-next.woken
		signal <- struct{}{}
	}
}
