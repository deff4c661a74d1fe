"""``--hook``: code of the operator's that judges mail while it is received."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple, TypeAlias, cast

from mailkit.tap.errors import SettingError, StartError
from mailkit.tap.listeners import MAIL_SCOPES, Scopes
from mailkit.tap.strict_options import StrictOptions
from mailkit.tap.values import check_numbers

#: Hooks of a mail service: objects and what ``--hook`` takes, for all services that take mail or by
#: service.
Hooks: TypeAlias = Sequence[object] | Mapping[str, Sequence[object]]


#: What ``[hook-settings]`` may have: the numbers of ``HookSettings``.
_NUMBERS: Mapping[str, type[int] | type[float]] = {
    "timeout": float,
    "message-timeout": float,
    "max-header": int,
    "max-records": int,
    "max-background": int,
}


class HookMaker(NamedTuple):
    """A hook that was looked up and is made when the service starts."""

    #: As the setting has it.
    name: str
    services: Collection[str]
    make: Callable[[], object]


def parse_hooks(hooks: Hooks, names: Scopes = MAIL_SCOPES) -> list[HookMaker]:
    """Look hooks up, without making them yet.

    :param names: services that take mail, and their named listeners.
    :raises SettingError: nothing has that name, it is no hook, or there is no such service.
    """
    if isinstance(hooks, str):
        raise SettingError("hooks is a list of hooks, not one text")
    if isinstance(hooks, Mapping):
        found = []
        for service, each in hooks.items():
            _check_service(service, names)
            found += [_parse(hook, names[service], names) for hook in each]
        return found
    return [_parse(hook, tuple(names), names) for hook in hooks]


def make_hooks(makers: Sequence[HookMaker]) -> dict[str, list[object]]:
    """The hooks by service and listener; one object serves all that it is for.

    :raises StartError: one of them cannot be made, or is no hook.
    """
    from mailkit.hooks import find_steps

    hooks: dict[str, list[object]] = {}
    for maker in makers:
        try:
            hook = maker.make()
            find_steps(hook)
        except Exception as error:
            # Whatever the code of somebody else's may do.
            reason = str(error) or type(error).__name__
            raise StartError("hook", maker.name, reason) from error
        for service in maker.services:
            hooks.setdefault(service, []).append(hook)
    return hooks


def _check_service(service: str, names: Scopes) -> None:
    if service not in names:
        raise SettingError(f"{service!r} has no hooks; known are {', '.join(names)}")


def _parse(hook: object, services: Collection[str], names: Scopes) -> HookMaker:
    if not isinstance(hook, str):
        return HookMaker(repr(hook), services, lambda: hook)
    head, _, rest = hook.partition(":")
    spec = hook
    if "." not in head:
        if not rest:
            raise SettingError(f"{hook!r} names no hook; write MODULE.NAME[:ARGUMENT]")
        _check_service(head, names)
        services, spec = names[head], rest
    name, colon, argument = spec.partition(":")
    from twisted.python.reflect import namedAny

    try:
        found: Any = namedAny(name)
    except Exception as error:
        # Whatever a module of somebody else's may do when it is loaded.
        raise SettingError(f"cannot load {name}: {error or type(error).__name__}") from error
    if colon:
        if not callable(found):
            raise SettingError(f"{name} takes no argument")
        return HookMaker(hook, services, lambda: found(argument))
    if isinstance(found, type):
        return HookMaker(hook, services, found)
    from mailkit.hooks import find_steps

    try:
        find_steps(found)
    except ValueError as error:
        raise SettingError(str(error)) from error
    return HookMaker(hook, services, lambda: found)


def parse_hook_settings(
    failure: str | None, trace: bool = True, table: Mapping[str, Any] | None = None
) -> Any:
    """The ``HookSettings`` that options ask for; None for the default.

    :param table: what the table ``[hook-settings]`` of a settings file takes.
    :raises SettingError: ``failure`` is none, or something in the table makes no sense.
    """
    if failure not in (None, "defer", "accept"):
        raise SettingError(f"{failure!r} is neither defer nor accept")
    if failure is None and trace and not table:
        return None
    # Loaded when used: an IMAP server has no need of SMTP.
    from mailkit.smtp.hooks import HookSettings

    numbers = check_numbers(table or {}, _NUMBERS)
    return HookSettings(failure=cast(Any, failure or "defer"), trace=trace, **numbers)


class HookOptions(StrictOptions):
    """The options, for commands that take mail."""

    optParameters: ClassVar[list[list[Any]]] = [
        [
            "hook-failure",
            None,
            None,
            "What a hook counts as that fails or takes too long: defer the mail, or accept it as"
            " far as this hook is concerned [default: defer]",
        ],
    ]
    optFlags: ClassVar[list[list[Any]]] = [
        ["no-hook-trace", None, "Do not tell in each message what the hooks have said of it"],
    ]
    list_settings = ["hook"]
    table_settings = ["hook-settings"]

    def opt_hook(self, name: str) -> None:
        """Let this judge mail while it is received: the dotted.name[:argument] of a function, of a
        hook, or of what gives one; for one service with SERVICE:dotted.name, such as
        smtp:mail.rules.Check. May be repeated."""
        self.lists["hook"].append(name)
