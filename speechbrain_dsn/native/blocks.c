/* Blocks of two layers, one behind the other, each frame at a width of its own.
 *
 * Rows of one width are run together, wherever they lie among TILE rows; what
 * is between the two layers stays in the first cache. Blocks take turns, so
 * that what one hands to the next does not leave the last cache.
 *
 * Authors
 *  * The speechbrain_dsn developers 2026
 */

#include "layers.h"

enum { TURN = 64 }; /* frames, as in chain.py */

/* A block. A frame is `rows` rows, and `stride` numbers of its input lead from
 * what the first layer reads of one row to the next. Between the layers it has
 * as many channels as the widths of the levels say, at most `pitch`. */
typedef struct {
    layer_t first, second;
    const int64_t *widths;
    float *state;        /* [items][..], see below */
    const float *beside; /* like the input, added to it; or nothing */
    float *y;            /* [frames][rows][outputs] */
    int64_t pitch, rows, stride, rectified;
} block_t;

typedef struct {
    const block_t *blocks;
    const int64_t *level; /* [items][frames] */
    float *x;             /* [items][frames][rows][stride] */
    float *buffer;
    int64_t count, items, frames;
} chain_t;

/* The frames whose turn it is. */
typedef struct {
    const int64_t *level;
    int64_t item, start, many, frames;
} turn_t;

