"""Matrix products on packed panels, and the one loop that all of them share.

A *panel* holds some columns of a matrix, row after row: `(depth, width * lanes)` floats, `width` 1 to
4 vectors. A *tile* multiplies a few rows of A with one panel, its sums kept in registers from the
first term to the last. Every row is summed in the same order whatever the height of its tile, so a
row's result is the same to the bit in any batch and on any thread.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from itertools import product
from typing import NamedTuple

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .bfloat16 import add_products, load_pairs, splat_pair
from .simd import INT, Vec, check_span, emit_fma, load_vec, machine, pointer, splat, store_vec

# Rows of the tallest tile by panel width. Two bounds: sums, one panel row and a broadcast must fit in
# the registers, and row pointers in the 16 general ones.
TALLEST = {1: 8, 2: 8, 3: 8, 4: 6} if machine().registers >= 32 else {1: 8, 2: 4, 3: 3, 4: 2}

LINE_BYTES = 64  # of a cache


class Operands(NamedTuple):
    """How the elements of A and B are read and multiplied."""

    load: Callable  # a vector of B
    splat: Callable  # an element of A, in every lane
    multiply_add: Callable
    per_lane: int  # elements of a row to a lane: one float, or a pair of bfloat16


def splat_element(builder, vec, at):
    return splat(builder, vec, builder.load(at))


def operands(array_type):
    """Floats, or bfloat16 in uint16."""
    if array_type.dtype == types.uint16:
        return Operands(load_pairs, splat_pair, add_products, 2)
    return Operands(load_vec, splat_element, emit_fma, 1)


# --- the tile --------------------------------------------------------------------------------------
class Sums:
    """A tile's sums, `rows` by `width` vectors; the compiler keeps them in registers."""

    def __init__(self, builder, vec, rows, width):
        self.builder, self.vec, self.rows, self.width = builder, vec, rows, width
        self.at = {mv: cgutils.alloca_once(builder, vec.llvm) for mv in product(range(rows), range(width))}

    def _pointer(self, c, c_row, m, v):
        row = self.builder.mul(c_row, ir.Constant(INT, m))
        return self.builder.gep(c, [self.builder.add(row, ir.Constant(INT, v * self.vec.lanes))])

    def load(self, c, c_row):
        for mv, total in self.at.items():
            value = load_vec(self.builder, self.vec, self._pointer(c, c_row, *mv))
            self.builder.store(value, total)

    def store(self, c, c_row):
        for mv, total in self.at.items():
            store_vec(self.builder, self.vec, self.builder.load(total), self._pointer(c, c_row, *mv))

    def add_product(self, of, columns, depth, a, a_row, a_k, b, b_k, fetch=None):
        """sums[row, column] += A[row, k] * B[k, column] for every k < depth, with ``fetch(k)`` beside."""
        builder, vec, step = self.builder, self.vec, of.per_lane * self.vec.lanes
        a_rows = [row_pointer(builder, a, ir.Constant(INT, m), a_row) for m in range(self.rows)]
        with cgutils.for_range(builder, depth) as loop:
            b_row = row_pointer(builder, b, loop.index, b_k)
            if fetch is not None:
                fetch(loop.index)
            panel = [
                of.load(builder, vec, builder.gep(b_row, [ir.Constant(INT, v * step)]))
                for v in range(len(columns))
            ]
            a_index = builder.mul(loop.index, a_k)
            for m in range(self.rows):
                x = of.splat(builder, vec, builder.gep(a_rows[m], [a_index]))
                for column, row_of_b in zip(columns, panel, strict=True):
                    total = self.at[m, column]
                    builder.store(of.multiply_add(builder, vec, x, row_of_b, builder.load(total)), total)


def check_spans(context, builder, sig, args, spans):
    """Bounds check of (array index, [(count, stride), ...], width) operands, offsets beside them."""
    for array, steps, width in spans:
        last = args[array + 1]
        for count, stride in steps:
            last = builder.add(last, builder.mul(builder.sub(count, ir.Constant(INT, 1)), stride))
        last = builder.add(last, ir.Constant(INT, width - 1))
        check_span(context, builder, sig.args[array], args[array], args[array + 1], last)


