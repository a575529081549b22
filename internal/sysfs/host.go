package sysfs

// Host is the identity that one controller was connected with.
type Host struct{ Name, NQN, ID string }

// Hosts returns the identities of the fabrics controllers in the order of their numbers. It reads nothing that waits for a
// controller. One that is gone, or that does not tell, is left out.
func (r Reader) Hosts() ([]Host, error) {
	names, err := r.Names()
	if err != nil {
		return nil, err
	}
	var hosts []Host
	for _, name := range names {
		nqn, errNQN := r.attribute(name, "hostnqn")
		id, errID := r.attribute(name, "hostid")
		if errNQN == nil && errID == nil && nqn != "" && id != "" {
			hosts = append(hosts, Host{name, nqn, id})
		}
	}
	return hosts, nil
}
