"""What was fetched from other servers' maildrops, in memory."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

from mailkit.model import AppendResult, FetchedMessage

if TYPE_CHECKING:
    from mailkit.store.memory_mailbox import MemoryMailbox


class MemoryFetched(ABC):
    """Mixed into an account: see :class:`~mailkit.interfaces.IFetchMemory`."""

    def __init__(self) -> None:
        self._fetched: dict[str, dict[str, int]] = {}

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
        known = self._fetched.get(source, {})
        new = {each.unique_id: each.message for each in messages if each.unique_id not in known}
        result = await target.append(messages=list(new.values()))
        if new:
            self._fetched.setdefault(source, {}).update(dict.fromkeys(new, self.now()))
        return result

    async def list_fetched(self, source: str) -> Mapping[str, int]:
        return dict(self._fetched.get(source, {}))

    async def forget_fetched(self, source: str, unique_ids: Collection[str]) -> None:
        known = self._fetched.get(source, {})
        for unique_id in unique_ids:
            known.pop(unique_id, None)