def emit_tiles(builder, n_rows, tallest, emit):
    """emit(first row, height) for tiles of at most `tallest` rows, all of nearly the same height.

    Short tiles leave the multipliers idle: 32 rows in tiles of at most 6 are 6 6 5 5 5 5, not five
    of 6 and one of 2.
    """
    n_tiles = builder.udiv(builder.add(n_rows, ir.Constant(INT, tallest - 1)), ir.Constant(INT, tallest))
    with builder.if_then(builder.icmp_signed(">", n_tiles, ir.Constant(INT, 0))):
        height, n_taller = builder.udiv(n_rows, n_tiles), builder.urem(n_rows, n_tiles)
        first = cgutils.alloca_once_value(builder, ir.Constant(INT, 0))
        with cgutils.for_range(builder, n_tiles) as tile:
            taller = builder.zext(builder.icmp_signed("<", tile.index, n_taller), INT)
            rows, i = builder.add(height, taller), builder.load(first)
            done = builder.append_basic_block("tile.done")
            switch = builder.switch(rows, done)
            for m in range(1, tallest + 1):
                block = builder.append_basic_block(f"tile.{m}")
                switch.add_case(ir.Constant(INT, m), block)
                builder.position_at_end(block)
                emit(i, m)
                builder.branch(done)
            builder.position_at_end(done)
            builder.store(builder.add(i, rows), first)


def row_pointer(builder, base, i, stride):
    return builder.gep(base, [builder.mul(i, stride)])


def emit_prefetch(builder, at):
    word = ir.IntType(32)
    at = builder.bitcast(at, ir.IntType(8).as_pointer())
    ty = ir.FunctionType(ir.VoidType(), [at.type, word, word, word])
    function = cgutils.get_or_insert_function(builder.module, ty, "llvm.prefetch.p0")
    read, every_cache, data = 0, 3, 1
    builder.call(function, [at, *(ir.Constant(word, k) for k in (read, every_cache, data))])


