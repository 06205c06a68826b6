/* The steps of GRUs.
 *
 * A GRU of 128 units reads 200 kB of weights per step, which stay in the second
 * cache if one group is run from end to end.
 *
 * Authors
 *  * The speechbrain_dsn developers 2026
 */

#include "vectors.h"

/* y = W h + b; rows and columns are multiples of LANES */
INLINE void product(const float *w, const float *b, const float *h,
                    int64_t rows, int64_t columns, float *y)
{
    for (int64_t row = 0; row < rows; row += LANES, w += LANES * columns) {
        vec sum[LANES];
        for (int i = 0; i < LANES; i++)
            sum[i] = all(0);
        for (int64_t k = 0; k < columns; k += LANES) {
            const vec x = load(h + k);
            for (int i = 0; i < LANES; i++)
                sum[i] += load(w + i * columns + k) * x;
        }
        store(y + row, load(b + row) + sum_lanes(sum), LANES);
    }
}

/* GRUs of equal size, each from its first step to its last. Gates in the
 * order r, z, n, as torch.nn.GRU has them; units a multiple of LANES.
 *
 * drive  [groups][sequences][steps][3 units]  W_ih x + b_ih
 * w      [groups][3 units][units]
 * b      [groups][3 units]
 * start  [groups][sequences][units]
 * buffer [3 units]
 * out    [groups][sequences][steps][units]
 */
void dsn_gru_steps(const float *drive, const float *w, const float *b,
                   const float *start, float *buffer, float *out,
                   int64_t groups, int64_t sequences, int64_t steps,
                   int64_t units)
{
    const int64_t rows = 3 * units;
    for (int64_t g = 0; g < groups; g++, w += rows * units, b += rows) {
        for (int64_t s = 0; s < sequences; s++, start += units) {
            const float *h = start;
            for (int64_t t = 0; t < steps; t++) {
                product(w, b, h, rows, units, buffer);
                for (int64_t u = 0; u < units; u += LANES) {
                    const float *x = drive + u, *y = buffer + u;
                    const vec r = sigmoid(load(x) + load(y));
                    const vec z = sigmoid(load(x + units) + load(y + units));
                    const vec n = tangent(load(x + 2 * units)
                                          + r * load(y + 2 * units));
                    store(out + u, n + z * (load(h + u) - n), LANES);
                }
                h = out;
                drive += rows;
                out += units;
            }
        }
    }
}

/* A GRU whose units do not see each other; as above, but
 * drive [sequences][steps][3 units], w [3][units], b [units] of n only. */
void dsn_diagonal_gru(const float *drive, const float *w, const float *b,
                      const float *start, float *out, int64_t sequences,
                      int64_t steps, int64_t units)
{
    for (int64_t s = 0; s < sequences; s++, start += units) {
        const float *h = start;
        for (int64_t t = 0; t < steps; t++) {
            for (int64_t u = 0; u < units; u += LANES) {
                const float *x = drive + u, *v = w + u;
                const vec old = load(h + u);
                const vec r = sigmoid(load(x) + load(v) * old);
                const vec z = sigmoid(load(x + units) + load(v + units) * old);
                const vec n = tangent(
                    load(x + 2 * units)
                    + r * (load(v + 2 * units) * old + load(b + u)));
                store(out + u, n + z * (old - n), LANES);
            }
            h = out;
            drive += 3 * units;
            out += units;
        }
    }
}
