// SPDX-License-Identifier: GPL-3.0-or-later

package probe

import (
	"encoding/binary"
	"fmt"
	"io"
)

// PDU types of the NVMe TCP Transport Specification 1.0, section 3.6.1.
const (
	icReq       = 0x00
	icResp      = 0x01
	c2hTermReq  = 0x03
	icPDULength = 128
)

// initialize sends an ICReq and waits for the ICResp (NVMe TCP Transport Specification, section 3.6.2.2 and 3.6.2.3).
func initialize(conn io.ReadWriter) error {
	// PDU format version, alignment, digests and MAXR2T are all zero: version 1.0, no padding, no digests, one R2T.
	request := make([]byte, icPDULength)
	request[0] = icReq
	request[2] = icPDULength // HLEN
	binary.LittleEndian.PutUint32(request[4:], icPDULength)
	if _, err := conn.Write(request); err != nil {
		return err
	}
	// The common header first: a peer that speaks something else may say less than 128 bytes.
	response := make([]byte, icPDULength)
	if _, err := io.ReadFull(conn, response[:8]); err != nil {
		return closedEarly(err)
	}
	if err := checkHeader(response[:8]); err != nil {
		return err
	}
	if _, err := io.ReadFull(conn, response[8:]); err != nil {
		return closedEarly(err)
	}
	if version := binary.LittleEndian.Uint16(response[8:]); version != 0 {
		return fmt.Errorf("it speaks PDU format version %d, not 0", version)
	}
	return nil
}

// checkHeader checks the common header of the answer.
func checkHeader(h []byte) error {
	length := binary.LittleEndian.Uint32(h[4:])
	switch {
	case h[0] == c2hTermReq:
		return fmt.Errorf("it refused the connection (C2HTermReq)")
	case h[0] != icResp || h[2] != icPDULength || length != icPDULength:
		return fmt.Errorf("it answered %x, which is not NVMe/TCP: is the port right", h)
	}
	return nil
}

// closedEarly words the end of the stream for a person.
func closedEarly(err error) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return fmt.Errorf("it hung up before it answered")
	}
	return err
}
