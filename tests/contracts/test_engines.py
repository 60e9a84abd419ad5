"""What every engine promises; that of a Ray cluster is checked where Ray is installed."""

import os
import signal
import time
from collections.abc import Callable
from contextlib import ExitStack
from importlib.util import find_spec

import pytest

from rebalancer.domain.errors import InvalidRequest
from rebalancer.wiring.engines import open_engine
from tests.contracts import engine_functions
from tests.entrypoints.conftest import running

HANDLER = signal.getsignal(signal.SIGTERM)
ENGINES = ["local", "ray"] if find_spec("ray") else ["local"]


@pytest.fixture(scope="module", params=ENGINES)
def engine(request):
    with open_engine(request.param) as opened:
        yield opened


def test_an_engine_leaves_the_handler_of_sigterm(engine):
    assert signal.getsignal(signal.SIGTERM) is HANDLER


def wait_for(condition: Callable[[], bool]) -> None:
    latest = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < latest
        time.sleep(0.01)


@pytest.mark.parametrize("most", [1, 2, 9])
def test_map_returns_the_result_of_each_task(engine, most):
    found = dict(engine.map(engine_functions.square, [3, 1, 2], 10, most=most))
    assert found == {0: 19, 1: 11, 2: 14}


def test_map_of_no_task_returns_nothing(engine):
    assert list(engine.map(engine_functions.square, [], 10, most=2)) == []


def test_reports_precede_the_results_of_their_tasks(engine):
    told = []
    mapped = engine.map(engine_functions.square, [5, 6, 7], 0, most=2, progress=told.append)
    for index, result in mapped:
        assert 5 + index in told and result == (5 + index) ** 2
    assert sorted(told) == [5, 6, 7]


def test_map_raises_the_exception_of_a_task(engine):
    with pytest.raises(InvalidRequest) as raised:
        list(engine.map(engine_functions.refuse_three, [1, 2, 3, 4], most=2))
    assert (raised.value.field, raised.value.code) == ("number", "number_refused")
    assert str(raised.value) == "number: 3 is refused"


def test_tasks_in_other_processes_use_one_thread_for_numbers(engine):
    found = dict(engine.map(engine_functions.count_threads, [1, 2], most=2))
    assert {threads for _, threads in found.values()} == {"1"}
    assert os.getpid() not in {process for process, _ in found.values()}


def test_helpers_run_while_the_block_runs(engine, tmp_path):
    with engine.helpers(engine_functions.leave_mark, tmp_path, most=1):
        wait_for(lambda: any(tmp_path.iterdir()))
        (mark,) = tmp_path.iterdir()
        assert running(int(mark.name))
    wait_for(lambda: not running(int(mark.name)))


def test_helpers_end_with_a_block_that_fails(engine, tmp_path):
    with pytest.raises(ZeroDivisionError), ExitStack() as stack:
        stack.enter_context(engine.helpers(engine_functions.leave_mark, tmp_path, most=1))
        wait_for(lambda: any(tmp_path.iterdir()))
        raise ZeroDivisionError
    (mark,) = tmp_path.iterdir()
    wait_for(lambda: not running(int(mark.name)))


def test_failing_helper_leaves_the_block_alone(engine, tmp_path):
    with engine.helpers(engine_functions.fail, tmp_path, most=1):
        wait_for((tmp_path / "failed").exists)


def test_no_helpers_start_no_process(engine, tmp_path):
    with engine.helpers(engine_functions.leave_mark, tmp_path, most=0):
        assert not any(tmp_path.iterdir())
