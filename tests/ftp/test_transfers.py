"""Transfers over loopback: large, slow, broken off, aborted; by threads and through the reactor."""

from __future__ import annotations

import errno
import ftplib
import io
import os
import select
import socket
import struct
import time
from typing import Any, ClassVar, cast
from unittest import mock

from twisted.internet import reactor
from twisted.internet.error import CannotListenError
from twisted.internet.threads import blockingCallFromThread
from twisted.logger import LogLevel, formatEvent, globalLogPublisher
from twisted.trial.unittest import SkipTest

from mailkit.ftp import direct
from mailkit.ftp.data import SMALL
from tests.ftp.loopback import LARGE, FTPCase
from tests.support import PATIENCE, free_ports

#: More than the system keeps for a connection.
HUGE = LARGE * 8


def replies(client: ftplib.FTP, count: int) -> list[str]:
    return [client.getmultiline()[:3] for _ in range(count)]


def receive_all(connection: socket.socket) -> bytes:
    return b"".join(iter(lambda: connection.recv(1 << 20), b""))


def open_descriptors() -> int:
    """Sockets and files of this process; pipes are the reactor's."""
    found = 0
    for name in os.listdir("/proc/self/fd"):
        try:
            found += not os.readlink(f"/proc/self/fd/{name}").startswith(("pipe:", "/proc"))
        except FileNotFoundError:
            # That of the listing.
            continue
    return found


