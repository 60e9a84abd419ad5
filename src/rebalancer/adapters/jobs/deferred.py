"""Jobs that other processes run."""

from __future__ import annotations

import attrs

from rebalancer.domain.jobs.job import Job


@attrs.frozen
class DeferredJobs:
    """For short-lived processes; a worker polls the database."""

    def submit(self, job: Job) -> None:
        """See `JobRunner.submit`."""
