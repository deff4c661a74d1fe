"""Mailboxes of others: ACL, NAMESPACE, LIST-MYRIGHTS and rights in every command (RFC 4314, 8440)."""

from __future__ import annotations

from typing import NamedTuple

from mailkit.interfaces import IAccessControl
from mailkit.rights import RightsOp, parse_rights
from mailkit.store.sqlite import SQLiteDirectory
from mailkit.store.sqlite.maintenance import Maintenance
from tests.imap.access import BOB, EVE, MESSAGE, OTHERS, AccessTestCase
from tests.imap.fakes import PlainAccount
from tests.imap.support import USER, Client, Server, now


class ListTests(AccessTestCase):
    """SETACL, DELETEACL, GETACL, LISTRIGHTS, MYRIGHTS."""

    def test_capabilities(self) -> None:
        client = self.start().login()
        (line, _) = client.command("CAPABILITY")
        for name in (b" ACL", b" RIGHTS=texkn", b" LIST-MYRIGHTS"):
            self.assertIn(name, line)
        self.check_without(self.plain())

    def check_without(self, client: Client) -> None:
        (line, _) = client.command("CAPABILITY")
        for name in (b" ACL", b"RIGHTS=", b"MYRIGHTS"):
            self.assertNotIn(name, line)
        lines = client.command('LIST "" * RETURN (MYRIGHTS)')
        self.assertTrue(lines[-1].startswith(b"BAD "), lines)

    def plain(self) -> Client:
        """A client of an account that shares nothing."""
        server = Server()
        server.realm.account = PlainAccount(server.account)
        self.assertFalse(IAccessControl.providedBy(server.realm.account))
        return server.login()

    def test_without_the_extension(self) -> None:
        client = self.start(without=["acl"]).login()
        self.check_without(client)
        for command in ("SETACL Plans bob lr", "GETACL Plans", "MYRIGHTS Plans",
                        "LISTRIGHTS Plans bob", "DELETEACL Plans bob"):  # fmt: skip
            self.assertEqual(client.command(command), [b"BAD There is no such command"])
        (line,) = self.plain().command("MYRIGHTS INBOX")
        self.assertEqual(line, b"NO [NOPERM] The mailboxes of this account cannot be shared")
        self.assertEqual(self.plain().command("NAMESPACE")[0], b'* NAMESPACE (("" "/")) NIL NIL')

    def test_a_list(self) -> None:
        # The examples of RFC 4314 sections 2.1.1 and 3.
        client = self.start().login()
        owner = b'* ACL "Plans" ann@example.org lrswipkxtecdan'
        self.assertEqual(client.command("GETACL Plans"), [owner, b"OK GETACL completed"])
        for command, entries in (
            ("SeTacl Plans bob@example.org lrswida", b" bob@example.org lrswiteda"),
            ("SETACL Plans Bob@Example.ORG lrswikda", b" bob@example.org lrswiktecda"),
            ("SETACL Plans bob@example.org lrswi", b" bob@example.org lrswi"),
            ("SETACL Plans bob@example.org +cda", b" bob@example.org lrswikxtecda"),
            ('SETACL Plans "bob@example.org" -xs', b" bob@example.org lrwiktecda"),
            ("SETACL Plans -eve@example.net wetd",
             b" bob@example.org lrwiktecda -eve@example.net wted"),
            ("DELETEACL Plans bob@example.org", b" -eve@example.net wted"),
            ('SETACL Plans -eve@example.net ""', b""),
        ):  # fmt: skip
            verb = command.split()[0].upper().encode()
            self.assertEqual(client.command(command), [b"OK %b completed" % verb], command)
            self.assertEqual(client.command("GETACL Plans")[0], owner + entries, command)

    def test_names_that_need_quotes(self) -> None:
        client = self.start().login()
        client.command('CREATE "B&AOk-b\\\\ x"')
        self.assertEqual(
            client.command('MYRIGHTS "B&AOk-b\\\\ x"')[0],
            b'* MYRIGHTS "B&AOk-b\\\\ x" lrswipkxtecdan',
        )
        client.command("SETACL inbox {15+}\r\nbob@example.org {2+}\r\nlr")
        self.assertEqual(
            client.command("GETACL inBox")[0],
            b'* ACL "INBOX" ann@example.org lrswipkxtecdan bob@example.org lr',
        )

    def test_refusals(self) -> None:
        client = self.start().login()
        for command, answer in (
            ("SETACL Plans bob@example.org lrQswicda", b"BAD Rights are small letters"),
            ("SETACL Plans bob@example.org lrqswicda", b"BAD There is no right 'q'; "),
            ("SETACL Plans bob@example.org ++lr", b"BAD There is no right '+'; "),
            ("SETACL Plans bob@example.org lr1", b"BAD There is no right '1'; "),
            ("SETACL Plans bob@example.org", b"BAD "),
            ("SETACL Plans bob@example.org lr x", b"BAD "),
            ("SETACL Plans", b"BAD "),
            ("SETACL", b"BAD "),
            ("DELETEACL Plans", b"BAD "),
            ("LISTRIGHTS Plans", b"BAD "),
            ("GETACL Plans x", b"BAD "),
            ("MYRIGHTS", b"BAD "),
            ('SETACL Plans "" lr', b"BAD The identifier is empty"),
            ('SETACL Plans "-" lr', b"BAD The identifier is empty"),
            ('SETACL Plans "b\x07b" lr', b"BAD The identifier contains a control character"),
            ('SETACL Plans "\xad" lr'.encode(), b"BAD The identifier is empty"),
            (b'SETACL Plans "\xff" lr', b"BAD The identifier is not valid UTF-8"),
            ("SETACL Plans nobody@example.org lr", b"NO [NONEXISTENT] There is no user "),
            ("SETACL Plans anyone lr", b"NO [NOPERM] Only an administrator can share"),
            ("SETACL Plans @example.org lr", b"NO [NOPERM] Only an administrator can share"),
            (f"SETACL Plans {USER} lr", b"NO [NOPERM] The owner of a mailbox always has"),
            (f"SETACL Plans -{USER} l", b"NO [NOPERM] The owner of a mailbox always has"),
            (f"DELETEACL Plans {USER}", b"NO [NOPERM] The owner of a mailbox always has"),
            (f"SETACL Plans {'x' * 500} lr", b"NO [LIMIT] An identifier has at most"),
            ("SETACL None bob@example.org lr", b"NO [NONEXISTENT] No such mailbox"),
            ("GETACL None", b"NO [NONEXISTENT] No such mailbox"),
            ("LISTRIGHTS None bob@example.org", b"NO [NONEXISTENT] No such mailbox"),
            ("MYRIGHTS None", b"NO [NONEXISTENT] No such mailbox"),
        ):
            (line,) = client.command(command)
            self.assertTrue(line.startswith(answer), (command, line))
        (line,) = self.server.connect().command("GETACL Plans")
        self.assertTrue(line.startswith(b"BAD "), line)

    def test_what_can_be_granted(self) -> None:
        client = self.start().login()
        each = b'"" l r s w i p k x t e c d a n'
        for identifier, rights in (
            (b"bob@example.org", each),
            (b"Bob@EXAMPLE.org", each),
            (b"-bob@example.org", each),
            (b"ann@example.org", b"lrswipkxtecdan"),
            (b"anyone", b'""'),
            (b"nobody@example.org", b'""'),
        ):
            (line, _) = client.command(b"LISTRIGHTS Plans " + identifier)
            self.assertEqual(line, b'* LISTRIGHTS "Plans" %b %b' % (identifier, rights))

    def test_rights_of_another(self) -> None:
        self.start()
        bob = self.bob()
        command = f'MYRIGHTS "{OTHERS}/Plans"'
        for rights, answer in (("lr", b"lr"), ("lkx", b"lkxc"), ("rwipslte", b"lrswipted")):
            self.grant(rights)
            (line, _) = bob.command(command)
            self.assertEqual(line, b'* MYRIGHTS "%b/Plans" %b' % (OTHERS.encode(), answer))
        # RFC 4314 section 4: one of l, r, i, k, x, a is needed to know of it.
        for rights in ("", "pswte"):
            self.grant(rights)
            self.assertEqual(bob.command(command), [b"NO [NONEXISTENT] No such mailbox"])

    def test_in_any_order_of_one_packet(self) -> None:
        # RFC 4314 section 5.1.1: SETACL is complete before what is pipelined behind it.
        self.start()
        self.grant("la")
        data = self.bob().send(
            b'a SETACL "%b/Plans" %b +w\r\nb MYRIGHTS "%b/Plans"\r\n'
            % (OTHERS.encode(), BOB.encode(), OTHERS.encode())
        )
        self.assertIn(b'/Plans" lwa\r\nb OK', data)


