/* Single layers, and their weights.
 *
 * Authors
 *  * The speechbrain_dsn developers 2026
 */

#include "layers.h"

/* Eight rows of eight numbers, and the columns of these. */
INLINE void transpose(const float *from, int64_t stride, float *to,
                      int64_t step)
{
    vec x[LANES], y[LANES];
    for (int i = 0; i < LANES; i++)
        x[i] = load(from + i * stride);
    for (int i = 0; i < LANES; i += 2) {
        y[i] = PICK(x[i], x[i + 1], 0, 8, 1, 9, 4, 12, 5, 13);
        y[i + 1] = PICK(x[i], x[i + 1], 2, 10, 3, 11, 6, 14, 7, 15);
    }
    for (int i = 0; i < LANES; i += 4)
        for (int k = 0; k < 2; k++) {
            const vec a = y[i + k], b = y[i + k + 2];
            x[i + 2 * k] = PICK(a, b, 0, 1, 8, 9, 4, 5, 12, 13);
            x[i + 2 * k + 1] = PICK(a, b, 2, 3, 10, 11, 6, 7, 14, 15);
        }
    for (int k = 0; k < 4; k++) {
        const vec a = x[k], b = x[k + 4];
        store(to + k * step, PICK(a, b, 0, 1, 2, 3, 8, 9, 10, 11), LANES);
        store(to + (k + 4) * step, PICK(a, b, 4, 5, 6, 7, 12, 13, 14, 15),
              LANES);
    }
}

/* Copies weights, wherever they lie, to a place among the packed ones, where
 * LANES of outputs are a chunk. Eight by eight: what lies side by side is read
 * once. */
void dsn_pack(const float *w, int64_t half_stride, int64_t row_stride,
              int64_t column_stride, int64_t halves, int64_t outputs,
              int64_t inputs, float *to, int64_t chunk)
{
    const int64_t step = halves * LANES;
    for (int64_t o = 0; o < outputs; o += LANES)
        for (int64_t half = 0; half < halves; half++)
            for (int64_t k = 0; k < inputs; k += LANES) {
                const float *const from = w + half * half_stride
                                          + o * row_stride + k * column_stride;
                float *const place = to + o / LANES * chunk + half * LANES
                                     + k * step;
                const int64_t high = outputs - o, wide = inputs - k;
                if (high >= LANES && wide >= LANES && column_stride == 1)
                    transpose(from, row_stride, place, step);
                else if (high >= LANES && row_stride == 1)
                    for (int64_t x = 0; x < wide && x < LANES; x++)
                        store(place + x * step, load(from + x * column_stride),
                              LANES);
                else
                    for (int64_t x = 0; x < wide && x < LANES; x++)
                        for (int64_t y = 0; y < high && y < LANES; y++)
                            place[x * step + y]
                                = from[y * row_stride + x * column_stride];
            }
}

/* Items of rows: item i begins at i * item, its row r at r * stride; rows may
 * overlap, as the windows of a convolution do.
 * y [items][rows][outputs] */
typedef struct {
    float *data;
    int64_t items, rows, item, stride;
} items_t;

INLINE void linear(const items_t *x, const layer_t *l, float *y,
                   const int kind)
{
    const inputs_t in = {l->inputs};
    for (int64_t i = 0; i < x->items; i++)
        for (int64_t row = 0; row < x->rows; row += TILE) {
            const int64_t left = x->rows - row;
            const int64_t rows = left < TILE ? left : TILE;
            float *const from = x->data + i * x->item + row * x->stride;
            const rows_t to = {y, l->outputs};
            layer(l, in, l->outputs, (rows_t){from, x->stride}, to, rows,
                  kind);
            y += rows * l->outputs;
        }
}

void dsn_linear(const items_t *x, const layer_t *l, float *y)
{
    linear(x, l, y, PLAIN);
}

void dsn_gated_linear(const items_t *x, const layer_t *l, float *y)
{
    linear(x, l, y, GATED);
}
