"""Log of trials as a file of JSON lines, to be committed with the code."""

from __future__ import annotations

import json
import os
from datetime import datetime
from pathlib import Path
from typing import Any

import attrs

from rebalancer.application.ports.trials import Trial, TrialKind, invalid_trial
from rebalancer.domain.errors import InvalidRequest, Unavailable


@attrs.frozen
class JsonlTrials:
    """Trials in a file of JSON objects, one on each line; the first trial creates it."""

    path: Path

    @property
    def location(self) -> str:
        return str(self.path)

    def append(self, trial: Trial) -> None:
        record = attrs.asdict(trial) | {"on": trial.on.isoformat(timespec="seconds")}
        line = json.dumps(record, ensure_ascii=False).encode() + b"\n"
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            file = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
            try:
                if _lacks_newline(file):  # edited by hand
                    line = b"\n" + line
                if os.write(file, line) < len(line):
                    raise OSError(0, "no space left")
            finally:
                os.close(file)
        except OSError as error:
            raise Unavailable(
                f"cannot write {self.path}: {error.strerror}", code="cannot_write_file"
            ) from None

    def all(self) -> tuple[Trial, ...]:
        try:
            text = self.path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return ()
        except UnicodeDecodeError:
            raise InvalidRequest(
                f"{self.path} is not UTF-8 text", field="trials", code="invalid_trial_log"
            ) from None
        except OSError as error:
            raise Unavailable(
                f"cannot read {self.path}: {error.strerror}", code="cannot_read_file"
            ) from None
        return tuple(
            self._trial(number, line)
            for number, line in enumerate(text.split("\n"), start=1)
            if line.strip()
        )

    def count(self) -> int:
        return sum(trial.trials for trial in self.all())

    def _trial(self, number: int, line: str) -> Trial:
        try:
            return _parse_trial(json.loads(line))
        except (ValueError, RecursionError):
            why = "it is not a JSON object"
        except InvalidRequest as error:
            why = str(error)
        raise InvalidRequest(
            f"{self.path}, line {number}: {why}; correct the line, as every trial must count",
            field="trials",
            code="invalid_trial_log",
        )


def _lacks_newline(file: int) -> bool:
    """Return whether the last line of an open file has no newline."""
    size = os.fstat(file).st_size
    return size > 0 and os.pread(file, 1, size - 1) != b"\n"


def _parse_trial(record: Any) -> Trial:
    if not isinstance(record, dict):
        raise invalid_trial("it is not a JSON object")
    try:
        on = datetime.fromisoformat(_text(record, "on"))
    except ValueError:
        raise invalid_trial("must be a time such as 2026-01-31T12:00:00+00:00", "on") from None
    kind = _text(record, "kind")
    if kind not in list(TrialKind):
        raise invalid_trial(f"unknown kind {kind!r}; choose one of {', '.join(TrialKind)}", "kind")
    what, trials = record.get("what"), record.get("trials", 1)
    if not isinstance(what, list) or not all(isinstance(name, str) for name in what):
        raise invalid_trial("must be a list of names", "what")
    if not isinstance(trials, int) or isinstance(trials, bool):
        raise invalid_trial(f"{trials!r} is not a whole number", "trials")
    return Trial(
        on,
        TrialKind(kind),
        tuple(what),
        trials,
        _text(record, "digest", ""),
        _text(record, "note", ""),
    )


def _text(record: dict[str, Any], field: str, otherwise: str | None = None) -> str:
    value = record.get(field, otherwise)
    if not isinstance(value, str):
        raise invalid_trial("must be text" if field in record else "is missing", field)
    return value
