"""UTF8=ACCEPT and UTF8=ONLY (RFC 6855; RFC 9755, as far as its drafts tell).

Names of mailboxes are UTF-8 both ways after ENABLE (``connection.utf8``), and 8-bit names are UTF-8
before. APPEND is in its own module.
"""

from __future__ import annotations

from collections.abc import Sequence

from mailkit.imap.handlers.table import Capability, Enabling, Facts

#: Commands that never need UTF-8 (RFC 6855 section 6).
WITHOUT_UTF8 = frozenset(
    (
        b"CAPABILITY",
        b"NOOP",
        b"LOGOUT",
        b"ID",
        b"LANGUAGE",
        b"STARTTLS",
        b"LOGIN",
        b"AUTHENTICATE",
        b"ENABLE",
        b"COMPRESS",
        b"UNAUTHENTICATE",
    )
)


def _accepts(facts: Facts) -> bool:
    return facts.logged_in and b"UTF8=ONLY" not in facts.choices


def _insists(facts: Facts) -> bool:
    return facts.logged_in and b"UTF8=ONLY" in facts.choices


CAPABILITIES: Sequence[Capability] = (
    # RFC 6855 section 6: at most one of both is told.
    Capability(b"UTF8=ACCEPT", _accepts, needs=b"ENABLE"),
    Capability(b"UTF8=ONLY", _insists, needs=b"UTF8=ACCEPT"),
)

ENABLEABLE: Enabling = {b"UTF8=ACCEPT": lambda connection: connection.enable(b"UTF8=ACCEPT")}
