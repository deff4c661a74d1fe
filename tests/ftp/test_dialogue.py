"""The control connection: login, states, data connections, limits."""

from __future__ import annotations

import re

from twisted.internet.address import UNIXAddress
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.python.failure import Failure

from mailkit.files import FileQuota
from mailkit.ftp.handlers import VERBS
from mailkit.ftp.protocol import MAX_STATUSES
from mailkit.tap.tls import self_signed, server_context
from mailkit.wire.proxy import ToldClient
from tests.ftp.support import CLIENT, PASSWORD, SERVER, USER, Client, FTPCase


class LoginTests(FTPCase):
    def test_greeting_login_and_goodbye(self) -> None:
        client = self.connect()
        self.assertEqual(client.read(), b"220 FTP server ready\r\n")
        self.assertEqual(client.ask(b"USER " + USER), b"331 Now send PASS\r\n")
        self.assertEqual(client.ask(b"PASS " + PASSWORD), b"230 Logged in\r\n")
        self.assertEqual(client.code(b"QUIT"), 221)
        self.assertTrue(client.closed)

    def test_before_the_login_nothing_is_told_of_files(self) -> None:
        client = self.connect()
        for verb, entry in VERBS.items():
            if not entry.before_login:
                self.assertEqual(client.ask(verb.encode() + b" file")[:3], b"530", verb)
                client = self.connect()
        self.assertEqual(client.code(b"STAT /"), 530)
        self.assertEqual(client.code(b"PASS x"), 503)

    def test_the_answer_to_user_does_not_tell_who_exists(self) -> None:
        client = self.connect()
        for user in (b"anonymous", b"ftp", b"nobody@example.org"):
            self.assertEqual(client.ask(b"USER " + user), client.ask(b"USER " + USER))

    def test_a_wrong_password_is_answered_after_a_while(self) -> None:
        client = self.connect()
        client.ask(b"USER " + USER)
        self.assertEqual(client.ask(b"PASS wrong"), b"")
        self.reactor.advance(1)
        self.assertEqual(client.read(), b"530 User name or password is not right\r\n")

    def test_too_many_wrong_passwords(self) -> None:
        client = self.connect()
        for _ in range(5):
            client.ask(b"USER " + USER)
            client.ask(b"PASS wrong")
            self.reactor.advance(10)
        self.assertIn(b"421 ", client.read())
        self.assertTrue(client.closed)

    def test_no_password_in_the_clear_but_from_loopback(self) -> None:
        factory = self.serve(allow_plaintext_passwords=False)
        self.assertEqual(self.connect(factory).code(b"USER " + USER), 530)
        self.assertEqual(self.connect(factory, "127.0.0.1").code(b"USER " + USER), 331)

    def test_sessions_of_one_account(self) -> None:
        factory = self.serve(max_sessions_per_account=1)
        first = self.log_in(factory)
        second = self.connect(factory)
        second.ask(b"USER " + USER)
        self.assertEqual(second.code(b"PASS " + PASSWORD), 421)
        self.assertTrue(second.closed)
        first.lose()
        self.assertEqual(factory.accounts.counts, {})
        self.log_in(factory)


class TLSTests(FTPCase):
    def test_what_needs_tls(self) -> None:
        client = self.connect()
        self.assertEqual(client.code(b"AUTH TLS"), 431)
        self.assertEqual(client.code(b"AUTH KERBEROS_V4"), 504)
        self.assertEqual(client.code(b"PBSZ 0"), 503)
        self.assertEqual(client.code(b"PROT P"), 503)
        self.assertNotIn(b"AUTH TLS", client.ask(b"FEAT"))

    def test_it_is_announced_with_a_certificate(self) -> None:
        context = server_context(*self_signed(self.mktemp()))
        features = self.connect(self.serve(tls_context=context)).ask(b"FEAT")
        for name in (b"AUTH TLS", b"PBSZ", b"PROT", b"EPSV", b"MLST type*;", b"UTF8"):
            self.assertIn(b"\r\n " + name, features)

    def test_protected_data_alone(self) -> None:
        context = server_context(*self_signed(self.mktemp()))
        client = self.log_in(self.serve(tls_context=context, protect_data=True))
        client.ask(b"PASV")
        for line in (b"RETR file", b"STOR new", b"LIST", b"MLSD", b"NLST", b"APPE file"):
            self.assertEqual(client.code(line), 521, line)
        # As after AUTH.
        client.connection.session.buffer_size_set = True
        self.assertEqual(client.code(b"PROT C"), 534)
        self.assertEqual(client.code(b"PROT P"), 200)
        client.ask(b"PASV")
        self.assertEqual(client.code(b"LIST"), 150)


