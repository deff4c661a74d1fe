"""Recipients that another server must know."""

from __future__ import annotations

from collections.abc import Sequence

from twisted.internet.defer import Deferred, TimeoutError
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from zope.interface import implementer

from mailkit._typing import override
from mailkit.checks.base import (
    Action,
    Finding,
    check_actions,
    excuse,
    given_or_default,
    shown,
)
from mailkit.coroutines import Shared
from mailkit.errors import MailError, NoSuchRecipient, TemporaryFailure
from mailkit.expiring import ExpiringMap
from mailkit.hooks import Answers, Defer, MailHook, MailSession, Result
from mailkit.interfaces import IRecipientVerifier
from mailkit.model import Envelope, Path, Recipient
from mailkit.smtp.client import (
    ClientError,
    ClientSettings,
    Timeouts,
    connect,
    make_envelope,
    parse_server,
)
from mailkit.wire.domains import canonical_domain

#: Shorter than a client may wait: somebody else waits for us.
TIMEOUTS = Timeouts(connect=10.0, greeting=20.0, command=20.0, mail=20.0, rcpt=20.0)


class RecipientVerification(MailHook):
    """Asks the server that mail goes on to whether it knows a recipient, and remembers the answer.

    For a server in front of others, so that it takes nothing that it would have to return.

    :param verifier: who is asked; None for the server.
    :param server: ``host``, ``host:port`` or ``unix:/path`` of a mail server, asked by MAIL and RCPT.
    :param sender: the reverse-path of the question; the null one when empty.
    :param domains: domains whose recipients it concerns; all when empty.
    :param unknown: the server does not know the recipient.
    :param undetermined: the server could not be asked, or does not tell just now.
    :param positive_ttl: seconds for which it is remembered that somebody exists.
    :param negative_ttl: seconds for which it is remembered that somebody does not.
    :param failure_ttl: seconds for which it is remembered that there was no answer.
    :param timeout: seconds for an answer.
    :param max_entries: answers that are remembered.
    :param max_questions: questions at a time; for others there is no answer.
    :raises ValueError: nobody is named who could be asked.
    """

    name = "recipients"

    def __init__(
        self,
        verifier: IRecipientVerifier | None = None,
        *,
        server: str = "",
        sender: str = "",
        domains: Sequence[str] = (),
        unknown: Action = "reject",
        undetermined: Action = "defer",
        positive_ttl: float = 86_400.0,
        negative_ttl: float = 3600.0,
        failure_ttl: float = 60.0,
        timeout: float = 20.0,
        max_entries: int = 20_000,
        max_questions: int = 50,
        clock: IReactorTime | None = None,
    ) -> None:
        check_actions(unknown=unknown, undetermined=undetermined)
        if verifier is None:
            if not server:
                raise ValueError("it needs a server to ask")
            verifier = SMTPVerifier(server, sender=sender)
        self._verifier = verifier
        self._domains = frozenset(map(canonical_domain, domains))
        self._unknown: Action = unknown
        self._undetermined: Action = undetermined
        self._ttls = positive_ttl, negative_ttl, failure_ttl
        self._timeout = timeout
        self._max_questions = max_questions
        self._clock = given_or_default(clock)
        # In tuples, as None says that somebody exists.
        self._known: ExpiringMap[str, tuple[Finding | None]] = ExpiringMap(
            max_entries, self._clock.seconds
        )
        self._asking: dict[str, Shared[Finding | None]] = {}

    @override
    def rcpt(self, session: MailSession, envelope: Envelope, recipient: Recipient) -> Result:
        domain = canonical_domain(recipient.path.domain)
        if not domain or (self._domains and domain not in self._domains):
            return None
        return self._judge(session, recipient.path, f"{recipient.path.local_part}@{domain}")

    async def _judge(self, session: MailSession, path: Path, key: str) -> Answers:
        finding = await self._find(path, key)
        answer = None if finding is None else finding.answer()
        if isinstance(answer, Defer):
            excuse(session)
        return answer

    async def _find(self, path: Path, key: str) -> Finding | None:
        known = self._known.get(key)
        if known is not None:
            finding = known[0]
        else:
            asking = self._asking.get(key)
            if asking is None and len(self._asking) >= self._max_questions:
                return self._no_answer("too many questions at a time")
            if asking is None:
                asking = Shared(self._ask(path, key))
                if not asking.done:
                    self._asking[key] = asking
            finding = await asking.result()
        return finding

    async def _ask(self, path: Path, key: str) -> Finding | None:
        verifying = Deferred.fromCoroutine(_verify(self._verifier, path))
        verifying.addTimeout(self._timeout, self._clock)
        exists, does_not, no_answer = self._ttls
        finding: Finding | None = None
        ttl = exists
        try:
            await verifying
        except TimeoutError:
            finding, ttl = self._no_answer("no answer in time"), no_answer
        except MailError as error:
            if error.temporary:
                finding, ttl = self._no_answer(error.text), no_answer
            else:
                finding, ttl = Finding(shown(error.text), self._unknown, detail="1.1"), does_not
        finally:
            self._asking.pop(key, None)
        self._known.set(key, (finding,), ttl)
        return finding

    def _no_answer(self, reason: str) -> Finding:
        text = f"The recipient cannot be verified just now: {shown(reason)}"
        return Finding(text, self._undetermined, detail="4.1")


async def _verify(verifier: IRecipientVerifier, path: Path) -> None:
    await verifier.verify(path=path)


@implementer(IRecipientVerifier)
class SMTPVerifier:
    """Asks a mail server by MAIL and RCPT, and sends nothing.

    :param server: ``host``, ``host:port`` or ``unix:/path``.
    :param sender: the reverse-path; the null one when empty.
    :param settings: how to connect.
    :raises ValueError: the server or the sender is none.
    """

    log = Logger()

    def __init__(
        self, server: str, *, sender: str = "", settings: ClientSettings | None = None
    ) -> None:
        self._server = server
        self._sender = make_envelope(sender or None, Path("postmaster", "")).reverse_path
        self._settings = settings or ClientSettings(timeouts=TIMEOUTS)
        parse_server(server, self._settings)

    async def verify(self, path: Path) -> None:
        try:
            session = await connect(self._server, self._settings)
            try:
                (outcome,) = await session.verify(make_envelope(self._sender, path))
            finally:
                await session.quit()
        except ClientError as error:
            self.log.info("{server}: {error}", server=self._server, error=error.text)
            # Even one that is for good says nothing about the recipient. Strangers are not told
            # where our servers are.
            text = error.text if error.code else error.default_text
            raise TemporaryFailure(text) from error
        if outcome.temporary:
            raise TemporaryFailure(outcome.text)
        if not outcome.accepted:
            raise NoSuchRecipient(outcome.text)
