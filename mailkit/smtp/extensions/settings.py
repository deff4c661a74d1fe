"""What an administrator decides about extensions."""

from __future__ import annotations

import enum
import re
from collections.abc import Collection
from dataclasses import dataclass, field

from mailkit.wire.networks import Networks

# RFC 3865 section 2.2.
is_class_keyword = re.compile(r"[A-Za-z][A-Za-z0-9._:-]*").fullmatch
_PRIORITY_POLICY = re.compile(r"[A-Za-z0-9._-]{1,20}")
#: The largest interval that RFC 4865 section 3 can express, seconds.
_MOST_SECONDS = 999_999_999
#: Octets of the solicitation classes together (RFC 3865 section 2.1).
MAX_SOLICITATION = 1000


class Access(enum.Enum):
    """Who may use something."""

    NEVER = "never"
    AUTHENTICATED = "authenticated"
    EVERYONE = "everyone"

    def allows(self, account: str | None) -> bool:
        """Whether a client may that has logged in as ``account``, or not at all."""
        return self is Access.EVERYONE or (self is Access.AUTHENTICATED and account is not None)


@dataclass(frozen=True)
class ExtensionSettings:
    """Settings of the extensions of one listener.

    :raises ValueError: a setting makes no sense.
    """

    #: Names of extensions, in any case, that are switched off.
    without: Collection[str] = ()
    #: Who gets answers to VRFY and EXPN, and may start the queue by ETRN.
    vrfy: Access = Access.NEVER
    expn: Access = Access.NEVER
    etrn: Access = Access.AUTHENTICATED
    #: Who is believed when AUTH= of MAIL names the one who submitted the message (RFC 4954 5).
    trust_submitter: Access = Access.NEVER
    #: Name of the priority assignment policy (RFC 6710 section 9.2); not told when empty.
    priority_policy: str = ""
    #: Seconds for which a message may be held back at most (RFC 4865).
    max_hold: int = 30 * 24 * 3600
    #: The shortest time, in seconds, in which a delivery may be demanded (RFC 2852 section 2).
    min_deliver_by: int = 1
    #: Solicitation classes that nobody here wants (RFC 3865), such as ``org.example:ADV``.
    no_soliciting: tuple[str, ...] = ()
    #: Addresses and networks of clients that may tell for whom they speak, by XCLIENT and XFORWARD;
    #: ``unix`` for those on UNIX sockets.
    xclient_from: Collection[str] = ()
    #: ``without`` in capitals.
    switched_off: frozenset[str] = field(init=False)
    #: ``xclient_from``, to be looked up.
    trusted_clients: Networks = field(init=False, compare=False)

    def __post_init__(self) -> None:
        if isinstance(self.without, str):
            raise ValueError("without is a collection of names, not one name")
        object.__setattr__(self, "trusted_clients", Networks(self.xclient_from))
        object.__setattr__(self, "switched_off", frozenset(n.upper() for n in self.without))
        if self.priority_policy and not _PRIORITY_POLICY.fullmatch(self.priority_policy):
            raise ValueError("priority_policy has 1 to 20 letters, digits, '.', '-' or '_'")
        if not 0 < self.max_hold <= _MOST_SECONDS:
            raise ValueError(f"max_hold is 1 to {_MOST_SECONDS} seconds")
        if not 0 < self.min_deliver_by <= _MOST_SECONDS:
            raise ValueError(f"min_deliver_by is 1 to {_MOST_SECONDS} seconds")
        if not all(map(is_class_keyword, self.no_soliciting)):
            raise ValueError("no_soliciting has class keywords such as org.example:ADV")
        if len(",".join(self.no_soliciting)) > MAX_SOLICITATION:
            raise ValueError(f"no_soliciting has more than {MAX_SOLICITATION} octets")


#: Everything on, and nothing told to strangers.
DEFAULT_SETTINGS = ExtensionSettings()
