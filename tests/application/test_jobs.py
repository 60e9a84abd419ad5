"""Jobs: how they change, and what whoever looks after them does when things go wrong."""

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
CARE = JobSettings(
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


# How a job changes.


def test_a_job_is_begun_heard_of_and_done():
    doing = a_job().start(NOW + SECOND)
    assert (doing.state, doing.attempts, doing.last_heartbeat) == (
        JobState.RUNNING,
        1,
        NOW + SECOND,
    )
    heard = doing.heartbeat(NOW + HOUR, attempt=1, progress=0.5)
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


def test_a_job_waits_longer_after_each_failure_and_dies_at_last():
    job, pauses, now = a_job(), [], NOW
    for _ in range(11):
        doing = job.start(now)
        job = doing.fail_attempt("no luck", now, attempt=doing.attempts, max_attempts=12)
        pauses.append(job.due - now)
        now = job.due
    assert pauses[:4] == [FIRST_PAUSE * 2**n for n in range(4)]
    assert pauses[-1] == LONGEST_PAUSE
    doing = job.start(now)
    dead = doing.fail_attempt("no luck", now, attempt=12, max_attempts=12)
    assert (dead.state, dead.error, dead.finished) == (JobState.DEAD, "no luck", now)
    fresh = dead.requeue(now + HOUR)
    assert fresh == attrs.evolve(
        a_job(), id=job.id, due=now + HOUR, attempts=12, excused_attempts=12
    )
    again = fresh.start(now + HOUR)
    assert again.fail_attempt("no luck", now, attempt=13, max_attempts=2).due == now + FIRST_PAUSE


def test_what_is_put_back_counts_as_not_begun():
    doing = a_job().start(NOW)
    back = doing.release(NOW + SECOND, attempt=1)
    assert back == attrs.evolve(
        doing, state=JobState.QUEUED, excused_attempts=1, last_heartbeat=None, due=NOW + SECOND
    )
    again = back.start(NOW + SECOND)
    with pytest.raises(JobChanged):  # whoever had to go comes back, and is somebody else now
        again.succeed({}, NOW, attempt=1)
    assert again.fail_attempt("no luck", NOW, attempt=2, max_attempts=2).state is JobState.QUEUED


def test_a_job_that_is_to_stop_is_cancelled_however_it_comes_back():
    doing = a_job().start(NOW).cancel(NOW)
    assert doing.cancelling and doing.state is JobState.RUNNING
    for after in (
        doing.fail_attempt("why", NOW, attempt=1, max_attempts=9),
        doing.release(NOW, attempt=1),
    ):
        assert (after.state, after.cancelling, after.finished) == (JobState.CANCELLED, False, NOW)
    assert doing.succeed({}, NOW, attempt=1).state is JobState.SUCCEEDED  # it was quicker


def test_only_whoever_does_it_now_may_say_how_it_goes():
    again = a_job().start(NOW).fail_attempt("why", NOW, attempt=1, max_attempts=9).start(NOW + HOUR)
    for say in (
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
            say()


# Submitting.


class Runner:
    """Notes what is submitted, unless it has to refuse."""

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
    return Runner()


def begun(work, job: Job) -> Job:
    with work.begin() as tx:
        doing = tx.jobs.get(job.id).start(NOW)
        tx.jobs.save(doing)
    return doing


def test_what_nobody_takes_on_has_failed(work, runner):
    runner.away, job = True, a_job()
    with pytest.raises(Unavailable):
        SubmitJob(work, runner)(job, now=NOW)
    left = seen(work, job)
    assert (left.state, left.error) == (JobState.FAILED, "the queue does not answer")
    with pytest.raises(Unavailable):
        RequeueJob(work, runner)(job.id, owner=None, now=NOW)
    assert seen(work, job) == left


def test_what_was_delivered_before_the_queue_went_away_goes_on(work, runner):
    runner.away, runner.first = True, lambda job: begun(work, job)
    job = a_job()
    assert SubmitJob(work, runner)(job, now=NOW).state is JobState.RUNNING
    other = kept(work, a_job(state=JobState.DEAD, attempts=3, finished=NOW))
    RequeueJob(work, runner)(other.id, owner=None, now=NOW)
    assert seen(work, other).state is JobState.RUNNING


def test_what_must_not_be_kept_is_neither_kept_nor_submitted(work, runner):
    def known(_):
        raise NotFound("there is no such user")

    job = a_job()
    with pytest.raises(NotFound):
        SubmitJob(work, runner)(job, now=NOW, existing=known)
    with pytest.raises(NotFound):
        seen(work, job)
    assert runner.submitted == []


def test_jobs_of_others_cannot_be_touched(work, runner):
    owner, eve = uuid4(), uuid4()
    job = kept(work, a_job(owner=owner))
    for use in (CancelJob(work), RequeueJob(work, runner)):
        with pytest.raises(NotFound):
            use(job.id, owner=eve, now=NOW)
    assert CancelJob(work)(job.id, owner=owner, now=NOW).state is JobState.CANCELLED


# Doing.


class FakeExecutor:
    """Do as they are told."""

    def __init__(self, do) -> None:
        self._do = do

    @contextmanager
    def reserve(self):
        yield self._do

    def close(self) -> None: ...


class UnavailableExecutor:
    """Nobody is there to do anything."""

    def reserve(self):
        raise Unavailable("nobody can do jobs here")

    def close(self) -> None: ...


def raising(error):
    def do(_):
        raise error

    return FakeExecutor(do)


def test_what_cannot_be_begun_here_is_put_back(work):
    job = kept(work, a_job())
    again = ClaimJob(work, clock, CARE, raising(Unavailable("no more")))(job.id)
    assert (again.state, again.attempts, again.excused_attempts) == (JobState.QUEUED, 1, 1)


def test_what_nobody_can_do_is_not_begun(work):
    job = kept(work, a_job())
    with pytest.raises(Unavailable, match="nobody"):
        ClaimJob(work, clock, CARE, UnavailableExecutor())(job.id)
    assert seen(work, job) == job


def test_a_job_that_was_cut_off_is_given_up_unless_it_was_done(work):
    job, done = kept(work, a_job()), kept(work, a_job())
    again = ClaimJob(work, clock, CARE, raising(RuntimeError("killed")))(job.id)
    assert (again.state, again.attempts) == (JobState.QUEUED, 1)

    def finish_and_die(job):
        with work.begin() as tx:
            tx.jobs.save(job.succeed({}, NOW, attempt=job.attempts))
        raise RuntimeError("killed")

    assert ClaimJob(work, clock, CARE, FakeExecutor(finish_and_die))(done.id) is None
    assert seen(work, done).state is JobState.SUCCEEDED


def test_what_comes_early_late_or_twice_is_not_done(work):
    do = ClaimJob(work, clock, CARE, raising(AssertionError("nobody should do it")))
    early = kept(work, a_job(due=NOW + HOUR))
    assert do(early.id) == early  # to be delivered again
    for state in set(JobState) - {JobState.QUEUED}:
        assert do(kept(work, a_job(state=state)).id) is None
    assert do(UUID(int=5)) is None


class Away:
    """A store that is away for so many writes."""

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


def test_an_outcome_survives_a_store_that_is_away_for_a_moment(work):
    away, job = Away(work), kept(work, a_job())

    def handler(job, progress):
        away.left = 2
        return {"sharpe": 1}

    RunJob(away, Handlers({"backtest": handler}), clock, CARE)(begun(work, job))
    assert seen(work, job).result == {"sharpe": 1}


def test_a_sign_of_life_may_fail(work):
    away, job = Away(work), kept(work, a_job())

    def handler(job, progress):
        progress(0.5)
        away.left = 2
        awaited(work, job, lambda job: job.progress == 0.5)
        return {}

    RunJob(away, Handlers({"backtest": handler}), clock, CARE)(begun(work, job))
    assert seen(work, job).state is JobState.SUCCEEDED


@pytest.mark.parametrize("heeds", [True, False])
def test_whoever_has_to_go_puts_the_job_back(work, heeds):
    told, left, job = threading.Event(), threading.Event(), kept(work, a_job())

    def handler(job, progress):
        told.set()
        assert not heeds or left.wait(5)
        while heeds or not left.is_set():
            if heeds:
                progress(0.5)
            time.sleep(0.005)
        return {"too": "late"}

    perform = RunJob(work, Handlers({"backtest": handler}), clock, CARE, told.is_set, left.set)
    perform(begun(work, job))
    back = seen(work, job)
    assert (back.state, back.excused_attempts, back.result) == (JobState.QUEUED, 1, None)


def test_whoever_lost_a_job_stops_and_says_nothing(work):
    job = kept(work, a_job())

    def handler(job, progress):
        with work.begin() as tx:  # as who recovers jobs does
            gone = tx.jobs.get(job.id).fail_attempt("gone", NOW, attempt=1, max_attempts=9)
            tx.jobs.save(gone)
        while True:
            progress(0.5)
            time.sleep(0.005)

    RunJob(work, Handlers({"backtest": handler}), clock, CARE)(begun(work, job))
    assert (seen(work, job).state, seen(work, job).error) == (JobState.QUEUED, "gone")


# Looking after them.


class Ticks:
    """Seconds that pass when somebody says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def ticks():
    return Ticks()


def test_only_what_is_silent_for_long_enough_is_taken_away(work, runner, ticks):
    doing = kept(
        work, attrs.evolve(a_job().start(NOW), last_heartbeat=NOW - HOUR)
    )  # by another clock
    recover = RecoverJobs(work, runner, clock, CARE, ticks)
    for _ in range(5):
        assert recover() == []
        ticks.now += CARE.heartbeat_timeout * 0.9
        with work.begin() as tx:
            doing = tx.jobs.get(doing.id).heartbeat(doing.last_heartbeat + SECOND, attempt=1)
            tx.jobs.save(doing)
    assert recover() == []
    ticks.now += CARE.heartbeat_timeout
    assert recover() == []  # not more than that
    ticks.now += 0.1
    assert [job.id for job in recover()] == [doing.id]
    assert seen(work, doing).state is JobState.QUEUED


def test_a_store_that_was_away_makes_nobody_seem_dead(work, runner, ticks):
    away = Away(work)
    doing = kept(work, a_job().start(NOW))
    recover = RecoverJobs(away, runner, clock, CARE, ticks)
    assert recover() == []
    with work.begin() as tx:  # the last sign before, and the first after
        tx.jobs.save(tx.jobs.get(doing.id).heartbeat(NOW + SECOND, attempt=1))
    ticks.now += 100 * CARE.heartbeat_timeout
    assert recover() == []
    assert seen(work, doing).state is JobState.RUNNING


def test_recovery_leaves_the_rest_for_later_when_the_queue_is_away(work, runner, ticks):
    waits = kept(work, a_job(due=NOW - HOUR))
    silent = kept(work, attrs.evolve(a_job().start(NOW), last_heartbeat=NOW - HOUR))
    recover = RecoverJobs(work, runner, clock, CARE, ticks)
    runner.away = True
    with pytest.raises(Unavailable):
        recover()
    ticks.now += CARE.heartbeat_timeout + 1
    with pytest.raises(Unavailable):
        recover()
    assert seen(work, silent).state is JobState.QUEUED  # taken away first, and waits in the store
    runner.away = False
    assert [job.id for job in recover()] == [waits.id]
    assert runner.submitted == [waits]


def test_a_silent_job_dies_when_it_was_tried_often_enough(work, runner, ticks):
    silent = kept(work, attrs.evolve(a_job().start(NOW), attempts=2, last_heartbeat=NOW - HOUR))
    recover = RecoverJobs(work, runner, clock, CARE, ticks)
    assert recover() == []
    ticks.now += CARE.heartbeat_timeout + 1
    assert len(recover()) == 1
    assert seen(work, silent).state is JobState.DEAD
    assert runner.submitted == []


def test_one_job_that_cannot_be_taken_away_keeps_nobody_from_the_others(work, runner, ticks):
    poison, silent = (kept(work, a_job().start(NOW)) for _ in range(2))
    waits = kept(work, a_job(due=NOW - HOUR))

    class Poisoned:
        """A store that breaks at one job."""

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

    recover = RecoverJobs(Poisoned(), runner, clock, CARE, ticks)
    assert [job.id for job in recover()] == [waits.id]
    ticks.now += CARE.heartbeat_timeout + 1
    assert {job.id for job in recover()} == {waits.id, silent.id}
    assert seen(work, silent).state is JobState.QUEUED


@pytest.mark.parametrize("attempts", [1, 9, 47, 1000, 10**6])
def test_no_number_of_attempts_makes_a_pause_too_long(attempts):
    doing = attrs.evolve(a_job().start(NOW), attempts=attempts)
    waits = doing.fail_attempt("why", NOW, attempt=attempts, max_attempts=10**9)
    assert NOW + FIRST_PAUSE <= waits.due <= NOW + LONGEST_PAUSE


def test_what_is_old_is_forgotten(work):
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
