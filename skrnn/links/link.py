"""What every link is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..layout import Place, Section
from ..recording import Recording, Rows


class Link:
    """A link of a network.

    Parameters
    ----------
    name : str
        Of the link, of what it makes, and of its buffers: no other link, nor a part of one, has it.
    reads : str
        Names of the values that it reads; the network's input is "X".

    Attributes
    ----------
    width : int
        Numbers in a row of what it makes.
    per : {SIZE_R, SIZE_B} or None
        Whether it makes a row for each step or for each sequence; None: like the first that it reads.
    side : {0, 1} or None
        Of pairs: whose sequences it works on, 0 or their mates, 1; None: like the first that it reads.
    whole : bool
        Whether it needs whole sequences, which are then not read in chunks.
    crosses : tuple of {0, 1}, or None
        Of pairs: the sides of the values that it reads; None: all of one.
    """

    width: int
    per: int | None = None
    side: int | None = None
    whole = False
    crosses: tuple[int, ...] | None = None

    def __init__(self, name: str, *reads: str) -> None:
        self.name, self.reads = name, reads

    def sections(self) -> Iterator[Section]:
        """Its arrays of parameters, in PyTorch's order."""
        yield from ()

    def places(self) -> Iterator[tuple[str, Iterator[Place]]]:
        """Its parts, by whose names a recording finds their parameters, and how the backend keeps those."""
        yield from ()

    def forward(self, rec: Recording, *values: Any) -> Any:
        """Record what it makes: rows, or something that `rows` makes rows of."""
        raise NotImplementedError

    def backward(self, rec: Recording, *gradients: Rows, need: tuple[bool, ...]) -> tuple[Rows | None, ...]:
        """Record its adjoint.

        Parameters
        ----------
        gradients : Rows
            Of what it has made: one, or one per step and one per sequence.
        need : tuple of bool
            Whose gradients are wanted of the values that it reads.

        Returns
        -------
        tuple of Rows or None, for each value that it reads
            Columns beyond the value's width are zero. They may be changed in place: each in a buffer of its
            own, or the gradient that came in, once.
        """
        raise NotImplementedError

    def flops(self, n_rows: float) -> float:
        """Of a forward pass over so many steps, where they are worth counting."""
        return 0.0
