/* Layers of few channels.
 *
 * A product of 4 by 64 is memory traffic and nothing else, unless its gate is
 * applied while it is in registers.
 *
 * Authors
 *  * The speechbrain_dsn developers 2026
 */

#ifndef DSN_LAYERS_H
#define DSN_LAYERS_H

#include "vectors.h"

enum { ROWS = 8 }; /* that are run at once */

/* Packed weights of LANES outputs at a time: their biases, then the weights
 * of one input after the other; of a gated layer all of it twice, for the
 * values and for the gates: [chunks][1 + inputs][1 or 2][LANES]. Where half as
 * many outputs are all, values and gates share a vector. */
typedef struct {
    const float *weights;
    int64_t inputs, outputs;
} layer_t;

enum { PLAIN, RECTIFIED, GATED };

/* `high` rows times one or two vectors of outputs, whose weights for one input
 * after the other are `step` apart. */
INLINE void block(const float *const *from, int64_t inputs, const float *w,
                  const float *other, const int step, const int high,
                  const int wide, vec *sum)
{
    for (int i = 0; i < high; i++) {
        sum[i * wide] = load(w);
        if (wide == 2)
            sum[2 * i + 1] = load(other);
    }
    for (int64_t k = 0; k < inputs; k++) {
        w += step, other += step;
        for (int i = 0; i < high; i++) {
            const vec x = all(from[i][k]);
            sum[i * wide] += load(w) * x;
            if (wide == 2)
                sum[2 * i + 1] += load(other) * x;
        }
    }
}

/* Where `high` rows begin; those beyond the end are the first once more. The
 * next rows are asked for: so many short streams no processor foresees. */
INLINE void begin(const float *x, int64_t stride, int64_t left,
                  int64_t inputs, const int high, const float **from)
{
    for (int i = 0; i < high; i++)
        from[i] = x + (i < left ? i * stride : 0);
    const float *const next = x + (high - 1) * stride + inputs;
    for (int64_t k = 0; k < high * stride; k += 64 / sizeof(float))
        __builtin_prefetch(next + k);
}

/* A gated layer of up to LANES / 2 outputs. */
INLINE void narrow(const layer_t *l, const float *x, int64_t stride,
                   int64_t rows, float *y)
{
    const float *from[ROWS];
    vec sum[ROWS];
    for (int64_t row = 0; row < rows; row += ROWS, x += ROWS * stride) {
        const int64_t left = rows - row < ROWS ? rows - row : ROWS;
        begin(x, stride, left, l->inputs, ROWS, from);
        block(from, l->inputs, l->weights, 0, LANES, ROWS, 1, sum);
        for (int i = 0; i < ROWS; i++) {
            const vec gate = PICK(sum[i], sum[i], 4, 5, 6, 7, 4, 5, 6, 7);
            sum[i] = sum[i] / (all(1.0f) + exponential(-gate));
        }
        for (int64_t i = 0; i < left; i++)
            store(y + (row + i) * l->outputs, sum[i], l->outputs);
    }
}

/* See layer(). Two vectors at a time are those of values and gates, or of
 * neighbouring outputs. */
INLINE void vectors(const layer_t *l, const float *x, int64_t stride,
                    int64_t rows, const float *carried, float *y,
                    const int kind, const int wide)
{
    const int high = ROWS / wide; /* as many sums as there are registers */
    const int made = kind == GATED ? 1 : wide;
    const int step = kind == GATED ? 2 * LANES : LANES;
    const int64_t chunk = (1 + l->inputs) * step, outputs = l->outputs;
    const float *from[ROWS];
    vec sum[ROWS];
    for (int64_t row = 0; row < rows; row += high, x += high * stride) {
        const int64_t left = rows - row < high ? rows - row : high;
        const float *w = l->weights;
        begin(x, stride, left, l->inputs, high, from);
        for (int64_t o = 0; o < outputs; o += made * LANES) {
            const int both = made == 2 && o + LANES < outputs;
            const float *other = w + (kind == GATED ? LANES : chunk);
            block(from, l->inputs, w, both || kind == GATED ? other : w, step,
                  high, wide, sum);
            w += made * chunk;
            if (carried && !row) {
                sum[0] += load(carried + o);
                if (both)
                    sum[1] += load(carried + o + LANES);
            }
            for (int i = 0; i < high * made; i++) {
                if (kind == GATED)
                    sum[i] = sum[2 * i]
                             / (all(1.0f) + exponential(-sum[2 * i + 1]));
                if (kind == RECTIFIED)
                    sum[i] = at_least(sum[i], 0);
            }
            float *to = y + row * outputs + o;
            for (int64_t i = 0; i < left; i++, to += outputs) {
                store(to, sum[i * made], outputs - o);
                if (both)
                    store(to + LANES, sum[2 * i + 1], outputs - o - LANES);
            }
        }
    }
}

/* y = W x + b, max(0, W x + b), or (V x + a) * sigmoid(G x + c). Rows may
 * overlap, as the windows of a convolution do. What is carried is added to
 * the first. */
INLINE void layer(const layer_t *l, const float *x, int64_t stride,
                  int64_t rows, const float *carried, float *y,
                  const int kind)
{
    if (kind == GATED && l->outputs <= LANES / 2)
        narrow(l, x, stride, rows, y);
    else if (kind == GATED || l->outputs > LANES)
        vectors(l, x, stride, rows, carried, y, kind, 2);
    else
        vectors(l, x, stride, rows, carried, y, kind, 1);
}

#endif
