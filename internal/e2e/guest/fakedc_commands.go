// SPDX-License-Identifier: GPL-3.0-or-later

//go:build e2e

package guest

import (
	"net"
	"sync"
)

// Opcodes of the commands that an initiator sends to a discovery controller.
const (
	opGetLogPage  = 0x02
	opIdentify    = 0x06
	opSetFeatures = 0x09
	opAsyncEvent  = 0x0c
	opKeepAlive   = 0x18
	opFabrics     = 0x7f

	fabricsPropertySet = 0x00
	fabricsConnect     = 0x01
	fabricsPropertyGet = 0x04
)

// Properties of a controller, by their offsets.
const (
	propertyCAP  = 0x00
	propertyVS   = 0x08
	propertyCC   = 0x14
	propertyCSTS = 0x1c
)

const (
	statusOK           = 0
	statusInvalidField = 2

	// logPageChanged is the event that the discovery log page has changed.
	logPageChanged = 0x70f002
)

// session is one connection of the initiator, which is its admin queue: discovery controllers have no other.
type session struct {
	dc     *FakeDC
	conn   net.Conn
	silent bool // it gets no word

	config uint32 // the property CC

	mu      sync.Mutex // guards what follows, and writes to conn
	waiting []uint16   // asynchronous event requests not answered yet
	pending bool       // an event came when no request was waiting
}

// serve answers until the connection ends.
func (s *session) serve() {
	for {
		unit, err := readPDU(s.conn)
		if err != nil {
			return
		}
		switch {
		case s.silent:
			s.dc.silence()
		case unit.kind == pduICReq:
			s.send(icResp())
		case unit.kind == pduCapsuleCmd:
			if len(unit.header) < 72 || !s.command(unit.header[8:72]) {
				return
			}
		default:
			return
		}
	}
}

// command answers one command; false ends the connection.
func (s *session) command(sqe []byte) bool {
	id := le.Uint16(sqe[2:])
	switch sqe[0] {
	case opFabrics:
		s.fabrics(id, sqe)
	case opIdentify:
		s.identify(id, sqe)
	case opGetLogPage:
		return s.getLogPage(id, sqe)
	case opAsyncEvent:
		s.await(id)
	case opKeepAlive, opSetFeatures:
		s.complete(id, 0, statusOK)
	default:
		s.complete(id, 0, statusInvalidField)
	}
	return true
}

func (s *session) fabrics(id uint16, sqe []byte) {
	switch sqe[4] {
	case fabricsConnect:
		s.complete(id, 1, statusOK) // controller 1
	case fabricsPropertySet:
		if le.Uint32(sqe[44:]) == propertyCC {
			s.config = le.Uint32(sqe[48:])
		}
		s.complete(id, 0, statusOK)
	case fabricsPropertyGet:
		s.complete(id, s.property(le.Uint32(sqe[44:])), statusOK)
	default:
		s.complete(id, 0, statusInvalidField)
	}
}

func (s *session) property(offset uint32) uint64 {
	switch offset {
	case propertyCAP:
		return 1<<37 | 15<<24 | 31 // NVM commands, 7.5 s to become ready, 32 queue entries
	case propertyVS:
		return 0x10400
	case propertyCC:
		return uint64(s.config)
	case propertyCSTS:
		ready := uint64(s.config & 1)
		if s.config>>14&3 != 0 {
			ready |= 2 << 2 // shut down
		}
		return ready
	}
	return 0
}

func (s *session) identify(id uint16, sqe []byte) {
	if sqe[40] != 1 { // anything but the controller itself
		s.complete(id, 0, statusInvalidField)
		return
	}
	data := make([]byte, 4096)
	copy(data[4:], "fake                ")
	copy(data[24:], "discovery controller                    ")
	copy(data[64:], "1       ")
	le.PutUint16(data[78:], 1)       // controller 1
	le.PutUint32(data[80:], 0x10400) // version
	le.PutUint32(data[92:], 1<<31)   // tells of changes of the log page
	data[111] = 2                    // discovery controller
	data[259] = 3                    // asynchronous event requests, less one
	data[261] = 1 << 2               // log pages can be read from an offset
	le.PutUint16(data[320:], 10)     // keep-alive in units of 100 ms
	data[512], data[513] = 0x66, 0x44
	le.PutUint16(data[514:], 32)      // commands at a time
	le.PutUint32(data[536:], 1<<20|1) // scatter-gather lists
	copy(data[768:], s.dc.name())
	le.PutUint32(data[1792:], 4) // capsule sizes
	le.PutUint32(data[1796:], 1)
	data[1803] = 1
	s.answer(id, data)
}

func (s *session) getLogPage(id uint16, sqe []byte) bool {
	const discovery = 0x70
	length := (int(le.Uint16(sqe[42:]))|int(le.Uint16(sqe[44:]))<<16)*4 + 4
	offset := le.Uint64(sqe[48:])
	if sqe[40] != discovery {
		s.complete(id, 0, statusInvalidField)
		return true
	}
	page := s.dc.logPage()
	beyond := offset+uint64(length) > 1024
	if page.FromStart {
		offset = 0
	}
	switch {
	case page.Mute:
	case beyond && page.Hangup:
		return false
	case beyond && page.Torn:
		s.complete(id, 0, statusInvalidField)
	default:
		s.answer(id, page.part(offset, length))
	}
	return true
}

// await keeps an asynchronous event request until there is an event.
func (s *session) await(id uint16) {
	s.mu.Lock()
	s.waiting = append(s.waiting, id)
	pending := s.pending
	s.mu.Unlock()
	if pending {
		s.notify()
	}
}

// notify tells that the log page has changed.
func (s *session) notify() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pending = len(s.waiting) == 0
	if s.pending {
		return
	}
	id := s.waiting[0]
	s.waiting = s.waiting[1:]
	_, _ = s.conn.Write(capsuleResp(id, logPageChanged, statusOK))
}

func (s *session) complete(id uint16, result uint64, status uint16) {
	s.send(capsuleResp(id, result, status))
}

func (s *session) answer(id uint16, data []byte) {
	s.send(c2hData(id, data))
	s.complete(id, 0, statusOK)
}

func (s *session) send(unit []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, _ = s.conn.Write(unit) // a peer that is gone shows at the next read
}
