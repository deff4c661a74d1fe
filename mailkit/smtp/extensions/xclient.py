"""XCLIENT and XFORWARD: a trusted client tells for whom it speaks.

They are Postfix's; there is no RFC. What is obeyed is in Postfix's XCLIENT_README and
XFORWARD_README. Nobody is believed who has not been named.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

from zope.interface import implementer

from mailkit.interfaces import IVouchedUser
from mailkit.smtp import replies
from mailkit.smtp.extensions.extension import Extension, OfListener
from mailkit.smtp.grammar import Refused, parse_xtext
from mailkit.smtp.handlers import Command
from mailkit.smtp.state import CONNECTED, GREETED
from mailkit.wire.proxy import ToldClient

if TYPE_CHECKING:
    from mailkit.smtp.protocol import SMTPProtocol

#: Octets of the value of an attribute.
MAX_VALUE = 255

XCLIENT_ATTRIBUTES = (
    "NAME",
    "REVERSE_NAME",
    "ADDR",
    "PORT",
    "PROTO",
    "HELO",
    "LOGIN",
    "DESTADDR",
    "DESTPORT",
)
XFORWARD_ATTRIBUTES = ("NAME", "ADDR", "PORT", "PROTO", "HELO", "IDENT", "SOURCE")

_ADDRESSES = ("ADDR", "DESTADDR")
_PORTS = ("PORT", "DESTPORT")
# XFORWARD_README: no control characters, white space, or what is special in message headers.
_VALUE = re.compile(r"[!#-'*+./0-9:=?A-Z\[\]^-~-]*")
_UNKNOWN = ("[UNAVAILABLE]", "[TEMPUNAVAIL]")


def _parse(argument: bytes, known: tuple[str, ...], verb: str) -> dict[str, str]:
    """The attributes by name in capitals; the empty value is an unknown one."""
    found: dict[str, str] = {}
    for part in argument.split():
        name, equals, text = part.decode("ascii", "replace").partition("=")
        name = name.upper()
        if not equals or name not in known:
            raise Refused(501, "5.5.4", f"Syntax: {verb} NAME=value, with {' '.join(known)}")
        found[name] = _value(name, text)
    if not found:
        raise Refused(501, "5.5.4", f"Syntax: {verb} NAME=value, with {' '.join(known)}")
    return found


def _value(name: str, text: str) -> str:
    try:
        # lenient: Postfix before 2.3 does not encode values.
        octets = parse_xtext(text.replace("=", "+3D"))
        value = octets.decode("utf-8" if name == "LOGIN" else "ascii")
    except ValueError:
        raise Refused(501, "5.5.4", f"The value of {name} is not xtext") from None
    if value.upper() in _UNKNOWN:
        return ""
    # A user name may be an address, and may have blanks or letters beyond ASCII.
    good = value.isprintable() if name == "LOGIN" else _VALUE.fullmatch(value)
    if not value or len(value) > MAX_VALUE or not good:
        raise Refused(501, "5.5.4", f"Bad value of {name}")
    return value


def _address(name: str, value: str) -> str:
    text = value[5:] if value[:5].upper() == "IPV6:" else value
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        raise Refused(501, "5.5.4", f"The value of {name} is no address") from None
    return str(getattr(address, "ipv4_mapped", None) or address)


def _port(name: str, value: str) -> int:
    if not (value.isascii() and value.isdigit() and len(value) <= 5 and int(value) <= 0xFFFF):
        raise Refused(501, "5.5.4", f"The value of {name} is no port")
    return int(value)


def _check_authority(connection: SMTPProtocol, verb: str) -> None:
    if not connection.may_tell_clients:
        raise Refused(550, "5.7.0", f"You are not authorized to use {verb}")


@implementer(IVouchedUser)
class VouchedUser:
    """A user whom a trusted client has named."""

    def __init__(self, username: str) -> None:
        self.username = username


def _attributes(connection: SMTPProtocol) -> tuple[str, ...]:
    """Those of XCLIENT that are known here."""
    if connection.takes_vouched_users:
        return XCLIENT_ATTRIBUTES
    return tuple(name for name in XCLIENT_ATTRIBUTES if name != "LOGIN")


def xclient(connection: SMTPProtocol, argument: bytes) -> Coroutine[Any, Any, None] | None:
    """XCLIENT: begins the session anew, as that of somebody else.

    HELO and PROTO are taken and change nothing: the client says EHLO or HELO next. LOGIN logs the
    user in without a password; one whom the portal does not know is refused, and nothing changes.
    """
    _check_authority(connection, "XCLIENT")
    given = _parse(argument, _attributes(connection), "XCLIENT")
    told = {name: _address(name, given[name]) for name in _ADDRESSES if given.get(name)}
    ports = {name: _port(name, given[name]) for name in _PORTS if given.get(name)}
    if given.get("PROTO", "SMTP").upper() not in ("", "SMTP", "ESMTP"):
        raise Refused(501, "5.5.4", "PROTO is SMTP or ESMTP")
    before = connection.info()
    # TLS that ends at a proxy stays.
    client = connection.told or ToldClient(
        before.peer, before.peer_port, before.local, before.local_port
    )
    if "ADDR" in given:
        client = client._replace(peer=told.get("ADDR", ""), peer_port=0)
    if "PORT" in given:
        client = client._replace(peer_port=ports.get("PORT", 0))
    if "DESTADDR" in given:
        client = client._replace(local=told.get("DESTADDR", ""))
    if "DESTPORT" in given:
        client = client._replace(local_port=ports.get("DESTPORT", 0))
    name = connection.client_name
    if "NAME" in given or "ADDR" in given:
        name = given.get("NAME", "")
    if username := given.get("LOGIN"):
        return _begin_as_user(connection, client, name, username)
    connection.client_name = name
    return connection.begin_anew(client)


async def _begin_as_user(
    connection: SMTPProtocol, client: ToldClient, name: str, username: str
) -> None:
    login = await connection.vouch_for(VouchedUser(username), client)
    connection.client_name = name
    if (waiting := connection.begin_anew(client, login)) is not None:
        await waiting


def xforward(connection: SMTPProtocol, argument: bytes) -> None:
    """XFORWARD: where the next message has come from, for the log."""
    _check_authority(connection, "XFORWARD")
    given = _parse(argument, XFORWARD_ATTRIBUTES, "XFORWARD")
    session = connection.session
    session.forwarded = {n: v for n, v in {**session.forwarded, **given}.items() if v}
    connection.write(replies.OK)


def _knows_clients(connection: SMTPProtocol) -> bool:
    return bool(connection.factory.extensions.trusted_clients)


def _announce_xclient(connection: SMTPProtocol) -> str | None:
    return " ".join(_attributes(connection)) if connection.may_tell_clients else None


def _announce_xforward(connection: SMTPProtocol) -> str | None:
    return " ".join(XFORWARD_ATTRIBUTES) if connection.may_tell_clients else None


XCLIENT = Extension(
    "XCLIENT",
    available=OfListener(_knows_clients),
    announce=_announce_xclient,
    commands={b"XCLIENT": Command(CONNECTED | GREETED, xclient, "XCLIENT NAME=value ...")},
)
XFORWARD = Extension(
    "XFORWARD",
    available=OfListener(_knows_clients),
    announce=_announce_xforward,
    commands={b"XFORWARD": Command(GREETED, xforward, "XFORWARD NAME=value ...")},
)
