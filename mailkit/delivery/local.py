"""Local delivery: from recipients to the mailboxes of one store."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from twisted.logger import Logger
from zope.interface import implementer

from mailkit.delivery.duplicates import Duplicates, Served
from mailkit.delivery.fields import delivered_to, read_identity, return_path
from mailkit.delivery.owners import AddressOwners
from mailkit.errors import (
    MailError,
    NoSuchAccount,
    NoSuchMailbox,
    NoSuchRecipient,
    OverQuota,
    RelayDenied,
    SenderRefused,
)
from mailkit.interfaces import (
    IAccessDirectory,
    IDirectory,
    IMailStore,
    IMessageDelivery,
    IOwnerVerifier,
    IQuotaDirectory,
    ISenderPolicy,
    ISpooling,
)
from mailkit.model import (
    INBOX,
    SEEN,
    Envelope,
    LocalDelivery,
    LocalResult,
    Outcome,
    Path,
    Recipient,
    Resolution,
)
from mailkit.rights import ANYONE, effective_rights, identifiers_of
from mailkit.spool import Spool

#: Recipients whose resolution is remembered between RCPT and the delivery.
MAX_RESOLUTIONS = 10_000

#: Why users cannot send to others.
NO_QUEUE = "This server does not send mail to other domains"
_REMOTE_ALIAS = "Mail for this address goes to another domain, to which this server sends none"


@implementer(IMessageDelivery, ISpooling, ISenderPolicy, IOwnerVerifier)
class LocalMessageDelivery(AddressOwners):
    """Delivers to the accounts of one store and to nobody else.

    :param store: keeps the messages.
    :param directory: knows the accounts and aliases.
    :param account: the authenticated account that sends; None for everybody.
    :param detail_to_mailbox: mail for a sub-address (``ann+lists@``) goes to the mailbox of that
        name (``lists``) where there is one, instead of INBOX.
    :param detail_by_acl: the same, but only where the access control list of the mailbox gives the
        right ``p`` to ``account``, or to anyone (RFC 4314 section 2.1).
    :param sent_copy: what the account sends is also put into its mailbox for sent mail, in the same
        step.
    :param duplicates: knows what came before, so that it is not kept twice; for all deliveries of
        a store together.
    :param served: knows who has got what its sender was told to send again; for all deliveries of
        a store together.
    """

    log = Logger()

    def __init__(
        self,
        store: IMailStore,
        directory: IDirectory,
        account: str | None = None,
        *,
        detail_to_mailbox: bool = False,
        detail_by_acl: bool = False,
        sent_copy: bool = False,
        duplicates: Duplicates | None = None,
        served: Served | None = None,
    ) -> None:
        self.account = account
        self._store = store
        self._directory = directory
        self._new_spool: Callable[[], Spool] | None = None
        if ISpooling.providedBy(store):
            self._new_spool = store.new_spool
        self._detail_to_mailbox = detail_to_mailbox or detail_by_acl
        self._detail_by_acl = detail_by_acl
        self._sent_copy = sent_copy
        self._duplicates = duplicates
        self._served = served
        # The directory, if it knows quotas.
        self._quotas: Any = directory if IQuotaDirectory.providedBy(directory) else None
        # Of transactions under way, perhaps of many connections. Never old: each is used once.
        self._resolutions: dict[tuple[str, Path], Resolution] = {}

    def new_spool(self) -> Spool:
        return Spool() if self._new_spool is None else self._new_spool()

    async def owns_address(self, path: Path) -> bool:
        if self.account is None:
            return False
        return bool(await self._directory.owns_address(account=self.account, path=path))

    async def check_sender(self, envelope: Envelope) -> None:
        # RFC 6409 section 3.2: the null reverse-path is no reason to refuse.
        if self.account is None or envelope.reverse_path.is_null:
            return
        if not await self.owns_address(envelope.reverse_path):
            raise SenderRefused

    async def check_recipient(self, envelope: Envelope, recipient: Recipient) -> None:
        resolution = await self.resolve(recipient.path)
        if recipient.rrvs is not None:
            await self.check_owner(recipient, resolution)
        await self._check_quotas(resolution, envelope)
        self._remember(envelope, recipient, resolution)

    async def verify_owner(self, recipient: Recipient) -> bool:
        return await self.check_owner(recipient, await self.resolve(recipient.path))

    async def resolve(self, path: Path) -> Resolution:
        """Who gets mail for an address.

        :raises MailError: nobody does.
        """
        try:
            resolution: Resolution = await self._directory.resolve(path=path)
        except RelayDenied:
            if self.account is None:
                raise
            raise RelayDenied(NO_QUEUE) from None
        if resolution.remote:
            raise RelayDenied(_REMOTE_ALIAS)
        if not resolution.accounts:
            raise NoSuchRecipient
        return resolution

    async def _check_quotas(self, resolution: Resolution, envelope: Envelope) -> None:
        """:raises OverQuota: none of the accounts has room for the message."""
        if resolution.remote or self._quotas is None:
            return
        refusal: OverQuota | None = None
        for account in resolution.accounts:
            try:
                # RFC 1870 section 6.1
                await self._quotas.check_quota(
                    account=account, octets=max(1, envelope.declared_size or 0)
                )
            except OverQuota as error:
                refusal = error
            else:
                return
        if refusal is not None:
            raise refusal

    def _remember(self, envelope: Envelope, recipient: Recipient, resolution: Resolution) -> None:
        if envelope.transaction_id:
            if len(self._resolutions) >= MAX_RESOLUTIONS:
                # Left over from transactions that were given up.
                self._resolutions.clear()
            self._resolutions[envelope.transaction_id, recipient.path] = resolution

    async def deliver(self, envelope: Envelope, message: Spool) -> Sequence[Outcome]:
        targets = await self.find_targets(envelope)
        # The store may take what is in a file.
        in_file = message.path is not None
        identity = (
            read_identity(envelope, message) if in_file and self._served is not None else None
        )
        results = await self.store(envelope, message, targets)
        outcomes = [
            Outcome(recipient, failure(target, results))
            for recipient, target in zip(envelope.recipients, targets, strict=True)
        ]
        if self._served is not None and will_be_repeated(outcomes):
            if not in_file:
                identity = read_identity(envelope, message)
            self.remember_served(envelope, identity, targets, results)
        return outcomes

    def remember_served(
        self,
        envelope: Envelope,
        identity: bytes | None,
        targets: Sequence[Resolution | MailError],
        results: Mapping[str, LocalResult],
    ) -> None:
        """Note which mailboxes have got a message that its sender will send again."""
        if self._served is None or identity is None:
            return
        for account, delivery in self._deliveries(envelope, targets).items():
            if results[account].error is None:
                self._served.remember(envelope.reverse_path, identity, delivery)

    async def find_targets(self, envelope: Envelope) -> list[Resolution | MailError]:
        """What was found for each recipient at RCPT, or what is found now."""
        targets: list[Resolution | MailError] = []
        for recipient in envelope.recipients:
            found = self._resolutions.pop((envelope.transaction_id, recipient.path), None)
            if found is None or (self._detail_by_acl and found.detail):
                targets.append(await self._find_target(recipient, found))
            else:
                targets.append(found)
        return targets

    async def _find_target(
        self, recipient: Recipient, found: Resolution | None
    ) -> Resolution | MailError:
        try:
            target = found or await self.resolve(recipient.path)
            if self._detail_by_acl and target.detail:
                return await self._check_post(target)
        except MailError as error:
            return error
        return target

    async def _check_post(self, target: Resolution) -> Resolution:
        """Let the mailboxes be left alone into which the sender may not post."""
        closed = [
            account for account in target.accounts if not await self._may_post(account, target)
        ]
        return target._replace(inbox_only=closed)

    async def _may_post(self, owner: str, target: Resolution) -> bool:
        if owner == self.account:
            return True
        lists: Any = self._store
        if not IAccessDirectory.providedBy(lists):
            return False
        try:
            entries = await lists.get_acl(account=owner, mailbox=target.detail)
        except (NoSuchAccount, NoSuchMailbox):
            return False
        # Who has not logged in is anyone, but not one of a domain's users.
        identifiers = (ANYONE,) if self.account is None else identifiers_of(self.account)
        return "p" in effective_rights(entries, identifiers)

    async def store(
        self,
        envelope: Envelope,
        message: Spool,
        targets: Sequence[Resolution | MailError],
        sent: bool = False,
        more: Sequence[Any] = (),
    ) -> dict[str, LocalResult]:
        """Put the message into the mailboxes of the targets' accounts, in one durable step.

        :param targets: one a recipient.
        :param sent: somebody else gets it too, so that there is something to keep a copy of.
        :param more: for :meth:`put`.
        :returns: what became of it, by account.
        """
        deliveries = self._deliveries(envelope, targets)
        identity = None
        results: dict[str, LocalResult] = {}
        if deliveries and (self._duplicates is not None or self._served):
            identity = read_identity(envelope, message)
            results = self._drop_duplicates(envelope, identity, deliveries)
        wanted = list(deliveries.values())
        if self._sent_copy and self.account is not None and (wanted or results or sent):
            wanted.append(LocalDelivery(self.account, "Sent", frozenset({SEEN}), "\\Sent"))
        size = message.size
        if wanted:
            self._trace(envelope, message)
        found = await self.put(message, wanted, message.size - size, more)
        for result in found[len(deliveries) :]:
            if result.error is not None:
                # The message is on its way: sending it again would not help.
                self.log.warn(
                    "message {id} of {account} has no copy in its mailbox for sent mail: {error}",
                    id=envelope.transaction_id,
                    account=self.account,
                    error=result.error.text,
                )
        results.update(zip(deliveries, found, strict=False))
        if self._duplicates is not None and identity is not None:
            for account, delivery in deliveries.items():
                if results[account].error is None:
                    self._duplicates.remember(delivery, identity)
        return results

    @staticmethod
    def _trace(envelope: Envelope, message: Spool) -> None:
        """Add the trace fields of the final delivery (RFC 5321 section 4.4)."""
        if len(envelope.recipients) == 1 and envelope.recipients[0].path.domain:
            # Several recipients share one body, and must not learn of each other.
            message.prepend(delivered_to(envelope.recipients[0].path))
        message.prepend(return_path(envelope.reverse_path))

    async def put(
        self,
        message: Spool,
        deliveries: Sequence[LocalDelivery],
        skip: int,
        more: Sequence[Any],
    ) -> Sequence[LocalResult]:
        """Put the message into mailboxes; a subclass does more with it in the same step.

        :param deliveries: perhaps none.
        :param skip: octets at its start that only mailboxes get.
        :param more: what a subclass is to do.
        """
        if not deliveries:
            return []
        return await self._store.deliver(message=message, deliveries=deliveries)

    def _drop_duplicates(
        self, envelope: Envelope, identity: bytes | None, deliveries: dict[str, LocalDelivery]
    ) -> dict[str, LocalResult]:
        """Take out who has got the message before; for them it is done."""
        if identity is None:
            return {}
        dropped = []
        for account, delivery in deliveries.items():
            if (self._duplicates is not None and self._duplicates.has_seen(delivery, identity)) or (
                self._served and self._served.has(envelope.reverse_path, identity, delivery)
            ):
                dropped.append(account)
        for account in dropped:
            del deliveries[account]
            self.log.info(
                "message {id} dropped for {account}, who has got it before",
                id=envelope.transaction_id,
                account=account,
            )
        return dict.fromkeys(dropped, LocalResult())

    def _deliveries(
        self, envelope: Envelope, targets: Sequence[Resolution | MailError]
    ) -> dict[str, LocalDelivery]:
        """One copy an account, however many recipients lead to it."""
        deliveries: dict[str, LocalDelivery] = {}
        for target in targets:
            if isinstance(target, MailError):
                continue
            mailbox, special_use = INBOX, None
            if envelope.quarantine is not None:
                mailbox, special_use = "Junk", "\\Junk"
            elif self._detail_to_mailbox and target.detail:
                mailbox = target.detail
            for account in target.accounts:
                name = INBOX if account in target.inbox_only and not special_use else mailbox
                deliveries.setdefault(
                    account, LocalDelivery(account, name, special_use=special_use)
                )
        return deliveries


def failure(target: Resolution | MailError, results: Mapping[str, LocalResult]) -> MailError | None:
    """Why a recipient failed: one of its accounts did."""
    if isinstance(target, MailError):
        return target
    if len(target.accounts) == 1:
        return results[target.accounts[0]].error
    return worst(results[account].error for account in target.accounts)


def worst(errors: Iterable[MailError | None]) -> MailError | None:
    """The error of several that the sender is told."""
    # A temporary error first: trying again may help all of them.
    present = (error for error in errors if error is not None)
    return min(present, key=lambda error: not error.temporary, default=None)


def will_be_repeated(outcomes: Sequence[Outcome]) -> bool:
    """The sender is told to try again, for all recipients."""
    errors = [outcome.error for outcome in outcomes if outcome.error is not None]
    return any(error.temporary for error in errors) if errors else False
