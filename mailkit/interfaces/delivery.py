"""The contracts of delivery: what SMTP, submission and LMTP hand mail to."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence

from zope.interface import Attribute, Interface

from mailkit.model import Ability, Envelope, Outcome, Path, Recipient
from mailkit.spool import Spool


class IMessageDelivery(Interface):
    """Takes mail: the avatar that SMTP, submission and LMTP ask a portal for."""

    def check_sender(envelope: Envelope) -> Awaitable[None]:
        """Judge MAIL FROM; the reverse-path and parameters are in the envelope, no recipient yet.

        :raises MailError: refused.
        """

    def check_recipient(envelope: Envelope, recipient: Recipient) -> Awaitable[None]:
        """Judge one RCPT TO; ``recipient`` is not in the envelope yet.

        :raises NoSuchRecipient: a domain of ours without such a user.
        :raises RelayDenied: not a domain of ours, and the client may not relay.
        """

    def deliver(envelope: Envelope, message: Spool) -> Awaitable[Sequence[Outcome]]:
        """Take the message for all recipients; durable when this returns.

        The spool holds the message with its Received field; the caller closes it afterwards.

        :returns: one outcome a recipient, in the envelope's order.
        """


class IClosableDelivery(Interface):
    """A delivery that holds connections or the like."""

    def close() -> Awaitable[None]:
        """Release them. No message may follow."""


class IDeliveryAbilities(Interface):
    """A delivery that can promise more than to deliver or refuse at once.

    A realm may provide it too: it then speaks for the deliveries that it gives, to clients that
    have not logged in yet. Without either nothing is promised, and what needs the promise is not
    announced.
    """

    abilities: frozenset[Ability] = Attribute("""What it can promise.""")


class IQueueStarter(Interface):
    """A delivery that can be asked to send now what waits for a host (ETRN, RFC 1985)."""

    def start_queue(node: str, account: str | None) -> Awaitable[int | None]:
        """Try to send what waits; returns at once.

        :param node: a domain; ``@`` and a domain for its subdomains too; ``#`` and the name of a
            queue.
        :param account: who asks, None for somebody who has not logged in.
        :returns: how many messages wait, None when that is not known.
        :raises PermissionDenied: not for this client, with the reason.
        """


class IAddressQueries(Interface):
    """A delivery that tells who has an address (VRFY and EXPN, RFC 5321 section 3.5)."""

    def verify_address(text: str) -> Awaitable[Sequence[Path]]:
        """The mailboxes that somebody may mean: one, or several when that is not clear.

        :param text: an address, or a name.
        :raises NoSuchRecipient: there is none.
        """

    def expand_list(text: str) -> Awaitable[Sequence[Path]]:
        """The members of a mailing list or an alias.

        :raises NoSuchRecipient: there is none.
        """


class ISenderPolicy(Interface):
    """A delivery that knows under which addresses its user may write (RFC 6409 section 6.1)."""

    account: str | None = Attribute("""Canonical name of the user, or None for everybody.""")

    def owns_address(path: Path) -> Awaitable[bool]:
        """Whether the user may send as that address."""


class IOwnerVerifier(Interface):
    """A delivery that knows since when addresses have had their owners (RFC 7293)."""

    def verify_owner(recipient: Recipient) -> Awaitable[bool]:
        """Compare ``rrvs`` of a recipient with the age of the account.

        :returns: whether that was done: not for an address whose mail goes elsewhere, or that
            belongs to a task (RFC 2142).
        :raises OwnerChanged: the account is younger.
        :raises OwnerUnknown: nobody knows.
        """


class IRecipientVerifier(Interface):
    """Knows whether the server that mail goes on to would take it for an address."""

    def verify(path: Path) -> Awaitable[None]:
        """Return when it would.

        :raises MailError: it would not; or, when the error is temporary, nobody can tell now.
        """
