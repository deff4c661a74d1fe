"""Delivery by routes: some domains' mail goes to other deliveries than the store.

An address is looked up in the directory first: aliases, catch-alls and the domains that are aliases
lead to further addresses, here or elsewhere. Each of these then goes where its domain's route says,
and without a route to the store. A recipient in a domain that has a route, and that the directory
does not know, goes to that route as it is: there the delivery itself knows who exists.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, TypeAlias

from twisted.internet.defer import Deferred, gatherResults
from twisted.python.failure import Failure

from mailkit._typing import override
from mailkit.copies import changed
from mailkit.delivery.fields import (
    delivered_to,
    has_delivered_to,
    read_header,
    read_identity,
)
from mailkit.delivery.local import NO_QUEUE, LocalMessageDelivery, will_be_repeated, worst
from mailkit.delivery.owners import is_own_address
from mailkit.errors import (
    MailError,
    MailLoop,
    NoSuchRecipient,
    RelayDenied,
    StoreFull,
    TemporaryFailure,
)
from mailkit.interfaces import IDeliveryAbilities, IDirectory, IMailStore, IMessageDelivery
from mailkit.model import Ability, Envelope, LocalResult, Outcome, Path, Recipient, Resolution
from mailkit.spool import Spool
from mailkit.wire.domains import canonical_domain

_NOWHERE = "Mail for this address goes to another domain, to which this server has no route"


@dataclass(frozen=True)
class Routes:
    """Which delivery gets the mail for which domain.

    :param domains: deliveries by domain.
    :param default: gets what goes to any other domain: from users who have logged in, and by
        aliases. None where no such mail is taken.
    """

    domains: Mapping[str, IMessageDelivery] = field(default_factory=dict)
    default: IMessageDelivery | None = None

    def __post_init__(self) -> None:
        known = {canonical_domain(name): delivery for name, delivery in self.domains.items()}
        object.__setattr__(self, "domains", known)

    def __iter__(self) -> Iterator[IMessageDelivery]:
        yield from self.domains.values()
        if self.default is not None:
            yield self.default

    def find(self, domain: str) -> IMessageDelivery | None:
        """The delivery of a domain that has one of its own."""
        return self.domains.get(canonical_domain(domain)) if self.domains else None


@dataclass
class Forward:
    """One message to one delivery: those recipients who lead there by the same way."""

    delivery: IMessageDelivery
    #: The alias that leads there, when it was not the recipient's own address.
    alias: Path | None
    recipients: dict[Path, Recipient] = field(default_factory=dict)
    #: What became of it.
    errors: dict[Path, MailError | None] = field(default_factory=dict)

    def fail(self, error: MailError) -> None:
        """Nobody gets it."""
        self.errors |= dict.fromkeys(self.recipients, error)


class Part(NamedTuple):
    """One of the places to which a recipient's address leads."""

    recipient: Recipient
    #: An address that leads there and nowhere else.
    path: Path
    error: MailError | None


#: What messages to forward are told apart by.
_Way: TypeAlias = "tuple[int, Path | None]"


