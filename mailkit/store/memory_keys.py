"""Mailbox access keys in memory (RFC 4467 section 2.4)."""

from __future__ import annotations

import secrets
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from mailkit.errors import NoSuchMailbox
from mailkit.store.naming import canonical_name

if TYPE_CHECKING:
    from mailkit.store.memory_mailbox import MemoryMailbox

_KEY_OCTETS = 32


class MemoryKeys(ABC):
    """Mixed into an account: see :class:`~mailkit.interfaces.IURLKeys`."""

    def __init__(self) -> None:
        self._access_keys: dict[MemoryMailbox, bytes] = {}

    @abstractmethod
    def get_mailbox(self, name: str) -> MemoryMailbox | None:
        """The mailbox of that canonical name."""

    def _find(self, mailbox: str) -> MemoryMailbox:
        found = self.get_mailbox(canonical_name(mailbox))
        if found is None:
            raise NoSuchMailbox
        for gone in [known for known in self._access_keys if known.deleted]:
            del self._access_keys[gone]
        return found

    async def get_access_key(self, mailbox: str) -> bytes:
        return self._access_keys.setdefault(self._find(mailbox), secrets.token_bytes(_KEY_OCTETS))

    async def find_access_key(self, mailbox: str) -> bytes | None:
        try:
            return self._access_keys.get(self._find(mailbox))
        except NoSuchMailbox:
            return None

    async def reset_access_key(self, mailbox: str) -> None:
        self._access_keys[self._find(mailbox)] = secrets.token_bytes(_KEY_OCTETS)

    async def remove_access_keys(self) -> None:
        self._access_keys.clear()