class SQLiteListTests(ListTests):
    sqlite = True


class NamespaceTests(AccessTestCase):
    def test_namespace(self) -> None:
        self.assertEqual(
            self.start().login().command("NAMESPACE")[0],
            b'* NAMESPACE (("" "/")) (("Other Users/" "/")) (("Shared/" "/"))',
        )

    def names(self, client: Client, command: str) -> list[bytes]:
        return [line.split(b'"/" ')[1].strip(b'"') for line in client.command(command)[:-1]]

    def test_list(self) -> None:
        self.start()
        bob = self.bob()
        self.assertEqual(self.names(bob, 'LIST "" "Other Users/*"'), [])
        now(self.server.account.create_mailbox(name="Plans/a/b"))
        self.grant("lr", "Plans/a/b")
        shared = f"{OTHERS}/Plans/a/b".encode()
        for command in ('LIST "" *', 'LIST "Other Users/" *', f'LIST "" "{OTHERS}/*"'):
            self.assertIn(shared, self.names(bob, command))
        self.assertEqual(
            bob.command('LIST "Other Users/" %')[0],
            b'* LIST (\\Noselect \\HasChildren) "/" "%b"' % OTHERS.encode(),
        )
        self.assertIn(b"Other Users", self.names(bob, 'LIST "" %'))
        # RFC 4314 section 4, LIST: what may not be seen is as if it did not exist.
        self.assertNotIn(f"{OTHERS}/Plans".encode(), self.names(bob, 'LIST "" *'))
        self.grant("l", "Plans/a/b")
        self.assertEqual(
            bob.command(f'LIST "" "{OTHERS}/*"')[0],
            b'* LIST (\\Noselect \\HasNoChildren) "/" "%b"' % shared,
        )
        self.grant("r", "Plans/a/b")
        self.assertNotIn(shared, self.names(bob, 'LIST "" *'))
        self.assertNotIn(shared, self.names(self.server.login(), 'LIST "" *'))

    def test_subscriptions(self) -> None:
        self.start()
        bob = self.bob()
        name = f"{OTHERS}/Plans"
        self.grant("lr")
        bob.command(f'SUBSCRIBE "{name}"')
        self.assertIn(name.encode(), self.names(bob, 'LSUB "" *'))
        (line,) = [line for line in bob.command('LIST (SUBSCRIBED) "" *') if name.encode() in line]
        self.assertIn(b"\\Subscribed", line)
        self.grant("")
        (line,) = [line for line in bob.command('LSUB "" *') if name.encode() in line]
        self.assertIn(b"\\Noselect", line)
        bob.command(f'UNSUBSCRIBE "{name}"')
        self.assertNotIn(name.encode(), self.names(bob, 'LSUB "" *'))

    def test_special_uses_of_others_are_not_told(self) -> None:
        self.start()
        self.grant("lr", "Sent")
        lines = [line for line in self.bob().command('LIST "" *') if b"\\Sent" in line]
        self.assertEqual(len(lines), 1, lines)

    def test_myrights(self) -> None:
        # RFC 8440 section 4
        self.start()
        self.grant("lrs")
        self.grant("l", "Drafts")
        now(self.server.account.create_mailbox(name="Empty/One"))
        self.grant("lr", "Empty/One")
        lines = self.bob().command('LIST "" (INBOX "Other Users/*" "%") RETURN (MYRIGHTS)')
        for name, rights in (
            ("INBOX", b"lrswipkxtecdan"),
            (f"{OTHERS}/Plans", b"lrs"),
            (f"{OTHERS}/Drafts", b"l"),
        ):
            line = b'* MYRIGHTS "%b" %b' % (name.encode(), rights)
            self.assertTrue(lines[lines.index(line) - 1].endswith(b'"%b"' % name.encode()))
        for name in ("Other Users", OTHERS, f"{OTHERS}/Empty"):
            self.assertFalse([line for line in lines if b'MYRIGHTS "%b"' % name.encode() in line])

    def test_status_of_a_list(self) -> None:
        self.start()
        self.grant("lr")
        self.grant("l", "Drafts")
        lines = self.bob().command('LIST "" "Other Users/*" RETURN (STATUS (MESSAGES))')
        self.assertIn(b'* STATUS "%b/Plans" (MESSAGES 3)' % OTHERS.encode(), lines)
        self.assertFalse([line for line in lines if b"STATUS" in line and b"Drafts" in line])

    def test_public_accounts(self) -> None:
        self.start()
        now(self.server.store.set_public(account=USER, public=True))
        owner = self.server.login()
        self.assertEqual(owner.command("SETACL Plans anyone lr")[-1], b"OK SETACL completed")
        for user in (BOB, EVE):
            client = self.bob(user=user)
            self.assertIn(f"Shared/{USER}/Plans".encode(), self.names(client, 'LIST "" *'))
            lines = client.command(f'SELECT "Shared/{USER}/Plans"')
            self.assertIn(b"OK [READ-ONLY] SELECT completed", lines)
            self.assertEqual(
                client.command(f'SELECT "{OTHERS}/Plans"')[-1][:17], b"NO [NONEXISTENT] "
            )


