#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""What nvme-stas, or any other program that connects controllers, should ask nvme-discoverd before it looks after mDNS or the NBFT.

The running service says what it looks after: "zeroconf" what mDNS announces, "nbft" what the boot firmware's tables name. What it looks
after, others leave alone; what it does not is theirs. Monitor says so at once and whenever it changes, as by a reload. Its stream ends with
the service, which may be a restart: others wait for a while before all of it is theirs.

As a program it prints what stafd and stacd should do, now and at each change, until interrupted; with --once, now.
"""

import sys
import time

from discoverd import SOCKET, Client, Error

RESTART = 10  # seconds that a restart of the service may take


def shares(path=SOCKET):
    """Yield (mDNS, NBFT), whether each is to be looked after by the caller: now, and at each change."""
    before, gone = None, None
    while True:
        try:
            for change in Client(path).more("Monitor"):
                gone = None
                now = not change["zeroconf"], not change["nbft"]
                if now != before:
                    before = now
                    yield now
        except (OSError, EOFError, Error):
            pass
        gone = gone or time.monotonic()
        if before is None or before != (True, True) and time.monotonic() - gone >= RESTART:
            before = True, True
            yield before
        time.sleep(1)


def main():
    path = next((a for a in sys.argv[1:] if not a.startswith("-")), SOCKET)
    for share in shares(path):
        for what, ours in zip(("mDNS", "NBFT"), share):
            print(f"{what}: {'look after it' if ours else 'leave it to nvme-discoverd'}", flush=True)
        if "--once" in sys.argv:
            return


if __name__ == "__main__":
    main()
