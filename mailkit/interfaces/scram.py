"""The contracts of logins by SCRAM: credentials, and a directory that has the keys."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence

from zope.interface import Attribute, Interface

from mailkit.interfaces.directory import ILoginDirectory
from mailkit.wire.scram import FoundKeys, ScramKeys


class IScramLogin(Interface):
    """Credentials: a proof that the client knows a password, which only its keys can verify."""

    username: str = Attribute("""What the user has typed as user name, prepared by SASLprep.""")
    mechanism: str = Attribute("""Whose keys: SCRAM-SHA-256, also of SCRAM-SHA-256-PLUS.""")

    def is_proved_by(keys: ScramKeys) -> bool:
        """Whether the proof is right for these keys."""


class IScramDirectory(ILoginDirectory):
    """A directory that keeps SCRAM keys beside password hashes (RFC 5802).

    Keys belong to a password: once another one is set, those of the old one are never found again.
    """

    def find_scram_keys(login: str, mechanism: str) -> Awaitable[FoundKeys]:
        """The keys of the user who has typed that name.

        For a name that is nobody's, an account without keys, and one whose own password is
        :attr:`~mailkit.identity.Login.restricted`, they are those of
        :func:`mailkit.wire.scram.keys_of_nobody`, and so always the same for one name.
        """

    def list_scram_mechanisms() -> Awaitable[Sequence[str]]:
        """Mechanisms that every account can use that has a password; the strongest first.

        None as long as an account has app passwords, or a password that is
        :attr:`~mailkit.identity.Login.restricted`: a client that prefers SCRAM would fail with them.
        Asked every few seconds.
        """

    def set_password(
        account: str, password_hash: str | None, scram_keys: Sequence[ScramKeys]
    ) -> Awaitable[None]:
        """Change a password, and the keys with it.

        :raises NoSuchAccount: there is none.
        """

    def add_scram_keys(
        account: str, password_hash: str, scram_keys: Sequence[ScramKeys]
    ) -> Awaitable[None]:
        """Keys for a password that is set already; nothing happens if it is another one by now.

        :param password_hash: what was found beside the password.
        :raises NoSuchAccount: there is none.
        """

    def get_scram_policy() -> Awaitable[Sequence[str]]:
        """Mechanisms for which keys are made whenever a password is known; none at first."""

    def set_scram_policy(mechanisms: Sequence[str]) -> Awaitable[None]:
        """Make keys for these from now on; those of all others are forgotten."""

    def list_without_scram_keys(mechanism: str) -> Awaitable[Sequence[str]]:
        """Accounts that have a password and no keys of that mechanism, sorted."""
