"""``weights.npz``: networks and the range of their inputs as plain arrays, without pickles."""

from __future__ import annotations

import io
import re
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from typing import Any

import attrs
import numpy as np

from rebalancer.adapters.rl.manifest import IncompatibleVersion
from rebalancer.domain.arrays import Floats
from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.policy.learned import LearnedPolicy
from rebalancer.domain.policy.network import Network

WEIGHTS = "weights.npz"

_LAYER = re.compile(r"(net[0-9]{1,3}(?:/base)?)/([wb])([0-9]{1,2})")


@attrs.frozen(eq=False)
class Weights:
    """The arrays of a learned policy.

    Attributes:
        networks: One for each seed.
        lowest: (F,) least inputs of the training.
        highest: (F,) greatest inputs of the training.
    """

    networks: tuple[Network, ...]
    lowest: Floats
    highest: Floats


def pack_weights(learned: LearnedPolicy) -> bytes:
    """Encode the arrays of a policy in single precision; equal policies give equal bytes.

    Raises:
        InvalidRequest: the networks choose from different grids of actions.
    """
    grid = learned.networks[0].grid
    if len({b"" if one.grid is None else one.grid.tobytes() for one in learned.networks}) > 1:
        raise InvalidRequest(
            "the networks use different grids of actions; all networks must use the same grid",
            field="grid",
            code="different_action_grids",
        )
    arrays = {"lowest": learned.lowest, "highest": learned.highest}
    if grid is not None:
        arrays["grid"] = grid
    for number, network in enumerate(learned.networks):
        arrays |= network_arrays(network, f"net{number}/")
    packed = io.BytesIO()
    with np.errstate(over="ignore"):  # `unpack_weights` rejects infinities
        np.savez(packed, **{name: array.astype(np.float32) for name, array in arrays.items()})  # type: ignore[arg-type]  # its own keywords
    return packed.getvalue()


def network_arrays(network: Network, prefix: str = "") -> dict[str, Floats]:
    """Return the layers of a network and of its base by the names that `_LAYER` describes."""
    arrays: dict[str, Floats] = {}
    for layer, (weight, bias) in enumerate(zip(network.weights, network.biases, strict=True)):
        arrays[f"{prefix}w{layer}"] = weight
        arrays[f"{prefix}b{layer}"] = bias
    if network.base is not None:
        arrays |= network_arrays(network.base, f"{prefix}base/")
    return arrays


def unpack_weights(content: bytes, features: int) -> Weights:
    """Decode the arrays of a policy with F features.

    Raises:
        IncompatibleVersion: an array is missing, surplus or malformed.
        InvalidRequest: the layers of a network do not fit together.
    """
    arrays = _read_arrays(content)
    grid = arrays.pop("grid", None)
    bounds = []
    for name, unbounded in (("lowest", -np.inf), ("highest", np.inf)):
        array = arrays.pop(name, np.full(features, unbounded))
        if array.shape != (features,):
            raise IncompatibleVersion(
                f"{WEIGHTS}: {name} has shape {array.shape}; it must be ({features},)"
            )
        bounds.append(array)
    lowest, highest = bounds
    if (lowest > highest).any():
        raise IncompatibleVersion(f"{WEIGHTS}: a lowest input exceeds the highest")
    networks = tuple(_networks(arrays, grid))
    return Weights(networks, lowest, highest)


def _read_arrays(content: bytes) -> dict[str, Floats]:
    """Read an npz file of finite floating-point numbers, without pickles."""
    try:
        packed = np.load(io.BytesIO(content), allow_pickle=False)
        if not isinstance(packed, np.lib.npyio.NpzFile):
            raise IncompatibleVersion(f"{WEIGHTS} holds a single array instead of named arrays")
        # Members that are not arrays are returned as bytes.
        members: dict[str, Any] = {name: packed[name] for name in packed.files}
    except IncompatibleVersion:
        raise
    except (
        *(ValueError, TypeError, OSError, EOFError, KeyError, SyntaxError),
        *(RuntimeError, MemoryError, zipfile.BadZipFile, zlib.error),
    ) as error:
        raise IncompatibleVersion(f"{WEIGHTS} is not an npz file of numbers: {error}") from None
    for name, array in members.items():
        if not isinstance(array, np.ndarray) or array.dtype.kind != "f":
            raise IncompatibleVersion(
                f"{WEIGHTS}: {name} is not an array of floating-point numbers"
            )
        if not np.isfinite(array).all():
            raise IncompatibleVersion(f"{WEIGHTS}: {name} holds a number that is not finite")
    return {name: array.astype(np.float64) for name, array in members.items()}


def _networks(arrays: Mapping[str, Floats], grid: Floats | None) -> Iterator[Network]:
    """Build the networks, in order; no array is missing or surplus."""
    depths: dict[str, int] = {}
    for name in arrays:
        match = _LAYER.fullmatch(name)
        if match is None:
            raise IncompatibleVersion(f"{WEIGHTS}: {name} is not part of a network")
        owner, layer = match[1], int(match[3])
        depths[owner] = max(depths.get(owner, 0), layer + 1)
    count = 1 + max((int(owner.removesuffix("/base")[3:]) for owner in depths), default=0)
    owners = [f"net{number}" for number in range(count)]
    based = [owner for owner in owners if f"{owner}/base" in depths]
    expected = {
        f"{owner}/{part}{layer}"
        for owner in (*owners, *(f"{owner}/base" for owner in based))
        for layer in range(depths.get(owner, 1))
        for part in "wb"
    }
    if missing := sorted(expected - arrays.keys()):
        raise IncompatibleVersion(f"{WEIGHTS}: {missing[0]} is missing")
    if surplus := sorted(arrays.keys() - expected):
        raise IncompatibleVersion(f"{WEIGHTS}: {surplus[0]} is not part of a network")

    def layers(owner: str) -> tuple[list[Floats], list[Floats]]:
        weights, biases = (
            [arrays[f"{owner}/{part}{layer}"] for layer in range(depths[owner])] for part in "wb"
        )
        return weights, biases

    for owner in owners:
        base = Network(*layers(f"{owner}/base")) if owner in based else None
        yield Network(*layers(owner), grid, base)
