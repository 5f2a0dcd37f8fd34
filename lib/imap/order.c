/* Rows by numbers: a stable radix sort, of the last criterion first. A row's place in the array is 8 bytes, half of its number and its index, so each number is
 * sorted by its low half, and by the high one only where it is not the same in all rows; for dates and ranks it is. lib/base/radix.c sorts items of 16 bytes by numbers
 * that lie in memory already: with it a large mailbox touched twice as many fresh pages, and each number was written and read once more. */
#include "imap/order.h"

#include <string.h>

int imap_order_begin(struct imap_order *o, struct arena *a, struct err *e)
{
	if (o->v == NULL || o->n > o->cap) {
		o->v = ARENA_ARRAY(a, uint64_t, o->n + 1);
		o->other = ARENA_ARRAY(a, uint64_t, o->n + 1);
		o->count = ARENA_ARRAY(a, uint32_t, IMAP_ORDER_DIGITS * IMAP_ORDER_VALUES);
		o->cap = o->n;
	}
	if (!o->v || !o->other || !o->count)
		return err_set(e, ERR_LIMIT, 0, "too many messages to sort");
	o->k = o->n_by;
	o->at = 0;
	o->digit = 0;
	o->begun = o->gathered = o->high = o->both = false;
	return 0;
}

/* Rises with the number, or falls. */
static uint64_t key_of(const struct imap_order *o, uint32_t row)
{
	const uint64_t key = (uint64_t)o->number(o->ctx, row, o->k - 1) ^ UINT64_C(1) << 63;

	return o->by[o->k - 1].reverse ? ~key : key;
}

static size_t piece_end(const struct imap_order *o, size_t *work)
{
	const size_t n = o->n - o->at < *work ? o->n - o->at : *work;

	*work -= n;
	return o->at + n;
}

/* Halves of the numbers to their rows, which stay where they are. True: all have one. */
static bool gather(struct imap_order *o, size_t *work)
{
	const size_t end = piece_end(o, work);

	if (o->at == 0 && end > 0) {
		memset(o->count, 0, IMAP_ORDER_DIGITS * IMAP_ORDER_VALUES * sizeof(*o->count));
		o->first = key_of(o, o->begun ? (uint32_t)o->v[0] : 0);
	}
	for (size_t i = o->at; i < end; i++) {
		const uint32_t row = o->begun ? (uint32_t)o->v[i] : (uint32_t)i;
		const uint64_t key = key_of(o, row);
		const uint32_t half = (uint32_t)(o->high ? key >> 32 : key);

		o->both |= (key ^ o->first) >> 32 != 0;
		o->v[i] = (uint64_t)half << 32 | row;
		for (unsigned d = 0; d < IMAP_ORDER_DIGITS; d++)
			o->count[d * IMAP_ORDER_VALUES + (half >> 8 * d & 0xff)]++;
	}
	o->at = end;
	return end == o->n;
}

static void counts_to_places(uint32_t *count)
{
	uint32_t sum = 0;

	for (unsigned b = 0; b < IMAP_ORDER_VALUES; b++) {
		const uint32_t n = count[b];

		count[b] = sum;
		sum += n;
	}
}

/* By one byte of the halves. True: that is done, or they all have the same. */
static bool move(struct imap_order *o, size_t *work)
{
	const unsigned shift = 32 + 8 * o->digit;
	uint32_t *const place = o->count + o->digit * IMAP_ORDER_VALUES;

	if (o->at == 0 && (o->n == 0 || place[o->v[0] >> shift & 0xff] == o->n))
		return true;
	if (*work == 0)
		return false;
	if (o->at == 0)
		counts_to_places(place);
	const size_t end = piece_end(o, work);

	for (size_t i = o->at; i < end; i++)
		o->other[place[o->v[i] >> shift & 0xff]++] = o->v[i];
	o->at = end;
	if (end < o->n)
		return false;
	uint64_t *const swap = o->v;

	o->v = o->other;
	o->other = swap;
	o->at = 0;
	return true;
}

/* The other half of the numbers, or the criterion before. */
static void next_halves(struct imap_order *o)
{
	o->high = o->both && !o->high;
	if (!o->high) {
		o->both = false;
		o->k--;
	}
	o->digit = 0;
	o->begun = true;
	o->gathered = false;
}

bool imap_order_step(struct imap_order *o, size_t work)
{
	while (o->k > 0) {
		if (!o->gathered) {
			if (!gather(o, &work))
				return false;
			o->gathered = true;
			o->at = 0;
		}
		for (; o->digit < IMAP_ORDER_DIGITS; o->digit++)
			if (!move(o, &work))
				return false;
		next_halves(o);
	}
	return true;
}
