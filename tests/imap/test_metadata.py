"""METADATA and LIST-METADATA (RFC 5464, 6154, 9590), on both stores."""

from __future__ import annotations

from mailkit._typing import override
from mailkit.rights import RightsOp
from mailkit.store.memory import MemoryStore
from mailkit.store.metadata import MAX_VALUE
from tests.imap.fakes import PlainAccount
from tests.imap.support import USER, Server, ServerTestCase, now

BOB = "bob@example.org"


class MetadataTests(ServerTestCase):
    @override
    def setUp(self) -> None:
        self.server = self.make_server(admin_uri="mailto:boss@example.org")
        self.client = self.server.login()

    def make_administrator(self) -> None:
        now(self.server.store.set_administrator(account=USER, administrator=True))

    def done(self, command: str | bytes) -> list[bytes]:
        """Responses of a command that succeeds, without the tagged one."""
        lines = self.client.command(command)
        self.assertTrue(lines[-1].startswith(b"OK "), lines)
        return lines[:-1]

    def test_capabilities(self) -> None:
        (line, _) = self.client.command("CAPABILITY")
        names = {b"METADATA", b"METADATA-SERVER", b"LIST-METADATA"}
        self.assertLessEqual(names, set(line.split()))
        self.assertNotIn(b"METADATA", self.server.connect().greeting)

    def test_the_examples(self) -> None:
        # RFC 5464 sections 4.2, 4.3
        self.make_administrator()
        self.done('SETMETADATA "" (/shared/comment "Shared comment")')
        self.assertEqual(
            self.done('GETMETADATA "" /shared/comment'),
            [b'* METADATA "" (/shared/comment "Shared comment")'],
        )
        comment = b"My new comment across\r\ntwo lines.\r\n"
        self.assertEqual(
            self.done(
                b"SETMETADATA INBOX (/private/comment {%d+}\r\n%b)" % (len(comment), comment)
            ),
            [],
        )
        self.assertEqual(
            self.done('GETMETADATA "INBOX" /private/comment'),
            [b'* METADATA "INBOX" (/private/comment {%d}\r\n%b)' % (len(comment), comment)],
        )
        self.done(
            'SETMETADATA INBOX (/PRIVATE/comment "My new comment"'
            ' /shared/Comment "This one is for you!")'
        )
        for arguments in (
            "(/shared/comment /private/comment)",
            "/shared/comment /private/comment",
            '("/shared/comment" {16+}\r\n/PRIVATE/COMMENT)',
        ):
            self.assertEqual(
                self.done(f"GETMETADATA INBOX {arguments}"),
                [
                    b'* METADATA "INBOX" (/shared/comment "This one is for you!"'
                    b' /private/comment "My new comment")'
                ],
            )
        self.done("SETMETADATA INBOX (/private/comment NIL)")
        self.assertEqual(
            self.done("GETMETADATA INBOX /private/comment"),
            [b'* METADATA "INBOX" (/private/comment NIL)'],
        )

    def test_maxsize(self) -> None:
        # RFC 5464 section 4.2.1
        self.done(b"SETMETADATA INBOX (/shared/comment {2199+}\r\n%b)" % (b"x" * 2199))
        self.done('SETMETADATA INBOX (/private/comment "My own comment")')
        for arguments in ('(MAXSIZE 1024) "INBOX"', '"INBOX" (MAXSIZE 1024)'):
            lines = self.client.command(
                f"GETMETADATA {arguments} (/shared/comment /private/comment)"
            )
            self.assertEqual(
                lines,
                [
                    b'* METADATA "INBOX" (/private/comment "My own comment")',
                    b"OK [METADATA LONGENTRIES 2199] GETMETADATA completed",
                ],
            )
        (line,) = self.client.command("GETMETADATA (MAXSIZE 2198) INBOX /shared/comment")
        self.assertEqual(line, b"OK [METADATA LONGENTRIES 2199] GETMETADATA completed")
        self.assertEqual(len(self.done("GETMETADATA (MAXSIZE 2199) INBOX /shared/comment")), 1)

    def test_depth(self) -> None:
        # RFC 5464 section 4.2.2
        self.done(
            'SETMETADATA INBOX (/private/filters/values/small "SMALLER 5000"'
            ' /private/filters/values/boss "FROM boss" /private/filters/values "x"'
            ' /private/filters/values/a/b "deep" /private/filtersvalues "other")'
        )
        small = b'/private/filters/values/small "SMALLER 5000"'
        boss = b'/private/filters/values/boss "FROM boss"'
        values = b'/private/filters/values "x"'
        deep = b'/private/filters/values/a/b "deep"'
        for depth, wanted in (
            ("0", [values]),
            ("1", [values, boss, small]),
            ("infinity", [values, deep, boss, small]),
        ):
            (line,) = self.done(f"GETMETADATA (DEPTH {depth}) INBOX /private/filters/values")
            self.assertEqual(line, b'* METADATA "INBOX" (%b)' % b" ".join(wanted))
        (line,) = self.done("GETMETADATA INBOX (MAXSIZE 4 DEPTH INFINITY) /private")
        self.assertEqual(line, b'* METADATA "INBOX" (%b %b)' % (values, deep))
        self.assertEqual(self.done("GETMETADATA (DEPTH 1) INBOX /shared/none"), [])

    def test_octets_of_every_kind(self) -> None:
        value = bytes(range(256))
        self.done(b"SETMETADATA INBOX (/private/vendor/x/y ~{256+}\r\n%b)" % value)
        data = self.client.send(b"t GETMETADATA INBOX /private/vendor/x/y\r\n")
        self.assertIn(b'* METADATA "INBOX" (/private/vendor/x/y ~{256}\r\n%b)\r\n' % value, data)
        self.done('SETMETADATA INBOX (/private/vendor/x/y "")')
        (line,) = self.done("GETMETADATA INBOX /private/vendor/x/y")
        self.assertEqual(line, b'* METADATA "INBOX" (/private/vendor/x/y "")')

    def test_the_administrators_address(self) -> None:
        # RFC 5464 section 6.2.2
        self.make_administrator()
        (line,) = self.done('GETMETADATA "" (DEPTH infinity) /shared')
        self.assertEqual(line, b'* METADATA "" (/shared/admin "mailto:boss@example.org")')
        (line,) = self.client.command('SETMETADATA "" (/shared/admin "mailto:me@example.org")')
        self.assertEqual(line, b"NO [NOPERM] /shared/admin cannot be changed")

    def test_only_administrators_change_what_the_server_shares(self) -> None:
        (line,) = self.client.command('SETMETADATA "" (/shared/comment x /private/comment x)')
        self.assertEqual(line, b"BAD A string is missing")
        (line,) = self.client.command('SETMETADATA "" (/shared/comment "x" /private/comment "x")')
        self.assertEqual(line, b"NO [NOPERM] That is for administrators to change")
        (line,) = self.done('GETMETADATA "" /private/comment')
        self.assertEqual(line, b'* METADATA "" (/private/comment NIL)')

    def test_limits(self) -> None:
        # RFC 5464 section 4.3
        value = b"x" * MAX_VALUE
        self.done(b"SETMETADATA INBOX (/private/comment {%d+}\r\n%b)" % (len(value), value))
        many = " ".join(f'/private/x{number} "x"' for number in range(101))
        (line,) = self.client.command(f"SETMETADATA Sent ({many})")
        self.assertTrue(line.startswith(b"NO [METADATA TOOMANY] "), line)
        (line,) = self.done("GETMETADATA (DEPTH 1) Sent /private")
        self.assertEqual(line, b'* METADATA "Sent" (/private/specialuse "\\\\Sent")')

    def test_value_that_is_too_large(self) -> None:
        self.server.factory.max_literal = 2 * MAX_VALUE
        client = self.server.login()
        value = b"x" * (MAX_VALUE + 1)
        (line,) = client.command(
            b"SETMETADATA INBOX (/private/comment {%d+}\r\n%b)" % (len(value), value)
        )
        self.assertTrue(line.startswith(b"NO [METADATA MAXSIZE %d] " % MAX_VALUE), line)

    def test_malformed(self) -> None:
        for command in (
            "GETMETADATA",
            "GETMETADATA INBOX",
            "GETMETADATA INBOX ()",
            "GETMETADATA INBOX comment",
            "GETMETADATA INBOX /other/comment",
            "GETMETADATA INBOX /private//comment",
            "GETMETADATA INBOX /private/comment/",
            'GETMETADATA INBOX "/private/comm*"',
            'GETMETADATA INBOX "/private/comm%"',
            "GETMETADATA INBOX {9+}\r\n/shared/\xff",
            "GETMETADATA INBOX /private/" + "x" * 250,
            "GETMETADATA INBOX (MAXSIZE) /private/comment",
            "GETMETADATA INBOX (MAXSIZE -1) /private/comment",
            "GETMETADATA INBOX (DEPTH 2) /private/comment",
            "GETMETADATA INBOX (DEPTH 1 DEPTH 1) /private/comment",
            "GETMETADATA INBOX (WIDTH 1) /private/comment",
            "GETMETADATA (DEPTH 1) INBOX (DEPTH 1) /private/comment",
            "SETMETADATA",
            "SETMETADATA INBOX",
            "SETMETADATA INBOX ()",
            "SETMETADATA INBOX (/private/comment)",
            'SETMETADATA INBOX /private/comment "x"',
            'SETMETADATA INBOX (/private "x")',
            'SETMETADATA INBOX (/private/vendor/x "x")',
            'SETMETADATA INBOX (/private/comment "x" /private/comment "y")',
            'SETMETADATA INBOX (/private/comment "x") x',
            b"SETMETADATA INBOX (/private/comment {1+}\r\n\0)",
        ):
            (line,) = self.client.command(command)
            self.assertTrue(line.startswith(b"BAD "), (command, line))
            self.client.command("NOOP")
        for command in ("GETMETADATA No /private/comment", 'SETMETADATA No (/private/comment "x")'):
            (line,) = self.client.command(command)
            self.assertTrue(line.startswith(b"NO [NONEXISTENT] "), line)

    def test_wrong_state(self) -> None:
        client = self.server.connect()
        for command in ('GETMETADATA "" /shared/comment', 'SETMETADATA "" (/private/comment "x")'):
            (line,) = client.command(command)
            self.assertTrue(line.startswith(b"BAD This command cannot be used"), line)

    def test_special_use(self) -> None:
        # RFC 6154 section 5.4
        self.done("CREATE SavedDrafts")
        self.done('SETMETADATA "SavedDrafts" (/private/specialuse "\\\\Drafts")')
        lines = self.done('LIST (SPECIAL-USE) "" "*Drafts"')
        self.assertEqual(len(lines), 1)
        self.assertIn(b'\\Drafts) "/" "SavedDrafts"', lines[0])
        (line,) = self.done("GETMETADATA Drafts /private/specialuse")
        self.assertEqual(line, b'* METADATA "Drafts" (/private/specialuse NIL)')
        self.done("SETMETADATA SavedDrafts (/private/specialuse NIL)")
        self.assertEqual(self.done('LIST (SPECIAL-USE) "" "*Drafts"'), [])
        (line,) = self.client.command('SETMETADATA Drafts (/private/specialuse "\\\\All")')
        self.assertTrue(line.startswith(b"NO [USEATTR] "), line)

    def test_one_mailbox_has_a_special_use_however_it_came_to_it(self) -> None:
        # RFC 6154 sections 3 and 4
        other = self.server.login("ENABLE METADATA", "SELECT INBOX")
        self.done("CREATE Outbox (USE (\\Sent))")
        (line,) = self.done('LIST (SPECIAL-USE) "" (Sent Outbox) RETURN ()')
        self.assertIn(b'\\Sent) "/" "Outbox"', line)
        (line,) = self.done("GETMETADATA Sent /private/specialuse")
        self.assertEqual(line, b'* METADATA "Sent" (/private/specialuse NIL)')
        self.assertIn(b'* METADATA "Sent" /private/specialuse', other.command("NOOP"))
        self.done('SETMETADATA Sent (/private/specialuse "\\\\Sent")')
        (line,) = self.done('LIST (SPECIAL-USE) "" (Sent Outbox) RETURN ()')
        self.assertIn(b'\\Sent) "/" "Sent"', line)

    def test_others_are_told(self) -> None:
        # RFC 5464 section 4.4
        self.make_administrator()
        other = self.server.login()
        quiet = self.server.login("SELECT INBOX")
        self.assertEqual(
            other.command("ENABLE METADATA"), [b"* ENABLED METADATA", b"OK ENABLE completed"]
        )
        self.client.command("ENABLE METADATA")
        self.done('SETMETADATA INBOX (/shared/comment "x" /private/comment "y")')
        self.done('SETMETADATA INBOX (/shared/comment "z")')
        self.done('SETMETADATA "" (/shared/comment "x")')
        self.assertEqual(
            other.command("NOOP"),
            [
                b'* METADATA "INBOX" /shared/comment /private/comment',
                b'* METADATA "" /shared/comment',
                b"OK NOOP completed",
            ],
        )
        self.assertEqual(other.command("NOOP"), [b"OK NOOP completed"])
        self.assertEqual(quiet.command("NOOP"), [b"OK NOOP completed"])

    def test_others_are_told_while_they_idle(self) -> None:
        other = self.server.login("ENABLE METADATA-SERVER", "SELECT INBOX")
        other.send(b"i IDLE\r\n")
        self.done('SETMETADATA Sent (/shared/comment "x")')
        self.assertEqual(other.take(), b'* METADATA "Sent" /shared/comment\r\n')
        self.assertEqual(other.send(b"DONE\r\n"), b"i OK IDLE completed\r\n")
        other.lose()
        self.done('SETMETADATA Sent (/shared/comment "y")')

    def test_nothing_is_told_after_the_login_has_ended(self) -> None:
        # RFC 8437 section 4.1
        other = self.server.login("ENABLE METADATA")
        other.command("UNAUTHENTICATE")
        self.done('SETMETADATA Sent (/shared/comment "x")')
        self.assertEqual(other.command("NOOP"), [b"OK NOOP completed"])
        other.command(f"LOGIN {USER} secret")
        self.done('SETMETADATA Sent (/shared/comment "y")')
        self.assertEqual(other.command("NOOP"), [b"OK NOOP completed"])

    def test_mailboxes_of_others(self) -> None:
        # RFC 5464 section 3.3
        store = self.server.store
        now(store.add_account(name=BOB))
        bob = now(store.open_account(name=BOB))
        shared = {"/shared/comment": b"all", "/private/comment": b"Bob's"}
        now(bob.set_metadata(mailbox="INBOX", entries=shared))

        def grant(rights: str) -> None:
            now(bob.set_acl("INBOX", USER, frozenset(rights), RightsOp.REPLACE))

        name = f'"Other Users/{BOB}/INBOX"'
        ask = f"GETMETADATA {name} (/shared/comment /private/comment)"
        (line,) = self.client.command(ask)
        self.assertTrue(line.startswith(b"NO [NONEXISTENT] "), line)
        grant("l")
        (line,) = self.client.command(ask)
        self.assertTrue(line.startswith(b"NO [NOPERM] "), line)
        grant("lr")
        (line,) = self.done(ask)
        self.assertIn(b'(/shared/comment "all" /private/comment NIL)', line)
        self.done(f'SETMETADATA {name} (/private/comment "mine")')
        (line,) = self.client.command(f'SETMETADATA {name} (/shared/comment "mine")')
        self.assertTrue(line.startswith(b"NO [NOPERM] "), line)
        grant("lrw")
        self.client.command("ENABLE METADATA")
        self.done(f'SETMETADATA {name} (/shared/comment "mine")')
        now(bob.set_metadata(mailbox="INBOX", entries={**shared, "/shared/x": b"y"}))
        self.assertEqual(
            self.done("NOOP"), [b"* METADATA %b /shared/comment /shared/x" % name.encode()]
        )
        (line,) = self.done(ask)
        self.assertIn(b'(/shared/comment "all" /private/comment "mine")', line)
        (line,) = self.client.command(f'SETMETADATA {name} (/private/specialuse "\\\\Sent")')
        self.assertTrue(line.startswith(b"NO [NOPERM] "), line)

    def test_list(self) -> None:
        # RFC 9590 section 3
        self.done('SETMETADATA Sent (/shared/vendor/x/color "#b71c1c")')
        lines = self.done('LIST "" (Sent Drafts) RETURN (METADATA ("/shared/vendor/x/color"))')
        self.assertEqual(
            [line for line in lines if b"METADATA" in line],
            [
                b'* METADATA "Drafts" (/shared/vendor/x/color NIL)',
                b'* METADATA "Sent" (/shared/vendor/x/color "#b71c1c")',
            ],
        )
        self.assertEqual(len(lines), 4)
        for option in ("METADATA", "METADATA x", "METADATA ()", "METADATA (comment)"):
            (line,) = self.client.command(f'LIST "" * RETURN ({option})')
            self.assertTrue(line.startswith(b"BAD "), line)


