// The kernels that this processor can run.
#pragma once
#include <vector>

#include "engine.h"

namespace drawnet {

const Kernels& kernels_baseline();
#ifdef DRAWNET_X86
const Kernels& kernels_avx2();
const Kernels& kernels_avx512();
const Kernels& kernels_avx512bf16();
#endif

// The best last.
inline std::vector<const Kernels*> usable_kernels() {
    std::vector<const Kernels*> usable;
#ifdef DRAWNET_X86
    __builtin_cpu_init();
    if (__builtin_cpu_supports("sse4.2") && __builtin_cpu_supports("popcnt")) usable.push_back(&kernels_baseline());
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2") &&
        __builtin_cpu_supports("bmi"))
        usable.push_back(&kernels_avx2());
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512vl")) {
        usable.push_back(&kernels_avx512());
        if (__builtin_cpu_supports("avx512bf16")) usable.push_back(&kernels_avx512bf16());
    }
#else
    usable.push_back(&kernels_baseline());
#endif
    return usable;
}

}  // namespace drawnet
