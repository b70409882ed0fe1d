// Read and write of DRAW, eqs. (19-29), for LANES images at once: lane l of every vector belongs to image l.
// Images are vec[channel][row][column], filters vec[pixel][filter], patches vec[channel][row filter][column filter].
#pragma once
#include "simd.h"

namespace drawnet::DRAWNET_ISA {

constexpr float LOG_LIMIT = 10.0f;  // as in drawnet.nn.attention
constexpr int MAX_BLOCK = 8;        // filters whose sums are held in registers

struct Grid {
    int channels, height, width, size;
};

// Eqs. (21-24); exponent is 1 / (2 sigma^2).
struct Window {
    vec center_x, center_y, stride, exponent, gamma;
};
INLINE vec held(vec log_value) { return at_most(at_least(log_value, splat(-LOG_LIMIT)), splat(LOG_LIMIT)); }
INLINE vec where_held(vec log_value, vec gradient) {  // the derivative of `held`
    return (log_value >= -LOG_LIMIT) & (log_value <= LOG_LIMIT) ? gradient : vec{};
}
INLINE float widest_stride(const Grid& grid) {
    return float((grid.height > grid.width ? grid.height : grid.width) - 1) / float(grid.size - 1);
}
INLINE Window window_from_parameters(const vec* p, const Grid& grid) {
    return {0.5f * float(grid.width + 1) * (p[0] + 1.0f),    // (22)
            0.5f * float(grid.height + 1) * (p[1] + 1.0f),   // (23)
            widest_stride(grid) * exp(held(p[3])),           // (24)
            0.5f * exp(-held(p[2])), exp(held(p[4]))};
}
// Gradients of the five numbers of eq. (21), from those of the window's centre, stride, log sigma^2 and log gamma.
INLINE void window_backward(const vec* p, const Window& window, const Grid& grid, vec d_center_x, vec d_center_y,
                            vec d_stride, vec d_log_variance, vec d_log_gamma, vec* d_p) {
    d_p[0] = 0.5f * float(grid.width + 1) * d_center_x;
    d_p[1] = 0.5f * float(grid.height + 1) * d_center_y;
    d_p[2] = where_held(p[2], d_log_variance);
    d_p[3] = where_held(p[3], window.stride * d_stride);
    d_p[4] = where_held(p[4], d_log_gamma);
}
INLINE float filter_offset(int i, int size) { return float(i) + 0.5f - 0.5f * float(size); }  // i counted from 0

// -log of filter i at pixel a (both from 0), up to the constant that makes it 0 at the pixel next to mu: the filter is
// a softmax, and (a - mu)^2 - (nearest - mu)^2 = (a - nearest) (a + nearest - 2 mu) loses no digits far outside.
struct Axis {
    vec mu, nearest;
    INLINE Axis(vec center, vec stride, int i, int size, int num_pixels) {
        mu = center + filter_offset(i, size) * stride;  // (19, 20)
        nearest = round_to_integer(at_most(at_least(mu, splat(1.0f)), splat(float(num_pixels))));
    }
    INLINE vec distance(vec a) const { return (a - nearest) * (a + nearest - 2.0f * mu); }  // a counted from 1
    INLINE vec distance(int a) const { return distance(splat(float(a + 1))); }              // a counted from 0
};

static void filter_bank(vec center, vec stride, vec exponent, int size, int num_pixels, vec* filters) {
    for (int i = 0; i < size; i++) {
        Axis axis(center, stride, i, size, num_pixels);
        vec total{};
        for (int a = 0; a < num_pixels; a++) total += filters[a * size + i] = exp(-axis.distance(a) * exponent);
        vec scale = 1.0f / total;
        for (int a = 0; a < num_pixels; a++) filters[a * size + i] *= scale;  // (25, 26)
    }
}

static void filter_bank_backward(vec center, vec stride, vec exponent, int size, int num_pixels, const vec* filters,
                                 const vec* d_filters, vec& d_center, vec& d_stride, vec& d_log_variance) {
    for (int i = 0; i < size; i++) {
        Axis axis(center, stride, i, size, num_pixels);
        vec inner{}, d_mu{};
        for (int a = 0; a < num_pixels; a++) inner += filters[a * size + i] * d_filters[a * size + i];
        for (int a = 0; a < num_pixels; a++) {
            vec d_log = filters[a * size + i] * (d_filters[a * size + i] - inner);
            d_mu += d_log * (float(a + 1) - axis.nearest);
            d_log_variance += d_log * axis.distance(a) * exponent;
        }
        d_mu *= 2.0f * exponent;
        d_center += d_mu;
        d_stride += filter_offset(i, size) * d_mu;
    }
}

// Both filter banks of a window, and their gradients' sums.
struct Filters {
    vec *y, *x, *d_y, *d_x;
    static size_t num_vectors(const Grid& grid) { return 2 * size_t(grid.height + grid.width) * grid.size; }
    INLINE Filters(const Grid& grid, vec* memory) {
        y = memory;
        x = y + grid.height * grid.size;
        d_y = x + grid.width * grid.size;
        d_x = d_y + grid.height * grid.size;
    }
    INLINE void place(const Window& window, const Grid& grid) {
        filter_bank(window.center_y, window.stride, window.exponent, grid.size, grid.height, y);
        filter_bank(window.center_x, window.stride, window.exponent, grid.size, grid.width, x);
    }
    INLINE void clear_gradients(const Grid& grid) {
        for (int n = 0; n < (grid.height + grid.width) * grid.size; n++) d_y[n] = vec{};
    }
    // Gradients of the five numbers of eq. (21), from those of the filters and of log gamma.
    INLINE void backward(const vec* p, const Window& window, const Grid& grid, vec d_log_gamma, vec* d_p) {
        vec d_center_x{}, d_center_y{}, d_stride{}, d_log_variance{};
        filter_bank_backward(window.center_y, window.stride, window.exponent, grid.size, grid.height, y, d_y,
                             d_center_y, d_stride, d_log_variance);
        filter_bank_backward(window.center_x, window.stride, window.exponent, grid.size, grid.width, x, d_x,
                             d_center_x, d_stride, d_log_variance);
        window_backward(p, window, grid, d_center_x, d_center_y, d_stride, d_log_variance, d_log_gamma, d_p);
    }
};

template <class Function>
INLINE void for_blocks(int size, Function&& function) {
    for (int first = 0; first < size; first += MAX_BLOCK)
        with_constant<MAX_BLOCK>(size - first < MAX_BLOCK ? size - first : MAX_BLOCK,
                                 [&](auto block) { function(first, block); });
}

// Eqs. (3, 4, 27): beside every channel of x the same channel of x_hat = x - sigma(c), whose patches follow.
static void read(const Grid& grid, const Filters& f, vec gamma, const vec* x, const vec* canvas_mean, vec* patches) {
    int n = grid.size, patch = n * n, errors = grid.channels * patch;
    for (int k = 0; k < 2 * errors; k++) patches[k] = vec{};
    for (int c = 0; c < grid.channels; c++) {
        for (int row = 0; row < grid.height; row++) {
            ptrdiff_t start = ptrdiff_t(c * grid.height + row) * grid.width;
            for_blocks(n, [&](int first, auto block) {
                constexpr int J = decltype(block)::value;
                vec seen[J]{}, seen_error[J]{};
                for (int a = 0; a < grid.width; a++) {
                    const vec* filter = f.x + a * n + first;
                    vec pixel = x[start + a], error = pixel - canvas_mean[start + a];
                    for (int j = 0; j < J; j++) {
                        seen[j] += pixel * filter[j];
                        seen_error[j] += error * filter[j];
                    }
                }
                for (int i = 0; i < n; i++) {
                    vec weight = gamma * f.y[row * n + i];
                    vec* out = patches + c * patch + i * n + first;
                    for (int j = 0; j < J; j++) {
                        out[j] += weight * seen[j];
                        out[errors + j] += weight * seen_error[j];
                    }
                }
            });
        }
    }
}

// The gradients of the filters (added to theirs), of log gamma (returned), and of the canvas, which gains through
// x_hat = x - sigma(c).
static vec read_backward(const Grid& grid, const Filters& f, vec gamma, const vec* x, const vec* canvas_mean,
                         const vec* d_patches, vec* d_canvas) {
    int n = grid.size, patch = n * n, errors = grid.channels * patch;
    vec d_gamma{};
    for (int c = 0; c < grid.channels; c++) {
        for (int row = 0; row < grid.height; row++) {
            ptrdiff_t start = ptrdiff_t(c * grid.height + row) * grid.width;
            for_blocks(n, [&](int first, auto block) {
                constexpr int J = decltype(block)::value;
                vec seen[J]{}, seen_error[J]{}, weight[J]{}, weight_error[J]{};
                for (int i = 0; i < n; i++) {
                    const vec* d = d_patches + c * patch + i * n + first;
                    vec scaled = gamma * f.y[row * n + i];
                    for (int j = 0; j < J; j++) {
                        weight[j] += scaled * d[j];
                        weight_error[j] += scaled * d[errors + j];
                    }
                }
                for (int a = 0; a < grid.width; a++) {
                    const vec* filter = f.x + a * n + first;
                    vec* d_filter = f.d_x + a * n + first;
                    vec pixel = x[start + a], mean = canvas_mean[start + a], error = pixel - mean, gain{};
                    for (int j = 0; j < J; j++) {
                        seen[j] += pixel * filter[j];
                        seen_error[j] += error * filter[j];
                        d_filter[j] += weight[j] * pixel + weight_error[j] * error;
                        gain += weight_error[j] * filter[j];
                    }
                    d_canvas[start + a] -= gain * mean * (1.0f - mean);
                }
                for (int i = 0; i < n; i++) {
                    const vec* d = d_patches + c * patch + i * n + first;
                    vec total{};
                    for (int j = 0; j < J; j++) total += d[j] * seen[j] + d[errors + j] * seen_error[j];
                    f.d_y[row * n + i] += gamma * total;
                    d_gamma += f.y[row * n + i] * total;
                }
            });
        }
    }
    return gamma * d_gamma;
}

// Eqs. (8, 29): the patch laid on the canvas; canvas_mean is sigma(c) of the result.
static void write(const Grid& grid, const Filters& f, vec gamma, const vec* patches, vec* canvas, vec* canvas_mean) {
    int n = grid.size;
    vec scale = 1.0f / gamma;
    for (int c = 0; c < grid.channels; c++) {
        for (int row = 0; row < grid.height; row++) {
            ptrdiff_t start = ptrdiff_t(c * grid.height + row) * grid.width;
            for_blocks(n, [&](int first, auto block) {
                constexpr int J = decltype(block)::value;
                vec line[J]{};
                for (int i = 0; i < n; i++) {
                    const vec* patch = patches + (c * n + i) * n + first;
                    vec weight = scale * f.y[row * n + i];
                    for (int j = 0; j < J; j++) line[j] += weight * patch[j];
                }
                for (int a = 0; a < grid.width; a++) {
                    vec total = canvas[start + a];
                    for (int j = 0; j < J; j++) total += line[j] * f.x[a * n + first + j];
                    canvas[start + a] = total;
                }
            });
            for (int a = 0; a < grid.width; a++) canvas_mean[start + a] = sigmoid(canvas[start + a]);
        }
    }
}

// Sets the patches' gradients, adds the filters', returns that of log gamma.
static vec write_backward(const Grid& grid, const Filters& f, vec gamma, const vec* patches, const vec* d_canvas,
                          vec* d_patches) {
    int n = grid.size;
    vec scale = 1.0f / gamma, d_log_gamma{};
    for (int k = 0; k < grid.channels * n * n; k++) d_patches[k] = vec{};
    for (int c = 0; c < grid.channels; c++) {
        for (int row = 0; row < grid.height; row++) {
            ptrdiff_t start = ptrdiff_t(c * grid.height + row) * grid.width;
            for_blocks(n, [&](int first, auto block) {
                constexpr int J = decltype(block)::value;
                vec line[J]{}, d_line[J]{};
                for (int i = 0; i < n; i++) {
                    const vec* patch = patches + (c * n + i) * n + first;
                    vec weight = scale * f.y[row * n + i];
                    for (int j = 0; j < J; j++) line[j] += weight * patch[j];
                }
                for (int a = 0; a < grid.width; a++) {
                    vec d = d_canvas[start + a];
                    for (int j = 0; j < J; j++) {
                        d_line[j] += d * f.x[a * n + first + j];
                        f.d_x[a * n + first + j] += d * line[j];
                    }
                }
                for (int i = 0; i < n; i++) {
                    const vec* patch = patches + (c * n + i) * n + first;
                    vec* d_patch = d_patches + (c * n + i) * n + first;
                    vec weight = scale * f.y[row * n + i], total{};
                    for (int j = 0; j < J; j++) {
                        d_patch[j] += weight * d_line[j];
                        total += d_line[j] * patch[j];
                    }
                    f.d_y[row * n + i] += scale * total;
                    d_log_gamma -= weight * total;
                }
            });
        }
    }
    return d_log_gamma;
}

}  // namespace drawnet::DRAWNET_ISA
