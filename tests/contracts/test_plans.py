"""Frequent queries use an index in Postgres, according to EXPLAIN."""

from __future__ import annotations

import json
from uuid import UUID

import pytest
from sqlalchemy import event

from rebalancer.domain.jobs.job import JobState
from rebalancer.domain.rebalancing.lifecycle import Stage
from tests.contracts.databases import changing_schema
from tests.contracts.stores import (
    HOUR,
    NOW,
    a_deposit,
    a_job,
    a_key,
    a_managed,
    a_proposal,
    a_run,
    a_token,
    a_user,
)

FILL = """
INSERT INTO users (id, email, name, password, created)
SELECT gen_random_uuid(), 'u' || n || '@example.org', 'U', '$', now()
  FROM generate_series(1, 2000) n;
INSERT INTO refresh_tokens (digest, family, owner, issued, expires)
SELECT gen_random_uuid()::text, gen_random_uuid(), u.id, now(), now() FROM users u,
  generate_series(1, 5);
INSERT INTO sessions (id, owner, created, used, authenticated, method, ends, address, agent)
SELECT gen_random_uuid(), u.id, now(), now(), now(), 'password', now(), '', '' FROM users u,
  generate_series(1, 5);
INSERT INTO portfolios (id, owner, name, currency, targets, preferences, acknowledge_limits, cash,
  holdings, uninvested, version, created, changed)
SELECT gen_random_uuid(), u.id, 'P', 'USD', '{}', '{}', false, 0, '{}', 0, 1, now(), now()
  FROM users u, generate_series(1, 5);
INSERT INTO proposals (id, owner, portfolio, proposal, seen, proposed, expires, stage, remark)
SELECT gen_random_uuid(), p.owner, p.id, '{}', '{}', now(), now(), 'proposed', ''
  FROM portfolios p, generate_series(1, 3);
INSERT INTO ledger_entries (portfolio, id, kind, day, recorded, amount, quantity, cost, note)
SELECT p.id, gen_random_uuid(), 'deposit', now(), now(), 1, 0, 0, ''
  FROM portfolios p, generate_series(1, 5);
INSERT INTO idempotency_keys (owner, key, fingerprint, result, created)
SELECT u.id, n::text, '', gen_random_uuid(), now() FROM users u, generate_series(1, 5) n;
INSERT INTO jobs (id, owner, kind, request, state, progress, created, finished)
SELECT gen_random_uuid(), u.id, 'backtest', '{}', 'succeeded', 1, now(), now()
  FROM users u, generate_series(1, 5);
INSERT INTO batch_runs (id, terms, policy, as_of, started, proposed, nothing_to_do, failed)
SELECT gen_random_uuid(), n::text, '', now(), now(), 0, 0, 0 FROM generate_series(1, 50) n;
INSERT INTO batch_chunks (run, number, taken, done, proposed, nothing_to_do, failed)
SELECT r.id, n, 0, true, 0, 0, 0 FROM batch_runs r, generate_series(1, 200) n;
"""


@pytest.fixture(scope="module")
def filled(stores_of):
    """Return a store with large tables, and the rows of one owner."""
    work = stores_of("postgres")
    with work.engine.begin() as connection:
        for statement in FILL.split(";\n"):
            if statement.strip():
                connection.exec_driver_sql(statement)
    ada, entries = a_user(), [a_deposit(), a_deposit()]
    portfolio = a_managed(ada.id, entries)
    record, token, key, job, run = (
        a_proposal(portfolio),
        a_token(ada.id),
        a_key(ada.id),
        a_job(owner=ada.id),
        a_run(),
    )
    with work.begin() as tx:
        tx.users.add(ada)
        tx.portfolios.add(portfolio, entries)
        tx.portfolios.add(another := a_managed(ada.id), [])
        tx.proposals.add([record, *(a_proposal(another) for _ in range(30))])
        tx.tokens.add(token)
        tx.keys.add(key)
        tx.jobs.add(job)
        tx.runs.add(run, [UUID(int=n) for n in range(1, 2000)])
    with changing_schema(work.engine) as connection:
        connection.exec_driver_sql("ANALYZE")
        assert connection.exec_driver_sql("SELECT count(*) FROM pg_stats").scalar_one() > 90
    return work, ada, portfolio, entries, record, token, key, job, run


def named(**calls):
    return [pytest.param(call, indexes, id=name) for name, (call, indexes) in calls.items()]


