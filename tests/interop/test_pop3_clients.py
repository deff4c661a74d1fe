"""The POP3 server with other people's clients, over loopback: poplib, curl, fetchmail, mpop, getmail."""

from __future__ import annotations

import os
import poplib
import shutil
from collections.abc import Callable
from typing import Any

import pytest

from mailkit.auth.portal import make_portal
from mailkit.model import AppendMessage
from mailkit.pop3.protocol import POP3Factory
from mailkit.spool import Spool
from tests.interop.support import ClientCase

USER, PASSWORD = "ann@example.org", "correct horse"

PLAIN = b"Subject: one\r\nFrom: a@example.org\r\n\r\nHello\r\n.\r\n..two dots\r\nend\r\n"
EIGHT_BIT = "Subject: zwei\r\nMIME-Version: 1.0\r\n\r\nGr\u00fc\u00dfe\r\n".encode()
LARGE = b"Subject: large\r\n\r\n" + b".line that begins with a dot\r\n" * 20_000
MESSAGES = (PLAIN, EIGHT_BIT, LARGE)


class POP3Case(ClientCase):
    """A server with three messages for one user, plain with STLS and under TLS from the start."""

    user = USER

    async def setUp(self) -> None:
        await super().setUp()
        await self.add_account(USER, PASSWORD)
        await self.deliver(*MESSAGES)
        factory = POP3Factory(make_portal(self.store), tls_context=self.tls_context)
        self.port, self.tls_port = self.listen(factory), self.listen(factory, tls=True)

    async def remaining(self) -> int:
        return len(await self.contents())


