// Eqs. (3-16) for the images of one slice.
#pragma once
#include "tape.h"

namespace drawnet::DRAWNET_ISA {

// Rows as the left factor of a product: the slot's history, or in mixed precision the copy of the newest slot.
INLINE Rows left_factor(const Tape& tape, const Stream& s, const Slice& slice, int slot) {
    int num_k = tape.elements(s.num_features);
    if (tape.sizes.precision == MIXED) return {s.newest + slice.first * s.newest_stride, s.newest_stride, num_k};
    return {s.history + slot * s.slot + slice.first * s.stride, s.stride, num_k};
}

// Puts a slice's rows [image][width] into a slot; adds their sum to `total` [width] unless null. Behind it is room for
// the sum of this step: sums of sums lose fewer digits.
template <class Kind>
static void publish(const Stream& s, const Slice& slice, int slot, const float* rows, float* total = nullptr) {
    float* history = s.history + slot * s.slot + slice.first / Kind::PER_ELEMENT * s.stride;
    float* step = total ? total + s.width : nullptr;
    if (step) memset(step, 0, sizeof(float) * s.width);
    for (int row = 0; row < slice.num_rows; row += Kind::PER_ELEMENT, history += s.stride) {
        const float* first = rows + ptrdiff_t(row) * s.width;
        if constexpr (Kind::PER_ELEMENT == 1) {
            for (int n = 0; n < s.width; n += LANES) {
                vec v = load(first + n);
                store(history + n, v);
                if (step) store(step + n, load(step + n) + v);
            }
        } else {
            bool alone = row + 1 == slice.num_rows;
            float* newest = s.newest + (slice.first + row) * s.newest_stride;
            for (int n = 0; n < s.width; n += LANES) {
                vec v = load(first + n), w = alone ? vec{} : load(first + s.width + n);
                store(history + n, bf16_pairs(v, w));
                store_bf16(newest + n / 2, v);
                if (!alone) store_bf16(newest + s.newest_stride + n / 2, w);
                if (step) store(step + n, load(step + n) + v + w);
            }
        }
    }
    for (int n = 0; step && n < s.width; n += LANES) store(total + n, load(total + n) + load(step + n));
}

// move(lane, n) for all, in blocks whose both sides stay in the cache
template <class Move>
INLINE void transpose(int size, int count, Move&& move) {
    constexpr int BLOCK = 16;
    int n = 0;
    for (; n + BLOCK <= count; n += BLOCK)
        for (int lane = 0; lane < size; lane++)
            for (int m = n; m < n + BLOCK; m++) move(lane, m);
    for (int lane = 0; lane < size; lane++)
        for (int m = n; m < count; m++) move(lane, m);
}

// A slice's [group][count vectors] and its rows [image][stride], from a column on: one from the other.
static void rows_from_lanes(const Slice& slice, const vec* lanes, ptrdiff_t group_stride, int count, float* rows,
                            ptrdiff_t stride) {
    for (int group = 0; group < slice.num_groups; group++, lanes += group_stride, rows += LANES * stride) {
        const float* in = reinterpret_cast<const float*>(lanes);
        transpose(slice.group_size(group), count,
                  [&](int lane, int n) { rows[lane * stride + n] = in[ptrdiff_t(n) * LANES + lane]; });
    }
}
static void lanes_from_rows(const Slice& slice, const float* rows, ptrdiff_t stride, int count, vec* lanes,
                            ptrdiff_t group_stride) {
    for (int group = 0; group < slice.num_groups; group++, lanes += group_stride, rows += LANES * stride) {
        float* out = reinterpret_cast<float*>(lanes);
        if (slice.group_size(group) < LANES) memset(out, 0, sizeof(vec) * count);  // no gradient from no image
        transpose(slice.group_size(group), count,
                  [&](int lane, int n) { out[ptrdiff_t(n) * LANES + lane] = rows[lane * stride + n]; });
    }
}

// How the sums of a tile begin, and where they go.
struct StartAtBias {
    const float* bias;
    template <int ROWS, int VECTORS>
    INLINE void operator()(vec (&sums)[ROWS][VECTORS], int, int column) const {
        for (int v = 0; v < VECTORS; v++)
            for (int r = 0; r < ROWS; r++) sums[r][v] = load(bias + column + v * LANES);
    }
};
struct StartAtZero {
    template <int ROWS, int VECTORS>
    INLINE void operator()(vec (&sums)[ROWS][VECTORS], int, int) const {
        for (auto& row : sums)
            for (vec& sum : row) sum = vec{};
    }
};
struct StartAtRows {
    const float* rows;
    ptrdiff_t stride;
    template <int ROWS, int VECTORS>
    INLINE void operator()(vec (&sums)[ROWS][VECTORS], int row, int column) const {
        for (int r = 0; r < ROWS; r++)
            for (int v = 0; v < VECTORS; v++) sums[r][v] = load(rows + (row + r) * stride + column + v * LANES);
    }
};
struct StoreRows {
    float* rows;
    ptrdiff_t stride;
    template <int ROWS, int VECTORS>
    INLINE void operator()(vec (&sums)[ROWS][VECTORS], int row, int column) const {
        for (int r = 0; r < ROWS; r++)
            for (int v = 0; v < VECTORS; v++) store(rows + (row + r) * stride + column + v * LANES, sums[r][v]);
    }
};

// The cells of LANES units and a few images, from their four gates before the nonlinearities.
struct StoreCells {
    float *gates, *hidden;
    const float* cell_before;
    float* cell;
    int num_gates, num_hidden;
    template <int ROWS, int VECTORS>
    INLINE void operator()(vec (&sums)[ROWS][VECTORS], int row, int column) const {
        if constexpr (VECTORS == 4) {
            int unit = column / 4;
            for (int r = 0; r < ROWS; r++) {
                ptrdiff_t at = ptrdiff_t(row + r) * num_hidden + unit;
                vec input = sigmoid(sums[r][0]), forget = sigmoid(sums[r][1]);
                vec candidate = tanh(sums[r][2]), output = sigmoid(sums[r][3]);
                vec c = forget * load(cell_before + at) + input * candidate;
                float* saved = gates + ptrdiff_t(row + r) * num_gates + column;
                store(saved, input);
                store(saved + LANES, forget);
                store(saved + 2 * LANES, candidate);
                store(saved + 3 * LANES, output);
                store(cell + at, c);
                store(hidden + at, output * tanh(c));
            }
        }
    }
};

template <class Kind>
struct Forward {
    Tape& tape;
    const Sizes& sizes;
    const Slice slice;
    Filters read_filters, write_filters;  // in the same memory
    float* scratch;                       // rows of one step, whatever they are just now: [image][width]
    vec *patches, *x, *canvas;            // by group

