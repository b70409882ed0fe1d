// The derivative of eqs. (3-12), written by hand: back through the steps of one slice, then the weights' gradients.
#pragma once
#include <initializer_list>

#include "forward.h"
#include "pack.h"

namespace drawnet::DRAWNET_ISA {

template <class Kind>
struct Backward {
    const Forward<Kind> forward;
    Tape& tape;
    const Sizes& sizes;
    const Slice& slice;
    const int num_outputs;
    // this slice's part of what flows back
    float *d_encoder_hidden, *d_decoder_hidden, *d_encoder_cell, *d_decoder_cell, *d_gates, *d_outputs, *d_latent;
    float* d_rows;  // of one step, whatever they are just now
    vec* d_canvas;

    Backward(Tape& tape, int index)
        : forward(tape, index), tape(tape), sizes(tape.sizes), slice(forward.slice), num_outputs(tape.num_outputs),
          d_encoder_hidden(forward.of_slice(tape.d_encoder_hidden, tape.hidden)),
          d_decoder_hidden(forward.of_slice(tape.d_decoder_hidden, tape.hidden)),
          d_encoder_cell(forward.of_slice(tape.d_encoder_cell, tape.hidden)),
          d_decoder_cell(forward.of_slice(tape.d_decoder_cell, tape.hidden)),
          d_gates(forward.of_slice(tape.d_gates, tape.gates)),
          d_outputs(forward.of_slice(tape.d_output_rows, num_outputs)),
          d_latent(forward.of_slice(tape.d_latent, tape.latent)), d_rows(forward.of_slice(tape.d_rows, tape.widest)),
          d_canvas(forward.of_slice(tape.d_canvas, tape.pixels)) {}

    // out = or += d times the matrix
    template <class Begin>
    void send_back(const Stream& d, int slot, const Packed& matrix, const Begin& begin, float* out) const {
        Rows left[1] = {left_factor(tape, d, slice, slot)};
        forward.multiply_rows(left, matrix, begin, out);
    }
    void set_back(const Stream& d, int slot, const Packed& matrix, float* out) const {
        send_back(d, slot, matrix, StartAtZero{}, out);
    }
    void add_back(const Stream& d, int slot, const Packed& matrix, float* out) const {
        send_back(d, slot, matrix, StartAtRows{out, matrix.num_columns}, out);
    }
    float* clear(float* array, ptrdiff_t count) const {
        memset(array, 0, count * sizeof(float));
        return array;
    }

    void run(const float* noise, bool sampled, const float* d_reconstruction, const float* d_kl) const {
        for (float* d : {d_encoder_hidden, d_decoder_hidden, d_encoder_cell, d_decoder_cell})
            clear(d, ptrdiff_t(slice.num_rows) * tape.hidden);
        clear(d_outputs, ptrdiff_t(slice.num_rows) * num_outputs);
        auto bias = [&](float* array, ptrdiff_t width) { return clear(array + slice.index * 2 * width, width); };
        float* d_encoder_bias = bias(tape.d_encoder_bias, tape.gates);
        float* d_decoder_bias = bias(tape.d_decoder_bias, tape.gates);
        float* d_posterior_bias = bias(tape.d_posterior_bias, 2 * tape.latent);
        float* d_outputs_bias = bias(tape.d_outputs_bias, num_outputs);
        float* d_gates_sum = nullptr;
        if (!sizes.read)
            d_gates_sum = clear(forward.of_slice(tape.d_gates_sum, tape.gates), ptrdiff_t(slice.num_rows) * tape.gates);

        canvas_back(d_reconstruction);
        for (int t = sizes.steps - 1; t >= 0; t--) {
            write_back(t + 1);
            outputs_back(t + 1, d_outputs_bias);

            cells_back(tape.decoder_gates, tape.decoder_cell, t, d_decoder_hidden, d_decoder_cell);
            publish<Kind>(tape.d_decoder, slice, t, d_gates, d_decoder_bias);
            set_back(tape.d_decoder, t, tape.decoder_to_latent, d_latent);
            set_back(tape.d_decoder, t, tape.decoder_to_decoder, d_decoder_hidden);

            latent_back(t, noise + ptrdiff_t(t) * sizes.batch * sizes.latent, sampled, d_kl);
            publish<Kind>(tape.d_posterior, slice, t, d_rows, d_posterior_bias);
            add_back(tape.d_posterior, t, tape.posterior_to_encoder, d_encoder_hidden);

            cells_back(tape.encoder_gates, tape.encoder_cell, t, d_encoder_hidden, d_encoder_cell);
            publish<Kind>(tape.d_encoder, slice, t, d_gates, d_encoder_bias);
            for (ptrdiff_t n = 0; d_gates_sum && n < ptrdiff_t(slice.num_rows) * tape.gates; n += LANES)
                store(d_gates_sum + n, load(d_gates_sum + n) + load(d_gates + n));
            set_back(tape.d_encoder, t, tape.encoder_to_glimpse, d_rows);
            add_back(tape.d_encoder, t, tape.encoder_to_decoder, d_decoder_hidden);
            set_back(tape.d_encoder, t, tape.encoder_to_encoder, d_encoder_hidden);
            read_back(t);
        }
        for (int row = 0; row < slice.num_rows; row++)  // nothing was written before the first step
            clear(d_outputs + ptrdiff_t(row) * num_outputs + tape.write_at, num_outputs - tape.write_at);
        outputs_back(0, d_outputs_bias);
        if (d_gates_sum) publish<Kind>(tape.d_encoder_sum, slice, 0, d_gates_sum);
    }