class PoplibTests(POP3Case):
    def plain(self) -> poplib.POP3:
        return poplib.POP3("127.0.0.1", self.port, timeout=60)

    def with_stls(self) -> poplib.POP3:
        client = self.plain()
        client.stls(self.client_tls())
        return client

    def under_tls(self) -> poplib.POP3:
        return poplib.POP3_SSL("127.0.0.1", self.tls_port, timeout=60, context=self.client_tls())

    def read_all(self, client: poplib.POP3) -> list[bytes]:
        client.user(USER)
        client.pass_(PASSWORD)
        count, octets = client.stat()
        self.assertEqual((count, octets), (len(MESSAGES), sum(map(len, MESSAGES))))
        self.assertEqual(len(set(client.uidl()[1])), count)
        sizes = [int(line.split()[1]) for line in client.list()[1]]
        self.assertEqual(sizes, [len(message) for message in MESSAGES])
        return [b"".join(o + b"\r\n" for o in client.retr(n)[1]) for n in range(1, count + 1)]

    async def check_keep(self, connect: Callable[[], poplib.POP3]) -> None:
        def keep() -> list[bytes]:
            client = connect()
            messages = self.read_all(client)
            client.quit()
            return messages

        self.assertEqual(await self.in_thread(keep), list(MESSAGES))
        self.assertEqual(await self.remaining(), len(MESSAGES))

    async def check_delete(self, connect: Callable[[], poplib.POP3]) -> None:
        def delete() -> int:
            client = connect()
            for number in range(1, len(self.read_all(client)) + 1):
                client.dele(number)
            left = client.stat()[0]
            client.quit()
            return left

        self.assertEqual(await self.in_thread(delete), 0)
        self.assertEqual(await self.remaining(), 0)

    async def test_plain_read_and_keep(self) -> None:
        await self.check_keep(self.plain)

    async def test_plain_read_and_delete(self) -> None:
        await self.check_delete(self.plain)

    async def test_stls_read_and_keep(self) -> None:
        await self.check_keep(self.with_stls)

    async def test_stls_read_and_delete(self) -> None:
        await self.check_delete(self.with_stls)

    async def test_tls_read_and_keep(self) -> None:
        await self.check_keep(self.under_tls)

    async def test_tls_read_and_delete(self) -> None:
        await self.check_delete(self.under_tls)

    async def test_capabilities_before_and_after_stls(self) -> None:
        def capabilities() -> list[dict[str, list[str]]]:
            client = self.plain()
            before = client.capa()
            client.stls(self.client_tls())
            after = client.capa()
            client.quit()
            return [before, after]

        before, after = await self.in_thread(capabilities)
        self.assertEqual(before.pop("STLS"), [])
        self.assertEqual(before, after)
        self.assertEqual(after["SASL"], ["PLAIN", "LOGIN"])

    async def test_top(self) -> None:
        def top() -> list[bytes]:
            client = self.plain()
            client.user(USER)
            client.pass_(PASSWORD)
            lines = client.top(1, 2)[1]
            client.quit()
            return lines

        self.assertEqual(await self.in_thread(top), PLAIN.splitlines()[:5])

    async def test_second_session_over_the_other_listener(self) -> None:
        def twice() -> str:
            first, second = self.plain(), self.under_tls()
            first.user(USER)
            first.pass_(PASSWORD)
            second.user(USER)
            try:
                second.pass_(PASSWORD)
            except poplib.error_proto as error:
                first.quit()
                second.user(USER)
                second.pass_(PASSWORD)
                second.quit()
                return str(error)
            raise AssertionError("two sessions of one maildrop")

        self.assertIn("[IN-USE]", await self.in_thread(twice))

    async def test_sizes_are_those_of_what_comes(self) -> None:
        contents = (b"Subject: x\r\n\r\nno end", b"a\r\n.\r\n.", b"lone\r", b"feed\n", b"\r\n")
        inbox = await self.mailbox()
        await inbox.append(messages=[AppendMessage(Spool.from_bytes(c)) for c in contents])

        def sizes() -> tuple[int, list[int], list[int]]:
            client = self.plain()
            client.user(USER)
            client.pass_(PASSWORD)
            total = client.stat()[1]
            listed = [int(line.split()[1]) for line in client.list()[1]]
            received = [client.retr(number)[2] for number in range(1, len(listed) + 1)]
            client.quit()
            return total, listed, received

        total, listed, received = await self.in_thread(sizes)
        self.assertEqual(listed, received)
        self.assertEqual(total, sum(received))
        self.assertEqual(listed[3:], [len(c) + 2 for c in contents[:4]] + [2])

    async def test_leaving_without_quit_removes_nothing(self) -> None:
        def leave() -> None:
            client = self.plain()
            client.user(USER)
            client.pass_(PASSWORD)
            client.dele(1)
            client.close()
            again = self.plain()
            again.user(USER)
            for _ in range(100):
                try:
                    again.pass_(PASSWORD)
                    break
                except poplib.error_proto:
                    # The first connection's end is not there yet.
                    again.user(USER)
            again.quit()

        await self.in_thread(leave)
        self.assertEqual(await self.remaining(), len(MESSAGES))

    async def test_wrong_password(self) -> None:
        def wrong() -> str:
            client = self.plain()
            client.user(USER)
            try:
                client.pass_("wrong")
            except poplib.error_proto as error:
                client.quit()
                return str(error)
            raise AssertionError("let in with a wrong password")

        self.assertIn("[AUTH]", await self.in_thread(wrong))


