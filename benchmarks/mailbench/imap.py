"""One IMAP session: blocking, reads in 1 MiB gulps, looks only at the tail for its tag.

So that the server is what is measured.
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence

from .corpus import Mail
from .sessions import Complete, Failure, connect, line, tagged

#: Octets of the end of what was read that are searched for the tag.
_TAIL = 32 * 1024


def _continuation_or(tag: bytes) -> Complete:
    ended = tagged(tag)

    def complete(reply: bytes | bytearray) -> bool:
        last = reply.rfind(b"\r\n", 0, -2)
        start = last + 2 if last >= 0 else 0
        return (reply[start : start + 1] == b"+" and line(reply)) or ended(reply)

    return complete


class IMAP:
    """A connection, logged in when a user is given."""

    def __init__(self, port: int, user: bytes = b"", password: bytes = b"") -> None:
        self.socket = connect(port, timeout=240)
        self._number = 0
        self._gulp: bytearray | None = bytearray(1 << 20)
        self._read(line)
        self.capabilities: set[bytes] = set()
        if user:
            self.command(b"LOGIN %s %s" % (user, password))
            listed = self.command(b"CAPABILITY")
            self.capabilities = set(listed.split(b"\r\n", 1)[0].upper().split())

    def _read(self, complete: Complete) -> bytes:
        assert self._gulp is not None
        parts, tail, view = [], b"", memoryview(self._gulp)
        while not complete(tail):
            count = self.socket.recv_into(view)
            if not count:
                raise Failure("closed: " + repr(tail[-200:]))
            parts.append(bytes(view[:count]))
            tail = (tail + parts[-1][-_TAIL:])[-_TAIL:]
        return b"".join(parts)

    def _tag(self) -> bytes:
        self._number += 1
        return b"zq%05d" % self._number

    def command(self, command: bytes) -> bytes:
        """Run a command.

        :returns: all of the response.
        :raises Failure: it did not end with OK.
        """
        tag = self._tag()
        self.socket.sendall(tag + b" " + command + b"\r\n")
        reply = self._read(tagged(tag))
        if not reply[reply.rfind(b"\r\n", 0, -2) + 1 :].lstrip().startswith(tag + b" OK"):
            raise Failure(f"{command[:60]!r}: {reply[-300:]!r}")
        return reply

    def count(self) -> int:
        """Messages in INBOX."""
        reply = self.command(b"STATUS INBOX (MESSAGES)")
        found = re.search(rb"MESSAGES (\d+)", reply)
        assert found is not None
        return int(found.group(1))

    def append(self, mails: Sequence[Mail]) -> None:
        """Put mails into INBOX, several in one command where MULTIAPPEND is offered."""
        at_once = 50 if b"MULTIAPPEND" in self.capabilities else 1
        for start in range(0, len(mails), at_once):
            self._append(mails[start : start + at_once])

    def _append(self, mails: Sequence[Mail]) -> None:
        tag = self._tag()
        plus = b"+" if b"LITERAL+" in self.capabilities else b""
        out = [tag + b" APPEND INBOX"]
        for mail in mails:
            date = time.strftime("%d-%b-%Y %H:%M:%S +0000", time.gmtime(mail.arrived))
            flags = " ".join(mail.flags)
            out.append(f' ({flags}) "{date}" {{{len(mail.content)}'.encode() + plus + b"}\r\n")
            if not plus:
                self.socket.sendall(b"".join(out))
                out = []
                reply = self._read(_continuation_or(tag))
                if tagged(tag)(reply):
                    raise Failure(repr(reply[-200:]))
            out.append(mail.content)
        self.socket.sendall(b"".join(out) + b"\r\n")
        reply = self._read(tagged(tag))
        if tag + b" OK" not in reply:
            raise Failure(repr(reply[-300:]))

    def idle(self) -> None:
        """Begin to IDLE; the connection can do nothing else afterwards and keeps no buffer."""
        self.socket.sendall(b"i IDLE\r\n")
        self._read(_continuation_or(b"i"))
        self._gulp = None

    def close(self) -> None:
        """LOGOUT."""
        try:
            self.command(b"LOGOUT")
        except (Failure, OSError):
            # The figure is taken already.
            pass
        self.socket.close()
