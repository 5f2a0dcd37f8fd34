/* See taught.h. */
#include "spam/taught.h"

#include <string.h>

#include "base/num.h"

enum { FRAME = 8 };	/* length, checksum */
enum { SAYS_ITSELF, SAYS_PERSON, SAYS_PERSON_AGAIN };

struct str taught_format(struct arena *a, const struct taught *t)
{
	const size_t n = t->n_tokens < BAYES_TOKENS_MAX ? t->n_tokens : BAYES_TOKENS_MAX;
	unsigned char *p = arena_alloc(a, TAUGHT_HEAD + 8 * n);

	p[0] = (unsigned char)t->as;
	p[1] = !t->told ? SAYS_ITSELF : t->known ? SAYS_PERSON_AGAIN : SAYS_PERSON;
	memcpy(p + 2, t->digest, BAYES_DIGEST);
	for (size_t i = 0; i < n; i++)
		put_le64(p + TAUGHT_HEAD + 8 * i, t->tokens[i]);
	return str_n((const char *)p, TAUGHT_HEAD + 8 * n);
}

int taught_head(struct str record, struct taught *out, struct err *e)
{
	const unsigned char *p = (const unsigned char *)record.p;
	struct taught t = { 0 };

	if (record.n < TAUGHT_HEAD || record.n > TAUGHT_MAX || (record.n - TAUGHT_HEAD) % 8 != 0 || p[0] > BAYES_HAM || p[1] > SAYS_PERSON_AGAIN)
		return err_set(e, ERR_INPUT, 0, "not what is to be learned of a message");
	t.as = (enum bayes_class)p[0];
	t.told = p[1] != SAYS_ITSELF;
	t.known = p[1] == SAYS_PERSON_AGAIN;
	memcpy(t.digest, p + 2, BAYES_DIGEST);
	*out = t;
	return 0;
}

int taught_parse(struct arena *a, struct str record, struct taught *out, struct err *e)
{
	const unsigned char *p = (const unsigned char *)record.p;
	struct taught t;

	if (taught_head(record, &t, e) < 0)
		return -1;
	t.n_tokens = (record.n - TAUGHT_HEAD) / 8;
	t.tokens = ARENA_ARRAY(a, uint64_t, t.n_tokens + 1);
	for (size_t i = 0; i < t.n_tokens; i++)
		t.tokens[i] = get_le64(p + TAUGHT_HEAD + 8 * i);
	*out = t;
	return 0;
}

void taught_file_put(struct buf *b, struct str record)
{
	unsigned char frame[FRAME];

	put_le32(frame, (uint32_t)record.n);
	put_le32(frame + 4, crc32c(0, record.p, record.n));
	buf_mem(b, frame, sizeof(frame));
	buf_str(b, record);
}

int taught_file_next(struct str *rest, struct str *record_out)
{
	const unsigned char *p = (const unsigned char *)rest->p;

	if (rest->n == 0)
		return 1;
	if (rest->n < FRAME)
		return -1;
	const uint32_t n = get_le32(p);
	if (n > TAUGHT_MAX || n > rest->n - FRAME || get_le32(p + 4) != crc32c(0, rest->p + FRAME, n))
		return -1;
	*record_out = str_sub(*rest, FRAME, n);
	*rest = str_from(*rest, FRAME + n);
	return 0;
}
