"""Files that a command reads or writes."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.market.symbols import normalize_symbol

if TYPE_CHECKING:
    from rebalancer.domain.portfolio.target_groups import TargetTree


def read_file(path: Path, *, field: str) -> bytes:
    """Return the contents of a file; raise InvalidRequest if it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise InvalidRequest(
            f"cannot read {path}: {error.strerror}", field=field, code="file_unreadable"
        ) from None


def write_text(path: Path, text: str, *, field: str) -> None:
    """Write a file of UTF-8, and its folder; raise InvalidRequest if they cannot be written."""
    write_bytes(path, text.encode(), field=field)


def write_bytes(path: Path, data: bytes, *, field: str) -> None:
    """Write a file, and its folder; raise InvalidRequest if they cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    except OSError as error:
        folder = isinstance(error, FileExistsError)
        reason = f"{path.parent} is not a folder" if folder else error.strerror
        raise InvalidRequest(
            f"cannot write {path}: {reason}", field=field, code="file_unwritable"
        ) from None


def check_output(path: Path, inputs: Iterable[Path | None], *, field: str) -> None:
    """Raise InvalidRequest if an output would overwrite an input."""
    for given in inputs:
        if given is not None and given.exists() and path.exists() and path.samefile(given):
            raise InvalidRequest(
                f"{path} is also an input; choose another output",
                field=field,
                code="output_is_input",
            )


def read_json(path: Path, *, field: str) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        InvalidRequest: the file cannot be read, is not a JSON object, or repeats a name.
    """
    from rebalancer.entrypoints.schemas.wire import parse_json

    return parse_json(read_file(path, field=field), field=field)


def read_any_targets(path: Path | None) -> tuple[dict[str, float] | None, TargetTree | None]:
    """Read targets by symbol, or by groups if the JSON object has a list of groups.

    Raises:
        InvalidRequest: as `read_targets`, or the groups are invalid.
    """
    from rebalancer.entrypoints.schemas.decoding import decode_file
    from rebalancer.entrypoints.schemas.target_groups import TargetTreeBody

    if path is None:
        return None, None
    values = read_json(path, field="targets")
    if isinstance(values.get("groups"), list):
        return None, decode_file(values, TargetTreeBody, TargetTreeBody.tree)
    return read_targets(path), None


def read_targets(path: Path | None) -> dict[str, float] | None:
    """Read target weights from a JSON object; return None without a file.

    Raises:
        InvalidRequest: the file cannot be read, is not a JSON object of numbers, or repeats a
            symbol.
    """
    from rebalancer.entrypoints.schemas.portfolio import read_weights

    return None if path is None else read_weights(read_json(path, field="targets"))


def parse_targets(text: str | None) -> dict[str, Any]:
    """Read weights from ``SPY=0.6,AGG=0.4``, or from the JSON file that the text names.

    Raises:
        InvalidRequest: the text is missing or malformed.
    """
    if text is None:
        raise InvalidRequest("targets are missing", field="targets", code="targets_missing")
    if "=" not in text or Path(text).is_file():
        return read_json(Path(text), field="targets")
    found: dict[str, Any] = {}
    for piece in text.split(","):
        name, equals, weight = piece.rpartition("=")  # a symbol may have one too: GC=F=0.5
        symbol = normalize_symbol(name)
        if not (symbol and equals):
            raise InvalidRequest(
                f"{piece.strip()!r} is not of the form SYMBOL=WEIGHT",
                field="targets",
                code="malformed_targets",
            )
        if symbol in found:
            raise InvalidRequest(
                f"{symbol} occurs twice; give each symbol one weight",
                field="targets",
                code="duplicate_symbol",
            )
        found[symbol] = weight.strip()
    return found


def read_holdings(path: Path) -> dict[str, str]:
    """Read quantities by symbol from a CSV with the columns symbol and quantity, in any case.

    Raises:
        InvalidRequest: the file cannot be read, lacks a column, or repeats a symbol.
    """
    import csv
    import io

    try:
        text = read_file(path, field="holdings").decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InvalidRequest(
            f"{path} is not UTF-8 text", field="holdings", code="malformed_csv"
        ) from None
    rows = csv.reader(io.StringIO(text, newline=None), skipinitialspace=True, strict=True)

    def malformed(problem: str) -> InvalidRequest:
        return InvalidRequest(
            f"{path}, line {rows.line_num}: {problem}", field="holdings", code="malformed_csv"
        )

    found: dict[str, str] = {}
    try:
        header = [title.strip().casefold() for title in next(rows, [])]
        if header.count("symbol") != 1 or header.count("quantity") != 1:
            raise InvalidRequest(
                f"{path} needs a header line with one column symbol and one column quantity, "
                "separated by commas",
                field="holdings",
                code="malformed_csv",
            )
        for row in rows:
            if any(cell.strip() for cell in row[len(header) :]):
                raise malformed("more cells than columns; write 1000 rather than 1,000")
            cells = dict(zip(header, (cell.strip() for cell in row), strict=False))
            if not any(cells.values()):
                continue
            symbol = normalize_symbol(cells.get("symbol", ""))
            if not symbol:
                raise malformed("the symbol is missing")
            if symbol in found:
                raise malformed(f"{symbol} occurs twice; add the quantities up")
            found[symbol] = cells.get("quantity", "")
    except csv.Error as error:
        raise malformed(f"the line is not CSV: {error}") from None
    return found
