// Vectors of floats as wide as the instruction set has them, and the few functions of them that DRAW needs.
#pragma once
#include <stddef.h>

#include <cstdint>
#include <cstring>
#if defined(__AVX512BF16__)
#include <immintrin.h>
#endif

namespace drawnet::DRAWNET_ISA {

#if defined(__AVX512F__)
constexpr int LANES = 16, MAX_ROWS = 6;  // rows of a tile of products: 6 x 4 of 32 registers are sums
#elif defined(__AVX__)
constexpr int LANES = 8, MAX_ROWS = 3;
#elif defined(__aarch64__)
constexpr int LANES = 4, MAX_ROWS = 6;
#else
constexpr int LANES = 4, MAX_ROWS = 3;
#endif

typedef float vec __attribute__((vector_size(4 * LANES)));
typedef int32_t ivec __attribute__((vector_size(4 * LANES)));
typedef uint32_t uvec __attribute__((vector_size(4 * LANES)));
typedef uint16_t half __attribute__((vector_size(2 * LANES)));
typedef float loose_vec __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef uint16_t loose_half __attribute__((vector_size(2 * LANES), aligned(2), may_alias));

#define INLINE inline __attribute__((always_inline))

INLINE vec load(const float* p) { return *reinterpret_cast<const loose_vec*>(p); }
INLINE void store(float* p, vec v) { *reinterpret_cast<loose_vec*>(p) = v; }
INLINE vec splat(float value) { return value - vec{}; }
// A float, or whatever the four bytes are, in every lane.
INLINE vec splat_bits(const float* p) {
    uint32_t bits;
    memcpy(&bits, p, 4);
    return (vec)(bits - uvec{});
}
INLINE vec at_least(vec v, vec low) { return v < low ? low : v; }  // NaN stays NaN
INLINE vec at_most(vec v, vec high) { return v > high ? high : v; }
INLINE float sum(vec v) {
    float total = 0;
    for (int lane = 0; lane < LANES; lane++) total += v[lane];
    return total;
}
constexpr int round_up(int n, int multiple) { return (n + multiple - 1) / multiple * multiple; }

constexpr float MAGIC = 12582912.0f;  // 1.5 * 2^23: adding it rounds to an integer, which is then in the low bits
INLINE vec round_to_integer(vec v) { return (v + MAGIC) - MAGIC; }

// exp; the argument is held where the result is a normal number. Error below 2 units of the last place.
INLINE vec exp(vec x) {
    x = at_most(at_least(x, splat(-87.0f)), splat(88.0f));
    vec shifted = x * 1.44269504f + MAGIC;
    vec n = shifted - MAGIC;
    vec r = x - n * 0.693359375f - n * -2.12194440e-4f;
    vec p = splat(1.9875691500e-4f);  // minimax polynomial of Cephes' expf
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * (r * r) + r + 1.0f;
    ivec exponent = ((ivec)shifted - 0x4B400000 + 127) << 23;
    return p * (vec)exponent;
}
INLINE vec sigmoid(vec x) { return 1.0f / (1.0f + exp(-x)); }
INLINE vec tanh(vec x) { return 1.0f - 2.0f / (1.0f + exp(2.0f * x)); }
// log(1 + y) for y in [0, 1]: 2 artanh(y / (2 + y))
INLINE vec log1p(vec y) {
    vec s = y / (2.0f + y), s2 = s * s;
    vec p = splat(1.0f / 15);
    for (int n = 13; n >= 1; n -= 2) p = p * s2 + 1.0f / n;
    return 2.0f * s * p;
}

// bf16: the upper half of a float32, rounded to nearest even
INLINE uvec rounded_to_upper_half(vec v) {
    uvec bits = (uvec)v;
    return bits + 0x7FFF + ((bits >> 16) & 1);
}
INLINE void store_bf16(void* p, vec v) {
#if defined(__AVX512BF16__)
    *reinterpret_cast<loose_half*>(p) = (half)_mm512_cvtneps_pbh((__m512)v);
#else
    *reinterpret_cast<loose_half*>(p) = __builtin_convertvector(rounded_to_upper_half(v) >> 16, half);
#endif
}
// Two rows of numbers as pairs of bf16, the first in the lower half.
INLINE vec bf16_pairs(vec first, vec second) {
    return (vec)((rounded_to_upper_half(first) >> 16) | (rounded_to_upper_half(second) & 0xFFFF0000));
}

// What a matrix product multiplies, four bytes each: a float32, or two bf16 that are neighbours along the sum.
struct Float32 {
    static constexpr int PER_ELEMENT = 1;
    static INLINE vec add_product(vec total, vec a, vec b) { return total + a * b; }
};
struct Bfloat16 {
    static constexpr int PER_ELEMENT = 2;
    static INLINE vec add_product(vec total, vec a, vec b) {
#if defined(__AVX512BF16__)
        return (vec)_mm512_dpbf16_ps((__m512)total, (__m512bh)a, (__m512bh)b);
#else
        total += (vec)((uvec)a << 16) * (vec)((uvec)b << 16);
        return total + (vec)((uvec)a & 0xFFFF0000) * (vec)((uvec)b & 0xFFFF0000);
#endif
    }
};

// A constant that a lambda can take as its argument, and the call of a lambda with n as one.
template <int N>
struct Constant {
    static constexpr int value = N;
};
template <int MAX, class Function>
INLINE void with_constant(int n, Function&& function) {
    if constexpr (MAX > 1) {
        if (n < MAX) return with_constant<MAX - 1>(n, function);
    }
    function(Constant<MAX>{});
}

}  // namespace drawnet::DRAWNET_ISA
