"""Remembering what a resolver has answered."""

from __future__ import annotations

from typing import Any, cast

from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from mailkit.coroutines import Shared
from mailkit.dns.records import Answer, RecordType
from mailkit.errors import DNSFailure
from mailkit.expiring import ExpiringMap
from mailkit.interfaces import IDNSResolver
from mailkit.wire.domains import canonical_domain

_Question = tuple[str, RecordType]


@implementer(IDNSResolver)
class CachingResolver:
    """Asks another resolver each question once as long as the answer holds.

    Equal questions that are asked at the same time are one. What is asked goes on when those who
    asked have gone, and is remembered.

    :param max_entries: answers that are kept; those not used for longest go first.
    :param max_ttl: seconds for which an answer is kept at most.
    :param max_negative_ttl: the same for the absence of a name or a record (RFC 2308 section 5).
    :param failure_ttl: seconds for which a question is not asked again that got no answer
        (RFC 9520 section 3.2).
    """

    def __init__(
        self,
        resolver: IDNSResolver,
        *,
        clock: IReactorTime | None = None,
        max_entries: int = 20_000,
        max_ttl: float = 86_400.0,
        max_negative_ttl: float = 3600.0,
        failure_ttl: float = 30.0,
    ) -> None:
        if clock is None:
            from twisted.internet import reactor

            default: Any = reactor
            clock = cast(IReactorTime, default)
        self._resolver = resolver
        self._max_ttl = max_ttl
        self._max_negative_ttl = max_negative_ttl
        self._failure_ttl = failure_ttl
        self._answers: ExpiringMap[_Question, Answer | DNSFailure] = ExpiringMap(
            max_entries, clock.seconds
        )
        self._asking: dict[_Question, Shared[Answer]] = {}

    def __len__(self) -> int:
        return len(self._answers)

    async def lookup(self, name: str, type: RecordType) -> Answer:
        question = (canonical_domain(name), type)
        answer = self._answers.get(question)
        if isinstance(answer, DNSFailure):
            # Not the same object: each time that it is raised it grows a traceback.
            raise answer.__class__(answer.text)
        if answer is not None:
            return answer
        asking = self._asking.get(question)
        if asking is None:
            asking = Shared(self._ask(question))
            if not asking.done:
                self._asking[question] = asking
        return await asking.result()

    async def _ask(self, question: _Question) -> Answer:
        name, type = question
        try:
            answer = await self._resolver.lookup(name=name, type=type)
        except DNSFailure as error:
            self._answers.set(question, error, self._failure_ttl)
            raise
        finally:
            self._asking.pop(question, None)
        most = self._max_ttl if answer.records else self._max_negative_ttl
        self._answers.set(question, answer, min(answer.ttl, most))
        return answer
