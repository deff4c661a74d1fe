"""What goes wrong before a server serves, in words for whoever starts it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager


class SettingError(ValueError):
    """A setting is wrong; the text says which part of it and what to write instead."""


class StartError(Exception):
    """A service cannot start: a port is taken, the store is in use, ...

    :param setting: name of the setting that asked for it: ``imap``, ``store``.
    :param value: what the setting was.
    :param reason: what is wrong with it.
    """

    def __init__(self, setting: str, value: str, reason: str) -> None:
        super().__init__(f"{setting} {value}: {reason}")
        self.setting = setting
        self.value = value
        self.reason = reason


class CannotStart(SystemExit, Exception):
    """Ends twistd with one readable line instead of a traceback.

    In the foreground that is what SystemExit does; a daemon's parent hears of an Exception only.
    """


@contextmanager
def readable_errors(place: Callable[[str], str]) -> Iterator[None]:
    """Turn a StartError into the one line with which twistd ends."""
    try:
        yield
    except StartError as error:
        text = f"mailkit: {place(error.setting)} {error.value}: {error.reason}"
        raise CannotStart(text) from error
