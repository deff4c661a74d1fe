"""The store's helper, but for some messages that kill it, or that it never comes to an end of."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from mailkit.store.sqlite import helper
from mailkit.store.sqlite.bodies import BodyFiles
from mailkit.store.sqlite.making import Job, Made, Wanted, make

#: In messages: dies at once, hangs, raises.
DEADLY, ENDLESS, BROKEN = b"deadly", b"endless", b"broken"


def make_or_die(bodies: BodyFiles, wanted: Wanted, jobs: Sequence[Job]) -> Made:
    for place, _ in jobs:
        body = bodies.read(place)
        if DEADLY in body:
            os._exit(1)
        if BROKEN in body:
            raise RecursionError("as a bug does")
        while ENDLESS in body:
            helper.TIME_LIMIT = 0
    return make(bodies, wanted, jobs)


if __name__ == "__main__":
    helper.make = make_or_die  # type: ignore[attr-defined]
    helper.TIME_LIMIT = 1
    helper.main(*sys.argv[1:])
