// SPDX-License-Identifier: GPL-3.0-or-later

// Package client calls org.nvmexpress.discoverd on the daemon's varlink socket, for the commands of nvme-discoverctl. Its
// types are those of the interface; --json of the commands prints them.
package client

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"strings"
	"syscall"

	wire "github.com/nvme-discoverd/nvme-discoverd/internal/api/orgnvmexpressdiscoverd"
	"github.com/nvme-discoverd/nvme-discoverd/internal/paths"
)

// What the calls return, as the interface describes it.
type (
	Controller   = wire.Controller
	Unwanted     = wire.Unwanted
	Counts       = wire.Counts
	DiscoveryLog = wire.DiscoveryLog
	LogEntry     = wire.LogEntry
	Metric       = wire.Metric
	Sample       = wire.Sample
	Source       = wire.Source
	Browsing     = wire.Browsing
)

// Status is the reply of GetStatus.
type Status struct {
	Version     string     `json:"version"`
	Since       string     `json:"since"`
	Ready       bool       `json:"ready"`
	Status      string     `json:"status"`
	Bus         bool       `json:"bus"`
	Counts      Counts     `json:"counts"`
	Zeroconf    bool       `json:"zeroconf"`
	NBFT        bool       `json:"nbft"`
	Browsing    *Browsing  `json:"browsing,omitempty"`
	Unwanted    []Unwanted `json:"unwanted"`
	Unexplained []string   `json:"unexplained"`
}

// Change is a reply of Monitor.
type Change struct {
	Snapshot    bool         `json:"snapshot"` // Controllers are all that there are
	Controllers []Controller `json:"controllers"`
	Removed     []string     `json:"removed"` // canonical TIDs
	Status      string       `json:"status"`
	Counts      Counts       `json:"counts"`
	Ready       bool         `json:"ready"`
	Zeroconf    bool         `json:"zeroconf"`
	NBFT        bool         `json:"nbft"`
}

// SocketNotFoundError says that nobody answers on the socket.
type SocketNotFoundError struct{ Path string }

func (e *SocketNotFoundError) Error() string {
	return fmt.Sprintf("cannot reach nvme-discoverd: nobody answers on %s: see systemctl status nvme-discoverd", e.Path)
}

// HungUpError says that the daemon ended the connection: it ends or restarts, has too many clients, or its client does not read.
type HungUpError struct{ message string }

func (e *HungUpError) Error() string { return e.message }

// Client is one connection. Its calls come one after the other.
type Client struct {
	path   string
	conn   net.Conn
	reader *bufio.Reader
}

// Dial connects to the socket below root. The error is a *SocketNotFoundError if the daemon does not run.
func Dial(ctx context.Context, root paths.Root) (*Client, error) {
	path := root.Socket()
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "unix", path)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return nil, &SocketNotFoundError{path}
	case err != nil:
		return nil, fmt.Errorf("cannot reach nvme-discoverd: %w", err)
	}
	return &Client{path, conn, bufio.NewReader(conn)}, nil
}

// Close ends the connection.
func (c *Client) Close() error { return c.conn.Close() }

// Status returns how the daemon does.
func (c *Client) Status(ctx context.Context) (Status, error) {
	var out Status
	err := c.call(ctx, "GetStatus", nil, &out)
	return out, err
}

// Controllers returns all controllers, or those that target names.
func (c *Client) Controllers(ctx context.Context, target string) ([]Controller, error) {
	all := []Controller{}
	err := list(ctx, c, "ListControllers", named(target), func(reply struct {
		Controller Controller `json:"controller"`
	},
	) {
		all = append(all, reply.Controller)
	})
	if target == "" && is(err, "NoSuchController") {
		err = nil
	}
	return all, err
}

// DiscoveryLogs returns the last log pages of all discovery controllers, or of those that target names.
func (c *Client) DiscoveryLogs(ctx context.Context, target string) ([]DiscoveryLog, error) {
	all := []DiscoveryLog{}
	err := list(ctx, c, "ListDiscoveryLogs", named(target), func(reply struct {
		Log DiscoveryLog `json:"log"`
	},
	) {
		all = append(all, reply.Log)
	})
	if is(err, "NoSuchLog") {
		err = nil
	}
	return all, err
}

// Metrics returns the daemon's metrics.
func (c *Client) Metrics(ctx context.Context) ([]Metric, error) {
	all := []Metric{}
	err := list(ctx, c, "ListMetrics", nil, func(reply struct {
		Metric Metric `json:"metric"`
	},
	) {
		all = append(all, reply.Metric)
	})
	return all, err
}

// is tells whether err is the error of the interface that is called kind.
func is(err error, kind string) bool {
	var answered *Error
	return errors.As(err, &answered) && answered.Kind == kind
}

// list calls a method that lists and f with each reply.
func list[T any](ctx context.Context, c *Client, method string, in any, f func(T)) error {
	defer c.closeWith(ctx)()
	err := c.send(method, in, true)
	for more := true; more && err == nil; {
		var reply T
		if more, err = c.receive(method, &reply); err == nil {
			f(reply)
		}
	}
	if ctx.Err() != nil { // which closed the connection
		return ctx.Err()
	}
	return err
}

// Control calls Start, Stop, Retry or Rescan and returns for how many controllers it was done.
func (c *Client) Control(ctx context.Context, method, target string) (int64, error) {
	var out struct {
		Count int64 `json:"count"`
	}
	err := c.call(ctx, method, named(target), &out)
	return out.Count, err
}

