"""Settings for POP3 in memory."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable

from mailkit.model import MaildropLimits, MaildropSettings
from mailkit.store.maildrops import DEFAULT_SETTINGS, checked_settings


class MemoryMaildrop:
    """Mixed into an account: see :class:`~mailkit.interfaces.IMaildropAccount`."""

    maildrop = DEFAULT_SETTINGS

    async def get_maildrop_settings(self) -> MaildropSettings:
        return self.maildrop


class MemoryMaildrops(ABC):
    """Mixed into a store: see :class:`~mailkit.interfaces.IMaildropDirectory`."""

    @abstractmethod
    def find_maildrop(self, account: str) -> MemoryMaildrop:
        """The account that an administrator means.

        :raises NoSuchAccount: there is none.
        """

    @abstractmethod
    def maildrops(self) -> Iterable[MemoryMaildrop]:
        """All accounts."""

    async def get_maildrop_settings(self, account: str) -> MaildropSettings:
        return self.find_maildrop(account).maildrop

    async def set_maildrop_settings(self, account: str, settings: MaildropSettings) -> None:
        self.find_maildrop(account).maildrop = checked_settings(settings)

    async def find_maildrop_limits(self) -> MaildropLimits:
        settings = [each.maildrop for each in self.maildrops()]
        days = [each.expire for each in settings if each.expire is not None]
        delays = [each.login_delay or 0 for each in settings]
        return MaildropLimits(min(days, default=None), max(delays, default=0))