@pytest.mark.interop
class CurlTests(POP3Case):
    if shutil.which("curl") is None:
        skip = "curl is not installed"

    async def curl(self, path: str, *arguments: str, tls: bool = False) -> bytes:
        scheme, port = ("pop3s", self.tls_port) if tls else ("pop3", self.port)
        done = await self.run_program(
            "curl",
            "--silent",
            "--show-error",
            "--cacert",
            self.certificate,
            "--user",
            f"{USER}:{PASSWORD}",
            *arguments,
            f"{scheme}://127.0.0.1:{port}/{path}",
        )
        return done.stdout

    async def test_list_and_read(self) -> None:
        sizes = b"".join(b"%d %d\r\n" % (n, len(m)) for n, m in enumerate(MESSAGES, 1))
        self.assertEqual(await self.curl(""), sizes)
        for number, message in enumerate(MESSAGES, 1):
            self.assertEqual(await self.curl(str(number)), message)

    async def test_under_tls(self) -> None:
        for number, message in enumerate(MESSAGES, 1):
            self.assertEqual(await self.curl(str(number), "--ssl-reqd"), message)
            self.assertEqual(await self.curl(str(number), tls=True), message)

    async def test_login_options(self) -> None:
        for mechanism in ("PLAIN", "LOGIN"):
            options = ("--login-options", f"AUTH={mechanism}")
            self.assertEqual(await self.curl("1", *options), PLAIN)
            self.assertEqual(await self.curl("1", "--sasl-ir", *options), PLAIN)

    async def test_top_and_uidl(self) -> None:
        validity = (await (await self.mailbox()).get_info()).uid_validity
        lines = b"".join(b"%d %d.%d\r\n" % (n, validity, n) for n in range(1, 4))
        self.assertEqual(await self.curl("", "--request", "UIDL"), lines)
        top = await self.curl("", "--request", "TOP 2 0")
        self.assertEqual(top, EIGHT_BIT.split(b"\r\n\r\n")[0] + b"\r\n\r\n")

    async def test_delete(self) -> None:
        await self.curl("1", "--head", "--request", "DELE")
        self.assertEqual(await self.remaining(), len(MESSAGES) - 1)


@pytest.mark.interop
class FetchmailTests(POP3Case):
    if shutil.which("fetchmail") is None:
        skip = "fetchmail is not installed"

    async def fetch(self, *options: str, port: int, lines: str) -> list[bytes]:
        path = os.path.join(self.directory, "fetchmailrc")
        folder = os.path.join(self.directory, "mail")
        os.makedirs(folder, exist_ok=True)
        with open(path, "w", encoding="ascii") as file:
            file.write(
                f"poll 127.0.0.1 protocol POP3 service {port} uidl\n"
                f'user "{USER}" password "{PASSWORD}" {lines} no rewrite\n'
                f"mda \"cat > '{folder}'/$$\"\n"
            )
        os.chmod(path, 0o600)
        await self.run_program(
            "fetchmail",
            "--nosyslog",
            "--invisible",
            *options,
            "--fetchmailrc",
            path,
            FETCHMAILHOME=self.directory,
        )
        bodies = []
        for name in sorted(os.listdir(folder), key=int):
            with open(os.path.join(folder, name), "rb") as mail:
                bodies.append(mail.read())
            os.unlink(os.path.join(folder, name))
        return bodies

    def assert_all(self, fetched: list[bytes]) -> None:
        # fetchmail takes the CR away, and adds fields of its own before the message's.
        wanted = sorted(message.split(b"\r\n\r\n")[1].replace(b"\r", b"") for message in MESSAGES)
        self.assertEqual(sorted(mail.partition(b"\n\n")[2] for mail in fetched), wanted)

    async def test_read_and_delete(self) -> None:
        self.assert_all(await self.fetch(port=self.port, lines="sslproto ''"))
        self.assertEqual(await self.remaining(), 0)

    async def test_read_and_keep(self) -> None:
        self.assert_all(await self.fetch("--keep", port=self.port, lines="sslproto ''"))
        self.assertEqual(await self.remaining(), len(MESSAGES))
        # Exit status 1: there is nothing that it has not seen, by UIDL.
        with self.assertRaises(self.failureException):
            await self.fetch("--keep", port=self.port, lines="sslproto ''")

    async def test_stls(self) -> None:
        # fetchmail knows no addresses in certificates.
        trust = f"sslproto TLS1.2+ sslcertck sslcommonname localhost sslcertfile {self.certificate}"
        self.assert_all(await self.fetch(port=self.port, lines=trust))

    async def test_implicit_tls(self) -> None:
        trust = f"ssl sslcertck sslcommonname localhost sslcertfile {self.certificate}"
        self.assert_all(await self.fetch(port=self.tls_port, lines=trust))


