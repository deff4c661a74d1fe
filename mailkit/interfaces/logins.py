"""The contract of a directory whose accounts have more than one password."""

from __future__ import annotations

from collections.abc import Awaitable, Collection, Sequence

from mailkit.interfaces.directory import ILoginDirectory
from mailkit.model import AppPassword


class IAppPasswordDirectory(ILoginDirectory):
    """A directory that keeps passwords for single programs beside the accounts' own.

    ``find_login`` says of an account whether its own password is :attr:`~mailkit.model.Login.restricted`.
    """

    def find_app_password(account: str, prefix: str) -> Awaitable[AppPassword | None]:
        """The one that begins so; None without it, or without such an account.

        :param account: whatever the user has typed, or the canonical name.
        """

    def note_app_password_use(
        account: str, prefix: str, used: int, address: str, protocol: str
    ) -> Awaitable[None]:
        """Keep when and from where it was last used; nothing if it is gone meanwhile."""

    def list_app_passwords(account: str) -> Awaitable[Sequence[AppPassword]]:
        """Those of an account, by their prefixes.

        :raises NoSuchAccount: there is none.
        """

    def add_app_password(account: str, password: AppPassword) -> Awaitable[None]:
        """:raises NoSuchAccount: there is none.
        :raises AccountExists: the account has one with that prefix.
        :raises LimitExceeded: the account has :data:`mailkit.model.MAX_APP_PASSWORDS`.
        """

    def remove_app_password(account: str, prefix: str) -> Awaitable[None]:
        """:raises NoSuchAccount: there is no such account, or no such password."""

    def get_password_scopes(account: str) -> Awaitable[Collection[str] | None]:
        """For what the account's own password is taken; None for everything.

        :raises NoSuchAccount: there is none.
        """

    def set_password_scopes(account: str, scopes: Collection[str] | None) -> Awaitable[None]:
        """Take the account's own password for these alone.

        :param scopes: as those of an app password; empty for nothing at all.
        :raises NoSuchAccount: there is none.
        """
