"""OAUTHBEARER and XOAUTH2: their messages, and what a client learns when its token is not taken."""

from __future__ import annotations

import base64
import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.cred.error import UnauthorizedLogin
from twisted.internet.defer import succeed
from twisted.trial.unittest import SynchronousTestCase

from mailkit.auth.portal import make_portal
from mailkit.coroutines import run
from mailkit.errors import (
    AuthenticationFailed,
    AuthorizationFailed,
    TemporaryFailure,
    TokenRefused,
)
from mailkit.interfaces import IBearerToken
from mailkit.sasl.anonymous import AnonymousServer
from mailkit.sasl.bearer import BearerToken, OAuthBearerServer, XOAuth2Server
from mailkit.store.memory import MemoryStore
from mailkit.wire.sasl import SASLContext, SASLError, Success
from mailkit.wire.sasl_client import Credentials, OAuthBearerClient, XOAuth2Client

from .dialogues import DIALOGUES, Answer, Dialogue

ANN = "ann@example.org"
TOKEN = "vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg=="
CONTEXT = SASLContext()


def shown(step: Any) -> tuple[str, str]:
    assert isinstance(step, Success)
    assert isinstance(step.credentials, BearerToken)
    assert step.authorization_id == ""
    return step.credentials[:2]


class OAuthBearerTests(SynchronousTestCase):
    def step(self, response: bytes | None) -> Any:
        return OAuthBearerServer(CONTEXT).step(response)

    def test_the_example_of_the_standard(self) -> None:
        # RFC 7628 section 4.1
        response = base64.b64decode(
            "bixhPXVzZXJAZXhhbXBsZS5jb20sAWhvc3Q9c2VydmVyLmV4YW1wbGUuY29tAXBvcnQ9MTQzAWF1"
            "dGg9QmVhcmVyIHZGOWRmdDRxbVRjMk52YjNSbGNrQmhiSFJoZG1semRHRXVZMjl0Q2c9PQEB"
        )
        self.assertEqual(shown(self.step(response)), ("user@example.com", TOKEN))

    def test_without_initial_response(self) -> None:
        server = OAuthBearerServer(CONTEXT)
        self.assertEqual(server.step(None), b"")
        self.assertEqual(shown(server.step(b"n,,\x01auth=Bearer abc\x01\x01")), ("", "abc"))

    def test_what_is_taken(self) -> None:
        for response, found in (
            (b"n,,\x01auth=Bearer abc\x01\x01", ("", "abc")),
            (b"y,,\x01auth=bearer  abc\x01\x01", ("", "abc")),
            (
                b"n,a=a=2Cb=3Dc,\x01auth=BEARER a.b-c_d~e+f/g==\x01\x01",
                ("a,b=c", "a.b-c_d~e+f/g=="),
            ),
            ("n,a=jürgen,\x01auth=Bearer x\x01\x01".encode(), ("jürgen", "x")),
            (b"n,,\x01unknown=\t \r\n\x01auth=Bearer x\x01port=1\x01\x01", ("", "x")),
        ):
            self.assertEqual(shown(self.step(response)), found)

    def test_where_the_client_has_connected_to(self) -> None:
        for pairs, host in (
            (b"", ""),
            (b"host=mail.example.org\x01port=143\x01", "mail.example.org"),
            (b"port=x\x01HOST=mail\x01", "mail"),
        ):
            step = self.step(b"n,,\x01" + pairs + b"auth=Bearer abc\x01\x01")
            self.assertEqual(step.credentials.host, host)

    def test_our_client(self) -> None:
        client = OAuthBearerClient(Credentials("ann,=", token=TOKEN))
        self.assertEqual(shown(self.step(client.initial_response())), ("ann,=", TOKEN))

    def test_what_is_not(self) -> None:
        for response in (
            b"",
            b"\x01",
            b"\x01\x01",
            b"n,,",
            b"n,,\x01\x01",
            b"n,,\x01auth=Bearer abc\x01",
            b"n,,auth=Bearer abc\x01\x01",
            b"n,,\x01auth=Bearer abc\x01\x01\x01",
            b"n,,\x01auth=Bearer abc\x01\x01x",
            b"n,,\x01auth=Bearer a\x01auth=Bearer b\x01\x01",
            b"n,,\x01auth=Bearer \x01\x01",
            b"n,,\x01auth=Bearer a b\x01\x01",
            b"n,,\x01auth=Bearer \xff\x01\x01",
            b"n,,\x01auth=Basic abc\x01\x01",
            b"n,,\x01auth=abc\x01\x01",
            b"n,,\x01au-th=Bearer abc\x01\x01",
            b"n,,\x01auth=Bearer a\0\x01\x01",
            b"n,,\x01host=x\x01\x01",
            b"p=tls-unique,,\x01auth=Bearer abc\x01\x01",
            b"x,,\x01auth=Bearer abc\x01\x01",
            b"n,b=c,\x01auth=Bearer abc\x01\x01",
            b"n,a=,\x01auth=Bearer abc\x01\x01",
            b"n,a=b=2D,\x01auth=Bearer abc\x01\x01",
            b"n,a=b\0,\x01auth=Bearer abc\x01\x01",
            b"n,a=\xff,\x01auth=Bearer abc\x01\x01",
            b"n,a=b,c,\x01auth=Bearer abc\x01\x01",
        ):
            with self.assertRaises(SASLError, msg=repr(response)):
                self.step(response)


