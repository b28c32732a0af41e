"""`python -m service canary|promote|rollback`: who answers; running services obey in a second."""

from typing import Annotated

import typer

from service import store
from service.rollout import routes
from service.rollout.routes import Route


def _refuse(why: str) -> typer.Exit:
    typer.echo(why, err=True)
    return typer.Exit(1)


def _versions(name: str) -> list[str]:
    """In the store, the newest first."""
    found = [tag.partition(":")[2] for tag in store.tags(name)]
    if not found:
        raise _refuse(f"the store has no model {name}")
    return found


def _set(name: str, route: Route | None) -> None:
    kept = {other: of for other, of in routes.read().items() if other != name}
    try:
        routes.write(kept if route is None else {**kept, name: route})
    except OSError as error:
        raise _refuse(f"{routes.path()}: {error.strerror}") from error
    if route is None:
        typer.echo(f"{name}: the newest version, {_versions(name)[0]}")
    elif route.candidate:
        shares = f"{route.weight:.1%} of the requests, shadows {route.shadow:.1%} of the others"
        typer.echo(f"{name}: {route.stable}; candidate {route.candidate}: {shares}")
    else:
        typer.echo(f"{name}: {route.stable}, until it is told otherwise")


def canary(
    model: Annotated[str, typer.Argument(metavar="NAME:VERSION", help="The candidate.")],
    weight: Annotated[float, typer.Option(min=0, max=1, help="Share that it answers.")] = 0.0,
    shadow: Annotated[
        float, typer.Option(min=0, max=1, help="Share of the rest that it computes for nobody.")
    ] = 0.0,
) -> None:
    """Try a version: it answers a share of the requests, or computes them after the answer."""
    name, _, version = model.partition(":")
    versions, now = _versions(name), routes.read().get(name)
    if version not in versions:
        raise _refuse(f"{name} has no version {version!r}; there are {', '.join(versions)}")
    others = [one for one in versions if one != version]
    stable = now.stable if now else next(iter(others), "")
    if stable not in others:
        raise _refuse(f"{model} has no other version beside it that could answer the rest")
    if not weight and not shadow:
        raise _refuse("say --weight, --shadow or both")
    _set(name, Route(stable=stable, candidate=version, weight=weight, shadow=shadow))


def promote(name: Annotated[str, typer.Argument(help="A model that has a candidate.")]) -> None:
    """Let the candidate answer everything; without one, the newest version again."""
    now = routes.read().get(name)
    newest = _versions(name)[0]
    keep = now is not None and now.candidate not in ("", newest)
    _set(name, Route(stable=now.candidate) if now and keep else None)


def rollback(name: Annotated[str, typer.Argument(help="A model.")]) -> None:
    """Give the candidate nothing more; without one, let the version before answer."""
    versions, now = _versions(name), routes.read().get(name)
    if now and now.candidate:
        _set(name, Route(stable=now.stable))
        return
    at = versions.index(now.stable) if now and now.stable in versions else 0
    if at + 1 == len(versions):
        raise _refuse(f"the store has no version of {name} before {versions[at]}")
    _set(name, Route(stable=versions[at + 1]))


def add_to(app: typer.Typer) -> None:
    for command in (canary, promote, rollback):
        app.command()(command)
