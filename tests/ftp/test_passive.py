"""Passive data connections, over loopback: who may come, when they are taken, how they end."""

from __future__ import annotations

import errno
import ftplib
import io
import socket
from collections.abc import Coroutine
from typing import Any
from unittest import mock

from twisted.internet.defer import Deferred
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from mailkit.ftp import data
from mailkit.ftp.data import DataChannel, TransferFailed
from tests.ftp.loopback import LARGE, FTPCase
from tests.ftp.test_transfers import HUGE, break_off, receive_all
from tests.support import PATIENCE

ELSEWHERE = ("127.0.0.2", 0)


class ComingTests(FTPCase):
    """Who connects to the port."""

    def binary(self) -> ftplib.FTP:
        client = self.plain()
        client.voidcmd("TYPE I")
        return client

    async def test_a_stranger_who_comes_first(self) -> None:
        def work() -> None:
            with self.binary() as client:
                place = client.makepasv()
                with socket.create_connection(place, PATIENCE, ELSEWHERE) as stranger:
                    with socket.create_connection(place, PATIENCE) as connection:
                        self.assertEqual(client.sendcmd("RETR large")[:3], "150")
                        self.assertEqual(receive_all(connection), LARGE)
                    self.assertEqual(client.voidresp()[:3], "226")
                    self.assertEqual(stranger.recv(1), b"")

        await self.in_thread(work)

    async def test_a_stranger_alone_is_not_the_client(self) -> None:
        def work() -> None:
            with self.binary() as client:
                place = client.makepasv()
                with socket.create_connection(place, PATIENCE, ELSEWHERE) as stranger:
                    self.assertEqual(client.sendcmd("RETR large")[:3], "150")
                    self.assertEqual(stranger.recv(1), b"")
                with socket.create_connection(place, PATIENCE) as connection:
                    self.assertEqual(receive_all(connection), LARGE)
                self.assertEqual(client.voidresp()[:3], "226")

        await self.in_thread(work)

    async def test_strangers_do_not_stay_where_no_command_comes(self) -> None:
        def work() -> None:
            with self.binary() as client:
                place = client.makepasv()
                with socket.create_connection(place, PATIENCE, ELSEWHERE) as stranger:
                    self.assertEqual(stranger.recv(1), b"")
                with socket.create_connection(place, PATIENCE) as connection:
                    self.assertEqual(client.sendcmd("RETR large")[:3], "150")
                    self.assertEqual(receive_all(connection), LARGE)
                self.assertEqual(client.voidresp()[:3], "226")

        with mock.patch.object(data, "LOOK_AFTER", 0):
            await self.in_thread(work)

    async def test_nobody_else_can_come_after_the_client(self) -> None:
        def work() -> None:
            with self.binary() as client:
                place = client.makepasv()
                with socket.create_connection(place, PATIENCE):
                    self.assertEqual(client.sendcmd("STOR new")[:3], "150")
                    self.assertEqual(client.sendcmd("STAT")[:3], "211")
                    with self.assertRaises(ConnectionRefusedError):
                        socket.create_connection(place, PATIENCE)
                self.assertEqual(client.voidresp()[:3], "226")

        await self.in_thread(work)

    async def test_a_system_that_can_take_no_connection(self) -> None:
        def work() -> None:
            with self.binary() as client:
                with (
                    mock.patch.object(socket.socket, "accept", side_effect=failure),
                    socket.create_connection(client.makepasv(), PATIENCE),
                ):
                    client.putcmd("RETR large")
                    self.assertEqual(client.getresp()[:3], "150")
                    with self.assertRaises(ftplib.error_temp) as failed:
                        client.voidresp()
                self.assertEqual(str(failed.exception)[:3], "425")
                received = io.BytesIO()
                client.retrbinary("RETR large", received.write)
                self.assertEqual(received.getvalue(), LARGE)

        failure = OSError(errno.EMFILE, "no descriptor is left")
        await self.in_thread(work)

    async def test_more_text_than_the_system_takes_at_once(self) -> None:
        def work() -> None:
            with self.binary() as client:
                client.voidcmd("TYPE A")
                with client.transfercmd("RETR huge") as connection:
                    # STAT is answered while the transfer waits for us.
                    self.assertEqual(client.sendcmd("STAT")[:3], "211")
                    self.assertEqual(receive_all(connection), HUGE.replace(b"\n", b"\r\n"))
                self.assertEqual(client.voidresp()[:3], "226")

        (self.home / "huge").write_bytes(HUGE)
        await self.in_thread(work)


