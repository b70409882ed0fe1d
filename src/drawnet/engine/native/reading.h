// The selective read by itself, eqs. (21-27), and its derivative, one image at a time with its columns in the lanes.
// A filter narrower than the image leaves most pixels out. The lanes of attention.h are images, each with a window of
// its own, and multiply them all; here every filter multiplies only what it sees.
#pragma once
#include <math.h>

#include "engine.h"
#include "tape.h"

namespace drawnet::DRAWNET_ISA {

constexpr double UNSEEN = 24;  // pixels below e^-24 of a filter's peak: all of them together are lost in float32

// Pixels first <= a < last, counted from 0; from() to to() are the whole vectors around them.
struct Span {
    int first, last;
    int from() const { return first / LANES * LANES; }
    int to() const { return round_up(last, LANES); }
};

INLINE float dot(const float* a, const float* b, const Span& span) {
    vec total{};
    for (int n = span.from(); n < span.to(); n += LANES) total += load(a + n) * load(b + n);
    return sum(total);
}
INLINE void add_scaled(float* out, float factor, const float* in, const Span& span) {
    for (int n = span.from(); n < span.to(); n += LANES) store(out + n, load(out + n) + factor * load(in + n));
}
INLINE vec pixels_from(int a) {  // a + 1, a + 2, ...: the paper counts from 1
    vec pixels;
    for (int lane = 0; lane < LANES; lane++) pixels[lane] = float(a + 1 + lane);
    return pixels;
}

// The filters of one image along one axis. All lanes of a vec that is not about pixels are the same.
struct Bank {
    int size, num_pixels, stride;
    Span* spans;                  // what each filter sees
    Span seen;                    // what any of them sees
    float *weights, *gradients;  // [filter][pixel, padded]; weights: set in the whole vectors of a span only

    Bank(int size, int num_pixels, Arena& arena)
        : size(size), num_pixels(num_pixels), stride(round_up(num_pixels, LANES)) {
        spans = arena.take<Span>(size);
        weights = arena.take<float>(size_t(size) * stride);
        gradients = arena.take<float>(size_t(size) * stride);
    }
    const float* of(int i) const { return weights + ptrdiff_t(i) * stride; }
    float* gradient_of(int i) const { return gradients + ptrdiff_t(i) * stride; }

    // (a - nearest) (a + nearest - 2 mu) / (2 sigma^2) < UNSEEN, see Axis; a NaN sees every pixel.
    Span span_of(const Axis& axis, double exponent) const {
        double nearest = axis.nearest[0], off = axis.mu[0] - nearest, area = UNSEEN / exponent;
        double root = sqrt(off * off + area);
        double low = nearest - (off > 0 ? area / (root + off) : root - off);
        double high = nearest + (off < 0 ? area / (root - off) : root + off);
        return {low > 1 ? int(ceil(low)) - 1 : 0, high < num_pixels ? int(high) : num_pixels};
    }

    void place(vec center, vec spacing, vec exponent) {
        seen = {num_pixels, 0};
        for (int i = 0; i < size; i++) {
            Axis axis(center, spacing, i, size, num_pixels);
            Span span = spans[i] = span_of(axis, exponent[0]);
            seen = {span.first < seen.first ? span.first : seen.first, span.last > seen.last ? span.last : seen.last};
            float* row = weights + ptrdiff_t(i) * stride;
            vec total{};
            for (int a = span.from(); a < span.to(); a += LANES) {
                vec pixel = pixels_from(a);
                vec weight = (pixel > float(span.first)) & (pixel <= float(span.last))
                                 ? exp(-axis.distance(pixel) * exponent)
                                 : vec{};
                total += weight;
                store(row + a, weight);
            }
            float scale = 1.0f / sum(total);
            for (int a = span.from(); a < span.to(); a += LANES) store(row + a, scale * load(row + a));  // (25, 26)
        }
    }

    void clear_gradients() { memset(gradients, 0, sizeof(float) * size * stride); }

    void backward(vec center, vec spacing, vec exponent, float& d_center, float& d_spacing, float& d_log_variance) {
        for (int i = 0; i < size; i++) {
            Axis axis(center, spacing, i, size, num_pixels);
            float inner = dot(of(i), gradient_of(i), spans[i]);
            vec d_mu{}, d_log_sigma_2{};
            for (int a = spans[i].from(); a < spans[i].to(); a += LANES) {
                vec pixel = pixels_from(a), d_log = load(of(i) + a) * (load(gradient_of(i) + a) - inner);
                d_mu += d_log * (pixel - axis.nearest);
                d_log_sigma_2 += d_log * axis.distance(pixel) * exponent;
            }
            float d = 2.0f * exponent[0] * sum(d_mu);
            d_center += d;
            d_spacing += filter_offset(i, size) * d;
            d_log_variance += sum(d_log_sigma_2);
        }
    }
};

// The memory of one thread, and what it does with one image after the other.
struct Reader {
    Grid grid;
    Bank y, x;
    float *pixels, *d_pixels;  // [row][column, padded] of one channel, of what is seen
    float *lines, *d_lines;    // [row filter][column, padded]: F_Y x

