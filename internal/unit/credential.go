// SPDX-License-Identifier: GPL-3.0-or-later

package unit

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/godbus/dbus/v5"
)

// CredentialFetch describes a short-lived service, to which systemd gives one credential of nvme-discoverd.service as that would be
// given it if it were started now. systemd itself renews credentials of a running service from version 260 on, and only if asked to
// reload it.
type CredentialFetch struct {
	Unit       string   // name of the service
	Credential string   // name of the credential
	Encrypted  bool     // it is kept encrypted, which a systemd before 254 does not find out; unless nvme-discoverd.service says where it is
	Command    []string // that takes the credential
}

// fetchTimeout bounds a fetch: a TPM may take seconds.
const fetchTimeout = 30 * time.Second

// servicePath is the object of nvme-discoverd.service (org.freedesktop.systemd1(5)).
const servicePath dbus.ObjectPath = "/org/freedesktop/systemd1/unit/nvme_2ddiscoverd_2eservice"

// loadedCredential and setCredential are the elements of the a(ss) and a(say) of LoadCredential and SetCredential, and their likes.
type (
	loadedCredential struct{ ID, Path string }
	setCredential    struct {
		ID   string
		Data []byte
	}
)

// FetchCredential runs the command with the credential and waits for its end. That there is no credential is up to the command.
func (m *Manager) FetchCredential(ctx context.Context, fetch CredentialFetch) Result {
	// TimeoutStartUSec does not count while the job waits for others, as during boot.
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout+5*time.Second)
	defer cancel()
	s, err := m.session()
	if err != nil {
		return Result{Lost, fmt.Errorf("cannot have systemd read credential %s: %w", fetch.Credential, err)}
	}
	props := []property{
		{"Description", dbus.MakeVariant("Credential " + fetch.Credential + " of nvme-discoverd")},
		{"Type", dbus.MakeVariant("oneshot")},
		{"CollectMode", dbus.MakeVariant("inactive-or-failed")},
		{"ExecStart", dbus.MakeVariant([]plainCommand{{fetch.Command[0], fetch.Command, false}})},
		{"NoNewPrivileges", dbus.MakeVariant(true)},
		{"CapabilityBoundingSet", dbus.MakeVariant(uint64(0))},
		{"LimitCORE", dbus.MakeVariant(uint64(0))},
		{"TimeoutStartUSec", dbus.MakeVariant(usec(fetchTimeout))},
	}
	own, err := s.ownCredential(ctx, fetch.Credential)
	if err != nil {
		return Result{Lost, err}
	}
	type auxiliary struct {
		Name       string
		Properties []property
	}
	start := func(source *property) Result {
		return s.job(ctx, fetch.Unit, "StartTransientUnit", fetch.Unit, "replace", append(props, *source), []auxiliary{})
	}
	if own != nil {
		return start(own)
	}
	result := start(newProperty("ImportCredential", []string{fetch.Credential}))
	var refusal dbus.Error
	if result.Outcome != Error || !errors.As(result.Err, &refusal) || refusal.Name != unknownProperty {
		return result
	}
	name := "LoadCredential"
	if fetch.Encrypted {
		name = "LoadCredentialEncrypted"
	}
	return start(newProperty(name, []loadedCredential{{fetch.Credential, fetch.Credential}}))
}

// unknownProperty is how systemd refuses a property that it does not know.
const unknownProperty = "org.freedesktop.DBus.Error.PropertyReadOnly"

// ownCredential returns the property by which nvme-discoverd.service names a credential itself, nil if it does not: by what an
// administrator added to it, or the generator on a systemd before ImportCredential=.
func (s *session) ownCredential(ctx context.Context, name string) (*property, error) {
	const service = "org.freedesktop.systemd1.Service"
	for _, property := range []string{"LoadCredential", "LoadCredentialEncrypted"} {
		var list []loadedCredential
		if err := s.property(ctx, servicePath, service, property, &list); err != nil {
			return nil, err
		}
		list = slices.DeleteFunc(list, func(c loadedCredential) bool { return c.ID != name || !strings.HasPrefix(c.Path, "/") })
		if len(list) > 0 {
			return newProperty(property, list), nil
		}
	}
	for _, property := range []string{"SetCredential", "SetCredentialEncrypted"} {
		var list []setCredential
		if err := s.property(ctx, servicePath, service, property, &list); err != nil {
			return nil, err
		}
		list = slices.DeleteFunc(list, func(c setCredential) bool { return c.ID != name })
		if len(list) > 0 {
			return newProperty(property, list), nil
		}
	}
	return nil, nil
}

func newProperty(name string, value any) *property {
	return &property{name, dbus.MakeVariant(value)}
}
