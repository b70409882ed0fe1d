// The network's matrices in the order that the products want them.
#pragma once
#include "tape.h"

namespace drawnet::DRAWNET_ISA {

// The four gates of LANES units lie side by side: what one tile of the product holds is all that these cells need.
INLINE int gate_column(int gate, int unit) { return unit / LANES * 4 * LANES + gate * LANES + unit % LANES; }

// Back: the row of torch's matrix [4h, stride] that a column stands for, from an offset on. Null: padding.
template <class Float>
INLINE Float* gate_row(Float* matrix, ptrdiff_t stride, int offset, int column, int h) {
    int unit = column / (4 * LANES) * LANES + column % LANES, gate = column / LANES % 4;
    return unit < h ? matrix + (ptrdiff_t(gate) * h + unit) * stride + offset : nullptr;
}

INLINE float* place(const Packed& packed, int k, int column) {
    int panel = column / TILE_COLUMNS * TILE_COLUMNS, rest = packed.num_columns - panel;
    return packed.data + ptrdiff_t(packed.num_k) * panel + ptrdiff_t(k) * (rest < TILE_COLUMNS ? rest : TILE_COLUMNS) +
           (column - panel);
}

// One column from `count` neighbours in memory, from element k on.
template <class Kind>
static void pack_column(const Packed& packed, int column, int k, const float* source, int count) {
    int panel_rest = packed.num_columns - column / TILE_COLUMNS * TILE_COLUMNS;
    ptrdiff_t step = panel_rest < TILE_COLUMNS ? panel_rest : TILE_COLUMNS;
    float* out = place(packed, k, column);
    if constexpr (Kind::PER_ELEMENT == 1) {
        for (int n = 0; n < count; n++) out[n * step] = source[n];
    } else {
        alignas(64) float buffer[2 * LANES];
        for (int n = 0; n < count; n += 2 * LANES) {
            int rest = count - n < 2 * LANES ? count - n : 2 * LANES;
            for (int m = 0; m < 2 * LANES; m++) buffer[m] = m < rest ? source[n + m] : 0.0f;
            uint16_t* half_words = reinterpret_cast<uint16_t*>(buffer);
            store_bf16(half_words, load(buffer));
            store_bf16(half_words + LANES, load(buffer + LANES));
            for (int m = 0; m < (rest + 1) / 2; m++) memcpy(out + (n / 2 + m) * step, half_words + 2 * m, 4);
        }
    }
}

// Element k of `count` columns from `column` (a multiple of LANES) on; second: null, or its partner in the sum.
template <class Kind>
static void pack_row(const Packed& packed, int k, int column, const float* first, const float* second, int count) {
    auto part = [&](const float* source, int n) {
        if (source && n + LANES <= count) return load(source + n);
        vec v{};
        for (int lane = 0; source && lane < LANES && n + lane < count; lane++) v[lane] = source[n + lane];
        return v;
    };
    for (int n = 0; n < count; n += LANES) {
        if constexpr (Kind::PER_ELEMENT == 1)
            store(place(packed, k, column + n), part(first, n));
        else
            store(place(packed, k, column + n), bf16_pairs(part(first, n), part(second, n)));
    }
}

// Rows of a matrix [num_rows, stride] as the k of a product: row n is k = position(n).
template <class Kind, class RowOf>
static void pack_rows(const Packed& packed, int thread, int num_threads, int count, RowOf&& row_of) {
    for (int k = thread; k < packed.num_k; k += num_threads) {
        if constexpr (Kind::PER_ELEMENT == 1)
            pack_row<Kind>(packed, k, 0, row_of(k), nullptr, count);
        else
            pack_row<Kind>(packed, k, 0, row_of(2 * k), row_of(2 * k + 1), count);
    }
}

// One thread's share of the packing.
template <class Kind>
static void load_weights(Tape& tape, const Weights& w, bool reads, int thread, int num_threads) {
    const Sizes& s = tape.sizes;
    const int h = s.hidden, G = s.glimpse();
    const int k_seen = tape.elements(tape.seen), k_latent = tape.elements(s.latent), k_hidden = tape.elements(h);
    const int skipped = s.read ? 0 : tape.pixels;  // without attention x comes before x_hat
    const ptrdiff_t encoder_stride = G + h;
    for (int block = thread; block < tape.hidden / LANES; block += num_threads) {
        for (int gate = 0; gate < 4; gate++) {
            for (int unit = block * LANES; unit < (block + 1) * LANES && unit < h; unit++) {
                int column = gate_column(gate, unit), row = gate * h + unit;
                if (reads) {
                    const float *ih = w.encoder_ih + row * encoder_stride, *hh = w.encoder_hh + ptrdiff_t(row) * h;
                    pack_column<Kind>(tape.encoder, column, 0, ih + skipped, tape.seen);
                    pack_column<Kind>(tape.encoder, column, k_seen, ih + G, h);
                    pack_column<Kind>(tape.encoder, column, k_seen + k_hidden, hh, h);
                    if (!s.read) pack_column<Kind>(tape.image, column, 0, ih, tape.pixels);
                    tape.encoder_bias[column] = w.encoder_bias_ih[row] + w.encoder_bias_hh[row];
                }
                pack_column<Kind>(tape.decoder, column, 0, w.decoder_ih + ptrdiff_t(row) * s.latent, s.latent);
                pack_column<Kind>(tape.decoder, column, k_latent, w.decoder_hh + ptrdiff_t(row) * h, h);
                tape.decoder_bias[column] = w.decoder_bias_ih[row] + w.decoder_bias_hh[row];
            }
        }
    }
    auto pack_linear = [&](const Packed& packed, float* bias, int column, const float* weight, const float* b,
                           int count) {
        for (int n = thread; n < count; n += num_threads) {
            pack_column<Kind>(packed, column + n, 0, weight + ptrdiff_t(n) * h, h);
            bias[column + n] = b[n];
        }
    };
    if (reads) pack_linear(tape.posterior, tape.posterior_bias, 0, w.mu, w.mu_bias, s.latent);
    if (reads) pack_linear(tape.posterior, tape.posterior_bias, tape.latent, w.log_sigma, w.log_sigma_bias, s.latent);
    if (s.read) pack_linear(tape.outputs, tape.outputs_bias, tape.read_at, w.read_window, w.read_window_bias, 5);
    if (s.write) pack_linear(tape.outputs, tape.outputs_bias, tape.write_at, w.write_window, w.write_window_bias, 5);
    pack_linear(tape.outputs, tape.outputs_bias, tape.patch_at, w.write, w.write_bias, s.patch());
    if (thread == 0) {
        memcpy(tape.canvas_0, w.canvas_0, sizeof(float) * tape.pixels);
        for (int n = 0; n < 2; n++) {
            memcpy(tape.encoder_0 + n * tape.hidden, w.encoder_0 + n * h, sizeof(float) * h);
            memcpy(tape.decoder_0 + n * tape.hidden, w.decoder_0 + n * h, sizeof(float) * h);
        }
    }
    if (!s.keep) return;

    auto gates = [&](const float* matrix, ptrdiff_t stride, int offset) {
        return [=](int column) { return gate_row(matrix, stride, offset, column, h); };
    };
    pack_rows<Kind>(tape.encoder_to_glimpse, thread, num_threads, tape.seen,
                    gates(w.encoder_ih, encoder_stride, skipped));
    pack_rows<Kind>(tape.encoder_to_decoder, thread, num_threads, h, gates(w.encoder_ih, encoder_stride, G));
    pack_rows<Kind>(tape.encoder_to_encoder, thread, num_threads, h, gates(w.encoder_hh, h, 0));
    pack_rows<Kind>(tape.decoder_to_latent, thread, num_threads, s.latent, gates(w.decoder_ih, s.latent, 0));
    pack_rows<Kind>(tape.decoder_to_decoder, thread, num_threads, h, gates(w.decoder_hh, h, 0));
    pack_rows<Kind>(tape.posterior_to_encoder, thread, num_threads, h, [&](int row) -> const float* {
        const float* matrix = row < tape.latent ? w.mu : w.log_sigma;
        int n = row % tape.latent;
        return row < 2 * tape.latent && n < s.latent ? matrix + ptrdiff_t(n) * h : nullptr;
    });
    pack_rows<Kind>(tape.outputs_to_decoder, thread, num_threads, h, [&](int row) -> const float* {
        if (s.read && row < 5) return w.read_window + ptrdiff_t(row) * h;
        if (s.write && row >= tape.write_at && row < tape.patch_at)
            return w.write_window + ptrdiff_t(row - tape.write_at) * h;
        int n = row - tape.patch_at;
        return n < s.patch() ? w.write + ptrdiff_t(n) * h : nullptr;
    });
}

}  // namespace drawnet::DRAWNET_ISA