    Reader(const Grid& grid, Arena& arena)
        : grid(grid), y(grid.size, grid.height, arena), x(grid.size, grid.width, arena) {
        pixels = arena.take<float>(size_t(grid.height) * x.stride);
        d_pixels = arena.take<float>(size_t(grid.height) * x.stride);
        lines = arena.take<float>(size_t(grid.size) * x.stride);
        d_lines = arena.take<float>(size_t(grid.size) * x.stride);
    }

    Window place(const vec* p) {
        Window window = window_from_parameters(p, grid);
        y.place(window.center_y, window.stride, window.exponent);
        x.place(window.center_x, window.stride, window.exponent);
        return window;
    }

    // F_Y x of one channel
    void read_lines(const float* channel) {
        int from = x.seen.from(), to = x.seen.to(), end = to < grid.width ? to : grid.width;
        for (int row = y.seen.first; row < y.seen.last; row++) {
            float* padded = pixels + ptrdiff_t(row) * x.stride;
            memcpy(padded + from, channel + ptrdiff_t(row) * grid.width + from, sizeof(float) * (end - from));
            memset(padded + end, 0, sizeof(float) * (to - end));
        }
        for (int i = 0; i < grid.size; i++) {
            const float* weights = y.of(i);
            for_blocks((to - from) / LANES, [&](int first, auto block) {
                constexpr int V = decltype(block)::value;
                ptrdiff_t start = from + first * LANES;
                vec sums[V]{};
                for (int row = y.spans[i].first; row < y.spans[i].last; row++)
                    for (int v = 0; v < V; v++)
                        sums[v] += weights[row] * load(pixels + row * ptrdiff_t(x.stride) + start + v * LANES);
                for (int v = 0; v < V; v++) store(lines + i * ptrdiff_t(x.stride) + start + v * LANES, sums[v]);
            });
        }
    }

    // (27) of one image
    void read(const vec* p, const float* image, float* patches) {
        float gamma = place(p).gamma[0];
        for (int c = 0; c < grid.channels; c++, image += ptrdiff_t(grid.height) * grid.width) {
            read_lines(image);
            for (int i = 0; i < grid.size; i++)
                for (int j = 0; j < grid.size; j++)
                    *patches++ = gamma * dot(lines + ptrdiff_t(i) * x.stride, x.of(j), x.spans[j]);
        }
    }

    // The gradients of the five numbers of eq. (21), in all lanes of d_p, and of the image unless null.
    void backward(const vec* p, const float* image, const float* d_patches, float* d_image, vec* d_p) {
        Window window = place(p);
        y.clear_gradients();
        x.clear_gradients();
        float d_log_gamma = 0, d_center_x = 0, d_center_y = 0, d_stride = 0, d_log_variance = 0;
        for (int c = 0; c < grid.channels; c++, image += ptrdiff_t(grid.height) * grid.width) {
            read_lines(image);
            if (d_image) memset(d_pixels, 0, sizeof(float) * grid.height * x.stride);
            for (int i = 0; i < grid.size; i++) {
                const float* line = lines + ptrdiff_t(i) * x.stride;
                float* d_line = d_lines + ptrdiff_t(i) * x.stride;
                memset(d_line + x.seen.from(), 0, sizeof(float) * (x.seen.to() - x.seen.from()));
                for (int j = 0; j < grid.size; j++) {
                    float d = window.gamma[0] * *d_patches++;
                    add_scaled(d_line, d, x.of(j), x.spans[j]);
                    add_scaled(x.gradient_of(j), d, line, x.spans[j]);
                }
                d_log_gamma += dot(line, d_line, x.seen);
                for (int row = y.spans[i].first; row < y.spans[i].last; row++) {
                    y.gradient_of(i)[row] += dot(d_line, pixels + ptrdiff_t(row) * x.stride, x.seen);
                    if (d_image) add_scaled(d_pixels + ptrdiff_t(row) * x.stride, y.of(i)[row], d_line, x.seen);
                }
            }
            for (int row = 0; d_image && row < grid.height; row++, d_image += grid.width)
                memcpy(d_image, d_pixels + ptrdiff_t(row) * x.stride, sizeof(float) * grid.width);
        }
        y.backward(window.center_y, window.stride, window.exponent, d_center_y, d_stride, d_log_variance);
        x.backward(window.center_x, window.stride, window.exponent, d_center_x, d_stride, d_log_variance);
        window_backward(p, window, grid, splat(d_center_x), splat(d_center_y), splat(d_stride), splat(d_log_variance),
                        splat(d_log_gamma), d_p);
    }
};

}  // namespace drawnet::DRAWNET_ISA
