// The kernels with random networks, batches and extreme weights, built with sanitizers (make test-native-sanitized):
// no memory outside the arrays is touched, nothing undefined happens, and every instruction set computes the same.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include <algorithm>
#include <random>
#include <vector>

#include "dispatch.h"

using namespace drawnet;
using Array = std::vector<float>;

static std::mt19937 generator(0);

static int pick(int low, int high) { return std::uniform_int_distribution<int>(low, high)(generator); }

static Array normal(size_t count, float scale) {
    std::normal_distribution<float> distribution(0, 1);
    Array values(count);
    for (float& value : values) value = scale * distribution(generator);
    return values;
}

// Each array exactly as long as the network needs it, so that one number too far is noticed.
struct Network {
    std::vector<Array> arrays;
    Network(const Sizes& s, float window_scale) {
        size_t h = s.hidden, z = s.latent, seen = s.glimpse(), patch = s.patch();
        size_t read = s.read ? 5 : 0, write = s.write ? 5 : 0;
        for (size_t count : {4 * h * (seen + h), 4 * h * h, 4 * h, 4 * h, 4 * h * z, 4 * h * h, 4 * h, 4 * h, z * h, z,
                             z * h, z, patch * h, patch, read * h, read, write * h, write, size_t(s.pixels()), 2 * h,
                             2 * h})
            arrays.push_back(normal(count, 1 / sqrtf(float(h))));
        for (int window_bias : {15, 17})
            for (float& value : arrays[window_bias]) value *= window_scale;
    }
    template <class Result>
    Result tensors() {
        Result result{};
        auto target = reinterpret_cast<decltype(&result.mu)>(&result);
        for (Array& array : arrays) *target++ = array.empty() ? nullptr : array.data();
        return result;
    }
};

static void require(bool condition, const char* what, const Sizes& s) {
    if (condition) return;
    fprintf(stderr, "%s: batch %d channels %d height %d width %d steps %d hidden %d latent %d read %d write %d\n", what,
            s.batch, s.channels, s.height, s.width, s.steps, s.hidden, s.latent, s.read, s.write);
    exit(1);
}

static void compare(const Array& values, Array& reference, float tolerance, const char* what, const Sizes& sizes) {
    double error = 0, size = 0;
    if (reference.empty()) reference = values;
    for (size_t n = 0; n < values.size(); n++) {
        require(isfinite(values[n]), "not finite", sizes);
        error += pow(values[n] - reference[n], 2);
        size += pow(reference[n], 2);
    }
    require(sqrt(error) <= tolerance * sqrt(size) + 1e-5, what, sizes);
}

static void fuzz_network(float window_scale) {
    Sizes s{pick(1, 40), pick(0, 1) ? 3 : 1, pick(1, 12), pick(1, 12), pick(1, 4), pick(1, 40), pick(1, 20),
            pick(0, 1) ? pick(2, 13) : 0, pick(0, 1) ? pick(2, 13) : 0, FLOAT32, 1, pick(1, 3)};
    bool sampled = pick(0, 1);
    Network network(s, window_scale);
    Array x = normal(size_t(s.batch) * s.pixels(), 1), noise = normal(size_t(s.steps) * s.batch * s.latent, 1);
    for (float& value : x) value = value > 0;
    Array d_reconstruction = normal(s.batch, 1), d_kl = normal(size_t(s.batch) * s.steps, 1);
    for (int precision : {FLOAT32, MIXED}) {
        s.precision = precision;
        float tolerance = window_scale < 2 ? (precision == MIXED ? 5e-2f : 1e-3f) : 1e30f;
        Array first_kl, first_reconstruction, first_canvas;
        std::vector<Array> first_gradients(NUM_TENSORS);
        for (const Kernels* kernels : usable_kernels()) {
            s.keep = 1;
            Tape* tape = kernels->create(s);
            kernels->load(tape, network.tensors<Weights>(), true);
            Array reconstruction(s.batch), kl(size_t(s.batch) * s.steps);
            kernels->infer(tape, x.data(), noise.data(), sampled, reconstruction.data(), kl.data());
            compare(kl, first_kl, tolerance, "kl differs", s);
            compare(reconstruction, first_reconstruction, tolerance, "reconstruction differs", s);
            Network gradients(s, NAN);
            kernels->backward(tape, noise.data(), sampled, d_reconstruction.data(), d_kl.data(),
                              gradients.tensors<Gradients>());
            for (int n = 0; n < NUM_TENSORS; n++)
                compare(gradients.arrays[n], first_gradients[n], 10 * tolerance, "gradient differs", s);
            kernels->destroy(tape);

            s.keep = 0;
            tape = kernels->create(s);
            bool reads = sampled;
            kernels->load(tape, network.tensors<Weights>(), reads);
            Array canvas(x.size()), window(size_t(s.batch) * 5);
            for (int t = 0; t < s.steps; t++) {
                Array step(noise.begin() + ptrdiff_t(t) * s.batch * s.latent,
                           noise.begin() + ptrdiff_t(t + 1) * s.batch * s.latent);
                kernels->step(tape, t, reads ? x.data() : nullptr, step.data(), canvas.data(),
                              reads && s.read ? window.data() : nullptr, s.write ? window.data() : nullptr);
            }
            compare(canvas, first_canvas, tolerance, "canvas differs", s);
            kernels->destroy(tape);
        }
    }
}

static void fuzz_reading(float scale) {
    int batch = pick(1, 40), channels = pick(0, 1) ? 3 : 1, height = pick(1, 50), width = pick(1, 50), grid = pick(2, 13);
    Sizes s{batch, channels, height, width, 0, 0, 0, grid, 0, 0, 0, 0};
    Array images = normal(size_t(batch) * s.pixels(), 1), parameters = normal(size_t(batch) * 5, scale);
    Array d_patches = normal(size_t(batch) * channels * grid * grid, 1);
    Reading reading{batch, channels, height, width, grid, pick(1, 3), images.data(), parameters.data()};
    float tolerance = scale < 2 ? 1e-3f : 1e30f;
    Array first_patches, first_images, first_parameters;
    for (const Kernels* kernels : usable_kernels()) {
        Array patches(d_patches.size()), d_images(images.size()), d_parameters(parameters.size());
        require(kernels->read(reading, patches.data()), "out of memory", s);
        compare(patches, first_patches, tolerance, "patches differ", s);
        require(kernels->read_backward(reading, d_patches.data(), pick(0, 1) ? d_images.data() : nullptr,
                                       d_parameters.data()),
                "out of memory", s);
        compare(d_parameters, first_parameters, tolerance, "gradient of the window differs", s);
    }
}

int main(int count, char** arguments) {
    int rounds = count > 1 ? atoi(arguments[1]) : 60;
    for (int round = 0; round < rounds; round++) {
        fuzz_network(round % 4 == 3 ? 100.0f : 1.0f);  // 100: filters far outside or far too narrow
        fuzz_reading(round % 2 ? 100.0f : 1.0f);
    }
    printf("%d random networks and readings on", rounds);
    for (const Kernels* kernels : usable_kernels()) printf(" %s", kernels->name);
    printf(": no error\n");
    return 0;
}
