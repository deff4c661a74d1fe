"""Contract tests of hooks: what judges mail while it is received."""

from __future__ import annotations

import inspect
import re
from collections.abc import Sequence
from contextlib import closing, suppress
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from mailkit.errors import MailError
from mailkit.hooks import (
    Accept,
    Answer,
    Defer,
    Discard,
    HeaderField,
    MailSession,
    Reject,
    Step,
    check_answers,
    find_steps,
    release,
)
from mailkit.model import ConnectionInfo, Envelope, Outcome, Path, Recipient
from mailkit.spool import Spool
from mailkit.testing.base import Contract, sample_message, spooled

_FIELD_END = re.compile(r"\r\n(?![ \t])")
#: Ends what a server asks for this message.
_ENDS = (Accept, Reject, Defer, Discard)

#: Who sends what to whom, as it comes from well-meaning and from careless servers.
SENDERS = (Path("joe", "client.example"), Path("", ""), Path("жора", "пример.example"))
RECIPIENTS = (
    Path("ann", "example.org"),
    Path("postmaster", ""),
    Path("a b@c", "[IPv6:2001:db8::1]"),
    Path("анна", "example.org"),
)
MESSAGES = (
    sample_message(1),
    # RFC 5322 wants a header; nobody makes clients send one.
    b"",
    b"\r\n",
    b"no header at all\r\n",
    b"Subject: folded\r\n over\r\n\tlines\r\nsubject: twice\r\n\r\nno line end",
    b"Subject: 8 bit \xe4\xf6\xfc \xd0\x96\r\nEmpty:\r\n\r\n\x00 NUL and \xff\r\n",
    b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\n--b\r\n",
)


class Client:
    """One client of a hook: asks each step as a server does."""

    def __init__(self, case: HookContract, hook: object, peer: str, **known: Any) -> None:
        self._case = case
        self._steps = find_steps(hook)
        self.session = MailSession(
            ConnectionInfo("smtp", peer, 54321 if peer else 0, "192.0.2.25", 25),
            "mx.example.org",
            **known,
        )

    async def ask(self, step: Step, **arguments: Any) -> Sequence[Answer]:
        """What the hook answers, checked; nothing where it lacks the step."""
        before = _kept(arguments.get("envelope"))
        try:
            result = await self._case.wait_for(self.begin(step, **arguments))
        except MailError as error:
            return [Defer(error.text) if error.temporary else Reject(error.text)]
        self._case.assertEqual(
            _kept(arguments.get("envelope")),
            before,
            f"the envelope is changed by answers, not in the step {step.value}",
        )
        if step in (Step.DELIVERED, Step.DISCONNECT):
            self._case.assertFalse(result, f"nobody listens to what {step.value} answers")
            return []
        answers: Sequence[Answer] = check_answers(step, result)
        release(answers)
        return answers

    def begin(self, step: Step, **arguments: Any) -> Deferred[Any]:
        """Ask, without waiting for the answer."""
        step_of_hook = self._steps.get(step)

        async def ask() -> Any:
            if step_of_hook is None:
                return None
            result = step_of_hook(session=self.session, **arguments)
            return await result if inspect.isawaitable(result) else result

        return Deferred.fromCoroutine(ask())

    async def begin_session(self, helo: str = "client.example") -> bool:
        """Connect and say EHLO; whether the client may go on."""
        if _refuses(await self.ask(Step.CONNECT)):
            return False
        self.session.helo, self.session.esmtp = helo, True
        return not _refuses(await self.ask(Step.EHLO))

    def envelope(self, sender: Path, recipients: Sequence[Path]) -> Envelope:
        """A transaction with these recipients."""
        return Envelope(
            self.session.connection,
            self.session.helo,
            sender,
            recipients=[Recipient(path) for path in recipients],
            transaction_id="sample-1",
            account=self.session.account,
        )

    async def send(self, sender: Path, recipients: Sequence[Path], content: Spool) -> None:
        """A whole transaction, as far as the hook lets it come."""
        envelope = self.envelope(sender, [])
        if _ends(await self.ask(Step.MAIL, envelope=envelope)):
            return
        for path in recipients:
            recipient = Recipient(path)
            answers = await self.ask(Step.RCPT, envelope=envelope, recipient=recipient)
            if not _refuses(answers):
                envelope.recipients.append(recipient)
            if any(isinstance(answer, (Accept, Discard)) for answer in answers):
                return
        if not envelope.recipients:
            return
        with content.open() as file:
            octets = file.read()
        if _ends(await self.ask(Step.HEADER, envelope=envelope, fields=_fields(octets))):
            return
        await self.ask(Step.MESSAGE, envelope=envelope, message=content)
        with content.open() as file:
            self._case.assertEqual(file.read(), octets, "the message is changed by answers")
        outcomes = [Outcome(recipient) for recipient in envelope.recipients]
        await self.ask(Step.DELIVERED, envelope=envelope, outcomes=outcomes)


def _kept(envelope: Envelope | None) -> object:
    """What no step changes by itself."""
    return envelope and (envelope.reverse_path, list(envelope.recipients))


