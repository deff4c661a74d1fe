"""What the administrator's commands need: a store's directory, and refusals for people."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from mailkit.errors import MailError
from mailkit.tap.errors import SettingError
from mailkit.tap.stores import open_store, sqlite_directory

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred

#: Seconds that a command has for tidying up once it is to stop.
STOP_SECONDS = 10.0


def administer(
    store: str, work: Callable[[Any], Awaitable[None]], about: str = "", make: bool = False
) -> None:
    """Open the accounts of a store, beside a server that may be running, and work on them.

    :param about: the name that a refusal is about; the store when empty.
    :param make: make the store if there is none.
    """

    async def whole() -> None:
        directory = _open_directory(store, make)
        try:
            await work(directory)
        finally:
            closing = directory.close()
            if closing is not None:
                await closing

    with refusals(about or store):
        run(whole())


@contextmanager
def refusals(about: str) -> Iterator[None]:
    """Tell a person what was refused, and of what; ``--store`` when that is not a store."""
    try:
        yield
    except SettingError as error:
        raise click.BadParameter(str(error), param_hint="--store") from error
    except MailError as error:
        raise click.ClickException(f"{about}: {error.text}") from error


async def find_account(directory: Any, address: str) -> str:
    """Canonical name of the account that an administrator means."""
    name: str | None = await directory.find_account(login=address)
    if name is None:
        raise click.ClickException(f"{address}: no such account")
    return name


def existing_directory(store: str) -> str:
    """The directory of a store in SQLite, which must exist."""
    with refusals(store):
        path = sqlite_directory(store)
        if path is None:
            raise SettingError("this command is for stores in SQLite: sqlite:DIR")
        _check_exists(path)
    return path


def _open_directory(store: str, make: bool) -> Any:
    path = sqlite_directory(store)
    if path is not None:
        if not make:
            _check_exists(path)
        from mailkit.store.sqlite import SQLiteDirectory

        return SQLiteDirectory(path)
    from mailkit.interfaces import IDirectoryAdmin

    if store.partition(":")[0] == "memory":
        raise SettingError("the accounts of memory: are inside the server; give it --auth instead")
    opened = open_store(store)
    if not IDirectoryAdmin.providedBy(opened):
        raise SettingError(f"{store} has no accounts that could be changed")
    return opened


def _check_exists(path: str) -> None:
    try:
        names = os.listdir(path)
    except (FileNotFoundError, NotADirectoryError):
        names = []
    except OSError as error:
        raise SettingError(
            f"cannot open {path}: {error.strerror}; run this as the user that the server runs as"
        ) from error
    if not {"index.sqlite", "log"}.intersection(names):
        raise SettingError(f"there is no store in {path}; `account add` or `domain add` makes one")


def run(work: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine to its end, with the reactor only when it has to wait for something.

    :raises click.Abort: Ctrl-C or SIGTERM has ended it before.
    """
    from twisted.internet.defer import CancelledError, Deferred
    from twisted.python.failure import Failure

    results: list[Any] = []
    done = Deferred.fromCoroutine(work)
    done.addBoth(results.append)
    if not results:
        from twisted.internet import reactor

        _run_reactor(reactor, done)
    if not results:
        raise click.Abort
    if isinstance(results[0], Failure):
        if results[0].check(CancelledError):
            raise click.Abort
        results[0].raiseException()


def _run_reactor(reactor: Any, done: Deferred[None]) -> None:
    """Run it until that is done, or a signal comes, which has it cancelled and tidied up after."""
    from twisted.internet.defer import Deferred

    stopping = False

    def finish(_: object) -> None:
        if not stopping:
            reactor.stop()

    def cancel() -> Deferred[None]:
        nonlocal stopping
        stopping = True
        ended: Deferred[None] = Deferred()
        done.addBoth(ended.callback)
        done.cancel()
        # Whatever it waits for.
        ended.addTimeout(STOP_SECONDS, reactor)
        return ended.addErrback(lambda _: None)

    done.addBoth(finish)
    reactor.addSystemEventTrigger("before", "shutdown", cancel)
    reactor.run()
