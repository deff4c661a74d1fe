"""Milters as a hook of the SMTP, submission and LMTP servers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from twisted.logger import Logger

from mailkit._typing import override
from mailkit.hooks import (
    Answer,
    Answers,
    Defer,
    MailHook,
    MailSession,
    Quarantine,
    Reject,
    ReplaceBody,
    Step,
)
from mailkit.milter.connection import Milter
from mailkit.milter.message import MilterMessage
from mailkit.milter.session import MilterSession
from mailkit.model import Envelope, Recipient
from mailkit.spool import Spool


class MilterHook(MailHook):
    """Asks milters, one after the other; each sees the header and body that the former have left.

    :param milters: in the order in which they are asked.
    :raises ValueError: there is none.
    """

    name = "milter"
    log = Logger()

    def __init__(self, *milters: Milter) -> None:
        if not milters:
            raise ValueError("a MilterHook needs a milter")
        self.milters = milters
        self._key = f"mailkit.milter.{id(self):x}"
        commands = sum(
            2 * m.settings.connect_timeout + 4 * m.settings.command_timeout for m in milters
        )
        content = sum(4 * m.settings.content_timeout for m in milters)
        #: Seconds that a step may take, whatever the listener says of hooks: the milters' own
        #: time-outs end each exchange.
        self.timeouts = dict.fromkeys(Step, commands) | {Step.MESSAGE: commands + content}

    def _sessions(self, session: MailSession) -> list[MilterSession]:
        found: list[MilterSession] | None = session.facts.get(self._key)
        if found is None:
            found = [MilterSession(milter, session) for milter in self.milters]
            session.facts[self._key] = found
        return found

    async def _ask(
        self, session: MailSession, ask: Callable[[MilterSession], Awaitable[Answer | None]]
    ) -> list[Any]:
        """The answers of the milters, up to the first that is more than a wish."""
        answers: list[Any] = []
        for milter, each in zip(self.milters, self._sessions(session), strict=True):
            try:
                answer = await ask(each)
            except BaseException:
                each.give_up()
                raise
            if answer is not None:
                answers.append(answer)
                if isinstance(answer, (Reject, Defer)) and len(self.milters) > 1:
                    self.log.info(
                        "milter {name} refuses what comes from {peer}: {code} {text}",
                        name=milter.name,
                        peer=session.connection.peer,
                        code=answer.code,
                        text=answer.text,
                    )
                if not isinstance(answer, Quarantine):
                    return [answer]
        return answers

    @override
    async def connect(self, session: MailSession) -> Answers:
        return await self._ask(session, lambda each: each.connect(session))

    @override
    async def ehlo(self, session: MailSession) -> Answers:
        return await self._ask(session, lambda each: each.helo(session))

    @override
    async def mail(self, session: MailSession, envelope: Envelope) -> Answers:
        return await self._ask(session, lambda each: each.mail(session, envelope))

    @override
    async def rcpt(self, session: MailSession, envelope: Envelope, recipient: Recipient) -> Answers:
        return await self._ask(session, lambda each: each.rcpt(session, envelope, recipient))

    @override
    async def message(self, session: MailSession, envelope: Envelope, message: Spool) -> Answers:
        content = MilterMessage(message)
        try:
            answers = await self._ask(
                session, lambda each: each.message(session, envelope, content)
            )
            if any(not isinstance(answer, Quarantine) for answer in answers):
                return answers
            answers += content.edits
            if content.new_body is not None:
                answers.append(ReplaceBody(content.new_body))
                content.new_body = None
            return answers
        finally:
            content.close()

    def close(self) -> None:
        """End the connections that are kept for further clients."""
        for milter in self.milters:
            milter.close()

    @override
    async def disconnect(self, session: MailSession) -> None:
        for each in self._sessions(session):
            each.end()
