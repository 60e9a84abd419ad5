"""`rebalancer db`: the tables that people and portfolios are kept in."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import click

from rebalancer.entrypoints.cli.options import json_option, store


@click.group()
def db() -> None:
    """Look after the database that $REBALANCER_DATABASE_URL names."""


@db.command()
@click.argument("revision", required=False)
def upgrade(revision: str | None) -> None:
    """Bring the tables to what this version needs, or to REVISION: all the way or not at all.

    Where $REBALANCER_MONGO_URL is set, MongoDB gets its indexes and checks, too; if it is away, it
    gets them before the first that is kept there.

    \b
    Examples:
      rebalancer db upgrade
      REBALANCER_DATABASE_URL=sqlite:////var/lib/rebalancer.db rebalancer db upgrade
    """
    from rebalancer.application.market_data import PrepareStores
    from rebalancer.application.ports.store import Database
    from rebalancer.domain.errors import Unavailable

    with store() as wired:
        database = wired.get(Database)
        before = database.revision()
        database.upgrade(revision)
        _moved(before, database.revision())
        try:
            wired.get(PrepareStores)()
        except Unavailable as error:
            click.echo(f"Caution: {error}", err=True)


@db.command()
@click.argument("revision", required=False)
@click.option("--yes", is_flag=True, help="Do not ask.")
def downgrade(revision: str | None, yes: bool) -> None:
    """Bring the tables back by one revision, or to REVISION; "base" is without any.

    What has no place in the older tables is lost: make a copy first.

    \b
    Examples:
      rebalancer db downgrade
      rebalancer db downgrade base --yes
    """
    from rebalancer.application.ports.store import Database

    with store() as wired:
        database = wired.get(Database)
        before = database.revision()
        to = revision or "the one before"
        if not yes and not click.confirm(
            f"Go back from revision {before or 'base'} to {to}? What does not fit there is lost"
        ):
            click.echo("Nothing was changed.")
            return
        database.downgrade(revision)
        _moved(before, database.revision())


@db.command()
@json_option
def current(as_json: bool) -> None:
    """Say which revision the tables are at, and which one this version needs.

    \b
    Example:
      rebalancer db current
    """
    import json

    from rebalancer.application.ports.store import Database

    with store() as wired:
        database = wired.get(Database)
        at, newest = database.revision(), database.newest()
    if as_json:
        click.echo(json.dumps({"revision": at, "newest": newest}))
    elif at == newest:
        click.echo(f"{at}, the newest")
    else:
        click.echo(f"{at or 'no tables'}; this version needs {newest}: rebalancer db upgrade")


@db.command()
@json_option
def check(as_json: bool) -> int:
    """Make sure that the tables are as they should be, and that every ledger adds up.

    Each finding stands on a line of its own, and the exit code is then 3.

    \b
    Example:
      rebalancer db check
    """
    import json

    from rebalancer.application.ports.store import Database

    with store() as wired:
        found = wired.get(Database).findings()
    if as_json:
        click.echo(json.dumps(found, indent=2, ensure_ascii=False))
    else:
        click.echo("\n".join(found) if found else "All is well.")
    return 3 if found else 0


@db.command()
@click.argument("file", type=click.Path(path_type=Path))
@json_option
def backup(file: Path, as_json: bool) -> None:
    """Write all that is kept into FILE, as of one moment, while servers and workers go on.

    FILE must not be there yet, and appears once it is whole. It is alike for SQLite and Postgres,
    and holds what everybody keeps, password hashes included: only its owner may read it.

    \b
    Examples:
      rebalancer db backup "rebalancer-$(date +%F).jsonl.gz"
      REBALANCER_DATABASE_URL=postgresql://user@host/rebalancer rebalancer db backup all.jsonl.gz
    """
    from rebalancer.application.ports.store import Database
    from rebalancer.entrypoints.cli.screen import stages

    with store() as wired, stages() as begin:
        rows = wired.get(Database).backup(file, progress=begin("Writing", "rows"))
    _told(rows, file, as_json, "Wrote", "to")


@db.command()
@click.argument("file", type=click.Path(path_type=Path))
@json_option
def restore(file: Path, as_json: bool) -> None:
    """Fill empty tables with what `rebalancer db backup` wrote into FILE: all of it or nothing.

    The tables must be there, at the revision that the backup was taken of, and empty. The database
    may be of another kind than the one that was backed up: this is also the way from SQLite to
    Postgres, and back.

    \b
    Examples:
      rebalancer db upgrade && rebalancer db restore all.jsonl.gz && rebalancer db check
      rebalancer db upgrade 0001 && rebalancer db restore old.jsonl.gz && rebalancer db upgrade
    """
    from rebalancer.application.ports.store import Database
    from rebalancer.entrypoints.cli.screen import stages

    with store() as wired, stages() as begin:
        database = wired.get(Database)
        rows = database.restore(file, progress=begin("Restoring", "rows"))
        at, newest = database.revision(), database.newest()
    _told(rows, file, as_json, "Restored", "from")
    if at != newest and not as_json:
        click.echo(f"At revision {at}; this version needs {newest}: rebalancer db upgrade")


def _told(rows: Mapping[str, int], file: Path, as_json: bool, what: str, how: str) -> None:
    import json

    total = sum(rows.values())
    if as_json:
        click.echo(json.dumps({"file": str(file), "rows": total, "tables": dict(rows)}))
    else:
        click.echo(f"{what} {total:,} rows of {len(rows)} tables {how} {file}.")


def _moved(before: str | None, after: str | None) -> None:
    if before == after:
        click.echo(f"At revision {after or 'base'} already.")
    else:
        click.echo(f"From revision {before or 'base'} to {after or 'base'}.")
