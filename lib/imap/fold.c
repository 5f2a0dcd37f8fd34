/* Simple case folding by ranges. */
#include "imap/fold.h"

#include "base/attr.h"
#include "base/enc.h"

/* step 1: every code point of first..last moves by delta; step 2: every second one, beginning with first, moves by delta. */
static const struct range {
	uint32_t first, last;
	int32_t delta;
	uint32_t step;
} ranges[] = {
	{ 0x41, 0x5a, 32, 1 },		{ 0xc0, 0xd6, 32, 1 },	    { 0xd8, 0xde, 32, 1 },	{ 0x100, 0x12e, 1, 2 },
	{ 0x130, 0x130, -199, 1 },	{ 0x132, 0x136, 1, 2 },	    { 0x139, 0x147, 1, 2 },	{ 0x14a, 0x176, 1, 2 },
	{ 0x178, 0x178, -121, 1 },	{ 0x179, 0x17d, 1, 2 },	    { 0x17f, 0x17f, -268, 1 },	{ 0x1cd, 0x1db, 1, 2 },
	{ 0x1de, 0x1ee, 1, 2 },		{ 0x1f8, 0x21e, 1, 2 },	    { 0x222, 0x232, 1, 2 },	{ 0x386, 0x386, 38, 1 },
	{ 0x388, 0x38a, 37, 1 },	{ 0x38c, 0x38c, 64, 1 },    { 0x38e, 0x38f, 63, 1 },	{ 0x391, 0x3a1, 32, 1 },
	{ 0x3a3, 0x3ab, 32, 1 },	{ 0x3c2, 0x3c2, 1, 1 },	    { 0x400, 0x40f, 80, 1 },	{ 0x410, 0x42f, 32, 1 },
	{ 0x460, 0x480, 1, 2 },		{ 0x48a, 0x4be, 1, 2 },	    { 0x4c1, 0x4cd, 1, 2 },	{ 0x4d0, 0x52e, 1, 2 },
	{ 0x531, 0x556, 48, 1 },	{ 0x1e00, 0x1e94, 1, 2 },   { 0x1e9e, 0x1e9e, -7615, 1 }, { 0x1ea0, 0x1efe, 1, 2 },
	{ 0x212a, 0x212a, -8383, 1 },	{ 0x212b, 0x212b, -8262, 1 }, { 0xff21, 0xff3a, 32, 1 },
};

uint32_t imap_fold_char(uint32_t cp)
{
	size_t lo = 0, hi = ARRAY_LEN(ranges);

	while (lo < hi) {
		const size_t mid = lo + (hi - lo) / 2;
		const struct range *r = &ranges[mid];

		if (cp < r->first)
			hi = mid;
		else if (cp > r->last)
			lo = mid + 1;
		else
			return (cp - r->first) % r->step ? cp : (uint32_t)((int64_t)cp + r->delta);
	}
	return cp;
}

void imap_fold(struct str in, struct buf *out)
{
	while (in.n) {
		/* Runs of ASCII are most of all mail. */
		size_t run = 0;

		while (run < in.n && (unsigned char)in.p[run] < 0x80)
			run++;
		if (run) {
			char *room = buf_room(out, run);

			if (!room)
				return;
			for (size_t i = 0; i < run; i++)
				room[i] = ch_lower(in.p[i]);
			buf_added(out, run);
			in = str_from(in, run);
			continue;
		}
		utf8_put(out, imap_fold_char(utf8_next(&in)));
	}
}
