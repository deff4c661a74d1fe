"""``mailkit scram``: whether a store keeps what SCRAM needs of passwords, and who has it."""

from __future__ import annotations

from typing import Any

import click

from mailkit.tap.administration import administer
from mailkit.tap.errors import SettingError
from mailkit.wire.domains import displayed_address
from mailkit.wire.scram import HASHES

#: What keys are made for unless something else is asked for: what clients have.
DEFAULT_MECHANISMS = ("SCRAM-SHA-256",)


def scram_option(command: Any) -> Any:
    """``--scram`` of a command that sets a password."""
    return click.option(
        "--scram/--no-scram",
        default=None,
        help="Keep keys for SCRAM too, or not [default: as `mailkit scram` says].",
    )(command)


async def set_password(
    store: str, directory: Any, account: str, hashed: str, password: bytes, scram: bool | None
) -> None:
    """Change a password, and the keys with it.

    :raises SettingError: keys are wanted of a directory that has none.
    """
    from mailkit.auth.scram import keys_of
    from mailkit.interfaces import IScramDirectory

    if not IScramDirectory.providedBy(directory):
        if scram:
            raise _no_keys(store)
        await directory.set_password_hash(account=account, password_hash=hashed)
        return
    policy = await directory.get_scram_policy()
    wanted = policy if scram is None else (policy or DEFAULT_MECHANISMS) if scram else ()
    keys = keys_of(password, wanted)
    await directory.set_password(account=account, password_hash=hashed, scram_keys=keys)


@click.group()
def scram() -> None:
    """Logins by SCRAM, which proves a password without sending it.

    Its keys are kept beside the hashes of passwords. Whoever steals the store can try passwords
    against them a thousand times faster, so a store keeps none unless it is told to.
    """


@scram.command("on")
@click.option(
    "--mechanism",
    "mechanisms",
    type=click.Choice(list(HASHES)),
    multiple=True,
    help="Make keys for it; may be repeated [default: SCRAM-SHA-256].",
)
@click.pass_obj
def switch_on(store: str, mechanisms: tuple[str, ...]) -> None:
    """Make keys of passwords from now on.

    That is when they are set, and when users log in by them.

    Clients are offered SCRAM once every account that has a password has keys, and as long as none has
    app passwords or codes of a device.
    """

    async def work(directory: Any) -> None:
        _check(store, directory)
        await directory.set_scram_policy(mechanisms=mechanisms or DEFAULT_MECHANISMS)
        await _show(directory)

    administer(store, work)


@scram.command("off")
@click.pass_obj
def switch_off(store: str) -> None:
    """Make no keys any more, and forget those that there are."""

    async def work(directory: Any) -> None:
        _check(store, directory)
        await directory.set_scram_policy(mechanisms=())
        await _show(directory)

    administer(store, work)


@scram.command("status")
@click.pass_obj
def status(store: str) -> None:
    """Show what keys are made for.

    Also what clients are offered, who has no keys yet, and who keeps it from being offered.
    """

    async def work(directory: Any) -> None:
        _check(store, directory)
        await _show(directory)

    administer(store, work)


async def _show(directory: Any) -> None:
    policy = await directory.get_scram_policy()
    click.echo(f"keys are made for: {', '.join(policy) or 'nothing'}")
    offered = await directory.list_scram_mechanisms()
    click.echo(f"clients are offered: {', '.join(offered) or 'nothing'}")
    if set(policy) <= set(offered):
        return
    in_the_way = {
        account: reason
        for account in await directory.list_accounts()
        if (reason := await _find_reason(directory, account))
    }
    for mechanism in policy:
        for account in await directory.list_without_scram_keys(mechanism=mechanism):
            if account not in in_the_way:
                click.echo(f"no keys for {mechanism}: {displayed_address(account)}")
    for account, reason in in_the_way.items():
        click.echo(f"not offered to anybody: {displayed_address(account)} {reason}")


async def _find_reason(directory: Any, account: str) -> str:
    """Why an account could not log in by SCRAM, whatever keys it has; empty if it could."""
    from mailkit.interfaces import IAppPasswordDirectory, ISecondFactorDirectory

    if IAppPasswordDirectory.providedBy(directory):
        if await directory.list_app_passwords(account=account):
            return "has app passwords"
        if await directory.get_password_scopes(account=account) is not None:
            return "has a password that is not taken everywhere"
    has_codes = ISecondFactorDirectory.providedBy(directory)
    if has_codes and await directory.get_second_factor(account=account) is not None:
        return "needs codes of a device"
    return ""


def _check(store: str, directory: Any) -> None:
    from mailkit.interfaces import IScramDirectory

    if not IScramDirectory.providedBy(directory):
        raise _no_keys(store)


def _no_keys(store: str) -> SettingError:
    return SettingError(f"{store} keeps no keys for SCRAM")
