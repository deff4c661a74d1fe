"""Contract tests of user bases."""

from __future__ import annotations

import unittest
from collections.abc import Mapping
from typing import Any

from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.credentials import UsernamePassword
from twisted.cred.error import UnauthorizedLogin

from mailkit.errors import MailError
from mailkit.interfaces import IClosableUserBase, IUserLookup
from mailkit.testing.base import Contract

ANN, BOB = "ann@example.org", "bob.o'neil@example.org"
#: Users, with passwords that a format or a query might trip over.
USERS: Mapping[str, str] = {ANN: "p:a s{s}%u'\"\\w", BOB: "pässwörd"}
#: User names that nobody has, and that mean something to some query language.
HOSTILE_NAMES = (
    "*",
    "*@example.org",
    "ann@example.or?",
    "ann*",
    "%",
    "_nn@example.org",
    "%u",
    "' OR '1'='1",
    "ann@example.org' --",
    "ann@example.org)(uid=*",
    "*)(objectClass=*",
    "ann@example.org,dc=example",
    "+ann@example.org",
    "ann@example.org\n",
    " ann@example.org",
    "\\",
    "/",
    "../ann@example.org",
    "ann@example.org:x",
    "#ann",
    "ann@example.org@example.org",
    "x" * 3000,
    "\u0410nn@example.org",
)


class UserBaseContract(Contract):
    """Tests of what ``--auth`` takes: a checker, perhaps one that can be asked for users.

    The hook is ``make_checker``. Who can also make the base unreachable, and reachable again, tests
    that nobody is then told that his password is wrong.
    """

    async def make_checker(self, users: Mapping[str, str]) -> ICredentialsChecker:
        """The hook: a checker that knows just these users.

        :param users: passwords by full address, which is also the account's name.
        """
        raise NotImplementedError

    async def break_base(self) -> None:
        """A hook: let the base be asked in vain from now on."""
        raise unittest.SkipTest("there is no hook break_base")

    async def mend_base(self) -> None:
        """A hook: let it answer again."""

    async def open_checker(self) -> Any:
        """A checker with the users of the tests."""
        checker: Any = await self.make_checker(users=USERS)
        self.check_provides(checker, [ICredentialsChecker], [IUserLookup, IClosableUserBase])
        if IClosableUserBase.providedBy(checker):
            self.close_later(checker.close)
        return checker

    async def ask(self, checker: Any, login: str, password: str | bytes) -> str | None:
        """The account, None for somebody who is refused."""
        octets = password.encode() if isinstance(password, str) else password
        try:
            found = await checker.requestAvatarId(UsernamePassword(login.encode(), octets))
        except UnauthorizedLogin as error:
            # Who is refused is told nothing more.
            self.assertEqual(str(error), "")
            return None
        if isinstance(found, bytes):
            found = found.decode()
        self.assertIsInstance(found, str)
        return str(found)

    async def test_users_log_in(self) -> None:
        checker = await self.open_checker()
        for user, password in USERS.items():
            self.assertEqual(await self.ask(checker, user, password), user)
            # Once more, as something may be remembered.
            self.assertEqual(await self.ask(checker, user, password), user)

    async def test_letter_case_of_user_names_does_not_matter(self) -> None:
        checker = await self.open_checker()
        self.assertEqual(await self.ask(checker, "Ann@Example.ORG", USERS[ANN]), ANN)

    async def test_wrong_passwords(self) -> None:
        checker = await self.open_checker()
        right = USERS[ANN]
        for password in (
            *("", " ", "x", right + "x", right[:-1], f" {right}", right.upper(), USERS[BOB]),
            *("*", "%", "' OR '1'='1", "{PLAIN}", "!", "x" * 3000),
        ):
            self.assertIsNone(await self.ask(checker, ANN, password), password)
        for octets in (
            b"\0",
            right.encode() + b"\0",
            b"\0" + right.encode(),
            b"\xff",
            b"\x80" * 50,
        ):
            self.assertIsNone(await self.ask(checker, ANN, octets), octets)
        self.assertEqual(await self.ask(checker, ANN, right), ANN)

    async def test_unknown_users(self) -> None:
        checker = await self.open_checker()
        for login in ("", "nobody@example.org", "ann@example.net", *HOSTILE_NAMES):
            for password in (USERS[ANN], "", "x"):
                self.assertIsNone(await self.ask(checker, login, password), login)

    async def test_names_that_are_no_text(self) -> None:
        checker = await self.open_checker()
        for username in (b"\xff", b"ann@example.org\xff", b"\0", b"ann@example.org\0"):
            with self.assertRaises(UnauthorizedLogin):
                await checker.requestAvatarId(UsernamePassword(username, USERS[ANN].encode()))

    async def test_users_are_found_without_their_password(self) -> None:
        checker = self.need(IUserLookup, await self.open_checker())
        for user in USERS:
            found = await checker.find_login(login=user)
            self.assertEqual(found.account, user)
        self.assertEqual((await checker.find_login(login="Ann@Example.ORG")).account, ANN)
        for login in ("nobody@example.org", "ann@example.net", *HOSTILE_NAMES):
            self.assertIsNone(await checker.find_login(login=login), login)

    async def test_trouble_of_the_base_is_no_wrong_password(self) -> None:
        checker = await self.open_checker()
        self.assertEqual(await self.ask(checker, ANN, USERS[ANN]), ANN)
        await self.break_base()
        for login, password in ((ANN, USERS[ANN]), (ANN, "x"), ("nobody@example.org", "x")):
            with self.assertRaises(MailError) as caught:
                await self.ask(checker, login, password)
            self.assertTrue(caught.exception.temporary)
        if IUserLookup.providedBy(checker):
            with self.assertRaises(MailError) as caught:
                await checker.find_login(login="nobody@example.org")
            self.assertTrue(caught.exception.temporary)
        await self.mend_base()
        self.assertEqual(await self.ask(checker, ANN, USERS[ANN]), ANN)
        self.assertIsNone(await self.ask(checker, ANN, "x"))
