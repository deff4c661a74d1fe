"""The contracts of directories whose accounts have more than a password."""

from __future__ import annotations

from collections.abc import Awaitable, Collection, Sequence
from typing import Any

from zope.interface import Attribute, Interface

from mailkit.identity import AppPassword, SecondFactor
from mailkit.interfaces.directory import ILoginDirectory


class IAnonymousLogin(Interface):
    """Credentials of somebody who does not say who it is (RFC 4505).

    Not :class:`twisted.cred.credentials.IAnonymous`, as which SMTP delivers mail from anybody.
    """

    trace: str = Attribute("""What the client says of itself: printable, perhaps empty.""")


class IBearerToken(Interface):
    """Credentials: a token of OAuth 2.0 (RFC 6750)."""

    username: str = Attribute(
        """For whom the client shows it; perhaps empty. A checker that finds the token good, but
        somebody else's, raises :class:`~mailkit.errors.TokenOfAnother`."""
    )

    token: str = Attribute("""As the client has it.""")

    host: str = Attribute(
        """The server's name that the client says it has connected to; perhaps empty."""
    )


class ISharedSecretLogin(Interface):
    """Credentials: a proof that the client knows a secret, which only the secret can verify."""

    username: str = Attribute("""What the user has typed as user name.""")

    def is_proved_by(secret: bytes) -> bool:
        """Whether the proof is right for that secret."""


class IAppPasswordDirectory(ILoginDirectory):
    """A directory that keeps passwords for single programs beside the accounts' own.

    ``find_login`` says of an account whether its own password is
    :attr:`~mailkit.identity.Login.restricted`.
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
        :raises LimitExceeded: the account has :data:`mailkit.identity.MAX_APP_PASSWORDS`.
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


class ISecondFactorDirectory(ILoginDirectory):
    """A directory that knows whose password is not taken alone.

    ``find_login`` says of such an account that its own password is
    :attr:`~mailkit.identity.Login.restricted`.
    """

    def get_second_factor(account: str) -> Awaitable[SecondFactor | None]:
        """What the account needs besides its password; None for nothing.

        :raises NoSuchAccount: there is none.
        """

    def set_second_factor(account: str, factor: SecondFactor | None) -> Awaitable[None]:
        """Ask for it from now on, instead of what was asked for before.

        :raises NoSuchAccount: there is none.
        """

    def use_step(account: str, step: int) -> Awaitable[None]:
        """Let no code of this step in time, or an earlier one, be used again.

        Of several that use the same step, one has success.

        :raises AuthenticationFailed: one was used already, or the account needs none.
        """

    def note_wrong_code(account: str, now: int, seconds: int, most: int) -> Awaitable[None]:
        """Let a wrong code count for so many seconds longer than those before it.

        :param now: seconds since 1970.
        :param most: seconds for which those before it may count.
        :raises AuthenticationFailed: the account needs no codes.
        """

    def use_recovery_code(account: str, kept: str) -> Awaitable[None]:
        """Remove what is kept of a code.

        :raises AuthenticationFailed: it is not there any more.
        """


class IActingPortal(Interface):
    """A portal some of whose users may act for others (RFC 4422 section 3.4.1)."""

    def login_as(credentials: Any, identity: str, mind: Any, *interfaces: Any) -> Awaitable[Any]:
        """What ``login`` gives, for the account that ``identity`` names.

        The arguments are given by position, as those of ``login``. The credentials are verified first.

        :raises AuthorizationFailed: the user may not act for that one, or there is none.
        """
