"""`make serve-full`: the API and a worker on real servers, all of them together, until Ctrl-C.

When one of them ends, the others do, too, and it is said which one it was.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.servers import PATIENCE, all_running, until_told, watch

COMMAND = str(Path(sys.executable).with_name("rebalancer"))

PROGRAMS = {
    "the API": [COMMAND, "serve", "--upgrade", "--demo"],
    "the worker": [COMMAND, "worker"],
}


@contextmanager
def started(
    command: Sequence[str], settings: Mapping[str, str]
) -> Iterator[subprocess.Popen[bytes]]:
    """A program with some settings in its environment; at the end it stops in order."""
    process = subprocess.Popen(
        command,
        env={**os.environ, **settings},
        stdin=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C is for us, who stop it before what it relies on
    )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def main(programs: Mapping[str, Sequence[str]] = PROGRAMS) -> str | None:
    """Run everything until somebody has had enough, or something ends by itself: then says which.

    Args:
        programs: What to run on the servers, by the names that people know them by.
    """
    with until_told(), all_running() as (urls, servers), ExitStack() as stack:
        # The ready-made portfolio is of the sample; what others import is there, too: "store".
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
        print("Running until Ctrl-C; what is kept ends with it.", file=sys.stderr, flush=True)
        return watch({**running, **{server.name: server.process for server in servers}})
    return None


if __name__ == "__main__":
    sys.exit(main())
