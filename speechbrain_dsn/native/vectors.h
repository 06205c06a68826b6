/* Vectors of eight floats, those of GCC and Clang: the same text compiles for
 * any processor.
 *
 * Authors
 *  * The speechbrain_dsn developers 2026
 */

#ifndef DSN_VECTORS_H
#define DSN_VECTORS_H

#include <stdint.h>
#include <string.h>
#ifdef __AVX__
#include <immintrin.h>
#endif

#define INLINE static inline __attribute__((always_inline))

enum { LANES = 8 };

typedef float vec __attribute__((vector_size(4 * LANES)));
typedef int32_t ivec __attribute__((vector_size(4 * LANES)));

INLINE vec load(const float *from)
{
    vec x;
    memcpy(&x, from, sizeof x);
    return x;
}

/* The leading lanes only, where a row is not longer. */
INLINE void store(float *to, vec x, int64_t width)
{
    if (width >= LANES)
        memcpy(to, &x, sizeof x);
    else if (width == LANES / 2) /* a size that the compiler knows */
        memcpy(to, &x, sizeof x / 2);
    else
        for (int64_t i = 0; i < width; i++)
            to[i] = x[i];
}

INLINE vec all(float x)
{
    return (vec){x, x, x, x, x, x, x, x};
}

INLINE vec either(ivec which, vec x, vec y)
{
    return (vec)(((ivec)x & which) | ((ivec)y & ~which));
}

/* Of a number that is none, none. */
INLINE vec at_most(vec x, float limit)
{
#ifdef __AVX__
    return (vec)_mm256_min_ps((__m256)all(limit), (__m256)x);
#else
    return either(x > all(limit), all(limit), x);
#endif
}

INLINE vec at_least(vec x, float limit)
{
#ifdef __AVX__
    return (vec)_mm256_max_ps((__m256)all(limit), (__m256)x);
#else
    return either(x < all(limit), all(limit), x);
#endif
}

/* Numbers of x and, counted on from them, of y. */
#ifdef __clang__
#define PICK(x, y, ...) __builtin_shufflevector(x, y, __VA_ARGS__)
#else
#define PICK(x, y, ...) __builtin_shuffle(x, y, (ivec){__VA_ARGS__})
#endif

/* Of neighbours in x, then in y, within each half of the lanes. */
INLINE vec sum_pairs(vec x, vec y)
{
    return PICK(x, y, 0, 2, 8, 10, 4, 6, 12, 14)
           + PICK(x, y, 1, 3, 9, 11, 5, 7, 13, 15);
}

/* The sum of the lanes of each of eight. */
INLINE vec sum_lanes(const vec *x)
{
    const vec a = sum_pairs(sum_pairs(x[0], x[1]), sum_pairs(x[2], x[3]));
    const vec b = sum_pairs(sum_pairs(x[4], x[5]), sum_pairs(x[6], x[7]));
    return PICK(a, b, 0, 1, 2, 3, 8, 9, 10, 11)
           + PICK(a, b, 4, 5, 6, 7, 12, 13, 14, 15);
}

/* 2^n e^r with |r| <= log(2) / 2, by the polynomial 1 + r + ... of the least
 * relative error, 1.1e-7. A NaN stays one. */
INLINE vec exponential(vec x)
{
    x = at_least(at_most(x, 87.0f), -87.0f);
    const vec shifter = all(12582912.0f); /* 1.5 * 2^23: rounds */
    const vec shifted = x * all(1.44269504f) + shifter;
    const vec r = x - (shifted - shifter) * all(0.693147182f);
    vec y = all(8.31250101e-3f);
    y = y * r + all(4.18903306e-2f);
    y = y * r + all(1.66671157e-1f);
    y = y * r + all(4.99992311e-1f);
    y = y * r + all(1.0f);
    y = y * r + all(1.0f);
    const ivec power = ((ivec)shifted << 23) + (127 << 23);
    return y * (vec)power;
}

INLINE vec sigmoid(vec x)
{
    return all(1.0f) / (all(1.0f) + exponential(-x));
}

/* Near zero by a polynomial: a difference of two ones has no digits. */
INLINE vec tangent(vec x)
{
    const vec far = all(1.0f) - all(2.0f) / (exponential(x + x) + all(1.0f));
    const vec s = x * x;
    vec near = all(-5.70498872745e-3f);
    near = near * s + all(2.06390887954e-2f);
    near = near * s + all(-5.37397155531e-2f);
    near = near * s + all(1.33314422036e-1f);
    near = near * s + all(-3.33332819422e-1f);
    near = near * s * x + x;
    return either(s < all(0.390625f), near, far);
}

#endif
