// SPDX-License-Identifier: GPL-3.0-or-later

package fabrics

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/nvme-discoverd/nvme-discoverd/internal/paths"
)

func TestParseReply(t *testing.T) {
	for _, test := range []struct {
		reply string
		want  Result
		err   string
	}{
		{reply: "instance=0,cntlid=1\n", want: Result{Device: "nvme0", CntlID: 1}},
		{reply: "instance=1234,cntlid=65535\n", want: Result{Device: "nvme1234", CntlID: 65535}},
		{reply: "instance=1,cntlid=65536\n", err: `cannot understand "instance=1,cntlid=65536\n", the kernel's answer to a connect: it should read instance=N,cntlid=M`},
		{reply: "instance=1,cntlid=1", err: `cannot understand "instance=1,cntlid=1", the kernel's answer to a connect: it should read instance=N,cntlid=M`},
		{reply: "instance=../1,cntlid=1\n", err: `cannot understand "instance=../1,cntlid=1\n", the kernel's answer to a connect: it should read instance=N,cntlid=M`},
		{reply: "", err: `cannot understand "", the kernel's answer to a connect: it should read instance=N,cntlid=M`},
		{reply: template, err: `cannot understand "instance=-1,cntlid=-1,transport=%s,traddr=%s,trsvcid=%s,nqn=%s,queue_size=%d,nr_", the kernel's answer to a connect: it should read instance=N,cntlid=M`},
	} {
		got, err := parseReply([]byte(test.reply))
		if diff := cmp.Diff(test.err, message(err)); diff != "" {
			t.Errorf("%q: error (-want +got):\n%s", test.reply, diff)
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%q (-want +got):\n%s", test.reply, diff)
		}
	}
}

// FuzzParseReply: what is accepted is a device name and a controller ID, and nothing else.
func FuzzParseReply(f *testing.F) {
	for _, s := range []string{"instance=3,cntlid=1\n", template, "instance=+3,cntlid=1\n", "instance=3,cntlid=1,\n", ""} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := parseReply(b)
		if err != nil {
			return
		}
		if err := paths.CheckDevice(r.Device); err != nil || r.CntlID < 0 || r.CntlID > 65535 {
			t.Errorf("%q gave %+v", b, r)
		}
		if again, err := parseReply(fmt.Appendf(nil, "instance=%s,cntlid=%d\n", r.Device[4:], r.CntlID)); err != nil || again.Device != r.Device {
			t.Errorf("%q gave %+v, which reads back as %+v, %v", b, r, again, err)
		}
	})
}
