package shutdown

import (
	"fmt"
	"io"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/nvme-discoverd/nvme-discoverd/internal/paths"
)

// speaker prints lines in several places, none of which holds up another or the speaker: at a shutdown the journal may hang, on a
// dead disk, and the console too.
type speaker struct {
	places []chan string
	ended  []chan struct{}

	mu     sync.Mutex // held to send and to close
	closed bool
}

// flushTime is how long close waits for what was said to be printed.
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
	})
	return s
}

func (s *speaker) add(print func(string)) {
	lines, ended := make(chan string, 256), make(chan struct{})
	go func() {
		defer close(ended)
		for line := range lines {
			print(line)
		}
	}()
	s.places, s.ended = append(s.places, lines), append(s.ended, ended)
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
		case place <- line:
		default: // it hangs
		}
	}
}

func (s *speaker) close() {
	s.mu.Lock()
	s.closed = true
	for _, place := range s.places {
		close(place)
	}
	s.mu.Unlock()
	late := time.After(flushTime)
	for _, ended := range s.ended {
		select {
		case <-ended:
		case <-late:
			return
		}
	}
}
