"""Authorization tokens of URLs (RFC 4467 sections 2.4, 5, 6). No I/O."""

from __future__ import annotations

import hmac
import secrets
from urllib.parse import unquote

from mailkit.imap.url import IMAPURL

#: Mechanisms by which URLs are signed.
MECHANISMS = frozenset(("INTERNAL",))

# RFC 4467 section 10: says how the token was made, should that ever change.
_VERSION = b"01"


def sign(rump: bytes, key: bytes) -> bytes:
    """The authorization token of the INTERNAL mechanism."""
    return _VERSION + hmac.new(key, rump, "sha256").hexdigest().encode("ascii")


def verifies(url: IMAPURL, key: bytes | None) -> bool:
    """Whether a URL was signed with a key; without one this takes as long (RFC 4467 section 6)."""
    expected = sign(url.rump, secrets.token_bytes(32) if key is None else key)
    matches = hmac.compare_digest(expected, url.token.lower())
    return matches and key is not None and url.mechanism in MECHANISMS


def may_access(url: IMAPURL, account: str, is_submission: bool) -> bool:
    """Whether the access identifier lets somebody use the URL (RFC 4467 section 2.3).

    :param account: who is logged in.
    :param is_submission: it is the submission server, which answers for its own clients.
    """
    kind, _, user = url.access.partition("+")
    match kind.lower():
        case "anonymous" | "authuser":
            return True
        case "user":
            return same_user(user, account)
        case "submit":
            return is_submission
    return False


def same_user(user: str, account: str) -> bool:
    """Whether a user of a URL is that account."""
    return unquote(user).casefold() == account.casefold()
