// SPDX-License-Identifier: GPL-3.0-or-later

package journal

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	slogjournal "github.com/systemd/slog-journal"
)

const (
	queueLength = 4096            // lines that wait for the journal; the next ones are dropped and counted
	flushTime   = 2 * time.Second // how long Close waits for it
)

// Native is a slog.Handler that sends records to the journal in its own protocol (systemd.io/JOURNAL_NATIVE_PROTOCOL), for
// only that one carries fields: attributes in upper case, such as those of Fields, become fields, all others end the message
// as key=value.
//
// Who logs never waits. A journal that hangs or is being restarted holds up a goroutine and no more: lines wait for it in a
// queue, and those that find it full are dropped and counted in a line that follows when there is room again.
type Native struct {
	level  slog.Leveler
	queue  *queue
	text   string
	fields []slog.Attr
}

// queue is what handlers that were made from one another share.
type queue struct {
	sink    slog.Handler
	records chan slog.Record
	dropped atomic.Int64
	closing chan struct{}
	done    chan struct{}
}

// Connect returns a handler for records of at least this level. It has to be closed.
func Connect(level slog.Leveler) (*Native, error) {
	sink, err := slogjournal.NewHandler(nil)
	if err != nil {
		return nil, fmt.Errorf("cannot make a socket for the journal: %v", err)
	}
	return newNative(level, sink, queueLength), nil
}

func newNative(level slog.Leveler, sink slog.Handler, length int) *Native {
	q := &queue{sink: sink, records: make(chan slog.Record, length), closing: make(chan struct{}), done: make(chan struct{})}
	go q.run()
	return &Native{level: level, queue: q}
}

// Close sends what waits, unless the journal hangs, and ends the handler.
func (n *Native) Close() {
	close(n.queue.closing)
	select {
	case <-n.queue.done:
	case <-time.After(flushTime):
	}
}

// Enabled tells whether records of a level are sent.
func (n *Native) Enabled(_ context.Context, level slog.Level) bool { return level >= n.level.Level() }

// Handle queues a record. It never waits and returns nil. Control characters do not get through.
func (n *Native) Handle(_ context.Context, r slog.Record) error {
	text, fields := split(r)
	line := slog.NewRecord(r.Time, r.Level, oneLine(r.Message)+n.text+text, r.PC)
	line.AddAttrs(n.fields...)
	line.AddAttrs(fields...)
	select {
	case n.queue.records <- line:
	default:
		n.queue.dropped.Add(1)
	}
	return nil
}

// WithAttrs returns a handler that adds attributes to every record.
func (n *Native) WithAttrs(attrs []slog.Attr) slog.Handler {
	with := *n
	text, fields := sort(attrs)
	with.text += text
	with.fields = append(append([]slog.Attr{}, n.fields...), fields...)
	return &with
}

// WithGroup returns n: no line of ours has groups.
func (n *Native) WithGroup(string) slog.Handler { return n }

func (q *queue) run() {
	defer close(q.done)
	for {
		select {
		case r := <-q.records:
			q.send(r)
		case <-q.closing:
			for len(q.records) > 0 {
				q.send(<-q.records)
			}
			return
		}
	}
}

// send sends a record and, once none waits behind it, how many were dropped.
func (q *queue) send(r slog.Record) {
	if err := q.sink.Handle(context.Background(), r); err != nil {
		q.dropped.Add(1)
		return
	}
	n := q.dropped.Load()
	if n == 0 || len(q.records) > 0 {
		return
	}
	notice := slog.NewRecord(time.Now(), slog.LevelWarn, fmt.Sprintf("%d lines dropped: the journal did not take them", n), 0)
	notice.AddAttrs(slog.String(messageID, droppedID))
	if err := q.sink.Handle(context.Background(), notice); err == nil {
		q.dropped.Add(-n)
	}
}
