"""Segment files: records, roll-over, rollback, damage."""

from __future__ import annotations

import errno
import os
import zlib
from unittest import mock

from twisted.trial.unittest import SynchronousTestCase

from mailkit.errors import StoreCorrupt, StoreUnavailable
from mailkit.store.sqlite import copying
from mailkit.store.sqlite import log as log_module
from mailkit.store.sqlite.log import SPOOL_RESERVE, Location, SegmentLog
from mailkit.store.sqlite.records import (
    BODY,
    RECORD_HEADER_SIZE,
    checksum_of,
    decode_header,
    encode_header,
    is_record_of,
)
from mailkit.store.sqlite.segments import (
    Marking,
    Record,
    list_segments,
    read_crc,
    scan_segment,
    segment_name,
)

MARKER = bytes(range(16))


class RecordTests(SynchronousTestCase):
    def test_round_trip(self) -> None:
        for marker in (MARKER, b""):
            self.make_round_trip(marker)

    def make_round_trip(self, marker: bytes) -> None:
        data = encode_header(BODY, b"[]", 2**40, 77, 2**50, 2**45, marker)
        header = decode_header(data + b"[]"[: 2 - len(marker)])
        self.assertEqual(len(data), header.size)
        self.assertEqual(header.marker, marker)
        self.assertEqual(
            (header.kind, header.meta_length, header.body_length, header.lsn, header.batch),
            (BODY, 2, 2**40, 2**50, 2**45),
        )
        self.assertEqual((header.meta_crc, header.body_crc), (zlib.crc32(b"[]"), 77))

    def test_every_damaged_octet_is_noticed(self) -> None:
        for marker in (MARKER, b""):
            self.damage(encode_header(BODY, b"[]", 5, 77, 1, 1, marker))

    def damage(self, data: bytes) -> None:
        for position in range(len(data)):
            damaged = bytearray(data)
            damaged[position] ^= 0x40
            with self.assertRaises(StoreCorrupt):
                decode_header(bytes(damaged))
        for length in range(len(data)):
            with self.assertRaises(StoreCorrupt):
                decode_header(data[:length])

    def test_unknown_version(self) -> None:
        data = bytearray(encode_header(BODY, b"", 0, 0, 1, 1))
        data[4] = 9
        self.assertIn("version 9", str(self.assertRaises(StoreCorrupt, decode_header, data)))

    def test_another_message_of_the_same_length_in_its_place(self) -> None:
        data = b"?" + encode_header(BODY, b"[]", 5, 77, 3, 1, MARKER)
        self.assertEqual(checksum_of(data, 1, 3, 5), 77)
        self.assertTrue(is_record_of(data, 1, 3, 5))
        for offset, number, length in ((1, 4, 5), (1, 3, 6), (0, 3, 5), (-1, 3, 5)):
            self.assertFalse(is_record_of(data, offset, number, length))
            with self.assertRaises(StoreCorrupt):
                checksum_of(data, offset, number, length)


class SegmentLogTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.directory = self.mktemp()
        os.mkdir(self.directory)
        self.flushed: list[int] = []
        self.log = self.make_log()
        self.log.open(0, 0, 0, MARKER)
        self.addCleanup(lambda: self.log.close())

    def make_log(self, limit: int = 1000) -> SegmentLog:
        return SegmentLog(self.directory, limit=limit, large=1000, flush=self.flushed.append)

    def path(self, number: int) -> str:
        return os.path.join(self.directory, segment_name(number))

    def put(self, lsn: int, body: bytes) -> None:
        self.log.append(BODY, lsn, 1, b"{}", [body], zlib.crc32(body))

    def commit(self, *bodies: bytes) -> None:
        self.log.begin()
        for number, body in enumerate(bodies, 1):
            self.put(number, body)
        self.flush_log()
        self.log.finish()

    def flush_log(self) -> None:
        self.log.write()
        self.log.flush()

    def scan(self, number: int) -> list[Record]:
        return list(scan_segment(self.directory, number, Marking(MARKER, 1)))

    def bodies(self, number: int) -> list[bytes]:
        with open(self.path(number), "rb") as file:
            data = file.read()
        return [data[r.start : r.start + r.header.body_length] for r in self.scan(number)]

    def test_one_flush_for_many_records(self) -> None:
        self.commit(b"one", b"", b"three")
        self.assertEqual(self.bodies(1), [b"one", b"", b"three"])
        self.assertEqual(len(self.flushed), 1)

    def test_locations(self) -> None:
        self.log.begin()
        location = self.log.append(BODY, 1, 1, b"meta", [b"ab", b"cd"], zlib.crc32(b"abcd"))
        self.flush_log()
        with open(self.path(location.segment), "rb") as file:
            file.seek(location.start)
            self.assertEqual(file.read(), b"abcd")
        self.assertEqual(location.start, location.position + RECORD_HEADER_SIZE + 4)
        self.assertEqual(self.log.size, os.path.getsize(self.path(1)))

    def make_room(self, room: int = 500) -> None:
        """Begin again, with room ahead of the end."""
        self.log.close()
        self.log = SegmentLog(
            self.directory, limit=2000, large=1000, flush=self.flushed.append, room=room
        )
        self.log.open(0, 0, 0, MARKER)

    def test_small_batches_overwrite_what_is_there(self) -> None:
        self.make_room()
        self.commit(b"one")
        size = os.path.getsize(self.path(1))
        self.assertEqual(size, self.log.size + 500)
        self.commit(b"two")
        self.commit(b"three")
        self.assertEqual(os.path.getsize(self.path(1)), size)
        self.assertEqual(self.bodies(1), [b"one", b"two", b"three"])
        # What does not fit makes the file longer, and room for others.
        self.commit(b"x" * 400)
        self.assertEqual(os.path.getsize(self.path(1)), self.log.size + 500)
        # A large batch needs none.
        self.commit(b"y" * 501)
        self.assertEqual(os.path.getsize(self.path(1)), self.log.size)

    def test_no_room_is_left_behind_the_last_record(self) -> None:
        self.make_room()
        for number in range(3):
            self.commit(b"%d" % number * 400)
        self.commit(b"4" * 1000)
        self.assertEqual(list_segments(self.directory), [1, 2])
        (*_, last) = self.scan(1)
        self.assertEqual(os.path.getsize(self.path(1)), last.start + 400)
        self.commit(b"five")
        self.log.begin()
        self.log.seal()
        self.log.finish()
        (*_, last) = self.scan(2)
        self.assertEqual(os.path.getsize(self.path(2)), last.start + 4)

    def test_room_is_cut_off_at_the_end_and_when_the_log_is_opened(self) -> None:
        self.make_room()
        self.commit(b"one")
        size = self.log.size
        self.log.trim()
        self.assertEqual(os.path.getsize(self.path(1)), size)
        self.commit(b"two")
        size = self.log.size
        self.assertGreater(os.path.getsize(self.path(1)), size)
        self.log.close()
        self.log.open(1, size, 1, MARKER)
        self.assertEqual(os.path.getsize(self.path(1)), size)
        self.commit(b"three")
        self.assertEqual(self.bodies(1), [b"one", b"two", b"three"])

    def test_a_batch_in_the_room_is_rolled_back(self) -> None:
        self.make_room()
        self.roll_back_the_second()
        self.assertEqual(os.path.getsize(self.path(1)), self.log.size + 500)

    def test_a_disk_without_room_takes_the_batch(self) -> None:
        self.make_room()
        with mock.patch.object(SegmentLog, "measure_room", return_value=100):
            self.commit(b"one")
        self.assertEqual(os.path.getsize(self.path(1)), self.log.size)
        with mock.patch("os.pwrite", side_effect=OSError(errno.ENOSPC, "full")):
            self.commit(b"two")
        self.assertEqual(os.path.getsize(self.path(1)), self.log.size)
        self.commit(b"three")
        self.assertEqual(self.bodies(1), [b"one", b"two", b"three"])

    def test_more_buffers_than_one_call_takes(self) -> None:
        self.log = self.make_log(limit=1 << 30)
        self.log.open(0, 0, 0, MARKER)
        bodies = [b"%d" % number for number in range(1500)]
        self.commit(*bodies)
        self.assertEqual(self.bodies(1), bodies)

    def test_a_full_segment_is_followed_by_another(self) -> None:
        for number in range(4):
            self.commit(b"%d" % number * 400)
        self.assertEqual(list_segments(self.directory), [1, 2])
        self.assertEqual([len(self.bodies(number)) for number in (1, 2)], [2, 2])

    def test_a_batch_over_two_segments_flushes_both(self) -> None:
        self.commit(b"x" * 500, b"y" * 500)
        self.assertEqual(list_segments(self.directory), [1, 2])
        self.assertEqual(len(set(self.flushed)), 2)

    def test_rollback_cuts(self) -> None:
        self.roll_back_the_second()

    def roll_back_the_second(self) -> None:
        """One batch is kept, one undone, and one follows."""
        self.commit(b"kept")
        size = self.log.size
        self.log.begin()
        self.put(2, b"dropped")
        self.flush_log()
        self.log.rollback()
        self.assertEqual(os.path.getsize(self.path(1)), size)
        self.commit(b"next")
        self.assertEqual(self.bodies(1), [b"kept", b"next"])

    def test_rollback_over_a_new_segment(self) -> None:
        self.commit(b"k" * 500)
        self.log.begin()
        self.put(2, b"a" * 300)
        self.put(3, b"b" * 500)
        self.flush_log()
        self.log.rollback()
        self.commit(b"next")
        self.assertEqual(self.bodies(1), [b"k" * 500])
        self.assertEqual(self.bodies(list_segments(self.directory)[-1]), [b"next"])

    def test_after_a_failed_flush_nothing_more_is_written_to_that_file(self) -> None:
        self.commit(b"kept")

        def fail(descriptor: int) -> None:
            raise OSError(errno.EIO, "broken")

        with mock.patch.object(self.log, "_flush", fail):
            self.log.begin()
            self.put(2, b"dropped")
            self.assertRaises(OSError, self.flush_log)
            self.log.rollback()
        self.commit(b"next")
        self.assertEqual((self.bodies(1), self.bodies(2)), ([b"kept"], [b"next"]))

    def test_a_full_disk(self) -> None:
        self.commit(b"kept")
        real = os.pwritev
        full = OSError(errno.ENOSPC, "full")
        with (
            mock.patch(
                "os.pwritev", lambda fd, buffers, offset: real(fd, [b"".join(buffers)[:30]], offset)
            ),
            mock.patch("os.pwrite", mock.Mock(side_effect=full)),
        ):
            self.log.begin()
            self.put(2, b"dropped" * 10)
            self.assertRaises(OSError, self.flush_log)
            self.log.rollback()
        self.commit(b"next")
        self.assertEqual(self.bodies(1), [b"kept", b"next"])

    def test_a_short_write_is_finished(self) -> None:
        real = os.pwritev
        with mock.patch(
            "os.pwritev", lambda fd, buffers, offset: real(fd, [b"".join(buffers)[:30]], offset)
        ):
            self.commit(b"whole" * 20)
        self.assertEqual(self.bodies(1), [b"whole" * 20])

    def test_open_cuts_what_is_behind_the_end(self) -> None:
        self.commit(b"kept")
        size = self.log.size
        with open(self.path(1), "ab") as file:
            file.write(b"torn")
        self.log.close()
        self.log = self.make_log()
        self.log.open(1, size, 1, MARKER)
        self.commit(b"next")
        self.assertEqual(self.bodies(1), [b"kept", b"next"])

    def test_adopted_file_is_a_segment(self) -> None:
        spool = os.path.join(self.directory, "spool")
        with open(spool, "wb") as file:
            file.seek(SPOOL_RESERVE)
            file.write(b"content")
        self.log.begin()
        crc = zlib.crc32(b"prefix content")
        location = self.log.adopt(spool, SPOOL_RESERVE, 5, 1, b"[1]", b"prefix ", 14, crc)
        self.flush_log()
        self.assertFalse(os.path.exists(spool))
        self.assertEqual(self.bodies(location.segment), [b"prefix content"])
        (record,) = self.scan(location.segment)
        self.assertEqual((record.meta, record.header.lsn), (b"[1]", 5))
        self.log.rollback()
        self.assertTrue(os.path.exists(spool))
        self.assertEqual(list_segments(self.directory), [])

    def spool(self, content: bytes, start: int = SPOOL_RESERVE) -> str:
        path = os.path.join(self.directory, "spool")
        with open(path, "wb") as file:
            file.seek(start)
            file.write(content)
        return path

    def append_file(self, path: str, body: bytes, start: int = SPOOL_RESERVE) -> Location:
        return self.log.append_file(
            path, start, 5, 1, b"[1]", body[:7], len(body), zlib.crc32(body)
        )

    def test_a_copied_file_stands_between_others(self) -> None:
        for copies in (True, False):
            self.patch(copying, "_COPIED", 3)
            if not copies:
                self.patch(os, "copy_file_range", None)
            path = self.spool(b"content")
            self.log.begin()
            self.put(1, b"one")
            location = self.append_file(path, b"prefix content")
            self.put(2, b"two")
            self.flush_log()
            with open(self.path(location.segment), "rb") as file:
                file.seek(location.start)
                self.assertEqual(file.read(14), b"prefix content")
            self.assertTrue(os.path.exists(path))
            self.log.finish()
            self.assertFalse(os.path.exists(path))
        self.assertEqual(self.bodies(1), [b"one", b"prefix content", b"two"] * 2)
        self.assertEqual(self.log.size, os.path.getsize(self.path(1)))
        self.assertEqual([record.meta for record in self.scan(1)][1], b"[1]")

    def test_where_the_system_cannot_copy(self) -> None:
        def copy_file_range(*_: object) -> int:
            raise OSError(errno.EXDEV, "Invalid cross-device link")

        self.patch(os, "copy_file_range", copy_file_range)
        self.log.begin()
        self.append_file(self.spool(b"content"), b"prefix content")
        self.flush_log()
        self.assertEqual(self.bodies(1), [b"prefix content"])

    def test_a_copied_file_is_taken_back(self) -> None:
        self.commit(b"kept")
        size = os.path.getsize(self.path(1))
        path = self.spool(b"content")
        for _ in range(2):
            self.log.begin()
            self.append_file(path, b"prefix content")
            self.log.rollback()
            self.assertEqual(os.path.getsize(self.path(1)), size)
        self.commit(b"next")
        self.assertEqual(self.bodies(1), [b"kept", b"next"])
        self.assertTrue(os.path.exists(path))

    def test_a_file_that_ends_too_early(self) -> None:
        self.commit(b"kept")
        size = os.path.getsize(self.path(1))
        for copies in (True, False):
            if not copies:
                self.patch(os, "copy_file_range", None)
            self.log.begin()
            path = self.spool(b"conten")
            self.assertRaises(OSError, self.append_file, path, b"prefix content")
            self.log.rollback()
            self.assertEqual(os.path.getsize(self.path(1)), size)
        self.commit(b"next")
        self.assertEqual(self.bodies(1), [b"kept", b"next"])

    def test_a_file_that_is_not_there_is_no_failure_of_the_disk(self) -> None:
        self.log.begin()
        path = os.path.join(self.directory, "nothing")
        self.assertRaises(StoreUnavailable, self.append_file, path, b"prefix content")
        self.assertRaises(
            StoreUnavailable, self.log.adopt, path, SPOOL_RESERVE, 5, 1, b"[]", b"", 7, 0
        )

    def test_a_full_disk_while_a_file_is_copied(self) -> None:
        def copy_file_range(*_: object) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

        self.patch(os, "copy_file_range", copy_file_range)
        self.log.begin()
        error = self.assertRaises(
            OSError, self.append_file, self.spool(b"content"), b"prefix content"
        )
        self.assertEqual(error.errno, errno.ENOSPC)

    def test_scan_goes_on_behind_damage(self) -> None:
        self.commit(b"one", b"two" * 30, b"three")
        records = self.scan(1)
        with open(self.path(1), "r+b") as file:
            file.seek(records[1].position + 10)
            file.write(b"\xff\xff\xff")
        self.assertEqual(self.bodies(1), [b"one", b"three"])

    def test_scan_finds_a_record_wherever_it_stands_behind_damage(self) -> None:
        record = encode_header(BODY, b"[]", 3, zlib.crc32(b"one"), 1, 1, MARKER) + b"[]one"
        # The search reads a megabyte at a time, and begins behind what stands before a marker.
        for before in range((1 << 20) - 64, (1 << 20) + 5):
            with open(self.path(1), "wb") as file:
                file.write(bytes(before) + record)
            self.assertEqual([found.position for found in self.scan(1)], [before])

    def test_the_name_of_a_new_segment_is_made_durable_with_it(self) -> None:
        with mock.patch.object(log_module, "sync_directory") as sync:
            self.commit(b"one")
            sync.assert_called_once_with(self.directory)
            self.commit(b"two")
            sync.assert_called_once()

    def test_scan_of_a_torn_tail(self) -> None:
        self.commit(b"one", b"two")
        size = os.path.getsize(self.path(1))
        second = self.scan(1)[1].position
        for length in range(size - 1, 0, -1):
            os.truncate(self.path(1), length)
            self.assertEqual(len(self.scan(1)), length >= second)

    def test_crc_of_a_range_that_ends_early(self) -> None:
        self.commit(b"one")
        descriptor = os.open(self.path(1), os.O_RDONLY)
        self.addCleanup(os.close, descriptor)
        self.assertRaises(StoreCorrupt, read_crc, descriptor, 10, 10_000)
