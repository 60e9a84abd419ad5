"""Processes that end are started again, unless they fail at every start."""

from __future__ import annotations

from rebalancer.entrypoints.supervision import RestartPolicy


def died(policy: RestartPolicy, exit_code: int, lived: float, worker: int = 0) -> float | None:
    return policy.pause_before_restart(worker, exit_code=exit_code, lived=lived)


def test_killed_processes_are_always_restarted() -> None:
    policy = RestartPolicy()
    pauses = [died(policy, -9, 0.5) for _ in range(50)]
    assert None not in pauses
    assert pauses[:3] == [0.1, 0.2, 0.4] and pauses[-1] == 5.0


def test_five_failures_at_start_end_the_server() -> None:
    policy = RestartPolicy()
    assert [died(policy, 1, 2.0) is None for _ in range(5)] == [False] * 4 + [True]


def test_a_process_that_served_for_a_while_starts_afresh() -> None:
    policy = RestartPolicy()
    for _ in range(4):
        died(policy, 1, 2.0)
    assert died(policy, 1, 60.0) == 0.1
    assert died(policy, 1, 2.0) == 0.2


def test_processes_are_counted_apart() -> None:
    policy = RestartPolicy()
    pauses = [died(policy, 1, 2.0, worker) for worker in (0, 1) for _ in range(4)]
    assert None not in pauses