    void canvas_back(const float* d_reconstruction) const {
        const vec* mean = forward.at(tape.canvas_mean, sizes.steps, tape.pixels);
        for (int group = 0; group < slice.num_groups; group++) {
            vec scale{};  // 0 in lanes without an image
            for (int lane = 0; lane < slice.group_size(group); lane++)
                scale[lane] = d_reconstruction[slice.first + group * LANES + lane];
            for (ptrdiff_t n = ptrdiff_t(group) * tape.pixels; n < ptrdiff_t(group + 1) * tape.pixels; n++)
                d_canvas[n] = scale * (mean[n] - forward.x[n]);
        }
    }

    // d_canvas -> d_outputs, from the writer's columns on
    void write_back(int slot) const {
        const int count = tape.patch_at - tape.write_at + sizes.patch();
        const vec* p = forward.at(tape.output_lanes, slot, num_outputs) + tape.write_at;
        for (int group = 0; group < slice.num_groups; group++, p += num_outputs) {
            const vec* d_image = d_canvas + ptrdiff_t(group) * tape.pixels;
            vec* d = forward.patches + ptrdiff_t(group) * count;
            if (sizes.write) {
                Window window = window_from_parameters(p, tape.write_grid);
                Filters filters = forward.write_filters;
                filters.place(window, tape.write_grid);
                filters.clear_gradients(tape.write_grid);
                vec d_log_gamma = write_backward(tape.write_grid, filters, window.gamma, p + 5, d_image, d + 5);
                filters.backward(p, window, tape.write_grid, d_log_gamma, d);
            } else {
                for (int n = 0; n < count; n++) d[n] = d_image[n];
            }
        }
        rows_from_lanes(slice, forward.patches, count, count, d_outputs + tape.write_at, num_outputs);
    }

    void outputs_back(int slot, float* d_bias) const {
        publish<Kind>(tape.d_outputs, slice, slot, d_outputs, d_bias);
        add_back(tape.d_outputs, slot, tape.outputs_to_decoder, d_decoder_hidden);
    }

    // Gradients of h and c after step t -> d_gates, and d_cell before it.
    void cells_back(float* gates, float* cell, int t, const float* d_hidden, float* d_cell) const {
        const float *saved = forward.at(gates, t, tape.gates), *before = forward.at(cell, t, tape.hidden),
                    *after = forward.at(cell, t + 1, tape.hidden);
        for (ptrdiff_t n = 0; n < ptrdiff_t(slice.num_rows) * tape.hidden; n += LANES) {
            const float* gate = saved + 4 * n;
            vec input = load(gate), forget = load(gate + LANES), candidate = load(gate + 2 * LANES),
                output = load(gate + 3 * LANES);
            vec squashed = tanh(load(after + n)), d_h = load(d_hidden + n);
            vec d_c = load(d_cell + n) + d_h * output * (1.0f - squashed * squashed);
            float* d_gate = d_gates + 4 * n;
            store(d_gate, d_c * candidate * input * (1.0f - input));
            store(d_gate + LANES, d_c * load(before + n) * forget * (1.0f - forget));
            store(d_gate + 2 * LANES, d_c * input * (1.0f - candidate * candidate));
            store(d_gate + 3 * LANES, d_h * squashed * output * (1.0f - output));
            store(d_cell + n, d_c * forget);
        }
    }

