"""The loop that all protocols share: order, limits, time, ends."""

from __future__ import annotations

from typing import Any

from twisted.internet.address import UNIXAddress
from twisted.internet.defer import Deferred
from twisted.logger import LogLevel, formatEvent, globalLogPublisher
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from mailkit.connection import CHUNK, COMMANDS_A_TURN, SECONDS_A_TURN, CommandConnection
from mailkit.ftp.protocol import FTPConnection
from mailkit.imap.connection import IMAPProtocol
from mailkit.pop3.protocol import POP3Connection
from mailkit.smtp.lmtp import LMTPProtocol
from mailkit.smtp.protocol import SMTPProtocol
from mailkit.smtp.submission import SubmissionProtocol
from tests.line_protocol import ConnectionTestCase, LineConnection, LineFactory, Transport


class OrderTests(ConnectionTestCase):
    def test_every_split_gives_the_same_dialogue(self) -> None:
        data = b"ECHO a\nREADY b\nBIG 0\nFAIL\nECHO c\r\nQUIT\nECHO never\n"
        expected = b"a\nb\ndone\nsorry\nc\nbye\n"
        for size in (1, 2, 3, 7, len(data)):
            connection, transport = self.talk()
            for start in range(0, len(data), size):
                connection.dataReceived(data[start : start + size])
            self.assertEqual(transport.read(), expected)
            self.assertTrue(transport.disconnecting)
            self.bugs(1)

    def test_replies_leave_in_order_though_a_command_is_slow(self) -> None:
        connection, transport = self.talk()
        connection.dataReceived(b"ECHO 1\nSLOW 2\nECHO 3\nSLOW 4\n")
        connection.dataReceived(b"ECHO 5\n")
        self.assertEqual(transport.read(), b"1\n")
        self.assertNotIn(b"4", self.factory.waiting)
        self.factory.waiting[b"2"].callback(b"!")
        self.assertEqual(transport.read(), b"2!\n3\n")
        self.factory.waiting[b"4"].callback(b"!")
        self.assertEqual(transport.read(), b"4!\n5\n")

    def test_replies_to_pipelined_commands_leave_in_one_write(self) -> None:
        connection, transport = self.talk()
        connection.dataReceived(b"ECHO 1\nREADY 2\nECHO 3\nREADY 4\n")
        self.assertEqual(transport.writes, [b"1\n2\n3\n4\n"])

    def test_reply_leaves_before_a_slow_command(self) -> None:
        connection, transport = self.talk()
        connection.dataReceived(b"ECHO 1\nSLOW 2\n")
        self.assertEqual(transport.writes, [b"1\n"])

    def test_thousands_of_pipelined_commands(self) -> None:
        for verb in (b"ECHO", b"READY", b"ASYNC"):
            connection, transport = self.talk()
            turns = 20
            count = turns * COMMANDS_A_TURN
            connection.dataReceived(b"%b x\n" % verb * count)
            self.clock.pump([0] * turns)
            self.assertEqual(transport.value(), b"x\n" * count)
            self.lose(connection)

    def test_others_get_their_turn(self) -> None:
        connection, transport = self.talk()
        connection.dataReceived(b"ECHO x\n" * (COMMANDS_A_TURN + 1))
        self.assertEqual(transport.value(), b"x\n" * COMMANDS_A_TURN)
        self.clock.advance(0)
        self.assertEqual(transport.value(), b"x\n" * (COMMANDS_A_TURN + 1))

    def test_no_command_after_close(self) -> None:
        connection, transport = self.talk()
        connection.dataReceived(b"QUIT\nECHO a\n")
        connection.dataReceived(b"ECHO b\n")
        self.assertEqual(transport.read(), b"bye\n")
        self.assertEqual(len(connection.buffer), 0)


class FailureTests(ConnectionTestCase):
    def test_a_handler_that_raises(self) -> None:
        connection, transport = self.talk()
        connection.dataReceived(b"FAIL\nFAILSLOW x\nECHO 1\n")
        self.factory.waiting[b"x"].callback(b"")
        self.assertEqual(transport.read(), b"sorry\nsorry\n1\n")
        self.bugs(2)

    def test_a_backend_that_fails(self) -> None:
        connection, transport = self.talk()
        connection.dataReceived(b"SLOW x\nECHO 1\n")
        self.factory.waiting[b"x"].errback(Failure(RuntimeError()))
        self.assertEqual(transport.read(), b"sorry\n1\n")
        self.bugs(1)

    def test_a_reader_that_raises_ends_the_connection(self) -> None:
        connection, transport = self.talk()
        connection.dataReceived(b"ECHO 1\nUNREADABLE\nECHO 2\n")
        self.assertEqual(transport.read(), b"1\nsorry\n")
        self.assertTrue(transport.disconnecting)
        self.bugs(1)

    def test_a_reader_that_raises_after_a_slow_command(self) -> None:
        connection, transport = self.talk()
        connection.dataReceived(b"SLOW x\nUNREADABLE\n")
        self.factory.waiting[b"x"].callback(b"!")
        self.assertEqual(transport.read(), b"x!\nsorry\n")
        self.assertTrue(transport.disconnecting)
        self.bugs(1)


