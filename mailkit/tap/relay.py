"""``--relay``: the options, apart from what sends, so that a server without them need not load it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

from mailkit.tap.errors import SettingError
from mailkit.tap.stores import sqlite_directory
from mailkit.tap.strict_options import StrictOptions
from mailkit.wire.sasl_client import Credentials

#: The domains' own servers, found by DNS.
EXCHANGERS = "mx"
#: Queue it; another process of the store sends what is queued.
QUEUE_ONLY = "queue"
#: Octets of the file that ``--relay-login`` names.
MAX_LOGIN = 4096


class Relay(NamedTuple):
    """Where mail for other domains goes."""

    #: ``mx``, ``queue``, or a server.
    target: str
    credentials: Credentials | None = None
    #: The table ``[queue]``.
    table: Mapping[str, Any] = {}
    #: What ``--relay-route`` takes.
    routes: Sequence[str] = ()
    #: What ``--relay-from`` takes.
    trusted: Sequence[str] = ()
    #: A process beside this one sends what is queued.
    apart: bool = False


def read_login(path: str) -> Credentials:
    """The user name and the password in the two lines of a file.

    :raises SettingError: it cannot be read, or has no such lines.
    """
    try:
        with open(path, encoding="utf-8") as file:
            lines = file.read(MAX_LOGIN).splitlines()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise SettingError(f"cannot read {path}: {reason}") from error
    if len(lines) != 2 or not all(lines):
        raise SettingError(f"{path} must have two lines: a user name and a password")
    return Credentials(*lines)


def check_process(relay: Relay, store: str) -> None:
    """:raises SettingError: what is queued cannot be sent by a process beside this one."""
    if relay.apart and relay.target == QUEUE_ONLY:
        raise SettingError(f"relay {QUEUE_ONLY} leaves it to others already")
    if relay.apart and sqlite_directory(store) is None:
        raise SettingError(f"{store} is a store of one process; several can have sqlite:DIR")


def relay_target(text: str) -> str:
    """What ``--relay`` names: its two words in any letter case, or a server."""
    word = text.lower()
    return word if word in (EXCHANGERS, QUEUE_ONLY) else text


class OutboundOptions(StrictOptions):
    """The options, for commands that take mail."""

    optParameters: ClassVar[list[list[Any]]] = [
        [
            "relay",
            None,
            None,
            "Send what users send to other domains: mx, to the domains' own servers; or SERVER[:PORT],"
            " through that one; or queue, where another process with the same store sends it"
            " [default: such mail is refused]",
        ],
        [
            "relay-login",
            None,
            None,
            "File with the user name and the password for the server of --relay, a line each",
        ],
    ]
    optFlags: ClassVar[list[list[Any]]] = [
        [
            "relay-process",
            None,
            "Send what is queued from a process beside those that take mail, so that each has a processor;"
            " for --store sqlite:DIR",
        ]
    ]
    list_settings = ["relay-route"]
    table_settings = ["queue"]

    def opt_relay_route(self, route: str) -> None:
        """Send what goes to a domain another way than --relay says: DOMAIN=mx, =smtp:SERVER[:PORT],
        =lmtp:SERVER or =dotted.name; .DOMAIN for its subdomains. Further settings have their place
        in the table [[queue.routes]] of a settings file. May be repeated."""
        self.lists["relay-route"].append(route)


class TrustOptions(StrictOptions):
    """The option, for commands that serve SMTP or LMTP."""

    list_settings = ["relay-from"]

    def opt_relay_from(self, network: str) -> None:
        """Send what clients at this address or NETWORK, or on `unix` sockets, bring by SMTP or LMTP
        to anybody, though they have not logged in. May be repeated."""
        self.lists["relay-from"].append(network)
