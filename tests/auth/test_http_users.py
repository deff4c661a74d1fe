"""Users whom a program knows, asked over real connections on loopback."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase, TestCase
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Site

from mailkit.auth import http_users, pacing
from mailkit.auth.bases import UserBaseChecker
from mailkit.auth.http_users import HTTPUsers
from mailkit.errors import AccountDisabled, MailError, PasswordExpired, TemporaryFailure
from mailkit.interfaces import IUserLookup
from mailkit.testing import UserBaseContract
from tests.certificates import make_identity
from tests.https import serve_https
from tests.support import free_ports

reactor: Any = _reactor
ANN = "ann@example.org"


class Program(Resource):
    """Knows users, or answers what it is told to."""

    isLeaf = True  # noqa: N815

    def __init__(self, users: Mapping[str, str]) -> None:
        super().__init__()
        self.users = users
        self.says: tuple[int, bytes] | None = None
        self.silent = False
        self.asked: list[dict[str, str]] = []
        self.headers: list[dict[bytes, bytes]] = []

    def render_POST(self, request: Any) -> Any:  # noqa: N802
        question = json.loads(request.content.read())
        self.asked.append(question)
        self.headers.append(request.getAllHeaders())
        if self.silent:
            return NOT_DONE_YET
        if self.says is not None:
            request.setResponseCode(self.says[0])
            return self.says[1]
        known = self.users.get(question["user"])
        ok = known is not None and question.get("password", known) == known
        return json.dumps({"ok": ok}).encode()


class ProgramCase(TestCase):
    def serve(self, users: Mapping[str, str] | None = None) -> None:
        self.program = Program({ANN: "secret"} if users is None else users)
        self.site: Any = Site(self.program)
        self.site.timeOut = None
        (self.number,) = free_ports(1)
        self.listen()

    def listen(self) -> None:
        self.port = reactor.listenTCP(self.number, self.site, interface="127.0.0.1")
        self.addCleanup(self.port.stopListening)

    def make(self, url: str = "", **settings: Any) -> HTTPUsers:
        return http_users.make(url or f"http://127.0.0.1:{self.number}/users", **settings)


class HTTPContractTests(UserBaseContract, ProgramCase):
    async def make_checker(self, users: Mapping[str, str]) -> UserBaseChecker:
        self.patch(pacing, "STEP", 0.01)
        self.patch(pacing, "LONGEST", 0.0)
        self.serve(users)
        return UserBaseChecker(self.make(find=True))

    async def break_base(self) -> None:
        await self.port.stopListening()

    async def mend_base(self) -> None:
        self.listen()


class HTTPUsersTests(ProgramCase):
    def setUp(self) -> None:
        self.serve()

    async def test_what_is_asked(self) -> None:
        secret = Path(self.mktemp())
        secret.write_text("t0ken\n")
        base = self.make(secret_file=str(secret), find=True, domains=("example.org",))
        self.assertEqual(await base.verify_password(login="Ann", password=b"secret"), ANN)
        self.assertTrue(await base.find_login(login=ANN))
        self.assertEqual(
            self.program.asked,
            [
                {"action": "login", "user": ANN, "password": "secret"},
                {"action": "find", "user": ANN},
            ],
        )
        headers = self.program.headers[0]
        self.assertEqual(headers[b"authorization"], b"Bearer t0ken")
        self.assertEqual(headers[b"content-type"], b"application/json")

    async def test_addresses_are_asked_for_only_where_the_program_can_tell(self) -> None:
        self.assertFalse(IUserLookup.providedBy(self.make()))
        self.assertTrue(IUserLookup.providedBy(self.make(find=True)))

    async def ask(self, code: int, answer: bytes, **settings: Any) -> Any:
        self.program.says = code, answer
        return await self.make(**settings).verify_password(login=ANN, password=b"s3cr3t!")

    async def test_the_account_may_have_another_name(self) -> None:
        self.assertEqual(
            await self.ask(200, b'{"ok": true, "account": "Boss@example.org"}'), "boss@example.org"
        )
        found = await self.ask(200, b'{"ok": true, "account": "boss"}', domains=("example.org",))
        self.assertEqual(found, "boss@example.org")
        self.assertEqual(await self.ask(200, b'{"ok": true, "account": null}'), ANN)

    async def test_refusals(self) -> None:
        for code in (401, 403, 404):
            self.assertIsNone(await self.ask(code, b'{"ok": false, "detail": "who?"}'))
        self.assertIsNone(await self.ask(200, b'{"ok": false, "account": "x"}'))
        self.assertIsNone(await self.ask(200, b'{"ok": false, "reason": "mood"}'))
        for reason, error in ((b"expired", PasswordExpired), (b"disabled", AccountDisabled)):
            with self.assertRaises(error):
                await self.ask(200, b'{"ok": false, "reason": "%b"}' % reason)
        found = await self.make(find=True).find_login(login=ANN)
        self.assertIsNone(found)

    async def test_all_else_is_trouble_and_is_logged_without_the_password(self) -> None:
        for code, answer in (
            *((500, b'{"ok": true}'), (503, b""), (302, b'{"ok": true}'), (204, b"")),
            # What any server says of a path that is not there, or of a secret that is wrong.
            *((401, b""), (403, b"<html>"), (404, b"<html>"), (404, b'{"detail": "Not Found"}')),
            *((404, b'{"ok": true}'), (401, b"[]"), (403, b'{"ok": null}')),
            *((200, b""), (200, b"<html>"), (200, b"[]"), (200, b'{"ok": "yes"}'), (200, b"1")),
            *((200, b'{"ok": true, "account": 1}'), (200, b'{"ok": true, "account": "a\\nb"}')),
            *((200, b'{"ok": true, "account": "%b"}' % (b"x" * 400)), (200, b"[" * 30000)),
            (200, b'{"ok": true, "x": "' + b"x" * 100_000 + b'"}'),
        ):
            with capturedLogs() as logs, self.assertRaises(TemporaryFailure):
                await self.ask(code, answer)
            text = " ".join(map(formatEvent, logs))
            self.assertIn("cannot be asked", text)
            self.assertNotIn("s3cr3t!", text)

    async def test_a_program_that_does_not_answer(self) -> None:
        self.program.silent = True
        with capturedLogs() as logs, self.assertRaises(TemporaryFailure):
            await self.make(timeout=0.1).verify_password(login=ANN, password=b"secret")
        self.assertIn("0.1 seconds", " ".join(map(formatEvent, logs)))

    async def test_questions_that_are_too_many(self) -> None:
        self.patch(http_users, "MAX_REQUESTS", 1)
        self.patch(http_users, "MAX_PENDING", 2)
        base = self.make()
        waiting = [
            Deferred.fromCoroutine(base.verify_password(login=ANN, password=b"secret"))
            for _ in range(3)
        ]
        await self.assertFailure(waiting.pop(), TemporaryFailure)
        self.assertEqual(await gatherResults(waiting), [ANN, ANN])

    async def test_https_is_verified(self) -> None:
        identity = make_identity(["localhost"])
        number = serve_https(self, Site(self.program), identity)
        ca = Path(self.mktemp())
        ca.write_bytes(identity.pem)
        url = f"https://localhost:{number}/"
        found = await self.make(url, ca_file=str(ca)).verify_password(login=ANN, password=b"secret")
        self.assertEqual(found, ANN)
        asked = len(self.program.asked)
        for base in (self.make(url), self.make(f"https://127.0.0.1:{number}/", ca_file=str(ca))):
            with self.assertRaises(MailError) as caught:
                await base.verify_password(login=ANN, password=b"secret")
            self.assertTrue(caught.exception.temporary)
        self.assertEqual(len(self.program.asked), asked)


class SettingTests(SynchronousTestCase):
    def test_what_is_wrong(self) -> None:
        empty = Path(self.mktemp())
        empty.write_text("\n")
        for url, settings, part in (
            ("ftp://example.org", {}, "is no URL"),
            ("https://", {}, "is no URL"),
            ("https://a:b@example.org", {}, "user name"),
            ("https://example.org/a b", {}, "escaped"),
            ("http://example.org/users", {}, "in the clear"),
            ("https://example.org", {"ca_file": "nofile"}, "nofile"),
            ("https://example.org", {"secret_file": "nofile"}, "nofile"),
            ("https://example.org", {"secret_file": str(empty)}, "no secret"),
        ):
            error = self.assertRaises(ValueError, http_users.make, url, **settings)
            self.assertIn(part, str(error))
        for url in (
            "http://localhost:1/",
            "http://[::1]/",
            "http://127.0.0.1",
            "https://a.example",
        ):
            http_users.make(url)
