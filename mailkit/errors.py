"""What can go wrong with mail, as exceptions whose text may be shown to a client.

A backend, a delivery or a checker raises one of these; each protocol's ``replies`` module maps the
class to its own reply (SMTP enhanced status code, IMAP response code, POP3 response code). Any other
exception is a bug: the client gets a generic reply and the log gets the traceback.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

# RFC 3986: visible ASCII; "]" would end a response code.
_is_url = re.compile(r"[!-\\^-~]+").fullmatch


class MailError(Exception):
    """A refusal that a person at the other end can understand.

    :param text: one line for the client; the class's ``default_text`` when empty.
    """

    default_text = "The request failed"
    #: The same request may succeed later (SMTP 4xx, IMAP [UNAVAILABLE], POP3 [SYS/TEMP]).
    temporary = False

    def __init__(self, text: str = "") -> None:
        self.text = text or self.default_text
        super().__init__(self.text)


class TemporaryFailure(MailError):
    """Something on our side failed; trying again later is right."""

    default_text = "Temporary failure, please try again later"
    temporary = True


class DNSFailure(TemporaryFailure):
    """The name servers do not tell; what was asked may exist or not."""

    default_text = "The name servers do not answer just now, please try again later"


class DNSTimeout(DNSFailure):
    """No name server has answered in time."""


class StoreUnavailable(TemporaryFailure):
    """The store cannot be read or written just now (closed, damaged disk, in use by another process)."""

    default_text = "The mail store is not available just now, please try again later"


class StoreFull(StoreUnavailable):
    """The store's disk takes no more (RFC 3463 X.3.1)."""

    default_text = "There is no room in the mail store just now, please try again later"


class StoreCorrupt(MailError):
    """Stored octets do not match their checksum, or an index row points to nothing."""

    default_text = "The stored data is damaged"


class AuthenticationFailed(MailError):
    """User unknown or password wrong; the text never says which."""

    default_text = "User name or password is not right"


class TokenRefused(AuthenticationFailed):
    """A token of OAuth 2.0 is not taken (RFC 6750 section 3.1).

    :param status: an error code of OAuth: ``invalid_token``, ``insufficient_scope``, ...
    :param scope: what a token would have to be for; empty for anything.
    :param configuration_url: where a client finds who gives tokens (RFC 7628 section 3.2.2).
    """

    def __init__(
        self,
        text: str = "",
        status: str = "invalid_token",
        scope: str = "",
        configuration_url: str = "",
    ) -> None:
        super().__init__(text)
        self.status = status
        self.scope = scope
        self.configuration_url = configuration_url


class AuthorizationFailed(MailError):
    """Authenticated, but may not act as the asked-for identity."""

    default_text = "You may not act for that user"


class TokenOfAnother(AuthorizationFailed):
    """A token of OAuth 2.0 is good, but not for whom it was shown.

    :param owner: the user whose it is.
    """

    def __init__(self, text: str = "", owner: str = "") -> None:
        super().__init__(text)
        self.owner = owner


class PasswordExpired(AuthenticationFailed):
    """The password was right, or may have been, and is no longer accepted (RFC 5530 EXPIRED)."""

    default_text = "That password is no longer valid; please get a new one"


class AccountDisabled(AuthorizationFailed):
    """The account is closed to its user, who can do nothing about it (RFC 5530 CONTACTADMIN)."""

    default_text = "This account is closed; please ask whoever runs this server"


class Referral(MailError):
    """What is asked for is on another server (RFC 2221, RFC 2193).

    :param urls: where, as ``imap:`` URLs (RFC 5092).
    :raises ValueError: one of them contains what a URL has to encode.
    """

    default_text = "That is on another server"

    def __init__(self, text: str = "", urls: Sequence[str] = ()) -> None:
        super().__init__(text)
        for url in urls:
            if not _is_url(url):
                raise ValueError(f"not a URL: {url!r}")
        self.urls = tuple(urls)


class PermissionDenied(MailError):
    """The account lacks the right for this."""

    default_text = "Permission denied"


class ReadOnly(MailError):
    """The mailbox or backend cannot be changed."""

    default_text = "This mailbox is read-only"


class NoSuchAccount(MailError):
    """No account of that name."""

    default_text = "No such account"


class AccountExists(MailError):
    """An account, alias or domain of that name exists already."""

    default_text = "That name exists already"


class NoSuchMailbox(MailError):
    """No mailbox of that name."""

    default_text = "No such mailbox"


class MailboxHasChildren(NoSuchMailbox):
    """The name is there only for mailboxes below it, so it cannot be deleted (RFC 5530)."""

    default_text = "That name holds other mailboxes and is no mailbox itself"


