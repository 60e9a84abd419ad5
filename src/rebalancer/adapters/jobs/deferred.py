"""Jobs that are left to others."""

from __future__ import annotations

import attrs

from rebalancer.domain.jobs.job import Job


@attrs.frozen
class DeferredJobs:
    """For a process that ends soon: who recovers jobs finds what waits in the store by itself."""

    def submit(self, job: Job) -> None:
        """See `JobRunner.submit`."""
