#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Talk to nvme-discoverd over varlink with Python's standard library alone.

As a program it prints the controllers that are not connected though they should be, follows them, and ends when all are.
python3-varlink does the same as Client.call and Client.more do.
"""

import json
import socket
import sys

SOCKET = "/run/nvme/discoverd.socket"
INTERFACE = "org.nvmexpress.discoverd"


class Error(Exception):
    """An error that the service answered with: its name, such as org.nvmexpress.discoverd.NoSuchController, and its parameters."""

    def __init__(self, name, parameters):
        super().__init__(f"{name} {parameters}")
        self.name, self.parameters = name, parameters


class Client:
    """One connection. Its calls come one after the other."""

    def __init__(self, path=SOCKET):
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(path)
        self._reader = self._socket.makefile("rb")

    def call(self, method, **parameters):
        """Return the one reply to a call."""
        self._send(method, parameters, more=False)
        return self._receive()[0]

    def more(self, method, **parameters):
        """Yield the replies to a call that lists or follows. It is over before the next call, or the connection is."""
        self._send(method, parameters, more=True)
        continues = True
        while continues:
            reply, continues = self._receive()
            yield reply

    def _send(self, method, parameters, more):
        call = {"method": f"{INTERFACE}.{method}", "parameters": parameters, "more": more}
        self._socket.sendall(json.dumps(call).encode() + b"\0")

    def _receive(self):
        message = bytearray()
        while not message.endswith(b"\0"):
            byte = self._reader.read(1)
            if not byte:
                raise EOFError("nvme-discoverd hung up")
            message += byte
        reply = json.loads(message[:-1])
        if "error" in reply:
            raise Error(reply["error"], reply.get("parameters", {}))
        return reply.get("parameters", {}), reply.get("continues", False)


def main():
    path = sys.argv[1] if len(sys.argv) > 1 else SOCKET
    try:
        for change in Client(path).more("Monitor"):
            for c in change["controllers"]:
                if c["state"] in ("waiting", "connecting", "reconnecting", "collision") and "retainUntil" not in c:
                    print(c["state"], c["nqn"], c["traddr"], c.get("lastError", ""), flush=True)
            counts = change["counts"]
            if change["ready"] and counts["connected"] == counts["wanted"] and not counts["unread"]:
                print(counts["connected"], "connected")
                return
    except (OSError, EOFError, Error) as error:
        sys.exit(f"cannot talk to nvme-discoverd on {path}: {error}")


if __name__ == "__main__":
    main()
