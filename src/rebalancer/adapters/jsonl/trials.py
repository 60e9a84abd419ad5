"""The record of trials as a file of JSON lines, to be committed beside the code that was tried."""

from __future__ import annotations

import json
import os
from datetime import datetime
from pathlib import Path
from typing import Any

import attrs

from rebalancer.application.ports.trials import Trial, TrialKind
from rebalancer.domain.errors import InvalidRequest, Unavailable


@attrs.frozen
class JsonlTrials:
    """Trials in a file, one JSON object a line; the file is made by the first.

    Attributes:
        path: The file.
    """

    path: Path

    @property
    def location(self) -> str:
        """See `Trials.location`."""
        return str(self.path)

    def append(self, trial: Trial) -> None:
        """See `Trials.append`: one write to the file's end, which the system keeps in one piece."""
        kept = {
            "on": trial.on.isoformat(timespec="seconds"),
            "kind": str(trial.kind),
            "what": list(trial.what),
            "trials": trial.trials,
            "digest": trial.digest,
            "note": trial.note,
        }
        line = json.dumps(kept, ensure_ascii=False).encode() + b"\n"
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            file = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
            try:
                if _unended(file):  # edited by hand
                    line = b"\n" + line
                if os.write(file, line) < len(line):
                    raise OSError(0, "no space left")
            finally:
                os.close(file)
        except OSError as error:
            raise Unavailable(f"cannot write {self.path}: {error.strerror}") from None

    def all(self) -> tuple[Trial, ...]:
        """See `Trials.all`; empty lines are passed over."""
        try:
            text = self.path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return ()
        except UnicodeDecodeError:
            raise InvalidRequest(f"{self.path} is not UTF-8 text", field="trials") from None
        except OSError as error:
            raise Unavailable(f"cannot read {self.path}: {error.strerror}") from None
        return tuple(
            self._trial(number, line)
            for number, line in enumerate(text.split("\n"), start=1)
            if line.strip()
        )

    def count(self) -> int:
        """See `Trials.count`."""
        return sum(trial.trials for trial in self.all())

    def _trial(self, number: int, line: str) -> Trial:
        try:
            return _read(json.loads(line))
        except (ValueError, RecursionError):
            why = "is not a JSON object"
        except InvalidRequest as error:
            why = str(error)
        raise InvalidRequest(
            f"{self.path}, line {number}: {why}; mend the line, for trials must be counted",
            field="trials",
        )


def _unended(file: int) -> bool:
    """Whether the last line of an open file lacks its end."""
    size = os.fstat(file).st_size
    return size > 0 and os.pread(file, 1, size - 1) != b"\n"


def _read(kept: Any) -> Trial:
    if not isinstance(kept, dict):
        raise InvalidRequest("is not a JSON object")
    try:
        on = datetime.fromisoformat(_text(kept, "on"))
    except ValueError:
        raise InvalidRequest(
            "must be a time such as 2026-01-31T12:00:00+00:00", field="on"
        ) from None
    kind = _text(kept, "kind")
    if kind not in list(TrialKind):
        raise InvalidRequest(f"must be one of {', '.join(TrialKind)}, got {kind!r}", field="kind")
    what, trials = kept.get("what"), kept.get("trials", 1)
    if not isinstance(what, list) or not all(isinstance(name, str) for name in what):
        raise InvalidRequest("must be a list of names", field="what")
    if not isinstance(trials, int) or isinstance(trials, bool):
        raise InvalidRequest(f"must be a whole number, got {trials!r}", field="trials")
    return Trial(
        on, TrialKind(kind), tuple(what), trials, _text(kept, "digest", ""), _text(kept, "note", "")
    )


def _text(kept: dict[str, Any], field: str, otherwise: str | None = None) -> str:
    value = kept.get(field, otherwise)
    if not isinstance(value, str):
        raise InvalidRequest("must be text" if field in kept else "is missing", field=field)
    return value
