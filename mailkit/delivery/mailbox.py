"""Delivery into one mailbox of any store."""

from __future__ import annotations

from collections.abc import Sequence

from zope.interface import implementer

from mailkit.delivery.fields import delivered_to, return_path
from mailkit.errors import MailboxExists, NoSuchMailbox, ReadOnly
from mailkit.interfaces import (
    IDeliveryAbilities,
    IMailbox,
    IMailboxAdmin,
    IMailStore,
    IMessageDelivery,
    IWritableMailbox,
)
from mailkit.model import INBOX, Ability, AppendMessage, Envelope, Flags, Outcome, Recipient
from mailkit.spool import Spool


@implementer(IMessageDelivery, IDeliveryAbilities)
class MailboxDelivery:
    """Puts each message into one mailbox, once, whoever the recipients are.

    :param store: any backend whose mailboxes are writable.
    :param account: canonical name of the account that has the mailbox.
    :param mailbox: made when it is missing, where the account's mailboxes can be made.
    :param flags: of the messages.
    """

    #: The message goes no further, and does not wait.
    abilities = frozenset((Ability.REQUIRETLS, Ability.DELIVERBY))

    def __init__(
        self,
        store: IMailStore,
        account: str,
        mailbox: str = INBOX,
        flags: Flags = frozenset(),
    ) -> None:
        self._store = store
        self._account = account
        self._mailbox = mailbox
        self._flags = flags

    async def check_sender(self, envelope: Envelope) -> None:
        """Anybody may send."""

    async def check_recipient(self, envelope: Envelope, recipient: Recipient) -> None:
        """Whatever leads here exists."""

    async def deliver(self, envelope: Envelope, message: Spool) -> Sequence[Outcome]:
        mailbox = await self._open()
        if not IWritableMailbox.providedBy(mailbox):
            raise ReadOnly
        if len(envelope.recipients) == 1 and envelope.recipients[0].path.domain:
            message.prepend(delivered_to(envelope.recipients[0].path))
        message.prepend(return_path(envelope.reverse_path))
        await mailbox.append(messages=[AppendMessage(message, self._flags)])
        return [Outcome(recipient) for recipient in envelope.recipients]

    async def _open(self) -> IMailbox:
        account = await self._store.open_account(name=self._account)
        try:
            mailbox: IMailbox = await account.open_mailbox(name=self._mailbox)
        except NoSuchMailbox:
            if not IMailboxAdmin.providedBy(account):
                raise
            try:
                await account.create_mailbox(name=self._mailbox)
            except MailboxExists:
                # Another message was faster.
                pass
            mailbox = await account.open_mailbox(name=self._mailbox)
        return mailbox
