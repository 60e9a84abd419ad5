import json
import multiprocessing
from datetime import UTC, datetime, timedelta

import pytest

from rebalancer.adapters.jsonl.trials import JsonlTrials
from rebalancer.adapters.memory.trials import MemoryTrials
from rebalancer.application.ports.trials import Trial, TrialKind
from rebalancer.domain.errors import InvalidRequest, Unavailable

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
LINE = '{"on": "2026-01-31T12:00:00+00:00", "kind": "train", "what": ["ppo"]}'


def a_trial(**fields):
    return Trial(**{"on": NOON, "kind": TrialKind.TRAIN, "what": ("ppo", "dqn")} | fields)


@pytest.fixture(params=["memory", "file"])
def trials(request, tmp_path):
    return MemoryTrials() if request.param == "memory" else JsonlTrials(tmp_path / "docs/t.jsonl")


def test_nothing_was_tried_at_first(trials):
    assert trials.all() == ()
    assert trials.count() == 0


def test_what_is_appended_is_found_in_its_order(trials):
    kept = [
        a_trial(),
        a_trial(kind=TrialKind.EVALUATE, trials=0, digest="a" * 64, on=NOON + timedelta(days=1)),
        a_trial(kind=TrialKind.PROTOTYPE, trials=12, what=("größe",), note='"x"\nand y\u2028z'),
    ]
    for trial in kept:
        trials.append(trial)
    assert trials.all() == tuple(kept)
    assert trials.count() == 1 + 0 + 12


def test_only_a_file_outlives_the_process(tmp_path):
    assert MemoryTrials().location is None
    path = tmp_path / "trials.jsonl"
    JsonlTrials(path).append(a_trial())
    assert JsonlTrials(path).count() == 1
    assert JsonlTrials(path).location == str(path)


@pytest.mark.parametrize(
    ("fields", "fragment"),
    [
        ({"on": datetime(2026, 1, 1)}, "on: .* lacks a time zone"),
        ({"what": ()}, "what: name at least one"),
        ({"what": ("",)}, "what: name at least one"),
        ({"trials": -1}, "trials: -1 is negative"),
    ],
)
def test_invalid_trials_are_never_stored(fields, fragment):
    with pytest.raises(InvalidRequest, match=fragment):
        a_trial(**fields)


def test_a_line_has_what_a_reader_looks_for(tmp_path):
    path = tmp_path / "trials.jsonl"
    JsonlTrials(path).append(a_trial(note="first"))
    assert json.loads(path.read_text()) == {
        "on": "2026-01-31T12:00:00+00:00",
        "kind": "train",
        "what": ["ppo", "dqn"],
        "trials": 1,
        "digest": "",
        "note": "first",
    }


def test_lines_written_by_hand_count(tmp_path):
    path = tmp_path / "trials.jsonl"
    path.write_text(f"{LINE}\n\n{LINE}")  # an empty line, and no end to the last
    trials = JsonlTrials(path)
    assert trials.count() == 2
    trials.append(a_trial())
    assert trials.count() == 3


@pytest.mark.parametrize(
    ("line", "fragment"),
    [
        ("nonsense", "it is not a JSON object"),
        ("<<<<<<< HEAD", "it is not a JSON object"),
        ("[1]", "it is not a JSON object"),
        (LINE[:-1], "it is not a JSON object"),
        (LINE.replace("on", "at", 1), "on: is missing"),
        (LINE.replace("2026-01-31T12:00:00+00:00", "yesterday"), "on: must be a time such as"),
        (LINE.replace("+00:00", ""), "on: 2026-01-31 12:00:00 lacks a time zone"),
        (LINE.replace("train", "walk"), "kind: unknown kind 'walk'"),
        (LINE.replace('["ppo"]', '"ppo"'), "what: must be a list of names"),
        (LINE.replace('["ppo"]', "[]"), "what: name at least one"),
        (LINE.replace("}", ', "trials": "2"}'), "trials: '2' is not a whole number"),
        (LINE.replace("}", ', "trials": true}'), "trials: True is not a whole number"),
        (LINE.replace("}", ', "trials": -2}'), "trials: -2 is negative"),
        (LINE.replace("}", ', "note": 3}'), "note: must be text"),
    ],
)
def test_malformed_lines_are_reported_by_number(tmp_path, line, fragment):
    path = tmp_path / "trials.jsonl"
    path.write_text(f"{LINE}\n{line}\n")
    with pytest.raises(InvalidRequest) as refused:
        JsonlTrials(path).count()
    assert f"trials.jsonl, line 2: {fragment}" in str(refused.value)
    assert "correct the line" in str(refused.value)


def test_binary_file_is_reported(tmp_path):
    binary = tmp_path / "binary"
    binary.write_bytes(b"\xff\xfe")
    with pytest.raises(InvalidRequest, match="not UTF-8"):
        JsonlTrials(binary).all()
    with pytest.raises(Unavailable, match="cannot read"):
        JsonlTrials(tmp_path).all()
    with pytest.raises(Unavailable, match="cannot write"):
        JsonlTrials(tmp_path).append(a_trial())


def _append_many(path):
    for _ in range(100):
        JsonlTrials(path).append(a_trial(note="x" * 500))


def test_appending_side_by_side_loses_nothing(tmp_path):
    path = tmp_path / "trials.jsonl"
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_append_many, args=(path,)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
        assert process.exitcode == 0
    assert JsonlTrials(path).count() == 200
