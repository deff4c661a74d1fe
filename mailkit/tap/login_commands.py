"""``mailkit account app-password`` and ``main-password``: what else an account logs in with."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from typing import Any

import click

from mailkit.tap.administration import administer, find_account
from mailkit.tap.errors import SettingError

#: Characters of a label.
MAX_LABEL = 100
#: Days that a limit may be away; more is likely to be a slip.
MAX_DAYS = 36_500
#: Scopes of an app password that names none: what a mail program needs.
DEFAULT_SCOPES = "imap,pop3,smtp"


@click.group("app-password")
def app_password() -> None:
    """App passwords, one for each program.

    Each is for some services, perhaps until some day.
    """


@app_password.command("add")
@click.argument("address")
@click.option("--label", default="", help="What it is for, such as: Ann's phone")
@click.option(
    "--scopes",
    metavar="SCOPE,...",
    default=DEFAULT_SCOPES,
    show_default=True,
    help="What it is taken for: imap, pop3, smtp (sending), ftp, web.",
)
@click.option(
    "--expires", metavar="DAYS|DATE", help="How many days it is good for, or until which (UTC)."
)
@click.pass_obj
def add_app_password(
    store: str, address: str, label: str, scopes: str, expires: str | None
) -> None:
    """Make an app password for ADDRESS, and show it once.

    Dashes and letter case make no difference when it is typed.
    """
    from mailkit.auth.app_passwords import new_app_password
    from mailkit.errors import AccountExists

    wanted = _scopes("--scopes", scopes)
    if not wanted:
        raise click.BadParameter("it would be good for nothing", param_hint="--scopes")
    if len(label) > MAX_LABEL or not label.isprintable():
        raise click.BadParameter(
            f"a label is one line of at most {MAX_LABEL} characters", param_hint="--label"
        )
    now = int(time.time())
    until = None if expires is None else _point_in_time(expires, now)

    async def work(directory: Any) -> None:
        _check(store, directory)
        name = await find_account(directory, address)
        while True:
            shown, kept = new_app_password(wanted, now, label=label, expires=until)
            try:
                await directory.add_app_password(account=name, password=kept)
            except AccountExists:
                # A prefix that the account has already: one in a million.
                continue
            break
        click.echo(shown)
        limit = "" if until is None else f", until {_date(until - 1)}"
        click.echo(f"For {name}, for {', '.join(sorted(wanted))}{limit}.", err=True)

    administer(store, work, about=address)


@app_password.command("list")
@click.argument("address")
@click.pass_obj
def list_app_passwords(store: str, address: str) -> None:
    """Show the app passwords of the account ADDRESS.

    One a line, each by how it begins.
    """

    async def work(directory: Any) -> None:
        _check(store, directory)
        name = await find_account(directory, address)
        now = time.time()
        for found in await directory.list_app_passwords(account=name):
            parts = [found.prefix, ",".join(sorted(found.scopes)), f"made {_date(found.created)}"]
            if found.expires is not None:
                ended = found.expires <= now
                parts.append(f"{'expired' if ended else 'until'} {_date(found.expires - 1)}")
            if found.used is None:
                parts.append("never used")
            else:
                place = f" from {found.used_from}" if found.used_from else ""
                parts.append(f"last used {_date(found.used)}{place} by {found.used_by}")
            click.echo("; ".join([*parts, *filter(None, [found.label])]))

    administer(store, work, about=address)


@app_password.command("remove")
@click.argument("address")
@click.argument("prefix")
@click.pass_obj
def remove_app_password(store: str, address: str, prefix: str) -> None:
    """Take no more the one that begins with PREFIX.

    It is an app password of the account ADDRESS.
    """

    async def work(directory: Any) -> None:
        _check(store, directory)
        name = await find_account(directory, address)
        await directory.remove_app_password(account=name, prefix=prefix)
        click.echo(f"Removed {prefix} of {name}.")

    administer(store, work, about=address)


@click.command("main-password")
@click.argument("address")
@click.option("--only-for", metavar="SCOPE,...|none", help="Take it for these alone, or nowhere.")
@click.option("--everywhere", is_flag=True, help="Take it for everything again.")
@click.pass_obj
def main_password(store: str, address: str, only_for: str | None, everywhere: bool) -> None:
    """Show or set what the own password is taken for.

    With `--only-for web` or `none` its mail programs need app passwords.
    """
    if only_for is not None and everywhere:
        raise click.UsageError("give --only-for or --everywhere, not both")
    wanted = None if only_for is None else _scopes("--only-for", only_for, nothing="none")

    async def work(directory: Any) -> None:
        _check(store, directory)
        name = await find_account(directory, address)
        if only_for is not None or everywhere:
            await directory.set_password_scopes(account=name, scopes=wanted)
        found = await directory.get_password_scopes(account=name)
        text = "everything" if found is None else ", ".join(sorted(found)) or "nothing"
        click.echo(f"taken for: {text}")

    administer(store, work, about=address)


def _check(store: str, directory: Any) -> None:
    from mailkit.interfaces import IAppPasswordDirectory

    if not IAppPasswordDirectory.providedBy(directory):
        raise SettingError(f"{store} has no app passwords")


def _scopes(option: str, text: str, nothing: str = "") -> Sequence[str]:
    from mailkit.auth.app_passwords import SCOPES

    if text == nothing:
        return []
    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        if name not in SCOPES:
            raise click.BadParameter(f"{name!r} is none of {', '.join(SCOPES)}", param_hint=option)
    return names


def _point_in_time(text: str, now: int) -> int:
    """Seconds since the epoch, in a number of days or at the end of a day."""
    try:
        if text.isdecimal():
            days = int(text[:10])
            point = now + days * 86_400
        else:
            day = datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=timezone.utc)
            point = int((day + timedelta(days=1)).timestamp())
            days = (point - now) // 86_400
    except (ValueError, OverflowError):
        raise click.BadParameter(
            f"{text!r} is neither a number of days nor a date such as 2027-01-31",
            param_hint="--expires",
        ) from None
    if point <= now or days > MAX_DAYS:
        raise click.BadParameter(f"{text} is past, or too far away", param_hint="--expires")
    return point


def _date(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%d")
