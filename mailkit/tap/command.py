"""The administrator's command: ``mailkit account|alias|domain|acl|queue|dkim ...``, ``check``, ...

Accounts, aliases and domains may be changed while a server runs. Each module that a command needs
is loaded by that command, as scripts call this one a hundred times in a row.
"""

from __future__ import annotations

import os
import sys
from typing import Any

import click

from mailkit import __version__
from mailkit.tap.acl import acl
from mailkit.tap.administration import (
    administer,
    existing_directory,
    find_account,
    refusals,
    run,
)
from mailkit.tap.backup_command import backup, restore
from mailkit.tap.dkim_command import dkim
from mailkit.tap.dns_command import dns_check
from mailkit.tap.errors import SettingError
from mailkit.tap.explain import explain
from mailkit.tap.import_command import import_
from mailkit.tap.login_commands import app_password, main_password
from mailkit.tap.maildrop_command import maildrop
from mailkit.tap.queue_command import queue
from mailkit.tap.quota_command import quota
from mailkit.tap.scram_command import scram, scram_option, set_password
from mailkit.tap.stores import DEFAULT_STORE, STORE_VARIABLE
from mailkit.tap.tls_report_command import tls_report
from mailkit.tap.totp_commands import totp
from mailkit.wire.domains import displayed_address, displayed_domain

#: Octets of a password, as protocols take them.
MAX_PASSWORD = 4096
#: How passwords may be kept; plain is for CRAM-MD5 and APOP, and for tests and benchmarks.
SCHEMES = ("argon2id", "plain")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--store",
    metavar="STORE",
    envvar=STORE_VARIABLE,
    default=DEFAULT_STORE,
    show_default=True,
    show_envvar=True,
    help="Where mail and accounts are kept: sqlite:DIR, or dotted.name[:argument].",
)
@click.version_option(__version__, prog_name="mailkit")
@click.pass_context
def main(context: click.Context, store: str) -> None:
    """Manage a mail store: accounts, aliases, domains, and its health.

    \b
    Examples:
      mailkit account add ann@example.org
      mailkit alias add info@example.org ann@example.org bob@example.org
      mailkit --store sqlite:/var/lib/mailkit check
    """
    context.obj = store


main.add_command(queue)
main.add_command(explain)
main.add_command(import_)
main.add_command(acl)
main.add_command(dkim)
main.add_command(dns_check)
main.add_command(scram)
main.add_command(tls_report)
main.add_command(backup)
main.add_command(restore)


# Accounts.


@main.group()
def account() -> None:
    """Accounts: users with a password and mailboxes."""


account.add_command(app_password)
account.add_command(main_password)
account.add_command(totp)
account.add_command(maildrop)
account.add_command(quota)


_password_stdin = click.option(
    "--password-stdin", is_flag=True, help="Read the password from standard input, one line."
)
_scheme = click.option(
    "--scheme",
    type=click.Choice(SCHEMES),
    default="argon2id",
    show_default=True,
    help="How the password is kept; plain: as it is, which CRAM-MD5 and APOP need.",
)


@account.command("add")
@click.argument("addresses", metavar="ADDRESS...", nargs=-1, required=True)
@click.option(
    "--password-stdin",
    is_flag=True,
    help="Read the passwords from standard input, a line an address.",
)
@click.option(
    "--no-password",
    is_flag=True,
    help="Nobody logs in by a password of the store: for mailboxes that others share, and for users"
    " whom --auth knows.",
)
@_scheme
@scram_option
@click.pass_obj
def add_account(
    store: str,
    addresses: tuple[str, ...],
    password_stdin: bool,
    no_password: bool,
    scheme: str,
    scram: bool | None,
) -> None:
    """Make the account ADDRESS, and serve its domain.

    Several are made one after the other, up to one that is refused.
    """
    from mailkit.store.addresses import canonical_address

    if no_password and (password_stdin or scram):
        raise click.UsageError("--no-password needs neither --password-stdin nor --scram")

    async def work(directory: Any) -> None:
        present = set(await directory.list_accounts())
        for address in addresses:
            with refusals(address):
                # What can be refused is refused before a password is asked for in vain.
                if canonical_address(address) in present:
                    raise click.ClickException(f"{address}: the account exists already")
                if len(addresses) > 1 and not (password_stdin or no_password):
                    click.echo(f"{address}:")
                if no_password:
                    await directory.add_account(name=address, password_hash=None)
                else:
                    password = _new_password(password_stdin, address)
                    hashed = _hash_password(password, scheme)
                    await directory.add_account(name=address, password_hash=hashed)
                    await set_password(store, directory, address, hashed, password, scram)
                click.echo(f"Added {address}.")

    administer(store, work, make=True)


