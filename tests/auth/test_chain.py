"""Several checkers: whose users each is for, in which order, and what their trouble means."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.credentials import IUsernamePassword, UsernamePassword
from twisted.cred.error import UnauthorizedLogin
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import Interface, implementer
from zope.interface.verify import verifyObject

from mailkit.auth.bases import UserBaseChecker
from mailkit.auth.checkers import AuthRule, ChainChecker
from mailkit.auth.located import LocatedPassword
from mailkit.auth.pacing import STEP
from mailkit.coroutines import run
from mailkit.errors import StoreUnavailable, TemporaryFailure
from mailkit.identity import Login
from mailkit.interfaces import IBearerToken, IPasswordVerifier, IUserLookup


@implementer(ICredentialsChecker, IUserLookup)
class Checker:
    """Knows some names, whose password is its own name."""

    credentialInterfaces = (IUsernamePassword,)

    def __init__(self, name: str, *users: str, trouble: bool = False) -> None:
        self.name = name
        self.users = users
        self.trouble = trouble
        self.asked: list[str] = []
        self.addresses: list[str] = []

    def requestAvatarId(self, credentials: Any) -> Deferred[Any]:
        login = credentials.username.decode()
        self.asked.append(login)
        self.addresses.append(getattr(credentials, "address", ""))
        if self.trouble:
            return fail(StoreUnavailable())
        if login in self.users and credentials.password == self.name.encode():
            return succeed(f"{self.name}:{login}")
        return fail(UnauthorizedLogin())

    async def find_login(self, login: str) -> Login | None:
        self.asked.append(login)
        if self.trouble:
            raise StoreUnavailable
        return Login(f"{self.name}:{login}", None) if login in self.users else None


@implementer(IBearerToken)
class Token(NamedTuple):
    username: bytes


@implementer(IPasswordVerifier)
class Nobody:
    async def verify_password(self, login: str, password: bytes) -> str | None:
        return None


class ITenant(Interface):
    """Credentials of an embedder's own."""


@implementer(IUsernamePassword, ITenant)
class TenantPassword(UsernamePassword):
    tenant = "blue"


