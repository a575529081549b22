#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# Wait until every controller that should be connected is, and say which are not meanwhile. It needs varlinkctl (systemd) and jq.
# The same by nvme-discoverctl: nvme-discoverctl wait.
set -eu
socket=${1:-/run/nvme/discoverd.socket}

vl() {
	varlinkctl --json=short "$@" | tr -d '\036'
}

until vl call "$socket" org.nvmexpress.discoverd.GetStatus '{}' |
	jq -e '.ready and .counts.connected == .counts.wanted and .counts.unread == 0' >/dev/null; do
	vl --more call "$socket" org.nvmexpress.discoverd.ListControllers '{}' |
		jq -r '.controller | select(.retainUntil | not)
			| if .state == "connected" and .kind == "discovery" and (.logRead | not) then .state = "log page not read yet" else . end
			| select(IN(.state; "connected", "excluded", "foreign", "stopped", "parked") | not)
			| [.state, .nqn, .traddr, .lastError // ""] | @tsv'
	sleep 2
done
echo "all connected"
