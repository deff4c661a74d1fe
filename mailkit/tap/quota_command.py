"""``mailkit account quota``: what accounts may have."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from mailkit.tap.administration import administer, find_account
from mailkit.tap.errors import SettingError
from mailkit.tap.values import parse_count, parse_file_quota, parse_limit, parse_size

#: Goes back to what the server says for all.
DEFAULT = "default"


@click.command("quota")
@click.argument("address", required=False)
@click.option("--default", "everybody", is_flag=True, help="Set limits for all other accounts.")
@click.option(
    "--storage",
    metavar="SIZE",
    help="What mail may take: 5G; none for no limit, default for what --default says.",
)
@click.option("--messages", metavar="N", help="How many messages there may be; none, default.")
@click.option("--mailboxes", metavar="N", help="How many mailboxes there may be; none, default.")
@click.option(
    "--files",
    metavar="SIZE[,N]",
    help="What files may take that FTP serves, and how many files and directories there may be;"
    " none, or default for what the server says by --ftp-quota.",
)
@click.pass_obj
def quota(
    store: str,
    address: str | None,
    everybody: bool,
    storage: str | None,
    messages: str | None,
    mailboxes: str | None,
    files: str | None,
) -> None:
    """Show or set how much mail and files ADDRESS may have.

    Limits of mail that are not named stay as they are; --files sets both of its own. Files keep to
    new limits from the next login on.
    """
    if (address is None) is not everybody:
        raise click.UsageError("give an ADDRESS, or --default for the accounts without own limits")
    named = {
        place: _limit(option, text, parse)
        for place, (option, text, parse) in enumerate(
            (
                ("--storage", storage, parse_size),
                ("--messages", messages, parse_count),
                ("--mailboxes", mailboxes, parse_count),
            )
        )
        if text is not None
    }
    of_files = _file_limits(files)

    async def work(directory: Any) -> None:
        from mailkit.interfaces import IFileQuotaDirectory, IQuotaDirectory

        has_mail = IQuotaDirectory.providedBy(directory)
        has_files = IFileQuotaDirectory.providedBy(directory)
        if not has_mail and (named or not has_files):
            raise SettingError(f"{store} has no quotas")
        if files is not None and not has_files:
            raise SettingError(f"{store} has no quotas of files")
        name = None if address is None else await find_account(directory, address)
        if named:
            own = await directory.get_own_limits(account=name)
            octets, count, boxes = (named.get(place, limit) for place, limit in enumerate(own))
            await directory.set_quota(
                account=name, max_octets=octets, max_messages=count, max_mailboxes=boxes
            )
        if files is not None:
            octets, count = of_files
            await directory.set_file_quota(account=name, max_octets=octets, max_files=count)
        if name is not None:
            if has_mail:
                await _show_mail(directory, name)
            if has_files:
                await _show_files(directory, name)
        elif not named and files is None:
            raise click.UsageError("--default needs --storage, --messages, --mailboxes or --files")

    administer(store, work, about=address or "")


async def _show_mail(directory: Any, account: str) -> None:
    found = await directory.get_quota(account=account)
    click.echo(f"storage: {found.octets} octets of {_or_none(found.max_octets)}")
    click.echo(f"messages: {found.messages} of {_or_none(found.max_messages)}")
    click.echo(f"mailboxes: {found.mailboxes} of {_or_none(found.max_mailboxes)}")


async def _show_files(directory: Any, account: str) -> None:
    octets, files = await directory.get_file_quota(account=account)
    # How much there is of them the server knows.
    click.echo(f"octets of files: {_or_default(octets)}")
    click.echo(f"files and directories: {_or_default(files)}")


def _limit(option: str, text: str, parse: Callable[[str], int]) -> int | None:
    """What ``set_quota`` takes: 0 for ``none``, None for ``default``."""
    if text == DEFAULT:
        return None
    try:
        return parse_limit(text, parse)
    except SettingError as error:
        raise click.BadParameter(str(error), param_hint=option) from error


def _file_limits(text: str | None) -> tuple[int | None, int | None]:
    if text is None or text == DEFAULT:
        return None, None
    if text == "none":
        return 0, 0
    try:
        return parse_file_quota(text)
    except SettingError as error:
        raise click.BadParameter(str(error), param_hint="--files") from error


def _or_none(limit: int | None) -> str:
    return "no limit" if limit is None else str(limit)


def _or_default(limit: int | None) -> str:
    return "as the server says" if limit is None else _or_none(limit or None)