class SQLiteNamespaceTests(NamespaceTests):
    sqlite = True


class Case(NamedTuple):
    """A command that needs rights in ``{box}``."""

    command: str
    #: All of them are needed.
    rights: str
    #: The mailbox is selected.
    selected: bool = True
    #: What is refused also tells that the mailbox could be made.
    code: bytes = b"NONEXISTENT"


CASES = (
    Case('SELECT "{box}"', "r", False),
    Case('EXAMINE "{box}"', "r", False),
    Case('STATUS "{box}" (MESSAGES UNSEEN)', "r", False),
    Case('APPEND "{box}" {{3+}}\r\nabc', "i", False, b"TRYCREATE"),
    Case('APPEND "{box}" (\\Seen) {{3+}}\r\nabc', "i", False, b"TRYCREATE"),
    Case('CREATE "{box}/New"', "k", False, b"NOPERM"),
    Case('DELETE "{box}"', "x", False),
    Case('RENAME "{box}" "{other}/New"', "x", False),
    Case('GETACL "{box}"', "a", False),
    Case('SETACL "{box}" eve@example.net lr', "a", False),
    Case('DELETEACL "{box}" eve@example.net', "a", False),
    Case('LISTRIGHTS "{box}" eve@example.net', "a", False),
    Case("STORE 1 +FLAGS (\\Seen)", "s"),
    Case("STORE 3 -FLAGS.SILENT (\\Seen)", "s"),
    Case("STORE 1 +FLAGS (\\Deleted)", "t"),
    Case("UID STORE 3 -FLAGS (\\Deleted)", "t"),
    Case("STORE 1 +FLAGS (\\Flagged)", "w"),
    Case("STORE 1 +FLAGS (Mine)", "w"),
    Case("STORE 1 FLAGS (\\Draft Mine)", "w"),
    Case("EXPUNGE", "e"),
    Case("UID EXPUNGE 3", "e"),
    Case("MOVE 1 INBOX", "te"),
    Case("UID MOVE 1 INBOX", "te"),
    Case('COPY 1 "{other}"', ""),
    Case("FETCH 1 (FLAGS BODY.PEEK[])", ""),
    Case("SEARCH ALL", ""),
    Case("CLOSE", ""),
)


