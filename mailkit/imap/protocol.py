"""IMAP for whoever serves it: the factory, and the connections that it makes (RFC 3501)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from twisted.cred.portal import Portal
from twisted.internet.interfaces import IReactorTime

import mailkit
from mailkit._typing import override
from mailkit.connection import CommandFactory
from mailkit.imap.clients import ClientRule
from mailkit.imap.connection import IMAPProtocol
from mailkit.imap.handlers.registry import ENABLEABLE, LIST_OPTIONS, checked_names
from mailkit.imap.quirks import DEFAULT_QUIRKS, checked_quirks
from mailkit.interfaces import IMailAccount, IReferringRealm
from mailkit.seats import Seats, TryLock
from mailkit.translation import checked_language

__all__ = ["ClientRule", "IMAPFactory", "IMAPProtocol"]


#: Octets of a non-synchronizing literal under LITERAL- (RFC 7888 section 5).
MAX_UNASKED = 4096


def _refers(portal: Portal | None) -> bool:
    return portal is not None and IReferringRealm.providedBy(portal.realm)


def checked_limit(messages: int | None) -> int:
    """A limit of messages, 0 for none.

    :raises ValueError: it leaves nothing to work on.
    """
    if messages is not None and messages < 1:
        raise ValueError("a command works on one message at least")
    return messages or 0


class IMAPFactory(CommandFactory):
    """Serves IMAP to clients that log in at a portal, whose realm gives ``IMailAccount``.

    :param portal: where clients log in.
    :param account: an account that every connection is logged in to from the start (PREAUTH), for
        a UNIX socket or a tunnel that knows its user.
    :param timeout: seconds of silence after login; RFC 3501 section 5.4 wants 1800 at least.
    :param login_timeout: seconds of silence before login.
    :param max_message_size: octets of a message that APPEND takes.
    :param max_line: octets of a command outside of its literals, after login.
    :param max_login_line: the same before login.
    :param max_sessions_per_account: connections at the same time that are logged in to one account.
    :param max_literal: octets of a literal that is not a message.
    :param poll_interval: seconds between looks at a mailbox that does not tell of changes, in IDLE.
    :param admin_uri: how clients are told to reach the administrator, such as
        ``mailto:postmaster@example.org`` (RFC 5464 section 6.2.2).
    :param identification: what ID answers (RFC 2971); empty to answer NIL.
    :param without: names of capabilities that are not offered, with what they bring.
    :param clients: what is different for clients that name themselves in ID; RFC 2971 section 3
        forbids a server to act upon it, so there is nothing unless the operator wants it.
    :param quirks: what is done for clients that get something wrong:
        :data:`mailkit.imap.quirks.QUIRKS`.
    :param utf8_only: serve nobody who has not sent ENABLE UTF8=ACCEPT (RFC 6855 section 6).
    :param short_literals: take non-synchronizing literals of at most 4096 octets, LITERAL- in place
        of LITERAL+ (RFC 7888 section 5), so that no message comes before it is known to be welcome.
    :param submission_accounts: names of accounts that are submission servers, which may use URLs
        that were made for their users (RFC 4467, ``submit+``).
    :param message_limit: messages that one FETCH, SEARCH, STORE, COPY, MOVE, UID EXPUNGE or APPEND
        works on (RFC 9738, which wants 1000 at least); None for any number.
    :param gmail_extensions: offer labels, numbers and searches as Gmail does (X-GM-EXT-1); some
        clients take a server that does for Gmail itself.
    :param language: what a client gets that leaves the choice to the server: ``en``, ``de`` or
        ``ru`` (RFC 5255); who asks for nothing gets English in ASCII.
    :raises ValueError: ``quirks`` names something that is not there, or ``without`` or ``clients``
        name a capability that is not there, or cannot be left out; there is no such
        ``language``; ``message_limit`` is below 1.

    Further parameters are those of :class:`~mailkit.connection.CommandFactory`.
    """

    connection_class = IMAPProtocol

    def __init__(
        self,
        portal: Portal | None = None,
        *,
        account: IMailAccount | None = None,
        clock: IReactorTime | None = None,
        timeout: float = 1800.0,
        login_timeout: float = 180.0,
        max_message_size: int = 100 * 1024 * 1024,
        max_line: int = 2 * 1024 * 1024,
        max_login_line: int = 16 * 1024,
        max_sessions_per_account: int = 100,
        max_literal: int = 64 * 1024,
        poll_interval: float = 30.0,
        admin_uri: str = "",
        identification: Mapping[str, str] | None = None,
        without: Iterable[str] = (),
        submission_accounts: Iterable[str] = (),
        clients: Iterable[ClientRule] = (),
        quirks: Iterable[str] = DEFAULT_QUIRKS,
        utf8_only: bool = False,
        short_literals: bool = False,
        message_limit: int | None = None,
        gmail_extensions: bool = False,
        language: str = "en",
        **settings: Any,
    ) -> None:
        super().__init__(portal, clock=clock, timeout=timeout, **settings)
        self.account = account
        self.login_timeout = login_timeout
        self.max_message_size = max_message_size
        self.max_line = max_line
        self.max_login_line = min(max_login_line, max_line)
        self.max_sessions_per_account = max_sessions_per_account
        #: Of the sessions of each account.
        self.accounts = Seats()
        #: What clients without TLS have been greeted with, by what it depends on.
        self.greetings: dict[tuple[object, ...], bytes] = {}
        self.max_literal = max_literal
        #: Octets of the messages of one APPEND together (RFC 3502).
        self.max_append_octets = 2 * max_message_size
        #: Octets of an unwanted literal that are read and thrown away to stay in step.
        self.max_swallow = 2 * max_message_size
        self.poll_interval = poll_interval
        self.admin_uri = admin_uri
        self.submission_accounts = frozenset(submission_accounts)
        if identification is None:
            identification = {"name": "mailkit", "version": mailkit.__version__}
        self.identification = identification
        #: What LIST can be asked to return.
        self.list_options = LIST_OPTIONS
        #: What ENABLE can switch on.
        self.enableable = ENABLEABLE
        #: Capabilities that nobody is offered, in capitals.
        self.without = checked_names(without)
        #: Capabilities that are offered instead of others.
        self.choices = frozenset(
            name
            for name, chosen in (
                (b"UTF8=ONLY", utf8_only),
                (b"LITERAL-", short_literals),
                (b"X-GM-EXT-1", gmail_extensions),
                (b"LOGIN-REFERRALS", _refers(portal)),
            )
            if chosen
        )
        #: Octets of a non-synchronizing literal; None without a limit of its own.
        self.max_unasked = MAX_UNASKED if short_literals else None
        self.message_limit = checked_limit(message_limit)
        self.language = checked_language(language)
        self.quirks = checked_quirks(quirks)
        self.clients = tuple(
            rule._replace(
                without=checked_names(rule.without),
                quirks=checked_quirks(rule.quirks) | self.quirks,
            )
            for rule in clients
        )

    @override
    def share_limits(self, name: str, try_lock: TryLock) -> None:
        super().share_limits(name, try_lock)
        self.accounts.share(f"{name} account", try_lock)

    def admit_session(self, account: str) -> bool:
        """Count a connection that logs in to an account; false when there are too many."""
        return self.accounts.take(account, self.max_sessions_per_account)

    def release_session(self, account: str) -> None:
        """A connection is not logged in to that account any more."""
        self.accounts.give_back(account)
