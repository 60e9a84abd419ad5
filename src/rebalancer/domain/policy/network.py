"""Networks of learned policies, evaluated in numpy with reproducible sums."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import attrs
import numpy as np

from rebalancer.domain.arrays import Floats
from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.policy.actions import change_actions

_BLOCK = 512
"""Rows computed at a time: the values of a layer then fit into the processor's cache."""

_SLICE = 22
"""Bits of one slice of a factor: 2 x 22 bits and 512 summands fit into the 53 bits of a float."""


def read_only(values: object) -> Floats:
    """Copy values into a read-only array."""
    array = np.array(values, dtype=np.float64)
    array.setflags(write=False)
    return array


def _read_only_arrays(arrays: Sequence[object]) -> tuple[Floats, ...]:
    return tuple(read_only(array) for array in arrays)


@attrs.frozen(eq=False)
class Network:
    """A multilayer perceptron with hyperbolic tangents between its layers.

    The outputs for a row do not depend on the other rows, to the last bit.

    Attributes:
        weights: For each layer, shape (inputs, outputs).
        biases: For each layer, shape (outputs,).
        grid: (N, A) if the N outputs are the values of discrete actions, of which the best is
            chosen; None if the outputs are the A actions.
        base: Network whose actions the chosen row of the grid changes; None if the rows of the grid
            are the actions themselves.
    """

    weights: tuple[Floats, ...] = attrs.field(converter=_read_only_arrays)
    biases: tuple[Floats, ...] = attrs.field(converter=_read_only_arrays)
    grid: Floats | None = attrs.field(default=None, converter=attrs.converters.optional(read_only))
    base: Network | None = None

    def __attrs_post_init__(self) -> None:
        """Check that all parts fit together.

        Raises:
            InvalidRequest: a shape is wrong, or a weight is not finite.
        """
        if not self.weights or len(self.weights) != len(self.biases):
            raise invalid_network(
                f"{len(self.weights)} layers have weights and {len(self.biases)} have biases; a "
                "network needs at least one layer with both"
            )
        width = len(self.weights[0]) if self.weights[0].ndim else 0
        for place, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            if weight.ndim != 2 or weight.shape[0] != width or bias.shape != weight.shape[1:]:
                raise invalid_network(
                    f"layer {place} has weights of shape {weight.shape} and biases of shape "
                    f"{bias.shape}; it needs {width} inputs, and a bias for each output"
                )
            if not (np.isfinite(weight).all() and np.isfinite(bias).all()):
                raise invalid_network(f"layer {place} has a weight that is not finite")
            width = weight.shape[1]
        if self.grid is not None and (self.grid.ndim != 2 or width != len(self.grid)):
            raise invalid_network(
                f"the last layer has {width} outputs; it must have {len(self.grid)}, one for each "
                "discrete action"
            )
        if self.base is not None and (self.grid is None or self.base.grid is not None):
            raise invalid_network(
                "a network with a base needs a grid of changes, and its base must not have a grid"
            )
        if self.base is not None and self.grid is not None:
            numbers = self.grid.shape[1]
            if (self.base.inputs, self.base.width) != (self.inputs, numbers):
                raise invalid_network(
                    f"the base has {self.base.inputs} inputs and {self.base.width} outputs; it "
                    f"must have {self.inputs} and {numbers}"
                )

    @property
    def inputs(self) -> int:
        """Number of inputs."""
        return int(self.weights[0].shape[0])

    @property
    def width(self) -> int:
        """Number of outputs of the last layer."""
        return int(self.weights[-1].shape[1])

    @cached_property
    def _layers(self) -> tuple[_SplitMatrix, ...]:
        return tuple(_SplitMatrix.of(weight) for weight in self.weights)

    def outputs(self, observed: Floats) -> Floats:
        """Compute the outputs of the last layer for (B, inputs), shape (B, outputs)."""
        last = len(self.weights) - 1
        outputs = np.empty((len(observed), self.weights[-1].shape[1]))
        for start in range(0, len(observed), _BLOCK):
            values = observed[start : start + _BLOCK]
            for place, (layer, bias) in enumerate(zip(self._layers, self.biases, strict=True)):
                values = layer.product(values)
                values += bias
                if place < last:
                    np.tanh(values, out=values)
            outputs[start : start + _BLOCK] = values
        return outputs

    def actions(self, observed: Floats) -> Floats:
        """Compute actions within [-1, 1] for (B, inputs), shape (B, A)."""
        outputs = self.outputs(observed)
        if self.grid is None:
            return np.clip(outputs, -1.0, 1.0)
        best: Floats = self.grid[outputs.argmax(axis=1)]
        return best if self.base is None else change_actions(self.base.actions(observed), best)


@attrs.frozen(eq=False)
class _SplitMatrix:
    """A matrix whose products with rows do not depend on the number of rows.

    BLAS adds the terms of a product in an order that depends on the processor and on the number of
    rows, and the last digits depend on that order. Here both factors are split into slices so short
    that every sum of products of slices is exact, and therefore the same in any order. The error of
    a result is about 2^-44 of the largest term. With more than 512 inputs, sums may be rounded.

    Attributes:
        high: (n, m) first slice, with its own unit for each column.
        both: (n, 2 m) first and second slice, next to each other.

    References:
        Ozaki, K., Ogita, T., Oishi, S. and Rump, S. M. (2012). Error-free transformations of
        matrix multiplication by using fast routines of matrix multiplication and its
        applications. Numerical Algorithms 59, 95-118.
    """

    high: Floats
    both: Floats

    @classmethod
    def of(cls, matrix: Floats) -> _SplitMatrix:
        """Split a matrix (n, m)."""
        high, low = _split(matrix, _units(matrix, 0))
        return cls(high, np.concatenate([high, low], axis=1))

    def product(self, rows: Floats) -> Floats:
        """Multiply rows (B, n) with the matrix, giving (B, m)."""
        high, low = _split(rows, _units(rows, 1))
        width = self.high.shape[1]
        products = high @ self.both
        result = low @ self.high
        result += products[:, width:]
        result += products[:, :width]
        return result


def _units(values: Floats, axis: int) -> Floats:
    """Return the unit of the first slice along an axis: a power of two, 2^-22 of the largest."""
    largest = np.abs(values).max(axis=axis, keepdims=True)
    exponents = np.clip(np.frexp(largest)[1], -900, 900) - _SLICE
    units: Floats = np.ldexp(1.0, exponents)
    return units


def _split(values: Floats, units: Floats) -> tuple[Floats, Floats]:
    """Split values into two slices of 22 bits each; drop what is smaller than the second."""
    inverse = 1.0 / units  # exact, as units are powers of two; multiplying is faster than dividing
    high = values * inverse
    np.rint(high, out=high)
    high *= units
    low = values - high
    low *= inverse * 2.0**_SLICE
    np.rint(low, out=low)
    low *= units * 2.0**-_SLICE
    return high, low


def invalid_network(message: str) -> InvalidRequest:
    """Return the error of networks whose parts do not fit together."""
    return InvalidRequest(message, code="invalid_network")