class StraightTests(SynchronousTestCase):
    """A channel whose connection has no transport yet."""

    def setUp(self) -> None:
        self.clock = MemoryReactorClock()
        self.channel = DataChannel(self.clock, "127.0.0.1", None, 60)
        self.channel.aim("127.0.0.1", 2000, "127.0.0.1")
        with socket.create_server(("127.0.0.1", 0)) as listening:
            self.peer = socket.create_connection(listening.getsockname(), PATIENCE)
            self.addCleanup(self.peer.close)
            self.channel.arrived(*listening.accept())
        self.addCleanup(self.channel.close)

    def run_now(self, work: Coroutine[Any, Any, object]) -> object:
        return self.successResultOf(Deferred.fromCoroutine(work))

    def fail_now(self, work: Coroutine[Any, Any, object]) -> int:
        """The code of its failure."""
        failure = self.failureResultOf(Deferred.fromCoroutine(work), TransferFailed)
        assert isinstance(failure.value, TransferFailed)
        return failure.value.code

    def test_all_is_sent_before_the_end(self) -> None:
        self.run_now(self.channel.write(b"one,"))
        self.run_now(self.channel.write(b"two"))
        self.assertEqual(self.channel.moved, 7)
        self.run_now(self.channel.finish())
        self.assertEqual(receive_all(self.peer), b"one,two")
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_octets_of_the_client_do_not_break_it_off(self) -> None:
        self.peer.sendall(b"hello")
        self.run_now(self.channel.write(b"whole"))
        self.run_now(self.channel.finish())
        self.assertEqual(receive_all(self.peer), b"whole")

    def test_what_the_system_does_not_take_at_once_follows(self) -> None:
        written = Deferred.fromCoroutine(self.channel.write(HUGE))
        self.assertNoResult(written)
        received = bytearray()
        while len(received) < len(HUGE):
            received += self.peer.recv(1 << 20)
            for writer in list(self.clock.getWriters()):
                self.assertIsNone(writer.doWrite())
        self.successResultOf(written)
        self.assertEqual(received, HUGE)
        self.channel.close()
        self.clock.advance(0)

    def test_an_abort_breaks_it_off(self) -> None:
        self.run_now(self.channel.write(b"half"))
        self.channel.abort("You have ended the transfer")
        self.assertEqual(self.fail_now(self.channel.write(b"rest")), 426)
        self.assertEqual(self.fail_now(self.channel.finish()), 426)
        with self.assertRaises(ConnectionResetError):
            receive_all(self.peer)

    def test_an_abort_where_the_system_does_not_break_it_off(self) -> None:
        sock = self.channel._socket
        assert sock is not None
        refusing = mock.Mock(wraps=sock)
        refusing.setsockopt.side_effect = OSError(errno.EINVAL, "gone")
        self.channel._socket = refusing
        self.channel.abort("You have ended the transfer")
        self.assertEqual(sock.fileno(), -1)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_no_progress_breaks_it_off(self) -> None:
        self.clock.advance(59)
        self.run_now(self.channel.write(b"half"))
        self.clock.advance(59)
        self.run_now(self.channel.write(b"rest"))
        self.clock.advance(60)
        self.assertEqual(self.fail_now(self.channel.write(b"late")), 426)

    def test_a_peer_that_is_gone(self) -> None:
        break_off(self.peer)
        self.assertEqual(self.fail_now(self.channel.write(b"lost")), 426)
        self.assertEqual(self.fail_now(self.channel.finish()), 426)
        self.assertEqual(self.clock.getDelayedCalls(), [])
