"""`python -m service keys make|list|revoke`: one key more, all of them, one less."""

import sqlite3
from enum import StrEnum
from typing import Annotated

import typer

from service.access import Scope
from service.access.keys import Keys
from service.settings import Settings

app = typer.Typer(no_args_is_help=True, help="API keys, in the file ATTENDANT_KEYS_FILE.")


class May(StrEnum):
    """What a key is for."""

    infer = "infer"
    admin = "admin"


def _keys(*, create: bool = False) -> Keys:
    path = Settings().keys_file
    if path is None:
        typer.echo("ATTENDANT_KEYS_FILE says in which file the keys are", err=True)
        raise typer.Exit(2)
    try:
        return Keys(path, create=create)
    except (OSError, sqlite3.Error) as error:
        typer.echo(f"{path}: {error}", err=True)
        raise typer.Exit(1) from error


@app.command()
def make(
    name: Annotated[str, typer.Argument(help="For whom.")],
    scope: Annotated[list[May] | None, typer.Option(help="Default: infer.")] = None,
    per_minute: Annotated[int | None, typer.Option(min=1, help="Requests; also at once.")] = None,
    per_day: Annotated[int | None, typer.Option(min=1, help="Requests, from 0:00 UTC.")] = None,
) -> None:
    """Make a key and print it: nobody can read it again."""
    scopes: frozenset[Scope] = frozenset(one.value for one in scope or [May.infer])
    keys = _keys(create=True)
    typer.echo(keys.make(name, scopes, per_minute=per_minute, per_day=per_day))


@app.command(name="list")
def show() -> None:
    """Every key's id, name, scopes, requests a minute and a day."""
    for key in _keys().listed():
        most = (f"{key.per_minute or '-'}/min", f"{key.per_day or '-'}/day")
        typer.echo("  ".join((key.id, key.name, ",".join(sorted(key.scopes)), *most)))


@app.command()
def revoke(id_: Annotated[str, typer.Argument(metavar="ID", help="As `list` shows it.")]) -> None:
    """Forget a key; running workers refuse it from now on."""
    if not _keys().revoke(id_):
        typer.echo(f"there is no key {id_}", err=True)
        raise typer.Exit(1)
