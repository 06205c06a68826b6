/* Single layers, and their weights.
 *
 * Authors
 *  * The speechbrain_dsn developers 2026
 */

#include "layers.h"

/* Copies weights, wherever they lie, to a place among the packed ones, where
 * `lanes` of outputs are a chunk. */
void dsn_pack(const float *w, int64_t half_stride, int64_t row_stride,
              int64_t column_stride, int64_t halves, int64_t outputs,
              int64_t inputs, float *to, int64_t chunk, int64_t lanes)
{
    for (int64_t o = 0; o < outputs; o += lanes, to += chunk) {
        const int64_t many = outputs - o < lanes ? outputs - o : lanes;
        float *place = to;
        for (int64_t k = 0; k < inputs; k++)
            for (int64_t half = 0; half < halves; half++, place += lanes) {
                const float *from = w + half * half_stride + o * row_stride
                                    + k * column_stride;
                for (int64_t i = 0; i < many; i++)
                    place[i] = from[i * row_stride];
            }
    }
}

/* Items of rows: item i begins at i * item, its row r at r * stride.
 * y [items][rows][outputs] */
typedef struct {
    const float *data;
    int64_t items, rows, item, stride;
} rows_t;

void dsn_linear(const rows_t *x, const layer_t *l, float *y)
{
    for (int64_t i = 0; i < x->items; i++, y += x->rows * l->outputs)
        layer(l, x->data + i * x->item, x->stride, x->rows, 0, y, PLAIN);
}

void dsn_gated_linear(const rows_t *x, const layer_t *l, float *y)
{
    for (int64_t i = 0; i < x->items; i++, y += x->rows * l->outputs)
        layer(l, x->data + i * x->item, x->stride, x->rows, 0, y, GATED);
}
