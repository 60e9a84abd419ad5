"""What a user of the command line can do about an error, by the error's code."""

from __future__ import annotations

from rebalancer.domain.errors import InvalidRequest, RebalancerError, faults_of

_WALK_FORWARD = "Run `rebalancer evaluate --policy NAME --walk-forward DATE,... --keep` first."
_LIST_POLICIES = "Run `rebalancer policies` to list the policies."
_START_AGAIN = "Run the command without --resume."

REMEDIES = {
    "asset_not_found": "Run `rebalancer market list` to list the assets.",
    "backup_revision_differs": "Use `rebalancer db upgrade` or `rebalancer db downgrade`.",
    "database_not_empty": "Create its tables with `rebalancer db upgrade REVISION`.",
    "evaluated_in_training_period": "Set the start with --from.",
    "evidence_missing": _WALK_FORWARD,
    "issue_not_found": "Run `rebalancer market issues --all` to list the findings.",
    "job_not_found": "Run `rebalancer jobs list` to list the jobs.",
    "invalid_layout": "Write --layout NAME or --layout NAME:KEY=VALUE; see docs/price-files.md.",
    "layout_unclear": "State it with --layout, such as --layout wide or --layout "
    "auto:decimal=comma,dates=dmy.",
    "malformed_targets": 'Write --targets "SPY=0.6,AGG=0.4", or name a JSON file.',
    "no_exchange_rate": "Of stored prices, fetch rates with `rebalancer market sync --currency "
    "CODE`.",
    "no_run_to_resume": _START_AGAIN,
    "policy_not_found": _LIST_POLICIES,
    "policy_version_not_found": _LIST_POLICIES,
    "port_unavailable": "Choose another --port, or --port 0 for a free one.",
    "portfolio_not_found": "Run `rebalancer portfolio list` to list the portfolios.",
    "prices_not_imported": "Run `rebalancer market import`, or fetch assets with "
    "`rebalancer market sync --symbols A,B`.",
    "promotion_gate_missing": _WALK_FORWARD,
    "refit_missing": "Leave --no-training out to train it.",
    "resume_impossible": _START_AGAIN,
    "run_inputs_changed": _START_AGAIN,
    "run_interrupted": "Continue with --resume.",
    "schema_outdated": "Run `rebalancer db upgrade`, or `rebalancer serve --upgrade`.",
    "tables_missing": "Run `rebalancer db upgrade REVISION`.",
    "targets_exceed_limits": "Set acknowledge_limits to true in the file to accept this.",
    "targets_missing": 'Give --targets "SPY=0.6,AGG=0.4", or name a JSON file.',
    "too_few_trials": "Set the number with --trials.",
    "unknown_symbol": "Run `rebalancer market list` to list the symbols.",
    "user_not_found": "Run `rebalancer user create --email ADDRESS` to register a user.",
    "worker_died": "Continue with --resume, and with fewer --workers if memory is short.",
}
"""Sentences, by the codes of `RebalancerError`; an error without an entry needs none."""

_ADVICE = {
    "no_rule_chosen": "Choose one with --chosen-on FILE.csv.",
    "no_trial_record": "Give the number with --trials.",
    "rule_chosen_with_hindsight": "Set their end with --chosen-until.",
}
"""Sentences, by what the findings of `evaluate` lack, or by the code of a caution."""


def advise(sentence: str, code: str) -> str:
    """Return a sentence about findings, followed by advice if there is any for the code."""
    return f"{sentence} {_ADVICE[code]}" if code in _ADVICE else sentence


def explain(error: RebalancerError) -> str:
    """Return the message of an error, followed by the remedies of its faults."""
    faults = faults_of(error) if isinstance(error, InvalidRequest) else (error,)
    noted = getattr(error, "__notes__", [])  # remedies that only the command could know
    known = [REMEDIES[fault.code] for fault in faults if fault.code in REMEDIES]
    remedies = dict.fromkeys(noted or known)
    text = str(error)
    end = " " if text.endswith("?") else ". "
    return end.join([text, " ".join(remedies)]) if remedies else text
