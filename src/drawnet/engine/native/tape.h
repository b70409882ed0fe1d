// The memory of one pass over a batch, and how numbers lie in it.
#pragma once
#include <sys/mman.h>
#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#endif

#include "attention.h"
#include "engine.h"
#include "products.h"

namespace drawnet::DRAWNET_ISA {

constexpr int MAX_SLICE_ROWS = 64;  // images that a thread takes through all steps: their states fit its caches
constexpr int PADDING = LANES;      // between rows, so that columns do not fall into one set of the cache

// Rows of numbers of one kind (the decoder's states, say), one slot a step. In float32 a slot is [batch][stride]. In
// mixed precision it is [batch / 2][stride] with images in pairs, which is what a weight gradient sums over;
// `newest` then holds the newest slot once more, as [batch][newest_stride] with features in pairs, for the next product.
struct Stream {
    int num_features, width;  // width: a multiple of LANES
    ptrdiff_t stride, slot, newest_stride;
    float *history, *newest;
};

// The images that one thread takes through all steps; groups are LANES of them.
struct Slice {
    int index, first, num_rows, first_group, num_groups;
    // n counts this slice's groups, rows its images
    int group_size(int n) const {
        int rest = num_rows - n * LANES;
        return rest < LANES ? rest : LANES;
    }
};

// Hands out parts of one block; run without memory it only counts.
struct Arena {
    char* memory = nullptr;
    size_t used = 0;
    template <class T>
    T* take(size_t count) {
        size_t start = used;
        used += (count * sizeof(T) + 127) / 128 * 128;
#ifdef __SANITIZE_ADDRESS__  // forbidden ground behind every part
        used += 128;
        if (memory) __asan_poison_memory_region(memory + start + count * sizeof(T), used - start - count * sizeof(T));
#endif
        return memory ? reinterpret_cast<T*>(memory + start) : nullptr;
    }
};

constexpr int largest(int a, int b, int c = 0) { return a > b ? (a > c ? a : c) : (b > c ? b : c); }

struct Tape : drawnet::Tape {
    Sizes sizes;
    Grid read_grid, write_grid;
    size_t num_bytes, filter_vectors;
    char* memory;
    int num_slices, num_groups;
    int widest, widest_lanes;                      // of what `rows` and `patch_lanes` hold in turn
    int pixels, hidden, gates, latent;             // padded to LANES; gates = 4 hidden
    int seen;                                      // features that every step reads
    int read_at, write_at, patch_at, num_outputs;  // columns of what is computed from the decoder's state

    // [glimpse | decoder | encoder] -> gates, [z | decoder] -> gates, encoder -> [mu | log sigma], decoder -> outputs
    Packed encoder, decoder, posterior, outputs, image;
    // the same matrices for gradients on their way back
    Packed encoder_to_glimpse, encoder_to_decoder, encoder_to_encoder, decoder_to_latent, decoder_to_decoder,
        posterior_to_encoder, outputs_to_decoder;
    float *encoder_bias, *decoder_bias, *posterior_bias, *outputs_bias, *canvas_0, *encoder_0, *decoder_0;

    Stream glimpse, encoder_state, latent_state, decoder_state, x;
    Stream d_encoder, d_posterior, d_decoder, d_outputs, d_encoder_sum;
    // by row: [slot][batch][width]
    float *encoder_gates, *decoder_gates, *encoder_cell, *decoder_cell, *posterior_rows, *image_gates;
    // by group of images: [slot][group][...]
    vec *x_lanes, *canvas, *canvas_mean, *output_lanes, *patch_lanes, *filters;
    // one step's, by row, and what flows back
    float *rows, *d_rows, *d_gates, *d_gates_sum, *d_latent, *d_encoder_hidden, *d_decoder_hidden, *d_encoder_cell,
        *d_decoder_cell, *d_output_rows;
    vec *d_canvas;
    float *d_encoder_bias, *d_decoder_bias, *d_posterior_bias, *d_outputs_bias;  // twice a row for each slice: its sum, and room
    int gradient_height, gradient_width;  // of the largest matrix
    float* weight_gradient;               // a part for each thread