class XOAuth2Tests(SynchronousTestCase):
    def step(self, response: bytes | None) -> Any:
        return XOAuth2Server(CONTEXT).step(response)

    def test_googles_example(self) -> None:
        response = base64.b64decode(
            "dXNlcj1zb21ldXNlckBleGFtcGxlLmNvbQFhdXRoPUJlYXJlciB5YTI5LnZGOWRmdDRxbVRjMk52"
            "YjNSbGNrQmhkSFJoZG1semRHRXVZMjl0Q2cBAQ=="
        )
        token = "ya29.vF9dft4qmTc2Nvb3RlckBhdHRhdmlzdGEuY29tCg"
        self.assertEqual(shown(self.step(response)), ("someuser@example.com", token))

    def test_our_client(self) -> None:
        client = XOAuth2Client(Credentials("ann", token=TOKEN))
        self.assertEqual(shown(self.step(client.initial_response())), ("ann", TOKEN))

    def test_without_initial_response(self) -> None:
        self.assertEqual(self.step(None), b"")

    def test_what_is_not(self) -> None:
        for response in (
            b"",
            b"user=a",
            b"user=a\x01auth=Bearer x",
            b"user=a\x01auth=Bearer x\x01",
            b"user=a\x01auth=Bearer x\x01\x01\x01",
            b"auth=Bearer x\x01user=a\x01\x01",
            b"user=a\x01auth=Basic x\x01\x01",
            b"user=\xff\x01auth=Bearer x\x01\x01",
            b"user=a\x01auth=Bearer\x01\x01",
        ):
            with self.assertRaises(SASLError, msg=repr(response)):
                self.step(response)


class SecretTests(SynchronousTestCase):
    def test_nothing_secret_is_shown(self) -> None:
        message = b"n,a=ann@example.org,\x01auth=Bearer abc123xyz\x01\x01"
        success = OAuthBearerServer(CONTEXT).step(message)
        self.assertIn("ann@example.org", repr(success))
        self.assertNotIn("abc123xyz", repr(success))


class AnyOctetsTests(SynchronousTestCase):
    """Whatever comes, there is a login to judge, or a SASLError."""

    @settings(max_examples=300, deadline=None)
    @given(
        st.lists(
            st.one_of(
                st.sampled_from([b"n,,", b"y,a=b,", b"\x01", b"auth=Bearer abc", b"user=", b"="]),
                st.binary(max_size=12),
            ),
            max_size=8,
        )
    )
    def test_it(self, parts: list[bytes]) -> None:
        for mechanism in (OAuthBearerServer, XOAuth2Server, AnonymousServer):
            try:
                step = mechanism(CONTEXT).step(b"".join(parts))
            except SASLError:
                continue
            assert isinstance(step, Success)


class ExplainTests(SynchronousTestCase):
    """RFC 7628 section 3.2.2."""

    def explain(self, server: type[Any], error: Exception, cause: Exception | None = None) -> Any:
        error.__cause__ = cause
        return json.loads(server(CONTEXT).explain(error))

    def test_oauthbearer(self) -> None:
        refused = TokenRefused("", "insufficient_scope", "mail", "https://id.example/conf")
        for error, cause, found in (
            (AuthenticationFailed(), UnauthorizedLogin(), {"status": "invalid_token"}),
            (AuthenticationFailed(), TokenRefused(), {"status": "invalid_token"}),
            (AuthorizationFailed(), None, {"status": "insufficient_scope"}),
            (
                AuthenticationFailed(),
                refused,
                {
                    "status": "insufficient_scope",
                    "scope": "mail",
                    "openid-configuration": "https://id.example/conf",
                },
            ),
        ):
            self.assertEqual(self.explain(OAuthBearerServer, error, cause), found)

    def test_xoauth2(self) -> None:
        refused = TokenRefused("", "invalid_token", "mail", "https://id.example/conf")
        self.assertEqual(
            self.explain(XOAuth2Server, AuthenticationFailed(), refused),
            {"status": "401", "schemes": "bearer", "scope": "mail"},
        )
        self.assertEqual(
            self.explain(XOAuth2Server, AuthorizationFailed()),
            {"status": "403", "schemes": "bearer"},
        )

    def test_our_clients_understand_it(self) -> None:
        for server, client in (
            (OAuthBearerServer, OAuthBearerClient(Credentials("ann", token=TOKEN))),
            (XOAuth2Server, XOAuth2Client(Credentials("ann", token=TOKEN))),
        ):
            client.initial_response()
            answer = server(CONTEXT).explain(AuthenticationFailed())
            assert answer is not None
            client.respond(answer)
            self.assertIn(client.refusal, ("invalid_token", "401"))


