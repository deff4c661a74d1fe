"""``mailkit account totp``: codes of a device as a second factor."""

from __future__ import annotations

import time
from datetime import datetime
from typing import Any

import click

from mailkit.tap.administration import administer, find_account
from mailkit.tap.errors import SettingError


@click.group()
def totp() -> None:
    """Codes of a device (TOTP).

    An account's own password is not taken without them.
    """


@totp.command("enable")
@click.argument("address")
@click.option(
    "--window",
    type=int,
    default=1,
    show_default=True,
    help="Codes of 30 seconds each that are taken before and after the one of now.",
)
@click.option("--issuer", help="What the device calls the server.  [default: the domain]")
@click.pass_obj
def enable(store: str, address: str, window: int, issuer: str | None) -> None:
    """Ask ADDRESS for codes, and show what the device needs.

    After that line come codes that work without the device, once each; they are shown this once.
    """
    from mailkit.auth.totp import MAX_WINDOW, MissingLibrary, device_uri, new_second_factor

    if not 0 <= window <= MAX_WINDOW:
        raise click.BadParameter(f"from 0 to {MAX_WINDOW}", param_hint="--window")

    async def work(directory: Any) -> None:
        _check(store, directory)
        name = await find_account(directory, address)
        if await directory.get_second_factor(account=name) is not None:
            raise click.ClickException(f"{name} has a device already; `totp disable` forgets it")
        try:
            factor, codes = new_second_factor(window)
            uri = device_uri(factor, name, issuer or name.rpartition("@")[2])
        except MissingLibrary as error:
            raise click.ClickException(str(error)) from error
        await directory.set_second_factor(account=name, factor=factor)
        click.echo(uri)
        for code in codes:
            click.echo(code)

    administer(store, work, about=address)


@totp.command("show")
@click.argument("address")
@click.option("--issuer", help="What the device calls the server.  [default: the domain]")
@click.pass_obj
def show(store: str, address: str, issuer: str | None) -> None:
    """Show what another device of ADDRESS needs.

    That is a secret.
    """
    from mailkit.auth.totp import MissingLibrary, device_uri

    async def work(directory: Any) -> None:
        _check(store, directory)
        name = await find_account(directory, address)
        factor = await directory.get_second_factor(account=name)
        if factor is None:
            click.echo(f"{name} needs no codes")
            return
        try:
            click.echo(device_uri(factor, name, issuer or name.rpartition("@")[2]))
        except MissingLibrary as error:
            raise click.ClickException(str(error)) from error
        click.echo(f"window: {factor.window}")
        click.echo(f"recovery codes left: {len(factor.recovery)}")
        if factor.forgotten > time.time():
            until = datetime.fromtimestamp(factor.forgotten).isoformat(" ", "minutes")
            click.echo(f"wrong codes behind the right password count until: {until}")

    administer(store, work, about=address)


@totp.command("disable")
@click.argument("address")
@click.pass_obj
def disable(store: str, address: str) -> None:
    """Take the password of the account ADDRESS without codes again."""

    async def work(directory: Any) -> None:
        _check(store, directory)
        name = await find_account(directory, address)
        await directory.set_second_factor(account=name, factor=None)
        click.echo(f"{name} needs no codes any more.")

    administer(store, work, about=address)


def _check(store: str, directory: Any) -> None:
    from mailkit.interfaces import ISecondFactorDirectory

    if not ISecondFactorDirectory.providedBy(directory):
        raise SettingError(f"{store} knows no second factors")
