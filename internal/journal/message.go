// SPDX-License-Identifier: GPL-3.0-or-later

package journal

import (
	"log/slog"

	"github.com/nvme-discoverd/nvme-discoverd/internal/core"
	"github.com/nvme-discoverd/nvme-discoverd/internal/tid"
)

// messageID is the journal's field by which the catalog finds its explanation (systemd.journal-fields(7)).
const messageID = "MESSAGE_ID"

// messageIDs are 128 random bits a kind, made once. Filters of administrators contain them: they never change, and
// systemd/nvme-discoverd.catalog explains each.
var messageIDs = [core.Kinds]string{
	core.KindConnected:          "7727285eae194c969ddf8ba802717ef9",
	core.KindAdopted:            "68b2fb7d3dbf45bf9a486d94e11e8140",
	core.KindLost:               "7ccdb68369654980a0ac36d827a2dad0",
	core.KindShortLived:         "8dfede1d06604c49ae18e1869b279609",
	core.KindCannotConnect:      "80dfd4465e5d41b586897f4815ffbcae",
	core.KindStillCannotConnect: "d6c6420ac59a44089f3e6a412407e58d",
	core.KindUnresolved:         "d0a29fcddb4848978181326ee1dadb64",
	core.KindUnwanted:           "2e47026e9b0a43dc802652cab67255af",
	core.KindExcluded:           "96052a5d15784f33ac8b76f6e4786330",
	core.KindReadmitted:         "582eee578a4b4ea389f3399037794c2f",
	core.KindForeign:            "af042163219347af8a7062692784167a",
	core.KindForeignLost:        "8bdbc91ba96547edb3aa671b1ed5a796",
	core.KindStopped:            "736fae9f37784349acf13b606a2e5ee2",
	core.KindStopFailed:         "c411843ce7434d15bfa02713ce7c800b",
	core.KindParked:             "70be0a6bd0374662abaf9ad8925ee433",
	core.KindCollision:          "e9ab332c11704a77a3aa5f75aa7f6380",
	core.KindClaimed:            "14483bcc80dd4c0fa3347c0ca2722fe4",
	core.KindMistaken:           "ec86f90eafe94de79b5571f2807a5d52",
	core.KindSourceGone:         "108e50faead94bb499aaf9cc708b8cbf",
	core.KindRedundant:          "d2efb41ef61d4f1581fdca5c06d16600",
	core.KindLogPageRead:        "f1153541af6f425586967985dfbd9d66",
	core.KindLogPageFlawed:      "c3cb62d320df40f782bd901a89ca5fa7",
	core.KindLogPageUnreadable:  "f304aa2fbd8546258887385a660f1d57",
	core.KindConfigLoaded:       "79f07a507b8242da80e5c9e6411ae586",
	core.KindConfigRefused:      "48e900a5b6d04fa2aab0ad3dede8e416",
	core.KindConfigWarning:      "ab6a8123511445bd89ad57a2d9373452",
	core.KindEventsLost:         "f28e997f8d1048aeb87ca15d9b7937df",
	core.KindCompareFailed:      "1f21b22c55464e72a865a92ae1a7f4c2",
	core.KindBusLost:            "341f45e571e044a98770175dc8e82f02",
	core.KindBusBack:            "e0e295511d274ffe935186feb3cd519f",
	core.KindShutdown:           "8367e31ad8be4fdcbf68b354386959ac",
	core.KindShutdownOff:        "ad43ad6f93304a678ed66a6c4d8d75aa",
	core.KindKicked:             "1fab38c70c7b4f21aca60d76b0e32c84",
	core.KindOwnerRestored:      "f4ef2ac73e8e42a9b26d29f39b66b12c",
	core.KindReconnecting:       "608c693815fc11caa1c04f88bd3f9b97",
	core.KindReconnected:        "a46b0ef41d8e49d6f21de4a2f050f007",
}

// droppedID is the message ID of the line that tells how many others were dropped.
const droppedID = "e556802e840b42f6935240ff64a136e0"

// Fields returns what the journal is told about a line beside its text: its message ID, and what About says.
func Fields(line core.Log) []slog.Attr {
	fields := About(line.Unit, line.Device, line.TID)
	if id := messageIDs[line.Kind]; id != "" {
		fields = append(fields, slog.String(messageID, id))
	}
	return fields
}

// About returns fields that name what a line is about, such as NVME_NQN. Those that would be empty are left out.
func About(unit, device string, t tid.TID) []slog.Attr {
	var fields []slog.Attr
	for _, f := range []struct{ key, value string }{
		{"NVME_UNIT", unit},
		{"NVME_DEVICE", device},
		{"NVME_NQN", t.NQN},
		{"NVME_TRANSPORT", t.Transport},
		{"NVME_TRADDR", t.Traddr},
		{"NVME_TRSVCID", t.Trsvcid},
		{"NVME_HOST_TRADDR", t.HostTraddr},
		{"NVME_HOST_IFACE", t.HostIface},
	} {
		if f.value != "" {
			fields = append(fields, slog.String(f.key, f.value))
		}
	}
	return fields
}
