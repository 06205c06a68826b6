/* Blocks of two layers, each frame at a width of its own.
 *
 * Frames that follow each other at one width are run as one stretch. What
 * lies between the two layers stays in the first cache, TILE rows of it: as
 * many as are needed for the weights to be read seldom.
 *
 * Authors
 *  * The speechbrain_dsn developers 2026
 */

#include "layers.h"

enum { TILE = 64 };

/* The layers at one width. */
typedef struct {
    layer_t first, second, late;
} width_t;

/* Frames of `rows` rows. Where `x` is what the first layer reads of the first
 * row, `stride` leads to the next; an encoder's windows begin before their
 * frame, and `head` holds all of the first ones. What a decoder owes to the
 * frames behind is carried. */
typedef struct {
    const int64_t *level; /* [items][frames] */
    const float *x;       /* [items][frames][rows][stride] */
    const float *beside;  /* like x, added to it; or nothing */
    const float *head;    /* [items][head_size] */
    float *y;             /* [items][frames][rows][outputs] */
    float *carried;       /* [items][carried_size] */
    int64_t items, frames, rows, stride, head_size, carried_size;
} frames_t;

INLINE int64_t smaller(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* How many frames share the width of the first. */
INLINE int64_t alike(const int64_t *level, int64_t frames)
{
    int64_t n = 1;
    while (n < frames && level[n] == level[0])
        n++;
    return n;
}

/* A strided convolution, a ReLU and a gated layer.
 * buffer [TILE][inner] */
INLINE void encode(const width_t *width, const float *x, int64_t stride,
                   int64_t rows, float *y, float *buffer)
{
    const layer_t first = width->first, second = width->second;
    for (int64_t row = 0; row < rows; row += TILE) {
        const int64_t n = smaller(TILE, rows - row);
        layer(&first, x + row * stride, stride, n, 0, buffer, RECTIFIED);
        layer(&second, buffer, first.outputs, n, 0,
              y + row * second.outputs, GATED);
    }
}

void dsn_encode(const frames_t *f, const width_t *widths, float *buffer)
{
    const int64_t size = f->rows * f->stride;
    for (int64_t i = 0; i < f->items; i++) {
        const int64_t *const level = f->level + i * f->frames;
        const float *const x = f->x + i * f->frames * size;
        for (int64_t t = 0, n; t < f->frames; t += n) {
            const width_t *const width = widths + level[t];
            const float *from = x + t * size;
            n = t ? alike(level + t, f->frames - t) : 1;
            if (t) /* the window of the first row begins before it */
                from -= width->first.inputs - f->stride;
            else
                from = f->head + i * f->head_size;
            encode(width, from, f->stride, n * f->rows,
                   f->y + (i * f->frames + t) * f->rows
                       * width->second.outputs,
                   buffer);
        }
    }
}

/* A sum, a gated layer, and a transposed convolution of two strides: an
 * output row is what its inner row and the one before it make of it.
 * buffer [TILE][inputs] and then [1 + TILE][inner] */
INLINE void decode(const width_t *width, const float *x, const float *beside,
                   int64_t rows, float *carried, float *y, float *buffer,
                   const int kind)
{
    const layer_t first = width->first, second = width->second;
    const int64_t inputs = first.inputs, inner = first.outputs;
    float *const last = buffer + TILE * inputs;
    memset(last, 0, (size_t)inner * sizeof(float));
    for (int64_t row = 0; row < rows; row += TILE) {
        const int64_t n = smaller(TILE, rows - row), at = row * inputs;
        const float *from = x + at;
        if (beside) {
            for (int64_t k = 0; k < n * inputs; k++)
                buffer[k] = x[at + k] + beside[at + k];
            from = buffer;
        }
        layer(&first, from, inputs, n, 0, last + inner, GATED);
        layer(&second, last, inner, n, row ? 0 : carried,
              y + row * second.outputs, kind);
        memcpy(last, last + n * inner, (size_t)inner * sizeof(float));
    }
    layer(&width->late, last, inner, 1, 0, carried, PLAIN);
}

void dsn_decode(const frames_t *f, const width_t *widths, float *buffer,
                int64_t rectified)
{
    for (int64_t i = 0; i < f->items; i++) {
        const int64_t *const level = f->level + i * f->frames;
        float *const carried = f->carried + i * f->carried_size;
        for (int64_t t = 0, n; t < f->frames; t += n) {
            const width_t *const width = widths + level[t];
            const int64_t row = (i * f->frames + t) * f->rows;
            const float *const x = f->x + row * f->stride;
            const float *const beside
                = f->beside ? f->beside + row * f->stride : 0;
            float *const y = f->y + row * width->second.outputs;
            n = alike(level + t, f->frames - t);
            if (rectified)
                decode(width, x, beside, n * f->rows, carried, y, buffer,
                       RECTIFIED);
            else
                decode(width, x, beside, n * f->rows, carried, y, buffer,
                       PLAIN);
        }
    }
}
