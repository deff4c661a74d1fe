"""``--auth oauth:ISSUER``, and what clients are offered by it."""

from __future__ import annotations

import io
import sys
from typing import Any
from unittest import mock

from twisted.cred.credentials import UsernamePassword
from twisted.cred.error import LoginFailed
from twisted.logger import capturedLogs, formatEvent
from twisted.python import usage
from twisted.trial.unittest import SynchronousTestCase

from mailkit.auth.checkers import DirectoryChecker
from mailkit.auth.oauth.checker import BearerChecker
from mailkit.auth.oauth.tokens import SignedTokens
from mailkit.auth.portal import make_portal
from mailkit.coroutines import run
from mailkit.errors import AuthorizationFailed, TokenRefused
from mailkit.interfaces import IBearerToken, IMailAccount
from mailkit.model import ConnectionInfo
from mailkit.sasl.bearer import BearerToken
from mailkit.store.memory import MemoryStore
from mailkit.tap import imap
from mailkit.tap.errors import SettingError
from mailkit.tap.user_bases import parse_rule, parse_table
from tests.auth.oauth.support import ANN, ISSUER, FakeClient, make_checker, new_token, public_jwk
from tests.sasl.dialogues import DIALOGUES, IMAPDialogue
from tests.test_docs import ROOT, fenced_blocks

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


BOB = "bob@example.org"


class SettingsTests(SynchronousTestCase):
    def checker(self, rule: Any) -> BearerChecker:
        self.assertIsInstance(rule.checker, BearerChecker)
        return rule.checker  # type: ignore[no-any-return]

    def test_option(self) -> None:
        rule = parse_rule(
            "example.org=oauth:https://id.example.org/realm:audience=mail, other:claim=sub"
            ":algorithms=ES256:leeway=5:scope=imap:hosts=Mail.example.org, mail.example.com"
        )
        checker = self.checker(rule)
        rules = checker._rules
        self.assertEqual(rules.issuer, "https://id.example.org/realm")
        self.assertEqual(rules.audience, {"mail", "other"})
        self.assertEqual((rules.claim, rules.leeway, rules.scope), ("sub", 5, "imap"))
        self.assertEqual(checker._domains, ("example.org",))
        self.assertEqual(checker._hosts, {"mail.example.org", "mail.example.com"})
        assert isinstance(checker._verifier, SignedTokens)
        self.assertEqual(checker._verifier._algorithms, {"ES256"})

    def test_a_port(self) -> None:
        rule = parse_rule(r"oauth:https://id.example.org\:8443:audience=mail")
        self.assertEqual(self.checker(rule)._rules.issuer, "https://id.example.org:8443")

    def test_the_settings_file_of_the_page(self) -> None:
        (block,) = [block for _, block in fenced_blocks(ROOT / "docs" / "oauth.md", "toml")]
        first, _ = tomllib.loads(block)["auth"]
        self.assertEqual(self.checker(parse_table(first))._rules.audience, {"mail"})

    def test_the_settings_of_the_page_are_all(self) -> None:
        from twisted.plugins.mailkit_auth import oauth

        text = (ROOT / "docs" / "oauth.md").read_text("utf-8")
        for name in oauth.settings:
            self.assertIn(f"`{name}`", text)

    def test_slips(self) -> None:
        for text, wanted in (
            ("oauth:", "issuer is missing"),
            ("oauth:id.example.org:audience=mail", "issuer"),
            ("oauth:http://id.example.org:audience=mail", "issuer"),
            ("oauth:https://id.example.org", "audience is missing"),
            ("oauth:https://id.example.org:audience=,", "audience: it is empty"),
            ("oauth:https://id.example.org:audience=mail:algorithms=none", "'none' is none of"),
            ("oauth:https://id.example.org:audience=mail:nonsense=1", "none of"),
            ("oauth:https://id.example.org:audience=mail:leeway=soon", "leeway"),
        ):
            with self.assertRaises(SettingError, msg=text) as caught:
                parse_rule(text)
            self.assertIn(wanted, str(caught.exception), text)

    def test_a_missing_library_is_named(self) -> None:
        with (
            mock.patch.dict(sys.modules, {"jwt": None}),
            self.assertRaisesRegex(SettingError, r"twisted-mailkit\[oauth\]"),
        ):
            parse_rule("oauth:https://id.example.org:audience=mail")

    def test_a_command_takes_it(self) -> None:
        options = imap.Options()
        arguments = ["--listen", "tcp:0:interface=127.0.0.1", "--store", "memory:"]
        options.parseOptions([*arguments, "--auth", "oauth:https://id.example.org:audience=mail"])
        self.assertEqual(len(options.auth_rules), 1)
        with self.assertRaisesRegex(usage.UsageError, "audience is missing"):
            imap.Options().parseOptions([*arguments, "--auth", "oauth:https://id.example.org"])

    def test_help(self) -> None:
        options = imap.Options()
        options.authOutput = io.StringIO()
        with self.assertRaises(SystemExit):
            options.parseOptions(["--help-auth-type", "oauth"])
        self.assertIn("introspection=yes", options.authOutput.getvalue())
        with self.assertRaises(SystemExit):
            options.parseOptions(["--help-auth"])
        self.assertRegex(options.authOutput.getvalue(), r"oauth\s+ISSUER\[")