class MaildirCase(POP3Case):
    """For programs that put what they fetch into a maildir, with LF for CRLF."""

    async def setUp(self) -> None:
        await super().setUp()
        self.maildir = os.path.join(self.directory, "maildir")
        for name in ("new", "cur", "tmp"):
            os.makedirs(os.path.join(self.maildir, name))

    def configure(self, text: str) -> str:
        path = os.path.join(self.directory, "settings")
        with open(path, "w", encoding="ascii") as file:
            file.write(text)
        os.chmod(path, 0o600)
        return path

    def take(self) -> list[bytes]:
        """Bodies of what has been fetched, sorted."""
        folder = os.path.join(self.maildir, "new")
        bodies = []
        for name in os.listdir(folder):
            with open(os.path.join(folder, name), "rb") as mail:
                bodies.append(mail.read().partition(b"\n\n")[2])
            os.unlink(os.path.join(folder, name))
        return sorted(bodies)

    async def check(self, keep: Callable[[], Any], delete: Callable[[], Any]) -> None:
        """Fetch and keep; nothing is new then; fetch what has come, and delete all."""
        bodies = [message.split(b"\r\n\r\n")[1].replace(b"\r", b"") for message in MESSAGES]
        await keep()
        self.assertEqual(self.take(), sorted(bodies))
        await keep()
        self.assertEqual(self.take(), [])
        await self.deliver(PLAIN)
        await delete()
        self.assertEqual(self.take(), bodies[:1])
        self.assertEqual(await self.remaining(), 0)


@pytest.mark.interop
class MpopTests(MaildirCase):
    if shutil.which("mpop") is None:
        skip = "mpop is not installed"

    async def fetch(self, keep: str, security: str, port: int) -> None:
        path = self.configure(
            f"account default\nhost 127.0.0.1\nport {port}\nuser {USER}\npassword {PASSWORD}\n"
            f"keep {keep}\npipelining on\nreceived_header off\n{security}\n"
            f"uidls_file {self.directory}/uidls\ndelivery maildir {self.maildir}\n"
        )
        await self.run_program("mpop", "--quiet", f"--file={path}")

    async def check_over(self, security: str, port: int) -> None:
        await self.check(
            lambda: self.fetch("on", security, port), lambda: self.fetch("off", security, port)
        )

    async def test_plain(self) -> None:
        await self.check_over("auth user\ntls off", self.port)

    async def test_stls(self) -> None:
        trust = f"tls on\ntls_starttls on\ntls_trust_file {self.certificate}"
        await self.check_over(trust, self.port)

    async def test_implicit_tls(self) -> None:
        trust = f"tls on\ntls_starttls off\ntls_trust_file {self.certificate}"
        await self.check_over(trust, self.tls_port)


@pytest.mark.interop
class GetmailTests(MaildirCase):
    if shutil.which("getmail") is None:
        skip = "getmail is not installed"

    async def fetch(self, delete: bool, retriever: str, port: int, trust: str = "") -> None:
        path = self.configure(
            f"[retriever]\ntype = {retriever}\nserver = localhost\nport = {port}\n"
            f"username = {USER}\npassword = {PASSWORD}\n{trust}"
            # Into a maildir it delivers nothing as root.
            "[destination]\ntype = MDA_external\npath = /bin/sh\nallow_root_commands = true\n"
            f"arguments = ('-c', 'cat > \"{self.maildir}/new/$$\"')\n"
            f"[options]\ndelete = {str(delete).lower()}\nread_all = false\nreceived = false\n"
            "delivered_to = false\nverbose = 0\n"
        )
        await self.run_program(
            "getmail", f"--getmaildir={self.directory}", f"--rcfile={path}", HOME=self.directory
        )

    async def test_plain(self) -> None:
        await self.check(
            lambda: self.fetch(False, "SimplePOP3Retriever", self.port),
            lambda: self.fetch(True, "SimplePOP3Retriever", self.port),
        )

    async def test_implicit_tls(self) -> None:
        trust = f"ca_certs = {self.certificate}\n"
        await self.check(
            lambda: self.fetch(False, "SimplePOP3SSLRetriever", self.tls_port, trust),
            lambda: self.fetch(True, "SimplePOP3SSLRetriever", self.tls_port, trust),
        )
