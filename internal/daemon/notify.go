package daemon

import (
	"context"
	"log/slog"
	"time"

	sd "github.com/coreos/go-systemd/v22/daemon"
)

// notifier tells the service manager how the daemon does (sd_notify(3)). The socket can block, so a goroutine of its own
// writes to it and the loop only leaves messages.
type notifier struct {
	log      *slog.Logger
	messages chan string
	isReady  bool // told READY=1 once; the loop's own
}

func newNotifier(log *slog.Logger) *notifier {
	return &notifier{log: log, messages: make(chan string, 64)}
}

func (n *notifier) run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case msg := <-n.messages:
			n.send(msg)
		}
	}
}

func (n *notifier) send(msg string) {
	if _, err := sd.SdNotify(false, msg); err != nil {
		n.log.Warn("cannot notify the service manager: " + err.Error())
	}
}

// post leaves a message. When the service manager does not read, the newest ones are dropped: the state comes again.
func (n *notifier) post(msg string) {
	select {
	case n.messages <- msg:
	default:
	}
}

func (n *notifier) status(text string) { n.post("STATUS=" + text) }
func (n *notifier) alive()             { n.post(sd.SdNotifyWatchdog) }

// ready tells once that start-up is over.
func (n *notifier) ready() {
	n.isReady = true
	n.post(sd.SdNotifyReady)
}

// reloading must carry the time: a notify-reload service that leaves it out is never seen as reloaded (FACTS). It is sent
// at once, before the configuration is read.
func (n *notifier) reloading() { n.post(sd.SdNotifyReloading + "\n" + sd.SdNotifyMonotonicUsec()) }

// reloaded ends a reload, whatever came of it.
func (n *notifier) reloaded() {
	if n.isReady {
		n.post(sd.SdNotifyReady)
	}
}

func (n *notifier) stopping() { n.send(sd.SdNotifyStopping) }

// watchdog ticks as often as the service manager wants to hear that the loop runs: twice as often, to be safe. Without a
// watchdog it never ticks.
func (n *notifier) watchdog() <-chan time.Time {
	interval, err := sd.SdWatchdogEnabled(false)
	if err != nil || interval <= 0 {
		return nil
	}
	return time.Tick(interval / 2)
}
