"""A process has the store open that does nothing any more: what others ask of it is refused."""

from __future__ import annotations

from typing import Any
from unittest import mock

from twisted.internet.defer import Deferred

from mailkit.errors import StoreUnavailable
from mailkit.store.sqlite.door import Visitor
from mailkit.store.sqlite.frames import Kind

from .helpers import ANN, BOB, StoreTestCase, message


class HangingOwnerTests(StoreTestCase):
    async def test_what_was_asked_of_an_owner_that_hangs_is_refused(self) -> None:
        owner = await self.make_store(ANN)
        guest = self.open_store()
        # When it has an answer, the owner knows it.
        await guest.add_account(name=BOB)
        unread: list[tuple[Any, ...]] = []
        module = "mailkit.store.sqlite.guest"
        with (
            mock.patch.object(Visitor, "received", lambda *frame: unread.append(frame)),
            mock.patch(f"{module}.ANSWER_TIMEOUT", 0.05),
            mock.patch(f"{module}.PATIENCE", 0.05),
        ):
            # Nor is it waited for by who comes next.
            for number in range(3):
                delivery = Deferred.fromCoroutine(self.deliver(guest, message(number)))
                await self.assertFailure(delivery, StoreUnavailable)
            await self.wait_until(lambda: any(kind is Kind.HELLO for _, kind, *_ in unread))
        # As one that was stopped, and goes on.
        for visitor, *frame in unread:
            visitor.received(*frame)
        link: Any = guest.core.writer
        await self.wait_until(lambda: link._link is not None and link._link.welcome)
        await self.deliver(guest, message(9))
        self.assertIn(message(9), await self.contents(owner))

    async def test_a_guest_of_an_owner_that_hangs_can_end(self) -> None:
        await self.make_store(ANN)
        guest = self.open_store()
        # When it has an answer, the owner knows it.
        await guest.add_account(name=BOB)
        with mock.patch.object(Visitor, "received", lambda *_: None):
            delivery = Deferred.fromCoroutine(self.deliver(guest, message(1)))
            with mock.patch("mailkit.store.sqlite.guest.PATIENCE", 0.05):
                await self.close_store(guest)
        await self.assertFailure(delivery, StoreUnavailable)
