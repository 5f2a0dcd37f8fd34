/* Message names made of content: SHA-256 over INTERNALDATE and the file, cut to 128 bits. RFC 8474 5.1: two messages of one name must agree in all that can
 * never change of a message, and these do. So the same bytes with the same date have the same name, whether COPY, APPEND or REPLACE brought them, also in the place of
 * a message that goes: a client that has its data need not fetch it again. */
#include "emailid.h"

#include <stdio.h>

#include "base/num.h"
#include "base/sha256.h"
#include "store/msgfile.h"

enum { HASH = 16 };

static int compute(struct mbox_view *v, uint32_t seq, int64_t internaldate, unsigned char hash[HASH], struct err *e)
{
	unsigned char date[8], whole[32];
	struct msgfile f;
	struct sha256 s;

	if (msgfile_open(&f, v, seq, false, e) < 0)
		return -1;
	put_le64(date, (uint64_t)internaldate);
	sha256_init(&s);
	sha256_add(&s, str_n(date, sizeof(date)));
	sha256_add(&s, f.text);
	sha256_end(&s, whole);
	msgfile_close(&f);
	memcpy(hash, whole, HASH);
	return 0;
}

int emailid_get(struct mbox_view *v, uint32_t seq, int64_t internaldate, char out[EMAILID_SIZE], struct err *e)
{
	struct arena *a = arena_new(0);
	unsigned char hash[HASH];
	struct str cached;
	int r = 0;

	if (mbox_cache_get(v, seq, MBOX_CACHE_EMAILID, a, &cached) == 0 && cached.n == HASH)
		memcpy(hash, cached.p, HASH);
	else if ((r = compute(v, seq, internaldate, hash, e)) == 0)
		mbox_cache_put(v, seq, MBOX_CACHE_EMAILID, str_n(hash, HASH));
	arena_free(&a);
	if (r < 0)
		return -1;
	out[0] = 'M';
	for (size_t i = 0; i < HASH; i++)
		snprintf(out + 1 + 2 * i, 3, "%02x", hash[i]);
	return 0;
}