class InputLimitTests(ConnectionTestCase):
    def test_input_waits_while_a_command_runs(self) -> None:
        self.factory.input_limit = 1000
        connection, transport = self.talk()
        connection.dataReceived(b"SLOW x\n")
        connection.dataReceived(b"ECHO 1\n" * 100)
        self.assertFalse(transport.paused)
        connection.dataReceived(b"ECHO 1\n" * 100)
        self.assertTrue(transport.paused)
        self.factory.waiting[b"x"].callback(b"!")
        self.assertFalse(transport.paused)
        self.assertEqual(transport.value(), b"x!\n" + b"1\n" * 200)

    def test_client_that_does_not_read_is_not_read(self) -> None:
        self.factory.input_limit = 1000
        transport = Transport()
        transport.limit = 500
        connection, _ = self.connect(transport)
        transport.read()
        sent = 0
        while not transport.paused:
            connection.dataReceived(b"ECHO " + b"y" * 44 + b"\n")
            sent += 1
            self.assertLess(sent, 1000, "replies pile up")
        self.assertLess(len(transport.value()), 1000)
        received = b""
        while data := transport.read():
            received += data
        self.assertEqual(received, (b"y" * 44 + b"\n") * sent)
        self.assertFalse(transport.paused)

    def test_client_that_does_not_read_is_let_go(self) -> None:
        transport = Transport()
        transport.limit = 500
        connection, _ = self.connect(transport)
        transport.read()
        connection.dataReceived(b"ECHO " + b"y" * 900 + b"\nECHO 2\n")
        self.clock.advance(self.factory.timeout + 1)
        self.assertTrue(transport.aborting)

    def test_closing_connection_reads_again(self) -> None:
        self.factory.input_limit = 10
        connection, transport = self.talk()
        connection.dataReceived(b"SLOW x\n" + b"y" * 20)
        self.assertTrue(transport.paused)
        connection.close()
        self.assertFalse(transport.paused)


