"""What a user of the command line can do about an error, by the error's code."""

from __future__ import annotations

from rebalancer.domain.errors import RebalancerError

REMEDIES = {
    "file_unreadable": "Check the path and its permissions.",
    "job_not_found": "Run `rebalancer jobs list` to see all jobs.",
    "malformed_targets": 'Write --targets "SPY=0.6,AGG=0.4", or name a JSON file.',
    "no_run_to_resume": "Run the command without --resume.",
    "package_missing": "Install it, and run the command again.",
    "policy_not_found": "Run `rebalancer policies` to see all policies.",
    "port_unavailable": "Choose another --port, or --port 0 for a free one.",
    "portfolio_not_found": "Run `rebalancer portfolio list` to see all portfolios.",
    "prices_not_imported": "Run `rebalancer market import`.",
    "run_interrupted": "Continue with --resume.",
    "schema_outdated": "Run `rebalancer db upgrade`, or `rebalancer serve --upgrade`.",
    "targets_missing": 'Give --targets "SPY=0.6,AGG=0.4", or name a JSON file.',
    "unknown_policy": "Run `rebalancer policies` to see all policies.",
    "user_not_found": "Run `rebalancer user create --email ADDRESS` to register a user.",
    "worker_died": "Continue with --resume, and with fewer --workers if memory is short.",
}
"""Sentences, by the codes of `RebalancerError`; an error without an entry needs none."""


def explain(error: RebalancerError) -> str:
    """Return the message of an error, followed by its remedy if there is one."""
    remedy = REMEDIES.get(error.code)
    return f"{error}. {remedy}" if remedy else str(error)
