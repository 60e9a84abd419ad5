"""Transitions of jobs, and what users, workers and recovery do with them."""

import threading
import time
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from types import SimpleNamespace
from uuid import UUID, uuid4

import attrs
import pytest

from rebalancer.adapters.memory.stores import MemoryWork
from rebalancer.application.job_worker import ClaimJob, Handlers, JobSettings, RecoverJobs, RunJob
from rebalancer.application.jobs import CancelJob, RequeueJob, SubmitJob
from rebalancer.application.maintenance import DeleteExpired
from rebalancer.domain.errors import NotFound, Unavailable
from rebalancer.domain.jobs.job import FIRST_PAUSE, LONGEST_PAUSE, Job, JobChanged, JobState
from tests import builders
from tests.contracts.jobs import awaited, kept, seen
from tests.contracts.stores import HOUR, NOW, a_key, a_token, a_user

SECOND = timedelta(seconds=1)
SETTINGS = JobSettings(
    attempts=2,
    timeout=10,
    poll_interval=0.005,
    heartbeat_interval=0.02,
    stop_timeout=0.1,
    store_timeout=1.0,
)


a_job = partial(builders.a_job, now=NOW)


def clock():
    return NOW


# Transitions.


def test_job_starts_sends_heartbeats_and_succeeds():
    running = a_job().start(NOW + SECOND)
    assert (running.state, running.attempts, running.last_heartbeat) == (
        JobState.RUNNING,
        1,
        NOW + SECOND,
    )
    heard = running.heartbeat(NOW + HOUR, attempt=1, progress=0.5)
    assert (heard.last_heartbeat, heard.progress) == (NOW + HOUR, 0.5)
    assert heard.heartbeat(NOW + HOUR, attempt=1).progress == 0.5
    assert heard.heartbeat(NOW, attempt=1, progress=7).progress == 1.0
    done = heard.succeed({"sharpe": 1}, NOW + 2 * HOUR, attempt=1)
    assert (done.state, done.result, done.finished) == (
        JobState.SUCCEEDED,
        {"sharpe": 1},
        NOW + 2 * HOUR,
    )
    assert (done.progress, done.last_heartbeat, done.error) == (1.0, None, None)


def test_pause_doubles_after_each_failure_until_the_job_is_dead():
    job, pauses, now = a_job(), [], NOW
    for _ in range(11):
        running = job.start(now)
        job = running.fail_attempt("no luck", now, attempt=running.attempts, max_attempts=12)
        pauses.append(job.due - now)
        now = job.due
    assert pauses[:4] == [FIRST_PAUSE * 2**n for n in range(4)]
    assert pauses[-1] == LONGEST_PAUSE
    running = job.start(now)
    dead = running.fail_attempt("no luck", now, attempt=12, max_attempts=12)
    assert (dead.state, dead.error, dead.finished) == (JobState.DEAD, "no luck", now)
    fresh = dead.requeue(now + HOUR)
    assert fresh == attrs.evolve(
        a_job(),
        id=job.id,
        due=now + HOUR,
        attempts=12,
        excused_attempts=12,
        started=running.started,
    )
    again = fresh.start(now + HOUR)
    assert again.fail_attempt("no luck", now, attempt=13, max_attempts=2).due == now + FIRST_PAUSE


def test_released_attempt_does_not_count():
    running = a_job().start(NOW)
    back = running.release(NOW + SECOND, attempt=1)
    assert back == attrs.evolve(
        running, state=JobState.QUEUED, excused_attempts=1, last_heartbeat=None, due=NOW + SECOND
    )
    again = back.start(NOW + SECOND)
    with pytest.raises(JobChanged):  # by the released attempt
        again.succeed({}, NOW, attempt=1)
    assert again.fail_attempt("no luck", NOW, attempt=2, max_attempts=2).state is JobState.QUEUED


def test_cancelling_job_is_cancelled_by_failure_and_release():
    running = a_job().start(NOW).cancel(NOW)
    assert running.cancelling and running.state is JobState.RUNNING
    for after in (
        running.fail_attempt("why", NOW, attempt=1, max_attempts=9),
        running.release(NOW, attempt=1),
    ):
        assert (after.state, after.cancelling, after.finished) == (JobState.CANCELLED, False, NOW)
    assert running.succeed({}, NOW, attempt=1).state is JobState.SUCCEEDED  # before it noticed


