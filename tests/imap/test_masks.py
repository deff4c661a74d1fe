"""What is not offered: to nobody, to an account, or to a client of some name."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mailkit.imap.clients import ClientRule, find_rule
from mailkit.imap.protocol import IMAPFactory

from .support import USER, Client, Server, now


def offered(client: Client) -> set[bytes]:
    """The words of a CAPABILITY response."""
    return set(client.command("CAPABILITY")[0].split()[2:])


class AccountTests(SynchronousTestCase):
    def mask(self, server: Server, *names: str) -> None:
        now(server.store.set_imap_without(account=USER, names=names))

    def test_from_the_login_on(self) -> None:
        server = Server()
        self.mask(server, "MOVE", "ESEARCH", "IDLE")
        client = server.connect()
        self.assertIn(b"IDLE", offered(client))
        told = client.command(f"LOGIN {USER} secret")[-1]
        names = offered(client)
        self.assertEqual(set(told.partition(b"]")[0].split()[2:]), names)
        # With ESEARCH goes what needs it.
        self.assertEqual(names & {b"MOVE", b"ESEARCH", b"SEARCHRES", b"IDLE"}, set())
        self.assertIn(b"UIDPLUS", names)
        self.assertEqual(client.command("IDLE")[-1], b"BAD There is no such command")
        client.command("SELECT INBOX")
        self.assertTrue(client.command("MOVE 1 Trash")[-1].startswith(b"BAD There is no"))
        self.assertTrue(client.command("SEARCH RETURN (ALL) ALL")[-1].startswith(b"BAD"))

    def test_extension_of_arguments_alone(self) -> None:
        server = Server()
        self.mask(server, "CONDSTORE")
        server.add(b"a\r\n")
        client = server.login("SELECT INBOX")
        self.assertTrue(client.command("FETCH 1 MODSEQ")[-1].startswith(b"BAD"))
        self.assertTrue(client.command("STATUS INBOX (HIGHESTMODSEQ)")[-1].startswith(b"BAD"))
        self.assertEqual(client.command("ENABLE CONDSTORE QRESYNC")[0], b"* ENABLED")

    def test_what_is_off_is_not_there(self) -> None:
        server = Server()
        self.mask(server, "SEARCHRES", "UIDPLUS", "PARTIAL")
        server.add(b"a\r\n", b"b\r\n")
        client = server.login("SELECT INBOX")
        for command in (
            "FETCH $ UID", "SEARCH $", "UID COPY $ Trash", "STORE $ FLAGS (a)",
            "SEARCH RETURN (PARTIAL -1:-2) ALL", "SORT RETURN (PARTIAL -1:-2) (DATE) UTF-8 ALL",
        ):  # fmt: skip
            self.assertTrue(client.command(command)[-1].startswith(b"BAD "), command)
        # RFC 5267 has it too, but counts from the start alone.
        found = client.command("SEARCH RETURN (PARTIAL 1:2) ALL")
        self.assertIn(b"PARTIAL (1:2 1:2)", found[0])
        for command in (
            "APPEND INBOX {3+}\r\na\r\n", "COPY 1 Trash", "MOVE 1 Trash",
            "REPLACE 1 INBOX {3+}\r\na\r\n",
        ):  # fmt: skip
            lines = client.command(command)
            self.assertTrue(lines[-1].startswith(b"OK "), lines)
            self.assertNotRegex(b"".join(lines), b"APPENDUID|COPYUID", command)

    def test_what_cannot_be_left_out_stays(self) -> None:
        server = Server()
        self.mask(server, "IMAP4REV1", "NOBODY-KNOWS-IT")
        self.assertEqual(offered(server.login()), offered(Server().login()))

    def test_a_change_holds_for_the_next_login(self) -> None:
        server = Server()
        client = server.login()
        self.mask(server, "MOVE")
        self.assertIn(b"MOVE", offered(client))
        self.assertNotIn(b"MOVE", offered(server.login()))

    def test_preauth(self) -> None:
        server = Server()
        self.mask(server, "MOVE")
        factory = IMAPFactory(account=server.account, clock=server.clock)
        server.factory = factory
        client = server.connect()
        self.assertTrue(client.greeting.startswith(b"* PREAUTH"))
        self.assertNotIn(b" MOVE", client.greeting)


PHONE = ClientRule("phone", (("name", "Old*Phone"), ("version", "1.?")), frozenset(("move",)))


class ClientTests(SynchronousTestCase):
    def test_fields_must_match(self) -> None:
        rules = [ClientRule("all", (("name", "*fox*"),)), PHONE]
        for fields, name in (
            ({"name": "Old Smart Phone", "version": "1.5"}, "phone"),
            ({"NAME": "OLDPHONE", "Version": "1.x"}, "phone"),
            ({"name": "Old Phone", "version": "1.55"}, None),
            ({"name": "Old Phone"}, None),
            ({"name": "Firefox Phone"}, "all"),
            ({}, None),
        ):
            found = find_rule(rules, fields)
            self.assertEqual(found and found.name, name, fields)

    def test_rule_holds_before_and_after_login(self) -> None:
        server = Server(clients=[PHONE])
        for first, second in ((0, 1), (1, 0)):
            client = server.connect()
            commands = [
                'ID ("name" "old phone" "version" "1.0" "os" NIL)',
                f"LOGIN {USER} secret",
            ]
            client.command(commands[first])
            client.command(commands[second])
            self.assertNotIn(b"MOVE", offered(client))
            self.assertIn(b"IDLE", offered(client))

    def test_another_id_is_judged_anew(self) -> None:
        client = Server(clients=[PHONE]).login('ID ("name" "OldPhone" "version" "1.0")')
        self.assertNotIn(b"MOVE", offered(client))
        client.command("ID NIL")
        self.assertIn(b"MOVE", offered(client))

    def test_account_and_client_and_server_add_up(self) -> None:
        server = Server(clients=[PHONE], without=["UNSELECT"])
        now(server.store.set_imap_without(account=USER, names=["IDLE"]))
        client = server.login('ID ("name" "OldPhone" "version" "1.0")')
        self.assertEqual(offered(client) & {b"MOVE", b"UNSELECT", b"IDLE"}, set())

    def test_a_rule_must_name_what_there_is(self) -> None:
        rule = ClientRule("x", (("name", "x"),), frozenset(("NOTHING",)))
        error = self.assertRaises(ValueError, IMAPFactory, clients=[rule])
        self.assertIn("no capability NOTHING", str(error))
