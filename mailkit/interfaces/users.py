"""The contracts of user bases: users who are known elsewhere than in the store.

A user base says who somebody is; where the mail is, the store says. A base provides
:class:`IUserLookup`, or :class:`IPasswordVerifier`, or both: then passwords are verified by the
latter, and delivery asks the former. It is made a checker by
:class:`mailkit.auth.bases.UserBaseChecker`.
"""

from __future__ import annotations

from collections.abc import Awaitable

from zope.interface import Interface

from mailkit.identity import Login


class IUserLookup(Interface):
    """A user base that can be asked for somebody without his password."""

    def find_login(login: str) -> Awaitable[Login | None]:
        """Who logs in with that user name, or gets mail at that address; None for nobody.

        :param login: a user name as it was typed, or an address; letter case is the base's to judge.
        :returns: the account's name, a full address unless the store serves one domain alone, and
            the stored password in any scheme of :mod:`mailkit.auth.schemes`, or None where the base
            does not show it.
        :raises TemporaryFailure: nobody can tell just now.
        """


class IPasswordVerifier(Interface):
    """A user base that verifies passwords itself."""

    def verify_password(login: str, password: bytes) -> Awaitable[str | None]:
        """Name of the account whose user name and password these are.

        None for a wrong password and for an unknown user alike, after the same time.

        :param password: neither empty nor with a NUL.
        :raises TemporaryFailure: nobody can tell just now.
        :raises NotAsked: of :mod:`mailkit.auth.located`: it is as wrong as with None, but was refused at
            once, with nobody asked.
        :raises PasswordExpired: it is no longer accepted.
        :raises AccountDisabled: the account is closed.
        """


class IClosableUserBase(Interface):
    """A user base that holds threads, connections or the like."""

    def close() -> Awaitable[None]:
        """Release them. No question may follow."""
