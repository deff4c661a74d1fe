"""``--auth``: who may log in, by Twisted's checkers, by user bases of ours, or by your own.

A base may be for the users of some domains alone: ``example.org,example.net=passwd-file:/etc/users``,
or in a settings file ``[[auth]]`` with ``domains``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from twisted.cred.checkers import FilePasswordDB, ICredentialsChecker
from twisted.cred.credentials import IUsernamePassword
from twisted.cred.strcred import (
    ICheckerFactory,
    InvalidAuthArgumentString,
    InvalidAuthType,
    findCheckerFactories,
)
from twisted.internet.interfaces import IReactorTime
from twisted.plugin import IPlugin
from zope.interface import Interface, implementer

from mailkit.auth.bases import UserBaseChecker
from mailkit.auth.checkers import AuthRule, ChainChecker, DirectoryChecker, StoreAccounts
from mailkit.auth.files import require_readable
from mailkit.auth.passwords import PasswordHasher
from mailkit.auth.provisioning import UserDirectory
from mailkit.interfaces import (
    IClosableUserBase,
    IDirectory,
    IDirectoryAdmin,
    IPasswordVerifier,
    IUserLookup,
)
from mailkit.tap.errors import SettingError
from mailkit.wire.domains import canonical_domain, is_dns_name

#: ``--auth store``: the store's own accounts, beside other checkers.
STORE_AUTH = "store"
#: What a base may do when it refuses somebody.
FAILURES = ("continue", "stop")

_DOMAINS = re.compile(r"([^:=]+)=(.*)", re.DOTALL)
# Not that of a URL's scheme.
_COLON = re.compile(r"(?<!\\):(?!//)")


@implementer(ICheckerFactory, IPlugin)
class UserBaseFactory:
    """A plug-in (in ``twisted.plugins``) that adds a user base to ``--auth``.

    :param auth_type: what stands before the first colon.
    :param help_text: what ``--help-auth-type`` shows.
    :param first: the setting that needs no name; the only one that must be given.
    :param settings: what makes a value of each setting's text, by name; raises ValueError.
    :param module: where the function ``make`` is, which takes these settings by name and
        ``domains``, and gives the base, or a checker. It may raise ValueError, or ImportError with
        a text that tells what to install.
    :param interface: of the credentials.
    """

    def __init__(
        self,
        auth_type: str,
        help_text: str,
        first: str,
        settings: Mapping[str, Callable[[str], Any]],
        module: str,
        interface: type[Interface] = IUsernamePassword,
    ) -> None:
        self.credentialInterfaces = (interface,)
        self.authType = auth_type
        self.authHelp = help_text
        self.first = first
        self.settings = settings
        self.module = module
        others = "".join(f"[:{name}=...]" for name in settings if name != first)
        self.argStringFormat = f"{first.upper()}{others}"

    def generateChecker(self, argstring: str) -> ICredentialsChecker:
        """As Twisted calls it.

        :raises InvalidAuthArgumentString: a setting is wrong.
        """
        try:
            return self.make_checker(self.split(argstring))
        except SettingError as error:
            raise InvalidAuthArgumentString(str(error)) from error

    def split(self, argstring: str) -> dict[str, str]:
        """The settings in ``FIRST:name=value``, where a colon of a value has a backslash before it.

        :raises SettingError: there are parts of it that nobody knows.
        """
        found: dict[str, str] = {}
        for part in _COLON.split(argstring):
            text = part.replace("\\:", ":")
            name, equals, value = text.partition("=")
            if equals and name in self.settings:
                found[name] = value
            elif self.first not in found:
                found[self.first] = text
            else:
                raise SettingError(f"{text!r} is none of {', '.join(self.settings)}")
        return found

    def make_checker(
        self, settings: Mapping[str, str], domains: Sequence[str] = ()
    ) -> ICredentialsChecker:
        """The checker.

        :param domains: whose users it is for; empty for everybody.
        :raises SettingError: a setting is missing or wrong, or a library is missing.
        """
        from twisted.python.reflect import namedModule

        if not settings.get(self.first):
            raise SettingError(
                f"{self.first} is missing, as in {self.authType}:{self.argStringFormat}"
            )
        values: dict[str, Any] = {}
        for name, text in settings.items():
            if name not in self.settings:
                raise SettingError(f"{name} is none of {', '.join(self.settings)}")
            try:
                values[name.replace("-", "_")] = self.settings[name](text)
            except ValueError as error:
                raise SettingError(f"{name}: {error}") from error
        try:
            made = namedModule(self.module).make(domains=tuple(domains), **values)
        except (ValueError, ImportError) as error:
            raise SettingError(str(error)) from error
        return made if ICredentialsChecker.providedBy(made) else UserBaseChecker(made)


class Checkers:
    """Who may log in to a service, and who gets mail there.

    :param checkers: checkers and rules; empty for the store's own accounts alone.
    :param store_accounts: the store's own accounts come before them.
    :param create_accounts: users get accounts of the store when they need one.
    """

    def __init__(
        self,
        checkers: Sequence[ICredentialsChecker | AuthRule],
        store_accounts: bool = False,
        create_accounts: bool = True,
    ) -> None:
        self.rules = [c if isinstance(c, AuthRule) else AuthRule(c) for c in checkers]
        self._store_accounts = store_accounts
        self._create_accounts = create_accounts

    def __bool__(self) -> bool:
        return bool(self.rules)

    def make(self, store: Any, hasher: PasswordHasher) -> list[ICredentialsChecker | AuthRule]:
        """The checkers of a portal; none for the store's own accounts."""
        made: list[ICredentialsChecker | AuthRule] = []
        if self.rules and self._store_accounts:
            made.append(DirectoryChecker(store, hasher))
        for rule in self.rules:
            if isinstance(rule.checker, StoreAccounts):
                rule = replace(rule, checker=DirectoryChecker(store, hasher))
            elif isinstance(rule.checker, UserBaseChecker):
                rule.checker.use_hasher(hasher)
            made.append(rule)
        return made

    def creates(self, store: Any) -> bool:
        """Whether users get accounts there."""
        return bool(self.rules) and self._create_accounts and IDirectoryAdmin.providedBy(store)

    def directory(self, store: Any, clock: IReactorTime) -> Any:
        """Who gets mail in the store: its own accounts, and users of the bases that can be asked."""
        if not IDirectory.providedBy(store) or not any(
            IUserLookup.providedBy(rule.checker) for rule in self.rules
        ):
            return store
        return UserDirectory(
            store,
            ChainChecker(self.rules),
            create_accounts=self.creates(store),
            seconds=clock.seconds,
        )

    async def close(self) -> None:
        """Release what the bases hold."""
        for rule in self.rules:
            if IClosableUserBase.providedBy(rule.checker):
                await rule.checker.close()


