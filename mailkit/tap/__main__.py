"""``python -m mailkit.tap`` is what ``make run`` starts: a whole mail server for trying out."""

from __future__ import annotations

import signal
import sys


def run() -> int:
    """Run the demonstration; the exit code."""
    # Ctrl-C ends it without a traceback while it loads. A store is safe at any moment.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from mailkit.tap.demo import main

    return main()


if __name__ == "__main__":
    sys.exit(run())