INLINE int64_t smaller(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

INLINE turn_t turn(const chain_t *c, int64_t item, int64_t start)
{
    return (turn_t){c->level + item * c->frames + start, item, start,
                    smaller(TURN, c->frames - start), c->frames};
}

/* Where what a block has of these frames begins, `size` numbers of each. */
INLINE int64_t place(const turn_t *t, int64_t size)
{
    return (t->item * t->frames + t->start) * size;
}

/* The widths of `n` rows from number `row` on. */
INLINE void widths_of(const block_t *b, const turn_t *t, int64_t row, int64_t n,
                      int64_t *width)
{
    const int64_t *level = t->level + row / b->rows;
    int64_t left = b->rows - row % b->rows;
    for (int64_t i = 0; i < n; left = b->rows, level++)
        for (; i < n && left; i++, left--)
            width[i] = b->widths[*level];
}

/* Rows of one kind: `many` that are named, or all. */
typedef struct {
    int64_t kind, many, list[TILE];
    const int64_t *which;
} alike_t;

/* Finds those of the kind of the first that is left, and marks them as done. */
INLINE void pick(int64_t *kinds, int64_t n, alike_t *rows)
{
    int64_t i = 0, other = 0, many = 0;
    while (kinds[i] < 0)
        i++;
    const int64_t kind = kinds[i];
    for (int64_t k = 0; k < n; k++)
        other |= kinds[k] ^ kind;
    for (; other && i < n; i++)
        if (kinds[i] == kind) {
            rows->list[many++] = i;
            kinds[i] = -1;
        }
    rows->kind = kind;
    rows->many = other ? many : n;
    rows->which = other ? rows->list : 0;
}

/* A strided convolution, a ReLU and a gated layer. buffer [TILE][pitch] */
INLINE void encode_rows(const block_t *b, rows_t x, int64_t *widths, int64_t n,
                        float *y, float *buffer)
{
    alike_t rows;
    const rows_t inner = {buffer, b->pitch};
    const inputs_t window = {b->first.inputs};
    for (int64_t left = n; left; left -= rows.many) {
        pick(widths, n, &rows);
        const int64_t width = rows.kind;
        const rows_t to = {y, b->second.outputs, rows.which};
        x.which = rows.which;
        layer(&b->first, window, width, x, inner, rows.many, RECTIFIED);
        layer(&b->second, (inputs_t){width}, to.stride, inner, to, rows.many,
              GATED);
    }
}

/* x are the frames of this turn, behind those before. The window of a row
 * begins before it, and that of the first one is the state.
 * buffer [TILE][pitch] */
INLINE void encode(const block_t *b, const turn_t *t, float *x, float *y,
                   float *buffer)
{
    const int64_t rows = t->many * b->rows, outputs = b->second.outputs;
    const int64_t window = b->first.inputs, stride = b->stride;
    int64_t widths[TILE];
    for (int64_t row = 0, n; row < rows; row += n) {
        const int first = !t->start && !row;
        n = first ? 1 : smaller(rows - row, TILE);
        widths_of(b, t, row, n, widths);
        float *const from = first ? b->state + t->item * window
                                  : x + (row + 1) * stride - window;
        const rows_t windows = {from, stride, 0, from + window + ROWS * stride,
                                stride};
        encode_rows(b, windows, widths, n, y + row * outputs, buffer);
    }
}

/* state [items][window]: the past, and a place for the first row's own. */
void dsn_encode(const chain_t *c)
{
    for (int64_t item = 0; item < c->items; item++)
        for (int64_t start = 0; start < c->frames; start += TURN) {
            const turn_t t = turn(c, item, start);
            float *x = c->x + place(&t, c->blocks->rows * c->blocks->stride);
            for (int64_t i = 0; i < c->count; i++) {
                const block_t *const b = c->blocks + i;
                const int64_t window = b->first.inputs;
                float *const y = b->y + place(&t, b->rows * b->second.outputs);
                if (!start)
                    memcpy(b->state + (item + 1) * window - b->stride, x,
                           (size_t)b->stride * sizeof(float));
                encode(b, &t, x, y, c->buffer);
                x = y;
            }
        }
}

/* What is between the layers of a decoder: the last row of those before, and
 * then `n` rows; and how wide they are. */
typedef struct {
    float *data;
    int64_t width[1 + TILE];
} inner_t;

/* A gated layer. */
INLINE void widen(const block_t *b, rows_t x, inner_t *inner, int64_t n)
{
    alike_t rows;
    int64_t widths[TILE];
    memcpy(widths, inner->width + 1, sizeof widths);
    for (int64_t left = n; left; left -= rows.many) {
        pick(widths, n, &rows);
        const inputs_t in = {b->first.inputs};
        const rows_t to = {inner->data + b->pitch, b->pitch, rows.which};
        x.which = rows.which;
        layer(&b->first, in, rows.kind, x, to, rows.many, GATED);
    }
}

/* A transposed convolution of two strides: an output row is what its inner
 * row and the one before it make of it. */
INLINE void overlap(const block_t *b, const layer_t *first, inner_t *inner,
                    int64_t n, float *y, const int kind)
{
    alike_t rows;
    int64_t pairs[TILE];
    const int64_t pitch = b->pitch, base = pitch + 1;
    for (int64_t i = 0; i < n; i++)
        pairs[i] = inner->width[i] * base + inner->width[i + 1];
    for (int64_t left = n; left; left -= rows.many) {
        pick(pairs, n, &rows);
        const int64_t before = rows.kind / base, own = rows.kind % base;
        const inputs_t in = {before, own, b->second.inputs / 2, pitch};
        const rows_t x = {inner->data, pitch, rows.which};
        const rows_t to = {y, b->second.outputs, rows.which};
        layer(before ? &b->second : first, in, to.stride, x, to, rows.many,
              kind);
    }
}

/* A sum, both layers, and what is owed to the row behind the last: the state.
 * buffer [TILE][stride], [1 + TILE][pitch], [outputs] */
INLINE void decode(const block_t *b, const turn_t *t, const float *x, float *y,
                   float *buffer, const int kind)
{
    const int64_t rows = t->many * b->rows, stride = b->stride;
    const int64_t outputs = b->second.outputs, pitch = b->pitch;
    const float *beside = b->beside;
    float *const owed = b->state + t->item * outputs;
    inner_t inner = {buffer + TILE * stride};
    float *const bias = inner.data + (1 + TILE) * pitch;
    layer_t second = b->second;
    second.bias = bias;
    for (int64_t k = 0; k < outputs; k++)
        bias[k] = b->second.bias[k] + owed[k];
    if (beside)
        beside += place(t, b->rows * stride);
    for (int64_t row = 0, n = 0; row < rows; row += n) {
        n = smaller(TILE, rows - row);
        rows_t from = {(float *)x + row * stride, stride};
        if (beside) {
            for (int64_t k = 0; k < n * stride; k++)
                buffer[k] = from.data[k] + beside[k];
            beside += n * stride;
            from = (rows_t){buffer, stride, 0, beside, stride};
        }
        widths_of(b, t, row, n, inner.width + 1);
        widen(b, from, &inner, n);
        overlap(b, &second, &inner, n, y + row * outputs, kind);
        inner.width[0] = inner.width[n];
        memcpy(inner.data, inner.data + n * pitch,
               (size_t)pitch * sizeof(float));
    }
    memset(bias, 0, (size_t)outputs * sizeof(float));
    layer(&second, (inputs_t){inner.width[0]}, outputs,
          (rows_t){inner.data, pitch}, (rows_t){owed, outputs}, 1, PLAIN);
}

/* state [items][outputs]. The output of all but the last block is that of one
 * turn only. */
void dsn_decode(const chain_t *c)
{
    for (int64_t item = 0; item < c->items; item++)
        for (int64_t start = 0; start < c->frames; start += TURN) {
            const turn_t t = turn(c, item, start);
            float *x = c->x + place(&t, c->blocks->rows * c->blocks->stride);
            for (int64_t i = 0; i < c->count; i++) {
                const block_t *const b = c->blocks + i;
                float *y = b->y;
                if (i == c->count - 1)
                    y += place(&t, b->rows * b->second.outputs);
                if (b->rectified)
                    decode(b, &t, x, y, c->buffer, RECTIFIED);
                else
                    decode(b, &t, x, y, c->buffer, PLAIN);
                x = y;
            }
        }
}