@account.command("list")
@click.pass_obj
def list_accounts(store: str) -> None:
    """Show all accounts, one a line."""

    async def work(directory: Any) -> None:
        for name in await directory.list_accounts():
            click.echo(displayed_address(name))

    administer(store, work)


@account.command("passwd")
@click.argument("address")
@_password_stdin
@_scheme
@scram_option
@click.pass_obj
def change_password(
    store: str, address: str, password_stdin: bool, scheme: str, scram: bool | None
) -> None:
    """Give the account ADDRESS another password."""

    async def work(directory: Any) -> None:
        name = await find_account(directory, address)
        password = _new_password(password_stdin, address)
        hashed = _hash_password(password, scheme)
        await set_password(store, directory, name, hashed, password, scram)
        click.echo(f"Changed the password of {displayed_address(name)}.")

    administer(store, work, about=address)


@account.command("remove")
@click.argument("address")
@click.option("--yes", is_flag=True, help="Don't ask.")
@click.pass_obj
def remove_account(store: str, address: str, yes: bool) -> None:
    """Remove the account ADDRESS with all its mail.

    Aliases for it alone are removed, too.
    """

    async def work(directory: Any) -> None:
        name = await find_account(directory, address)
        if not yes:
            click.confirm(f"Remove {name} and all its mail?", abort=True)
        named = [alias for alias, targets in await directory.list_aliases() if name in targets]
        await directory.remove_account(name=name)
        click.echo(f"Removed {name}.")
        left = {alias for alias, _ in await directory.list_aliases()}
        for alias in named:
            fate = "still names it beside others" if alias in left else "led there alone: removed"
            click.echo(f"Alias {displayed_address(alias)} {fate}.")

    administer(store, work, about=address)


@account.command("capabilities")
@click.argument("address")
@click.option("--without", metavar="NAME", multiple=True, help="Leave out; may be repeated.")
@click.option("--all", "everything", is_flag=True, help="Leave nothing out any more.")
@click.pass_obj
def capabilities(store: str, address: str, without: tuple[str, ...], everything: bool) -> None:
    """Show or set what IMAP does not offer to ADDRESS.

    A change replaces what was set before, and holds from the next login on.
    """
    if without and everything:
        raise click.UsageError("give --without or --all, not both")
    from mailkit.tap.capabilities import parse_capabilities

    try:
        names = parse_capabilities(without)
    except SettingError as error:
        raise click.BadParameter(str(error), param_hint="--without") from error

    async def work(directory: Any) -> None:
        from mailkit.interfaces import IMaskDirectory

        if not IMaskDirectory.providedBy(directory):
            raise SettingError(f"{store} keeps no capabilities of accounts")
        name = await find_account(directory, address)
        if without or everything:
            await directory.set_imap_without(account=name, names=names)
        left_out = await directory.get_imap_without(account=name)
        click.echo(f"left out: {' '.join(left_out) or 'none'}")

    administer(store, work, about=address)