class DrainTests(ConnectionTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.transport = Transport()
        self.transport.limit = CHUNK
        self.connection, _ = self.connect(self.transport)
        self.transport.read()

    def test_large_reply_waits_for_the_client(self) -> None:
        self.connection.dataReceived(b"BIG 10\nECHO 2\n")
        most = total = 0
        while data := self.transport.read():
            most = max(most, len(data))
            total += len(data)
        self.assertEqual(total, 10 * CHUNK + len(b"done\n2\n"))
        self.assertLessEqual(most, 3 * CHUNK)

    def test_connection_lost_while_waiting_for_the_client(self) -> None:
        self.connection.dataReceived(b"BIG 10\n")
        self.lose(self.connection)
        self.assertEqual(self.factory.events, ["closed"])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_client_that_stops_reading_is_let_go(self) -> None:
        self.connection.dataReceived(b"BIG 10\n")
        self.clock.advance(self.factory.timeout + 1)
        self.assertTrue(self.transport.aborting)

    def test_long_reply_lets_others_have_their_turn(self) -> None:
        self.transport.limit = 1 << 62
        seconds = iter(range(1000))
        self.patch(self.factory.deadlines, "seconds", lambda: next(seconds) * SECONDS_A_TURN * 2)
        self.connection.dataReceived(b"BIG 3\n")
        self.assertLess(len(self.transport.value()), 3 * CHUNK)

    def test_drain_after_the_end(self) -> None:
        self.connection.dataReceived(b"SLOW x\n")
        self.lose(self.connection)
        drained = Deferred.fromCoroutine(self.connection.drain())
        self.failureResultOf(drained)


class EndTests(ConnectionTestCase):
    def test_command_is_cancelled(self) -> None:
        connection, _ = self.talk()
        connection.dataReceived(b"SLOW x\nECHO 1\n")
        self.lose(connection)
        self.assertEqual(self.factory.events, ["cancelled x", "closed"])
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertTrue(connection.closing)

    def test_connection_lost_during_the_turn_of_others(self) -> None:
        connection, _ = self.talk()
        connection.dataReceived(b"ECHO x\n" * (COMMANDS_A_TURN + 1))
        self.lose(connection)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_data_after_the_end(self) -> None:
        connection, transport = self.talk()
        self.lose(connection)
        connection.dataReceived(b"ECHO 1\n")
        connection.write(b"x")
        connection.flush()
        connection.close()
        connection.abort()
        self.assertEqual(transport.value(), b"")

    def test_lost_inside_a_command_that_then_waits(self) -> None:
        connection, transport = self.talk()
        self.patch(transport, "write", lambda data: self.lose(connection))
        self.patch(LineConnection, "wait", self.write_and_wait)
        connection.dataReceived(b"ANY\n")
        self.assertEqual(self.factory.events, ["closed", "cancelled x"])

    @staticmethod
    async def write_and_wait(connection: LineConnection, verb: bytes, rest: bytes) -> None:
        connection.write(b"x")
        connection.flush()
        await connection.factory.slow(b"x")

    def test_half_close_after_the_last_command(self) -> None:
        connection, transport = self.talk()
        connection.dataReceived(b"SLOW x\nECHO 1\nECHO unfinished")
        connection.readConnectionLost()
        self.assertFalse(transport.disconnecting)
        self.factory.waiting[b"x"].callback(b"!")
        self.assertEqual(transport.read(), b"x!\n1\n")
        self.assertTrue(transport.disconnecting)

    def test_half_close_while_idle(self) -> None:
        connection, transport = self.talk()
        connection.readConnectionLost()
        self.assertTrue(transport.disconnecting)

    def test_client_that_closes_its_reading_side(self) -> None:
        connection, transport = self.talk()
        connection.writeConnectionLost()
        self.assertTrue(transport.aborting)

    def test_abort(self) -> None:
        connection, transport = self.talk()
        connection.dataReceived(b"ABORT\nECHO 1\n")
        self.assertTrue(transport.aborting)
        self.assertEqual(transport.value(), b"")

    def test_closing_connection_is_aborted_in_the_end(self) -> None:
        connection, transport = self.talk()
        connection.dataReceived(b"QUIT\n")
        self.assertIsNone(transport.producer)
        self.clock.advance(self.factory.close_timeout - 1)
        self.assertFalse(transport.aborting)
        self.clock.advance(1)
        self.assertTrue(transport.aborting)
        self.lose(connection)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_logout_though_closing_fails(self) -> None:
        connection, _ = self.talk()
        connection.dataReceived(b"LOGIN ann secret\n")
        self.patch(connection, "closed", lambda: 1 // 0)
        try:
            self.lose(connection)
        except ZeroDivisionError:
            pass
        self.flushLoggedErrors(ZeroDivisionError)
        self.assertEqual(self.factory.events, ["lines login ann", "logout ann"])


class ShutDownTests(ConnectionTestCase):
    def test_idle_connection(self) -> None:
        connection, transport = self.talk()
        connection.shut_down()
        self.assertEqual(transport.read(), b"going down\n")
        self.assertTrue(transport.disconnecting)

    def test_command_at_work_is_answered(self) -> None:
        connection, transport = self.talk()
        connection.dataReceived(b"SLOW x\nECHO never\n")
        connection.shut_down()
        self.assertEqual(transport.read(), b"")
        self.factory.waiting[b"x"].callback(b"!")
        self.assertEqual(transport.read(), b"x!\ngoing down\n")
        self.assertTrue(transport.disconnecting)

    def test_after_close(self) -> None:
        connection, transport = self.talk()
        connection.dataReceived(b"QUIT\n")
        connection.shut_down()
        self.assertEqual(transport.read(), b"bye\n")


class TimeTests(ConnectionTestCase):
    def test_silence(self) -> None:
        _connection, transport = self.talk()
        self.clock.advance(self.factory.timeout - 1)
        self.assertEqual(transport.value(), b"")
        self.clock.advance(1)
        self.assertEqual(transport.read(), b"too slow\n")
        self.assertTrue(transport.disconnecting)
        self.clock.advance(self.factory.close_timeout)
        self.assertTrue(transport.aborting)

    def test_activity_counts(self) -> None:
        connection, transport = self.talk()
        for _ in range(5):
            self.clock.advance(self.factory.timeout - 1)
            connection.dataReceived(b"E")
        self.assertEqual(transport.value(), b"")
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)

    def test_slow_command_is_not_the_clients_silence(self) -> None:
        connection, transport = self.talk()
        told: list[str] = []

        def observe(event: Any) -> None:
            if event.get("log_level") is LogLevel.warn:
                told.append(formatEvent(event))

        globalLogPublisher.addObserver(observe)
        self.addCleanup(globalLogPublisher.removeObserver, observe)
        connection.dataReceived(b"SLOW x\n")
        self.clock.advance(self.factory.timeout - 1)
        self.assertEqual(told, [])
        self.clock.pump([1, *([self.factory.timeout] * 4)])
        self.assertEqual(transport.value(), b"")
        # Whoever runs the server is to see that a backend does not answer.
        line = "a command of lines from 192.0.2.1 has been at work for 300 s more"
        self.assertEqual(told, [line] * 5)
        self.factory.waiting[b"x"].callback(b"!")
        self.assertEqual(transport.read(), b"x!\n")
        self.clock.pump([self.factory.timeout] * 2)
        self.assertEqual(transport.read(), b"too slow\n")

    def test_shorter_silence_from_now_on(self) -> None:
        connection, transport = self.talk()
        self.clock.advance(100)
        self.patch(connection, "idle_timeout", lambda: 10.0)
        connection.set_idle_timer()
        self.clock.advance(9)
        self.assertEqual(transport.value(), b"")
        self.clock.advance(1)
        self.assertEqual(transport.read(), b"too slow\n")

    def test_timer_of_a_listening_factory_outlives_connections(self) -> None:
        self.factory.doStart()
        connection, _ = self.talk()
        self.lose(connection)
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)
        connection, transport = self.talk()
        self.clock.advance(self.factory.timeout)
        self.assertEqual(transport.read(), b"too slow\n")
        self.factory.doStop()
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)
        self.lose(connection)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_timer_ends_with_the_last_port(self) -> None:
        self.factory.doStart()
        connection, _ = self.talk()
        self.lose(connection)
        self.factory.doStop()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_closing_connection_has_its_time(self) -> None:
        connection, transport = self.talk()
        self.clock.advance(self.factory.timeout - 1)
        connection.dataReceived(b"QUIT\n")
        self.clock.advance(self.factory.close_timeout - 1)
        self.assertFalse(transport.aborting)
        self.clock.advance(1)
        self.assertTrue(transport.aborting)


