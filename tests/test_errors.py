"""Errors carry a stable code, and survive the way between processes."""

from __future__ import annotations

import pickle

import pytest

from rebalancer.domain.errors import (
    Conflict,
    InvalidRequest,
    NotFound,
    RebalancerError,
    combine,
    faults_of,
)


def subclasses(kind: type[RebalancerError]) -> list[type[RebalancerError]]:
    return [kind, *(below for child in kind.__subclasses__() for below in subclasses(child))]


def test_an_error_without_its_own_code_has_the_code_of_its_family() -> None:
    assert Conflict("the portfolio changed").code == "conflict"
    assert NotFound("no such user", code="user_not_found").code == "user_not_found"


def test_text_of_an_invalid_request_begins_with_its_field() -> None:
    error = InvalidRequest("500 exceeds 300; enter at most 300", field="cash_flow")
    assert str(error) == "cash_flow: 500 exceeds 300; enter at most 300"
    assert error.message == "500 exceeds 300; enter at most 300"
    assert str(InvalidRequest("the body is empty")) == "the body is empty"


@pytest.mark.parametrize("kind", subclasses(RebalancerError))
def test_codes_of_classes_are_snake_case(kind: type[RebalancerError]) -> None:
    assert kind.default_code.replace("_", "").isalpha() and kind.default_code.islower()


def test_errors_survive_pickling() -> None:
    error = InvalidRequest("too large", field="cash", code="cash_too_large")
    copy = pickle.loads(pickle.dumps(error))
    assert (str(copy), copy.field, copy.code) == ("cash: too large", "cash", "cash_too_large")
    assert copy.message == "too large"


def test_combined_errors_keep_their_faults_when_pickled() -> None:
    faults = [InvalidRequest("too large", field=field, code="too_large") for field in "ab"]
    copy = pickle.loads(pickle.dumps(combine(faults)))
    assert [fault.field for fault in faults_of(copy)] == ["a", "b"]
    assert (str(copy), copy.code) == ("a: too large; b: too large", "validation_failed")
    assert combine(faults[:1]) is faults[0]