@account.command("administrators")
@click.option("--add", metavar="ADDRESS", help="Make this account's user one.")
@click.option("--remove", metavar="ADDRESS", help="Make this account's user none any more.")
@click.pass_obj
def administrators(store: str, add: str | None, remove: str | None) -> None:
    """Show or change whose users may log in as others.

    They also change quotas and server entries by IMAP.

    They log in as others with their own password, by the authorization identity of SASL.
    """

    async def work(directory: Any) -> None:
        from mailkit.interfaces import IAdministratorDirectory

        if not IAdministratorDirectory.providedBy(directory):
            raise SettingError(f"{store} has no administrators")
        for address, wanted in ((add, True), (remove, False)):
            if address is not None:
                name = await find_account(directory, address)
                await directory.set_administrator(account=name, administrator=wanted)
        for name in await directory.list_administrators():
            click.echo(displayed_address(name))

    administer(store, work, about=add or remove or "")


@account.group()
def delegate() -> None:
    """Delegates: accounts that may send as somebody else."""


@delegate.command("add")
@click.argument("address", metavar="ACCOUNT")
@click.argument("other", metavar="ADDRESS")
@click.pass_obj
def add_delegate(store: str, address: str, other: str) -> None:
    """Let ACCOUNT send as ADDRESS too.

    @example.org stands for all of that domain.
    """

    async def work(directory: Any) -> None:
        _check_delegates(store, directory)
        await directory.add_delegate(account=address, address=other)
        click.echo(f"{address} may send as {other}.")

    administer(store, work, about=address)


@delegate.command("list")
@click.pass_obj
def list_delegates(store: str) -> None:
    """Show who may send as somebody else, one a line.

    Each account with an address as which it may send.
    """

    async def work(directory: Any) -> None:
        _check_delegates(store, directory)
        for name, other in await directory.list_delegates():
            click.echo(f"{displayed_address(name)} {displayed_address(other)}")

    administer(store, work)


@delegate.command("remove")
@click.argument("address", metavar="ACCOUNT")
@click.argument("other", metavar="ADDRESS")
@click.pass_obj
def remove_delegate(store: str, address: str, other: str) -> None:
    """Don't let ACCOUNT send as ADDRESS any more."""

    async def work(directory: Any) -> None:
        _check_delegates(store, directory)
        await directory.remove_delegate(account=address, address=other)
        click.echo(f"{address} may not send as {other} any more.")

    administer(store, work, about=address)


def _check_delegates(store: str, directory: Any) -> None:
    from mailkit.interfaces import IDelegateAdmin

    if not IDelegateAdmin.providedBy(directory):
        raise SettingError(f"{store} has no delegates")


# Aliases.


@main.group()
def alias() -> None:
    """Aliases: addresses whose mail goes to others."""


@alias.command("add")
@click.argument("address", metavar="ALIAS")
@click.argument("targets", metavar="TARGET...", nargs=-1, required=True)
@click.pass_obj
def add_alias(store: str, address: str, targets: tuple[str, ...]) -> None:
    """Send mail for ALIAS to each TARGET.

    @example.org is the catch-all of that domain.
    """

    async def work(directory: Any) -> None:
        await directory.add_alias(alias=address, targets=targets)
        click.echo(f"Added {address}.")

    administer(store, work, about=address)


@alias.command("list")
@click.pass_obj
def list_aliases(store: str) -> None:
    """Show all aliases, one a line, each with its targets."""

    async def work(directory: Any) -> None:
        for address, targets in await directory.list_aliases():
            click.echo(" ".join(map(displayed_address, (address, *targets))))

    administer(store, work)


@alias.command("remove")
@click.argument("address", metavar="ALIAS")
@click.pass_obj
def remove_alias(store: str, address: str) -> None:
    """Remove ALIAS."""

    async def work(directory: Any) -> None:
        await directory.remove_alias(alias=address)
        click.echo(f"Removed {address}.")

    administer(store, work, about=address)


# Domains.


@main.group()
def domain() -> None:
    """Domains whose mail is taken."""


@domain.command("add")
@click.argument("name", metavar="DOMAIN")
@click.pass_obj
def add_domain(store: str, name: str) -> None:
    """Serve DOMAIN."""

    async def work(directory: Any) -> None:
        await directory.add_domain(domain=name)
        click.echo(f"Added {name}.")

    administer(store, work, about=name, make=True)


