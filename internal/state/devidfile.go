// SPDX-License-Identifier: GPL-3.0-or-later

package state

// DevidFile returns the path of the file that holds the device of unit: the value of --devid-file= on the unit's command
// line.
func (d Dir) DevidFile(unit string) (string, error) {
	if err := checkUnit(unit); err != nil {
		return "", err
	}
	return d.devidPath(unit), nil
}
