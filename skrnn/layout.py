"""Parameters: arrays with PyTorch's names, shapes and gate order, and where they lie in one flat vector.

A link says which arrays it has, as `Section`s; a backend says how its kernels keep them, as `Place`s, which
are laid one behind the other. So neither packs or unpacks anything by itself. A section of the same name is
the same array: links that share it, such as an embedding and the softmax above it, keep it in one place.

First lie the arrays of which a minibatch updates every number, and only they have a place in the flat vector
of gradients; behind them tables of which it updates the rows that it reads, and last what nothing updates.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from math import prod
from typing import Any, NamedTuple

import numpy as np

DENSE, LAZY = "dense", "lazy"  # how a place is updated: all of it, or the rows that a minibatch reads


class Section(NamedTuple):
    """An array as users see it.

    Attributes
    ----------
    name : str
    shape : tuple of int
    initial : callable
        ``initial(rng, shape)``: its values before training.
    decays : bool
        Whether the penalty on large weights counts it.
    """

    name: str
    shape: tuple[int, ...]
    initial: Callable[[np.random.RandomState, tuple[int, ...]], np.ndarray]
    decays: bool


class Place(NamedTuple):
    """Where a backend keeps some gates of a section, whose rows are gates times units.

    Attributes
    ----------
    name : str
        The backend's.
    section : str
    n_gates : int
        Of the section.
    gates : tuple of int
        Those that lie here, in their order.
    stored : tuple of int
        The shape in memory.
    axes : tuple of int
        Transposed like this, it is (gate, unit, column), where the units may take several axes and their
        number may be rounded up: what nobody asks for is zero.
    updates : {"dense", "lazy"} or None
        Whether a minibatch updates all of it, the rows that it reads, or nothing.
    """

    name: str
    section: str
    n_gates: int
    gates: tuple[int, ...]
    stored: tuple[int, ...]
    axes: tuple[int, ...]
    updates: str | None = DENSE


class Parameters:
    """The flat vector of a network's parameters.

    Parameters
    ----------
    links : sequence of Link

    Raises
    ------
    ValueError
        If links that share a section would keep it in different layouts, or give it different shapes, or if
        its updates are lazy.

    Attributes
    ----------
    size : int
    n_dense : int
        How many of them come first, and have gradients in a flat vector.
    """

    def __init__(self, links: Sequence[Any], dtype: np.dtype) -> None:
        self.links, self.dtype, self.size = links, dtype, 0
        self._places: list[tuple[Place, slice]] = []
        self._kept: dict[str, dict[Place, tuple[str, slice]]] = {}  # of a section: layout, part, where
        self._shared: set[int] = set()  # where places begin that several parts use
        self._parts: dict[str, dict[str, slice]] = {}
        own = [(part, list(places)) for link in links for part, places in link.places()]
        for updates in (DENSE, LAZY, None):
            for part, places in own:
                at = self._parts.setdefault(part, {})
                at |= {place.name: self._lay(place, part) for place in places if place.updates == updates}
            if updates == DENSE:
                self.n_dense = self.size
            if updates == LAZY:
                self._n_learnt = self.size

    def _lay(self, place: Place, part: str) -> slice:
        """Where a place lies: behind all others, or where another part keeps the same already."""
        known = self._kept.setdefault(place.section, {})
        others = {own for own, _ in known.values()} - {part}
        layout = place._replace(name="")
        if layout in known:
            other, at = known[layout]
            if place.updates == LAZY:
                raise ValueError(f"{part!r} and {other!r} share {place.section}, whose updates are lazy")
            self._shared.add(at.start)
        elif others:
            raise ValueError(f"{part!r} and {min(others)!r} would keep {place.section} in different layouts")
        else:
            at = slice(self.size, self.size + prod(place.stored))
            self.size = at.stop
            self._places.append((place, at))
            known[layout] = part, at
        return at

    @cached_property  # predictions do not ask for them
    def sections(self) -> dict[str, Section]:
        """By name, in PyTorch's order."""
        sections: dict[str, Section] = {}
        for section in (section for link in self.links for section in link.sections()):
            known = sections.setdefault(section.name, section)
            if known.shape != section.shape:
                raise ValueError(
                    f"{section.name} has shape {known.shape} in one link, {section.shape} in another"
                )
        return sections

    @cached_property
    def decay_ranges(self) -> list[tuple[int, int, bool]]:
        """(start, stop, decays) of stretches of the vector, as far as it is dense."""
        ranges: list[tuple[int, int, bool]] = []
        for place, at in self._places:
            if place.updates != DENSE:
                break
            start, decays = at.start, self.sections[place.section].decays
            if ranges and ranges[-1][2] == decays:
                start = ranges.pop()[0]
            ranges.append((start, at.stop, decays))
        return ranges

    def views(self, part: str, flat: Any) -> dict[str, Any]:
        """The places of a part, each flat."""
        return {name: flat[at] for name, at in self._parts[part].items()}

    def where(self, part: str, name: str) -> slice:
        """Where a place lies."""
        return self._parts[part][name]

    def learns(self, part: str) -> bool:
        """Whether anything of a part is updated."""
        return any(at.start < self._n_learnt for at in self._parts[part].values())

    def shared(self, part: str) -> dict[str, int]:
        """Of the places of a part that other parts use too: by name, where they begin."""
        if not self._shared:
            return {}
        return {name: at.start for name, at in self._parts[part].items() if at.start in self._shared}

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Of every section, in PyTorch's order."""
        return {name: section.shape for name, section in self.sections.items()}

    def initial(self, rng: np.random.RandomState) -> dict[str, np.ndarray]:
        """Values before training."""
        return {
            name: section.initial(rng, section.shape).astype(self.dtype)
            for name, section in self.sections.items()
        }

    def pack(self, weights: Mapping[str, np.ndarray]) -> np.ndarray:
        """The flat vector, from an array for each section."""
        flat = np.zeros(self.size, self.dtype)
        for place, at in self._places:
            kept = flat[at].reshape(place.stored).transpose(place.axes)
            n_kept, *units, n_columns = kept.shape
            by_gate = weights[place.section].reshape(place.n_gates, -1, n_columns)
            if place.n_gates > 1:
                by_gate = by_gate[list(place.gates)]
            if by_gate.shape[1] < prod(units):
                padded = np.zeros((n_kept, prod(units), n_columns), self.dtype)
                padded[:, : by_gate.shape[1]] = by_gate
                by_gate = padded
            kept[...] = by_gate.reshape(kept.shape)
        return flat

    def unpack(self, flat: np.ndarray) -> dict[str, np.ndarray]:
        """An array for each section, copied out of the flat vector."""
        weights = {name: np.empty(section.shape, self.dtype) for name, section in self.sections.items()}
        for place, at in self._places:
            kept = flat[at].reshape(place.stored).transpose(place.axes)
            _, n_panels, *panel, n_columns = kept.shape
            by_gate = weights[place.section].reshape(place.n_gates, -1, n_columns)
            n_whole, rest = divmod(by_gate.shape[1], prod(panel))
            for gate, of_gate in zip(place.gates, kept, strict=True):
                whole, last = np.split(by_gate[gate], [n_whole * prod(panel)])
                whole.reshape(n_whole, *panel, n_columns)[...] = of_gate[:n_whole]
                if rest:  # of which not all units are there
                    last[...] = of_gate[n_whole].reshape(-1, n_columns)[:rest]
        return weights
