"""Matrix products on packed panels, and the one loop that all of them share.

A *panel* holds some columns of a matrix, row after row: `(depth, width * lanes)` floats, `width` 1 to
4 vectors. A *tile* multiplies a few rows of A with one panel, its sums kept in registers from the
first term to the last. Every row is summed in the same order whatever the height of its tile, so a
row's result is the same to the bit in any batch and on any thread.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .jit import kernel
from .simd import (
    INT,
    Vec,
    check_span,
    emit_fma,
    lanes,
    load_vec,
    machine,
    pointer,
    splat,
    store_vec,
)

# Rows of the tallest and the middle tile by panel width. Two bounds: sums, one panel row and a
# broadcast must fit in the registers, and row pointers in the 16 general ones.
HEIGHTS = (
    {1: (8, 4), 2: (8, 4), 3: (8, 3), 4: (6, 2)}
    if machine().registers >= 32
    else {1: (8, 4), 2: (4, 2), 3: (3, 2), 4: (2, 2)}
)

DEPTH_BLOCK = 128  # rows of an outer product handled at a time: their panel stays in the L1 cache


# --- the tile --------------------------------------------------------------------------------------
def emit_sums(builder, vec, sums, rows, columns, depth, a, a_row, a_k, b, b_k):
    """sums[row, column] += A[row, k] * B[k, column] for every k < depth."""
    a_rows = [builder.gep(a, [builder.mul(a_row, ir.Constant(INT, m))]) for m in range(rows)]
    with cgutils.for_range(builder, depth) as loop:
        b_ptr = builder.gep(b, [builder.mul(loop.index, b_k)])
        panel = [
            load_vec(builder, vec, builder.gep(b_ptr, [ir.Constant(INT, v * vec.lanes)]))
            for v in range(len(columns))
        ]
        a_index = builder.mul(loop.index, a_k)
        for m in range(rows):
            x = splat(builder, vec, builder.load(builder.gep(a_rows[m], [a_index])))
            for column, row_of_b in zip(columns, panel, strict=True):
                total = emit_fma(builder, vec, x, row_of_b, builder.load(sums[m, column]))
                builder.store(total, sums[m, column])


def c_pointer(builder, vec, c, c_row, m, v):
    row = builder.mul(c_row, ir.Constant(INT, m))
    return builder.gep(c, [builder.add(row, ir.Constant(INT, v * vec.lanes))])


def last_element(builder, start, *steps):
    """start + sum of (count - 1) * stride, for the bounds check."""
    for count, stride in steps:
        start = builder.add(start, builder.mul(builder.sub(count, ir.Constant(INT, 1)), stride))
    return start


def check_tile(context, builder, sig, args, spans):
    """Bounds check of (array index, offset index, [(count, stride), ...], width) operands."""
    for array, offset, steps, width in spans:
        last = last_element(builder, args[offset], *steps)
        last = builder.add(last, ir.Constant(INT, width - 1))
        check_span(context, builder, sig.args[array], args[array], args[offset], last)


@cache
def make_tile(rows, width):
    """Intrinsic: C[rows, width] += A @ panel.

    A is read as `blocks` stretches of `depth` neighbours (stride `a_k`) every `a_block`; the panel's
    rows lie `b_k` apart, without a gap between blocks.
    """

    @intrinsic
    def tile(typingctx, a, a0, a_row, a_k, a_block, b, b0, b_k, c, c0, c_row, depth, blocks):
        vec = Vec(c.dtype)

        def codegen(context, builder, sig, args):
            _, a0, a_row, a_k, a_block, _, b0, b_k, _, c0, c_row, depth, blocks = args
            n_rows, width_ = ir.Constant(INT, rows), width * vec.lanes
            rows_of_b = builder.mul(depth, blocks)
            check_tile(context, builder, sig, args, [
                (0, 1, [(n_rows, a_row), (depth, a_k), (blocks, a_block)], 1),
                (5, 6, [(rows_of_b, b_k)], width_),
                (8, 9, [(n_rows, c_row)], width_),
            ])  # fmt: skip
            a, b, c = (pointer(context, builder, sig.args[k], args[k], args[k + 1]) for k in (0, 5, 8))
            cells = [(m, v) for m in range(rows) for v in range(width)]
            sums = {mv: cgutils.alloca_once(builder, vec.llvm) for mv in cells}
            for mv in cells:
                builder.store(load_vec(builder, vec, c_pointer(builder, vec, c, c_row, *mv)), sums[mv])
            b_block = builder.mul(depth, b_k)
            with cgutils.for_range(builder, blocks) as block:
                a_start = builder.gep(a, [builder.mul(block.index, a_block)])
                b_start = builder.gep(b, [builder.mul(block.index, b_block)])
                emit_sums(builder, vec, sums, rows, range(width), depth, a_start, a_row, a_k, b_start, b_k)
            for mv in cells:
                store_vec(builder, vec, builder.load(sums[mv]), c_pointer(builder, vec, c, c_row, *mv))
            return context.get_dummy_value()

        n = types.intp
        return types.void(a, n, n, n, n, b, n, n, c, n, n, n, n), codegen

    return tile


@cache
def make_cell_tile(rows, n_slots, input_slots, hidden_slots):
    """Intrinsic: Z[rows, slots] = bias + x W + h U for one panel of hidden units.

    The input feeds the slots `input_slots`, the hidden state `hidden_slots`; each segment's panel
    holds only its own columns.
    """

    @intrinsic
    def tile(
        typingctx,
        x,
        x0,
        x_row,
        x_depth,
        w,
        w0,
        h,
        h0,
        h_row,
        h_depth,
        u,
        u0,
        bias,
        bias0,
        z,
        z0,
        z_row,
    ):
        vec = Vec(z.dtype)

        def codegen(context, builder, sig, args):
            _, x0, x_row, x_depth, _, w0, _, h0, h_row, h_depth, _, u0, _, bias0, _, z0, z_row = args
            one, n_rows = ir.Constant(INT, 1), ir.Constant(INT, rows)
            slots = n_slots * vec.lanes
            w_width, u_width = ((hi - lo) * vec.lanes for lo, hi in (input_slots, hidden_slots))
            w_k, u_k = ir.Constant(INT, w_width), ir.Constant(INT, u_width)
            check_tile(context, builder, sig, args, [
                (0, 1, [(n_rows, x_row), (x_depth, one)], 1),
                (4, 5, [(x_depth, w_k)], w_width),
                (6, 7, [(n_rows, h_row), (h_depth, one)], 1),
                (10, 11, [(h_depth, u_k)], u_width),
                (12, 13, [], slots),
                (14, 15, [(n_rows, z_row)], slots),
            ])  # fmt: skip
            x, w, h, u, bias, z = (
                pointer(context, builder, sig.args[k], args[k], args[k + 1]) for k in (0, 4, 6, 10, 12, 14)
            )
            cells = [(m, v) for m in range(rows) for v in range(n_slots)]
            sums = {mv: cgutils.alloca_once(builder, vec.llvm) for mv in cells}
            for v in range(n_slots):
                start = load_vec(builder, vec, builder.gep(bias, [ir.Constant(INT, v * vec.lanes)]))
                for m in range(rows):
                    builder.store(start, sums[m, v])
            emit_sums(builder, vec, sums, rows, range(*input_slots), x_depth, x, x_row, one, w, w_k)
            emit_sums(builder, vec, sums, rows, range(*hidden_slots), h_depth, h, h_row, one, u, u_k)
            for mv in cells:
                store_vec(builder, vec, builder.load(sums[mv]), c_pointer(builder, vec, z, z_row, *mv))
            return context.get_dummy_value()

        n = types.intp
        return types.void(x, n, n, n, w, n, h, n, n, n, u, n, bias, n, z, n, n), codegen

    return tile


# --- products --------------------------------------------------------------------------------------
def make_rows_kernel(width):
    """C[M, width] += A[M, depth * blocks] @ panel, tile by tile."""
    tall, middle = HEIGHTS[width]
    tile_tall, tile_middle, tile_one = (make_tile(rows, width) for rows in (tall, middle, 1))

    @kernel("rows", width)
    def rows_kernel(M, a, a0, a_row, a_k, a_block, b, b0, b_k, c, c0, c_row, depth, blocks):
        i = 0
        while i + tall <= M:
            tile_tall(
                a,
                a0 + i * a_row,
                a_row,
                a_k,
                a_block,
                b,
                b0,
                b_k,
                c,
                c0 + i * c_row,
                c_row,
                depth,
                blocks,
            )
            i += tall
        while i + middle <= M:
            tile_middle(
                a,
                a0 + i * a_row,
                a_row,
                a_k,
                a_block,
                b,
                b0,
                b_k,
                c,
                c0 + i * c_row,
                c_row,
                depth,
                blocks,
            )
            i += middle
        while i < M:
            tile_one(
                a,
                a0 + i * a_row,
                a_row,
                a_k,
                a_block,
                b,
                b0,
                b_k,
                c,
                c0 + i * c_row,
                c_row,
                depth,
                blocks,
            )
            i += 1

    return rows_kernel


rows_1, rows_2, rows_3, rows_4 = (make_rows_kernel(width) for width in (1, 2, 3, 4))


@kernel("rows")
def multiply_rows(width, M, a, a0, a_row, a_k, a_block, b, b0, b_k, c, c0, c_row, depth, blocks):
    """C[M, width vectors] += A @ panel; all arrays flat, offsets and strides in elements."""
    if width == 4:
        rows_4(M, a, a0, a_row, a_k, a_block, b, b0, b_k, c, c0, c_row, depth, blocks)
    elif width == 3:
        rows_3(M, a, a0, a_row, a_k, a_block, b, b0, b_k, c, c0, c_row, depth, blocks)
    elif width == 2:
        rows_2(M, a, a0, a_row, a_k, a_block, b, b0, b_k, c, c0, c_row, depth, blocks)
    else:
        rows_1(M, a, a0, a_row, a_k, a_block, b, b0, b_k, c, c0, c_row, depth, blocks)


@kernel("widest")
def widest(vectors):
    """Width of the next panel when `vectors` columns of vectors are left: 4, 2 or 1."""
    return 4 if vectors >= 4 else (2 if vectors >= 2 else 1)


@cache
def matmul_kernels(dtype: np.dtype):
    """``matmul`` and ``outer`` for matrices packed in panels 4, 4, ..., 2, 1 vectors wide."""
    L = lanes(dtype)

    @kernel("matmul", dtype.name)
    def matmul(M, vectors, a, a0, a_row, a_block, depth, blocks, panels, c, c0, c_row):
        """C[M, vectors * L] += A @ B. A: `blocks` stretches of `depth` elements in each row."""
        v, b0 = 0, 0
        while v < vectors:
            width = widest(vectors - v)
            multiply_rows(
                width,
                M,
                a,
                a0,
                a_row,
                1,
                a_block,
                panels,
                b0,
                width * L,
                c,
                c0 + v * L,
                c_row,
                depth,
                blocks,
            )
            b0 += depth * blocks * width * L
            v += width

    @kernel("outer", dtype.name)
    def outer(n_rows, n_in, a, a0, a_row, d, d0, d_row, width, dW, w0):
        """dW (n_in, width vectors) += A (n_rows, n_in)^T @ D (n_rows, width vectors), one panel."""
        for r in range(0, n_rows, DEPTH_BLOCK):
            depth = min(DEPTH_BLOCK, n_rows - r)
            multiply_rows(
                width,
                n_in,
                a,
                a0 + r * a_row,
                1,
                a_row,
                0,
                d,
                d0 + r * d_row,
                d_row,
                dW,
                w0,
                width * L,
                depth,
                1,
            )

    return matmul, outer


def panel_widths(n_columns: int, dtype: np.dtype) -> list[int]:
    """Widths, in vectors, of the panels that hold `n_columns` columns."""
    vectors = -(-n_columns // lanes(dtype))
    return [4] * (vectors // 4) + {0: [], 1: [1], 2: [2], 3: [2, 1]}[vectors % 4]
