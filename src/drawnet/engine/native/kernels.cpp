// The engine for one instruction set: this file is compiled once for each, as namespace drawnet::DRAWNET_ISA.
#ifdef _OPENMP
#include <omp.h>
#endif
#include <stdlib.h>

#include <new>

#include "backward.h"
#include "pack.h"

namespace drawnet::DRAWNET_ISA {

// function(thread, num_threads) in every thread
template <class Function>
static void in_parallel(int num_threads, Function&& function) {
#ifdef _OPENMP
    if (num_threads > 1) {
#pragma omp parallel num_threads(num_threads)
        function(omp_get_thread_num(), omp_get_num_threads());
        return;
    }
#endif
    function(0, 1);
}

// function(slice index) for every slice
template <class Function>
static void for_slices(const Tape& tape, Function&& function) {
    int num_threads = tape.sizes.threads < tape.num_slices ? tape.sizes.threads : tape.num_slices;
    in_parallel(num_threads, [&](int thread, int count) {
        for (int index = thread; index < tape.num_slices; index += count) function(index);
    });
}

template <class Function>
static void with_kind(const Tape& tape, Function&& function) {
    if (tape.sizes.precision == MIXED)
        function(Bfloat16{});
    else
        function(Float32{});
}

static drawnet::Tape* create(const Sizes& sizes) {
    Tape* tape = new (std::nothrow) Tape{};
    if (tape && !tape->allocate(sizes)) {
        delete tape;
        return nullptr;
    }
    return tape;
}

static Tape& own(drawnet::Tape* tape) { return *static_cast<Tape*>(tape); }

static void destroy(drawnet::Tape* tape) {
    own(tape).release();
    delete &own(tape);
}

static size_t num_bytes(const drawnet::Tape* tape) { return static_cast<const Tape*>(tape)->num_bytes; }

static void load(drawnet::Tape* any_tape, const Weights& weights, bool reads) {
    Tape& tape = own(any_tape);
    with_kind(tape, [&](auto kind) {
        in_parallel(tape.sizes.threads, [&](int thread, int num_threads) {
            load_weights<decltype(kind)>(tape, weights, reads, thread, num_threads);
        });
    });
}

static void infer(drawnet::Tape* any_tape, const float* x, const float* noise, bool sampled, float* reconstruction, float* kl) {
    Tape& tape = own(any_tape);
    const Sizes& sizes = tape.sizes;
    with_kind(tape, [&](auto kind) {
        for_slices(tape, [&](int index) {
            Forward<decltype(kind)> forward(tape, index);
            forward.begin(x);
            for (int t = 0; t < sizes.steps; t++) {
                forward.encode(t);
                forward.sample_latent(t, noise + size_t(t) * sizes.batch * sizes.latent, sampled, kl);
                forward.decode(t);
            }
            forward.reconstruction(reconstruction);
        });
    });
}

static void backward(drawnet::Tape* any_tape, const float* noise, bool sampled, const float* d_reconstruction,
                     const float* d_kl, const Gradients& gradients) {
    Tape& tape = own(any_tape);
    with_kind(tape, [&](auto kind) {
        using Kind = decltype(kind);
        for_slices(tape, [&](int index) {
            Backward<Kind>(tape, index).run(noise, sampled, d_reconstruction, d_kl);
        });
        in_parallel(tape.sizes.threads, [&](int thread, int num_threads) {
            WeightGradients<Kind>{tape, tape.sizes, thread, num_threads}.run(gradients);
        });
    });
}

static void step(drawnet::Tape* any_tape, int t, const float* x, const float* noise, float* canvas,
                 float* read_window, float* write_window) {
    Tape& tape = own(any_tape);
    with_kind(tape, [&](auto kind) {
        for_slices(tape, [&](int index) {
            Forward<decltype(kind)> forward(tape, index);
            const Slice& slice = forward.slice;
            auto window = [&](int column, const Grid& grid, float* out) {
                for (int group = 0; group < slice.num_groups; group++) {
                    const vec* p = forward.at(tape.output_lanes, 0, tape.num_outputs) + group * tape.num_outputs + column;
                    Window w = window_from_parameters(p, grid);
                    vec* values = forward.patches + group * 5;
                    values[0] = w.center_x;
                    values[1] = w.center_y;
                    values[2] = w.stride;
                    values[3] = exp(0.5f * held(p[2]));
                    values[4] = w.gamma;
                }
                rows_from_lanes(slice, forward.patches, 5, 5, forward.of_slice(out, 5), 5);
            };
            if (t == 0) forward.begin(x);
            if (x) {
                if (read_window) window(tape.read_at, tape.read_grid, read_window);  // decode() overwrites it
                forward.encode(0);
                forward.sample_latent(0, noise, false, nullptr);
            } else {
                forward.given_latent(0, noise);
            }
            forward.decode(0);
            if (write_window) window(tape.write_at, tape.write_grid, write_window);
            rows_from_lanes(slice, forward.at(tape.canvas_mean, 0, tape.pixels), tape.pixels, tape.pixels,
                            forward.of_slice(canvas, tape.pixels), tape.pixels);
        });
    });
}

// Groups of images for the reader alone: function(first image, images, x, filters, window parameters)
template <class Function>
static bool for_readings(const Reading& r, int extra_vectors, Function&& function) {
    Grid grid{r.channels, r.height, r.width, r.grid};
    int num_groups = (r.batch + LANES - 1) / LANES, pixels = r.channels * r.height * r.width;
    int num_threads = r.threads < num_groups ? r.threads : num_groups;
    size_t count = Filters::num_vectors(grid) + 5 + pixels + extra_vectors;
    Arena arena;
    arena.take<vec>(count * num_threads);
    void* memory = nullptr;
    if (posix_memalign(&memory, 128, arena.used)) return false;
    in_parallel(num_threads, [&](int thread, int num_started) {
        for (int group = thread; group < num_groups; group += num_started) {
            int first = group * LANES, size = r.batch - first < LANES ? r.batch - first : LANES;
            Slice slice{0, 0, size, 0, 1};
            vec* p = static_cast<vec*>(memory) + count * thread;
            Filters filters(grid, p + 5);
            vec* x = p + 5 + Filters::num_vectors(grid);
            for (vec* v = p; v < p + count; v++) *v = vec{};
            lanes_from_rows(slice, r.parameters + ptrdiff_t(first) * 5, 5, 5, p, 5);
            lanes_from_rows(slice, r.images + ptrdiff_t(first) * pixels, pixels, pixels, x, pixels);
            Window window = window_from_parameters(p, grid);
            filters.place(window, grid);
            function(slice, first, grid, p, window, filters, x, x + pixels);
        }
    });
    free(memory);
    return true;
}

static bool read_patches(const Reading& r, float* patches) {
    int count = r.channels * r.grid * r.grid;
    return for_readings(r, count, [&](const Slice& slice, int first, const Grid& grid, vec*, const Window& window,
                                      Filters& filters, vec* x, vec* out) {
        read<false>(grid, filters, window.gamma, x, nullptr, out);
        rows_from_lanes(slice, out, count, count, patches + ptrdiff_t(first) * count, count);
    });
}

static bool read_patches_backward(const Reading& r, const float* d_patches, float* d_images, float* d_parameters) {
    int count = r.channels * r.grid * r.grid, pixels = r.channels * r.height * r.width;
    return for_readings(r, count + (d_images ? pixels : 0),
                        [&](const Slice& slice, int first, const Grid& grid, vec* p, const Window& window,
                            Filters& filters, vec* x, vec* d) {
        vec *d_x = d_images ? d + count : nullptr, d_p[5];
        lanes_from_rows(slice, d_patches + ptrdiff_t(first) * count, count, count, d, count);
        filters.clear_gradients(grid);
        vec d_log_gamma = read_backward<false>(grid, filters, window.gamma, x, nullptr, d, d_x);
        filters.backward(p, window, grid, d_log_gamma, d_p);
        rows_from_lanes(slice, d_p, 5, 5, d_parameters + ptrdiff_t(first) * 5, 5);
        if (d_x) rows_from_lanes(slice, d_x, pixels, pixels, d_images + ptrdiff_t(first) * pixels, pixels);
    });
}

#if defined(__AVX512BF16__)
constexpr bool FAST_MIXED = true;
#else
constexpr bool FAST_MIXED = false;
#endif

}  // namespace drawnet::DRAWNET_ISA

#define DRAWNET_JOIN(a, b) a##b
#define DRAWNET_NAME(isa) DRAWNET_JOIN(kernels_, isa)
#define DRAWNET_TEXT(isa) #isa
#define DRAWNET_STRING(isa) DRAWNET_TEXT(isa)

namespace drawnet {
const Kernels& DRAWNET_NAME(DRAWNET_ISA)() {
    namespace isa = DRAWNET_ISA;
    static const Kernels kernels{
        DRAWNET_STRING(DRAWNET_ISA), isa::LANES, isa::FAST_MIXED, isa::create, isa::destroy, isa::num_bytes, isa::load,
        isa::infer, isa::backward, isa::step, isa::read_patches, isa::read_patches_backward,
    };
    return kernels;
}
}  // namespace drawnet
