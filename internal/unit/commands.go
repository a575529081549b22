// SPDX-License-Identifier: GPL-3.0-or-later

package unit

// commands are the ExecStart= of the units of connections, each of which takes a round trip to read. What is known is
// forgotten with whatever may change it: a unit gets another command only by a job, as a transient unit comes with one, or when
// systemd loads its files again (a drop-in).
//
// All methods belong to the session's goroutine, which takes systemd's signals in: what came before the answer to a call
// has been seen when the call is answered and a function is run there.
type commands struct {
	known   map[string][]string // by unit; none is empty
	reading map[string]*int     // by unit: the read whose answer is still worth knowing
	deaf    bool                // systemd does not tell of its jobs: nothing is known for longer than a moment
}

func newCommands() *commands {
	return &commands{known: map[string][]string{}, reading: map[string]*int{}}
}

// begin returns the command of a unit if it is known; else the unit's command is about to be read, and what is read
// goes to learned with the token.
func (c *commands) begin(unit string) (argv []string, token *int) {
	if argv := c.known[unit]; argv != nil {
		return argv, nil
	}
	token = new(int)
	if !c.deaf {
		c.reading[unit] = token
	}
	return nil, token
}

// learned takes in what a read gave, nil for nothing.
func (c *commands) learned(unit string, argv []string, token *int) {
	if c.reading[unit] != token {
		return // out of date
	}
	delete(c.reading, unit)
	if len(argv) > 0 {
		c.known[unit] = argv
	}
}

// forget forgets what is known of a unit, and what is just being read.
func (c *commands) forget(unit string) {
	delete(c.known, unit)
	delete(c.reading, unit)
}

// hear says whether systemd tells of its jobs from now on, and forgets every unit: jobs may have gone by unheard.
func (c *commands) hear(told bool) {
	c.deaf = !told
	c.forgetAll()
}

// forgetAll forgets every unit.
func (c *commands) forgetAll() {
	clear(c.known)
	clear(c.reading)
}

// keep forgets the units that are not among those listed.
func (c *commands) keep(all []listed) {
	there := make(map[string]bool, len(all))
	for _, u := range all {
		there[u.Name] = true
	}
	for unit := range c.known {
		if !there[unit] {
			delete(c.known, unit)
		}
	}
}
