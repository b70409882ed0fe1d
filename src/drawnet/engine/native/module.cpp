// drawnet.engine._native: checks everything that comes from Python, then calls the best kernels of this processor.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <atomic>
#include <cstdint>
#include <initializer_list>
#include <new>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "dispatch.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace drawnet {

namespace {

using Input = nb::ndarray<const float, nb::c_contig, nb::device::cpu>;
using Output = nb::ndarray<float, nb::c_contig, nb::device::cpu>;

const Kernels& find_kernels(const std::string& name) {
    std::string names;
    for (const Kernels* kernels : usable_kernels()) {
        if (name == kernels->name) return *kernels;
        names += (names.empty() ? "" : ", ") + std::string(kernels->name);
    }
    throw std::invalid_argument("instruction_set is '" + name + "': this processor has " + names);
}

void check_range(const char* name, int value, int least, int most) {
    if (value < least || value > most)
        throw std::invalid_argument(std::string(name) + " is " + std::to_string(value) + ": it must be from " +
                                    std::to_string(least) + " to " + std::to_string(most));
}

template <class Array>
auto* checked(const Array& array, const char* name, std::initializer_list<int64_t> shape) {
    bool same = array.ndim() == shape.size();
    std::string got, wanted;
    for (size_t n = 0; n < array.ndim(); n++) got += (n ? ", " : "") + std::to_string(array.shape(n));
    size_t n = 0;
    for (int64_t size : shape) {
        same = same && int64_t(array.shape(n)) == size;
        wanted += (n++ ? ", " : "") + std::to_string(size);
    }
    if (!same) throw std::invalid_argument(std::string(name) + " is [" + got + "]: it must be [" + wanted + "]");
    return array.data();
}

// What is written must not share memory with anything else that is used.
class Memory {
  public:
    template <class Array>
    void read(const Array& array) {
        add(array.data(), array.size(), false);
    }
    template <class Array>
    void write(const Array& array) {
        add(array.data(), array.size(), true);
    }

  private:
    struct Range {
        uintptr_t begin, end;
        bool written;
    };
    std::vector<Range> ranges;
    void add(const float* data, size_t count, bool written) {
        uintptr_t begin = reinterpret_cast<uintptr_t>(data), end = begin + count * sizeof(float);
        for (const Range& other : ranges)
            if ((written || other.written) && begin < other.end && other.begin < end)
                throw std::invalid_argument("an array that is written shares memory with another argument");
        ranges.push_back({begin, end, written});
    }
};

class Engine {
  public:
    Engine(int batch, int channels, int height, int width, int steps, int hidden, int latent, int read, int write,
           bool mixed, bool keep, int threads, const std::string& instruction_set)
        : kernels(find_kernels(instruction_set)),
          sizes{batch, channels, height, width, steps, hidden, latent, read, write, mixed ? MIXED : FLOAT32, keep,
                threads} {
        check_range("batch", batch, 1, 1 << 20);
        check_range("channels", channels, 1, 16);
        check_range("height", height, 1, 4096);
        check_range("width", width, 1, 4096);
        check_range("steps", steps, 1, 1 << 16);
        check_range("hidden", hidden, 1, 1 << 15);
        check_range("latent", latent, 1, 1 << 15);
        check_range("read", read, 0, 4096);
        check_range("write", write, 0, 4096);
        if (read == 1 || write == 1) throw std::invalid_argument("read or write is 1: a grid has at least 2 x 2 filters");
        check_range("threads", threads, 1, 1024);
        tape = kernels.create(sizes);
        if (!tape) throw std::bad_alloc();
    }
    ~Engine() { kernels.destroy(tape); }
    Engine(const Engine&) = delete;

    size_t num_bytes() const { return kernels.num_bytes(tape); }

    void load(const std::vector<std::optional<Input>>& arrays, bool reads) {
        Use use(*this);
        Weights weights = tensors<Weights, Input>(arrays, [](const Input&) {});
        nb::gil_scoped_release release;
        kernels.load(tape, weights, reads);
        loaded = true;
        loaded_reader = reads;
        next_step = 0;
        inferred = false;
    }

    void infer(const Input& x, const Input& noise, bool sampled, const Output& reconstruction, const Output& kl) {
        Use use(*this);
        require(loaded && loaded_reader, "infer before load");
        const float *x_data = image(x), *noise_data = all_noise(noise);
        float* reconstruction_data = checked(reconstruction, "reconstruction", {sizes.batch});
        float* kl_data = checked(kl, "kl", {sizes.batch, sizes.steps});
        Memory memory;
        memory.read(x);
        memory.read(noise);
        memory.write(reconstruction);
        memory.write(kl);
        nb::gil_scoped_release release;
        kernels.infer(tape, x_data, noise_data, sampled, reconstruction_data, kl_data);
        inferred = true;
        next_step = 0;
    }