class ChainTests(SynchronousTestCase):
    def ask(
        self, rules: Sequence[Any], login: str, password: str, found: type[Exception] | None = None
    ) -> Any:
        chain = ChainChecker(rules)
        verifyObject(ICredentialsChecker, chain)
        asked = chain.requestAvatarId(LocatedPassword(login.encode(), password.encode(), "::1"))
        return self.failureResultOf(asked, found) if found else self.successResultOf(asked)

    def test_credentials_of_others_go_on_as_they_are(self) -> None:
        """A checker may want more of them than a name and a password."""
        asked = []

        @implementer(ICredentialsChecker)
        class TenantChecker:
            credentialInterfaces = (ITenant,)

            def requestAvatarId(self, credentials: Any) -> Deferred[Any]:
                asked.append(credentials)
                return succeed("ann")

        given = TenantPassword(b"ann@example.org", b"secret")
        chain = ChainChecker([AuthRule(TenantChecker(), ("example.org",)), TenantChecker()])
        self.assertEqual(self.successResultOf(chain.requestAvatarId(given)), "ann")
        self.assertIs(asked[0], given)
        # With a name that is completed they are a name and a password.
        asked.clear()
        given = TenantPassword(b"ann", b"secret")
        self.successResultOf(chain.requestAvatarId(given))
        self.assertEqual(asked, [given])
        secret = Checker("secret", "ann@example.org")
        chain = ChainChecker([AuthRule(secret, ("example.org",))])
        found = self.successResultOf(chain.requestAvatarId(given))
        self.assertEqual(found, "secret:ann@example.org")

    def test_each_domain_has_its_bases(self) -> None:
        one = Checker("one", "ann@example.org", "ann@example.net")
        two = Checker("two", "ann@example.net", "ann@example.com")
        rules = [AuthRule(one, ("example.org",)), AuthRule(two, ("example.net", "example.com"))]
        self.assertEqual(self.ask(rules, "ann@example.org", "one"), "one:ann@example.org")
        self.assertEqual(self.ask(rules, "ann@example.net", "two"), "two:ann@example.net")
        self.ask(rules, "ann@example.net", "one", UnauthorizedLogin)
        self.ask(rules, "ann@example.edu", "one", UnauthorizedLogin)
        self.assertEqual(one.asked, ["ann@example.org"])
        self.assertEqual(one.addresses, ["::1"])

    def test_a_token_says_itself_whose_it_is(self) -> None:
        one = Checker("one")
        one.credentialInterfaces = (IBearerToken,)  # type: ignore[assignment]
        chain = ChainChecker([AuthRule(one, ("example.org",))])
        for username in (b"", b"ann@example.net"):
            asked = chain.requestAvatarId(Token(username))
            self.failureResultOf(asked, UnauthorizedLogin)
        self.assertEqual(one.asked, ["", "ann@example.net"])

    def test_letter_case_of_domains_does_not_matter(self) -> None:
        one = Checker("one", "ann@EXAMPLE.org")
        self.ask([AuthRule(one, ("example.org",))], "ann@EXAMPLE.org", "one")
        two = Checker("two", "ann@bücher.example")
        self.ask([AuthRule(two, ("xn--bcher-kva.example",))], "ann@bücher.example", "two")

    def test_a_name_without_domain_is_one_of_the_first(self) -> None:
        one, two = Checker("one"), Checker("two", "ann@example.com")
        everybody = Checker("three", "ann")
        rules: list[Any] = [AuthRule(one, ("example.org", "example.net"))]
        rules += [AuthRule(two, ("example.com",)), everybody]
        self.assertEqual(self.ask(rules, "ann", "two"), "two:ann@example.com")
        self.assertEqual(self.ask(rules, "ann", "three"), "three:ann")
        self.assertEqual(one.asked, ["ann@example.org"] * 2)
        self.assertEqual(one.addresses, ["::1"] * 2)

    def test_after_a_refusal_the_next_is_asked(self) -> None:
        one, two = Checker("one", "ann"), Checker("two", "ann")
        self.assertEqual(self.ask([one, two], "ann", "two"), "two:ann")
        self.ask([one, two], "ann", "x", UnauthorizedLogin)

    def test_a_refusal_waits_when_nobody_knows_the_user(self) -> None:
        """Not before the next is asked."""
        clock: Any = Clock()
        chain = ChainChecker([UserBaseChecker(Nobody(), clock=clock), Checker("two", "ann")])
        good = chain.requestAvatarId(LocatedPassword(b"ann", b"two", "::1"))
        self.assertEqual(self.successResultOf(good), "two:ann")
        bad = chain.requestAvatarId(LocatedPassword(b"ann", b"x", "::1"))
        self.assertNoResult(bad)
        clock.advance(STEP)
        self.failureResultOf(bad, UnauthorizedLogin)

    def test_refusals_of_several_bases_are_waited_for_in_turn(self) -> None:
        clock: Any = Clock()
        bases = [UserBaseChecker(Nobody(), clock=clock) for _ in range(2)]
        chain = ChainChecker([AuthRule(bases[0], ("example.org",)), bases[1]])
        bad = chain.requestAvatarId(LocatedPassword(b"ann", b"x", "::1"))
        clock.advance(STEP)
        self.assertNoResult(bad)
        clock.advance(STEP)
        self.failureResultOf(bad, UnauthorizedLogin)

    def test_unless_the_refusal_is_final(self) -> None:
        one, two = Checker("one", "ann"), Checker("two", "ann")
        self.ask([AuthRule(one, final=True), two], "ann", "two", UnauthorizedLogin)
        self.assertEqual(two.asked, [])
        other = AuthRule(one, ("example.org",), True)
        self.assertEqual(
            self.ask([other, Checker("two", "a@example.net")], "a@example.net", "two"),
            "two:a@example.net",
        )

    def test_trouble_is_never_a_wrong_password(self) -> None:
        broken, two = Checker("one", trouble=True), Checker("two", "ann")
        self.assertEqual(self.ask([broken, two], "ann", "two"), "two:ann")
        self.ask([broken, two], "ann", "x", StoreUnavailable)
        self.ask([two, broken], "ann", "x", TemporaryFailure)
        self.ask([AuthRule(broken, final=True), two], "ann", "two", StoreUnavailable)
        # Whose users it is not for are not concerned.
        self.ask([AuthRule(broken, ("example.org",)), two], "a@example.net", "x", UnauthorizedLogin)

    def find(self, rules: Sequence[Any], login: str) -> Any:
        return run(ChainChecker(rules).find_login(login=login))

    def test_users_are_looked_up_in_the_same_way(self) -> None:
        one, two = Checker("one", "ann@example.org"), Checker("two", "bob@example.net")
        blind: Any = implementer(ICredentialsChecker)(type("Blind", (), {}))()
        blind.credentialInterfaces = (IUsernamePassword,)
        rules = [blind, AuthRule(one, ("example.org",)), two]
        found = self.successResultOf(self.find(rules, "ann@example.org"))
        self.assertEqual(found.account, "one:ann@example.org")
        found = self.successResultOf(self.find(rules, "bob@example.net"))
        self.assertEqual(found.account, "two:bob@example.net")
        self.assertIsNone(self.successResultOf(self.find(rules, "eve@example.net")))
        self.assertEqual(one.asked, ["ann@example.org"])

    def test_trouble_is_not_an_unknown_user(self) -> None:
        broken, two = Checker("one", trouble=True), Checker("two", "ann")
        self.failureResultOf(self.find([broken, two], "eve"), StoreUnavailable)
        self.assertEqual(self.successResultOf(self.find([broken, two], "ann")).account, "two:ann")

    def test_credentials_that_are_no_text(self) -> None:
        one = Checker("one")
        chain = ChainChecker([AuthRule(one, ("example.org",))])
        asked = chain.requestAvatarId(UsernamePassword(b"\xff@example.org", b"x"))
        self.failureResultOf(asked, UnauthorizedLogin)
        self.assertEqual(one.asked, [])
