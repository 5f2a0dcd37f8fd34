/* Kept answers. An entry is valid as long as the folder's stamp (mbox_view_stamp; mbox_view_members where flags do not matter) is what it was when the answer
 * was begun: two views of the same stamp number the same messages the same way. */
#include "answers.h"

#include <stdlib.h>
#include <string.h>

enum { PIECE = 32768 };

struct answer_kept {
	unsigned refs;
	bool lasting;
	uint64_t stamp;
	char *reader;		/* whose \Seen they may speak of; NULL: the owner's. Owned */
	struct str key;		/* owned */
	struct buf text;
};

void answer_put(struct answer_kept **kp)
{
	struct answer_kept *const k = *kp;

	*kp = NULL;
	if (k == NULL || --k->refs > 0)
		return;
	free((void *)(uintptr_t)k->key.p);
	buf_fini(&k->text);
	free(k->reader);
	free(k);
}

void answers_free(struct folder *f)
{
	for (size_t i = 0; i < ARRAY_LEN(f->answers); i++)
		answer_put(&f->answers[i]);
}

static uint64_t stamp_of(const struct client *c, bool lasting)
{
	return lasting ? mbox_view_members(c->view) : mbox_view_stamp(c->view);
}

static bool is_of(const struct answer_kept *k, const struct client *c)
{
	const char *const reader = client_reader(c);

	return k->lasting || (k->reader && reader ? strcmp(k->reader, reader) == 0 : k->reader == reader);
}

/* Those that no longer hold are dropped on the way. */
struct answer_kept *answer_get(struct client *c, struct str key)
{
	struct folder *const f = c->folder;

	for (size_t i = 0; i < ARRAY_LEN(f->answers); i++) {
		struct answer_kept *const k = f->answers[i];
		const uint64_t stamp = k ? stamp_of(c, k->lasting) : 0;

		if (stamp == 0)		/* none, or this view is behind */
			continue;
		if (k->stamp != stamp) {
			answer_put(&f->answers[i]);
		} else if (str_eq(k->key, key) && is_of(k, c)) {
			k->refs++;
			return k;
		}
	}
	return NULL;
}

static struct str owned(struct str s)
{
	return str_n(xstrndup(s.p, s.n), s.n);
}

/* In a free place, else in the eldest's: the first. */
static void keep(const struct client *c, struct answer_making *m)
{
	struct answer_kept *const k = xzalloc(sizeof(*k));
	const char *const reader = client_reader(c);
	struct folder *const f = c->folder;
	size_t i = 0;

	*k = (struct answer_kept){ .refs = 1, .lasting = m->lasting, .stamp = m->stamp, .key = owned(m->key), .text = m->text,
		.reader = reader ? xstrdup(reader) : NULL };
	while (i < ARRAY_LEN(f->answers) && f->answers[i])
		i++;
	if (i == ARRAY_LEN(f->answers)) {
		answer_put(&f->answers[0]);
		memmove(f->answers, f->answers + 1, (--i) * sizeof(f->answers[0]));
	}
	buf_init(&m->text, ANSWER_BYTES_MAX);
	f->answers[i] = k;
}

void answer_making_begin(struct client *c, struct answer_making *m, struct str key, bool lasting)
{
	*m = (struct answer_making){ .key = key, .lasting = lasting, .stamp = stamp_of(c, lasting) };
	buf_init(&m->text, ANSWER_BYTES_MAX);
}

void answer_making_fini(struct answer_making *m)
{
	buf_fini(&m->text);
}

enum cmd_result answer_making_step(struct client *c, struct answer_making *m, enum cmd_result (*step)(struct client *c, struct err *e), struct err *e)
{
	const struct buf *const out = resp(c);	/* what was full has been flushed: nothing is before the step ends */
	const size_t before = out->n;
	const enum cmd_result r = step(c, e);

	if (!m->stamp)
		return r;
	buf_mem(&m->text, out->p + before, out->n - before);
	if (buf_failed(&m->text))
		m->stamp = 0;
	else if (r == CMD_OK && c->folder && stamp_of(c, m->lasting) == m->stamp)
		keep(c, m);
	return r;
}

bool answer_replay(struct client *c, const struct answer_kept *k, size_t *at)
{
	const size_t n = k->text.n - *at < PIECE ? k->text.n - *at : PIECE;

	buf_str(resp(c), str_sub(buf_view(&k->text), *at, n));
	*at += n;
	return *at == k->text.n;
}
