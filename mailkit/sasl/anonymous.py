"""ANONYMOUS: anybody comes in, where a listener lets them (RFC 4505)."""

from __future__ import annotations

from typing import NamedTuple

from zope.interface import implementer

from mailkit._typing import override
from mailkit.interfaces import IAnonymousLogin
from mailkit.wire.sasl import SASLError, SASLServer, Success, decode_name

#: Characters of what a client says of itself (RFC 4505 section 2).
MAX_TRACE = 255


@implementer(IAnonymousLogin)
class AnonymousLogin(NamedTuple):
    """Credentials: none."""

    trace: str


def without_name(trace: str) -> Success:
    """A login without a name, also that of FTP's ``anonymous``.

    :param trace: what the client says of itself.
    :raises SASLError: it is too long.
    """
    if len(trace) > MAX_TRACE:
        raise SASLError(f"Trace information has at most {MAX_TRACE} characters")
    # RFC 4505 section 3, for logs: no control character gets there.
    plain = "".join(character if character.isprintable() else "?" for character in trace)
    return Success(AnonymousLogin(plain), "anonymous")


class AnonymousServer(SASLServer):
    """ANONYMOUS (RFC 4505)."""

    name = "ANONYMOUS"
    # There is no secret to hear.
    plaintext = False
    credentials = IAnonymousLogin

    @override
    def step(self, response: bytes | None) -> bytes | Success:
        if response is None:
            return b""
        return without_name(decode_name(response))