class RightsTests(AccessTestCase):
    """Every command with and without each right that it needs."""

    def test_each_command(self) -> None:
        self.start()
        now(self.server.account.create_mailbox(name="Other"))
        self.grant("lik", "Other")
        for number, case in enumerate(CASES):
            with self.subTest(case.command):
                name = f"P{number}"
                now(self.server.account.create_mailbox(name=name))
                self.server.add(MESSAGE, MESSAGE, mailbox=name)
                self.server.add(MESSAGE, mailbox=name, flags="\\Deleted \\Seen Mine")
                self._try(case, name)

    def _try(self, case: Case, name: str) -> None:
        box = f"{OTHERS}/{name}"
        command = case.command.format(box=box, other=f"{OTHERS}/Other")
        everything = set("lrswipkxtean")
        for right in case.rights:
            self.grant("".join(everything - {right}), name)
            client = self.bob(*([f'SELECT "{box}"'] if case.selected else []))
            (*_, tagged) = client.command(command)
            self.assertTrue(tagged.startswith(b"NO [NOPERM] "), (command, right, tagged))
            if not case.selected:
                # RFC 4314 section 6: nothing tells that it exists.
                self.grant("".join({"s", "p"} - {right}), name)
                (*_, tagged) = client.command(command)
                self.assertTrue(tagged.startswith(b"NO [%b] " % case.code), (command, tagged))
        needed = case.rights + ("lr" if case.selected else "")
        self.grant(needed, name)
        client = self.bob(*([f'SELECT "{box}"'] if case.selected else []))
        (*_, tagged) = client.command(command)
        self.assertTrue(tagged.startswith(b"OK "), (command, needed, tagged))

    def test_the_target_of_copies(self) -> None:
        self.start()
        now(self.server.account.create_mailbox(name="Other"))
        bob = self.bob(f"APPEND INBOX {{{len(MESSAGE)}+}}\r\n{MESSAGE.decode()}", "SELECT INBOX")
        for verb in ("COPY", "MOVE"):
            command = f'{verb} 1 "{OTHERS}/Other"'
            self.grant("lrswpkxtea", "Other")
            self.assertTrue(bob.command(command)[-1].startswith(b"NO [NOPERM] "))
            self.grant("wpte", "Other")
            self.assertTrue(bob.command(command)[-1].startswith(b"NO [TRYCREATE] "))
            self.grant("i", "Other")
            lines = bob.command(command)
            self.assertTrue(lines[-1].startswith(b"OK "), lines)
        self.assertEqual(self.flags("Other"), [set(), set()])

    def test_renaming_needs_the_right_to_make_mailboxes(self) -> None:
        self.start()
        now(self.server.account.create_mailbox(name="Other"))
        self.grant("lx")
        self.grant("lrswipxtea", "Other")
        bob = self.bob()
        old, new = f"{OTHERS}/Plans", f"{OTHERS}/Other/Plans"
        self.assertEqual(
            bob.command(f'RENAME "{old}" "{new}"'),
            [b"NO [NOPERM] You may not make mailboxes there"],
        )
        self.grant("lk", "Other")
        for target in ("Plans", f"Other Users/{EVE}/Plans", "Other Users", "Shared/x/y"):
            (line,) = bob.command(f'RENAME "{old}" "{target}"')
            self.assertTrue(line.startswith(b"NO ["), line)
        self.assertEqual(bob.command(f'RENAME "{old}" "{new}"')[-1], b"OK RENAME completed")
        self.assertEqual(bob.command(f'MYRIGHTS "{new}"')[0][-2:], b"xc")