def test_transitions_of_an_earlier_attempt_are_rejected():
    again = a_job().start(NOW).fail_attempt("why", NOW, attempt=1, max_attempts=9).start(NOW + HOUR)
    for transition in (
        lambda: again.heartbeat(NOW, attempt=1),
        lambda: again.succeed({}, NOW, attempt=1),
        lambda: again.fail("why", NOW, attempt=1),
        lambda: again.fail_attempt("why", NOW, attempt=1, max_attempts=9),
        lambda: again.release(NOW, attempt=1),
        lambda: again.start(NOW),
        lambda: again.reject("why", NOW),
        lambda: again.requeue(NOW),
        lambda: a_job(due=NOW + HOUR).start(NOW),
        lambda: a_job().requeue(NOW),
        lambda: a_job().cancel(NOW).cancel(NOW),
    ):
        with pytest.raises(JobChanged):
            transition()


# Submitting.


class RecordingRunner:
    """Records submitted jobs, unless the queue is away."""

    def __init__(self) -> None:
        self.submitted: list[Job] = []
        self.away = False
        self.first = lambda _: None

    def submit(self, job: Job) -> None:
        self.first(job)
        if self.away:
            raise Unavailable("the queue does not answer")
        self.submitted.append(job)


@pytest.fixture
def work():
    return MemoryWork()


@pytest.fixture
def runner():
    return RecordingRunner()


def started(work, job: Job) -> Job:
    with work.begin() as tx:
        running = tx.jobs.get(job.id).start(NOW)
        tx.jobs.save(running)
    return running


def test_job_fails_if_the_queue_rejects_it(work, runner):
    runner.away, job = True, a_job()
    with pytest.raises(Unavailable):
        SubmitJob(work, runner)(job, now=NOW)
    left = seen(work, job)
    assert (left.state, left.error) == (JobState.FAILED, "the queue does not answer")
    with pytest.raises(Unavailable):
        RequeueJob(work, runner)(job.id, owner=None, now=NOW)
    assert seen(work, job) == left


def test_job_continues_if_delivered_before_the_queue_failed(work, runner):
    runner.away, runner.first = True, lambda job: started(work, job)
    job = a_job()
    assert SubmitJob(work, runner)(job, now=NOW).state is JobState.RUNNING
    other = kept(work, a_job(state=JobState.DEAD, attempts=3, finished=NOW))
    RequeueJob(work, runner)(other.id, owner=None, now=NOW)
    assert seen(work, other).state is JobState.RUNNING


def test_rejected_request_is_neither_stored_nor_submitted(work, runner):
    def known(_):
        raise NotFound("unknown user")

    job = a_job()
    with pytest.raises(NotFound):
        SubmitJob(work, runner)(job, now=NOW, existing=known)
    with pytest.raises(NotFound):
        seen(work, job)
    assert runner.submitted == []


def test_jobs_of_other_users_are_not_found(work, runner):
    owner, eve = uuid4(), uuid4()
    job = kept(work, a_job(owner=owner))
    for use in (CancelJob(work), RequeueJob(work, runner)):
        with pytest.raises(NotFound):
            use(job.id, owner=eve, now=NOW)
    assert CancelJob(work)(job.id, owner=owner, now=NOW).state is JobState.CANCELLED


# Running.


class FakeExecutor:
    """Runs a job by a function."""

    def __init__(self, do) -> None:
        self._do = do

    @contextmanager
    def reserve(self):
        yield self._do

    def close(self) -> None: ...


class UnavailableExecutor:
    """Has no worker."""

    def reserve(self):
        raise Unavailable("no worker can be started")

    def close(self) -> None: ...


def raising(error):
    def do(_):
        raise error

    return FakeExecutor(do)


def test_job_is_released_when_the_executor_closes(work):
    job = kept(work, a_job())
    again = ClaimJob(work, clock, SETTINGS, raising(Unavailable("no more")))(job.id)
    assert (again.state, again.attempts, again.excused_attempts) == (JobState.QUEUED, 1, 1)


def test_job_does_not_start_without_a_worker(work):
    job = kept(work, a_job())
    with pytest.raises(Unavailable, match="no worker"):
        ClaimJob(work, clock, SETTINGS, UnavailableExecutor())(job.id)
    assert seen(work, job) == job


def test_interrupted_attempt_fails(work):
    job = kept(work, a_job())
    again = ClaimJob(work, clock, SETTINGS, raising(RuntimeError("killed")))(job.id)
    assert (again.state, again.attempts) == (JobState.QUEUED, 1)


