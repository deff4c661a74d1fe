"""Stores by name: what ``--store`` takes."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from zope.interface import Attribute, Interface

from mailkit.interfaces import IMailStore
from mailkit.tap.errors import SettingError

if TYPE_CHECKING:
    from mailkit.store.sharing.names import SharingSettings

#: Where mail is kept when nobody says anything else, and the variable that says it.
DEFAULT_STORE = "sqlite:mailkit-data"
STORE_VARIABLE = "MAILKIT_STORE"

#: Opens a store; called when a service starts, after twistd has changed user and directory.
Opener = Callable[[], Any]


class IStoreScheme(Interface):
    """A plug-in (in ``twisted.plugins``) that adds a scheme to ``--store``."""

    scheme: str = Attribute("""What stands before the colon: letters and digits, no dot.""")

    argument: str = Attribute("""What stands after it, for help texts: ``DIR``.""")

    def open_store(argument: str) -> IMailStore:
        """The store; not awaitable.

        :raises ValueError: the argument is wrong; the text says how.
        :raises MailError: the store cannot be opened.
        """


def default_store() -> str:
    """The store when no option names one."""
    return os.environ.get(STORE_VARIABLE) or DEFAULT_STORE


def open_store(spec: str) -> Any:
    """The store of that name, an ``IMailStore``.

    :raises SettingError: no such store; the text says what to write.
    :raises MailError: it exists and cannot be opened.
    """
    return parse_store(spec)()


def parse_store(
    spec: str, sharing: SharingSettings | None = None, reluctance: float = 0.0
) -> Opener:
    """Look up what ``spec`` names, without opening it yet.

    :param spec: ``sqlite:DIR``, ``memory:``, a plug-in's scheme, or ``dotted.name[:argument]`` of
        a class or function that gives an ``IMailStore``, or of one that exists already.
    :param sharing: how mailboxes are shown that users share; None for the store's own way.
    :param reluctance: of ``sqlite:DIR``: see :class:`~mailkit.store.sqlite.settings.StoreSettings`.
    :raises SettingError: nothing has that name, or it cannot be told how to show them.
    """
    head, colon, argument = spec.partition(":")
    directory = sqlite_directory(spec)
    if directory is not None:
        # Loaded now: after a change of user or a chroot it might not be readable.
        from mailkit.store.sqlite import SQLiteStore, StoreSettings

        settings: dict[str, Any] = {} if sharing is None else {"sharing": sharing}
        if reluctance:
            settings["settings"] = StoreSettings(reluctance=reluctance)
        return lambda: _open_sqlite(SQLiteStore(directory, **settings))
    if head == "memory":
        if argument:
            raise SettingError("memory: takes nothing after the colon")
        from mailkit.store.memory import MemoryStore

        return lambda: MemoryStore() if sharing is None else MemoryStore(sharing=sharing)
    if sharing is not None:
        raise SettingError("names of shared mailboxes are settings of sqlite:DIR and memory: alone")
    if "." in head:
        return _parse_dotted(head, argument if colon else None)
    from twisted.plugin import getPlugins

    plugins: list[Any] = list(getPlugins(IStoreScheme))
    for plugin in plugins:
        if plugin.scheme == head:
            return lambda: _open_plugin(plugin, argument)
    known = ["sqlite:DIR", "memory:", *(f"{p.scheme}:{p.argument}" for p in plugins)]
    raise SettingError(
        f"there is no store {spec!r}; known are {', '.join(known)} and dotted.name[:argument]"
    )


def sqlite_directory(spec: str) -> str | None:
    """The directory of ``sqlite:DIR``, where DIR may begin with ``~``; None for other stores.

    :raises SettingError: the directory is missing.
    """
    scheme, _, directory = spec.partition(":")
    if scheme != "sqlite":
        return None
    if not directory:
        raise SettingError("sqlite needs a directory, as in sqlite:/var/lib/mailkit")
    return os.path.expanduser(directory)


def _open_sqlite(store: Any) -> Any:
    store.open()
    return store


def _open_plugin(plugin: Any, argument: str) -> Any:
    try:
        return _checked(plugin.open_store(argument), plugin.scheme)
    except ValueError as error:
        raise SettingError(f"{plugin.scheme}: {error}") from error


def _parse_dotted(name: str, argument: str | None) -> Opener:
    from twisted.python.reflect import namedAny

    try:
        found = namedAny(name)
    except Exception as error:
        # Whatever a module of somebody else's may do when it is loaded.
        raise SettingError(f"cannot load {name}: {error or type(error).__name__}") from error
    if IMailStore.providedBy(found):
        if argument is not None:
            raise SettingError(f"{name} is a store already and takes no argument")
        return lambda: found
    if not callable(found):
        raise SettingError(f"{name} is neither a store nor something that gives one")
    return lambda: _checked(found() if argument is None else found(argument), name)


def _checked(store: Any, name: str) -> Any:
    if not IMailStore.providedBy(store):
        raise SettingError(f"{name} gave {store!r}, which does not provide IMailStore")
    return store