class SQLiteMetadataTests(MetadataTests):
    sqlite = True


class SwitchTests(ServerTestCase):
    def test_switched_off(self) -> None:
        client = self.make_server(without=["METADATA-SERVER"]).login()
        self.assertNotIn(b"METADATA", client.command("CAPABILITY")[0])
        for command in (
            "GETMETADATA INBOX /shared/comment",
            'SETMETADATA INBOX (/private/comment "x")',
            'LIST "" * RETURN (METADATA (/shared/comment))',
        ):
            (line,) = client.command(command)
            self.assertTrue(line.startswith(b"BAD "), line)
        self.assertEqual(client.command("ENABLE METADATA")[0], b"* ENABLED")

    def test_entries_of_the_server_alone(self) -> None:
        client = self.make_server(without=["METADATA"]).login()
        self.assertTrue(
            client.command('SETMETADATA "" (/private/comment "x")')[0].startswith(b"OK")
        )
        (line,) = client.command("GETMETADATA INBOX /private/comment")
        self.assertEqual(line, b"BAD There are only entries about the server here")

    def test_account_without_entries(self) -> None:
        store = MemoryStore()
        now(store.add_account(name=USER))
        client = Server(PlainAccount(now(store.open_account(name=USER)))).login()
        self.assertNotIn(b"METADATA", client.command("CAPABILITY")[0])
        (line,) = client.command('GETMETADATA "" /private/comment')
        self.assertEqual(line, b"BAD There are no entries in this account")