    // d_latent -> d_rows: gradients of mu and log sigma
    void latent_back(int t, const float* noise, bool sampled, const float* d_kl) const {
        const int Z = tape.latent;
        const float* posterior = forward.at(tape.posterior_rows, t, 2 * Z);
        forward.pad(noise + ptrdiff_t(slice.first) * sizes.latent, sizes.latent, Z);
        for (int row = 0; row < slice.num_rows; row++) {
            const float *mu = posterior + ptrdiff_t(row) * 2 * Z, *log_sigma = mu + Z;
            const float *epsilon = forward.scratch + ptrdiff_t(row) * Z, *d_z = d_latent + ptrdiff_t(row) * Z;
            float* out = d_rows + ptrdiff_t(row) * 2 * Z;
            vec weight = splat(d_kl[ptrdiff_t(slice.first + row) * sizes.steps + t]);
            for (int n = 0; n < Z; n += LANES) {
                vec m = load(mu + n), sigma = exp(load(log_sigma + n)), scatter = sigma * load(epsilon + n);
                vec d = load(d_z + n);
                if (sampled) {  // 1/2 (z^2 - epsilon^2) - log sigma
                    d += weight * (m + scatter);
                    store(out + n, d);
                    store(out + Z + n, d * scatter - weight);
                } else {
                    store(out + n, d + weight * m);
                    store(out + Z + n, d * scatter + weight * (sigma * sigma - 1.0f));
                }
            }
        }
    }

    // d_rows, of what was read -> d_canvas, and the reader's columns of d_outputs
    void read_back(int t) const {
        lanes_from_rows(slice, d_rows, tape.glimpse.width, tape.seen, forward.patches, tape.seen);
        const vec* p = forward.at(tape.output_lanes, t, num_outputs) + tape.read_at;
        const vec* mean = forward.at(tape.canvas_mean, t, tape.pixels);
        for (int group = 0; group < slice.num_groups; group++, p += num_outputs, mean += tape.pixels) {
            vec* d_image = d_canvas + ptrdiff_t(group) * tape.pixels;
            const vec* d_seen = forward.patches + ptrdiff_t(group) * tape.seen;
            if (!sizes.read) {
                for (int n = 0; n < tape.pixels; n++) d_image[n] -= d_seen[n] * mean[n] * (1.0f - mean[n]);
                continue;
            }
            Window window = window_from_parameters(p, tape.read_grid);
            Filters filters = forward.read_filters;
            filters.place(window, tape.read_grid);
            filters.clear_gradients(tape.read_grid);
            vec d_log_gamma = read_backward(tape.read_grid, filters, window.gamma,
                                                  forward.x + ptrdiff_t(group) * tape.pixels, mean, d_seen, d_image);
            vec d[5];
            filters.backward(p, window, tape.read_grid, d_log_gamma, d);
            for (int lane = 0; lane < slice.group_size(group); lane++)
                for (int n = 0; n < 5; n++)
                    d_outputs[ptrdiff_t(group * LANES + lane) * num_outputs + tape.read_at + n] = d[n][lane];
        }
    }
};

// One thread's share of the weights' gradients, after all slices are through: a range of every matrix's rows.
template <class Kind>
struct WeightGradients {
    Tape& tape;
    const Sizes& sizes;
    int thread, num_threads;

    // Sum over `slots` slots of left^T right, where row m of the sum goes to `target(m)`: [right.num_features]
    template <class Target>
    void product(const Stream& left, int left_slot, const Stream& right, int right_slot, int slots,
                 Target&& target) const {
        int first = int(int64_t(left.width) * thread / num_threads),
            last = int(int64_t(left.width) * (thread + 1) / num_threads);
        ptrdiff_t most_rows = (tape.gradient_height + num_threads - 1) / num_threads;
        float* out = tape.weight_gradient + thread * most_rows * tape.gradient_width;
        memset(out, 0, sizeof(float) * size_t(last - first) * right.width);
        multiply_transposed<Kind>(left.history + left_slot * left.slot + first, left.stride,
                                  right.history + right_slot * right.slot, right.stride,
                                  slots * tape.elements(sizes.batch), last - first, right.width, out, right.width);
        for (int m = first; m < last; m++, out += right.width)
            if (float* to = target(m)) memcpy(to, out, sizeof(float) * right.num_features);
    }