class RoutingDelivery(LocalMessageDelivery):
    """Splits a transaction by routes, and puts the outcomes together again.

    The deliveries of the routes come first, at the same time; then the store, in one step. What
    fails in one of them concerns only the recipients who lead there.

    :param routes: where which domain's mail goes.
    """

    def __init__(
        self,
        store: IMailStore,
        directory: IDirectory,
        account: str | None = None,
        *,
        routes: Routes,
        **settings: Any,
    ) -> None:
        super().__init__(store, directory, account, **settings)
        self._routes = routes

    @property
    @override
    def abilities(self) -> frozenset[Ability]:
        """What the store's delivery and those of all routes can promise."""
        abilities = super().abilities
        for route in self._routes:
            # The directory alone answers who has an address.
            others = {Ability.QUERIES}
            promising: Any = route
            if IDeliveryAbilities.providedBy(promising):
                others |= promising.abilities
            abilities &= others
        return abilities

    @override
    async def resolve(self, path: Path) -> Resolution:
        """Accounts of the store; all that goes by a route is ``remote``.

        :raises MailError: nobody gets mail for the address, or there is no route to them.
        """
        try:
            found: Resolution = await self._directory.resolve(path=path)
        except (RelayDenied, NoSuchRecipient) as error:
            if self._routes.find(path.domain) is None:
                if isinstance(error, NoSuchRecipient) or self.account is None:
                    raise
                if self._routes.default is None:
                    raise RelayDenied(NO_QUEUE) from None
            return Resolution((), "", (path,))
        accounts, remote = [], list(found.remote)
        for account in found.accounts:
            local, _, domain = account.rpartition("@")
            if self._routes.find(domain) is None:
                accounts.append(account)
            elif is_own_address(path, found):
                # With the sub-address, of which the other side may make something.
                remote.append(path)
            else:
                remote.append(Path(local, domain))
        for target in remote:
            if self._delivery_for(target) is None:
                raise RelayDenied(_NOWHERE)
        if not accounts and not remote:
            raise NoSuchRecipient
        return Resolution(tuple(accounts), found.detail, tuple(remote))

    def _delivery_for(self, path: Path) -> IMessageDelivery | None:
        return self._routes.find(path.domain) or self._routes.default

    @override
    async def check_recipient(self, envelope: Envelope, recipient: Recipient) -> None:
        await super().check_recipient(envelope, recipient)
        resolution = self._resolutions.get((envelope.transaction_id, recipient.path))
        if resolution is None:
            resolution = await self.resolve(recipient.path)
        if resolution.accounts:
            return
        errors: list[MailError] = []
        for path in resolution.remote:
            delivery = self._delivery_for(path)
            assert delivery is not None
            try:
                await delivery.check_sender(envelope=envelope)
                await delivery.check_recipient(envelope=envelope, recipient=_at(recipient, path))
            except MailError as error:
                errors.append(error)
            else:
                # One of those to whom an alias leads is enough.
                return
        if (refusal := worst(errors)) is not None:
            raise refusal

    @override
    async def deliver(self, envelope: Envelope, message: Spool) -> Sequence[Outcome]:
        targets = await self.find_targets(envelope)
        return outcomes(await self.deliver_to(envelope, message, targets))

    async def deliver_to(
        self, envelope: Envelope, message: Spool, targets: list[Resolution | MailError]
    ) -> list[list[Part]]:
        """Deliver a message whose recipients have been looked up.

        :param targets: one a recipient; those that would make a loop are replaced.
        :returns: what became of it, by recipient.
        """
        self._stop_loops(envelope, message, targets)
        forwards = self._forwards(envelope, targets)
        identity = None
        # The store may take what is in a file.
        in_file = message.path is not None
        if self._served or (in_file and self._served is not None):
            identity = read_identity(envelope, message)
        if self._served and identity is not None:
            self._drop_served(envelope, identity, forwards.values())
        sending = [
            Deferred.fromCoroutine(self._send_on(envelope, message, forward))
            for forward in forwards.values()
            if forward.recipients and not self.goes_later(forward)
        ]
        if sending:
            await gatherResults(sending)
        results = await self.store_rest(envelope, message, targets, forwards.values())
        parts = [
            self._parts(recipient, target, results, forwards)
            for recipient, target in zip(envelope.recipients, targets, strict=True)
        ]
        if (
            self._served is not None
            and not self.answers_for(envelope)
            and will_be_repeated(outcomes(parts))
        ):
            if not in_file:
                identity = read_identity(envelope, message)
            self.remember_served(envelope, identity, targets, results)
            self._remember_forwarded(envelope, identity, forwards.values())
        return parts

    def goes_later(self, forward: Forward) -> bool:
        """Whether :meth:`store_rest` takes what goes by a route; it notes that nothing has failed."""
        return False

    def answers_for(self, envelope: Envelope) -> bool:
        """Whether the sender is told of failures by report, and tries nothing again."""
        return False

    def _parts(
        self,
        recipient: Recipient,
        target: Resolution | MailError,
        results: Mapping[str, LocalResult],
        forwards: Mapping[_Way, Forward],
    ) -> list[Part]:
        """What became of a recipient in each place."""
        if isinstance(target, MailError):
            return [Part(recipient, recipient.path, target)]
        parts = []
        for account in target.accounts:
            path = recipient.path
            if len(target.accounts) + len(target.remote) > 1:
                local, _, domain = account.rpartition("@")
                path = Path(local, domain)
            parts.append(Part(recipient, path, results[account].error))
        for path in target.remote:
            error = forwards[self._way(recipient, path)].errors[path]
            parts.append(Part(recipient, path, error))
        return parts

    def _drop_served(
        self, envelope: Envelope, identity: bytes, forwards: Iterable[Forward]
    ) -> None:
        """Send nothing to whom an earlier attempt of the sender has reached."""
        assert self._served is not None
        for forward in forwards:
            for path in list(forward.recipients):
                if self._served.has(envelope.reverse_path, identity, path):
                    del forward.recipients[path]
                    forward.errors[path] = None

    def _remember_forwarded(
        self, envelope: Envelope, identity: bytes | None, forwards: Iterable[Forward]
    ) -> None:
        if self._served is None or identity is None:
            return
        for forward in forwards:
            for path, error in forward.errors.items():
                if error is None:
                    self._served.remember(envelope.reverse_path, identity, path)

    async def store_rest(
        self,
        envelope: Envelope,
        message: Spool,
        targets: Sequence[Resolution | MailError],
        forwards: Collection[Forward],
    ) -> dict[str, LocalResult]:
        """Give the store its part."""
        sent = any(error is None for each in forwards for error in each.errors.values())
        try:
            return await self.store(envelope, message, targets, sent=sent)
        except MailError as error:
            if not forwards:
                raise
            return self.all_failed(targets, error)

    @staticmethod
    def all_failed(
        targets: Sequence[Resolution | MailError], error: MailError
    ) -> dict[str, LocalResult]:
        """What becomes of all accounts when the store takes nothing."""
        accounts = [
            account
            for target in targets
            if isinstance(target, Resolution)
            for account in target.accounts
        ]
        return dict.fromkeys(accounts, LocalResult(error=error))

    @staticmethod
    def _stop_loops(
        envelope: Envelope, message: Spool, targets: list[Resolution | MailError]
    ) -> None:
        """Refuse to send on what an alias of ours has sent on before."""
        header = None
        for index, (recipient, target) in enumerate(zip(envelope.recipients, targets, strict=True)):
            if isinstance(target, MailError) or set(target.remote) <= {recipient.path}:
                # Nobody's, the store's, or the address's own route.
                continue
            if header is None:
                header = read_header(message)
            if has_delivered_to(header, recipient.path):
                targets[index] = MailLoop()

    def _way(self, recipient: Recipient, path: Path) -> _Way:
        alias = None if path == recipient.path else recipient.path
        return id(self._delivery_for(path)), alias

    def _forwards(
        self, envelope: Envelope, targets: Sequence[Resolution | MailError]
    ) -> dict[_Way, Forward]:
        """The messages that go by routes."""
        forwards: dict[_Way, Forward] = {}
        for recipient, target in zip(envelope.recipients, targets, strict=True):
            for path in target.remote if isinstance(target, Resolution) else ():
                way = self._way(recipient, path)
                if way not in forwards:
                    delivery = self._delivery_for(path)
                    assert delivery is not None
                    forwards[way] = Forward(delivery, way[1])
                forwards[way].recipients.setdefault(path, _at(recipient, path))
        return forwards

    async def _send_on(self, envelope: Envelope, message: Spool, forward: Forward) -> None:
        """Hand over one message; raises nothing."""
        part = changed(envelope, recipients=list(forward.recipients.values()))
        try:
            shared = message.share()
        except OSError as error:
            self.log.error("cannot share a message: {error}", error=error)
            forward.fail(StoreFull())
            return
        try:
            if forward.alias is not None and forward.alias.domain:
                shared.prepend(delivered_to(forward.alias))
            outcomes = await forward.delivery.deliver(envelope=part, message=shared)
            if len(outcomes) != len(part.recipients):
                raise ValueError("the delivery told no outcome for some recipient")
            for path, outcome in zip(forward.recipients, outcomes, strict=True):
                forward.errors[path] = outcome.error
        except MailError as error:
            forward.fail(error)
        except Exception:
            self.log.failure("a delivery failed", Failure())
            forward.fail(TemporaryFailure())
        finally:
            shared.close()


def outcomes(parts: Iterable[Sequence[Part]]) -> list[Outcome]:
    """What the sender is told of each recipient."""
    return [Outcome(each[0].recipient, worst(part.error for part in each)) for each in parts]


def _at(recipient: Recipient, path: Path) -> Recipient:
    """A recipient under the address to which its own leads."""
    return recipient if path == recipient.path else replace(recipient, path=path)
