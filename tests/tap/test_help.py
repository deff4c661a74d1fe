"""What twistd's commands say of themselves, and what they say when an option is wrong."""

from __future__ import annotations

from typing import Any
from unittest import mock

from twisted.python.usage import UsageError

from mailkit.tap import ftp, imap, lmtp, mail, mta_sts, no_mail, pop3, relaying, smtp, submission
from mailkit.tap.listeners import TAKE_MAIL
from tests.tap.test_options import COMMANDS, OptionsTestCase

#: Options that all commands have a use for.
COMMON = """
    auth client-ca help help-auth help-auth-type max-connections max-connections-per-address
    no-create-accounts proxy-from require-client-certificate store tls version workers
"""
#: The others, by the services that have.
LOGINS = ("smtp", "submission", "pop3", "imap", "ftp")
OF_SERVICES = {
    TAKE_MAIL: """
        bare-line-ends detail-by-acl detail-to-mailbox expn hook hook-failure hostname milter
        milter-failure milter-reuse no-hook-trace no-soliciting relay relay-login relay-process relay-route
        route
        route-secret suppress-duplicates vrfy without-extension xclient-from
    """,
    (*TAKE_MAIL, "imap", "ftp"): "max-message-size",
    LOGINS: "allow-plaintext-passwords master-separator",
    LOGINS[:-1]: "mechanisms",
    ("smtp", "submission"): "sent-copy",
    ("smtp", "lmtp"): "relay-from",
    ("submission",): "any-from",
    ("pop3",): "pop3-language pop3-login-delay pop3-refuse-utf8 pop3-takeover",
    ("imap", "ftp"): "anonymous",
    ("imap",): """
        imap-gmail imap-language imap-message-limit imap-quirk max-sessions-per-account other-users
        share-with-anyone shared without-capability
    """,
    ("ftp",): "files ftp-mail ftp-protect-data ftp-quota passive-address passive-ports",
}


class HelpTests(OptionsTestCase):
    def test_help_can_be_followed(self) -> None:
        for module in (mail, *COMMANDS):
            with mock.patch.dict("os.environ", {"COLUMNS": "100"}):
                text = str(module.Options())
            for part in ("--store=", "--auth=", "--tls=", "--workers=", "Examples:", "twistd"):
                self.assertIn(part, text)
            self.assertNotIn("None", text)
            self.assertLess(max(map(len, text.splitlines())), 101)
            # Of the docstrings' indentation nothing is left.
            self.assertNotRegex(text, r"(?m)^ {20,}.*[^\s.] {2,}\S")

    def test_each_command_shows_what_it_has_a_use_for(self) -> None:
        for module in (mail, relaying, smtp, lmtp, submission, pop3, imap, ftp):
            options: Any = module.Options()  # type: ignore[attr-defined]
            served = {name.removesuffix("s") for name in options.endpoint_options}
            expected = {*COMMON.split(), *options.endpoint_options.values()}
            if module in (mail, relaying):
                expected.add("config")
            for services, names in OF_SERVICES.items():
                if served & {*services}:
                    expected.update(names.split())
            shown = [name.removesuffix("=") for name in options.longOpt]
            self.assertEqual(sorted(shown), sorted(expected), module.__name__)

    def test_an_error_does_not_drown_in_help(self) -> None:
        # twistd prints the command's usage above an error.
        for module in (mail, mta_sts, no_mail, *COMMANDS):
            options: Any = module.Options()  # type: ignore[attr-defined]
            self.assertRaises(UsageError, options.parseOptions, ["--listen", "143", "--smtp", "25"])
            self.assertEqual(options.getUsage(80), "With --help it tells what the options are.")

    def test_why_a_text_is_no_endpoint(self) -> None:
        for text, reason in (
            ("tcp:imap", "('imap' is no number)"),
            ("tcp:1:colour=red", "(it has no 'colour')"),
            ("tcp", "(something is missing, or too much)"),
            ("systemd:domain=INET:index=0", "(no such socket was passed on)"),
            ("carrier-pigeon:1", "(Unknown endpoint type: 'carrier-pigeon')"),
        ):
            self.check(["--imap", text], f"--imap: '{text}' is no endpoint", reason)
