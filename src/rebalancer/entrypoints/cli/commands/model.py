"""`rebalancer model`: model portfolios, their versions and followers, for operators."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import UUID

import click

from rebalancer.application.ports.clock import Clock, Ids
from rebalancer.entrypoints.cli.files import parse_targets, read_json
from rebalancer.entrypoints.cli.options import FILE, container, json_option, market_options
from rebalancer.entrypoints.cli.screen import console, print_json, wide_table

if TYPE_CHECKING:
    from collections.abc import Callable

    from dishka import Container

    from rebalancer.application.models import ModelStatus
    from rebalancer.wiring.market import Sources

C = TypeVar("C", bound="Callable[..., Any]")

_EXIT_BLOCKED = 3
"""Exit code of a preview whose draft cannot be published to some followers."""


@click.group()
def model() -> None:
    """Keep model portfolios that several portfolios follow, with versions."""


_OWNER = click.option("--owner", metavar="EMAIL", required=True, help="Owner of the model.")
_ID = click.argument("id", type=click.UUID)


def _content(command: C) -> C:
    """Add the options that state a draft."""
    for add in (
        click.option(
            "--acknowledge",
            type=click.UUID,
            multiple=True,
            help="Follower whose targets may exceed the limits of its profile; may be repeated.",
        ),
        click.option(
            "--from-version", type=click.IntRange(1), help="Take the targets of this version."
        ),
        click.option(
            "--draft",
            "draft_file",
            type=FILE,
            metavar="FILE.json",
            help="Object with targets or target_groups, look_through and band.",
        ),
        click.option("--targets", help='Weights, such as "SPY=0.6,AGG=0.4".'),
    ):
        command = add(command)
    return command


@model.command("list")
@_OWNER
@click.option("--limit", type=click.IntRange(1, 1000), default=100, help="Most to list.")
@json_option
def list_(owner: str, limit: int, as_json: bool) -> None:
    """List the models of an owner, oldest first.

    \b
    Example:
      rebalancer model list --owner ada@example.org
    """
    from msgspec import to_builtins

    from rebalancer.application.models import ReadModels
    from rebalancer.entrypoints.schemas.models import model_view

    with container() as wired:
        found = wired.get(ReadModels).all(_owner(wired, owner), limit=limit)
    views = [model_view(one) for one in found]
    if as_json:
        print_json(to_builtins(views, enc_hook=str))
        return
    screen = console()
    if not views:
        screen.print("No models.")
        return
    table = wide_table(screen, "Models", ["id", "name", "changed"], ["latest version"])
    for one in views:
        table.add_row(str(one.id), one.name, f"{one.changed:%Y-%m-%d %H:%M}", str(one.latest))
    screen.print(table)


@model.command()
@_ID
@_OWNER
@json_option
def show(id: UUID, owner: str, as_json: bool) -> None:
    """Show a model with its versions and followers.

    \b
    Example:
      rebalancer model show 6f9619ff-8b86-4d01-b42d-00cf4fc964ff --owner ada@example.org
    """
    from rebalancer.application.models import ReadModels

    with container() as wired:
        status = wired.get(ReadModels)(id, owner=_owner(wired, owner))
    _print(status, as_json)


@model.command()
@click.argument("name")
@_OWNER
@click.option("--targets", help='Weights, such as "SPY=0.6,AGG=0.4".')
@click.option(
    "--draft",
    "draft_file",
    type=FILE,
    metavar="FILE.json",
    help="Object with targets or target_groups, look_through and band.",
)
@click.option("--note", default="", help="Why, in one line.")
@market_options
@json_option
def create(
    name: str,
    owner: str,
    targets: str | None,
    draft_file: Path | None,
    note: str,
    where: Sources,
    as_json: bool,
) -> None:
    """Create a model with its first version.

    \b
    Example:
      rebalancer model create "Balanced" --owner ada@example.org --targets "SPY=0.6,AGG=0.4"
    """
    from rebalancer.application.models import CreateModel
    from rebalancer.entrypoints.schemas.decoding import decode_request
    from rebalancer.entrypoints.schemas.models import ModelBody
    from rebalancer.entrypoints.schemas.wire import json_line

    values = {**_stated(targets, draft_file), "name": name, "note": note}
    body = decode_request(json_line(values), ModelBody)
    with container(where) as wired:
        status, _ = wired.get(CreateModel)(
            body.name,
            body.content(),
            note=body.note,
            id=wired.get(Ids)(),
            owner=_owner(wired, owner),
            now=wired.get(Clock)(),
        )
    _print(status, as_json)


@model.command()
@_ID
@_OWNER
@_content
@click.option("--policy", default="band", help="Policy of the proposals. Default: band.")
@market_options
@json_option
def preview(
    id: UUID,
    owner: str,
    targets: str | None,
    draft_file: Path | None,
    from_version: int | None,
    acknowledge: tuple[UUID, ...],
    policy: str,
    where: Sources,
    as_json: bool,
) -> int:
    """Show what each follower would trade if a draft were published; nothing is stored.

    The exit code is 3 if the draft cannot be published to some followers.

    \b
    Example:
      rebalancer model preview 6f9619ff-8b86-4d01-b42d-00cf4fc964ff \\
        --owner ada@example.org --targets "SPY=0.5,AGG=0.5"
    """
    from msgspec import to_builtins

    from rebalancer.application.models import PreviewModel, ReadModels
    from rebalancer.entrypoints.schemas.decoding import decode_request
    from rebalancer.entrypoints.schemas.models import PreviewBody, preview_view
    from rebalancer.entrypoints.schemas.wire import json_line

    values = _draft(targets, draft_file, from_version, acknowledge) | {"policy": policy}
    body = decode_request(json_line(values), PreviewBody)
    with container(where) as wired:
        person = _owner(wired, owner)
        earlier = None
        if body.from_version is not None:
            earlier = wired.get(ReadModels).content(id, body.from_version, owner=person)
        found, previews = wired.get(PreviewModel)(
            id,
            body.draft(earlier),
            policy_name=body.policy,
            costs=body.cost_model(),
            acknowledged=body.acknowledge,
            owner=person,
            now=wired.get(Clock)(),
        )
    view = preview_view(found, previews)
    if as_json:
        print_json(to_builtins(view, enc_hook=str))
        return _EXIT_BLOCKED if view.blocked else 0
    screen = console()
    table = wide_table(
        screen,
        f"What a draft of {view.model.name} trades",
        ["portfolio", "name", "problem"],
        ["orders", "turnover", "cost"],
    )
    for one in view.followers:
        problem = "; ".join(each.message for each in one.problems)
        figures = ("", "", "")
        if one.proposal is not None:
            turnover = one.proposal.turnover or 0.0
            figures = (str(len(one.proposal.orders)), f"{turnover:.1%}", one.proposal.cost or "")
        table.add_row(str(one.portfolio_id), one.name, problem, *figures)
    screen.print(table)
    for one in view.followers:
        for order in () if one.proposal is None else one.proposal.orders:
            screen.print(
                f"{one.name}: {order.side} {order.quantity} {order.symbol}. {order.reason}"
            )
    return _EXIT_BLOCKED if view.blocked else 0


@model.command()
@_ID
@_OWNER
@_content
@click.option("--note", default="", help="Why, in one line.")
@market_options
@json_option
def publish(
    id: UUID,
    owner: str,
    targets: str | None,
    draft_file: Path | None,
    from_version: int | None,
    acknowledge: tuple[UUID, ...],
    note: str,
    where: Sources,
    as_json: bool,
) -> None:
    """Publish a version, and give its targets to all followers that are not pinned.

    \b
    Examples:
      rebalancer model publish 6f9619ff-8b86-4d01-b42d-00cf4fc964ff \\
        --owner ada@example.org --targets "SPY=0.5,AGG=0.5" --note "Less equity"
      rebalancer model publish 6f9619ff-8b86-4d01-b42d-00cf4fc964ff \\
        --owner ada@example.org --from-version 1
    """
    from rebalancer.application.models import PublishModel, ReadModels
    from rebalancer.entrypoints.schemas.decoding import decode_request
    from rebalancer.entrypoints.schemas.models import PublishBody
    from rebalancer.entrypoints.schemas.wire import json_line

    values = _draft(targets, draft_file, from_version, acknowledge) | {"note": note}
    body = decode_request(json_line(values), PublishBody)
    with container(where) as wired:
        person = _owner(wired, owner)
        earlier = None
        if body.from_version is not None:
            earlier = wired.get(ReadModels).content(id, body.from_version, owner=person)
        status, moved, _ = wired.get(PublishModel)(
            id,
            body.draft(earlier),
            note=body.note,
            acknowledged=body.acknowledge,
            owner=person,
            now=wired.get(Clock)(),
        )
    _print(status, as_json)
    if not as_json:
        console().print(
            f"Version {status.model.latest} is published; {len(moved)} followers moved."
        )


@model.command()
@_ID
@click.option("--portfolio", type=click.UUID, required=True, help="Portfolio that follows it.")
@click.option("--version", "number", type=click.IntRange(1), help="Stay with this version.")
@click.option("--acknowledge-limits", is_flag=True, help="Targets may exceed profile limits.")
@market_options
@json_option
def follow(
    id: UUID,
    portfolio: UUID,
    number: int | None,
    acknowledge_limits: bool,
    where: Sources,
    as_json: bool,
) -> None:
    """Give a portfolio the targets of a model, now and with each later version.

    \b
    Example:
      rebalancer model follow 6f9619ff-8b86-4d01-b42d-00cf4fc964ff \\
        --portfolio 0b54a1c6-5a9c-4d51-9b39-7a3f5a0f7d7e
    """
    from rebalancer.application.models import FollowModel, ReadModels
    from rebalancer.application.ports.store import UnitOfWork

    with container(where) as wired:
        with wired.get(UnitOfWork).read() as tx:
            person = tx.portfolios.get(portfolio).owner
        wired.get(FollowModel)(
            portfolio,
            id,
            number=number,
            acknowledged=acknowledge_limits,
            owner=person,
            now=wired.get(Clock)(),
        )
        status = wired.get(ReadModels)(id, owner=person)
    _print(status, as_json)


@model.command()
@click.option("--portfolio", type=click.UUID, required=True, help="Portfolio that follows a model.")
@market_options
def unfollow(portfolio: UUID, where: Sources) -> None:
    """Let a portfolio state its own targets again. They stay as they are.

    \b
    Example:
      rebalancer model unfollow --portfolio 0b54a1c6-5a9c-4d51-9b39-7a3f5a0f7d7e
    """
    from rebalancer.application.models import FollowModel
    from rebalancer.application.ports.store import UnitOfWork

    with container(where) as wired:
        with wired.get(UnitOfWork).read() as tx:
            person = tx.portfolios.get(portfolio).owner
        valued = wired.get(FollowModel).stop(portfolio, owner=person, now=wired.get(Clock)())
    console().print(f"{valued.portfolio.mandate.name} states its own targets.")


@model.command()
@_ID
@_OWNER
def delete(id: UUID, owner: str) -> None:
    """Delete a model that no portfolio follows.

    \b
    Example:
      rebalancer model delete 6f9619ff-8b86-4d01-b42d-00cf4fc964ff --owner ada@example.org
    """
    from rebalancer.application.models import DeleteModel

    with container() as wired:
        wired.get(DeleteModel)(id, owner=_owner(wired, owner), now=wired.get(Clock)())
    console().print("Deleted.")


def _owner(wired: Container, email: str) -> UUID:
    from rebalancer.application.ports.store import UnitOfWork
    from rebalancer.entrypoints.cli.stored_portfolios import find_user

    with wired.get(UnitOfWork).read() as tx:
        return find_user(tx, email).id


def _stated(targets: str | None, draft_file: Path | None) -> dict[str, Any]:
    """Return what the options state about targets."""
    from rebalancer.entrypoints.schemas.portfolio import read_weights

    values: dict[str, Any] = {}
    if draft_file is not None:
        values |= read_json(draft_file, field="draft")
    if targets is not None:
        values["targets"] = read_weights(parse_targets(targets))
    return values


def _draft(
    targets: str | None,
    draft_file: Path | None,
    from_version: int | None,
    acknowledge: tuple[UUID, ...],
) -> dict[str, Any]:
    values = _stated(targets, draft_file)
    if from_version is not None:
        values["from_version"] = from_version
    if acknowledge:
        values["acknowledge"] = [str(one) for one in acknowledge]
    return values


def _print(status: ModelStatus, as_json: bool) -> None:
    from msgspec import to_builtins

    from rebalancer.entrypoints.schemas.models import model_detail_view

    view = model_detail_view(status)
    if as_json:
        print_json(to_builtins(view, enc_hook=str))
        return
    screen = console()
    screen.print(f"{view.name} ({view.id})")
    versions = wide_table(screen, "Versions", ["targets", "note", "created"], ["number"])
    for one in view.versions:
        targets = ", ".join(f"{symbol} {weight:.1%}" for symbol, weight in one.targets.items())
        created = f"{one.created:%Y-%m-%d %H:%M}"
        versions.add_row(targets, one.note, created, str(one.number))
    screen.print(versions)
    followers = wide_table(screen, "Followers", ["portfolio", "name", "pinned"], ["version"])
    for follower in view.followers:
        pinned = "yes" if follower.pinned else ""
        row = (str(follower.portfolio_id), follower.name, pinned, str(follower.version))
        followers.add_row(*row)
    screen.print(followers)
