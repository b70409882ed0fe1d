// What the instruction sets' kernels have in common with the module: sizes, weights, a table of functions.
#pragma once
#include <stddef.h>

namespace drawnet {

enum Precision { FLOAT32 = 0, MIXED = 1 };  // of the matrix products; everything else is float32 in both

// Sizes of a network and of a batch. read and write are N of the grids; 0 is "no attention".
struct Sizes {
    int batch, channels, height, width, steps, hidden, latent, read, write, precision, keep, threads;
    int pixels() const { return channels * height * width; }
    int glimpse() const { return read ? 2 * channels * read * read : 2 * pixels(); }
    int patch() const { return write ? channels * write * write : pixels(); }
};

// The tensors of `drawnet.models.draw.Draw`, row-major float32, in the order of this list. Null: not there.
template <class Float>
struct Tensors {
    Float *encoder_ih, *encoder_hh, *encoder_bias_ih, *encoder_bias_hh;  // [4h, glimpse + h] [4h, h] [4h] [4h]
    Float *decoder_ih, *decoder_hh, *decoder_bias_ih, *decoder_bias_hh;  // [4h, z] [4h, h] [4h] [4h]
    Float *mu, *mu_bias, *log_sigma, *log_sigma_bias;                    // [z, h] [z] [z, h] [z]
    Float *write, *write_bias;                                           // [patch, h] [patch]
    Float *read_window, *read_window_bias;                               // [5, h] [5], with attention
    Float *write_window, *write_window_bias;                             // [5, h] [5], with attention
    Float *canvas_0, *encoder_0, *decoder_0;                             // [pixels] [2, h] [2, h]
};
constexpr int NUM_TENSORS = sizeof(Tensors<float>) / sizeof(float*);
using Weights = Tensors<const float>;
using Gradients = Tensors<float>;

// An image and one filter grid for each, as `read` of the classifier needs it.
struct Reading {
    int batch, channels, height, width, grid, threads;
    const float *images;      // [batch, channels, height, width]
    const float *parameters;  // [batch, 5] of eq. (21)
};

struct Tape {};  // all that a pass over one batch needs: packed weights, states, what backward will ask for

struct Kernels {
    const char* name;
    int lanes;
    bool fast_mixed;  // the processor multiplies bf16 in hardware
    Tape* (*create)(const Sizes&);  // null: out of memory
    void (*destroy)(Tape*);
    size_t (*num_bytes)(const Tape*);
    void (*load)(Tape*, const Weights&, bool reads);  // reads: the encoder's weights too
    // nats of eqs. (9-12) of a batch; sampled: log Q(z|x) - log P(z) in place of eq. (11)
    void (*infer)(Tape*, const float* x, const float* noise, bool sampled, float* reconstruction, float* kl);
    // gradients for the given gradients of reconstruction [batch] and kl [batch, steps]
    void (*backward)(Tape*, const float* noise, bool sampled, const float* d_reconstruction, const float* d_kl,
                     const Gradients&);
    // one step at a time: the first step is 0. noise is z where x is null (generation).
    // Windows, or null: [batch, 5] of gX, gY, delta, sigma, gamma.
    void (*step)(Tape*, int t, const float* x, const float* noise, float* canvas, float* read_window,
                 float* write_window);
    // false: out of memory
    bool (*read)(const Reading&, float* patches);
    // null d_images: not wanted
    bool (*read_backward)(const Reading&, const float* d_patches, float* d_images, float* d_parameters);
};

}  // namespace drawnet
