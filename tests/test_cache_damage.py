"""Damaged files of the kernel cache: none is loaded, each is compiled again."""

import pickle

import numpy as np
import pytest
from probe import COMPILED, LOADED, files, fresh, run

from skrnn.backends import kernel_cache

pytestmark = pytest.mark.usefixtures("nothing_said")


def flip(data, at):
    return data[:at] + bytes([data[at] ^ 4]) + data[at + 1 :]


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[: len(data) // 2],
        lambda data: data[:-1],
        lambda data: b"",
        lambda data: b"\0" * len(data),
        lambda data: data + b"\0",
        lambda data: pickle.dumps(42),
        lambda data: data[: data.index(b"\n") + 1],
        lambda data: flip(data, 10),
        lambda data: flip(data, data.index(b"\n") + 5),
        lambda data: flip(data, len(data) // 2),
        lambda data: flip(data, len(data) - 1),
    ],
    ids=[
        "half", "one byte short", "empty", "zeros", "one byte more", "a number", "a header",
        "a bit of the header", "a bit of the digest", "a bit of the kernel", "the last byte",
    ],
)  # fmt: skip
def test_a_damaged_file_is_compiled_again(directory, damage):
    run(fresh())
    (file,) = files(directory)
    file.write_bytes(damage(file.read_bytes()))
    with pytest.warns(RuntimeWarning, match="compiling again"):
        assert run(fresh()) == COMPILED
    assert run(fresh()) == LOADED  # and the file is mended


def test_no_damage_goes_unnoticed(directory):
    """A bit of any byte, any length, any block of zeros: nothing of it is unpickled."""
    kernel = fresh()
    run(kernel)
    (file,) = files(directory)
    data = file.read_bytes()
    _, header = kernel._cache._file(kernel.signatures[0], kernel.targetctx.codegen())
    assert pickle.loads(kernel_cache.payload(data, header))
    rng = np.random.default_rng(0)
    damaged = [
        data[:at] + bytes([data[at] ^ 1 << rng.integers(8)]) + data[at + 1 :] for at in range(len(data))
    ]
    damaged += [data[:size] for size in range(0, len(data), 37)]
    damaged += [data[:at] + bytes(64) + data[at + 64 :] for at in range(0, len(data) - 64, 64)]
    for other in damaged:
        if other != data:
            with pytest.raises(ValueError, match="damaged"):
                kernel_cache.payload(other, header)


def test_files_that_were_swapped_are_not_taken_for_each_other(directory):
    """By kernel, key or argument types; as a whole, or one's header before the other's code."""
    arrays = np.ones(4), np.ones(4, np.float32)

    def values():
        return [fresh(factor)(x) for factor in (3, 5) for x in arrays]

    expected = values()
    assert expected == [12, 12, 20, 20]
    kept = {file: file.read_bytes() for file in files(directory)}
    assert len(kept) == 4
    for one, other in zip(kept, [*kept][1:] + [*kept][:1]):
        header, behind = kept[one].index(b"\n") + 1, kept[other].index(b"\n") + 1
        for swapped in (kept[other], kept[one][:header] + kept[other][behind:]):
            one.write_bytes(swapped)
            kernel_cache.said.clear()
            with pytest.warns(RuntimeWarning, match="compiling again"):
                assert values() == expected
            assert one.read_bytes().startswith(kept[one][:header])  # mended


def test_of_many_damaged_files_the_first_is_told(directory):
    for factor in (3, 5, 7):
        fresh(factor)(np.ones(4))
    for file in files(directory):
        file.write_bytes(b"")
    with pytest.warns(RuntimeWarning, match="compiling again") as warned:
        assert [fresh(factor)(np.ones(4)) for factor in (3, 5, 7)] == [12, 20, 28]
    assert len(warned) == 1
    assert [fresh(factor)(np.ones(4)) for factor in (3, 5, 7)] == [12, 20, 28]