    Forward(Tape& tape, int index)
        : tape(tape), sizes(tape.sizes), slice(tape.slice(index)),
          read_filters(tape.read_grid, tape.filters + index * tape.filter_vectors),
          write_filters(tape.write_grid, tape.filters + index * tape.filter_vectors),
          scratch(of_slice(tape.rows, tape.widest)), patches(of_slice(tape.patch_lanes, tape.widest_lanes)),
          x(of_slice(tape.x_lanes, tape.pixels)), canvas(of_slice(tape.canvas, tape.pixels)) {}

    // This slice's part of [batch][width], [group][width], and of a slot of [slot][batch or group][width].
    float* of_slice(float* array, ptrdiff_t width) const { return array + slice.first * width; }
    vec* of_slice(vec* array, ptrdiff_t width) const { return array + slice.first_group * width; }
    float* at(float* array, int t, ptrdiff_t width) const {
        return of_slice(array + tape.slot(t) * sizes.batch * width, width);
    }
    vec* at(vec* array, int t, ptrdiff_t width) const {
        return of_slice(array + tape.slot(t) * tape.num_groups * width, width);
    }
    // A product whose result is rows [image][right.num_columns].
    template <int NUM_PARTS, class Begin>
    void multiply_rows(const Rows (&left)[NUM_PARTS], const Packed& right, const Begin& begin, float* out) const {
        multiply<Kind>(slice.num_rows, left, right, begin, StoreRows{out, right.num_columns});
    }
    Rows factor(const Stream& stream, int t) const { return left_factor(tape, stream, slice, tape.slot(t)); }

