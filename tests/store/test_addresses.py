"""Who gets mail for an address."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from typing import TypeVar

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from mailkit.errors import LimitExceeded, MailError, NoSuchRecipient, RelayDenied
from mailkit.model import Path, Resolution
from mailkit.store import addresses

T = TypeVar("T")


class Book:
    """Addresses in dictionaries."""

    def __init__(self, accounts: Sequence[str] = ()) -> None:
        self.accounts = list(accounts)
        self.aliases: dict[str, Sequence[str]] = {}
        self.domains = {account.rpartition("@")[2] for account in accounts}

    async def is_domain(self, domain: str) -> bool:
        return domain in self.domains

    async def list_domains(self) -> Sequence[str]:
        return sorted(self.domains)

    async def find_address(self, address: str) -> str | None:
        return address if address in self.accounts else None

    async def find_alias(self, address: str) -> Sequence[str] | None:
        return self.aliases.get(address)

    async def is_delegate(self, account: str, address: str) -> bool:
        return False

    async def first_account(self) -> str | None:
        return self.accounts[0] if self.accounts else None


def path_of(address: str) -> Path:
    local, at, domain = address.rpartition("@")
    return Path(local, domain) if at else Path(address, "")


class AddressTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.book = Book(["ann@example.org", "bob@example.org", "eve@xn--bcher-kva.example"])

    def wait(self, awaitable: Awaitable[T]) -> T:
        async def run() -> T:
            return await awaitable

        results: list[T] = []
        done = Deferred.fromCoroutine(run()).addCallback(results.append)
        if (failure := self._failure(done)) is not None:
            failure.raiseException()
        return results[0]

    def _failure(self, done: Deferred[None]) -> Failure | None:
        failures: list[Failure] = []
        done.addErrback(failures.append)
        return failures[0] if failures else None

    def add_chain(self, alias: str) -> None:
        """Let an alias lead through more others than are followed."""
        self.book.aliases[alias] = ["a0@example.org"]
        for n in range(addresses.MAX_ALIAS_DEPTH + 1):
            self.book.aliases[f"a{n}@example.org"] = [f"a{n + 1}@example.org"]

    def resolve(self, address: str, separator: str = "+") -> Resolution:
        return self.wait(addresses.resolve(self.book, path_of(address), separator=separator))

    def accounts(self, address: str) -> list[str]:
        return list(self.resolve(address).accounts)


class ResolveTests(AddressTestCase):
    def test_account_in_any_case(self) -> None:
        for address in ("ann@example.org", "ANN@Example.ORG", "Ann@example.org."):
            self.assertEqual(self.resolve(address), Resolution(("ann@example.org",)))

    def test_domain_as_u_label_and_a_label(self) -> None:
        for domain in (
            "bücher.example",
            "BÜCHER.example",
            "xn--bcher-kva.example",
            "bücher。example",
        ):
            self.assertEqual(self.accounts("eve@" + domain), ["eve@xn--bcher-kva.example"])
        self.assertEqual(self.accounts("eve@bu\u0308cher.example"), ["eve@xn--bcher-kva.example"])

    def test_sharp_s_is_a_letter_of_its_own(self) -> None:
        self.book.domains.add("strasse.example")
        self.assertRaises(RelayDenied, self.resolve, "ann@straße.example")
        self.book.accounts.append("weiss@example.org")
        self.assertRaises(NoSuchRecipient, self.resolve, "weiß@example.org")

    def test_non_ascii_local_part_without_regard_to_case_and_composition(self) -> None:
        self.book.accounts.append("jürgen@example.org")
        for local in ("Jürgen", "JÜRGEN", "ju\u0308rgen"):
            self.assertEqual(self.accounts(local + "@example.org"), ["jürgen@example.org"])

    def test_other_domains_are_not_relayed(self) -> None:
        for domain in ("example.com", "sub.example.org", "org", "[127.0.0.1]", "[IPv6:::1]"):
            self.assertRaises(RelayDenied, self.resolve, "ann@" + domain)

    def test_unknown_local_part(self) -> None:
        self.assertRaises(NoSuchRecipient, self.resolve, "nobody@example.org")
        self.assertRaises(NoSuchRecipient, self.resolve, "nobody+x@example.org")

    def test_no_domain(self) -> None:
        self.assertRaises(NoSuchRecipient, self.resolve, "ann")
        self.assertRaises(NoSuchRecipient, self.resolve, "")

    def test_empty_local_part_is_not_the_catch_all(self) -> None:
        self.book.aliases["@example.org"] = ["bob@example.org"]
        self.assertRaises(NoSuchRecipient, self.resolve, "@example.org")

    def test_lone_surrogates_are_nobody(self) -> None:
        self.assertRaises(NoSuchRecipient, self.resolve, "\udc80@example.org")
        self.assertRaises(RelayDenied, self.resolve, "ann@\udc80.example")

    def test_sub_address(self) -> None:
        result = self.resolve("Ann+Lists/Work+x@example.org")
        self.assertEqual(result, Resolution(("ann@example.org",), "Lists/Work+x"))
        self.assertEqual(self.resolve("ann+@example.org"), Resolution(("ann@example.org",)))
        self.assertRaises(NoSuchRecipient, self.resolve, "+ann@example.org")

    def test_separator_is_a_setting(self) -> None:
        self.assertEqual(self.resolve("ann-x@example.org", "-").detail, "x")
        self.assertRaises(NoSuchRecipient, self.resolve, "ann+x@example.org", "-")
        self.assertRaises(NoSuchRecipient, self.resolve, "ann+x@example.org", "")

    def test_account_of_the_whole_local_part_goes_first(self) -> None:
        self.book.accounts.append("ann+x@example.org")
        self.assertEqual(self.resolve("ann+x@example.org"), Resolution(("ann+x@example.org",)))


class AliasTests(AddressTestCase):
    def test_targets_here_and_elsewhere(self) -> None:
        self.book.aliases["team@example.org"] = ["bob@example.org", "Cy@Example.com"]
        self.assertEqual(
            self.resolve("Team@example.org"),
            Resolution(("bob@example.org",), "", (Path("Cy", "example.com"),)),
        )

    def test_chain_and_duplicates(self) -> None:
        self.book.aliases["a@example.org"] = ["b@example.org", "ann@example.org", "x@y.example"]
        self.book.aliases["b@example.org"] = ["bob@example.org", "Ann@Example.org", "X@Y.example"]
        result = self.resolve("a@example.org")
        self.assertEqual(sorted(result.accounts), ["ann@example.org", "bob@example.org"])
        self.assertEqual(len(result.remote), 1)

    def test_loop(self) -> None:
        self.book.aliases["a@example.org"] = ["b@example.org"]
        self.book.aliases["b@example.org"] = ["a@example.org"]
        self.assertRaises(NoSuchRecipient, self.resolve, "a@example.org")
        self.book.aliases["b@example.org"] = ["a@example.org", "bob@example.org"]
        self.assertEqual(self.accounts("a@example.org"), ["bob@example.org"])

    def test_depth_is_limited(self) -> None:
        depth = addresses.MAX_ALIAS_DEPTH
        for n in range(depth):
            self.book.aliases[f"a{n}@example.org"] = [f"a{n + 1}@example.org"]
        self.book.aliases[f"a{depth}@example.org"] = ["ann@example.org"]
        self.assertEqual(self.accounts("a1@example.org"), ["ann@example.org"])
        self.assertRaises(LimitExceeded, self.resolve, "a0@example.org")
        # Nobody is left out without a word because others are nearer.
        self.book.aliases["a0@example.org"] += ["bob@example.org"]
        self.assertRaises(LimitExceeded, self.resolve, "a0@example.org")
        # A loop ends by itself.
        self.book.aliases[f"a{depth}@example.org"] = ["a1@example.org", "bob@example.org"]
        self.assertEqual(self.accounts("a1@example.org"), ["bob@example.org"])

    def test_breadth_is_limited(self) -> None:
        self.book.aliases["a@example.org"] = [
            f"x{n}@example.com" for n in range(addresses.MAX_ALIAS_TARGETS + 1)
        ]
        self.assertRaises(LimitExceeded, self.resolve, "a@example.org")

    def test_broken_target_is_left_out(self) -> None:
        self.book.aliases["a@example.org"] = ["gone@example.org", "bob@example.org"]
        self.assertEqual(self.accounts("a@example.org"), ["bob@example.org"])

    def test_sub_address_of_an_alias_is_kept(self) -> None:
        self.book.aliases["team@example.org"] = ["ann@example.org"]
        self.assertEqual(self.resolve("team+x@example.org"), Resolution(("ann@example.org",), "x"))

    def test_sub_address_in_a_target(self) -> None:
        self.book.aliases["sales@example.org"] = ["ann+Sales@example.org"]
        self.assertEqual(self.resolve("sales@example.org").detail, "Sales")
        self.book.aliases["sales@example.org"] = ["ann+Sales@example.org", "bob@example.org"]
        self.assertEqual(self.resolve("sales@example.org").detail, "")

    def test_catch_all_comes_last(self) -> None:
        self.book.aliases["@example.org"] = ["bob@example.org"]
        self.assertEqual(self.accounts("whoever@example.org"), ["bob@example.org"])
        self.assertEqual(self.accounts("ann@example.org"), ["ann@example.org"])
        self.assertEqual(self.accounts("ann+x@example.org"), ["ann@example.org"])
        self.assertRaises(NoSuchRecipient, self.resolve, "whoever@bücher.example")

    def test_broken_catch_all(self) -> None:
        self.book.aliases["@example.org"] = ["gone@example.org"]
        self.assertRaises(NoSuchRecipient, self.resolve, "whoever@example.org")


class PostmasterTests(AddressTestCase):
    # RFC 5321 section 4.5.1

    def test_first_account_when_nobody_else(self) -> None:
        for address in ("Postmaster", "postmaster@example.org", "POSTMASTER@bücher.example"):
            self.assertEqual(self.accounts(address), ["ann@example.org"])

    def test_alias_of_the_domain(self) -> None:
        self.book.aliases["postmaster@example.org"] = ["bob@example.org"]
        self.assertEqual(self.accounts("postmaster@example.org"), ["bob@example.org"])
        self.assertEqual(self.accounts("Postmaster"), ["bob@example.org"])

    def test_alias_of_another_domain(self) -> None:
        self.book.aliases["postmaster@xn--bcher-kva.example"] = ["bob@example.org"]
        self.assertEqual(self.accounts("postmaster@example.org"), ["bob@example.org"])

    def test_broken_alias(self) -> None:
        self.book.aliases["postmaster@example.org"] = ["gone@example.org"]
        self.assertEqual(self.accounts("postmaster@example.org"), ["ann@example.org"])

    def test_alias_that_leads_too_far(self) -> None:
        self.add_chain("postmaster@example.org")
        for address in ("Postmaster", "postmaster@example.org", "postmaster@bücher.example"):
            self.assertEqual(self.accounts(address), ["ann@example.org"])
        self.book.aliases["postmaster@example.org"] += ["bob@example.org"]
        self.assertEqual(self.accounts("Postmaster"), ["bob@example.org"])

    def test_not_for_other_peoples_domains(self) -> None:
        self.assertRaises(RelayDenied, self.resolve, "postmaster@example.com")

    def test_without_accounts(self) -> None:
        self.book = Book()
        self.assertRaises(NoSuchRecipient, self.resolve, "Postmaster")


class OwnsAddressTests(AddressTestCase):
    def owns(self, account: str, address: str) -> bool:
        return self.wait(addresses.owns_address(self.book, account, path_of(address)))

    def test_own_sub_address_alias_catch_all(self) -> None:
        self.book.aliases["team@example.org"] = ["ann@example.org", "eve@example.com"]
        self.book.aliases["@xn--bcher-kva.example"] = ["ann@example.org"]
        for address in (
            "Ann@example.org",
            "ann+x@example.org",
            "team@example.org",
            "any@bücher.example",
        ):
            self.assertTrue(self.owns("ann@example.org", address), address)

    def test_alias_that_leads_too_far(self) -> None:
        self.add_chain("list@example.org")
        self.book.aliases["list@example.org"] += ["ann@example.org"]
        self.assertTrue(self.owns("ann@example.org", "list@example.org"))
        self.assertFalse(self.owns("bob@example.org", "list@example.org"))

    def test_not_others(self) -> None:
        for address in ("bob@example.org", "ann@example.com", "eve@bücher.example", "ann", ""):
            self.assertFalse(self.owns("ann@example.org", address), address)


class FindAccountTests(AddressTestCase):
    def find(self, login: str) -> str | None:
        return self.wait(addresses.find_account(self.book, login))

    def test_full_address(self) -> None:
        self.assertEqual(self.find("Ann@Example.org"), "ann@example.org")
        self.assertEqual(self.find("eve@Bücher.example"), "eve@xn--bcher-kva.example")
        for login in ("zed@example.org", "ann@example.com", "@example.org", "ann@", "", "@"):
            self.assertIsNone(self.find(login))

    def test_local_part_where_one_domain_is_served(self) -> None:
        self.assertIsNone(self.find("ann"))
        self.book.domains = {"example.org"}
        self.assertEqual(self.find("Ann"), "ann@example.org")
        self.assertIsNone(self.find("ann+x"))


class CanonicalTests(SynchronousTestCase):
    def test_addresses(self) -> None:
        for given, canonical in (
            (" Ann@Example.ORG ", "ann@example.org"),
            ('"Ann Lee"@example.org', "ann lee@example.org"),
            (r'"a\"b@c"@example.org', 'a"b@c@example.org'),
            ("a.b+c@localhost", "a.b+c@localhost"),
            ("Jürgen@Bücher.example", "jürgen@xn--bcher-kva.example"),
        ):
            self.assertEqual(addresses.canonical_address(given), canonical)

    def test_what_is_no_address(self) -> None:
        for given in (
            "",
            "ann",
            "@example.org",
            "ann@",
            "ann lee@example.org",
            "a@b@example.org",
            ".a@example.org",
            "a..b@example.org",
            '""@example.org',
            "ann@[127.0.0.1]",
            "ann@exa mple.org",
            "ann@-a.org",
            "ann@a..b",
            "ann@" + "a" * 64 + ".org",
            "ann@" + "a." * 130 + "org",
            "a" * 65 + "@example.org",
            "a\0b@example.org",
            '"a\nb"@example.org',
            "a\udc80@example.org",
        ):
            self.assertRaises(MailError, addresses.canonical_address, given)

    def test_alias(self) -> None:
        self.assertEqual(addresses.canonical_alias("@Example.org"), "@example.org")
        self.assertEqual(addresses.canonical_alias("A@Example.org"), "a@example.org")
        self.assertRaises(MailError, addresses.canonical_alias, "@")

    def test_targets(self) -> None:
        targets = addresses.canonical_targets(
            "team@example.org", ["Ann", "ann@example.org", "Bob@B\u00fccher.example", '"x y"@z.org']
        )
        self.assertEqual(targets, ["Ann@example.org", "Bob@xn--bcher-kva.example", "x y@z.org"])

    def test_bad_targets(self) -> None:
        for targets in ([], ["a b"], ["x@y@z"], [""]):
            self.assertRaises(MailError, addresses.canonical_targets, "t@example.org", targets)
        many = [f"x{n}" for n in range(addresses.MAX_ALIAS_TARGETS + 1)]
        self.assertRaises(LimitExceeded, addresses.canonical_targets, "t@example.org", many)
