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

enum {
    ROWS = 8, /* that are run at once */
    TILE = 64 /* rows that stay in a cache near by, as in chain.py */
};

/* Packed weights of LANES outputs at a time, of one input after the other; of
 * a gated layer all of it twice, for the values and for the gates:
 * [chunks][inputs][1 or 2][LANES]. Biases alike: [chunks][1 or 2][LANES]. A
 * narrower layer is a leading part: fewer outputs, fewer inputs. */
typedef struct {
    const float *weights, *bias;
    int64_t inputs, outputs;
} layer_t;

/* Rows of a matrix: those that are named, or all in their order. With each
 * of them, `fresh` more numbers of what is `ahead` are asked for: so many short
 * streams no processor foresees. */
typedef struct {
    float *data;
    int64_t stride;
    const int64_t *which;
    const float *ahead;
    int64_t fresh;
} rows_t;

/* The inputs of a layer, in two parts: `many` of the weights' first inputs,
 * and `more` of those that begin with number `from`, of which a row's numbers
 * lie `apart` from the others. */
typedef struct {
    int64_t many, more, from, apart;
} inputs_t;

enum { PLAIN, RECTIFIED, GATED };

INLINE float *row_of(const rows_t *rows, int64_t number)
{
    return rows->data
           + (rows->which ? rows->which[number] : number) * rows->stride;
}

INLINE void foresee(const float *x, int64_t many)
{
    for (int64_t k = 0; k < many; k += 64 / sizeof(float))
        __builtin_prefetch(x + k);
}

/* The leading halves of two vectors. */
INLINE vec halves(const float *x, const float *y)
{
    const vec a = load(x), b = load(y);
    return PICK(a, b, 0, 1, 2, 3, 8, 9, 10, 11);
}

/* Adds `high` rows times the weights of one or two vectors of outputs, or of
 * half of either. */
INLINE void block(const float *const *from, int64_t inputs, const float *w,
                  const float *other, const int step, const int high,
                  const int wide, const int half, vec *sum)
{
    for (int64_t k = 0; k < inputs; k++, w += step, other += step)
        for (int i = 0; i < high; i++) {
            const vec x = all(from[i][k]);
            sum[i * wide] += (half ? halves(w, other) : load(w)) * x;
            if (wide == 2)
                sum[2 * i + 1] += load(other) * x;
        }
}

/* What each row of a tile reads and writes. */
typedef struct {
    const float *from[TILE + ROWS];
    float *to[TILE + ROWS];
    const float *ahead;
    int64_t many, fresh;
} tile_t;

/* Beyond the last row, the first is run again. */
INLINE void tile(rows_t x, rows_t y, int64_t rows, tile_t *t)
{
    t->many = rows;
    t->ahead = x.ahead;
    t->fresh = x.fresh;
    for (int64_t i = 0; i < rows; i++) {
        t->from[i] = row_of(&x, i);
        t->to[i] = row_of(&y, i);
    }
    for (int64_t i = rows; i < rows + ROWS; i++) {
        t->from[i] = t->from[0];
        t->to[i] = t->to[0];
    }
}

/* See layer(). Two vectors at a time are those of values and gates, or of
 * neighbouring outputs; half of values and of gates are one. */
INLINE void vectors(const layer_t *l, inputs_t in, int64_t outputs,
                    const tile_t *t, const int kind, const int wide)
{
    const int high = ROWS / wide; /* as many sums as there are registers */
    const int gated = kind == GATED, half = gated && wide == 1;
    const int made = gated ? 1 : wide, step = gated ? 2 * LANES : LANES;
    const int64_t chunk = l->inputs * step, skip = in.from * step;
    const float *w = l->weights, *bias = l->bias;
    vec sum[ROWS];
    for (int64_t o = 0; o < outputs; o += made * LANES) {
        /* Of the last outputs there may be one vector only. */
        const int both = gated || (wide == 2 && o + LANES < outputs);
        const float *const other = w + (gated ? LANES : both ? chunk : 0);
        const vec first = half ? halves(bias, bias + LANES) : load(bias);
        const vec second = load(bias + (both && wide == 2 ? LANES : 0));
        for (int64_t row = 0; row < t->many; row += high) {
            if (!o)
                foresee(t->ahead + row * t->fresh, high * t->fresh);
            const float *from[ROWS];
            for (int i = 0; i < high; i++) {
                from[i] = t->from[row + i];
                sum[i * wide] = first;
                if (wide == 2)
                    sum[2 * i + 1] = second;
            }
            block(from, in.many, w, other, step, high, wide, half, sum);
            if (in.more) {
                for (int i = 0; i < high; i++)
                    from[i] += in.apart;
                block(from, in.more, w + skip, other + skip, step, high, wide,
                      half, sum);
            }
            for (int i = 0; i < high * made; i++) {
                if (half) {
                    const vec v = sum[i];
                    const vec gate = PICK(v, v, 4, 5, 6, 7, 4, 5, 6, 7);
                    sum[i] = v / (all(1.0f) + exponential(-gate));
                } else if (gated)
                    sum[i] = sum[2 * i]
                             / (all(1.0f) + exponential(-sum[2 * i + 1]));
                else if (kind == RECTIFIED)
                    sum[i] = at_least(sum[i], 0);
            }
            if (o + made * LANES <= outputs)
                for (int i = 0; i < high * made; i++)
                    store(t->to[row + i / made] + o + i % made * LANES, sum[i],
                          LANES);
            else
                for (int i = 0; i < high; i++) {
                    float *const to = t->to[row + i] + o;
                    store(to, sum[i * made], outputs - o);
                    if (made == 2 && both)
                        store(to + LANES, sum[2 * i + 1], outputs - o - LANES);
                }
        }
        w += made * chunk;
        bias += made * step;
    }
}

/* y = W x + b, max(0, W x + b), or (V x + a) * sigmoid(G x + c): the leading
 * outputs, of up to TILE rows wherever they lie. */
INLINE void layer(const layer_t *l, inputs_t in, int64_t outputs, rows_t x,
                  rows_t y, int64_t rows, const int kind)
{
    tile_t t;
    tile(x, y, rows, &t);
    if (outputs <= (kind == GATED ? LANES / 2 : LANES))
        vectors(l, in, outputs, &t, kind, 1);
    else
        vectors(l, in, outputs, &t, kind, 2);
}

#endif
