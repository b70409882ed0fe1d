// Matrix products in tiles of MAX_ROWS rows by four vectors.
#pragma once
#include "simd.h"

namespace drawnet::DRAWNET_ISA {

constexpr int TILE_VECTORS = 4, TILE_COLUMNS = TILE_VECTORS * LANES;

// all_sums[r][v] += sum over k of a[r * row_stride + k * k_stride] b[k * b_stride + v * LANES ...]
template <class Kind, int ROWS, int VECTORS>
INLINE void add_products(vec (&all_sums)[ROWS][VECTORS], const float* a, ptrdiff_t row_stride, ptrdiff_t k_stride,
                         const float* b, ptrdiff_t b_stride, int num_k) {
    vec sums[ROWS][VECTORS];  // a copy of our own, so that the compiler keeps it in registers
    memcpy(sums, all_sums, sizeof(sums));
    for (int k = 0; k < num_k; k++, a += k_stride, b += b_stride) {
        vec columns[VECTORS];
#pragma GCC unroll 4
        for (int v = 0; v < VECTORS; v++) columns[v] = load(b + v * LANES);
#pragma GCC unroll 6
        for (int r = 0; r < ROWS; r++) {
            vec row = splat_bits(a + r * row_stride);
#pragma GCC unroll 4
            for (int v = 0; v < VECTORS; v++) sums[r][v] = Kind::add_product(sums[r][v], row, columns[v]);
        }
    }
    memcpy(all_sums, sums, sizeof(sums));
}

// The left factor of a product: rows with `num_k` elements each; several stand side by side along k.
struct Rows {
    const float* data;
    ptrdiff_t stride;
    int num_k;
};

// Rows in blocks as even as possible: 50 rows are eight blocks of at most six, not eight sixes and a two.
template <class Function>
INLINE void in_blocks(int num_rows, Function&& function) {
    int num_blocks = (num_rows + MAX_ROWS - 1) / MAX_ROWS;
    for (int block = 0; block < num_blocks; block++) {
        int first = num_rows * block / num_blocks, last = num_rows * (block + 1) / num_blocks;
        with_constant<MAX_ROWS>(last - first, [&](auto rows) { function(first, rows); });
    }
}

// The right factor: columns in panels of TILE_COLUMNS (the last one narrower), k inside a panel.
struct Packed {
    float* data;
    int num_k, num_columns;  // elements; columns, a multiple of LANES
    const float* panel(int column) const { return data + (ptrdiff_t)num_k * column; }
};

// begin(sums, row, column) sets the sums, end(sums, row, column) takes them
template <class Kind, int NUM_PARTS, class Begin, class End>
INLINE void multiply(int num_rows, const Rows (&left)[NUM_PARTS], const Packed& right, Begin&& begin, End&& end) {
    for (int column = 0; column < right.num_columns; column += TILE_COLUMNS) {
        int num_vectors = (right.num_columns - column) / LANES;
        with_constant<TILE_VECTORS>(num_vectors < TILE_VECTORS ? num_vectors : TILE_VECTORS, [&](auto vectors) {
            in_blocks(num_rows, [&](int row, auto rows) {
                constexpr int ROWS = decltype(rows)::value, VECTORS = decltype(vectors)::value;
                vec sums[ROWS][VECTORS];
                begin(sums, row, column);
                const float* b = right.panel(column);
                for (const Rows& part : left) {
                    add_products<Kind>(sums, part.data + row * part.stride, part.stride, 1, b, VECTORS * LANES,
                                       part.num_k);
                    b += (ptrdiff_t)part.num_k * VECTORS * LANES;
                }
                end(sums, row, column);
            });
        });
    }
}

// The weight gradient: out[m, n] += sum over k of left[k, m] right[k, n].
template <class Kind>
static void multiply_transposed(const float* left, ptrdiff_t left_stride, const float* right, ptrdiff_t right_stride,
                                int num_k, int num_m, int num_columns, float* out, ptrdiff_t out_stride) {
    constexpr int K_BLOCK = 128;  // keeps the columns' block in the second-level cache
    for (int k = 0; k < num_k; k += K_BLOCK) {
        int block_k = num_k - k < K_BLOCK ? num_k - k : K_BLOCK;
        for (int column = 0; column < num_columns; column += TILE_COLUMNS) {
            int num_vectors = (num_columns - column) / LANES;
            with_constant<TILE_VECTORS>(num_vectors < TILE_VECTORS ? num_vectors : TILE_VECTORS, [&](auto vectors) {
                in_blocks(num_m, [&](int m, auto rows) {
                    constexpr int ROWS = decltype(rows)::value, VECTORS = decltype(vectors)::value;
                    vec sums[ROWS][VECTORS];
                    float* tile = out + m * out_stride + column;
                    for (int r = 0; r < ROWS; r++)
                        for (int v = 0; v < VECTORS; v++) sums[r][v] = load(tile + r * out_stride + v * LANES);
                    add_products<Kind>(sums, left + k * left_stride + m, 1, left_stride,
                                       right + k * right_stride + column, right_stride, block_k);
                    for (int r = 0; r < ROWS; r++)
                        for (int v = 0; v < VECTORS; v++) store(tile + r * out_stride + v * LANES, sums[r][v]);
                });
            });
        }
    }
}

}  // namespace drawnet::DRAWNET_ISA
