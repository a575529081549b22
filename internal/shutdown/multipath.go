// SPDX-License-Identifier: GPL-3.0-or-later

package shutdown

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/nvme-discoverd/nvme-discoverd/internal/paths"
)

// multipathMaps returns the devices of dm-multipath that have the given namespaces as paths.
func multipathMaps(root paths.Root, namespaces []string) []string {
	var found []string
	for _, namespace := range namespaces {
		holders, _ := os.ReadDir(filepath.Join(root.SysClassBlock(namespace), "holders"))
		for _, h := range holders {
			if isMap(root, h.Name()) {
				found = append(found, h.Name())
			}
		}
	}
	return found
}

// isMap tells a device of dm-multipath by the UUID that multipathd gives it.
func isMap(root paths.Root, device string) bool {
	return strings.HasPrefix(word(filepath.Join(root.SysClassBlock(device), "dm"), "uuid"), "mpath-")
}

// pathless reports whether none of a map's paths can carry anything: all were given up, or are of controllers that are not live. A
// path that is not over fabrics counts as one that can.
func pathless(root paths.Root, device string, live func(namespace string) (known, live bool)) bool {
	slaves, err := os.ReadDir(filepath.Join(root.SysClassBlock(device), "slaves"))
	if err != nil {
		return false // it is gone
	}
	for _, s := range slaves {
		if known, live := live(s.Name()); !known || live {
			return false
		}
	}
	return true
}

// failWithoutPaths tells dm-multipath to fail what it holds back for want of a path (queue_if_no_path), as multipathd does after
// no_path_retry. The deletion of the paths alone does not: it would hold everything back for paths to come.
func failWithoutPaths(root paths.Root, device string) error {
	control, err := os.OpenFile(root.DeviceMapper(), os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("cannot tell device mapper about %s: %w", device, err)
	}
	defer control.Close()
	major, minor, ok := strings.Cut(word(root.SysClassBlock(device), "dev"), ":")
	maj, errMajor := strconv.ParseUint(major, 10, 12)
	mnr, errMinor := strconv.ParseUint(minor, 10, 20)
	if !ok || errMajor != nil || errMinor != nil {
		return nil // it is gone
	}
	request := targetMessage(maj, mnr, "fail_if_no_path")
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, control.Fd(), dmTargetMessage, uintptr(unsafe.Pointer(&request[0])))
	runtime.KeepAlive(request)
	if errno != 0 && errno != unix.ENXIO {
		return fmt.Errorf("cannot tell device mapper to fail what waits for a path of %s: %w", device, errno)
	}
	return nil
}

// include/uapi/linux/dm-ioctl.h
const (
	dmTargetMessage = 0xc138fd0e // DM_TARGET_MSG: _IOWR(0xfd, 14, struct dm_ioctl)
	dmHeader        = 312        // sizeof(struct dm_ioctl)
)

// targetMessage is struct dm_ioctl, naming a device by its number, with a struct dm_target_msg for sector 0 behind it.
func targetMessage(major, minor uint64, message string) []byte {
	request := make([]byte, dmHeader+8+len(message)+1)
	order := binary.NativeEndian
	order.PutUint32(request[0:], 4) // the interface's version 4.0.0
	order.PutUint32(request[12:], uint32(len(request)))
	order.PutUint32(request[16:], dmHeader)                              // where the message begins
	order.PutUint64(request[40:], minor&0xff|major<<8|(minor&^0xff)<<12) // huge_encode_dev in include/linux/kdev_t.h
	copy(request[dmHeader+8:], message)
	return request
}