    void run(const Gradients& g) const {
        const int h = sizes.hidden, G = sizes.glimpse(), T = sizes.steps, Z = sizes.latent;
        const int skipped = sizes.read ? 0 : tape.pixels;
        auto gates = [&](float* matrix, ptrdiff_t stride, int offset) {
            return [=](int column) { return gate_row(matrix, stride, offset, column, h); };
        };
        product(tape.d_encoder, 0, tape.glimpse, 0, T, gates(g.encoder_ih, G + h, skipped));
        product(tape.d_encoder, 0, tape.decoder_state, 0, T, gates(g.encoder_ih, G + h, G));
        product(tape.d_encoder, 0, tape.encoder_state, 0, T, gates(g.encoder_hh, h, 0));
        if (!sizes.read) product(tape.d_encoder_sum, 0, tape.x, 0, 1, gates(g.encoder_ih, G + h, 0));
        product(tape.d_decoder, 0, tape.latent_state, 0, T, gates(g.decoder_ih, Z, 0));
        product(tape.d_decoder, 0, tape.decoder_state, 0, T, gates(g.decoder_hh, h, 0));
        product(tape.d_posterior, 0, tape.encoder_state, 1, T, [&](int row) -> float* {
            int n = row % tape.latent;
            return n < Z ? (row < tape.latent ? g.mu : g.log_sigma) + ptrdiff_t(n) * h : nullptr;
        });
        product(tape.d_outputs, 0, tape.decoder_state, 0, T + 1, [&](int row) -> float* {
            if (sizes.read && row < 5) return g.read_window + ptrdiff_t(row) * h;
            if (sizes.write && row >= tape.write_at && row < tape.patch_at)
                return g.write_window + ptrdiff_t(row - tape.write_at) * h;
            int n = row - tape.patch_at;
            return n < sizes.patch() ? g.write + ptrdiff_t(n) * h : nullptr;
        });
        if (thread == 0) sums(g);
    }

    float total(const float* slices, int width, int column) const {
        float sum = 0;
        for (int s = 0; s < tape.num_slices; s++) sum += slices[size_t(s) * 2 * width + column];
        return sum;
    }
    void state(const float* d, float* out) const {
        for (int n = 0; n < sizes.hidden; n++) {
            float sum = 0;
            for (int row = 0; row < sizes.batch; row++) sum += d[ptrdiff_t(row) * tape.hidden + n];
            out[n] = sum;
        }
    }
    void sums(const Gradients& g) const {
        const int h = sizes.hidden;
        for (int gate = 0; gate < 4; gate++) {
            for (int unit = 0; unit < h; unit++) {
                int column = gate_column(gate, unit), row = gate * h + unit;
                g.encoder_bias_ih[row] = g.encoder_bias_hh[row] = total(tape.d_encoder_bias, tape.gates, column);
                g.decoder_bias_ih[row] = g.decoder_bias_hh[row] = total(tape.d_decoder_bias, tape.gates, column);
            }
        }
        auto linear = [&](const float* slices, int width, int first, int count, float* out) {
            for (int n = 0; n < count; n++) out[n] = total(slices, width, first + n);
        };
        linear(tape.d_posterior_bias, 2 * tape.latent, 0, sizes.latent, g.mu_bias);
        linear(tape.d_posterior_bias, 2 * tape.latent, tape.latent, sizes.latent, g.log_sigma_bias);
        if (sizes.read) linear(tape.d_outputs_bias, tape.num_outputs, tape.read_at, 5, g.read_window_bias);
        if (sizes.write) linear(tape.d_outputs_bias, tape.num_outputs, tape.write_at, 5, g.write_window_bias);
        linear(tape.d_outputs_bias, tape.num_outputs, tape.patch_at, sizes.patch(), g.write_bias);
        state(tape.d_encoder_hidden, g.encoder_0);
        state(tape.d_encoder_cell, g.encoder_0 + h);
        state(tape.d_decoder_hidden, g.decoder_0);
        state(tape.d_decoder_cell, g.decoder_0 + h);
        for (int n = 0; n < tape.pixels; n++) {
            float sum_of_images = 0;
            for (int group = 0; group < tape.num_groups; group++)
                sum_of_images += sum(tape.d_canvas[ptrdiff_t(group) * tape.pixels + n]);
            g.canvas_0[n] = sum_of_images;
        }
    }
};

}  // namespace drawnet::DRAWNET_ISA
