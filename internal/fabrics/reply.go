// SPDX-License-Identifier: GPL-3.0-or-later

package fabrics

import (
	"fmt"
	"strconv"
	"strings"
)

// parseReply reads the line that the device gives after a good write: "instance=N,cntlid=M". The template that it gives
// otherwise says instance=-1 and is refused like everything else.
func parseReply(reply []byte) (Result, error) {
	line, terminated := strings.CutSuffix(string(reply), "\n")
	instance, cntlid, two := strings.Cut(line, ",")
	instance, isInstance := strings.CutPrefix(instance, "instance=")
	cntlid, isCntlid := strings.CutPrefix(cntlid, "cntlid=")
	n, err := strconv.ParseUint(instance, 10, 31)
	id, err2 := strconv.ParseUint(cntlid, 10, 16)
	if !terminated || !two || !isInstance || !isCntlid || err != nil || err2 != nil {
		return Result{}, fmt.Errorf("cannot understand %.80q, the kernel's answer to a connect: it should read instance=N,cntlid=M", reply)
	}
	return Result{Device: "nvme" + strconv.FormatUint(n, 10), CntlID: int(id)}, nil
}
