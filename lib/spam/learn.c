/* Learning (bayes.h): the whole file in memory as two tables, changed, and written anew. One learner at a time: the new file's lock is taken at open. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/num.h"
#include "map/cdbfile.h"
#include "spam/bayes.h"
#include "spam/taught.h"

enum { ENTRY_KEY_MAX = 32, COUNTS_SIZE = 12, SEEN_SIZE = 5 };

struct token { uint64_t hash; struct bayes_counts c; bool used; };
struct seen { unsigned char digest[BAYES_DIGEST]; unsigned char as; uint32_t day; bool used; };

struct learner {
	char path[1024];
	size_t tokens_max;
	struct token *tokens;
	size_t n_tokens, cap_tokens;
	struct seen *seen;
	size_t n_seen, cap_seen;
	struct bayes_counts messages;
	uint32_t today;
	struct learn_stats stats;
	struct arena *a;
	struct cdbwrite *w;
};

/* --- open addressing, doubled when half full --- */

static struct token *token_slot(struct token *v, size_t cap, uint64_t hash)
{
	size_t i = (size_t)(hash & (cap - 1));
	while (v[i].used && v[i].hash != hash)
		i = (i + 1) & (cap - 1);
	return &v[i];
}

static struct token *token_of(struct learner *l, uint64_t hash)
{
	if (l->n_tokens * 2 >= l->cap_tokens) {
		size_t cap = l->cap_tokens == 0 ? 1 << 16 : l->cap_tokens * 2;
		struct token *v = xzalloc(cap * sizeof(*v));
		for (size_t i = 0; i < l->cap_tokens; i++)
			if (l->tokens[i].used)
				*token_slot(v, cap, l->tokens[i].hash) = l->tokens[i];
		free(l->tokens);
		l->tokens = v;
		l->cap_tokens = cap;
	}
	struct token *t = token_slot(l->tokens, l->cap_tokens, hash);
	if (!t->used) {
		*t = (struct token){ .hash = hash, .used = true };
		l->n_tokens++;
	}
	return t;
}

static struct seen *seen_slot(struct seen *v, size_t cap, const unsigned char *digest)
{
	size_t i = (size_t)(get_le64(digest) & (cap - 1));
	while (v[i].used && memcmp(v[i].digest, digest, BAYES_DIGEST) != 0)
		i = (i + 1) & (cap - 1);
	return &v[i];
}

static struct seen *seen_of(struct learner *l, const unsigned char *digest)
{
	if (l->n_seen * 2 >= l->cap_seen) {
		size_t cap = l->cap_seen == 0 ? 1 << 12 : l->cap_seen * 2;
		struct seen *v = xzalloc(cap * sizeof(*v));
		for (size_t i = 0; i < l->cap_seen; i++)
			if (l->seen[i].used)
				*seen_slot(v, cap, l->seen[i].digest) = l->seen[i];
		free(l->seen);
		l->seen = v;
		l->cap_seen = cap;
	}
	struct seen *s = seen_slot(l->seen, l->cap_seen, digest);
	if (!s->used) {
		*s = (struct seen){ .used = true };
		memcpy(s->digest, digest, BAYES_DIGEST);
		l->n_seen++;
	}
	return s;
}

/* --- the old file --- */

static int take_entry(void *ctx, struct str key, struct str value)
{
	struct learner *l = ctx;
	const unsigned char *k = (const unsigned char *)key.p, *v = (const unsigned char *)value.p;
	if (key.n == 8 && value.n == COUNTS_SIZE) {
		token_of(l, get_le64(k))->c = (struct bayes_counts){ get_le32(v), get_le32(v + 4), get_le32(v + 8) };
	} else if (key.n == 9 && value.n == COUNTS_SIZE && memcmp(k, "messages", 9) == 0) {
		l->messages = (struct bayes_counts){ get_le32(v), get_le32(v + 4), get_le32(v + 8) };
	} else if (key.n == BAYES_DIGEST && value.n == SEEN_SIZE) {
		struct seen *s = seen_of(l, k);
		s->as = v[0];
		s->day = get_le32(v + 1);
	}
	return 0;
}

