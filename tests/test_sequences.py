import numpy as np
import pytest

from skrnn.sequences import Sequences, object_array


def index(*numbers):
    return np.array(numbers, dtype=np.intp)


@pytest.fixture
def windows():
    """Overlapping windows over one series, out of order."""
    return Sequences(np.arange(12.0).reshape(6, 2), index(3, 0, 2), index(2, 3, 4))


def test_from_arrays_concatenates_and_splits_back():
    arrays = [np.full((length, 2), length, dtype=np.float32) for length in (3, 1, 2)]
    sequences = Sequences.from_arrays(arrays)
    assert sequences.starts.tolist() == [0, 3, 4]
    assert sequences.lengths.tolist() == [3, 1, 2]
    assert (len(sequences), sequences.n_features, sequences.n_steps) == (3, 2, 6)
    np.testing.assert_array_equal(sequences.starts, sequences.offsets[:-1])
    assert sequences.values.dtype == np.float32
    for part, array in zip(sequences.split(sequences.values), arrays):
        np.testing.assert_array_equal(part, array)
        assert np.shares_memory(part, sequences.values)


def test_from_arrays_casts_to_the_dtype_asked_for():
    sequences = Sequences.from_arrays([np.ones((2, 1), dtype=int), np.zeros((1, 1), bool)], np.float32)
    assert sequences.values.dtype == np.float32
    assert sequences.values.ravel().tolist() == [1, 1, 0]


def test_from_arrays_in_column_order_are_put_in_row_order():
    arrays = [np.asfortranarray(np.arange(6.0).reshape(3, 2))] * 2
    values = Sequences.from_arrays(arrays).values
    assert values.flags.c_contiguous
    np.testing.assert_array_equal(values, np.concatenate(arrays))


def test_one_array_is_not_copied():
    array = np.zeros((5, 2))
    assert np.shares_memory(Sequences.from_arrays([array]).values, array)


@pytest.mark.parametrize("writeable", [True, False])
def test_from_dense_is_a_view(writeable):
    array = np.arange(24.0).reshape(2, 4, 3)
    array.flags.writeable = writeable
    sequences = Sequences.from_dense(array, np.float64)
    assert np.shares_memory(sequences.values, array)
    assert sequences.values.shape == (8, 3)
    assert sequences.starts.tolist() == [0, 4]
    assert sequences.lengths.tolist() == [4, 4]


@pytest.mark.parametrize(
    "change",
    [
        lambda array: array.astype(np.float32),
        lambda array: np.asfortranarray(array),
        lambda array: array.astype(">f8"),
        lambda array: np.flip(array, 1)[:, ::-1],
    ],
)
def test_from_dense_copies_what_a_kernel_cannot_read(change):
    array = np.arange(24.0).reshape(2, 4, 3)
    sequences = Sequences.from_dense(change(array), np.float64)
    np.testing.assert_array_equal(sequences.values, array.reshape(8, 3))
    assert sequences.values.flags.c_contiguous
    assert sequences.values.dtype == np.dtype(np.float64)


def test_a_memmap_becomes_a_plain_read_only_view(tmp_path):
    np.save(tmp_path / "x.npy", np.arange(6.0).reshape(1, 3, 2))
    memmap = np.load(tmp_path / "x.npy", mmap_mode="r")
    values = Sequences.from_dense(memmap).values
    assert type(values) is np.ndarray
    assert np.shares_memory(values, memmap)
    assert not values.flags.writeable


def test_row_index_of_overlapping_windows(windows):
    assert windows.row_index().tolist() == [3, 4, 0, 1, 2, 2, 3, 4, 5]
    assert windows.offsets.tolist() == [0, 2, 5, 9]


def test_split_follows_sequence_order(windows):
    parts = windows.split(windows.values[windows.row_index()])
    assert [part[:, 0].tolist() for part in parts] == [[6, 8], [0, 2, 4], [4, 6, 8, 10]]
    with pytest.raises(ValueError, match="got 8 rows for 9 steps"):
        windows.split(np.zeros(8))


@pytest.mark.parametrize("rows", [[2, 0], np.array([True, False, True]), slice(None, None, -2)])
def test_take(rows):
    windows = Sequences(
        np.zeros((6, 1)),
        index(3, 0, 2),
        index(2, 3, 4),
        shift=np.array([[1.0], [2.0], [3.0]]),
        scale=np.array([[4.0], [5.0], [6.0]]),
    )
    taken = windows.take(rows)
    kept = np.arange(3)[rows]
    assert taken.values is windows.values
    assert taken.starts.tolist() == windows.starts[kept].tolist()
    assert taken.lengths.tolist() == windows.lengths[kept].tolist()
    np.testing.assert_array_equal(taken.shift, windows.shift[kept])
    np.testing.assert_array_equal(taken.scale, windows.scale[kept])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(values=np.zeros(3)), r"values must be .*got shape \(3,\)"),
        (dict(values=np.zeros((3, 1), int)), "values must be .*dtype int64"),
        (dict(values=np.zeros((3, 1), ">f4")), "values must be .*dtype >f4"),
        (dict(values=np.zeros((2, 3)).T), "values must be .*not C-contiguous"),
        (dict(starts=np.zeros(2, np.int32)), "starts must be .*int32"),
        (dict(lengths=np.ones((2, 1), np.intp)), "lengths must be a 1-D"),
        (dict(starts=index(0)), "1 starts but 2 lengths"),
        (dict(lengths=index(1, 0)), "sequence 1 has no time steps"),
        (dict(starts=index(0, -1)), "outside of the 3 rows"),
        (dict(lengths=index(1, 3)), "outside of the 3 rows"),
        (dict(lengths=index(1, np.iinfo(np.intp).max)), "outside of the 3 rows"),
        (dict(starts=index(0, np.iinfo(np.intp).max)), "outside of the 3 rows"),
        (dict(shift=np.zeros((2, 2))), r"shift must have shape \(2, 1\)"),
        (dict(scale=np.zeros((2, 1), np.float32)), "scale must have .*the dtype of values"),
    ],
)
def test_what_would_read_outside_is_refused(arguments, message):
    good = dict(values=np.zeros((3, 1)), starts=index(0, 1), lengths=index(1, 2))
    Sequences(**good)
    with pytest.raises(ValueError, match=message):
        Sequences(**good | arguments)


def test_object_array_stays_one_dimensional():
    items = [np.zeros((2, 3)), np.ones((2, 3))]
    array = object_array(items)
    assert array.shape == (2,)
    assert array[1] is items[1]
