"""What a refusal becomes on the wire: NO with a response code (RFC 5530, RFC 3501 section 7.1)."""

from __future__ import annotations

from collections.abc import Mapping

from mailkit import errors
from mailkit.errors import BadURL, MailError
from mailkit.imap.filters import UndefinedFilter
from mailkit.imap.messagelimit import TooManyMessages

#: Octets of a client's URL that are told back.
_MAX_SHOWN = 1000

#: Response code by class of error; a class that is missing is told like its base class.
RESPONSE_CODES: Mapping[type[MailError], bytes] = {
    errors.MailError: b"",
    errors.TemporaryFailure: b"UNAVAILABLE",
    errors.StoreCorrupt: b"CORRUPTION",
    errors.AuthenticationFailed: b"AUTHENTICATIONFAILED",
    errors.PasswordExpired: b"EXPIRED",
    errors.AuthorizationFailed: b"AUTHORIZATIONFAILED",
    errors.AccountDisabled: b"CONTACTADMIN",
    errors.PermissionDenied: b"NOPERM",
    errors.ReadOnly: b"NOPERM",
    errors.NoSuchAccount: b"NONEXISTENT",
    errors.AccountExists: b"ALREADYEXISTS",
    errors.NoSuchMailbox: b"NONEXISTENT",
    errors.MailboxHasChildren: b"HASCHILDREN",
    errors.MailboxExists: b"ALREADYEXISTS",
    errors.InvalidMailboxName: b"CANNOT",
    errors.MailboxInUse: b"INUSE",
    errors.NoSuchMessage: b"EXPUNGEISSUED",
    errors.NoSuchQuotaRoot: b"NONEXISTENT",
    errors.OverQuota: b"OVERQUOTA",
    errors.MessageTooLarge: b"TOOBIG",
    errors.MessageRefused: b"CANNOT",
    errors.LimitExceeded: b"LIMIT",
    errors.UnknownTransferEncoding: b"UNKNOWN-CTE",
    errors.BadURL: b"BADURL",
    errors.BadCharset: b"BADCHARSET (US-ASCII UTF-8)",
}


def response_code(error: MailError) -> bytes:
    """The response code for an error, without brackets; empty when there is none."""
    if isinstance(error, errors.Referral) and error.urls:
        return b"REFERRAL " + " ".join(error.urls).encode("ascii")
    if isinstance(error, TooManyMessages):
        return error.code
    if isinstance(error, UndefinedFilter):
        return b"UNDEFINED-FILTER " + error.name
    for cls in type(error).__mro__:
        if cls in RESPONSE_CODES:
            code = RESPONSE_CODES[cls]
            return b"%b %b" % (code, _shown(error.url)) if isinstance(error, BadURL) else code
    return b""


def _shown(url: bytes) -> bytes:
    """A URL as a response code can hold it (RFC 4469 section 5, ``url-resp-text``)."""
    return bytes(c for c in url[:_MAX_SHOWN] if 0x20 <= c < 0x7F and c not in b"]\\") or b"-"