class ManyTests(ConnectionTestCase):
    def test_too_many_connections(self) -> None:
        self.factory = LineFactory(max_connections=2)
        first, _ = self.talk()
        self.talk()
        refused, transport = self.connect()
        self.assertEqual(transport.read(), b"too many\n")
        self.assertTrue(transport.disconnecting)
        refused.dataReceived(b"ECHO 1\n")
        self.assertEqual(transport.read(), b"")
        self.lose(refused)
        self.lose(first)
        self.talk()

    def test_too_many_from_one_address(self) -> None:
        self.factory = LineFactory(max_connections_per_address=2)
        _first, _ = self.talk()
        self.talk()
        refused, transport = self.connect()
        self.assertEqual(transport.read(), b"too many\n")
        _, transport = self.connect(Transport("192.0.2.2"))
        self.assertEqual(transport.read(), b"hello\n")
        self.lose(refused)
        _, transport = self.connect()
        self.assertEqual(transport.read(), b"too many\n")

    def test_loopback_is_exempt(self) -> None:
        self.factory = LineFactory(max_connections_per_address=1)
        for host in ("127.0.0.1", "127.0.0.2", "::1"):
            for _ in range(3):
                _, transport = self.connect(Transport(host))
                self.assertEqual(transport.read(), b"hello\n")

    def test_all_are_forgotten(self) -> None:
        connections = [self.connect()[0] for _ in range(3)]
        self.assertEqual(len(self.factory.connections), 3)
        for connection in connections:
            self.lose(connection)
        self.assertEqual(len(self.factory.connections), 0)

    def test_address_is_that_of_the_beginning(self) -> None:
        # A transport may not know any more whose connection it was.
        self.factory = LineFactory(max_connections_per_address=1)
        connection, transport = self.talk()
        transport.peerAddr = UNIXAddress(None)
        self.lose(connection)
        self.talk()


class MemoryTests(SynchronousTestCase):
    def test_values_stand_in_the_object(self) -> None:
        # CPython keeps up to 30 of them there; with one more, each object has a dictionary of its
        # own, of a kilobyte, and takes longer to find them. A class with too many needs slots.
        later = {"connected", "factory", "transport"}
        kinds: tuple[type[CommandConnection], ...] = (
            *(IMAPProtocol, POP3Connection, FTPConnection),
            *(SMTPProtocol, SubmissionProtocol, LMTPProtocol),
        )
        for kind in kinds:
            self.assertLessEqual(len(later.union(vars(kind()))), 30, kind.__name__)
