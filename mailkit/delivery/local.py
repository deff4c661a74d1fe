"""Local delivery: from recipients to the mailboxes of one store."""

from __future__ import annotations

from collections.abc import Sequence

from zope.interface import implementer

from mailkit.errors import MailError, NoSuchRecipient, RelayDenied, SenderRefused
from mailkit.interfaces import (
    IDirectory,
    IMailStore,
    IMessageDelivery,
    ISenderPolicy,
    ISpooling,
)
from mailkit.model import (
    INBOX,
    Envelope,
    LocalDelivery,
    LocalResult,
    Outcome,
    Path,
    Recipient,
    Resolution,
)
from mailkit.spool import Spool

#: Recipients whose resolution is remembered between RCPT and the delivery.
MAX_RESOLUTIONS = 10_000

_NO_QUEUE = "This server does not send mail to other domains yet (it has no outbound queue)"
_REMOTE_ALIAS = "Mail for this address goes to another domain, which this server cannot do yet"


@implementer(IMessageDelivery, ISpooling, ISenderPolicy)
class LocalMessageDelivery:
    """Delivers to the accounts of one store and to nobody else.

    :param store: keeps the messages.
    :param directory: knows the accounts and aliases.
    :param account: the authenticated account that sends; None for everybody.
    :param detail_to_mailbox: mail for a sub-address (``ann+lists@``) goes to the mailbox of that
        name (``lists``) where there is one, instead of INBOX.
    """

    def __init__(
        self,
        store: IMailStore,
        directory: IDirectory,
        account: str | None = None,
        *,
        detail_to_mailbox: bool = False,
    ) -> None:
        self.account = account
        self._store = store
        self._directory = directory
        self._detail_to_mailbox = detail_to_mailbox
        # Of transactions under way. Never old: a resolution is used once.
        self._resolutions: dict[tuple[str, Path], Resolution] = {}

    def new_spool(self) -> Spool:
        if ISpooling.providedBy(self._store):
            spool: Spool = self._store.new_spool()
            return spool
        return Spool()

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
        resolution = await self._resolve(recipient.path)
        if envelope.transaction_id:
            if len(self._resolutions) >= MAX_RESOLUTIONS:
                # Left over from transactions that were given up.
                self._resolutions.clear()
            self._resolutions[envelope.transaction_id, recipient.path] = resolution

    async def _resolve(self, path: Path) -> Resolution:
        """:raises MailError: the recipient cannot get mail."""
        try:
            resolution: Resolution = await self._directory.resolve(path=path)
        except RelayDenied:
            if self.account is None:
                raise
            raise RelayDenied(_NO_QUEUE) from None
        if resolution.remote:
            raise RelayDenied(_REMOTE_ALIAS)
        if not resolution.accounts:
            raise NoSuchRecipient
        return resolution

    async def deliver(self, envelope: Envelope, message: Spool) -> Sequence[Outcome]:
        # One copy an account, however many recipients lead to it.
        deliveries: dict[str, LocalDelivery] = {}
        targets: list[Resolution | MailError] = []
        for recipient in envelope.recipients:
            key = envelope.transaction_id, recipient.path
            try:
                resolution = self._resolutions.pop(key, None) or await self._resolve(recipient.path)
            except MailError as error:
                targets.append(error)
                continue
            targets.append(resolution)
            mailbox = INBOX
            if self._detail_to_mailbox and resolution.detail:
                mailbox = resolution.detail
            for account in resolution.accounts:
                deliveries.setdefault(account, LocalDelivery(account, mailbox))
        results: dict[str, LocalResult] = {}
        if deliveries:
            # RFC 5321 section 4.4
            message.prepend(f"Return-Path: <{envelope.reverse_path}>\r\n".encode())
            found = await self._store.deliver(message=message, deliveries=list(deliveries.values()))
            results = dict(zip(deliveries, found, strict=True))
        return [
            Outcome(recipient, _error(target, results))
            for recipient, target in zip(envelope.recipients, targets, strict=True)
        ]


def _error(target: Resolution | MailError, results: dict[str, LocalResult]) -> MailError | None:
    """Why a recipient failed: one of its accounts did."""
    if isinstance(target, MailError):
        return target
    errors = [error for account in target.accounts if (error := results[account].error)]
    # A temporary error first: trying again may help all of them.
    return min(errors, key=lambda error: not error.temporary, default=None)