class SQLiteRightsTests(RightsTests):
    sqlite = True


class NotifyTests(AccessTestCase):
    """RFC 5465 section 5.4: the right "l" makes and deletes a mailbox for whoever has it."""

    def told(self, client: Client) -> list[bytes]:
        for _ in range(5):
            self.server.clock.advance(0)
        return client.take().split(b"\r\n")[:-1]

    def test_names(self) -> None:
        self.start()
        bob = self.bob('NOTIFY SET (subtree "Other Users" (MailboxName))')
        name = OTHERS.encode()
        self.grant("lr")
        told = self.told(bob)
        self.assertIn(b'* LIST (\\HasNoChildren) "/" "%b/Plans"' % name, told)
        now(self.server.account.rename_mailbox(name="Plans", new_name="New"))
        self.assertIn(b'"%b/New" ("OLDNAME" ("%b/Plans"))' % (name, name), self.told(bob)[-1])
        self.grant("r", "New")
        gone = b'* LIST (\\NonExistent \\HasNoChildren) "/" "%b/New"' % name
        self.assertIn(gone, self.told(bob))
        self.grant("l", "New")
        self.assertIn(b'* LIST (\\Noselect \\HasNoChildren) "/" "%b/New"' % name, self.told(bob))
        self.grant("lr", "New")
        self.assertIn(b'* LIST (\\HasNoChildren) "/" "%b/New"' % name, self.told(bob))
        now(self.server.account.delete_mailbox(name="New"))
        self.assertIn(gone, self.told(bob))

    def test_an_account_that_goes(self) -> None:
        self.start()
        self.grant("lr")
        bob = self.bob('NOTIFY SET (subtree "Other Users" (MailboxName))')
        self.told(bob)
        now(self.server.store.remove_account(name=USER))
        gone = b'* LIST (\\NonExistent \\HasNoChildren) "/" "%b/Plans"' % OTHERS.encode()
        self.assertIn(gone, self.told(bob))

    def test_an_administrator_who_gives_and_takes(self) -> None:
        self.start()
        store = self.server.store
        bob = self.bob('NOTIFY SET (subtree ("Other Users" Shared) (MailboxName))')
        others, public = OTHERS.encode(), b"Shared/ann@example.org"

        def give(rights: str) -> None:
            now(store.set_acl(USER, "Plans", BOB, parse_rights(rights), RightsOp.REPLACE))

        give("lr")
        made = b'* LIST (\\HasNoChildren) "/" "%b/Plans"'
        gone = b'* LIST (\\NonExistent \\HasNoChildren) "/" "%b/Plans"'
        self.assertIn(made % others, self.told(bob))
        now(store.set_public(account=USER, public=True))
        told = self.told(bob)
        self.assertIn(b'"%b/Plans"' % public, b" ".join(told))
        give("")
        self.assertIn(gone % public, self.told(bob))


class SQLiteNotifyTests(NotifyTests):
    sqlite = True

    def test_a_command_beside_the_server(self) -> None:
        """Another process changes the directory: the server looks each second."""
        self.start()
        core = self.server.store.core
        looking = Maintenance(core, core.writer)
        bob = self.bob('NOTIFY SET (subtree "Other Users" (MailboxName))')
        command = SQLiteDirectory(self.directory)
        self.addCleanup(command.close)
        made = b'* LIST (\\HasNoChildren) "/" "%b/Plans"' % OTHERS.encode()
        gone = made.replace(b"(", b"(\\NonExistent ")

        def look() -> list[bytes]:
            looking.look_at_directory()
            core.reactor.run_until(lambda: True)
            return self.told(bob)

        now(command.set_acl(USER, "Plans", BOB, parse_rights("lr"), RightsOp.REPLACE))
        self.assertEqual(self.told(bob), [])
        self.assertIn(made, look())
        self.assertEqual(look(), [])
        now(command.remove_account(name=USER))
        self.assertIn(gone, look())
