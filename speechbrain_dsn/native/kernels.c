/* Inner loops that PyTorch cannot fuse: the steps of a GRU, and layers with
 * few channels.
 *
 * A slim network does little at a time. A GRU of 128 units reads 200 kB of
 * weights per step, which stay in the second cache if one group is run from
 * end to end; a product of 4 by 64 is memory traffic and nothing else, unless
 * its gate is applied while it is in registers. All of it is float32, in one
 * thread, without allocation.
 *
 * Vectors are those of GCC and Clang, so that the same text compiles for any
 * processor.
 *
 * Authors
 *  * The speechbrain_dsn developers 2026
 */

#include <stdint.h>
#include <string.h>

#define INLINE static inline __attribute__((always_inline))

enum { LANES = 8, ROWS = 8 };

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
        memcpy(to, &x, (size_t)width * sizeof(float));
}

INLINE vec all(float x)
{
    return (vec){x, x, x, x, x, x, x, x};
}

INLINE vec either(ivec which, vec x, vec y)
{
    return (vec)(((ivec)x & which) | ((ivec)y & ~which));
}

/* 2^n e^r with |r| <= log(2) / 2, after Cephes: a few units of the last
 * place. A NaN stays one. */
INLINE vec exponential(vec x)
{
    x = either(x < all(-87.0f), all(-87.0f), x);
    x = either(x > all(87.0f), all(87.0f), x);
    const vec shifter = all(12582912.0f); /* 1.5 * 2^23: rounds */
    const vec shifted = x * all(1.44269504f) + shifter;
    const vec n = shifted - shifter;
    const vec r = x - n * all(0.693359375f) - n * all(-2.12194440e-4f);
    vec y = all(1.9875691500e-4f);
    y = y * r + all(1.3981999507e-3f);
    y = y * r + all(8.3334519073e-3f);
    y = y * r + all(4.1665795894e-2f);
    y = y * r + all(1.6666665459e-1f);
    y = y * r + all(5.0000001201e-1f);
    y = y * r * r + r + all(1.0f);
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

/* ---- GRU ---- */

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
        for (int i = 0; i < LANES; i++) {
            float total = b[row + i];
            for (int lane = 0; lane < LANES; lane++)
                total += sum[i][lane];
            y[row + i] = total;
        }
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

/* ---- Layers ---- */

/* The rows of items: item i begins at i * item, its row r at r * stride. They
 * may overlap, as the windows of a convolution do. */
typedef struct {
    const float *data;
    int64_t items, rows, item, stride, inputs;
} rows_t;

/* Up to ROWS rows times LANES * wide outputs. Packed weights: the biases of
 * the outputs, then their weights for one input after the other. */
INLINE void block(const float *const *from, int64_t inputs, const float *w,
                  const int high, const int wide, vec *sum)
{
    for (int i = 0; i < high; i++)
        for (int j = 0; j < wide; j++)
            sum[i * wide + j] = load(w + j * LANES);
    for (int64_t k = 0; k < inputs; k++) {
        w += wide * LANES;
        for (int i = 0; i < high; i++) {
            const vec x = all(from[i][k]);
            for (int j = 0; j < wide; j++)
                sum[i * wide + j] += load(w + j * LANES) * x;
        }
    }
}

/* Where `high` rows begin; those beyond the end are the first once more. The
 * next rows are asked for: so many short streams no processor foresees. */
INLINE int64_t begin(const rows_t *x, int64_t item, int64_t row,
                     const int high, const float **from)
{
    const int64_t left = x->rows - row < high ? x->rows - row : high;
    const float *const first = x->data + item * x->item + row * x->stride;
    for (int i = 0; i < high; i++)
        from[i] = first + (i < left ? i * x->stride : 0);
    const float *const next = first + (high - 1) * x->stride + x->inputs;
    for (int64_t k = 0; k < high * x->stride; k += 64 / sizeof(float))
        __builtin_prefetch(next + k);
    return left;
}

/* y = W x + b; y [items][rows][outputs],
 * w [chunks of LANES outputs][1 + inputs][LANES] */
void dsn_linear(const rows_t *x, const float *w, float *y, int64_t outputs)
{
    const int64_t chunk = (1 + x->inputs) * LANES;
    const float *from[ROWS];
    vec sum[ROWS];
    for (int64_t item = 0; item < x->items; item++)
        for (int64_t row = 0; row < x->rows; row += ROWS) {
            const int64_t left = begin(x, item, row, ROWS, from);
            const float *part = w;
            for (int64_t o = 0; o < outputs; o += LANES, part += chunk) {
                block(from, x->inputs, part, ROWS, 1, sum);
                float *to = y + (item * x->rows + row) * outputs + o;
                for (int64_t i = 0; i < left; i++, to += outputs)
                    store(to, sum[i], outputs - o);
            }
        }
}

/* y = (V x + a) * sigmoid(G x + c); y [items][rows][outputs],
 * w [chunks of LANES outputs][1 + inputs][values, gates][LANES] */
void dsn_gated_linear(const rows_t *x, const float *w, float *y,
                      int64_t outputs)
{
    enum { HIGH = ROWS / 2 };
    const int64_t chunk = (1 + x->inputs) * 2 * LANES;
    const float *from[HIGH];
    vec sum[ROWS];
    for (int64_t item = 0; item < x->items; item++)
        for (int64_t row = 0; row < x->rows; row += HIGH) {
            const int64_t left = begin(x, item, row, HIGH, from);
            const float *part = w;
            for (int64_t o = 0; o < outputs; o += LANES, part += chunk) {
                block(from, x->inputs, part, HIGH, 2, sum);
                float *to = y + (item * x->rows + row) * outputs + o;
                for (int64_t i = 0; i < left; i++, to += outputs)
                    store(to, sum[2 * i] * sigmoid(sum[2 * i + 1]),
                          outputs - o);
            }
        }
}

/* ---- A module, for Python's own ways to build and to find it ---- */

#define PY_SSIZE_T_CLEAN
#include <Python.h>

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "_kernels",
    .m_doc = "Called by ctypes, see speechbrain_dsn.native.",
    .m_size = 0,
};

PyMODINIT_FUNC PyInit__kernels(void)
{
    return PyModuleDef_Init(&definition);
}