    void backward(const Input& noise, bool sampled, const Input& d_reconstruction, const Input& d_kl,
                  const std::vector<std::optional<Output>>& arrays) {
        Use use(*this);
        require(sizes.keep && inferred, "backward without an infer that kept what it needs");
        Memory memory;
        const float* noise_data = all_noise(noise);
        const float* d_reconstruction_data = checked(d_reconstruction, "d_reconstruction", {sizes.batch});
        const float* d_kl_data = checked(d_kl, "d_kl", {sizes.batch, sizes.steps});
        memory.read(noise);
        memory.read(d_reconstruction);
        memory.read(d_kl);
        Gradients gradients = tensors<Gradients, Output>(arrays, [&](const Output& array) { memory.write(array); });
        nb::gil_scoped_release release;
        kernels.backward(tape, noise_data, sampled, d_reconstruction_data, d_kl_data, gradients);
    }

    void step(int t, const std::optional<Input>& x, const Input& noise, const Output& canvas,
              const std::optional<Output>& read_window, const std::optional<Output>& write_window) {
        Use use(*this);
        require(loaded && !sizes.keep, "step needs loaded weights and keep = False");
        require(loaded_reader || !x, "the weights were loaded without the encoder's");
        require(t == 0 || (t == next_step && reads == x.has_value()), "steps must follow each other");
        if (t >= sizes.steps) throw std::invalid_argument("t is " + std::to_string(t) + ": there are fewer steps");
        Memory memory;
        const float* x_data = x ? image(*x) : nullptr;
        const float* noise_data = checked(noise, "noise", {sizes.batch, sizes.latent});
        float* canvas_data = checked(canvas, "canvas", {sizes.batch, sizes.channels, sizes.height, sizes.width});
        if (x) memory.read(*x);
        memory.read(noise);
        memory.write(canvas);
        float* windows[2] = {nullptr, nullptr};
        const std::optional<Output>* wanted[2] = {&read_window, &write_window};
        const bool there[2] = {sizes.read && x, sizes.write != 0};
        for (int n = 0; n < 2; n++) {
            if (!*wanted[n]) continue;
            require(there[n], "there is no such window");
            windows[n] = checked(**wanted[n], "window", {sizes.batch, 5});
            memory.write(**wanted[n]);
        }
        nb::gil_scoped_release release;
        kernels.step(tape, t, x_data, noise_data, canvas_data, windows[0], windows[1]);
        next_step = t + 1;
        reads = x_data;
        inferred = false;
    }

  private:
    const Kernels& kernels;
    const Sizes sizes;
    Tape* tape;
    bool loaded = false, loaded_reader = false, inferred = false, reads = false;
    int next_step = 0;
    std::atomic<bool> busy{false};

    struct Use {  // one call at a time: the others are told so instead of writing into the same memory
        Engine& engine;
        explicit Use(Engine& engine) : engine(engine) {
            if (engine.busy.exchange(true)) throw std::runtime_error("this engine is in use by another thread");
        }
        ~Use() { engine.busy = false; }
    };
    static void require(bool condition, const char* message) {
        if (!condition) throw std::runtime_error(message);
    }
    const float* image(const Input& x) const {
        return checked(x, "x", {sizes.batch, sizes.channels, sizes.height, sizes.width});
    }
    const float* all_noise(const Input& noise) const {
        return checked(noise, "noise", {sizes.steps, sizes.batch, sizes.latent});
    }

