"""Named listeners: ports of one service that have settings of their own.

``--smtp inside=tcp:2525`` names one. Where a setting may stand for one service (``SERVICE:...``, or the
service's own table in the settings file), it may stand for a named listener too, which has what its
service has, and then its own. Listeners that have no name share everything.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from typing import TypeAlias

from mailkit.tap.errors import SettingError
from mailkit.tap.factories import IMPLICIT_TLS, PORT_NAMES

#: Those that take mail, for which the store must know addresses; their listeners may have names.
TAKE_MAIL = ("smtp", "lmtp", "submission")

#: For whom a setting is that names this one: services first, each with its listeners.
Scopes: TypeAlias = Mapping[str, Collection[str]]

_is_name = re.compile(r"[a-z](?:[a-z0-9-]{0,30}[a-z0-9])?").fullmatch
# What may stand before a colon for another reason: kinds of endpoints, and the first part of an
# IPv6 address.
_is_ambiguous = re.compile(
    r"tcp[46]?|tls|ssl|unix|systemd|fd|stdio|haproxy|[0-9a-f]{1,4}"
).fullmatch

#: What ``--help`` of those services says of it.
HELP = (
    " Listeners of SMTP, LMTP and submission get a name by NAME=ENDPOINT, and settings of their own"
    " wherever a setting may be for one SERVICE, such as --without-extension NAME:CHUNKING; they"
    " have their service's, too."
)


def split_endpoint(text: str) -> tuple[str, str]:
    """A listener's name, empty where it has none, and its endpoint."""
    name, equals, endpoint = text.partition("=")
    return (name, endpoint) if equals and ":" not in name else ("", text)


def check_listeners(listeners: Mapping[str, str]) -> None:
    """:raises SettingError: a name cannot be one, or is that of a port that has no names."""
    for name, port in listeners.items():
        if IMPLICIT_TLS.get(port, port) not in TAKE_MAIL:
            known = ", ".join(
                each for each in PORT_NAMES if IMPLICIT_TLS.get(each, each) in TAKE_MAIL
            )
            raise SettingError(f"listeners of {port} have no names; those of {known} may")
        if not _is_name(name) or _is_ambiguous(name) or name in PORT_NAMES:
            raise SettingError(
                f"{name!r} is no name for a listener: small letters, digits and hyphens, and not"
                " that of a service, of a kind of endpoint, or what may begin an IPv6 address"
            )


def protocol_of(name: str, listeners: Mapping[str, str]) -> str:
    """What is spoken at a port or named listener: ``submission`` for ``submissions`` as well."""
    port = listeners.get(name, name)
    return IMPLICIT_TLS.get(port, port)


def scopes(services: Iterable[str], listeners: Mapping[str, str] | None = None) -> Scopes:
    """For whom a setting is: for a service and its named listeners, or one of these alone.

    :param services: ports, or protocols.
    :param listeners: the port of each, by name.
    """
    found: dict[str, list[str]] = {service: [service] for service in services}
    for name, port in (listeners or {}).items():
        service = port if port in found else IMPLICIT_TLS.get(port, port)
        if service in found:
            found[service].append(name)
            found[name] = [name]
    return found


def lineage(name: str, names: Scopes) -> list[str]:
    """Whose settings one has: those of its service, and over them its own."""
    return [each for each, heirs in names.items() if name in heirs]


#: Of those that take mail, where no listener has a name.
MAIL_SCOPES = scopes(TAKE_MAIL)
