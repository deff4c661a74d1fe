"""What the tables of commands and capabilities are made of."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from zope.interface import Interface, providedBy
from zope.interface.declarations import Declaration

from mailkit.imap.grammar import Arguments, Command
from mailkit.imap.state import State
from mailkit.model import MailboxInfo

if TYPE_CHECKING:
    from mailkit.imap.connection import IMAPProtocol
    from mailkit.imap.offering import OfferingConnection

Waiting: TypeAlias = Coroutine[Any, Any, None] | None

#: RFC 3501 section 6.1: valid in any state.
ANY = frozenset((State.NOT_AUTHENTICATED, State.AUTHENTICATED, State.SELECTED))
#: RFC 3501 section 6.2.
NOT_AUTHENTICATED = frozenset((State.NOT_AUTHENTICATED,))
#: RFC 3501 section 6.3: valid after a mailbox is selected, too.
AUTHENTICATED = frozenset((State.AUTHENTICATED, State.SELECTED))
#: RFC 3501 section 6.4.
SELECTED = frozenset((State.SELECTED,))


class Verb(NamedTuple):
    """One command."""

    states: frozenset[State]
    #: Reads the arguments and answers. Runs at once (returning None), or as a coroutine.
    run: Callable[[IMAPProtocol, Command], Waiting]
    #: EXPUNGE may be sent before its tagged response (RFC 3501 section 7.4.1).
    expunges: bool = True
    #: It removes messages: EXPUNGE answers it, whatever the client wants to be told of besides.
    removes: bool = False
    #: EXISTS is sent although new mail is delayed (the quirk ``delay-newmail``).
    arrivals: bool = False
    #: It is a UID command: FETCH responses tell the UID (RFC 3501 section 6.4.8).
    by_uid: bool = False
    #: The capability without which there is no such command; empty for those of the base protocol.
    extension: bytes = b""


class Facts(NamedTuple):
    """All that decides what a client is offered."""

    #: If it is, only what is about the account counts, and the rest is false.
    logged_in: bool
    can_start_tls: bool
    #: Passwords may be sent over the connection as it is.
    takes_passwords: bool
    #: What the account provides; None before login.
    provided: Declaration | None = None
    #: Octets of a message that APPEND takes.
    max_message_size: int = 0
    #: Capabilities that the server's owner has chosen instead of others: ``UTF8=ONLY``.
    choices: frozenset[bytes] = frozenset()
    #: Messages that one command works on; 0 for any number.
    message_limit: int = 0
    #: SASL mechanisms that the client may use now.
    mechanisms: tuple[str, ...] = ()

    def provides(self, ability: type[Interface]) -> bool:
        """Whether somebody is logged in whose account has the ability."""
        return self.provided is not None and self.provided.isOrExtends(ability)


def facts_of(connection: OfferingConnection) -> Facts:
    """What decides it for the client of a connection, as it stands now."""
    if connection.known is not None:
        return connection.known
    factory, account = connection.factory, connection.account
    if account is None:
        return Facts(
            False,
            connection.can_start_tls,
            connection.may_send_plaintext_passwords(),
            choices=factory.choices,
            mechanisms=tuple(connection.mechanisms()),
        )
    connection.known = Facts(
        True,
        False,
        False,
        providedBy(account),
        factory.max_message_size,
        factory.choices,
        factory.message_limit,
    )
    return connection.known


def always(facts: Facts) -> bool:
    """For a capability that every client is offered."""
    return True


def after_login(facts: Facts) -> bool:
    """For a capability that says nothing before login."""
    return facts.logged_in


def _no_value(facts: Facts) -> bytes:
    return b""


class Capability(NamedTuple):
    """A word of the CAPABILITY response."""

    name: bytes
    offered: Callable[[Facts], bool] = always
    #: The capability without which this one is not there either, or several.
    needs: bytes | tuple[bytes, ...] = b""
    #: The ability without which an account is not offered it.
    provides: type[Interface] | None = None
    #: The capability in whose place it is told.
    unless: bytes = b""
    #: What stands behind the name.
    value: Callable[[Facts], bytes] = _no_value

    def suits(self, facts: Facts) -> bool:
        """Whether a client is offered it."""
        return self.offered(facts) and (self.provides is None or facts.provides(self.provides))


#: What ENABLE does for an extension (RFC 5161), by its name as CAPABILITY tells it. A module brings
#: its own as ``ENABLEABLE``.
Enabling: TypeAlias = Mapping[bytes, Callable[["IMAPProtocol"], None]]


class ReturnOption(NamedTuple):
    """What LIST can be asked to return (RFC 5258 section 3.2), by its name in capitals.

    A module brings its options as ``LIST_OPTIONS``, and the registry puts them together.
    """

    #: The capability without which there is no such option.
    extension: bytes
    #: Reads what stands behind the option's name; None where nothing does.
    read: Callable[[IMAPProtocol, Arguments], Any] | None = None
    #: Gives the whole responses, if any, that follow the LIST response of a mailbox; it is also
    #: asked about mailboxes that are not selectable. ``NoSuchMailbox`` says that this user cannot
    #: select the mailbox, which LIST then tells (RFC 5819 section 2); any other ``MailError`` leaves
    #: the responses out.
    answer: Callable[[IMAPProtocol, MailboxInfo, Any], Awaitable[bytes]] | None = None