@pytest.mark.parametrize(
    ("call", "indexes"),
    named(
        user=(lambda tx, on: tx.users.get(on.ada.id), "pk_users"),
        login=(lambda tx, on: tx.users.by_email(on.ada.email), "uq_users_email"),
        token=(lambda tx, on: tx.tokens.get(on.token.digest), "pk_refresh_tokens"),
        token_use=(lambda tx, on: tx.tokens.mark_used(on.token.digest, NOW), "pk_refresh_tokens"),
        logout=(lambda tx, on: tx.tokens.revoke(on.token.family), "ix_refresh_tokens_family"),
        sessions=(
            lambda tx, on: tx.sessions.active(on.ada.id, NOW),
            "ix_sessions_owner_used_id",
        ),
        sessions_tidy=(lambda tx, on: tx.sessions.delete_past(NOW), "ix_sessions_ends"),
        token_tidy=(
            lambda tx, on: tx.tokens.delete_expired(NOW, owner=on.ada.id),
            "ix_refresh_tokens_owner pk_refresh_tokens",
        ),
        portfolio=(
            lambda tx, on: tx.portfolios.get(on.portfolio.id, owner=on.ada.id),
            "pk_portfolios",
        ),
        portfolios_some=(lambda tx, on: tx.portfolios.get_many([on.portfolio.id]), "pk_portfolios"),
        portfolios_versions=(
            lambda tx, on: tx.portfolios.versions([on.portfolio.id]),
            "pk_portfolios",
        ),
        portfolios_page=(
            lambda tx, on: tx.portfolios.page(on.ada.id, after=on.portfolio.id, limit=20),
            "ix_portfolios_owner_created_id pk_portfolios",
        ),
        portfolio_save=(
            lambda tx, on: tx.portfolios.save(
                on.portfolio.revise(on.portfolio.mandate, NOW + HOUR)
            ),
            "pk_portfolios",
        ),
        chunk=(
            lambda tx, on: tx.portfolios.chunk(after=on.portfolio.id, limit=50),
            "pk_portfolios",
        ),
        chunk_boundaries=(lambda tx, on: tx.portfolios.chunk_boundaries(512), "pk_portfolios"),
        ledger=(
            lambda tx, on: tx.portfolios.ledger(on.portfolio.id),
            "ix_ledger_entries_portfolio_sequence",
        ),
        entries_page=(
            lambda tx, on: tx.portfolios.entries(
                on.portfolio.id, before=on.entries[1].id, limit=20
            ),
            "ix_ledger_entries_portfolio_sequence uq_ledger_entries_portfolio_id",
        ),
        proposal=(
            lambda tx, on: tx.proposals.get(on.record.id, owner=on.ada.id),
            "pk_proposals pk_portfolios",
        ),
        proposal_save=(
            lambda tx, on: tx.proposals.save(on.record, expected=Stage.PROPOSED),
            "pk_proposals pk_portfolios",
        ),
        proposals_page=(
            lambda tx, on: tx.proposals.page(on.ada.id, before=on.record.id, limit=20),
            "ix_proposals_owner_proposed_id pk_proposals pk_portfolios",
        ),
        proposals_of_portfolio=(
            lambda tx, on: tx.proposals.page(on.ada.id, portfolio_id=on.portfolio.id, limit=20),
            "ix_proposals_portfolio_proposed_id pk_portfolios",
        ),
        key=(lambda tx, on: tx.keys.get(on.ada.id, on.key.key), "pk_idempotency_keys"),
        job=(lambda tx, on: tx.jobs.get(on.job.id, owner=on.ada.id), "pk_jobs"),
        jobs_page=(
            lambda tx, on: tx.jobs.page(on.ada.id, before=on.job.id, limit=20),
            "ix_jobs_owner_created_id pk_jobs",
        ),
        jobs_stranded=(
            lambda tx, on: tx.jobs.overdue_or_running(due=NOW + HOUR, limit=20),
            "ix_jobs_state_created",
        ),
        jobs_dead=(
            lambda tx, on: tx.jobs.page(states=frozenset({JobState.DEAD}), limit=20),
            "ix_jobs_state_created",
        ),
        run=(lambda tx, on: tx.runs.get(on.run.id), "pk_batch_runs pk_batch_chunks"),
        run_unfinished=(
            lambda tx, on: tx.runs.find_unfinished(on.run.terms),
            "ix_batch_runs_terms_started pk_batch_runs pk_batch_chunks",
        ),
        run_take=(
            lambda tx, on: tx.runs.claim(on.run.id),
            "ix_batch_chunks_run_done_taken_number pk_batch_chunks",
        ),
    ),
)
def test_each_query_uses_its_index(filled, call, indexes):
    work, *kept = filled
    names = ("ada", "portfolio", "entries", "record", "token", "key", "job", "run")
    on = type("On", (), dict(zip(names, kept, strict=True)))
    said = []

    def note(connection, cursor, statement, parameters, context, executemany):
        said.append((statement, parameters))

    event.listen(work.engine, "before_cursor_execute", note)
    try:
        with pytest.raises(ZeroDivisionError), work.begin() as tx:  # to roll back
            call(tx, on)
            raise ZeroDivisionError
    finally:
        event.remove(work.engine, "before_cursor_execute", note)
    assert said
    used, whole = set(), []
    with work.engine.connect() as connection:
        # For tables of any size: a full scan is chosen only without a suitable index.
        connection.exec_driver_sql("SET enable_seqscan = off")
        for statement, parameters in said:
            plan = connection.exec_driver_sql(f"EXPLAIN (FORMAT JSON) {statement}", parameters)
            tree = plan.scalar_one()
            tree = json.loads(tree) if isinstance(tree, str | bytes) else tree
            for part in parts(tree[0]["Plan"]):
                used |= {part["Index Name"]} if "Index Name" in part else set()
                whole += [part["Relation Name"]] if part["Node Type"] == "Seq Scan" else []
    assert whole == []
    assert set(indexes.split()) <= used


def parts(plan):
    """Yield all nodes of a plan."""
    yield plan
    for part in plan.get("Plans", ()):
        yield from parts(part)
