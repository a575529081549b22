// SPDX-License-Identifier: GPL-3.0-or-later

package unit

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/godbus/dbus/v5"
)

// A short-lived service gets the credential as nvme-discoverd.service names it itself, and else from where systemd keeps credentials.
func TestFetchCredential(t *testing.T) {
	type pairs = []loadedCredential
	for _, test := range []struct {
		name       string
		properties map[string]any // of nvme-discoverd.service
		encrypted  bool
		old        bool // a systemd before 254
		want       property
	}{
		{"wherever it is kept", nil, true, false, property{"ImportCredential", dbus.MakeVariant([]string{"nvme.a"})}},
		{"plain", nil, false, true, property{"LoadCredential", dbus.MakeVariant(pairs{{"nvme.a", "nvme.a"}})}},
		{"encrypted", nil, true, true, property{"LoadCredentialEncrypted", dbus.MakeVariant(pairs{{"nvme.a", "nvme.a"}})}},
		{"by its own path", map[string]any{"LoadCredential": pairs{{"nvme.b", "/b"}, {"nvme.a", "/a"}}}, true, false, property{"LoadCredential", dbus.MakeVariant(pairs{{"nvme.a", "/a"}})}},
		{"listed by the generator", map[string]any{"LoadCredential": pairs{{"nvme.a", "nvme.a"}}}, true, true, property{"LoadCredentialEncrypted", dbus.MakeVariant(pairs{{"nvme.a", "nvme.a"}})}},
		{
			"in the unit",
			map[string]any{"SetCredentialEncrypted": []setCredential{{"nvme.a", []byte("sealed")}}},
			false, false,
			property{"SetCredentialEncrypted", dbus.MakeVariant([]setCredential{{"nvme.a", []byte("sealed")}})},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			var props []property
			answer := func(_ context.Context, method string, args []any) ([]any, error) {
				switch method {
				case "org.freedesktop.DBus.Properties.Get":
					if value, ok := test.properties[args[1].(string)]; ok {
						return []any{dbus.MakeVariant(value)}, nil
					}
					if slices.Contains([]string{"SetCredential", "SetCredentialEncrypted"}, args[1].(string)) {
						return []any{dbus.MakeVariant([]setCredential{})}, nil
					}
					return []any{dbus.MakeVariant(pairs{})}, nil
				case managerInterface + ".StartTransientUnit":
					props = args[2].([]property)
					if test.old && props[len(props)-1].Name == "ImportCredential" {
						return nil, dbus.Error{Name: "org.freedesktop.DBus.Error.PropertyReadOnly"}
					}
					return nil, dbus.Error{Name: "org.freedesktop.systemd1.UnitExists"} // an answer
				}
				return nil, nil
			}
			dial := func(context.Context) (bus, error) {
				b := newScriptedBus()
				b.answer = answer
				return b, nil
			}
			runScripted(t, dial, slog.New(slog.DiscardHandler), func(t *testing.T, m *Manager, _ *[]string) {
				synctest.Wait()
				got := m.FetchCredential(t.Context(), CredentialFetch{Unit: "x.service", Credential: "nvme.a", Encrypted: test.encrypted, Command: []string{"/ctl", "credential", "nvme.a"}})
				if got.Outcome != Exists {
					t.Errorf("%v, %v", got.Outcome, got.Err)
				}
			})
			if len(props) == 0 || fmt.Sprint(props[len(props)-1]) != fmt.Sprint(test.want) {
				t.Errorf("properties %v, want last %v", props, test.want)
			}
		})
	}
}
