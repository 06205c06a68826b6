/* A GRU on integers: the reference kernel of speechbrain_dsn.
 *
 * C99, no library, no allocation, no floating point. It reads weights, biases
 * and tables as speechbrain_dsn.quantization.store writes them: unsigned codes
 * of 2 to 16 bits without gaps, least significant bit first. It is written to
 * be read and to be compared with, one unit after the other; a fast kernel
 * would unpack whole rows.
 *
 * Authors
 *  * The speechbrain_dsn developers 2026
 */

#include <stddef.h>
#include <stdint.h>

/* clip((sum of multiplier * operand + half) >> shift, low, high) */
typedef struct {
    int32_t multiplier[2];
    int32_t shift, low, high;
} rescale_t;

/* Packed codes; what a code stands for is code + low. */
typedef struct {
    const uint8_t *data;
    int32_t bits, low;
} packed_t;

/* Paths in the order ir, iz, in, hr, hz, hn; gates in the order r, z, n. */
typedef struct {
    int32_t groups, inputs, units;
    int32_t one;                /* the code of 1 at the update gate */
    packed_t weight[6];         /* [groups][units][inputs or units] */
    packed_t bias[6];           /* [groups][units] */
    packed_t table[3];          /* [2^bits of the sum] */
    int32_t table_start[3];     /* the sum that the first entry is for */
    rescale_t product[6], biased[6], sum[3];
    rescale_t reset, complement, fresh, kept, state;
    int32_t state_bits;
} gru_t;

static int32_t take(const uint8_t *data, size_t index, int bits)
{
    const size_t begin = index * (size_t)bits;
    const size_t first = begin >> 3, last = (begin + bits - 1) >> 3;
    uint32_t word = 0;
    for (size_t byte = first; byte <= last; byte++)
        word |= (uint32_t)data[byte] << (8 * (byte - first));
    return (int32_t)((word >> (begin & 7)) & ((1u << bits) - 1));
}

static void put(uint8_t *data, size_t index, int bits, int32_t code)
{
    const size_t begin = index * (size_t)bits;
    for (int bit = 0; bit < bits; bit++) {
        const size_t at = begin + bit;
        const uint8_t mask = (uint8_t)(1u << (at & 7));
        if ((code >> bit) & 1)
            data[at >> 3] |= mask;
        else
            data[at >> 3] &= (uint8_t)~mask;
    }
}

static int32_t get(const packed_t *from, size_t index)
{
    return take(from->data, index, from->bits) + from->low;
}

/* C leaves the right shift of a negative number to the compiler. */
static int64_t shifted(int64_t value, int32_t shift)
{
    return value >= 0 ? value >> shift : ~(~value >> shift);
}

static int32_t rescale(const rescale_t *by, int64_t first, int64_t second)
{
    const int64_t half = ((int64_t)1 << by->shift) >> 1;
    const int64_t total = by->multiplier[0] * first
                        + by->multiplier[1] * second;
    const int64_t result = shifted(total + half, by->shift);
    if (result < by->low)
        return by->low;
    return result > by->high ? by->high : (int32_t)result;
}

static int32_t look_up(const gru_t *gru, int gate, int32_t sum)
{
    return get(&gru->table[gate], (size_t)(sum - gru->table_start[gate]));
}

/* A row of a matrix times its source, and the bias. */
static int32_t biased(const gru_t *gru, int path, size_t unit,
                      const int32_t *x, const uint8_t *state, size_t group)
{
    const size_t length = path < 3 ? gru->inputs : gru->units;
    int64_t total = 0;
    for (size_t k = 0; k < length; k++) {
        const int64_t weight = get(&gru->weight[path], unit * length + k);
        const int64_t source = path < 3
            ? x[group * length + k]
            : take(state, group * length + k, gru->state_bits)
                  + gru->state.low;
        total += weight * source;
    }
    return rescale(&gru->biased[path],
                   rescale(&gru->product[path], total, 0),
                   get(&gru->bias[path], unit));
}

/* One step.
 *
 * x:   [groups * inputs] codes, around 0.
 * old: packed state, 2 to 16 bits per unit, code - low.
 * new: the same, written; it must not overlap with old.
 * y:   [groups * units] the new state as codes around 0.
 */
void gru_step(const gru_t *gru, const int32_t *x, const uint8_t *old,
              uint8_t *new, int32_t *y)
{
    const size_t units = (size_t)gru->groups * gru->units;
    for (size_t unit = 0; unit < units; unit++) {
        const size_t group = unit / gru->units;
        int32_t value[6];
        for (int path = 0; path < 6; path++)
            value[path] = biased(gru, path, unit, x, old, group);
        const int32_t r = look_up(
            gru, 0, rescale(&gru->sum[0], value[0], value[3]));
        const int32_t z = look_up(
            gru, 1, rescale(&gru->sum[1], value[1], value[4]));
        const int32_t reset = rescale(
            &gru->reset, (int64_t)r * value[5], 0);
        const int32_t n = look_up(
            gru, 2, rescale(&gru->sum[2], value[2], reset));
        const int32_t complement = rescale(
            &gru->complement, gru->one - z, 0);
        const int32_t h = take(old, unit, gru->state_bits) + gru->state.low;
        const int32_t fresh = rescale(
            &gru->fresh, (int64_t)complement * n, 0);
        const int32_t kept = rescale(&gru->kept, (int64_t)z * h, 0);
        y[unit] = rescale(&gru->state, fresh, kept);
        put(new, unit, gru->state_bits, y[unit] - gru->state.low);
    }
}