    int elements(int n) const { return sizes.precision == MIXED ? (n + 1) / 2 : n; }
    int slot(int t) const { return sizes.keep ? t : 0; }
    int num_slots(int n) const { return sizes.keep ? n : 1; }

    Slice slice(int index) const {
        int pairs = (sizes.batch + 1) / 2, first_group = 0;  // a pair of images stays together
        for (int s = 0;; s++) {
            int first = 2 * int(int64_t(pairs) * s / num_slices), end = 2 * int(int64_t(pairs) * (s + 1) / num_slices);
            if (end > sizes.batch) end = sizes.batch;
            int groups = (end - first + LANES - 1) / LANES;
            if (s == index) return {index, first, end - first, first_group, groups};
            first_group += groups;
        }
    }

    Packed take_packed(Arena& arena, int num_k, int num_columns) const {
        return {arena.take<float>(size_t(num_k) * num_columns), num_k, num_columns};
    }
    Stream take_stream(Arena& arena, int num_features, int num_slots) const {
        Stream s{};
        s.num_features = num_features;
        s.width = round_up(num_features, LANES);
        s.stride = s.width + PADDING;
        s.slot = elements(sizes.batch) * s.stride;
        s.history = arena.take<float>(size_t(s.slot) * num_slots);
        if (sizes.precision == MIXED) {
            s.newest_stride = s.width / 2 + PADDING;
            s.newest = arena.take<float>(size_t(sizes.batch) * s.newest_stride);
        }
        return s;
    }

    void lay_out(Arena& arena) {
        const Sizes& s = sizes;
        const int T = s.steps;
        size_t batch = s.batch, groups = num_groups;
        bool back = s.keep;
        int k_hidden = elements(s.hidden), k_seen = elements(seen), k_latent = elements(s.latent);
        // What generation needs comes first: of the memory behind it, which only reading needs, it touches no page.
        decoder = take_packed(arena, k_latent + k_hidden, gates);
        outputs = take_packed(arena, k_hidden, num_outputs);
        encoder_bias = arena.take<float>(gates);
        decoder_bias = arena.take<float>(gates);
        posterior_bias = arena.take<float>(2 * latent);
        outputs_bias = arena.take<float>(num_outputs);
        canvas_0 = arena.take<float>(pixels);
        encoder_0 = arena.take<float>(2 * hidden);
        decoder_0 = arena.take<float>(2 * hidden);
        latent_state = take_stream(arena, s.latent, num_slots(T));
        decoder_state = take_stream(arena, s.hidden, num_slots(T + 1));
        decoder_gates = arena.take<float>(batch * gates * num_slots(T));
        decoder_cell = arena.take<float>(batch * hidden * num_slots(T + 1));
        rows = arena.take<float>(batch * widest);
        output_lanes = arena.take<vec>(groups * num_outputs * num_slots(T + 1));
        filter_vectors = s.read ? Filters::num_vectors(read_grid) : 0;
        if (s.write && Filters::num_vectors(write_grid) > filter_vectors)
            filter_vectors = Filters::num_vectors(write_grid);
        filters = arena.take<vec>(num_slices * filter_vectors);
        canvas = arena.take<vec>(groups * s.pixels());
        canvas_mean = arena.take<vec>(groups * s.pixels() * num_slots(T + 1));
        encoder_state = take_stream(arena, s.hidden, num_slots(T + 1));
        encoder_cell = arena.take<float>(batch * hidden * num_slots(T + 1));
        patch_lanes = arena.take<vec>(groups * widest_lanes);

        encoder = take_packed(arena, k_seen + 2 * k_hidden, gates);
        posterior = take_packed(arena, k_hidden, 2 * latent);
        glimpse = take_stream(arena, seen, num_slots(T));
        encoder_gates = arena.take<float>(batch * gates * num_slots(T));
        posterior_rows = arena.take<float>(batch * 2 * latent * num_slots(T));
        x_lanes = arena.take<vec>(groups * s.pixels());
        if (!s.read) {
            image = take_packed(arena, k_seen, gates);
            x = take_stream(arena, seen, 1);
            image_gates = arena.take<float>(batch * gates);
        }
        if (!back) return;

        encoder_to_glimpse = take_packed(arena, elements(gates), round_up(seen, LANES));
        encoder_to_decoder = take_packed(arena, elements(gates), hidden);
        encoder_to_encoder = take_packed(arena, elements(gates), hidden);
        decoder_to_latent = take_packed(arena, elements(gates), latent);
        decoder_to_decoder = take_packed(arena, elements(gates), hidden);
        posterior_to_encoder = take_packed(arena, elements(2 * latent), hidden);
        outputs_to_decoder = take_packed(arena, elements(num_outputs), hidden);
        d_encoder = take_stream(arena, gates, T);
        d_posterior = take_stream(arena, 2 * latent, T);
        d_decoder = take_stream(arena, gates, T);
        d_outputs = take_stream(arena, num_outputs, T + 1);
        if (!s.read) {
            d_encoder_sum = take_stream(arena, gates, 1);
            d_gates_sum = arena.take<float>(batch * gates);
        }
        d_gates = arena.take<float>(batch * gates);
        d_rows = arena.take<float>(batch * widest);
        d_latent = arena.take<float>(batch * latent);
        d_encoder_hidden = arena.take<float>(batch * hidden);
        d_decoder_hidden = arena.take<float>(batch * hidden);
        d_encoder_cell = arena.take<float>(batch * hidden);
        d_decoder_cell = arena.take<float>(batch * hidden);
        d_output_rows = arena.take<float>(batch * num_outputs);
        d_canvas = arena.take<vec>(groups * s.pixels());
        d_encoder_bias = arena.take<float>(size_t(num_slices) * 2 * gates);
        d_decoder_bias = arena.take<float>(size_t(num_slices) * 2 * gates);
        d_posterior_bias = arena.take<float>(size_t(num_slices) * 4 * latent);
        d_outputs_bias = arena.take<float>(size_t(num_slices) * 2 * num_outputs);
        gradient_height = largest(gates, num_outputs, 2 * latent);
        gradient_width = largest(round_up(seen, LANES), hidden, latent);
        weight_gradient = arena.take<float>(size_t(gradient_height + s.threads) * gradient_width);
    }

