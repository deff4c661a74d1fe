"""Portions in which a message is handed over that goes to one recipient after the other.

What was delivered is put down after each portion. What failed or must wait is kept until the last one, so
that the sender gets one report of it (RFC 3464 section 1); should this process die meanwhile, that is
only tried again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

from mailkit.queue.return_paths import ReturnPaths
from mailkit.queue.transport import Handover
from mailkit.queue.values import QueuedMessage, QueuedRecipient
from mailkit.smtp.client import Status

#: Recipients of a message that are handed over before it is put down who has got it: so many may get it
#: again when this process dies meanwhile.
PORTION = 10


class Recordable(NamedTuple):
    """What became of some recipients of a message."""

    message: QueuedMessage
    handovers: Sequence[Handover]


class Portions:
    """Messages that are to be handed over, and what is kept of them.

    :param messages: each once.
    :param return_paths: those to which it gives them go in portions, and the others whole.
    """

    def __init__(self, messages: Iterable[QueuedMessage], return_paths: ReturnPaths | None) -> None:
        #: What is still to be handed over.
        self.pending: deque[QueuedMessage] = deque()
        #: How many are left, of messages that go in portions.
        self._left: dict[str, int] = {}
        self._kept: dict[str, tuple[QueuedMessage, list[_Outcome]]] = {}
        for message in messages:
            if return_paths is None or not return_paths.applies(message.envelope):
                self.pending.append(message)
            else:
                parts = list(_split(message))
                self.pending += parts
                self._left[message.id] = len(parts)

    def end(self, message: QueuedMessage, handovers: Sequence[Handover]) -> Recordable:
        """A message, or a portion of it, has been handed over; gives what is to be put down now.

        :param handovers: who is missing at the end is looked up again.
        """
        if message.id not in self._left:
            recipients = message.recipients
            if len(handovers) < len(recipients):
                message = message._replace(recipients=recipients[: len(handovers)])
            return Recordable(message, handovers)
        self._left[message.id] -= 1
        outcomes = list(zip(message.recipients, handovers, strict=False))
        if self._left[message.id] > 0:
            _, kept = self._kept.setdefault(message.id, (message, []))
            kept += [each for each in outcomes if not _is_delivered(each)]
            return _recordable(message, [each for each in outcomes if _is_delivered(each)])
        _, kept = self._kept.pop(message.id, (message, []))
        return _recordable(message, kept + outcomes)

    def take_kept(self) -> Iterator[Recordable]:
        """What is to be put down of those whose last portion will not be handed over."""
        while self._kept:
            _, (message, outcomes) = self._kept.popitem()
            yield _recordable(message, outcomes)


_Outcome = tuple[QueuedRecipient, Handover]


def _is_delivered(outcome: _Outcome) -> bool:
    return outcome[1].status is Status.ACCEPTED


def _recordable(message: QueuedMessage, outcomes: Sequence[_Outcome]) -> Recordable:
    recipients = [recipient for recipient, _ in outcomes]
    return Recordable(
        message._replace(recipients=recipients), [handover for _, handover in outcomes]
    )


def _split(message: QueuedMessage) -> Iterator[QueuedMessage]:
    for start in range(0, len(message.recipients), PORTION):
        part = message.recipients[start : start + PORTION]
        envelope = replace(message.envelope, recipients=[each.recipient for each in part])
        yield message._replace(envelope=envelope, recipients=part)
