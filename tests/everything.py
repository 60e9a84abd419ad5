"""`make serve-full`: run the API and a worker on real servers until Ctrl-C.

When one process ends, the others are stopped and the message names the one that ended.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests import watchdog
from tests.servers import TIMEOUT, all_running, until_interrupted, wait_for_exit

COMMAND = str(Path(sys.executable).with_name("rebalancer"))

PROGRAMS = {
    "the API": [COMMAND, "serve", "--upgrade", "--demo"],
    "the worker": [COMMAND, "worker"],
}


@contextmanager
def started(
    command: Sequence[str], settings: Mapping[str, str]
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program with settings in its environment; stop it in order at the end."""
    process = subprocess.Popen(
        command,
        env={**os.environ, **settings},
        stdin=subprocess.DEVNULL,
        start_new_session=True,  # we handle Ctrl-C, and stop the program before its servers
    )
    watchdog.watch(process)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(TIMEOUT)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        watchdog.release(process)


def main(programs: Mapping[str, Sequence[str]] = PROGRAMS) -> str | None:
    """Run all programs until interrupted, or until one ends; then return a sentence naming it.

    Args:
        programs: Commands to run on the servers, by the names shown to people.
    """
    with until_interrupted(), all_running() as (urls, servers), ExitStack() as stack:
        # The demo portfolio needs the sample prices; imported prices are available as "store".
        settings = {**urls, "REBALANCER_PRICES": os.environ.get("REBALANCER_PRICES", "sample")}
        for name, url in settings.items():
            print(f"{name}={url}", flush=True)
        tables = subprocess.run([COMMAND, "db", "upgrade"], env={**os.environ, **settings})
        if tables.returncode != 0:
            return "the database has no tables"
        running = {
            name: stack.enter_context(started(command, settings))
            for name, command in programs.items()
        }
        print("Running until Ctrl-C; all data is deleted then.", file=sys.stderr, flush=True)
        return wait_for_exit({**running, **{server.name: server.process for server in servers}})
    return None


if __name__ == "__main__":
    sys.exit(main())