@domain.command("list")
@click.pass_obj
def list_domains(store: str) -> None:
    """Show all domains, one a line."""

    async def work(directory: Any) -> None:
        for name in await directory.list_domains():
            click.echo(displayed_domain(name))

    administer(store, work)


@domain.command("remove")
@click.argument("name", metavar="DOMAIN")
@click.pass_obj
def remove_domain(store: str, name: str) -> None:
    """Stop serving DOMAIN, which must have no accounts and aliases left."""

    async def work(directory: Any) -> None:
        await directory.remove_domain(domain=name)
        click.echo(f"Removed {name}.")

    administer(store, work, about=name)


# Health.


@main.command()
@click.pass_obj
def check(store: str) -> None:
    """Read the whole store and tell what is damaged.

    A server may be running. The exit code is 1 when something is damaged.
    """
    path = existing_directory(store)
    from mailkit.store.sqlite.check import check_store

    with refusals(store):
        report = check_store(path)
    for line in report.notes:
        click.echo(f"note: {line}")
    for line in report.problems:
        click.echo(line)
    counts = ", ".join(f"{name}: {count}" for name, count in report.counts.items())
    click.echo(f"{path}: {'whole' if report.ok else 'DAMAGED'}{counts and f' ({counts})'}")
    if not report.ok:
        raise click.exceptions.Exit(1)


@main.command()
@click.pass_obj
def repair(store: str) -> None:
    """Make the index anew from the mail itself.

    No server may be running.
    """
    path = existing_directory(store)
    from mailkit.store.sqlite.belonging import acting_as_store_owner
    from mailkit.store.sqlite.repair import repair_store

    with refusals(store), acting_as_store_owner(path):
        report = repair_store(path)
    for line in report.lines:
        click.echo(line)
    click.echo(f"{path}: {report.messages} messages are there, {report.lost} are lost.")


@main.command()
@click.pass_obj
def compact(store: str) -> None:
    """Give back the space of removed mail.

    A running server does so by itself; this is for a store that no server has open.
    """
    path = existing_directory(store)
    from mailkit.store.sqlite import SQLiteStore
    from mailkit.store.sqlite.belonging import acting_as_store_owner

    async def work() -> None:
        opened = SQLiteStore(path)
        try:
            await opened.compact()
        finally:
            await opened.close()

    before = _octets(path)
    with refusals(store), acting_as_store_owner(path):
        run(work())
    click.echo(f"{path}: {before} octets before, {_octets(path)} now.")


def _octets(path: str) -> int:
    """What the files below a directory take."""
    files = (os.path.join(folder, name) for folder, _, names in os.walk(path) for name in names)
    return sum(os.path.getsize(file) for file in files if os.path.exists(file))


# What commands need.


def _new_password(from_stdin: bool, address: str) -> bytes:
    """Ask for a password, or read it."""
    if from_stdin:
        line = sys.stdin.buffer.readline(MAX_PASSWORD + 2)
        password = line.removesuffix(b"\n").removesuffix(b"\r")
    else:
        prompted: str = click.prompt("Password", hide_input=True, confirmation_prompt=True)
        password = prompted.encode("utf-8", "surrogateescape")
    if not password:
        raise click.ClickException(f"{address}: the password is empty")
    if b"\0" in password:
        raise click.ClickException(f"{address}: a password cannot have a NUL")
    if len(password) > MAX_PASSWORD:
        raise click.ClickException(f"{address}: the password is longer than {MAX_PASSWORD} octets")
    return password


def _hash_password(password: bytes, scheme: str) -> str:
    """What the store keeps of a password."""
    from mailkit.auth.passwords import PLAIN_PREFIX, hash_password

    if scheme == "argon2id":
        return hash_password(password)
    try:
        return PLAIN_PREFIX + password.decode("utf-8")
    except UnicodeDecodeError:
        raise click.ClickException("a password that is kept plain must be UTF-8") from None


if __name__ == "__main__":
    main()
