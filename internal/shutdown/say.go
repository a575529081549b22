// SPDX-License-Identifier: GPL-3.0-or-later

package shutdown

import (
	"fmt"
	"io"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nvme-discoverd/nvme-discoverd/internal/paths"
)

// speaker prints lines in several places, none of which holds up another or the speaker: at a shutdown the journal may hang, on a
// dead disk, and the console too.
type speaker struct {
	places []chan saying
	ended  []chan struct{}

	mu     sync.Mutex // held to send and to close
	closed bool
}

// saying is a line to print, or a question whether what came before it is printed: printed is closed then.
type saying struct {
	line    string
	printed chan struct{}
}

// flushTime is how long flush and close wait for what was said to be printed.
const flushTime = time.Second

// newSpeaker returns one that prints on out, which leads to the journal, and on the console.
func newSpeaker(root paths.Root, out io.Writer) *speaker {
	s := &speaker{}
	s.add(func(line string) { fmt.Fprintln(out, "<4>"+line) }) // a warning: sd-daemon(3)
	s.add(func(line string) {
		// Not kept open: systemd hangs the console up now and then.
		console, err := os.OpenFile(root.Console(), os.O_WRONLY|syscall.O_NOCTTY, 0)
		if err != nil {
			return
		}
		defer console.Close()
		fmt.Fprintf(console, "nvme-discoverd: %s\r\n", line)
		// tcdrain(3): until the line is out, what the kernel prints may come in the middle of it.
		_ = unix.IoctlSetInt(int(console.Fd()), unix.TCSBRK, 1)
	})
	return s
}

func (s *speaker) add(print func(string)) {
	sayings, ended := make(chan saying, 256), make(chan struct{})
	go func() {
		defer close(ended)
		for next := range sayings {
			if next.printed != nil {
				close(next.printed)
				continue
			}
			print(next.line)
		}
	}()
	s.places, s.ended = append(s.places, sayings), append(s.ended, ended)
}

func (s *speaker) say(format string, args ...any) {
	line := fmt.Sprintf(format, args...)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	for _, place := range s.places {
		select {
		case place <- saying{line: line}:
		default: // it hangs
		}
	}
}

// flush waits until what was said so far is printed, for flushTime at most.
func (s *speaker) flush() {
	var waiting []chan struct{}
	s.mu.Lock()
	if !s.closed {
		for _, place := range s.places {
			printed := make(chan struct{})
			select {
			case place <- saying{printed: printed}:
				waiting = append(waiting, printed)
			default: // it hangs
			}
		}
	}
	s.mu.Unlock()
	waitAll(waiting)
}

func (s *speaker) close() {
	s.mu.Lock()
	s.closed = true
	for _, place := range s.places {
		close(place)
	}
	s.mu.Unlock()
	waitAll(s.ended)
}

// waitAll waits until all are closed, for flushTime at most.
func waitAll(all []chan struct{}) {
	late := time.After(flushTime)
	for _, one := range all {
		select {
		case <-one:
		case <-late:
			return
		}
	}
}