@cache
def make_multiply(width, fetch=None):
    """Intrinsic: C[M, width] += A @ panel, tile by tile.

    A is read as `blocks` stretches of `depth` neighbours (stride `a_k`) every `a_block`; the panel's
    rows lie `b_k` apart, without a gap between blocks. All arrays flat, offsets and strides in
    elements. A and B of bfloat16: `depth` counts pairs, a row of the panel holds two of B interleaved.

    What is read later can be called into the cache meanwhile, where memory would have nothing to do. `fetch`
    "ahead": what lies `ahead` elements beyond A, one more argument. "beside": the line beside the one that is
    read, for an A that is read across its rows, where every term lies in another line.
    """

    def codegen(context, builder, sig, args):
        M, _, a0, a_row, a_k, a_block, _, b0, b_k, _, c0, c_row, depth, blocks, *ahead = args
        vec, of = Vec(sig.args[9].dtype), operands(sig.args[1])
        columns, rows_of_b = width * vec.lanes, builder.mul(depth, blocks)
        check_spans(context, builder, sig, args, [
            (1, [(M, a_row), (depth, a_k), (blocks, a_block)], of.per_lane),
            (6, [(rows_of_b, b_k)], of.per_lane * columns),
            (9, [(M, c_row)], columns),
        ])  # fmt: skip
        a, b, c = (pointer(context, builder, sig.args[k], args[k], args[k + 1]) for k in (1, 6, 9))
        b_block = builder.mul(depth, b_k)

        def emit(i, rows):
            a_tile, c_tile = (row_pointer(builder, *at) for at in ((a, i, a_row), (c, i, c_row)))
            sums = Sums(builder, vec, rows, width)
            sums.load(c_tile, c_row)
            with cgutils.for_range(builder, blocks) as block:
                a_start = row_pointer(builder, a_tile, block.index, a_block)
                b_start = row_pointer(builder, b, block.index, b_block)

                def fetch_beside(k):
                    place = builder.add(
                        builder.mul(k, a_k), ir.Constant(INT, LINE_BYTES * 8 // vec.scalar.bitwidth)
                    )
                    emit_prefetch(builder, builder.gep(a_start, [place]))

                def fetch_ahead(k):  # 16 steps of the product read one line of each row: one row in each step
                    row, line = builder.and_(k, ir.Constant(INT, 15)), builder.and_(k, ir.Constant(INT, -16))
                    place = builder.add(builder.mul(row, a_row), builder.add(line, *ahead))
                    emit_prefetch(builder, builder.gep(a_start, [place]))

                fetching = {"ahead": fetch_ahead, "beside": fetch_beside}.get(fetch)
                sums.add_product(of, range(width), depth, a_start, a_row, a_k, b_start, b_k, fetching)
            sums.store(c_tile, c_row)

        emit_tiles(builder, M, TALLEST[width], emit)
        return context.get_dummy_value()

    n = types.intp
    if fetch == "ahead":

        @intrinsic
        def multiply(
            typingctx, M, a, a0, a_row, a_k, a_block, b, b0, b_k, c, c0, c_row, depth, blocks, ahead
        ):  # fmt: skip
            return types.void(n, a, n, n, n, n, b, n, n, c, n, n, n, n, n), codegen

    else:

        @intrinsic
        def multiply(typingctx, M, a, a0, a_row, a_k, a_block, b, b0, b_k, c, c0, c_row, depth, blocks):
            return types.void(n, a, n, n, n, n, b, n, n, c, n, n, n, n), codegen

    return multiply


@cache
def make_preactivations(width, input_columns, hidden_columns):
    """Intrinsic: Z[M, width] = S + x W + h U for one panel of hidden units.

    The input feeds the vectors `input_columns` (first, last + 1), the hidden state `hidden_columns`;
    their panels hold only their own columns. S: the bias, of all rows (`s_row` 0), or Z itself. X, W, H and U
    of bfloat16: depths count pairs. A depth may be 0: the same sums come of two calls, one for each product.
    """

    @intrinsic
    def preactivations(
        typingctx, M, x, x0, x_row, x_depth, w, w0, h, h0, h_row, h_depth, u, u0, s, s0, s_row, z, z0, z_row
    ):  # fmt: skip
        vec = Vec(z.dtype)

        def codegen(context, builder, sig, args):
            M, _, x0, x_row, x_depth, _, w0, _, h0, h_row, h_depth, _, u0, _, s0, s_row, _, z0, z_row = args
            of, columns = operands(x), width * vec.lanes
            step = ir.Constant(INT, of.per_lane)
            w_width, u_width = (
                of.per_lane * (hi - lo) * vec.lanes for lo, hi in (input_columns, hidden_columns)
            )
            w_k, u_k = ir.Constant(INT, w_width), ir.Constant(INT, u_width)
            check_spans(context, builder, sig, args, [
                (1, [(M, x_row), (x_depth, step)], of.per_lane),
                (5, [(x_depth, w_k)], w_width),
                (7, [(M, h_row), (h_depth, step)], of.per_lane),
                (11, [(h_depth, u_k)], u_width),
                (13, [(M, s_row)], columns),
                (16, [(M, z_row)], columns),
            ])  # fmt: skip
            at_x, at_w, at_h, at_u, at_s, at_z = (
                pointer(context, builder, sig.args[k], args[k], args[k + 1]) for k in (1, 5, 7, 11, 13, 16)
            )

            def emit(i, rows):
                x_tile, h_tile, s_tile, z_tile = (
                    row_pointer(builder, at, i, row)
                    for at, row in ((at_x, x_row), (at_h, h_row), (at_s, s_row), (at_z, z_row))
                )
                sums = Sums(builder, vec, rows, width)
                sums.load(s_tile, s_row)
                sums.add_product(of, range(*input_columns), x_depth, x_tile, x_row, step, at_w, w_k)
                sums.add_product(of, range(*hidden_columns), h_depth, h_tile, h_row, step, at_u, u_k)
                sums.store(z_tile, z_row)

            emit_tiles(builder, M, TALLEST[width], emit)
            return context.get_dummy_value()

        n = types.intp
        return types.void(n, x, n, n, n, w, n, h, n, n, n, u, n, s, n, n, z, n, n), codegen

    return preactivations


@cache
def make_column_sums(width):
    """Intrinsic: sums[width vectors] += every row of G (depth, g_row), in the order of the rows."""

    @intrinsic
    def column_sums(typingctx, depth, g, g0, g_row, sums, sums0):
        vec = Vec(sums.dtype)

        def codegen(context, builder, sig, args):
            depth, _, _, g_row, _, _ = args
            columns, none = width * vec.lanes, ir.Constant(INT, 0)
            check_spans(context, builder, sig, args, [(1, [(depth, g_row)], columns), (4, [], columns)])
            g, sums = (pointer(context, builder, sig.args[k], args[k], args[k + 1]) for k in (1, 4))
            total = Sums(builder, vec, 1, width)
            total.load(sums, none)
            with cgutils.for_range(builder, depth) as loop:
                row = row_pointer(builder, g, loop.index, g_row)
                for (_, v), at in total.at.items():
                    value = load_vec(builder, vec, builder.gep(row, [ir.Constant(INT, v * vec.lanes)]))
                    builder.store(builder.fadd(builder.load(at), value), at)
            total.store(sums, none)
            return context.get_dummy_value()

        n = types.intp
        return types.void(n, g, n, n, sums, n), codegen

    return column_sums


def widest(vectors: int) -> int:
    """Width of the panels that cut `vectors` vectors of columns evenly: 4, 3, 2 or 1."""
    return next(width for width in (4, 3, 2, 1) if vectors % width == 0)
