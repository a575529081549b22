// SPDX-License-Identifier: GPL-3.0-or-later

// Package machine makes and boots the computer that the end-to-end scenarios run in.
//
// What takes long to make is made once and kept under the user's cache directory, named by a hash of all that goes into
// it: a Debian root file system as an ext4 image with its kernel beside it, and a QEMU where the host's own is too old.
// A run never writes to it: the image is opened as a snapshot, and what is to be tested comes in on a second drive.
package machine
