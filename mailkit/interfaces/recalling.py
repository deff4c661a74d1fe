"""The contracts of whoever knows users again that come again and again, without asking anybody."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from zope.interface import Interface

from mailkit.identity import Login
from mailkit.interfaces.account import IMailAccount
from mailkit.interfaces.directory import ILoginDirectory
from mailkit.interfaces.mailbox import IMailbox
from mailkit.interfaces.maildrop import IMaildropAccount
from mailkit.interfaces.store import IMailStore
from mailkit.model import MailboxInfo


class IRecallingPortal(Interface):
    """A portal that answers a login at once when it has verified the same one lately."""

    def recall(
        credentials: Any, mind: Any, interface: type[Interface]
    ) -> tuple[type[Interface], Any, Callable[[], None]] | None:
        """What ``login`` would give; None when it has to be asked, for whatever reason.

        The arguments are given by position, as those of ``login``. A login that is refused leaves no
        trace.
        """


class IRecallingDirectory(ILoginDirectory):
    """A directory that remembers what it has found."""

    def recall_login(login: str) -> Login | None:
        """What ``find_login`` would find; None when it has to be asked, and for nobody.

        :raises StoreUnavailable: it is closed.
        """


class IRecallingStore(IMailStore):
    """A store that opens accounts without waiting, once it knows them."""

    def recall_account(name: str) -> IMailAccount | None:
        """What ``open_account`` would give; None when it has to be asked.

        :raises StoreUnavailable: it is closed.
        """


class IRecallingMaildrop(IMaildropAccount):
    """An account that opens what POP3 shows of it without waiting, once it knows it."""

    def recall_maildrop() -> tuple[IMailbox, MailboxInfo, Sequence[int], Sequence[int], int] | None:
        """INBOX, and what :meth:`~mailkit.interfaces.ISizedMailbox.get_sizes` tells of it.

        None when that has to be asked, whatever the reason, and for a maildrop with settings of its
        own.
        """