class MailboxExists(MailError):
    """A mailbox of that name exists already."""

    default_text = "A mailbox of that name exists already"


class InvalidMailboxName(MailError):
    """The name cannot be a mailbox's name here."""

    default_text = "That mailbox name is not allowed"


class MailboxInUse(MailError):
    """Another session holds the maildrop's lock (RFC 1939 section 4)."""

    default_text = "The mailbox is locked by another session"
    temporary = True


class NoSuchMessage(MailError):
    """No message of that UID (any more)."""

    default_text = "No such message"


class NoSuchRecipient(MailError):
    """A domain of ours, but nobody of that name in it (RFC 3463 X.1.1)."""

    default_text = "No such user here"


class DomainAcceptsNoMail(MailError):
    """The domain of a recipient accepts no mail at all (RFC 7504, RFC 7505)."""

    default_text = "That domain does not accept mail"


class NoSuchDomain(MailError):
    """Nothing can be sent to the domain of a recipient (RFC 3463 X.1.2)."""

    default_text = "There is no such domain"


class SenderAcceptsNoMail(MailError):
    """The domain of the sender accepts no mail, so no report could reach it (RFC 7505)."""

    default_text = "The domain of the sender does not accept mail"


class OwnerChanged(MailError):
    """The address had another owner at the time that the sender means (RFC 7293)."""

    default_text = "The owner of this mailbox has changed"


class OwnerUnknown(MailError):
    """Nobody recorded since when the address has its owner (RFC 7293)."""

    default_text = "It is not known here since when this address has its owner"


class DeliveryTimeExpired(MailError):
    """The message was to be delivered earlier or not at all (RFC 2852)."""

    default_text = "The time for the delivery of this message is over"


class RelayDenied(MailError):
    """Not a domain of ours, and the client may not relay (RFC 3463 X.7.1)."""

    default_text = "This server does not relay mail for that domain"


class SenderRefused(MailError):
    """The reverse-path or From does not belong to the account (RFC 6409 section 6.1)."""

    default_text = "That sender address does not belong to your account"


class NoSuchQuotaRoot(MailError):
    """No quota root of that name, or it is none of the account's business."""

    default_text = "There is no such quota root"


class OverQuota(MailError):
    """The mailbox is full (RFC 3463 X.2.2)."""

    default_text = "The mailbox is full"


class MailLoop(MailError):
    """The message has been here before, and would come again (RFC 3463 X.4.6)."""

    default_text = "This looks like a mail loop"


class MessageTooLarge(MailError):
    """The message exceeds the limit (RFC 1870)."""

    default_text = "The message is too large"


class MessageRefused(MailError):
    """The content is not acceptable (RFC 3463 X.6.0)."""

    default_text = "The message is not acceptable"


class RefusedElsewhere(MailError):
    """Another server has refused the message; its reply is passed on.

    :param code: its reply code, 400 to 599.
    :param enhanced: its enhanced status code (RFC 3463), or one that fits; empty for none.
    """

    default_text = "The server for this mailbox refused the message"

    def __init__(self, text: str = "", code: int = 554, enhanced: str = "") -> None:
        super().__init__(text)
        self.code = code
        self.enhanced = enhanced
        self.temporary = code < 500


class LimitExceeded(MailError):
    """A named limit was reached (number of mailboxes, of keywords, of recipients, ...)."""

    default_text = "Too many"


class UnknownTransferEncoding(MailError):
    """The octets of a part cannot be told apart from their encoding (RFC 3516 section 4.3)."""

    default_text = "The content transfer encoding is not known here"


class BadURL(MailError):
    """A URL names nothing that can be had (RFC 4469 section 4.1, RFC 4468 section 3.5).

    :param url: as it was given; empty where that is clear.
    """

    default_text = "The URL names nothing that is here"

    def __init__(self, text: str = "", url: bytes = b"") -> None:
        super().__init__(text)
        self.url = url


class EntryTooLarge(LimitExceeded):
    """The value of an entry has too many octets (RFC 5464 section 4.3).

    :param limit: how many it may have.
    """

    default_text = "The value of the entry is too large"

    def __init__(self, text: str = "", limit: int = 0) -> None:
        super().__init__(text)
        self.limit = limit


class TooManyEntries(LimitExceeded):
    """There may be no more entries, or not that many octets of all (RFC 5464 section 4.3)."""

    default_text = "There are too many entries"


class BadCharset(MailError):
    """A search used a charset that is not known here (RFC 3501 section 6.4.4)."""

    default_text = "That charset is not known here"


class BeyondEnd(MailError):
    """A transfer is to begin where the file has ended already (RFC 3659 section 5.3)."""

    default_text = "That is beyond the end of the file"
