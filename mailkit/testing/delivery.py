"""Contract tests of what takes mail from SMTP, submission and LMTP."""

from __future__ import annotations

from collections.abc import Sequence

from mailkit.errors import MailError, RelayDenied
from mailkit.interfaces import (
    IAddressQueries,
    IDeliveryAbilities,
    IMessageDelivery,
    IQueueStarter,
    ISenderPolicy,
    ISpooling,
)
from mailkit.model import Ability, ConnectionInfo, Envelope, Path, Recipient
from mailkit.testing.base import Contract, sample_message, spooled

ANN, BOB = "ann@example.org", "bob@example.org"
#: A domain that nobody serves.
ELSEWHERE = "somebody@elsewhere.example"


def sample_envelope(*recipients: str, sender: str = "sender@elsewhere.example") -> Envelope:
    """A mail transaction from another server; an empty sender is the null reverse-path."""
    return Envelope(
        connection=ConnectionInfo(protocol="smtp", peer="192.0.2.1", peer_port=54321),
        helo="client.elsewhere.example",
        reverse_path=_path(sender),
        recipients=[Recipient(_path(address)) for address in recipients],
        transaction_id="sample-1",
    )


def _path(address: str) -> Path:
    local, _, domain = address.rpartition("@")
    return Path(local, domain)


class DeliveryContract(Contract):
    """Tests of a delivery for everybody, :class:`~mailkit.interfaces.IMessageDelivery`.

    The hooks are ``make_delivery`` and ``delivered``. Of the message that arrives, only the end must
    be what was sent: a delivery may put trace fields before it.
    """

    async def make_delivery(self, accounts: Sequence[str]) -> IMessageDelivery:
        """The hook: a delivery that takes mail for just these addresses, from anybody."""
        raise NotImplementedError

    async def delivered(self, account: str) -> Sequence[bytes]:
        """The other hook: what has arrived for an address at the delivery that was made last.

        Nothing, for an address that the delivery does not know.
        """
        raise NotImplementedError

    async def open_delivery(self) -> IMessageDelivery:
        """A delivery, checked."""
        delivery = await self.make_delivery(accounts=[ANN, BOB])
        optional = [ISpooling, ISenderPolicy, IDeliveryAbilities, IAddressQueries, IQueueStarter]
        self.check_provides(delivery, [IMessageDelivery], optional)
        return delivery

    async def test_abilities(self) -> None:
        delivery = await self.open_delivery()
        promising = self.need(IDeliveryAbilities, delivery)
        abilities = promising.abilities
        self.assertIsInstance(abilities, frozenset)
        self.assertTrue(all(isinstance(ability, Ability) for ability in abilities))
        for ability, interface in (
            (Ability.QUERIES, IAddressQueries),
            (Ability.START_QUEUE, IQueueStarter),
        ):
            if ability in abilities:
                self.assertTrue(interface.providedBy(delivery), f"{ability} without {interface}")

    async def check_arrived(self, account: str, *contents: bytes) -> None:
        """Just these messages have arrived for an address."""
        arrived = list(await self.delivered(account=account))
        self.assertEqual(len(arrived), len(contents))
        for got, content in zip(arrived, contents, strict=True):
            self.assertTrue(got.endswith(content))

    async def accept(self, delivery: IMessageDelivery, envelope: Envelope) -> None:
        """Ask for sender and recipients, as a protocol does before it delivers."""
        recipients, envelope.recipients = envelope.recipients, []
        await delivery.check_sender(envelope=envelope)
        for recipient in recipients:
            await delivery.check_recipient(envelope=envelope, recipient=recipient)
            envelope.recipients.append(recipient)

    async def test_one_recipient(self) -> None:
        delivery = await self.open_delivery()
        envelope = sample_envelope(ANN)
        await self.accept(delivery, envelope)
        (outcome,) = await delivery.deliver(envelope=envelope, message=spooled(sample_message(1)))
        self.assertEqual((outcome.recipient, outcome.error), (envelope.recipients[0], None))
        await self.check_arrived(ANN, sample_message(1))
        await self.check_arrived(BOB)

    async def test_many_recipients_in_order(self) -> None:
        delivery = await self.open_delivery()
        envelope = sample_envelope(BOB, "Ann@Example.ORG")
        await self.accept(delivery, envelope)
        outcomes = await delivery.deliver(envelope=envelope, message=spooled(sample_message(1)))
        self.assertEqual([outcome.recipient for outcome in outcomes], envelope.recipients)
        self.assertEqual([outcome.error for outcome in outcomes], [None, None])
        for account in (ANN, BOB):
            await self.check_arrived(account, sample_message(1))

    async def test_unknown_recipient(self) -> None:
        delivery = await self.open_delivery()
        for address in ("nobody@example.org", ELSEWHERE):
            with self.assertRaises(MailError):
                await self.accept(delivery, sample_envelope(address))

    async def test_no_relay(self) -> None:
        delivery = await self.open_delivery()
        for address in (
            ELSEWHERE,
            "ann@elsewhere.example",
            "ann%elsewhere.example@elsewhere.example",
        ):
            with self.assertRaises(RelayDenied):
                await self.accept(delivery, sample_envelope(address))

    async def test_null_reverse_path(self) -> None:
        # RFC 5321 section 4.5.5: bounces must arrive.
        delivery = await self.open_delivery()
        envelope = sample_envelope(ANN, sender="")
        await self.accept(delivery, envelope)
        (outcome,) = await delivery.deliver(envelope=envelope, message=spooled(sample_message(1)))
        self.assertIsNone(outcome.error)

    async def test_recipient_that_is_gone_fails_alone(self) -> None:
        # Known at RCPT perhaps, but not any more when the message is there.
        delivery = await self.open_delivery()
        envelope = sample_envelope("nobody@example.org", ANN)
        outcomes = await delivery.deliver(envelope=envelope, message=spooled(sample_message(1)))
        self.assertEqual([outcome.recipient for outcome in outcomes], envelope.recipients)
        self.assertIsInstance(outcomes[0].error, (MailError, type(None)))
        if outcomes[0].error is None:
            # What is promised has happened: nothing is thrown away in silence.
            await self.check_arrived("nobody@example.org", sample_message(1))
        self.assertIsNone(outcomes[1].error)
        await self.check_arrived(ANN, sample_message(1))

    async def test_one_transaction_after_the_other(self) -> None:
        delivery = await self.open_delivery()
        for number in (1, 2):
            envelope = sample_envelope(ANN)
            await self.accept(delivery, envelope)
            await delivery.deliver(envelope=envelope, message=spooled(sample_message(number)))
        await self.check_arrived(ANN, sample_message(1), sample_message(2))

    async def test_large_message_with_trace_fields(self) -> None:
        delivery = await self.open_delivery()
        content = sample_message(1, size=2 * 1024 * 1024)
        spool = spooled(content, on_disk=True)
        spool.prepend(b"Received: from client.elsewhere.example\r\n")
        envelope = sample_envelope(ANN, BOB)
        try:
            outcomes = await delivery.deliver(envelope=envelope, message=spool)
        finally:
            spool.close()
        self.assertEqual([outcome.error for outcome in outcomes], [None, None])
        for account in (ANN, BOB):
            await self.check_arrived(
                account, b"Received: from client.elsewhere.example\r\n" + content
            )