class LimitTests(FTPCase):
    def test_long_lines_and_errors(self) -> None:
        client = self.log_in(self.serve(max_errors=3))
        self.assertEqual(client.code(b"CWD " + b"a" * 5000), 500)
        self.assertEqual(client.code(b"__class__"), 500)
        self.assertEqual(client.code(b"NOOP"), 200)
        for _ in range(2):
            self.assertEqual(client.code(b"FROB"), 500)
        self.assertEqual(client.code(b"FROB"), 421)
        self.assertTrue(client.closed)

    def test_silence(self) -> None:
        client = self.log_in()
        client.read()
        self.reactor.pump([10] * 32)
        self.assertIn(b"421 You were silent too long", client.read())
        self.assertTrue(client.closed)

    def test_too_many_connections(self) -> None:
        factory = self.serve(max_connections_per_address=1)
        self.connect(factory)
        client = self.connect(factory)
        self.assertEqual(client.read()[:4], b"421 ")
        self.assertTrue(client.closed)


class FileTests(FTPCase):
    def test_directories(self) -> None:
        client = self.log_in()
        self.assertIn(b'"/" ', client.ask(b"PWD"))
        self.assertEqual(client.code(b"CWD dir"), 250)
        self.assertIn(b'"/dir" ', client.ask(b"PWD"))
        self.assertEqual(client.code(b"CWD inner"), 550)
        self.assertEqual(client.code(b"CDUP"), 250)
        self.assertEqual(client.code(b"CDUP"), 250)
        self.assertIn(b'"/" ', client.ask(b"PWD"))
        self.assertEqual(client.code(b"CWD ../../../" + bytes(self.root)), 550)
        self.assertEqual(client.code(b"MKD new"), 257)
        self.assertEqual(client.code(b"MKD new"), 550)
        self.assertEqual(client.code(b"RMD new"), 250)
        self.assertEqual(client.code(b"RMD dir"), 550)
        self.assertEqual(client.code(b"RMD /"), 550)

    def test_facts_of_a_file(self) -> None:
        client = self.log_in()
        self.assertEqual(client.code(b"SIZE file"), 550)
        client.ask(b"TYPE I")
        self.assertEqual(client.ask(b"SIZE file"), b"213 10\r\n")
        self.assertEqual(client.ask(b"MDTM file"), b"213 20010909014640\r\n")
        self.assertEqual(client.code(b"SIZE ../../secret"), 550)
        self.assertEqual(client.ask(b"OPTS MLST size;nonsense;"), b"200 MLST OPTS size;\r\n")
        self.assertEqual(client.ask(b"MLST file"), b"250-Facts:\r\n size=10; /file\r\n250 End\r\n")
        # RFC 3659 section 7.9.1: no space before no facts.
        self.assertEqual(client.ask(b"OPTS MLST"), b"200 MLST OPTS\r\n")
        self.assertEqual(client.ask(b"MLST file"), b"250-Facts:\r\n  /file\r\n250 End\r\n")
        self.assertIn(b" file\r\n213 End\r\n", client.ask(b"STAT file"))

    def test_times(self) -> None:
        client = self.log_in()
        reply = client.ask(b"MFMT 20090213233130.25 dir/../file")
        self.assertEqual(reply, b"213 Modify=20090213233130; /file\r\n")
        self.assertEqual(client.ask(b"MDTM file"), b"213 20090213233130\r\n")
        for argument in (b"", b"file", b"20091313233130 file", b"2009 file", b"20090213233130"):
            self.assertEqual(client.code(b"MFMT " + argument), 501, argument)
        self.assertEqual(client.code(b"MFMT 20090213233130 ../../secret"), 550)
        self.assertEqual(client.code(b"MFMT 99991231235960 file"), 213)

    def test_renaming_and_removing(self) -> None:
        client = self.log_in()
        self.assertEqual(client.code(b"RNTO x"), 503)
        self.assertEqual(client.code(b"RNFR none"), 550)
        self.assertEqual(client.code(b"RNFR file"), 350)
        self.assertEqual(client.code(b"NOOP"), 200)
        self.assertEqual(client.code(b"RNTO x"), 503)
        client.ask(b"RNFR file")
        self.assertEqual(client.code(b"RNTO dir/../../../x"), 250)
        self.assertEqual((self.home / "x").read_bytes(), b"0123456789")
        self.assertEqual(client.code(b"DELE x"), 250)
        self.assertEqual(client.code(b"DELE dir"), 550)
        self.assertEqual(client.code(b"DELE a\0b"), 501)


