"""What was fetched from other servers' maildrops, in memory."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mailkit.model import AppendResult, FetchedBefore, FetchedMessage

if TYPE_CHECKING:
    from mailkit.store.memory_mailbox import MemoryMailbox


@dataclass
class _Known:
    time: int
    digest: str
    gone: bool = False


class MemoryFetched(ABC):
    """Mixed into an account: see :class:`~mailkit.interfaces.IFetchMemory`."""

    def __init__(self) -> None:
        self._fetched: dict[str, dict[str, _Known]] = {}

    @abstractmethod
    def find_mailbox(self, name: str) -> MemoryMailbox:
        """:raises NoSuchMailbox: there is none, or it is not selectable."""

    @abstractmethod
    def now(self) -> int:
        """Seconds since the epoch."""

    async def append_fetched(
        self, mailbox: str, source: str, messages: Sequence[FetchedMessage]
    ) -> AppendResult:
        target = self.find_mailbox(mailbox)
        known = dict(self._fetched.get(source, {}))
        new = []
        for each in messages:
            before = known.get(each.unique_id)
            if before is not None and not before.gone:
                continue
            for other in (each.unique_id, *each.others):
                same = known.get(other)
                if same is not None and same.gone and same.digest == each.digest:
                    del known[other]
                    if before is not None:
                        known[other] = before
                    known[each.unique_id] = _Known(same.time, each.digest)
                    break
            else:
                new.append(each.message)
                known[each.unique_id] = _Known(self.now(), each.digest)
        result = await target.append(messages=new)
        self._fetched[source] = known
        return result

    async def list_fetched(self, source: str) -> Mapping[str, FetchedBefore]:
        known = self._fetched.get(source, {})
        return {unique_id: FetchedBefore(each.time, each.gone) for unique_id, each in known.items()}

    async def mark_gone(self, source: str, unique_ids: Collection[str]) -> None:
        known = self._fetched.get(source, {})
        for unique_id in unique_ids:
            if unique_id in known:
                known[unique_id].gone = True

    async def forget_fetched(self, source: str, unique_ids: Collection[str]) -> None:
        known = self._fetched.get(source, {})
        for unique_id in unique_ids:
            known.pop(unique_id, None)