    bool allocate(const Sizes& wanted) {
        sizes = wanted;
        const Sizes& s = sizes;
        read_grid = {s.channels, s.height, s.width, s.read};
        write_grid = {s.channels, s.height, s.width, s.write};
        pixels = s.pixels();
        hidden = round_up(s.hidden, LANES);
        gates = 4 * hidden;
        latent = round_up(s.latent, LANES);
        seen = s.read ? s.glimpse() : pixels;
        read_at = 0;
        write_at = s.read ? 5 : 0;
        patch_at = write_at + (s.write ? 5 : 0);
        num_outputs = round_up(patch_at + s.patch(), LANES);
        widest = largest(gates, round_up(seen, LANES), largest(num_outputs, 2 * latent));
        widest_lanes = largest(seen, num_outputs, 5);
        int pairs = (s.batch + 1) / 2;
        int rounds = (s.batch + s.threads * MAX_SLICE_ROWS - 1) / (s.threads * MAX_SLICE_ROWS);
        num_slices = s.threads * rounds < pairs ? s.threads * rounds : pairs;
        num_groups = 0;
        for (int n = 0; n < num_slices; n++) num_groups += slice(n).num_groups;

        Arena counter;
        lay_out(counter);
        constexpr size_t HUGE_PAGE = size_t(1) << 21;
        num_bytes = (counter.used + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE;
        void* block = mmap(nullptr, num_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (block == MAP_FAILED) return false;
#ifdef MADV_HUGEPAGE
        madvise(block, num_bytes, MADV_HUGEPAGE);  // the weight gradient walks over many pages
#endif
        memory = static_cast<char*>(block);
        Arena arena{memory};
        lay_out(arena);
        return true;
    }
    void release() {
#ifdef __SANITIZE_ADDRESS__
        __asan_unpoison_memory_region(memory, num_bytes);
#endif
        munmap(memory, num_bytes);
    }
};

}  // namespace drawnet::DRAWNET_ISA