class HookContract(Contract):
    """Tests of a hook, :class:`~mailkit.interfaces.IMailHook`; the hook is ``make_hook``.

    A hook may refuse whatever it likes: what is tested is that each step answers, with what is an
    answer there, whatever clients send, and that a client may go away at any time.
    """

    async def make_hook(self) -> object:
        """The hook: a new hook, or a function that is asked with each message."""
        raise NotImplementedError

    async def wait_for(self, task: Deferred[Any]) -> Any:
        """The result of what may take its time, but not for ever."""
        done: list[Any] = []
        task.addBoth(done.append)
        await self.wait_until(lambda: bool(done))
        if isinstance(done[0], Failure):
            done[0].raiseException()
        return done[0]

    async def make_client(self, peer: str = "198.51.100.7", **known: Any) -> Client:
        """A client of a new hook."""
        return Client(self, await self.make_hook(), peer, **known)

    async def test_it_is_a_hook(self) -> None:
        hook = await self.make_hook()
        find_steps(hook)
        self.assertIsInstance(getattr(hook, "name", ""), str)
        for step, seconds in getattr(hook, "timeouts", {}).items():
            self.assertIsInstance(step, Step)
            self.assertGreater(seconds, 0)

    async def test_an_ordinary_message(self) -> None:
        client = await self.make_client()
        if await client.begin_session():
            with closing(spooled(sample_message(1))) as content:
                await client.send(SENDERS[0], RECIPIENTS[:1], content)
        await client.ask(Step.DISCONNECT)

    async def test_whatever_is_sent(self) -> None:
        client = await self.make_client()
        if await client.begin_session():
            for sender in SENDERS:
                for octets in MESSAGES:
                    with closing(spooled(octets)) as content:
                        await client.send(sender, RECIPIENTS, content)
        await client.ask(Step.DISCONNECT)

    async def test_a_message_in_a_file(self) -> None:
        client = await self.make_client()
        if await client.begin_session():
            with closing(spooled(sample_message(1, size=200_000), on_disk=True)) as content:
                await client.send(SENDERS[0], RECIPIENTS[:1], content)
        await client.ask(Step.DISCONNECT)

    async def test_whoever_sends(self) -> None:
        # By IPv6, over a UNIX socket, with a name that is none.
        for peer, helo in (("2001:db8::7", "[IPv6:2001:db8::7]"), ("", "localhost"), ("::1", "")):
            client = await self.make_client(peer)
            if await client.begin_session(helo):
                with closing(spooled(sample_message(1))) as content:
                    await client.send(SENDERS[0], RECIPIENTS[:1], content)
            await client.ask(Step.DISCONNECT)

    async def test_a_user(self) -> None:
        client = await self.make_client()
        if await client.begin_session():
            client.session.account = "ann@example.org"
            client.session.auth_mechanism = "PLAIN"
            if not _refuses(await client.ask(Step.AUTH)):
                with closing(spooled(sample_message(1))) as content:
                    await client.send(RECIPIENTS[0], SENDERS[:1], content)
        await client.ask(Step.DISCONNECT)

    async def test_clients_that_say_little(self) -> None:
        # RSET, another EHLO and the end of the connection may come at any time.
        client = await self.make_client()
        await client.ask(Step.CONNECT)
        await client.ask(Step.DISCONNECT)
        client = await self.make_client()
        for helo in ("one.example", "two.example"):
            if not await client.begin_session(helo):
                break
            for _ in range(2):
                await client.ask(Step.MAIL, envelope=client.envelope(SENDERS[0], []))
        await client.ask(Step.DISCONNECT)

    async def test_many_clients_of_one_hook(self) -> None:
        hook = await self.make_hook()
        clients = [Client(self, hook, f"198.51.100.{number}") for number in range(5)]
        going_on = [client for client in clients if await client.begin_session()]
        for client in going_on:
            with closing(spooled(sample_message(1))) as content:
                await client.send(SENDERS[0], RECIPIENTS[:1], content)
        for client in clients:
            await client.ask(Step.DISCONNECT)

    async def test_clients_that_go_away(self) -> None:
        for step in Step:
            client = await self.make_client()
            client.session.helo, client.session.esmtp = "client.example", True
            with closing(spooled(sample_message(1))) as content:
                await self._cancel(client, step, content)
            await client.ask(Step.DISCONNECT)

    async def _cancel(self, client: Client, step: Step, content: Spool) -> None:
        """Ask a step, and let nobody wait for the answer."""
        envelope = client.envelope(SENDERS[0], RECIPIENTS[:1])
        arguments: dict[Step, dict[str, Any]] = {
            Step.MAIL: {"envelope": envelope},
            Step.RCPT: {"envelope": envelope, "recipient": envelope.recipients[0]},
            Step.HEADER: {"envelope": envelope, "fields": _fields(sample_message(1))},
            Step.MESSAGE: {"envelope": envelope, "message": content},
            Step.DELIVERED: {
                "envelope": envelope,
                "outcomes": [Outcome(recipient) for recipient in envelope.recipients],
            },
        }
        task = client.begin(step, **arguments.get(step, {}))
        task.cancel()
        with suppress(CancelledError, MailError):
            release(await self.wait_for(task))


def _refuses(answers: Sequence[Answer]) -> bool:
    return any(isinstance(answer, (Reject, Defer)) for answer in answers)


def _ends(answers: Sequence[Answer]) -> bool:
    return any(isinstance(answer, _ENDS) for answer in answers)


def _fields(octets: bytes) -> list[HeaderField]:
    """The fields of a header, as the server gives them."""
    fields = []
    for raw in _FIELD_END.split(
        octets.partition(b"\r\n\r\n")[0].decode("utf-8", "surrogateescape")
    ):
        name, colon, value = raw.partition(":")
        if raw:
            fields.append(HeaderField(name, value) if colon else HeaderField("", raw))
    return fields
