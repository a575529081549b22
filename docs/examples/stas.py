#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""What nvme-stas, or any other program that connects controllers, should ask nvme-discoverd before it looks after mDNS or the NBFT.

The running service says what it looks after: "zeroconf" what mDNS announces, "nbft" what the boot firmware's tables name. What it looks
after, others leave alone; what it does not is theirs. Monitor says so at once and whenever it changes, as by a reload.

A service that does not answer may be about to: at boot, or in a restart, which ends the stream. So others wait for a while, having taken
nothing yet or leaving things as they are, before all of it is theirs. Programs that systemd starts say After=nvme-discoverd.service.

As a program it prints what stafd and stacd should do, now and at each change, until interrupted; with --once, now. --patience=SECONDS is how
long a service that does not answer is waited for.
"""

import sys
import time

from discoverd import SOCKET, Client, Error

PATIENCE = 10  # seconds that a start or a restart of the service may take


def complain(text):
    print(text, file=sys.stderr, flush=True)


def shares(path=SOCKET, patience=PATIENCE, tell=complain):
    """Yield (mDNS, NBFT), whether each is to be looked after by the caller: once it is known, and at each change."""
    before, gone, told = None, time.monotonic(), False
    while True:
        try:
            for change in Client(path).more("Monitor"):
                gone, told = None, False
                now = not change["zeroconf"], not change["nbft"]
                if now != before:
                    before = now
                    yield now
            why = "it ended the connection"
        except (OSError, EOFError, Error) as error:
            why = str(error)
        gone = gone or time.monotonic()
        left = gone + patience - time.monotonic()
        if left > 0:
            if not told:
                tell(f"nvme-discoverd does not answer on {path} ({why}): waiting for it for {patience:g} s")
                told = True
            time.sleep(min(left, 0.5))
            continue
        if before != (True, True):
            tell(f"nvme-discoverd does not answer on {path} ({why}): it looks after nothing")
            before = True, True
            yield before
        time.sleep(1)


def main():
    path, patience = SOCKET, PATIENCE
    for argument in sys.argv[1:]:
        if argument.startswith("--patience="):
            patience = float(argument.partition("=")[2])
        elif not argument.startswith("-"):
            path = argument
    for share in shares(path, patience):
        for what, ours in zip(("mDNS", "NBFT"), share):
            print(f"{what}: {'look after it' if ours else 'leave it to nvme-discoverd'}", flush=True)
        if "--once" in sys.argv:
            return


if __name__ == "__main__":
    main()