    // The network's tensors in the order of `Tensors`, None where the network has no such part.
    template <class Result, class Array, class Function>
    Result tensors(const std::vector<std::optional<Array>>& arrays, Function&& use) const {
        const int64_t h = sizes.hidden, z = sizes.latent, seen = sizes.glimpse(), patch = sizes.patch();
        const int64_t read = sizes.read ? 5 : 0, write = sizes.write ? 5 : 0;
        Result result{};
        auto targets = reinterpret_cast<decltype(&result.mu)>(&result);
        size_t count = 0;
        auto take = [&](const char* name, std::initializer_list<int64_t> shape) {
            if (count >= arrays.size()) throw std::invalid_argument(std::string(name) + " is missing");
            const std::optional<Array>& array = arrays[count];
            if (array.has_value() != (*shape.begin() > 0))
                throw std::invalid_argument(std::string(name) + (array ? " is not part of this network" : " is None"));
            if (array) {
                targets[count] = checked(*array, name, shape);
                use(*array);
            }
            count++;
        };
        take("encoder.weight_ih", {4 * h, seen + h});
        take("encoder.weight_hh", {4 * h, h});
        take("encoder.bias_ih", {4 * h});
        take("encoder.bias_hh", {4 * h});
        take("decoder.weight_ih", {4 * h, z});
        take("decoder.weight_hh", {4 * h, h});
        take("decoder.bias_ih", {4 * h});
        take("decoder.bias_hh", {4 * h});
        take("mu.weight", {z, h});
        take("mu.bias", {z});
        take("log_sigma.weight", {z, h});
        take("log_sigma.bias", {z});
        take("write.weight", {patch, h});
        take("write.bias", {patch});
        take("read_attention.linear.weight", {read, h});
        take("read_attention.linear.bias", {read});
        take("write_attention.linear.weight", {write, h});
        take("write_attention.linear.bias", {write});
        take("canvas_0", {sizes.channels, sizes.height, sizes.width});
        take("encoder_0", {2, h});
        take("decoder_0", {2, h});
        if (arrays.size() != size_t(NUM_TENSORS)) throw std::invalid_argument("too many tensors");
        return result;
    }
};

Reading reading(const Input& images, const Input& parameters, int grid, int threads) {
    if (images.ndim() != 4) throw std::invalid_argument("images must be [batch, channels, height, width]");
    for (size_t n = 0; n < 4; n++)
        if (images.shape(n) < 1 || images.shape(n) > (1 << 20)) throw std::invalid_argument("images has a bad size");
    check_range("grid", grid, 2, 4096);
    check_range("threads", threads, 1, 1024);
    int64_t batch = int64_t(images.shape(0));
    if (int64_t(images.shape(1) * images.shape(2) * images.shape(3)) > (1 << 26))
        throw std::invalid_argument("images are too large");
    return {int(batch),          int(images.shape(1)), int(images.shape(2)), int(images.shape(3)), grid, threads,
            images.data(), checked(parameters, "parameters", {batch, 5})};
}

void read(const Input& images, const Input& parameters, int grid, int threads, const std::string& instruction_set,
          const Output& patches) {
    Reading r = reading(images, parameters, grid, threads);
    float* out = checked(patches, "patches", {r.batch, r.channels, grid, grid});
    Memory memory;
    memory.read(images);
    memory.read(parameters);
    memory.write(patches);
    const Kernels& kernels = find_kernels(instruction_set);
    nb::gil_scoped_release release;
    if (!kernels.read(r, out)) throw std::bad_alloc();
}

void read_backward(const Input& images, const Input& parameters, int grid, int threads,
                   const std::string& instruction_set, const Input& d_patches, const std::optional<Output>& d_images,
                   const Output& d_parameters) {
    Reading r = reading(images, parameters, grid, threads);
    const float* d = checked(d_patches, "d_patches", {r.batch, r.channels, grid, grid});
    float* out = checked(d_parameters, "d_parameters", {r.batch, 5});
    float* image_out = d_images ? checked(*d_images, "d_images", {r.batch, r.channels, r.height, r.width}) : nullptr;
    Memory memory;
    memory.read(images);
    memory.read(parameters);
    memory.read(d_patches);
    memory.write(d_parameters);
    if (d_images) memory.write(*d_images);
    const Kernels& kernels = find_kernels(instruction_set);
    nb::gil_scoped_release release;
    if (!kernels.read_backward(r, d, image_out, out)) throw std::bad_alloc();
}

}  // namespace
}  // namespace drawnet

NB_MODULE(_native, m) {
    using namespace drawnet;
    nb::set_leak_warnings(false);  // what still lives when Python ends is no leak
    m.doc() = "The fast CPU path of DRAW. Use it through drawnet.models.draw.Draw.";
    m.def(
        "instruction_sets",
        [] {
            nb::list result;
            for (const Kernels* kernels : usable_kernels())
                result.append(nb::make_tuple(kernels->name, kernels->fast_mixed));
            return result;
        },
        "What this processor can run, the best last: (name, whether it multiplies bf16 in hardware).");
    nb::class_<Engine>(m, "Engine", "Weights, states and what the derivative needs, for batches of one size.")
        .def(nb::init<int, int, int, int, int, int, int, int, int, bool, bool, int, const std::string&>(),
             nb::kw_only(), "batch"_a, "channels"_a, "height"_a, "width"_a, "steps"_a, "hidden"_a, "latent"_a,
             "read"_a, "write"_a, "mixed"_a, "keep"_a, "threads"_a, "instruction_set"_a)
        .def_prop_ro("num_bytes", &Engine::num_bytes)
        .def("load", &Engine::load, "tensors"_a.noconvert(), "reads"_a = true)
        .def("infer", &Engine::infer, "x"_a.noconvert(), "noise"_a.noconvert(), "sampled"_a,
             "reconstruction"_a.noconvert(), "kl"_a.noconvert())
        .def("backward", &Engine::backward, "noise"_a.noconvert(), "sampled"_a, "d_reconstruction"_a.noconvert(),
             "d_kl"_a.noconvert(), "tensors"_a.noconvert())
        .def("step", &Engine::step, "t"_a, "x"_a.noconvert().none(), "noise"_a.noconvert(), "canvas"_a.noconvert(),
             "read_window"_a.noconvert().none(), "write_window"_a.noconvert().none());
    m.def("read", &drawnet::read, "images"_a.noconvert(), "parameters"_a.noconvert(), "grid"_a, "threads"_a,
          "instruction_set"_a, "patches"_a.noconvert());
    m.def("read_backward", &drawnet::read_backward, "images"_a.noconvert(), "parameters"_a.noconvert(), "grid"_a,
          "threads"_a, "instruction_set"_a, "d_patches"_a.noconvert(), "d_images"_a.noconvert().none(),
          "d_parameters"_a.noconvert());
}
