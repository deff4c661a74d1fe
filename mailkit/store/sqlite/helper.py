"""The store's helper: a process that reads messages and makes what the store keeps of them.

::

    python -m mailkit.store.sqlite.helper LOG-DIRECTORY

It reads requests and writes answers, one for each, in their order (see
:mod:`~mailkit.store.sqlite.helperprocess`), and ends when there are no more. It takes apart what
strangers have sent, so it may not do much: it opens nothing but segments of the log, writes no file,
and has so much time and memory. The store's owner checks and saves what it has made.
"""

from __future__ import annotations

import gc
import marshal
import os
import resource
import signal
import sys
import traceback
from contextlib import suppress
from typing import IO, Any

from mailkit import __version__
from mailkit.store.sqlite.bodies import BodyFiles, BodyPlace
from mailkit.store.sqlite.making import Job, Made, Wanted, make

#: What is added to the priority of the server, so that clients come first.
NICENESS = 10
#: Seconds for one request; then it is killed, whatever it is at.
TIME_LIMIT = 60
#: Octets of memory that it may map, the largest message among them.
MAX_MEMORY = 4 * 1024 * 1024 * 1024
#: Octets of the length that stands before each request and answer.
LENGTH = 4
#: Where the summaries are in an answer.
SUMMARIES = Made._fields.index("summaries")
#: Allocations between two looks for cycles of objects, of which it makes hardly any.
_COLLECT_AFTER = 100_000


def read_frame(source: IO[bytes]) -> Any:
    """The next value; None at the end."""
    head = source.read(LENGTH)
    if len(head) < LENGTH:
        return None
    length = int.from_bytes(head, "big")
    data = source.read(length)
    return None if len(data) < length else marshal.loads(data)


def write_frame(target: IO[bytes], value: Any) -> None:
    """Send a value made of plain lists, tuples, octets, texts and numbers."""
    data = marshal.dumps(value)
    target.write(len(data).to_bytes(LENGTH, "big") + data)
    target.flush()


def _confine() -> None:
    # Ctrl-C in a terminal, and the stop of a service, are for all processes of a group: the server
    # ends first, and our input with it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.nice(NICENESS)
    sys.dont_write_bytecode = True
    for name, limit in (("AS", MAX_MEMORY), ("CORE", 0), ("FSIZE", 0)):
        kind = getattr(resource, f"RLIMIT_{name}")
        _, hard = resource.getrlimit(kind)
        if hard == resource.RLIM_INFINITY or hard > limit:
            # macOS refuses to limit memory.
            with suppress(OSError, ValueError):
                resource.setrlimit(kind, (limit, limit))
    gc.freeze()
    gc.set_threshold(_COLLECT_AFTER)


def _answer(bodies: BodyFiles, wanted: int, places: list[tuple[int, ...]]) -> Any:
    """What was made, or a text that says what went wrong."""
    try:
        made = make(bodies, Wanted(wanted), [Job(BodyPlace(*place)) for place in places])
    except Exception:
        return traceback.format_exc()
    # What is sent has no classes.
    answer: list[Any] = list(made)
    answer[SUMMARIES] = [(body_id, *summary) for body_id, summary in made.summaries]
    return answer


def main(directory: str) -> None:
    """:param directory: where the segments of the log are."""
    _confine()
    bodies = BodyFiles(directory)
    # Another process removes segments.
    bodies.check_names = True
    source, target = sys.stdin.buffer, sys.stdout.buffer
    write_frame(target, __version__)
    while (request := read_frame(source)) is not None:
        signal.alarm(TIME_LIMIT)
        answer = _answer(bodies, *request)
        signal.alarm(0)
        write_frame(target, answer)


if __name__ == "__main__":
    main(*sys.argv[1:])
