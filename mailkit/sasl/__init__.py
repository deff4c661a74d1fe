"""SASL mechanisms of servers, one class each, without I/O (RFC 4422).

To add one, write a :class:`~mailkit.wire.sasl.SASLServer` and give it to a factory.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias

from mailkit.sasl.anonymous import AnonymousServer
from mailkit.sasl.bearer import OAuthBearerServer, XOAuth2Server
from mailkit.sasl.cram import CramMD5Server
from mailkit.sasl.external import ExternalServer
from mailkit.sasl.gssapi import GSSAPIServer
from mailkit.sasl.plain import LoginServer, PlainServer
from mailkit.sasl.scram import (
    ScramSHA1,
    ScramSHA1Plus,
    ScramSHA256,
    ScramSHA256Plus,
    ScramSHA512,
    ScramSHA512Plus,
)
from mailkit.wire.sasl import SASLServer

#: Mechanisms by name, the one to prefer first.
MECHANISMS: Mapping[str, type[SASLServer]] = {
    mechanism.name: mechanism
    for mechanism in (
        ExternalServer,
        GSSAPIServer,
        ScramSHA512Plus,
        ScramSHA256Plus,
        ScramSHA1Plus,
        ScramSHA512,
        ScramSHA256,
        ScramSHA1,
        OAuthBearerServer,
        XOAuth2Server,
        PlainServer,
        LoginServer,
        AnonymousServer,
        CramMD5Server,
    )
}

#: A mechanism of mailkit's by its name, in any case, or a class.
Mechanism: TypeAlias = str | type[SASLServer]


def choose_mechanisms(wanted: Iterable[Mechanism] | None) -> Sequence[type[SASLServer]]:
    """The classes of mechanisms, in their order; those of :data:`MECHANISMS` for None, but for
    CRAM-MD5.

    :raises ValueError: there is none of that name.
    """
    if wanted is None:
        return tuple(each for each in MECHANISMS.values() if each.by_default)
    found = []
    for mechanism in wanted:
        if isinstance(mechanism, str):
            if mechanism.upper() not in MECHANISMS:
                known = ", ".join(MECHANISMS)
                raise ValueError(f"there is no mechanism {mechanism}; known are {known}")
            mechanism = MECHANISMS[mechanism.upper()]
        found.append(mechanism)
    return tuple(found)