// Reload has the configuration read again.
func (c *Client) Reload(ctx context.Context) error { return c.call(ctx, "Reload", nil, nil) }

// Recording returns what the daemon heard and decided of late, in the format of package recording.
func (c *Client) Recording(ctx context.Context) ([]byte, error) {
	var file []byte
	err := list(ctx, c, "GetRecording", nil, func(piece struct {
		Data []byte `json:"data"` // base64, as encoding/json has it
	},
	) {
		file = append(file, piece.Data...)
	})
	return file, err
}

// Monitor calls f with a snapshot and then with each change, until f returns an error, which Monitor returns, or ctx ends.
func (c *Client) Monitor(ctx context.Context, f func(Change) error) error {
	if err := c.send("Monitor", nil, true); err != nil {
		return err
	}
	defer c.closeWith(ctx)()
	for {
		var change Change
		more, err := c.receive("Monitor", &change)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			return err
		}
		if err := f(change); err != nil {
			return err
		}
		if !more {
			return &HungUpError{"nvme-discoverd ended the monitoring"}
		}
	}
}

func (c *Client) call(ctx context.Context, method string, in, out any) error {
	defer c.closeWith(ctx)()
	err := c.send(method, in, false)
	if err == nil {
		_, err = c.receive(method, out)
	}
	if ctx.Err() != nil { // which closed the connection
		return ctx.Err()
	}
	return err
}

// closeWith closes the connection when ctx ends before the function that it returns is called.
func (c *Client) closeWith(ctx context.Context) func() bool {
	return context.AfterFunc(ctx, func() { c.conn.Close() })
}

// named are the parameters of a call with a target; "" is none.
func named(target string) any {
	if target == "" {
		return struct{}{}
	}
	return map[string]string{"target": target}
}

func (c *Client) send(method string, in any, more bool) error {
	if in == nil {
		in = struct{}{}
	}
	call, err := json.Marshal(struct {
		Method     string `json:"method"`
		Parameters any    `json:"parameters"`
		More       bool   `json:"more,omitempty"`
	}{"org.nvmexpress.discoverd." + method, in, more})
	if err != nil {
		return err
	}
	if _, err := c.conn.Write(append(call, 0)); err != nil {
		return c.hungUp(err)
	}
	return nil
}

// receive reads a reply to a call and tells whether more follow.
func (c *Client) receive(method string, out any) (more bool, err error) {
	text, err := c.reader.ReadBytes(0)
	if err != nil {
		return false, c.hungUp(err)
	}
	var reply struct {
		Parameters json.RawMessage `json:"parameters"`
		Continues  bool            `json:"continues"`
		Error      string          `json:"error"`
	}
	if err := json.Unmarshal(text[:len(text)-1], &reply); err != nil {
		return false, fmt.Errorf("cannot understand nvme-discoverd's answer: %w", err)
	}
	if reply.Error != "" {
		return false, failure(method, reply.Error, reply.Parameters)
	}
	if out != nil && reply.Parameters != nil {
		if err := json.Unmarshal(reply.Parameters, out); err != nil {
			return false, fmt.Errorf("cannot understand nvme-discoverd's answer: %w", err)
		}
	}
	return reply.Continues, nil
}

// hungUp says what the end of a connection in the middle of a call means.
func (c *Client) hungUp(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET) {
		return &HungUpError{fmt.Sprintf("nvme-discoverd hung up on %s: it ends, or has too many clients: try again", c.path)}
	}
	return fmt.Errorf("cannot talk to nvme-discoverd: %w", err)
}

// failure is the error that a call was answered with, in words, with the typed one behind it.
func failure(method, name string, parameters json.RawMessage) error {
	if name == "org.varlink.service.PermissionDenied" {
		if method = strings.ToLower(method); method == "getrecording" {
			method = "take the recording"
		}
		return &Error{"PermissionDenied", fmt.Sprintf("cannot %s: only root may", method)}
	}
	kind, ours := strings.CutPrefix(name, "org.nvmexpress.discoverd.")
	if !ours {
		return fmt.Errorf("nvme-discoverd does not understand the call (%s): is it of another version?", name)
	}
	var p struct{ Target, Reason string }
	if parameters != nil {
		_ = json.Unmarshal(parameters, &p) // an error without them is one too
	}
	switch kind {
	case "NoSuchController":
		return &Error{kind, fmt.Sprintf("cannot find a controller called %q: give a unit, nvmeN, NQN or TID that nvme-discoverctl list shows", p.Target)}
	case "NotPossible":
		return &Error{kind, p.Reason}
	case "ReloadFailed":
		return &Error{kind, p.Reason + "\nWhat this concerns is as it was when it was right, or not connected; the rest is in force."}
	case "Timeout":
		return &Error{kind, "nvme-discoverd did not answer in time: try again"}
	case "Busy":
		return &Error{kind, "nvme-discoverd is asked for too much at once: try again"}
	case "TooSlow":
		if method == "Monitor" {
			return &Error{kind, "nvme-discoverd ended the monitoring: changes were not read as fast as they came: try again"}
		}
		return &Error{kind, "nvme-discoverd ended its answer, which was not read in time: try again"}
	}
	return &Error{kind, "nvme-discoverd answered with error " + kind}
}

// Error is one that the daemon answered with.
type Error struct {
	Kind    string // its name in the interface
	message string
}

func (e *Error) Error() string { return e.message }