    // batch: null when there is nothing to read
    void begin(const float* batch) const {
        if (batch) {
            const float* images = batch + ptrdiff_t(slice.first) * tape.pixels;
            lanes_from_rows(slice, images, tape.pixels, tape.pixels, x, tape.pixels);
            if (!sizes.read) look_at_image(images);
        }
        vec* mean = at(tape.canvas_mean, 0, tape.pixels);
        for (int group = 0; group < slice.num_groups; group++) {
            for (int n = 0; n < tape.pixels; n++) {
                canvas[ptrdiff_t(group) * tape.pixels + n] = splat(tape.canvas_0[n]);
                mean[ptrdiff_t(group) * tape.pixels + n] = sigmoid(splat(tape.canvas_0[n]));
            }
        }
        start_state(tape.decoder_0, tape.decoder_state, tape.decoder_cell);
        start_state(tape.encoder_0, tape.encoder_state, tape.encoder_cell);
        compute_outputs(0);
    }

    void start_state(const float* start, const Stream& state, float* cells) const {
        float* cell = at(cells, 0, tape.hidden);
        for (int row = 0; row < slice.num_rows; row++) {
            memcpy(scratch + ptrdiff_t(row) * tape.hidden, start, sizeof(float) * tape.hidden);
            memcpy(cell + ptrdiff_t(row) * tape.hidden, start + tape.hidden, sizeof(float) * tape.hidden);
        }
        publish<Kind>(state, slice, 0, scratch);
    }

    // Without attention the image itself enters every step with the same weights: one product for all steps.
    void look_at_image(const float* images) const {
        pad(images, tape.pixels, tape.x.width);
        publish<Kind>(tape.x, slice, 0, scratch);
        Rows left[1] = {left_factor(tape, tape.x, slice, 0)};
        multiply_rows(left, tape.image, StartAtBias{tape.encoder_bias}, of_slice(tape.image_gates, tape.gates));
    }
    // scratch [image][width] = source [image][count] and zeros
    void pad(const float* source, int count, int width) const {
        for (int row = 0; row < slice.num_rows; row++) {
            float* out = scratch + ptrdiff_t(row) * width;
            memcpy(out, source + ptrdiff_t(row) * count, sizeof(float) * count);
            for (int n = count; n < width; n++) out[n] = 0;
        }
    }

    // What follows from h^dec of a slot: the writer's patch and window, and the reader's window of the next step.
    void compute_outputs(int t) const {
        const int count = tape.num_outputs;
        Rows left[1] = {factor(tape.decoder_state, t)};
        multiply_rows(left, tape.outputs, StartAtBias{tape.outputs_bias}, scratch);
        lanes_from_rows(slice, scratch, count, count, at(tape.output_lanes, t, count), count);
    }

    void encode(int t) const {
        for (int group = 0; group < slice.num_groups; group++) {
            const vec* image = x + ptrdiff_t(group) * tape.pixels;
            const vec* mean = at(tape.canvas_mean, t, tape.pixels) + ptrdiff_t(group) * tape.pixels;
            vec* seen = patches + ptrdiff_t(group) * tape.seen;
            if (sizes.read) {
                const vec* p = at(tape.output_lanes, t, tape.num_outputs) + ptrdiff_t(group) * tape.num_outputs;
                Window window = window_from_parameters(p + tape.read_at, tape.read_grid);
                Filters filters = read_filters;
                filters.place(window, tape.read_grid);
                read(tape.read_grid, filters, window.gamma, image, mean, seen);  // (4, 27)
            } else {
                for (int n = 0; n < tape.pixels; n++) seen[n] = image[n] - mean[n];  // (3, 17)
            }
        }
        const int width = tape.glimpse.width;
        rows_from_lanes(slice, patches, tape.seen, tape.seen, scratch, width);
        for (int row = 0; row < slice.num_rows; row++)
            for (int n = tape.seen; n < width; n++) scratch[ptrdiff_t(row) * width + n] = 0;
        publish<Kind>(tape.glimpse, slice, tape.slot(t), scratch);

        Rows left[3] = {factor(tape.glimpse, t), factor(tape.decoder_state, t), factor(tape.encoder_state, t)};
        StoreCells end = cells(tape.encoder_gates, tape.encoder_cell, t);
        if (sizes.read) {
            multiply<Kind>(slice.num_rows, left, tape.encoder, StartAtBias{tape.encoder_bias}, end);  // (5)
        } else {
            StartAtRows begin{of_slice(tape.image_gates, tape.gates), tape.gates};
            multiply<Kind>(slice.num_rows, left, tape.encoder, begin, end);
        }
        publish<Kind>(tape.encoder_state, slice, tape.slot(t + 1), scratch);
    }
    StoreCells cells(float* gates, float* cell, int t) const {
        return {at(gates, t, tape.gates), scratch, at(cell, t, tape.hidden), at(cell, t + 1, tape.hidden), tape.gates,
                tape.hidden};
    }

