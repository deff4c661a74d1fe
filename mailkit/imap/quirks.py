"""Ways to get on with clients that are known to get something wrong, as rules. No I/O.

What needs no rule, because it does no harm to anybody, is simply how the server works; tests name the
clients (``tests/imap/test_quirks.py``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple


class Quirk(NamedTuple):
    """What the server does for some clients' sake."""

    #: What a setting calls it.
    name: str
    #: The clients, and what goes wrong with them.
    clients: str
    #: What the server does.
    effect: str
    #: Where the fault is told of.
    source: str
    #: It does no harm to other clients, and is on where no setting says otherwise.
    default: bool = False


_DOVECOT = "Dovecot, example-config/conf.d/20-imap.conf, imap_client_workarounds"

#: By name: what each is for, what helps, and where that is told of.
QUIRKS: Mapping[str, Quirk] = {
    quirk.name: quirk
    for quirk in (
        Quirk(
            "delay-newmail",
            "Apple Mail before 2.1 ignores EXISTS elsewhere; Outlook Express then tells the user that"
            " a message is no longer on the server. Thunderbird shows a message that is told while"
            " it fetches others only when the next one has come.",
            "EXISTS and RECENT are told for NOOP, CHECK and IDLE alone.",
            _DOVECOT + "; Thunderbird 153: tests/interop/test_thunderbird.py",
        ),
        Quirk(
            "extra-separator",
            "Thunderbird adds a separator to the names of some mailboxes.",
            "A separator at the end of a mailbox's name is ignored.",
            _DOVECOT + ": tb-extra-mailbox-sep",
            default=True,
        ),
        Quirk(
            "imaplib-utf8",
            "Python's imaplib, before the releases of autumn 2025, puts the data item UTF8 of RFC 6855"
            " inside of the literal: the message begins with 'UTF8 (' and ends with ')'.",
            "With UTF8=ACCEPT enabled, both are taken away; no header field begins like that.",
            "https://github.com/python/cpython/issues/78319",
            default=True,
        ),
        Quirk(
            "keep-idle",
            "Outlook does not end IDLE before the 30 minutes of RFC 2177 are over, and shows no new"
            " mail any more when the server ends the connection.",
            "Instead of ending an idling connection the server says that it is still here.",
            "https://doc.dovecot.org/admin_manual/timeouts/;"
            " M. Crispin, imap-protocol@u.washington.edu, 18 September 2006",
            default=True,
        ),
    )
}

#: Those that are on where no setting says otherwise.
DEFAULT_QUIRKS = frozenset(quirk.name for quirk in QUIRKS.values() if quirk.default)


def checked_quirks(names: Iterable[str]) -> frozenset[str]:
    """Names of quirks.

    :raises ValueError: there is none of that name.
    """
    wanted = frozenset(names)
    for name in sorted(wanted - QUIRKS.keys()):
        raise ValueError(f"there is no quirk {name}; known are {', '.join(sorted(QUIRKS))}")
    return wanted
