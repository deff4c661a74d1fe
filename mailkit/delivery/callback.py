"""Mail for programs: a function of yours gets every message."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, cast

from twisted.cred.checkers import AllowAnonymousAccess
from twisted.cred.portal import IRealm, Portal
from zope.interface import Interface, implementer

from mailkit.errors import NoSuchRecipient, RelayDenied
from mailkit.interfaces import IDeliveryAbilities, IMessageDelivery
from mailkit.model import Ability, Envelope, Outcome, Path, Recipient
from mailkit.spool import Spool

#: Gets a message; the spool is readable until the result is there. Raises a ``MailError`` to
#: refuse it, or gives an outcome for each recipient, in the envelope's order.
Handler = Callable[[Envelope, Spool], Awaitable[Sequence[Outcome] | None]]


@implementer(IMessageDelivery, IDeliveryAbilities)
class CallableDelivery:
    """Calls a function for each message to some domains.

    The message is acknowledged when the function returns: by then it must be safe.

    :param handler: called with the envelope and the message.
    :param domains: the domains that get mail here. All others are refused, so that nobody's server
        becomes an open relay.
    :param accepts: whether an address in these domains exists; None for all of them.
    :param abilities: what ``handler`` keeps of what senders ask for; it finds that in the envelope.
    :raises ValueError: there are no domains.
    """

    def __init__(
        self,
        handler: Handler,
        domains: Iterable[str],
        accepts: Callable[[Path], bool] | None = None,
        abilities: Iterable[Ability] = (Ability.BINARYMIME,),
    ) -> None:
        if isinstance(domains, str):
            raise ValueError("domains is a list of names, not one name")
        self.domains = frozenset(domain.lower() for domain in domains)
        if not self.domains or any(not domain or "*" in domain for domain in self.domains):
            raise ValueError("name the domains that get mail here, without wildcards")
        self.abilities = frozenset(abilities)
        self._handler = handler
        self._accepts = accepts

    async def check_sender(self, envelope: Envelope) -> None:
        """Anybody may send."""

    async def check_recipient(self, envelope: Envelope, recipient: Recipient) -> None:
        path = recipient.path
        if not path.domain:
            # RFC 5321 section 4.5.1: Postmaster without a domain is always ours.
            return
        if path.domain.lower() not in self.domains:
            raise RelayDenied
        if path.local_part.lower() != "postmaster" and self._accepts and not self._accepts(path):
            raise NoSuchRecipient

    async def deliver(self, envelope: Envelope, message: Spool) -> Sequence[Outcome]:
        outcomes = await self._handler(envelope, message)
        if outcomes is None:
            return [Outcome(recipient) for recipient in envelope.recipients]
        return outcomes


@implementer(IRealm, IDeliveryAbilities)
class _OneDelivery:
    def __init__(self, delivery: IMessageDelivery) -> None:
        self._delivery = delivery
        abilities: frozenset[Ability] = frozenset()
        if IDeliveryAbilities.providedBy(delivery):
            abilities = delivery.abilities
        self.abilities = abilities

    def requestAvatar(self, avatar_id: Any, mind: Any, *interfaces: type[Interface]) -> Any:
        if IMessageDelivery not in interfaces:
            raise NotImplementedError("only mail is delivered here")
        return IMessageDelivery, self._delivery, lambda: None


def delivery_portal(delivery: IMessageDelivery) -> Portal:
    """A portal that gives everybody one delivery and knows no users."""
    return Portal(cast(Any, _OneDelivery(delivery)), [AllowAnonymousAccess()])
