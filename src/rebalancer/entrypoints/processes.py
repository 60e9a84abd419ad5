"""Processes that work for another one."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time

PATIENCE = 10.0
"""Seconds that a process has to end in order once its parent is gone."""


def end_with_parent(patience: float = PATIENCE) -> None:
    """Have this process end when its parent does, even if that was killed.

    It is told by SIGTERM, and ended if it takes too long: it may have been told while it began,
    before it listened.
    """
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def follow() -> None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(patience)
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()
