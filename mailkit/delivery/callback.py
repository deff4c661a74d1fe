"""Mail for programs: a function of yours gets every message."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, cast

from twisted.cred.checkers import ANONYMOUS, AllowAnonymousAccess, ICredentialsChecker
from twisted.cred.portal import IRealm, Portal
from zope.interface import Interface, alsoProvides, implementer, providedBy

from mailkit.errors import NoSuchRecipient, RelayDenied
from mailkit.interfaces import IDeliveryAbilities, IMessageDelivery, ISenderPolicy
from mailkit.model import Ability, Envelope, Outcome, Path, Recipient
from mailkit.spool import Spool
from mailkit.wire.domains import canonical_domain

#: Gets a message; the spool is readable until the result is there. Raises a ``MailError`` to
#: refuse it, or gives an outcome for each recipient, in the envelope's order.
Handler = Callable[
    [Envelope, Spool], Awaitable[Sequence[Outcome] | None] | Sequence[Outcome] | None
]
#: Whether an address exists. Raises a ``MailError`` to refuse it with another reply than that.
Judge = Callable[[Path], Awaitable[bool] | bool]


@implementer(IMessageDelivery, IDeliveryAbilities)
class CallableDelivery:
    """Calls a function for each message to some domains.

    The message is acknowledged when the function returns: by then it must be safe. Both functions
    may be ``async``, or give a Deferred; those that are not must not block.

    :param handler: called with the envelope and the message. It raises a
        :class:`~mailkit.errors.MailError` to refuse the message, or gives None when all have got it,
        or an :class:`~mailkit.model.Outcome` for each of the envelope's recipients.
    :param domains: the domains that get mail here. All others are refused, so that nobody's server
        becomes an open relay.
    :param accepts: called with the :class:`~mailkit.model.Path` of each recipient: whether that
        address exists in these domains. It may raise a :class:`~mailkit.errors.MailError` instead,
        for another reply. None for all addresses. Postmaster gets mail without being asked for.
    :param abilities: what ``handler`` keeps of what senders ask for; it finds that in the envelope.
    :raises ValueError: there are no domains.
    """

    def __init__(
        self,
        handler: Handler,
        domains: Iterable[str],
        accepts: Judge | None = None,
        abilities: Iterable[Ability] = (Ability.BINARYMIME,),
    ) -> None:
        if isinstance(domains, str):
            raise ValueError("domains is a list of names, not one name")
        self.domains = frozenset(map(canonical_domain, domains))
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
        if canonical_domain(path.domain) not in self.domains:
            raise RelayDenied
        if self._accepts is None or path.local_part.lower() == "postmaster":
            return
        answer = self._accepts(path)
        if not (await answer if inspect.isawaitable(answer) else answer):
            raise NoSuchRecipient

    async def deliver(self, envelope: Envelope, message: Spool) -> Sequence[Outcome]:
        answer = self._handler(envelope, message)
        outcomes = await answer if inspect.isawaitable(answer) else answer
        if outcomes is None:
            return [Outcome(recipient) for recipient in envelope.recipients]
        if not isinstance(outcomes, Sequence) or isinstance(outcomes, str):
            raise TypeError(f"a handler gives None or a list of outcomes, not {outcomes!r}")
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
        delivery: Any = self._delivery
        if avatar_id != ANONYMOUS:
            delivery = _UserDelivery(delivery, avatar_id)
        return IMessageDelivery, delivery, lambda: None


@implementer(IMessageDelivery, ISenderPolicy)
class _UserDelivery:
    """The delivery of all for one user, whose name is what a checker says."""

    def __init__(self, delivery: Any, avatar_id: Any) -> None:
        self._delivery = delivery
        # Two names must not become one.
        name = avatar_id.decode("utf-8") if isinstance(avatar_id, bytes) else avatar_id
        if not isinstance(name, str):
            raise TypeError(f"a checker gave no name of a user, but {type(name).__name__}")
        self.account: str | None = name
        alsoProvides(self, *providedBy(delivery))

    def __getattr__(self, name: str) -> Any:
        """What the other interfaces of the delivery have."""
        if not any(name in interface for interface in providedBy(self._delivery)):
            raise AttributeError(name)
        return getattr(self._delivery, name)

    async def check_sender(self, envelope: Envelope) -> None:
        await self._delivery.check_sender(envelope=envelope)

    async def check_recipient(self, envelope: Envelope, recipient: Recipient) -> None:
        await self._delivery.check_recipient(envelope=envelope, recipient=recipient)

    async def deliver(self, envelope: Envelope, message: Spool) -> Sequence[Outcome]:
        outcomes: Sequence[Outcome] = await self._delivery.deliver(
            envelope=envelope, message=message
        )
        return outcomes

    async def owns_address(self, path: Path) -> bool:
        if not ISenderPolicy.providedBy(self._delivery):
            return True
        owned: bool = await self._delivery.owns_address(path=path)
        return owned


def delivery_portal(
    delivery: IMessageDelivery, checkers: Iterable[ICredentialsChecker] = ()
) -> Portal:
    """A portal that gives everybody one delivery.

    :param checkers: know users, who may log in and get the same delivery; the envelope's ``account``
        is the avatar id that a checker gives, as text. A portal asks one checker for each kind of
        credentials. Without any nobody logs in.
    :raises ValueError: that is no delivery.
    """
    if not all(callable(getattr(delivery, name, None)) for name in IMessageDelivery):
        raise ValueError(
            f"{delivery!r} is no IMessageDelivery; CallableDelivery makes one of a function"
        )
    return Portal(cast(Any, _OneDelivery(delivery)), [AllowAnonymousAccess(), *checkers])