def test_interrupted_attempt_that_stored_its_outcome_succeeds(work):
    done = kept(work, a_job())

    def finish_and_die(job):
        with work.begin() as tx:
            tx.jobs.save(job.succeed({}, NOW, attempt=job.attempts))
        raise RuntimeError("killed")

    assert ClaimJob(work, clock, SETTINGS, FakeExecutor(finish_and_die))(done.id) is None
    assert seen(work, done).state is JobState.SUCCEEDED


def test_early_late_and_repeated_deliveries_are_ignored(work):
    claim = ClaimJob(work, clock, SETTINGS, raising(AssertionError("the job must not run")))
    early = kept(work, a_job(due=NOW + HOUR))
    assert claim(early.id) == early  # to be delivered again
    for state in set(JobState) - {JobState.QUEUED}:
        assert claim(kept(work, a_job(state=state)).id) is None
    assert claim(UUID(int=5)) is None


class FlakyStore:
    """A store that is away for a number of writes."""

    def __init__(self, work: MemoryWork) -> None:
        self._work = work
        self.left = 0

    def begin(self):
        if self.left > 0:
            self.left -= 1
            raise Unavailable("the database does not answer")
        return self._work.begin()

    def read(self):
        return self._work.read()


def test_outcome_is_stored_after_a_short_outage(work):
    store, job = FlakyStore(work), kept(work, a_job())

    def handler(job, progress):
        store.left = 2
        return {"sharpe": 1}

    RunJob(store, Handlers({"backtest": handler}), clock, SETTINGS)(started(work, job))
    assert seen(work, job).result == {"sharpe": 1}


def test_heartbeat_may_fail(work):
    store, job = FlakyStore(work), kept(work, a_job())

    def handler(job, progress):
        progress(0.5)
        store.left = 2
        awaited(work, job, lambda job: job.progress == 0.5)
        return {}

    RunJob(store, Handlers({"backtest": handler}), clock, SETTINGS)(started(work, job))
    assert seen(work, job).state is JobState.SUCCEEDED


@pytest.mark.parametrize("responsive", [True, False])
def test_stopping_worker_releases_its_job(work, responsive):
    stop, exited, job = threading.Event(), threading.Event(), kept(work, a_job())

    def handler(job, progress):
        stop.set()
        assert not responsive or exited.wait(60)
        while responsive or not exited.is_set():
            if responsive:
                progress(0.5)
            time.sleep(0.005)
        return {"too": "late"}

    run_job = RunJob(
        work, Handlers({"backtest": handler}), clock, SETTINGS, stop.is_set, exited.set
    )
    run_job(started(work, job))
    back = seen(work, job)
    assert (back.state, back.excused_attempts, back.result) == (JobState.QUEUED, 1, None)


def test_worker_stops_when_another_has_its_job(work):
    job = kept(work, a_job())

    def handler(job, progress):
        with work.begin() as tx:  # as recovery does
            gone = tx.jobs.get(job.id).fail_attempt("gone", NOW, attempt=1, max_attempts=9)
            tx.jobs.save(gone)
        while True:
            progress(0.5)
            time.sleep(0.005)

    RunJob(work, Handlers({"backtest": handler}), clock, SETTINGS)(started(work, job))
    assert (seen(work, job).state, seen(work, job).error) == (JobState.QUEUED, "gone")


# Recovery.