class PortalTests(SynchronousTestCase):
    """Tokens beside passwords, in one chain."""

    def setUp(self) -> None:
        from twisted.internet.task import Clock

        clock = Clock()
        clock.advance(1_000_000_000)
        client = FakeClient()
        client.publish(public_jwk("rsa", "RS256"))
        self.store = MemoryStore()
        self.successResultOf(run(self.store.add_account(ANN, "{PLAIN}secret")))
        self.checker = make_checker(client, clock)
        self.portal = make_portal(self.store, [DirectoryChecker(self.store), self.checker])

    def log_in(self, credentials: Any) -> Any:
        return self.portal.login(credentials, ConnectionInfo("imap"), IMailAccount)

    def test_both(self) -> None:
        self.assertTrue(IBearerToken.providedBy(BearerToken("", "x")))
        for credentials in (
            BearerToken(ANN, new_token()),
            BearerToken("", new_token()),
            UsernamePassword(ANN.encode(), b"secret"),
        ):
            _, account, _ = self.successResultOf(self.log_in(credentials))
            self.assertEqual(account.name, ANN)
        self.failureResultOf(self.log_in(BearerToken(ANN, new_token(aud="web"))), TokenRefused)
        wrong = UsernamePassword(ANN.encode(), b"wrong")
        result = self.log_in(wrong)
        self.failureResultOf(result, LoginFailed)

    def test_a_user_of_the_issuer_gets_an_account_in_the_domains_of_its_rule(self) -> None:
        self.checker._domains = ("example.org",)
        token = new_token(email="Bob@example.org")
        _, account, _ = self.successResultOf(self.log_in(BearerToken("", token)))
        self.assertEqual(account.name, "bob@example.org")

    def test_no_domain_is_served_because_an_issuer_names_it(self) -> None:
        for name in ("eve@example.com", "eve@example.org"):
            token = new_token(email=name)
            failure: Any = self.failureResultOf(
                self.log_in(BearerToken("", token)), AuthorizationFailed
            )
            self.assertEqual(failure.value.text, "You have no account here")
        self.assertEqual(self.successResultOf(run(self.store.list_domains())), ["example.org"])

    def test_a_rule_for_domains_takes_tokens_without_a_name(self) -> None:
        from mailkit.auth.checkers import AuthRule

        self.portal = make_portal(self.store, [AuthRule(self.checker, ("example.org",))])
        _, account, _ = self.successResultOf(self.log_in(BearerToken("", new_token())))
        self.assertEqual(account.name, ANN)

    def test_administrators_show_their_tokens_for_others(self) -> None:
        self.successResultOf(run(self.store.add_account(BOB, "{PLAIN}secret")))
        self.successResultOf(run(self.store.set_administrator(ANN, True)))
        forms = {
            "OAUTHBEARER": "n,a={},\x01auth=Bearer {}\x01\x01",
            "XOAUTH2": "user={}\x01auth=Bearer {}\x01\x01",
        }
        for kind in DIALOGUES[:2]:
            for name, form in forms.items():
                for owner, wanted, good in (
                    (ANN, BOB, True),
                    (ANN, "bob", True),
                    (ANN, "nobody@example.org", False),
                    (BOB, ANN, False),
                    ("eve@example.org", BOB, False),
                ):
                    dialogue = kind(self.portal)
                    self.addCleanup(dialogue.lose)
                    with capturedLogs() as events:
                        token = new_token(email=owner)
                        dialogue.begin(name)
                        answer = dialogue.respond(form.format(wanted, token).encode())
                        if not good:
                            # The error challenge; the client acknowledges it.
                            answer = answer if answer.kind else dialogue.later()
                            self.assertEqual(answer.kind, "challenge", (name, owner, wanted))
                            dialogue.say(b"AQ==")
                        dialogue.clock.advance(60)
                    self.assertEqual(dialogue.logged_in, good, (name, owner, wanted))
                    (line,) = [str(formatEvent(each)) for each in events if "outcome" in each]
                    if good:
                        self.assertIn(f"account={ANN} acting-for={BOB}", line)
                    else:
                        self.assertIn("login failed", line)

    def test_a_client_that_has_connected_to_another_host(self) -> None:
        self.checker._hosts = frozenset({"mail.example.org"})
        for host in ("", "Mail.example.org", "mail.example.org."):
            self.successResultOf(self.log_in(BearerToken("", new_token(), host)))
        for host in ("mail.example.net", "example.org", "127.0.0.1"):
            failure: Any = self.failureResultOf(
                self.log_in(BearerToken("", new_token(), host)), TokenRefused
            )
            self.assertEqual(failure.value.status, "invalid_request")

    def test_what_imap_offers(self) -> None:
        dialogue = IMAPDialogue(self.portal)
        self.addCleanup(dialogue.lose)
        self.assertEqual(dialogue.offered(), ["OAUTHBEARER", "XOAUTH2", "PLAIN", "LOGIN"])
        initial = f"n,a={ANN},\x01auth=Bearer {new_token()}\x01\x01".encode()
        self.assertEqual(dialogue.begin("OAUTHBEARER", initial).kind, "in")
        self.assertTrue(dialogue.logged_in)
        self.assertEqual(ISSUER, self.checker._rules.issuer)