class OneTokenChecker:
    credentialInterfaces = (IBearerToken,)

    def __init__(self) -> None:
        self.seen: list[Any] = []
        self.trouble: Exception | None = None

    def requestAvatarId(self, credentials: Any) -> Any:
        self.seen.append(tuple(credentials))
        if self.trouble is not None:
            raise self.trouble
        if credentials.token != TOKEN:
            raise TokenRefused
        return succeed(ANN)


class DialogueTests(SynchronousTestCase):
    """Over IMAP, POP3 and SMTP."""

    def setUp(self) -> None:
        self.checker = OneTokenChecker()
        store = MemoryStore()
        self.successResultOf(run(store.add_account(ANN)))
        portal = make_portal(store, [self.checker], deliveries=lambda account, info: FakeDelivery())
        self.dialogues: list[Dialogue] = [make(portal) for make in DIALOGUES]
        for dialogue in self.dialogues:
            self.addCleanup(dialogue.lose)

    def message(self, name: str, token: str = TOKEN) -> bytes:
        credentials = Credentials(ANN, token=token)
        client = OAuthBearerClient if name == "OAUTHBEARER" else XOAuth2Client
        return client(credentials).initial_response()

    def test_they_are_offered(self) -> None:
        for dialogue in self.dialogues:
            self.assertEqual(dialogue.offered(), ["OAUTHBEARER", "XOAUTH2"])

    def test_a_good_token(self) -> None:
        for name in ("OAUTHBEARER", "XOAUTH2"):
            self.setUp()
            for dialogue in self.dialogues:
                self.assertEqual(dialogue.begin(name), Answer("challenge", b""))
                self.assertEqual(dialogue.respond(self.message(name)).kind, "in")
                self.assertTrue(dialogue.logged_in)
            self.assertEqual(self.checker.seen, [(ANN, TOKEN, "")] * 3)

    def test_a_bad_token(self) -> None:
        for name, acknowledgement in (("OAUTHBEARER", b"\x01"), ("XOAUTH2", b"")):
            for dialogue in self.dialogues:
                dialogue.begin(name)
                dialogue.respond(self.message(name, "other"))
                challenge = dialogue.later()
                self.assertEqual(challenge.kind, "challenge")
                self.assertIn("status", json.loads(challenge.octets))
                # The client ends it, and only then is told.
                self.assertEqual(dialogue.respond(acknowledgement).kind, "out")
                self.assertFalse(dialogue.logged_in)
                # The connection is where it was.
                self.assertEqual(dialogue.begin(name), Answer("challenge", b""))
                self.assertEqual(dialogue.respond(self.message(name)).kind, "in")
                self.assertTrue(dialogue.logged_in)
            self.setUp()

    def test_a_client_that_gives_up_instead(self) -> None:
        for dialogue in self.dialogues:
            dialogue.begin("OAUTHBEARER")
            dialogue.respond(self.message("OAUTHBEARER", "other"))
            self.assertEqual(dialogue.later().kind, "challenge")
            self.assertEqual(dialogue.say(b"*").kind, "out")
            self.assertFalse(dialogue.logged_in)

    def test_an_issuer_that_is_down_is_no_wrong_token(self) -> None:
        self.checker.trouble = TemporaryFailure()
        texts = []
        for dialogue in self.dialogues:
            dialogue.begin("OAUTHBEARER")
            answer = dialogue.respond(self.message("OAUTHBEARER"))
            self.assertEqual(answer.kind, "out")
            texts.append(answer.octets)
        self.assertIn(b"[UNAVAILABLE]", texts[0])
        self.assertIn(b"[SYS/TEMP]", texts[1])
        self.assertTrue(texts[2].startswith(b"454 4.7.0"), texts[2])

    def test_not_without_tls(self) -> None:
        portal = self.dialogues[0].factory.portal
        assert portal is not None
        for make in DIALOGUES:
            dialogue = make(portal, host="192.0.2.1")
            self.addCleanup(dialogue.lose)
            self.assertEqual(dialogue.offered(), [])
            self.assertEqual(dialogue.begin("OAUTHBEARER").kind, "out")
        self.assertEqual(self.checker.seen, [])

    def test_huge_tokens(self) -> None:
        """As far as a protocol carries it, a long token comes through; a huge one is refused."""
        for size, kind in ((6000, "in"), (20_000, "out")):
            token = TOKEN if size == 6000 else "x" * size
            for dialogue in self.dialogues:
                dialogue.begin("OAUTHBEARER")
                message = self.message("OAUTHBEARER", token)
                padding = b"\x01pad=" + b"x" * (size - len(message)) + b"\x01\x01"
                answer = dialogue.respond(message[:-2] + padding)
                self.assertEqual((answer or dialogue.later()).kind, kind)
            self.setUp()


class FakeDelivery:
    """Nobody delivers anything here."""