int learner_open(const char *path, size_t tokens_max, struct learner **out, struct err *e)
{
	struct learner *l = xzalloc(sizeof(*l));
	struct cdbfile *old = NULL;
	snprintf(l->path, sizeof(l->path), "%s", path);
	l->tokens_max = tokens_max;
	l->today = (uint32_t)(time(NULL) / 86400);
	l->a = arena_new(0);
	token_of(l, 0)->used = true;
	int r = cdbwrite_begin(path, &l->w, e);
	if (r == 0)
		r = cdbfile_open(path, &old, e);
	if (r < 0 && l->w != NULL && e->code == ERR_NOENT) {
		err_clear(e);
		r = 0;
	} else if (r == 0) {
		r = cdbfile_each(old, take_entry, l, e);
	}
	cdbfile_close(&old);
	if (r < 0) {
		learner_abort(&l);
		return -1;
	}
	*out = l;
	return 0;
}

/* --- messages --- */

static void count(uint32_t *n, int by)
{
	if (by > 0)
		*n += 1;
	else if (*n > 0)
		*n -= 1;
}

static void apply(struct learner *l, const uint64_t *tokens, size_t n, enum bayes_class as, int by)
{
	for (size_t i = 0; i < n; i++) {
		struct token *t = token_of(l, tokens[i]);
		count(as == BAYES_SPAM ? &t->c.spam : &t->c.ham, by);
		t->c.day = l->today;
	}
	count(as == BAYES_SPAM ? &l->messages.spam : &l->messages.ham, by);
}

static bool knows(struct learner *l, const struct seen *known, enum bayes_class as)
{
	if (known->as != (unsigned char)as)
		return false;
	l->stats.known += as != BAYES_NONE;
	return true;
}

static void learn(struct learner *l, struct seen *known, const uint64_t *tokens, size_t n, enum bayes_class as)
{
	if (known->as != BAYES_NONE) {
		apply(l, tokens, n, (enum bayes_class)known->as, -1);
		l->stats.forgotten++;
	}
	if (as != BAYES_NONE)
		apply(l, tokens, n, as, 1);
	l->stats.spam += as == BAYES_SPAM;
	l->stats.ham += as == BAYES_HAM;
	known->as = (unsigned char)as;
	known->day = l->today;
}

void learner_message(struct learner *l, const struct spam *s, struct str message, enum bayes_class as)
{
	struct msg *m = ARENA_NEW(l->a, struct msg);
	unsigned char digest[BAYES_DIGEST];
	msg_init(m, l->a, spam_set(s), NULL, message, 0);
	bayes_digest(m, digest);
	struct seen *known = seen_of(l, digest);
	if (!knows(l, known, as)) {
		uint64_t *tokens;
		const size_t n = bayes_tokens(m, &tokens);
		learn(l, known, tokens, n, as);
	}
	arena_reset(l->a);
}

void learner_taught(struct learner *l, const struct taught *t)
{
	struct seen *known = seen_of(l, t->digest);
	if (!t->told && known->as != BAYES_NONE)
		l->stats.known++;
	else if (!knows(l, known, t->as))
		learn(l, known, t->tokens, t->n_tokens, t->as);
}

/* --- the new file --- */

static int put(struct learner *l, const void *key, size_t n, const struct bayes_counts *c, struct err *e)
{
	unsigned char v[COUNTS_SIZE];
	put_le32(v, c->spam);
	put_le32(v + 4, c->ham);
	put_le32(v + 8, c->day);
	return cdbwrite_add(l->w, str_n(key, n), str_n(v, sizeof(v)), e) < 0 ? -1 : 0;
}

static int by_day(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
	return x < y ? 1 : x > y ? -1 : 0;
}

/* The day of the max-th newest; 0: there are not more. Frees days. */
static uint32_t newest_of(uint32_t *days, size_t n, size_t max)
{
	qsort(days, n, sizeof(*days), by_day);
	const uint32_t day = n > max ? days[max - 1] : 0;
	free(days);
	return day;
}