def break_off(connection: socket.socket) -> None:
    """Close, so that the other end gets a reset."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


class TransferCase(FTPCase):
    """A file that no buffer holds, and a look at what is left open."""

    async def setUp(self) -> None:
        await super().setUp()
        (self.home / "huge").write_bytes(HUGE)
        self.open_before = open_descriptors()

    def client(self) -> ftplib.FTP:
        client = self.plain()
        client.voidcmd("TYPE I")
        self.addCleanup(client.close)
        return client

    def check_alive(self, client: ftplib.FTP) -> None:
        """The session goes on, and no descriptor is left."""
        self.assertEqual(client.size("huge"), len(HUGE))
        received = io.BytesIO()
        client.retrbinary("RETR huge", received.write, rest=len(HUGE) - 5)
        self.assertEqual(received.getvalue(), HUGE[-5:])
        client.quit()
        give_up = time.monotonic() + PATIENCE
        while open_descriptors() > self.open_before and time.monotonic() < give_up:
            time.sleep(0.01)
        self.assertLessEqual(open_descriptors(), self.open_before)


class ManyTests(FTPCase):
    """What clients do that move one file after the other."""

    async def test_the_log_says_nothing_of_each_data_connection(self) -> None:
        def work() -> None:
            client = self.plain()
            for passive in (True, False):
                client.set_pasv(passive)
                client.storbinary("STOR new", io.BytesIO(b"new"))
                client.retrbinary("RETR new", received.append)
            client.quit()

        received: list[bytes] = []
        texts: list[str] = []

        def observe(event: Any) -> None:
            texts.append(formatEvent(event))

        globalLogPublisher.addObserver(observe)
        self.addCleanup(globalLogPublisher.removeObserver, observe)
        await self.in_thread(work)
        self.assertEqual(received, [b"new", b"new"])
        ports = {str(port) for port in self.factory.passive_ports}
        told = [text for text in texts if ports.intersection(text.replace(")", " ").split())]
        self.assertEqual(told, [])

    async def test_the_log_says_nothing_of_a_long_transfer(self) -> None:
        """A command that takes as long is told, but a data connection has a time of its own."""
        told: list[Any] = []

        def observe(event: Any) -> None:
            if event.get("log_level") is LogLevel.warn:
                told.append(event["log_format"])

        def still_at_work() -> int:
            for connection in self.factory.connections:
                connection.command_is_slow(300.0)
            return len(told)

        def work() -> None:
            client = self.plain()
            with client.transfercmd("STOR new"):
                self.assertEqual(blockingCallFromThread(cast(Any, reactor), still_at_work), 0)
            client.voidresp()
            self.assertEqual(blockingCallFromThread(cast(Any, reactor), still_at_work), 1)
            client.quit()

        globalLogPublisher.addObserver(observe)
        self.addCleanup(globalLogPublisher.removeObserver, observe)
        await self.in_thread(work)

    async def test_sizes_around_the_smallest_that_threads_move(self) -> None:
        def work() -> None:
            client = self.plain()
            for size in (0, 1, SMALL - 1, SMALL, SMALL + 1, 2 * SMALL, 5 * SMALL + 1):
                content = LARGE[:size]
                client.storbinary("STOR new", io.BytesIO(content))
                self.assertTrue((self.home / "new").read_bytes() == content, size)
                for rest in {0, min(size, 10), size}:
                    received = io.BytesIO()
                    client.retrbinary("RETR new", received.write, rest=rest)
                    self.assertTrue(received.getvalue() == content[rest:], (size, rest))
                client.storbinary("APPE new", io.BytesIO(b"more"))
                self.assertTrue((self.home / "new").read_bytes() == content + b"more", size)
            client.quit()

        await self.in_thread(work)


class StalledTests(TransferCase):
    def hurry(self) -> None:
        """Let the transfer wait no longer than a moment, now that both ends are there."""
        (connection,) = self.factory.connections
        channel: Any = connection.channel
        channel._timeout = 0.1
        channel._timer.reset(0.1)

    async def test_no_progress(self) -> None:
        def work() -> None:
            client = self.client()
            for command in ("RETR huge", "STOR new"):
                with client.transfercmd(command):
                    blockingCallFromThread(cast(Any, reactor), self.hurry)
                    self.assertEqual(replies(client, 1), ["426"])
            client.quit()

        await self.in_thread(work)


class DirectTests(TransferCase):
    """What threads move between socket and file."""

    settings: ClassVar[dict[str, Any]] = {"data_timeout": 3 * PATIENCE}

    async def test_a_client_that_reads_now_and_then(self) -> None:
        def work() -> None:
            client = self.client()
            with client.transfercmd("RETR huge") as data:
                data.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
                received = b""
                for _ in range(5):
                    time.sleep(0.05)
                    received += data.recv(1 << 18)
                received += receive_all(data)
            client.voidresp()
            self.assertEqual(received, HUGE)
            self.check_alive(client)

        await self.in_thread(work)

    async def test_a_client_that_sends_now_and_then(self) -> None:
        def work() -> None:
            client = self.client()
            with client.transfercmd("STOR new") as data:
                for start in range(0, len(LARGE), len(LARGE) // 5):
                    data.sendall(LARGE[start : start + len(LARGE) // 5])
                    time.sleep(0.05)
            client.voidresp()
            self.assertEqual((self.home / "new").read_bytes(), LARGE)
            self.check_alive(client)

        await self.in_thread(work)

    async def test_a_client_that_goes_while_it_receives(self) -> None:
        def work() -> None:
            client = self.client()
            break_off(client.transfercmd("RETR huge"))
            self.assertEqual(replies(client, 1), ["426"])
            client.transfercmd("RETR huge").close()
            self.assertEqual(replies(client, 1), ["426"])
            self.check_alive(client)

        await self.in_thread(work)

    async def test_a_client_that_goes_while_it_sends(self) -> None:
        def work() -> None:
            client = self.client()
            data = client.transfercmd("STOR new")
            data.sendall(b"begin")
            give_up = time.monotonic() + PATIENCE
            status = ""
            while " 5 octets" not in status:
                self.assertLess(time.monotonic(), give_up, status)
                status = client.sendcmd("STAT")
            break_off(data)
            self.assertEqual(replies(client, 1), ["426"])
            self.assertEqual((self.home / "new").read_bytes(), b"begin")
            self.check_alive(client)

        await self.in_thread(work)

    async def test_abort_and_status_in_the_middle(self) -> None:
        def work() -> None:
            client = self.client()
            for command in ("RETR huge", "STOR new"):
                with client.transfercmd(command) as data:
                    if command[0] == "S":
                        data.sendall(b"begin")
                    time.sleep(0.05)
                    client.sock.sendall(b"\xff\xf4\xff\xf2ABOR\r\nNOOP\r\n")
                    self.assertEqual(replies(client, 3), ["426", "226", "200"])
            with client.transfercmd("RETR huge") as data:
                client.sock.sendall(b"STAT\r\nNOOP\r\n")
                self.assertIn("A transfer is at work: ", client.getmultiline())
                self.assertEqual(receive_all(data), HUGE)
            self.assertEqual(replies(client, 2), ["226", "200"])
            self.check_alive(client)

        await self.in_thread(work)

    async def test_abort_with_its_end_as_urgent_data(self) -> None:
        def work() -> None:
            client = self.client()
            with client.transfercmd("RETR huge"):
                self.assertEqual(client.abort()[:3], "426")
            self.assertEqual(replies(client, 1), ["226"])
            self.check_alive(client)

        await self.in_thread(work)

    async def test_a_lost_control_connection_ends_the_transfer(self) -> None:
        def work() -> None:
            client = self.client()
            data = client.transfercmd("RETR huge")
            client.file.close()
            break_off(client.sock)
            give_up = time.monotonic() + PATIENCE
            while self.factory.connections and time.monotonic() < give_up:
                time.sleep(0.01)
            with data:
                try:
                    self.assertLess(len(receive_all(data)), len(HUGE))
                except ConnectionResetError:
                    pass
            self.check_alive(self.client())

        await self.in_thread(work)

    async def test_slow_clients_keep_nobody_waiting(self) -> None:
        def work() -> None:
            slow = [self.client() for _ in range(15)]
            connections = [each.transfercmd("RETR huge") for each in slow]
            client = self.client()
            received = io.BytesIO()
            client.retrbinary("RETR huge", received.write)
            self.assertEqual(received.getvalue(), HUGE)
            # Nobody has waited until they were given up: they have been told nothing yet.
            self.assertEqual(select.select([each.sock for each in slow], [], [], 0)[0], [])
            for each, connection in zip(slow, connections, strict=True):
                connection.close()
                self.assertEqual(replies(each, 1), ["426"])
                each.close()
            self.check_alive(client)

        await self.in_thread(work)

    async def test_a_file_system_without_sendfile(self) -> None:
        def work() -> None:
            client = self.client()
            received = io.BytesIO()
            client.retrbinary("RETR huge", received.write, rest=7)
            self.assertEqual(received.getvalue(), HUGE[7:])

        refused = OSError(errno.EINVAL, "not here")
        with mock.patch.object(direct.os, "sendfile", side_effect=refused):
            await self.in_thread(work)

    async def test_a_reactor_that_watches_no_descriptors(self) -> None:
        def work() -> None:
            client = self.client()
            received = io.BytesIO()
            client.retrbinary("RETR huge", received.write)
            self.assertEqual(received.getvalue(), HUGE)
            client.storbinary("STOR new", io.BytesIO(LARGE))
            self.assertEqual((self.home / "new").read_bytes(), LARGE)
            client.quit()

        with mock.patch.object(direct.DirectSocket, "is_possible", return_value=False):
            await self.in_thread(work)


class PortTests(FTPCase):
    """Ports and addresses of data connections."""

    async def test_a_passive_range_that_is_exhausted(self) -> None:
        def work() -> None:
            with socket.socket() as other:
                other.bind(("127.0.0.1", 0))
                other.listen()
                taken = other.getsockname()[1]
                self.factory.passive_ports = range(taken, taken + 1)
                client = self.plain()
                for command in ("PASV", "EPSV"):
                    with self.assertRaises(ftplib.error_temp) as refused:
                        client.sendcmd(command)
                    self.assertEqual(str(refused.exception)[:3], "425")
            # Free again.
            self.assertEqual(sorted(client.nlst()), ["large", "sub dir"])
            client.quit()

        await self.in_thread(work)

    async def test_a_port_is_free_again_when_nobody_comes(self) -> None:
        def work() -> None:
            first = self.plain()
            for _ in range(3):
                first.sendcmd("PASV")
            first.quit()
            second = self.plain()
            self.assertEqual(sorted(second.nlst()), ["large", "sub dir"])
            second.quit()

        [port] = free_ports(1)
        self.factory.passive_ports = range(port, port + 1)
        await self.in_thread(work)

    async def test_ipv6(self) -> None:
        def work() -> None:
            client = self.plain("::1", port)
            for passive in (True, False):
                client.set_pasv(passive)
                received = io.BytesIO()
                client.retrbinary("RETR large", received.write)
                self.assertEqual(received.getvalue(), LARGE)
                client.storbinary("STOR new", io.BytesIO(LARGE))
                self.assertEqual((self.home / "new").read_bytes(), LARGE)
                self.assertEqual(sorted(client.nlst()), ["large", "new", "sub dir"])
            for command, code in (
                ("PASV", "425"),
                ("EPSV 1", "522"),
                ("EPRT |1|127.0.0.1|50000|", "504"),
                ("EPRT |2|::2|50000|", "504"),
            ):
                with self.assertRaises((ftplib.error_temp, ftplib.error_perm)) as refused:
                    client.sendcmd(command)
                self.assertEqual(str(refused.exception)[:3], code, command)
            client.sendcmd("EPSV 2")
            client.quit()

        try:
            listening = cast(Any, reactor).listenTCP(0, self.factory, interface="::1")
        except CannotListenError:
            raise SkipTest("there is no IPv6 here") from None
        self.addCleanup(listening.stopListening)
        port = listening.getHost().port
        await self.in_thread(work)
