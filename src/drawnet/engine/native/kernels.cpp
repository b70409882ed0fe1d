// The engine for one instruction set: this file is compiled once for each, as namespace drawnet::DRAWNET_ISA.
#ifdef _OPENMP
#include <omp.h>
#endif
#include <stdlib.h>

#include <new>

#include "backward.h"
#include "pack.h"
#include "reading.h"

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

// function(reader, image, the image's five numbers in all lanes) for every image; false: out of memory
template <class Function>
static bool for_readings(const Reading& r, Function&& function) {
    Grid grid{r.channels, r.height, r.width, r.grid};
    int num_threads = r.threads < r.batch ? r.threads : r.batch;
    Arena counting;
    Reader(grid, counting);
    void* memory = nullptr;
    if (posix_memalign(&memory, 128, counting.used * num_threads)) return false;
    in_parallel(num_threads, [&](int thread, int num_started) {
        Arena arena{static_cast<char*>(memory) + counting.used * thread};
        Reader reader(grid, arena);
        for (int image = thread; image < r.batch; image += num_started) {
            vec p[5];
            for (int k = 0; k < 5; k++) p[k] = splat(r.parameters[ptrdiff_t(image) * 5 + k]);
            function(reader, image, p);
        }
    });
    free(memory);
    return true;
}

static bool read_patches(const Reading& r, float* patches) {
    ptrdiff_t pixels = ptrdiff_t(r.channels) * r.height * r.width, count = ptrdiff_t(r.channels) * r.grid * r.grid;
    return for_readings(r, [&](Reader& reader, int image, const vec* p) {
        reader.read(p, r.images + image * pixels, patches + image * count);
    });
}

static bool read_patches_backward(const Reading& r, const float* d_patches, float* d_images, float* d_parameters) {
    ptrdiff_t pixels = ptrdiff_t(r.channels) * r.height * r.width, count = ptrdiff_t(r.channels) * r.grid * r.grid;
    return for_readings(r, [&](Reader& reader, int image, const vec* p) {
        vec d_p[5];
        reader.backward(p, r.images + image * pixels, d_patches + image * count,
                        d_images ? d_images + image * pixels : nullptr, d_p);
        for (int k = 0; k < 5; k++) d_parameters[ptrdiff_t(image) * 5 + k] = d_p[k][0];
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
