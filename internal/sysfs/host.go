// SPDX-License-Identifier: GPL-3.0-or-later

package sysfs

// Host is the identity that one controller was connected with.
type Host struct{ Name, NQN, ID string }

// Hosts returns the identities of the fabrics controllers in the order of their numbers. It reads nothing that waits for a
// controller. One that is gone, or that does not tell, is left out.
func (r Reader) Hosts() ([]Host, error) {
	all, names, err := r.all()
	if err != nil || len(names) == 0 {
		return nil, err
	}
	defer all.close()
	var hosts []Host
	for _, name := range names {
		nqn, errNQN := all.of(name, "hostnqn")
		id, errID := all.of(name, "hostid")
		if errNQN == nil && errID == nil && nqn != "" && id != "" {
			hosts = append(hosts, Host{name, nqn, id})
		}
	}
	return hosts, nil
}