class DataTests(FTPCase):
    def test_no_port_of_others_nor_of_services(self) -> None:
        client = self.log_in()
        for line in (
            b"PORT 192,0,2,8,200,10",
            b"PORT 127,0,0,1,200,10",
            b"EPRT |1|192.0.2.8|51210|",
            b"EPRT |2|::1|51210|",
            b"PORT 192,0,2,7,0,25",
            b"EPRT |1|192.0.2.7|25|",
        ):
            self.assertEqual(client.code(line), 504, line)
        self.assertEqual(client.code(b"RETR file"), 425)
        self.assertEqual(client.code(b"PORT 192,0,2,7,200,10"), 200)
        self.assertEqual(self.reactor.tcpClients, [])
        client.ask(b"RETR file")
        self.assertEqual(self.reactor.tcpClients[0][:2], (CLIENT, 51210))

    def test_passive_ports_and_address(self) -> None:
        settings = {"passive_ports": range(50000, 50010), "passive_address": "198.51.100.5"}
        client = self.log_in(self.serve(**settings))
        self.assertIn(b"227 Entering Passive Mode (198,51,100,5,", client.ask(b"PASV"))
        self.assertIn(self.reactor.tcpServers[-1][0], range(50000, 50010))
        self.assertTrue(re.match(rb"229 .*\(\|\|\|\d+\|\)\r\n", client.ask(b"EPSV")))
        self.assertEqual(client.code(b"EPSV 2"), 522)
        self.assertEqual(client.code(b"EPSV ALL"), 200)
        self.assertEqual(client.code(b"PASV"), 503)
        self.assertEqual(client.code(b"PORT 192,0,2,7,200,10"), 503)

    def test_behind_a_proxy(self) -> None:
        """Clients are told where they have connected to; this machine listens where it is."""
        client = self.log_in()
        told = ToldClient("198.51.100.9", 50000, "198.51.100.1", 21)
        self.assertTrue(client.connection.speak_for(told))
        self.assertIn(b"(198,51,100,1,", client.ask(b"PASV"))
        self.assertEqual(self.reactor.tcpServers[-1][3], SERVER)
        self.assertIsNone(self.open_data(client, CLIENT)[0])
        self.assertIsNotNone(self.open_data(client, "198.51.100.9")[0])

    def test_without_tcp(self) -> None:
        client = self.log_in()
        client.transport.hostAddr = UNIXAddress("/run/ftp")
        for line in (b"PASV", b"EPSV", b"PORT 192,0,2,7,200,10"):
            self.assertEqual(client.code(line), 425, line)

    def test_nobody_else_may_connect(self) -> None:
        client = self.log_in()
        client.ask(b"PASV")
        self.assertIsNone(self.open_data(client, "192.0.2.66")[0])
        self.assertIsNotNone(self.open_data(client)[0])
        self.assertIsNone(self.open_data(client)[0])

    def test_octets_both_ways(self) -> None:
        client = self.log_in()
        client.ask(b"TYPE I")
        for lines, sent in (
            ([b"RETR file"], b"0123456789"),
            ([b"REST 7", b"RETR file"], b"789"),
            ([b"NLST"], b"dir\r\nfile\r\n"),
            ([b"LIST file"], None),
            ([b"NLST dir"], b"dir/inner\r\n"),
        ):
            client.ask(b"PASV")
            codes = [client.code(line) for line in lines]
            self.assertEqual(codes, [350] * (len(lines) - 1) + [150])
            data, transport = self.open_data(client)
            if sent is not None:
                self.assertEqual(transport.value(), sent)
            self.assertTrue(transport.disconnecting)
            data.connectionLost(Failure(ConnectionDone()))
            self.assertEqual(client.read(), b"226 Done\r\n")
        for line, whole in ((b"STOR file", b"new"), (b"APPE file", b"newnew")):
            client.ask(b"PASV")
            client.ask(line)
            data, _ = self.open_data(client)
            data.dataReceived(b"new")
            data.connectionLost(Failure(ConnectionDone()))
            self.assertEqual(client.read(), b"226 Done\r\n")
            self.assertEqual((self.home / "file").read_bytes(), whole)

    def test_a_name_of_its_own(self) -> None:
        client = self.log_in()
        names = set()
        for _ in range(3):
            client.ask(b"PASV")
            reply = client.ask(b"STOU").decode()
            self.assertEqual(reply[:10], "150 FILE: ")
            data, _ = self.open_data(client)
            data.dataReceived(b"octets")
            data.connectionLost(Failure(ConnectionDone()))
            self.assertEqual(client.read(), b"226 Done\r\n")
            names.add(reply[10:].strip())
        for name in names:
            self.assertEqual((self.home / name).read_bytes(), b"octets")
        self.assertEqual(len(names), 3)

    def test_a_restart_beyond_the_end(self) -> None:
        client = self.log_in()
        client.ask(b"TYPE I")
        for line in (b"RETR file", b"STOR file"):
            client.ask(b"PASV")
            client.ask(b"REST 11")
            self.assertEqual(client.code(line), 554)
        self.assertEqual((self.home / "file").read_bytes(), b"0123456789")

    def test_a_transfer_that_makes_no_progress_ends(self) -> None:
        client = self.log_in()
        client.ask(b"PASV")
        self.assertEqual(client.code(b"STOR new"), 150)
        self.open_data(client)
        self.reactor.advance(61)
        self.assertIn(b"426 The data connection made no progress", client.read())
        self.assertEqual(client.code(b"NOOP"), 200)

    def test_a_client_that_never_connects(self) -> None:
        client = self.log_in()
        client.ask(b"PASV")
        self.assertEqual(client.code(b"LIST"), 150)
        self.reactor.advance(61)
        self.assertEqual(client.read()[:4], b"425 ")

    def test_abort_ends_what_is_at_work(self) -> None:
        client = self.log_in()
        client.ask(b"PASV")
        client.ask(b"STOR new")
        self.open_data(client)
        replies = client.ask(b"\xff\xf4\xff\xf2ABOR").splitlines()
        self.assertEqual([line[:3] for line in replies], [b"426", b"226"])
        self.assertEqual(client.code(b"ABOR"), 226)

    def test_abort_behind_commands_that_keep_the_connection_alive(self) -> None:
        client = self.log_in()
        client.ask(b"PASV")
        client.ask(b"STOR new")
        self.open_data(client)
        # The status is told in its turn.
        self.assertEqual(client.ask(b"NOOP\r\nSTAT"), b"")
        client.lose()

        client = self.log_in()
        client.ask(b"PASV")
        client.ask(b"STOR new")
        self.open_data(client)
        self.assertEqual(client.ask(b"NOOP\r\nNOOP"), b"")
        replies = client.ask(b"ABOR").splitlines()
        self.assertEqual([line[:3] for line in replies], [b"426", b"200", b"200", b"226"])

    def test_what_comes_of_a_small_file(self) -> None:
        client = self.log_in()
        for reason, code in ((ConnectionDone(), b"226 "), (ConnectionLost(), b"426 ")):
            client.ask(b"PASV")
            client.ask(b"STOR new")
            data, _ = self.open_data(client)
            data.dataReceived(b"some ")
            data.dataReceived(b"octets")
            data.connectionLost(Failure(reason))
            self.assertEqual(client.read()[:4], code)
            # One can go on with it.
            self.assertEqual((self.home / "new").read_bytes(), b"some octets")
            (self.home / "new").unlink()

    def test_status_of_what_is_at_work(self) -> None:
        client = self.log_in()
        client.ask(b"PASV")
        client.ask(b"STOR new")
        data, _ = self.open_data(client)
        data.dataReceived(b"begin")
        self.assertIn(b" A transfer is at work: 5 octets until now\r\n211 End", client.ask(b"STAT"))
        # That of a file waits for its turn.
        self.assertEqual(client.ask(b"STAT file\r\nSTAT"), b"")
        data.connectionLost(Failure(ConnectionDone()))
        codes = [line[:4] for line in client.read().splitlines() if line[3:4] == b" "]
        self.assertEqual(codes, [b"226 ", b"213 ", b"211 "])

    def test_commands_in_pieces_are_no_commands_yet(self) -> None:
        client = self.log_in()
        client.ask(b"PASV")
        client.ask(b"STOR new")
        data, _ = self.open_data(client)
        data.dataReceived(b"begin")
        client.read()
        for octet in b"STAT file\r\nABOR":
            client.connection.dataReceived(bytes([octet]))
        self.assertEqual(client.read(), b"")
        data.connectionLost(Failure(ConnectionDone()))
        self.assertEqual(client.read()[:4], b"226 ")

    def test_the_status_tells_the_quota(self) -> None:
        client = self.log_in()
        self.assertIn(
            b" Octets of your files: 15 of no limit\r\n Files and directories: 3 of no limit\r\n",
            client.ask(b"STAT"),
        )
        self.homes.quota = FileQuota(5000, 100)
        self.assertIn(
            b" Octets of your files: 15 of 5000\r\n Files and directories: 3 of 100\r\n211 End",
            self.log_in().ask(b"STAT"),
        )
        self.assertNotIn(b"files", self.connect().ask(b"STAT"))

    def test_an_upload_beyond_the_quota(self) -> None:
        self.homes.quota = FileQuota(100)
        client = self.log_in()
        for command in (b"STOR new", b"APPE new", b"APPE file"):
            client.ask(b"PASV")
            self.assertEqual(client.code(command), 150)
            data, _ = self.open_data(client)
            data.dataReceived(b"x" * 50)
            self.assertEqual(client.read(), b"")
            data.dataReceived(b"x" * 50)
            self.assertEqual(client.read()[:4], b"552 ")
            self.assertIn(b" Octets of your files: 15 of 100\r\n", client.ask(b"STAT"))
            self.assertFalse((self.home / "new").exists())
            self.assertEqual((self.home / "file").read_bytes(), b"0123456789")

    def test_a_directory_beyond_the_quota(self) -> None:
        # RFC 959 section 5.4 has 552 for what stores files, and 550 for the others.
        self.homes.quota = FileQuota(files=3)
        client = self.log_in()
        self.assertEqual(client.code(b"MKD new"), 550)
        client.ask(b"PASV")
        self.assertEqual(client.code(b"STOR new"), 552)
        for verb, code in ((b"RETR", 550), (b"CWD", 550), (b"STOR", 553), (b"APPE", 553)):
            client.ask(b"PASV")
            self.assertEqual(client.code(verb + b" " + b"x" * 300), code, verb)

    def test_names_that_look_like_options_are_names_for_mlsd(self) -> None:
        for name in (b"-l", b" a", b"-a b"):
            client = self.log_in()
            (self.home / name.decode()).mkdir()
            (self.home / name.decode() / "within").touch()
            client.ask(b"PASV")
            self.assertEqual(client.code(b"MLSD " + name), 150)
            _, transport = self.open_data(client)
            self.assertIn(b"; within\r\n", transport.value())
            self.assertEqual(transport.value().count(b"\n"), 1)

    def names(self, client: Client, argument: bytes) -> list[str]:
        client.ask(b"PASV")
        self.assertEqual(client.code(b"NLST " + argument), 150, argument)
        data, transport = self.open_data(client)
        data.connectionLost(Failure(ConnectionDone()))
        self.assertEqual(client.read(), b"226 Done\r\n")
        return sorted(transport.value().decode().split("\r\n")[:-1])

    def test_names_can_be_used_as_they_stand(self) -> None:
        client = self.log_in()
        for argument, names in (
            *((b"", ["dir", "file"]), (b".", ["dir", "file"]), (b"/", ["/dir", "/file"])),
            *((b"file", ["file"]), (b"dir/", ["dir/inner"]), (b"-l ./dir", ["./dir/inner"])),
            *((b"dir/inner", ["dir/inner"]), (b"/dir/inner", ["/dir/inner"])),
        ):
            self.assertEqual(self.names(client, argument), names, argument)
            for name in names:
                self.assertEqual(client.code(b"MLST " + name.encode()), 250, name)

    def test_wildcards(self) -> None:
        for name in (".hidden", "a[1]", "a1", "b.txt"):
            (self.home / name).touch()
        client = self.log_in()
        for argument, names in (
            *((b"*", ["a1", "a[1]", "b.txt", "dir", "file"]), (b".*", [".hidden"])),
            *((b"?i*", ["dir", "file"]), (b"dir/*", ["dir/inner"]), (b"*.TXT", [])),
            # What is called so goes before what it would match.
            *((b"a[1]", ["a[1]"]), (b"a[0-9]", ["a1"]), (b"a[", []), (b"/[!a]*t", ["/b.txt"])),
        ):
            self.assertEqual(self.names(client, argument), names, argument)
        for line in (b"NLST none/*", b"NLST */inner", b"NLST file/*", b"NLST */", b"NLST ../x"):
            client.ask(b"PASV")
            self.assertEqual(client.code(line), 550, line)
        self.assertIn(b" b.txt\r\n", client.ask(b"STAT *.txt"))
        client.ask(b"PASV")
        client.ask(b"LIST *.txt")
        _, transport = self.open_data(client)
        self.assertEqual(transport.value().count(b"\n"), 1)

    def test_nobody_asks_for_the_status_for_ever(self) -> None:
        client = self.log_in()
        client.ask(b"PASV")
        client.ask(b"STOR new")
        answers = client.ask(b"\r\n".join([b"STAT"] * (MAX_STATUSES + 50)))
        self.assertEqual(answers.count(b"211 End"), MAX_STATUSES)

    def test_pipelined_commands_are_answered_in_order(self) -> None:
        client = self.log_in()
        lines = [
            b"TYPE I",
            b"SIZE file",
            b"CWD dir",
            b"SIZE file",
            b"PWD",
            b"FROB",
            b"EPSV",
            b"NOOP",
        ]
        replies = client.ask(b"\r\n".join(lines)).splitlines()
        codes = [int(line[:3]) for line in replies]
        self.assertEqual(codes, [200, 213, 250, 550, 257, 500, 229, 200])
        client.ask(b"RETR inner\r\nNOOP")
        data, _ = self.open_data(client)
        data.connectionLost(Failure(ConnectionDone()))
        self.assertEqual(client.read(), b"226 Done\r\n200 Still here\r\n")

    def test_a_lost_client_ends_its_transfer(self) -> None:
        client = self.log_in()
        client.ask(b"PASV")
        client.ask(b"STOR new")
        data, transport = self.open_data(client)
        data.dataReceived(b"begin")
        client.lose()
        self.assertTrue(transport.disconnecting)
        self.assertEqual((self.home / "new").read_bytes(), b"begin")


class SplitTests(FTPCase):
    def test_every_split_of_the_input_gives_the_same_dialogue(self) -> None:
        lines = (
            b"TYPE I",
            b"SIZE file",
            b"CWD dir",
            b"PWD",
            b"FROB x",
            b"CDUP",
            b"MLST file",
            b"QUIT",
        )
        data = b"\r\n".join(lines) + b"\r\n"
        factory = self.serve(max_sessions_per_account=1000)

        def run(pieces: list[bytes]) -> bytes:
            client = self.log_in(factory)
            client.read()
            for piece in pieces:
                client.connection.dataReceived(piece)
            client.lose()
            return client.read()

        pieces = [[data], [data[i : i + 1] for i in range(len(data))]]
        pieces += [[data[:i], data[i:]] for i in range(1, len(data))]
        [dialogue] = {run(each) for each in pieces}
        codes = [int(line[:3]) for line in dialogue.splitlines() if line[3:4] == b" "]
        self.assertEqual(codes, [200, 213, 250, 257, 500, 250, 250, 221])