def parse_rule(description: str) -> AuthRule:
    """What ``[DOMAIN,...=]AUTH`` stands for.

    :raises SettingError: there is no such checker, or its settings are wrong.
    """
    found = _DOMAINS.match(description)
    if found is None:
        return AuthRule(make_checker(description))
    domains = parse_domains(found[1].split(","))
    return AuthRule(make_checker(found[2], domains), domains)


def parse_table(table: Any) -> AuthRule:
    """What one ``[[auth]]`` of a settings file stands for.

    :raises SettingError: as above, or it is no table.
    """
    if not isinstance(table, dict):
        raise SettingError("it is neither a string nor a table")
    settings = dict(table)
    name = settings.pop("base", None)
    if not isinstance(name, str):
        raise SettingError("an [[auth]] needs a base, such as passwd-file")
    domains = settings.pop("domains", [])
    domains = [domains] if isinstance(domains, str) else domains
    if not isinstance(domains, list) or not all(isinstance(each, str) for each in domains):
        raise SettingError("domains must be an array of strings")
    failure = settings.pop("failure", FAILURES[0])
    if failure not in FAILURES:
        raise SettingError(f"failure must be one of {', '.join(FAILURES)}")
    canonical = parse_domains(domains) if domains else ()
    return AuthRule(_from_table(name, settings, canonical), canonical, failure == "stop")


