"""`rebalancer model`."""

from __future__ import annotations

import pytest

from tests.entrypoints.test_store_commands import PORTFOLIO, keep, register, store

__all__ = ["keep", "register", "store"]


@pytest.fixture
def id(keep):
    """Return the id of a stored portfolio."""
    return keep(PORTFOLIO)[0]


def test_model_is_created_followed_previewed_and_published(store, id):
    (owner,) = {one["owner"] for one in store("portfolio", "list", "--json").json}
    mine = ("--owner", owner)
    made = store("model", "create", "Halves", *mine, "--targets", "A=0.5,B=0.5", "--json")
    assert made.code == 0, made
    model = made.json["id"]
    followed = store("model", "follow", model, "--portfolio", id)
    assert followed.code == 0, followed
    preview = store("model", "preview", model, *mine, "--targets", "A=0.2,B=0.7", "--json")
    assert (preview.code, preview.json["blocked"]) == (0, 0), preview
    assert preview.json["trading"] == 1
    shown = store("model", "preview", model, *mine, "--targets", "A=0.2,B=0.7")
    assert "Underweight" in shown.stdout or "Overweight" in shown.stdout
    published = store("model", "publish", model, *mine, "--targets", "A=0.2,B=0.7")
    assert "Version 2 is published; 1 followers moved." in " ".join(published.stdout.split())
    again = store("model", "publish", model, *mine, "--from-version", "1", "--json")
    assert [one["number"] for one in again.json["versions"]] == [3, 2, 1]
    assert store("model", "delete", model, *mine).refused("stop following it first")
    assert "states its own targets" in store("model", "unfollow", "--portfolio", id).stdout
    assert "Halves" in store("model", "list", *mine).stdout
    assert store("model", "delete", model, *mine).stdout == "Deleted.\n"
    assert store("model", "show", model, *mine).refused("does not exist")