    // z_t of Q(Z_t | h_t^enc); its nats go to kl [batch, steps] unless null. noise: [batch, latent] of this step.
    void sample_latent(int t, const float* noise, bool sampled, float* kl) const {
        const int Z = tape.latent;
        float* posterior = at(tape.posterior_rows, t, 2 * Z);
        Rows left[1] = {factor(tape.encoder_state, t + 1)};
        multiply_rows(left, tape.posterior, StartAtBias{tape.posterior_bias}, posterior);  // (1, 2)
        pad(noise + ptrdiff_t(slice.first) * sizes.latent, sizes.latent, Z);
        for (int row = 0; row < slice.num_rows; row++) {
            const float *mu = posterior + ptrdiff_t(row) * 2 * Z, *log_sigma = mu + Z;
            float* z = scratch + ptrdiff_t(row) * Z;
            vec total{};
            for (int n = 0; n < Z; n += LANES) {
                vec m = load(mu + n), l = load(log_sigma + n), sigma = exp(l), epsilon = load(z + n);
                vec drawn = m + sigma * epsilon;  // (6)
                store(z + n, drawn);
                // (10, 11); padding has mu = log sigma = noise = 0 and costs nothing
                total += sampled ? 0.5f * (drawn * drawn - epsilon * epsilon) - l
                                 : 0.5f * (m * m + sigma * sigma - 2.0f * l - 1.0f);
            }
            if (kl) kl[ptrdiff_t(slice.first + row) * sizes.steps + t] = sum(total);
        }
        publish<Kind>(tape.latent_state, slice, tape.slot(t), scratch);
    }
    void given_latent(int t, const float* z) const {
        pad(z + ptrdiff_t(slice.first) * sizes.latent, sizes.latent, tape.latent);
        publish<Kind>(tape.latent_state, slice, tape.slot(t), scratch);
    }

    void decode(int t) const {
        Rows left[2] = {factor(tape.latent_state, t), factor(tape.decoder_state, t)};
        multiply<Kind>(slice.num_rows, left, tape.decoder, StartAtBias{tape.decoder_bias},
                       cells(tape.decoder_gates, tape.decoder_cell, t));  // (7)
        publish<Kind>(tape.decoder_state, slice, tape.slot(t + 1), scratch);
        compute_outputs(t + 1);
        const vec* outputs = at(tape.output_lanes, t + 1, tape.num_outputs);
        vec *canvas = this->canvas, *mean = at(tape.canvas_mean, t + 1, tape.pixels);
        for (int group = 0; group < slice.num_groups; group++) {
            const vec* patch = outputs + tape.patch_at;
            if (sizes.write) {
                Window window = window_from_parameters(outputs + tape.write_at, tape.write_grid);
                Filters filters = write_filters;
                filters.place(window, tape.write_grid);
                write(tape.write_grid, filters, window.gamma, patch, canvas, mean);  // (8, 29)
            } else {
                for (int n = 0; n < tape.pixels; n++) {
                    canvas[n] += patch[n];  // (8, 18)
                    mean[n] = sigmoid(canvas[n]);
                }
            }
            outputs += tape.num_outputs;
            canvas += tape.pixels;
            mean += tape.pixels;
        }
    }

    // -log D(x | c_T), eq. (9), of every image
    void reconstruction(float* nats) const {
        for (int group = 0; group < slice.num_groups; group++) {
            vec total{};
            for (int n = 0; n < tape.pixels; n++) {
                vec c = canvas[ptrdiff_t(group) * tape.pixels + n], size = c < 0.0f ? -c : c;
                total += at_least(c, vec{}) - x[ptrdiff_t(group) * tape.pixels + n] * c + log1p(exp(-size));
            }
            for (int lane = 0; lane < slice.group_size(group); lane++)
                nats[slice.first + group * LANES + lane] = total[lane];
        }
    }
};

}  // namespace drawnet::DRAWNET_ISA
