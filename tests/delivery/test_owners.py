"""Who has an address, and since when: what final delivery tells and promises."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from mailkit.delivery.callback import CallableDelivery, delivery_portal
from mailkit.delivery.local import LocalMessageDelivery
from mailkit.delivery.routing import Routes, RoutingDelivery
from mailkit.errors import MailError, NoSuchRecipient, OwnerChanged, OwnerUnknown, RelayDenied
from mailkit.interfaces import (
    IAccountHistory,
    IAddressQueries,
    IDeliveryAbilities,
    IOwnerVerifier,
)
from mailkit.model import Ability, Envelope, Path, Recipient, Resolution, ValidSince
from mailkit.spool import Spool
from tests.delivery.fakes import FakeDirectory, FakeStore, make_envelope

T = TypeVar("T")

ANN, BOB = "ann@example.org", "bob@example.org"
LOCAL = {Ability.REQUIRETLS, Ability.DELIVERBY, Ability.QUERIES}


@implementer(IAccountHistory)
class OldDirectory(FakeDirectory):
    """Knows when accounts were made, and what users type."""

    created = {ANN: 1000, BOB: 2000}

    async def get_creation_time(self, account: str) -> int | None:
        return self.created.get(account)

    async def find_account(self, login: str) -> str | None:
        return ANN if login == "ann" else None


class OwnerTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.addresses = {
            "ann": Resolution([ANN]),
            "bob": Resolution([BOB]),
            "ann+lists": Resolution([ANN], "lists"),
            "nick": Resolution([ANN]),
            "team": Resolution([ANN, BOB]),
            "far": Resolution([ANN], remote=[Path("x", "example.com")]),
            "postmaster": Resolution([BOB]),
        }
        self.delivery = LocalMessageDelivery(FakeStore(), OldDirectory(**self.addresses))

    def result(self, waiting: Coroutine[Any, Any, T]) -> T:
        return self.successResultOf(Deferred.fromCoroutine(waiting))

    def error(self, waiting: Coroutine[Any, Any, object], kind: type[MailError]) -> str:
        error = self.failureResultOf(Deferred.fromCoroutine(waiting), kind).value
        assert isinstance(error, MailError)
        return error.text


class QueryTests(OwnerTestCase):
    def verify(self, text: str) -> list[str]:
        return [str(path) for path in self.result(self.delivery.verify_address(text=text))]

    def expand(self, text: str) -> list[str]:
        return [str(path) for path in self.result(self.delivery.expand_list(text=text))]

    def test_interfaces(self) -> None:
        for interface in (IAddressQueries, IDeliveryAbilities):
            verifyObject(interface, self.delivery)

    def test_verify(self) -> None:
        self.assertEqual(self.verify("ann"), [ANN])
        self.assertEqual(self.verify("nick@example.org"), [ANN])
        self.assertEqual(self.verify("team@example.org"), ["team@example.org"])
        self.assertEqual(self.verify("ann+lists@example.org"), ["ann+lists@example.org"])
        for text in ("eve", "eve@example.org"):
            self.error(self.delivery.verify_address(text=text), NoSuchRecipient)
        self.error(self.delivery.verify_address(text="eve@example.net"), RelayDenied)

    def test_expand(self) -> None:
        self.assertEqual(self.expand("team@example.org"), [ANN, BOB])
        self.assertEqual(self.expand("far@example.org"), [ANN, "x@example.com"])
        self.assertEqual(self.expand("nick@example.org"), [ANN])
        for text in ("ann", "Ann@example.org"):
            answer = self.error(self.delivery.expand_list(text=text), NoSuchRecipient)
            self.assertIn("not a mailing list", answer)


class AgeTests(OwnerTestCase):
    def check(self, local: str, since: int) -> Coroutine[Any, Any, None]:
        recipient = Recipient(Path(local, "example.org"), rrvs=ValidSince(since))
        return self.delivery.check_recipient(envelope=make_envelope(), recipient=recipient)

    def test_accounts(self) -> None:
        for local in ("ann", "ANN", "ann+lists"):
            self.result(self.check(local, 1000))
            self.error(self.check(local, 999), OwnerChanged)
        self.result(self.check("bob", 2000))
        self.error(self.check("bob", 1999), OwnerChanged)

    def test_aliases_have_no_age(self) -> None:
        for local in ("nick", "team"):
            self.error(self.check(local, 5000), OwnerUnknown)

    def test_roles_are_nobody_in_particular(self) -> None:
        self.result(self.check("postmaster", 0))

    def test_what_header_fields_ask(self) -> None:
        def verify(local: str, since: int) -> Coroutine[Any, Any, bool]:
            recipient = Recipient(Path(local, "example.org"), rrvs=ValidSince(since))
            return self.delivery.verify_owner(recipient=recipient)

        verifyObject(IOwnerVerifier, self.delivery)
        self.assertIs(self.result(verify("ann", 1000)), True)
        self.error(verify("ann", 999), OwnerChanged)
        self.assertIs(self.result(verify("postmaster", 0)), False)

    def test_a_directory_that_does_not_know(self) -> None:
        self.delivery = LocalMessageDelivery(FakeStore(), FakeDirectory(**self.addresses))
        self.error(self.check("ann", 5000), OwnerUnknown)


class AbilityTests(OwnerTestCase):
    def test_local(self) -> None:
        self.assertEqual(self.delivery.abilities, LOCAL | {Ability.VALID_SINCE})
        plain = LocalMessageDelivery(FakeStore(), FakeDirectory())
        self.assertEqual(plain.abilities, LOCAL)

    def test_functions(self) -> None:
        async def keep(envelope: Envelope, message: Spool) -> None:
            """Never called."""

        delivery = CallableDelivery(keep, ["example.org"])
        self.assertEqual(delivery.abilities, {Ability.BINARYMIME})
        delivery = CallableDelivery(keep, ["example.org"], abilities=[Ability.DSN])
        realm: Any = delivery_portal(delivery).realm
        self.assertEqual(realm.abilities, {Ability.DSN})

    def test_routes_promise_what_all_of_them_keep(self) -> None:
        async def keep(envelope: Envelope, message: Spool) -> None:
            """Never called."""

        first = CallableDelivery(keep, ["a.example"], abilities=[Ability.REQUIRETLS, Ability.DSN])
        second = CallableDelivery(keep, ["b.example"], abilities=[])
        for routes, wanted in (
            (Routes(), LOCAL),
            (Routes({"a.example": first}), {Ability.REQUIRETLS, Ability.QUERIES}),
            (Routes({"a.example": first}, default=second), {Ability.QUERIES}),
        ):
            delivery = RoutingDelivery(FakeStore(), FakeDirectory(), routes=routes)
            self.assertEqual(delivery.abilities, wanted)
