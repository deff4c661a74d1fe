"""Events of the log between processes."""

from __future__ import annotations

from typing import Any

from twisted.logger import Logger, LogLevel, formatEvent
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from mailkit.tap import child_log
from mailkit.tap.child_log import LineObserver, event_line, read_event


class LineTests(SynchronousTestCase):
    def made(self, level: LogLevel, text: str, **fields: object) -> dict[str, Any]:
        events: list[Any] = []
        Logger("n", self, observer=events.append).emit(level, text, **fields)
        (event,) = events
        found: dict[str, Any] = event
        return found

    def test_texts_and_numbers(self) -> None:
        event = self.made(LogLevel.warn, "{a} {b} {c}", a="\u2603\n\udcff", b=1.5, c=None, d=True)
        line = event_line(event)
        self.assertNotIn("\n", line)
        again = read_event(line.encode("ascii"))
        names = ("log_level", "log_time", "log_namespace", "log_format", "a", "b", "c", "d")
        self.assertEqual([again[name] for name in names], [event[name] for name in names])
        self.assertEqual(formatEvent(again), formatEvent(event))

    def test_anything_else(self) -> None:
        failure = Failure(ValueError("wrong"))
        event = self.made(LogLevel.critical, "{a} and {b}", a=[1], b=b"2", log_failure=failure)
        text = formatEvent(event)
        again = read_event(event_line(event).encode("ascii"))
        self.assertEqual((formatEvent(again), again["log_level"]), (text, LogLevel.critical))
        self.assertIn("builtins.ValueError", again["log_failure"].getTraceback())

    def test_without_a_level(self) -> None:
        again = read_event(event_line({"log_format": "x", "log_time": 1.0}).encode("ascii"))
        self.assertEqual((again["log_format"], again.get("log_level")), ("x", None))

    def test_no_event(self) -> None:
        for line in (b"[1]", b"1", b"x", b"\xff", b'{"log_level": "loud"}'):
            with self.subTest(line=line):
                self.assertRaises((ValueError, KeyError), read_event, line)


class ObserverTests(SynchronousTestCase):
    def test_what_one_turn_logs_is_written_together(self) -> None:
        written: list[bytes] = []
        turns: list[Any] = []
        log = Logger("n", observer=LineObserver(written.append, turns.append))
        log.info("one")
        log.debug("nothing")
        log.warn("two")
        self.assertEqual((written, len(turns)), ([], 1))
        turns.pop()()
        *lines, end = written.pop().split(b"\n")
        self.assertEqual([read_event(line)["log_format"] for line in lines], ["one", "two"])
        self.assertEqual(end, b"")
        log.info("three")
        turns.pop()()
        self.assertEqual(len(written), 1)

    def test_nothing_is_lost_that_is_logged_while_others_are_written(self) -> None:
        written: list[bytes] = []
        observer = LineObserver(written.append, lambda flush: None)
        log = Logger("n", observer=observer)
        log.info("one")

        def line(event: Any) -> str:
            # As if by another thread.
            observer.flush()
            return event_line(event)

        self.patch(child_log, "event_line", line)
        log.info("two")
        observer.flush()
        self.assertEqual([read_event(each)["log_format"] for each in written], ["one", "two"])
