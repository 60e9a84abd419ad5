"""`rebalancer db`: migrate, check, back up and restore the database."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rebalancer.domain.errors import RebalancerError, Unavailable
from rebalancer.entrypoints.cli.options import FILE, json_option, open_container, settings, sources
from rebalancer.entrypoints.cli.remedies import REMEDIES, explain
from rebalancer.entrypoints.cli.screen import print_json, stages

if TYPE_CHECKING:
    from dishka import Container

    from rebalancer.application.ports.store import Database


@click.group()
def db() -> None:
    """Migrate, check, back up and restore the database of $REBALANCER_DATABASE_URL."""


@db.command()
@click.argument("revision", required=False)
def upgrade(revision: str | None) -> None:
    """Create or upgrade the tables to the newest revision, or to REVISION, in one transaction.

    If $REBALANCER_MONGO_URL is set, MongoDB gets its indexes and validators too; if it is
    unavailable now, they are created before the first write.

    \b
    Examples:
      rebalancer db upgrade
      REBALANCER_DATABASE_URL=sqlite:////var/lib/rebalancer.db rebalancer db upgrade
    """
    from rebalancer.application.market_data import PrepareStores

    wired, database = _open_database()
    before = database.revision()
    database.upgrade(revision)
    _print_revisions(before, database.revision())
    try:
        wired.get(PrepareStores)()
    except Unavailable as error:
        click.echo(f"Caution: {explain(error)}", err=True)


@db.command()
@click.argument("revision", required=False)
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
def downgrade(revision: str | None, yes: bool) -> None:
    """Downgrade the tables by one revision, or to REVISION; "base" removes them.

    Data that the older tables cannot hold are lost: make a backup first.

    \b
    Examples:
      rebalancer db downgrade
      rebalancer db downgrade base --yes
    """
    _, database = _open_database()
    before = database.revision()
    to = revision or "the previous one"
    if not yes and not click.confirm(
        f"Downgrade from revision {before or 'base'} to {to}? Data that do not fit are lost"
    ):
        click.echo("Nothing was changed.")
        return
    database.downgrade(revision)
    _print_revisions(before, database.revision())


@db.command()
@json_option
def current(as_json: bool) -> None:
    """Print the revision of the tables, and the revision that this version needs.

    \b
    Example:
      rebalancer db current
    """
    _, database = _open_database()
    at, newest = database.revision(), database.newest()
    if as_json:
        print_json({"revision": at, "newest": newest}, indent=None)
    elif at == newest:
        click.echo(f"{at} (newest)")
    else:
        click.echo(f"{at or 'no tables'}; this version needs {newest}, run `rebalancer db upgrade`")


@db.command()
@json_option
def check(as_json: bool) -> int:
    """Check the tables against their definition, every ledger against its portfolio, and the keys.

    Each finding is printed on a line; any finding makes the exit code 3. Imported assets without a
    current price are named, too, but do not count as findings.

    \b
    Example:
      rebalancer db check
    """
    from rebalancer.application.encryption import CheckKeys, KeyUnavailable
    from rebalancer.application.health import describe_withheld
    from rebalancer.application.stored_market import StoredMarket

    wired, database = _open_database()
    found, outdated = database.findings(), database.revision() != database.newest()
    if not outdated:
        try:
            wired.get(CheckKeys)()
        except KeyUnavailable as error:
            found = [*found, str(error)]
    if as_json:
        print_json(found)
    else:
        click.echo("\n".join(found) if found else "No findings.")
        if outdated:
            click.echo(REMEDIES["schema_outdated"], err=True)
    with suppress(RebalancerError):  # nothing is imported, or the tables are findings already
        if not outdated and (note := describe_withheld(wired.get(StoredMarket))):
            click.echo(f"Caution: imported prices {note}.", err=True)
    return 3 if found else 0


@db.command()
@click.argument("file", type=FILE)
@json_option
def backup(file: Path, as_json: bool) -> None:
    """Write a consistent snapshot of the database to FILE, while servers and workers run.

    FILE must not exist; it appears when it is complete. SQLite and Postgres use the same format.
    The file holds the data of all users, including password hashes, so only its owner can read it.
    With encryption keys ($REBALANCER_ENCRYPTION_KEYS) it is encrypted under the newest; without
    that key it cannot be restored.

    \b
    Examples:
      rebalancer db backup "rebalancer-$(date +%F).jsonl.gz"
      REBALANCER_DATABASE_URL=postgresql://user@host/rebalancer rebalancer db backup all.jsonl.gz
    """
    from rebalancer.application.encryption import CheckKeys

    settings().check_encryption()
    wired, database = _open_database()
    if database.revision() == database.newest():
        wired.get(CheckKeys)()  # with another key the file would need both
    with stages() as begin:
        rows = database.backup(file, progress=begin("Writing", "rows"))
    _print_rows(rows, file, as_json, "Wrote", "to")


@db.command()
@click.argument("file", type=FILE)
@json_option
def restore(file: Path, as_json: bool) -> None:
    """Restore a backup from FILE into empty tables, in one transaction.

    The tables must exist, be empty, and be at the revision of the backup. A backup of SQLite can be
    restored to Postgres and the reverse, so this also moves data between them. An encrypted backup
    needs the encryption key under which it was written.

    \b
    Examples:
      rebalancer db upgrade && rebalancer db restore all.jsonl.gz && rebalancer db check
      rebalancer db upgrade 0001 && rebalancer db restore old.jsonl.gz && rebalancer db upgrade
    """
    _, database = _open_database()
    with stages() as begin:
        rows = database.restore(file, progress=begin("Restoring", "rows"))
    at, newest = database.revision(), database.newest()
    _print_rows(rows, file, as_json, "Restored", "from")
    if at != newest and not as_json:
        click.echo(f"At revision {at}; this version needs {newest}, run `rebalancer db upgrade`.")


@db.command("rotate-keys")
@json_option
def rotate_keys(as_json: bool) -> None:
    """Bring stored keys and personal texts to the configured encryption, while servers run.

    Data keys are encrypted under the first key of $REBALANCER_ENCRYPTION_KEYS, and texts that are
    still plain are encrypted. With REBALANCER_ENCRYPTION=off texts are decrypted instead, and the
    data keys deleted. An interrupted run continues where it stopped. Afterwards an older key is
    needed only for backups that were made under it.

    \b
    Examples:
      rebalancer db new-key                             # put it before the others, restart, then:
      rebalancer db rotate-keys
      REBALANCER_ENCRYPTION=off rebalancer db rotate-keys
    """
    _, database = _open_database()
    with stages() as begin:
        done = database.rotate_keys(progress=begin("Rotating", "rows"))
    if as_json:
        document = {"keys": done.keys, "rows": dict(done.rows), "removed": done.removed}
        print_json(document, indent=None)
        return
    verb = "Decrypted" if done.removed else "Encrypted"
    total = sum(done.rows.values())
    click.echo(f"{verb} the texts of {total:,} rows; renewed {done.keys:,} data keys.")
    if done.removed:
        click.echo("Deleted all data keys.")


@db.command("new-key")
@click.argument("id", required=False)
def new_key(id: str | None) -> None:
    """Print a new key for $REBALANCER_ENCRYPTION_KEYS, with today's date or ID as its id.

    Store it apart from the database and its backups: without it encrypted data are lost.

    \b
    Example:
      rebalancer db new-key > encryption-key && chmod 600 encryption-key
    """
    import secrets
    from base64 import b64encode
    from datetime import UTC, datetime

    from rebalancer.config import Settings

    line = f"{id or datetime.now(UTC).date()}:{b64encode(secrets.token_bytes(32)).decode()}"
    Settings.read({"REBALANCER_ENCRYPTION_KEYS": line})  # checks the id
    click.echo(line)


def _open_database() -> tuple[Container, Database]:
    """Return the container, which is closed when the command ends, and the database in it."""
    from rebalancer.application.ports.store import Database

    wired = open_container(sources())
    return wired, wired.get(Database)


def _print_rows(
    rows: Mapping[str, int], file: Path, as_json: bool, verb: str, preposition: str
) -> None:
    total = sum(rows.values())
    if as_json:
        document = {"file": str(file), "rows": total, "tables": dict(rows)}
        print_json(document, indent=None, ensure_ascii=True)
    else:
        click.echo(f"{verb} {total:,} rows of {len(rows)} tables {preposition} {file}.")


def _print_revisions(before: str | None, after: str | None) -> None:
    if before == after:
        click.echo(f"Already at revision {after or 'base'}.")
    else:
        click.echo(f"Moved from revision {before or 'base'} to {after or 'base'}.")
