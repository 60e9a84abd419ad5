"""Hot queries of Postgres, each answered by an index: asked of the server with EXPLAIN."""

from __future__ import annotations

import json
from datetime import timedelta
from uuid import UUID

import pytest
from sqlalchemy import event

from rebalancer.application.ports.jobs import JobState
from rebalancer.domain.rebalancing.record import Stage
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
    """A store in which reading a whole table would be noticed, and one owner's things in it."""
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
        a_job(ada.id),
        a_run(),
    )
    with work.begin() as tx:
        tx.users.add(ada)
        tx.portfolios.add(portfolio, entries)
        tx.proposals.add([record])
        tx.tokens.add(token)
        tx.keys.add(key)
        tx.jobs.add(job)
        tx.runs.add(run, [UUID(int=n) for n in range(1, 2000)])
    with work.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("ANALYZE")
    return work, ada, portfolio, entries, record, token, key, job, run


def named(**calls):
    return [pytest.param(call, id=name) for name, call in calls.items()]


@pytest.mark.parametrize(
    "call",
    named(
        user=lambda tx, on: tx.users.get(on.ada.id),
        login=lambda tx, on: tx.users.by_email(on.ada.email),
        token=lambda tx, on: tx.tokens.get(on.token.digest),
        token_use=lambda tx, on: tx.tokens.use(on.token.digest, NOW),
        logout=lambda tx, on: tx.tokens.revoke(on.token.family),
        token_tidy=lambda tx, on: tx.tokens.tidy(NOW, owner=on.ada.id),
        portfolio=lambda tx, on: tx.portfolios.get(on.portfolio.id, owner=on.ada.id),
        portfolios_some=lambda tx, on: tx.portfolios.some([on.portfolio.id]),
        portfolios_versions=lambda tx, on: tx.portfolios.versions([on.portfolio.id]),
        portfolios_page=lambda tx, on: tx.portfolios.of(on.ada.id, after=on.portfolio.id, limit=20),
        portfolio_save=lambda tx, on: tx.portfolios.save(
            on.portfolio.revised(on.portfolio.mandate, NOW + HOUR)
        ),
        chunk=lambda tx, on: tx.portfolios.chunk(after=on.portfolio.id, limit=50),
        ledger=lambda tx, on: tx.portfolios.ledger(on.portfolio.id),
        entries_page=lambda tx, on: tx.portfolios.entries(
            on.portfolio.id, before=on.entries[1].id, limit=20
        ),
        proposal=lambda tx, on: tx.proposals.get(on.record.id, owner=on.ada.id),
        proposal_save=lambda tx, on: tx.proposals.save(on.record, seen=Stage.PROPOSED),
        proposals_page=lambda tx, on: tx.proposals.of(on.ada.id, before=on.record.id, limit=20),
        proposals_of_portfolio=lambda tx, on: tx.proposals.of(
            on.ada.id, portfolio_id=on.portfolio.id, limit=20
        ),
        key=lambda tx, on: tx.keys.get(on.ada.id, on.key.key),
        job=lambda tx, on: tx.jobs.get(on.job.id, owner=on.ada.id),
        jobs_page=lambda tx, on: tx.jobs.of(on.ada.id, before=on.job.id, limit=20),
        jobs_stranded=lambda tx, on: tx.jobs.stranded(
            due=NOW + HOUR, silent=NOW - timedelta(minutes=1), limit=20
        ),
        jobs_dead=lambda tx, on: tx.jobs.of(states=frozenset({JobState.DEAD}), limit=20),
        run=lambda tx, on: tx.runs.get(on.run.id),
        run_unfinished=lambda tx, on: tx.runs.unfinished(on.run.terms),
        run_take=lambda tx, on: tx.runs.take(on.run.id),
    ),
)
def test_no_table_is_read_from_end_to_end(filled, call):
    work, *kept = filled
    names = ("ada", "portfolio", "entries", "record", "token", "key", "job", "run")
    on = type("On", (), dict(zip(names, kept, strict=True)))
    said = []

    def note(connection, cursor, statement, parameters, context, executemany):
        said.append((statement, parameters))

    event.listen(work.engine, "before_cursor_execute", note)
    try:
        with pytest.raises(ZeroDivisionError), work.begin() as tx:  # so that nothing is kept
            call(tx, on)
            raise ZeroDivisionError
    finally:
        event.remove(work.engine, "before_cursor_execute", note)
    assert said
    whole = []
    with work.engine.connect() as connection:
        # With tables of any size: a whole one is read only if there is no index for the question.
        connection.exec_driver_sql("SET enable_seqscan = off")
        for statement, parameters in said:
            plan = connection.exec_driver_sql(f"EXPLAIN (FORMAT JSON) {statement}", parameters)
            tree = plan.scalar_one()
            tree = json.loads(tree) if isinstance(tree, str | bytes) else tree
            whole += [(table, statement) for table in read_whole(tree[0]["Plan"])]
    assert whole == []


def read_whole(plan):
    """Tables that a plan reads from end to end."""
    if plan["Node Type"] == "Seq Scan":
        yield plan["Relation Name"]
    for part in plan.get("Plans", ()):
        yield from read_whole(part)