def _from_table(name: str, settings: Mapping[str, Any], domains: Sequence[str]) -> Any:
    factory = None if ":" in name else _find_factory(name)
    if not isinstance(factory, UserBaseFactory):
        if settings:
            scheme = name.partition(":")[0]
            advice = f"; what it takes stands in base, as for --auth: '{scheme}:...'"
            raise SettingError(
                f"{name} takes no settings such as {', '.join(settings)}"
                + (advice if name != STORE_AUTH else "")
            )
        return make_checker(name, domains)
    texts: dict[str, str] = {}
    for key, value in settings.items():
        if isinstance(value, bool):
            value = "yes" if value else "no"
        if not isinstance(value, (str, int, float)):
            raise SettingError(f"{key} must be a string, a number, true or false")
        texts[key] = str(value)
    return factory.make_checker(texts, domains)


def make_checker(description: str, domains: Sequence[str] = ()) -> ICredentialsChecker:
    """The checker that ``SCHEME:ARGUMENT`` or ``dotted.name[:argument]`` stands for.

    :raises SettingError: there is none, or it is for something else than names and passwords.
    """
    if description == STORE_AUTH:
        return StoreAccounts()
    scheme, colon, argument = description.partition(":")
    if "." in scheme:
        return _load(scheme, argument if colon else None)
    factory = _find_factory(scheme)
    if factory is None:
        raise SettingError(f"there is no {scheme!r}; --help-auth lists what there is")
    try:
        if isinstance(factory, UserBaseFactory):
            return factory.make_checker(factory.split(argument), domains)
        checker: ICredentialsChecker = factory.generateChecker(argument)
        if isinstance(checker, FilePasswordDB):
            # Without the file Twisted says that every password is wrong.
            require_readable(checker.filename)
    except (InvalidAuthType, InvalidAuthArgumentString, ValueError) as error:
        # Twisted's own raise ValueError too.
        raise SettingError(str(error) or f"give {scheme}:{factory.argStringFormat}") from error
    return _check_interfaces(checker, scheme)


def _find_factory(scheme: str) -> Any:
    for factory in findCheckerFactories():
        if factory.authType == scheme:
            return factory
    return None


def _load(name: str, argument: str | None) -> ICredentialsChecker:
    from twisted.python.reflect import namedAny

    try:
        found: Any = namedAny(name)
        if not _is_base(found):
            found = found() if argument is None else found(argument)
        elif argument is not None:
            raise ValueError("it takes no argument")
    except Exception as error:
        # Whatever a module of somebody else's may do when it is loaded.
        raise SettingError(f"cannot load {name}: {error or type(error).__name__}") from error
    if ICredentialsChecker.providedBy(found):
        return _check_interfaces(found, name)
    if not _is_base(found):
        raise SettingError(f"{name} gives {found!r}, which is neither a checker nor a user base")
    return UserBaseChecker(found)


def _is_base(found: Any) -> bool:
    return bool(
        ICredentialsChecker.providedBy(found)
        or IUserLookup.providedBy(found)
        or IPasswordVerifier.providedBy(found)
    )


def _check_interfaces(checker: ICredentialsChecker, name: str) -> ICredentialsChecker:
    if IUsernamePassword not in checker.credentialInterfaces:
        raise SettingError(f"{name} knows no user names with passwords")
    return checker


def parse_domains(names: Collection[str]) -> tuple[str, ...]:
    """Domains in their canonical form.

    :raises SettingError: one of them is none.
    """
    found = []
    for name in names:
        domain = canonical_domain(name.strip())
        if not domain or not is_dns_name(domain):
            raise SettingError(f"{name!r} is no domain")
        found.append(domain)
    return tuple(found)


def parse_seconds(text: str) -> float:
    """A time above zero.

    :raises ValueError: it is none.
    """
    seconds = float(text)
    if not 0 < seconds <= 3600:
        raise ValueError("seconds must be above 0, and 3600 at most")
    return seconds


def parse_list(text: str) -> Sequence[str]:
    """Texts that are parted by commas.

    :raises ValueError: there are none.
    """
    found = [part.strip() for part in text.split(",") if part.strip()]
    if not found:
        raise ValueError("it is empty")
    return found


def parse_switch(text: str) -> bool:
    """``yes`` or ``no``.

    :raises ValueError: it is neither.
    """
    if text not in ("yes", "no"):
        raise ValueError("write yes or no")
    return text == "yes"