class Seconds:
    """A monotonic clock that a test advances."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def seconds():
    return Seconds()


def test_job_is_reclaimed_after_the_heartbeat_timeout(work, runner, seconds):
    running = kept(
        work, attrs.evolve(a_job().start(NOW), last_heartbeat=NOW - HOUR)
    )  # by another clock
    recover = RecoverJobs(work, runner, clock, SETTINGS, seconds)
    for _ in range(5):
        assert recover() == []
        seconds.now += SETTINGS.heartbeat_timeout * 0.9
        with work.begin() as tx:
            running = tx.jobs.get(running.id).heartbeat(running.last_heartbeat + SECOND, attempt=1)
            tx.jobs.save(running)
    assert recover() == []
    seconds.now += SETTINGS.heartbeat_timeout
    assert recover() == []  # the timeout itself is allowed
    seconds.now += 0.1
    assert [job.id for job in recover()] == [running.id]
    assert seen(work, running).state is JobState.QUEUED


def test_job_queued_while_the_clock_was_ahead_starts_when_it_is_right(work, runner, seconds):
    ahead = kept(work, a_job(due=NOW + 48 * HOUR))
    pausing = kept(work, a_job(due=NOW + LONGEST_PAUSE))
    recover = RecoverJobs(work, runner, clock, SETTINGS, seconds)
    assert [job.id for job in recover()] == [ahead.id]
    assert seen(work, ahead).due == NOW
    assert seen(work, pausing) == pausing
    assert recover() == []  # it has been delivered


def test_outage_of_the_store_makes_no_worker_look_dead(work, runner, seconds):
    store = FlakyStore(work)
    running = kept(work, a_job().start(NOW))
    recover = RecoverJobs(store, runner, clock, SETTINGS, seconds)
    assert recover() == []
    with work.begin() as tx:  # the only heartbeat during the outage
        tx.jobs.save(tx.jobs.get(running.id).heartbeat(NOW + SECOND, attempt=1))
    seconds.now += 100 * SETTINGS.heartbeat_timeout
    assert recover() == []
    assert seen(work, running).state is JobState.RUNNING


def test_recovery_stops_while_the_queue_is_away(work, runner, seconds):
    waits = kept(work, a_job(due=NOW - HOUR))
    silent = kept(work, attrs.evolve(a_job().start(NOW), last_heartbeat=NOW - HOUR))
    recover = RecoverJobs(work, runner, clock, SETTINGS, seconds)
    runner.away = True
    with pytest.raises(Unavailable):
        recover()
    seconds.now += SETTINGS.heartbeat_timeout + 1
    with pytest.raises(Unavailable):
        recover()
    assert seen(work, silent).state is JobState.QUEUED  # reclaimed before the queue was asked
    runner.away = False
    assert [job.id for job in recover()] == [waits.id]
    assert runner.submitted == [waits]


def test_silent_job_is_dead_after_its_last_attempt(work, runner, seconds):
    silent = kept(work, attrs.evolve(a_job().start(NOW), attempts=2, last_heartbeat=NOW - HOUR))
    recover = RecoverJobs(work, runner, clock, SETTINGS, seconds)
    assert recover() == []
    seconds.now += SETTINGS.heartbeat_timeout + 1
    assert len(recover()) == 1
    assert seen(work, silent).state is JobState.DEAD
    assert runner.submitted == []


def test_failed_reclaim_does_not_stop_the_recovery_of_other_jobs(work, runner, seconds):
    poison, silent = (kept(work, a_job().start(NOW)) for _ in range(2))
    waits = kept(work, a_job(due=NOW - HOUR))

    class Poisoned:
        """A store that cannot read one job."""

        read = work.read

        @contextmanager
        def begin(self):
            with work.begin() as tx:
                yield SimpleNamespace(jobs=SimpleNamespace(get=self.get(tx), save=tx.jobs.save))

        def get(self, tx):
            def get(id):
                if id == poison.id:
                    raise ValueError("no such state")
                return tx.jobs.get(id)

            return get

    recover = RecoverJobs(Poisoned(), runner, clock, SETTINGS, seconds)
    assert [job.id for job in recover()] == [waits.id]
    seconds.now += SETTINGS.heartbeat_timeout + 1
    assert {job.id for job in recover()} == {waits.id, silent.id}
    assert seen(work, silent).state is JobState.QUEUED


@pytest.mark.parametrize("attempts", [1, 9, 47, 1000, 10**6])
def test_pause_is_limited_for_any_number_of_attempts(attempts):
    running = attrs.evolve(a_job().start(NOW), attempts=attempts)
    waits = running.fail_attempt("why", NOW, attempt=attempts, max_attempts=10**9)
    assert NOW + FIRST_PAUSE <= waits.due <= NOW + LONGEST_PAUSE


def test_expired_data_is_deleted(work):
    ada = a_user()
    old, fresh = a_key(ada.id, "old", created=NOW), a_key(ada.id, "new", created=NOW + 24 * HOUR)
    ended, lives = a_token(ada.id), a_token(ada.id, expires=NOW + 1000 * HOUR)
    with work.begin() as tx:
        tx.users.add(ada)
        for key in (old, fresh):
            tx.keys.add(key)
        for token in (ended, lives):
            tx.tokens.add(token)
    DeleteExpired(work)(NOW + 7 * 24 * HOUR + SECOND)
    with work.read() as tx:
        assert tx.keys.get(ada.id, "old") is None
        assert tx.keys.get(ada.id, "new") == fresh
        assert tx.tokens.get(ended.digest) is None
        assert tx.tokens.get(lives.digest) == lives