/* Words seen once go first, then those not seen for the longest time: the day before which they go. Of one day not all may fit. */
static uint32_t expiry_day(const struct learner *l, unsigned least)
{
	uint32_t *days = xmalloc((l->n_tokens + 1) * sizeof(*days));
	size_t n = 0;
	for (size_t i = 0; i < l->cap_tokens; i++)
		if (l->tokens[i].used && l->tokens[i].c.spam + l->tokens[i].c.ham >= least)
			days[n++] = l->tokens[i].c.day;
	return newest_of(days, n, l->tokens_max);
}

static int put_tokens(struct learner *l, struct err *e)
{
	bool full = l->tokens_max > 0 && l->n_tokens > l->tokens_max;
	unsigned least = full ? 2 : 1;
	uint32_t day = full ? expiry_day(l, least) : 0;
	for (size_t i = 0; i < l->cap_tokens; i++) {
		const struct token *t = &l->tokens[i];
		unsigned char key[8];
		if (!t->used || t->c.spam + t->c.ham == 0)
			continue;
		if (t->c.spam + t->c.ham < least || t->c.day < day || (full && l->stats.tokens >= l->tokens_max)) {
			l->stats.expired++;
			continue;
		}
		put_le64(key, t->hash);
		if (put(l, key, sizeof(key), &t->c, e) < 0)
			return -1;
		l->stats.tokens++;
	}
	return 0;
}

/* Of messages no more are remembered than of words: the oldest go, and would be learned again. */
static uint32_t seen_expiry_day(const struct learner *l)
{
	if (l->tokens_max == 0 || l->n_seen <= l->tokens_max)
		return 0;
	uint32_t *days = xmalloc(l->n_seen * sizeof(*days));
	size_t n = 0;
	for (size_t i = 0; i < l->cap_seen; i++)
		if (l->seen[i].used && l->seen[i].as != BAYES_NONE)
			days[n++] = l->seen[i].day;
	return newest_of(days, n, l->tokens_max);
}

static int put_seen(struct learner *l, struct err *e)
{
	const uint32_t day = seen_expiry_day(l);
	size_t kept = 0;
	for (size_t i = 0; i < l->cap_seen; i++) {
		const struct seen *s = &l->seen[i];
		unsigned char v[SEEN_SIZE];
		if (!s->used || s->as == BAYES_NONE || s->day < day || (l->tokens_max > 0 && kept >= l->tokens_max))
			continue;
		kept++;
		v[0] = s->as;
		put_le32(v + 1, s->day);
		if (cdbwrite_add(l->w, str_n(s->digest, BAYES_DIGEST), str_n(v, sizeof(v)), e) < 0)
			return -1;
	}
	return 0;
}

static struct learn_stats stats_of(const struct learner *l)
{
	struct learn_stats s = l->stats;
	s.all_spam = l->messages.spam;
	s.all_ham = l->messages.ham;
	return s;
}

int learner_commit(struct learner **lp, struct learn_stats *out, struct err *e)
{
	struct learner *l = *lp;
	int r = put(l, "messages", 9, &l->messages, e);
	if (r == 0)
		r = put_tokens(l, e);
	if (r == 0)
		r = put_seen(l, e);
	if (r == 0)
		r = cdbwrite_commit(&l->w, 0640, (uid_t)-1, (gid_t)-1, e);
	*out = stats_of(l);
	learner_abort(lp);
	return r;
}

void learner_look(struct learner **lp, struct learn_stats *out)
{
	struct learner *l = *lp;
	for (size_t i = 0; i < l->cap_tokens; i++)
		l->stats.tokens += l->tokens[i].used && l->tokens[i].c.spam + l->tokens[i].c.ham > 0;
	*out = stats_of(l);
	learner_abort(lp);
}

void learner_abort(struct learner **lp)
{
	struct learner *l = *lp;
	if (l == NULL)
		return;
	if (l->w != NULL)
		cdbwrite_abort(&l->w);
	free(l->tokens);
	free(l->seen);
	arena_free(&l->a);
	free(l);
	*lp = NULL;
}
