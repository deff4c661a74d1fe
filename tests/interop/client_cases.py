"""What our clients must do with every server, before there is mail."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred

from mailkit.client.errors import AuthFailed
from mailkit.client.security import TLSPolicy


class LoginCases:
    """To be mixed into a test case with the servers' ``certificate``."""

    async def connect(self, policy: TLSPolicy, password: str = "") -> Any:
        """A session of the client, logged in."""
        raise NotImplementedError

    async def leave(self, session: Any) -> None:
        """Say goodbye, as the protocol has it."""
        raise NotImplementedError

    async def session(self) -> Any:
        """One that lasts until the test ends."""
        session = await self.connect(TLSPolicy.required())
        case: Any = self
        case.addCleanup(lambda: Deferred.fromCoroutine(self.leave(session)))
        return session

    async def test_policies(self) -> None:
        case: Any = self
        session = await self.connect(TLSPolicy.required())
        tls = session.facts.tls
        assert tls is not None
        await self.leave(session)
        for policy in (
            TLSPolicy.pinned(tls.fingerprint),
            TLSPolicy.required(implicit=True),
            TLSPolicy.verified("localhost", implicit=True, ca_file=case.certificate),
        ):
            session = await self.connect(policy)
            case.assertIsNotNone(session.facts.tls)
            await self.leave(session)

    async def test_a_wrong_password(self) -> None:
        case: Any = self
        try:
            await self.connect(TLSPolicy.required(), "wrong")
        except AuthFailed:
            return
        case.fail("it was accepted")
