/* The matcher, its keys prepared (search_prepare.c). Text is compared as people read it (imap/text.h), by substrings, as RFC 3501 says. The store's index tells
 * which messages may hold one; those are read, and what is read is learned. */
#include "search_priv.h"

#include <string.h>

#include "base/clock.h"
#include "emailid.h"
#include "store/summary.h"

enum { WORDS_MAX = 4 };	/* of a fuzzy key that the index is asked about */

static bool piece(void *ctx, struct str folded);

int matcher_init(struct matcher *m, struct arena *a, struct mbox *mbox, struct mbox_view *v, struct imap_search_key *keys,
		 int (*resolve)(void *ctx, struct imap_seqset *set, bool uid, struct err *e), void *ctx, struct err *e)
{
	const struct matcher_preparing p = { .m = m, .resolve = resolve, .ctx = ctx, .e = e };

	*m = (struct matcher){ .mbox = mbox, .view = v, .keys = keys, .now = clock_wall(), .arena = a };
	imap_text_init(&m->text, piece, m);
	return matcher_prepare(&p);
}

void matcher_fini(struct matcher *m)
{
	msgfile_close(&m->file);
	imap_text_fini(&m->text);
	(void)mbox_search_flush_step(m->mbox);
	mbox_cache_flush(m->mbox);
}

/* --- the index --- */

/* The texts that a message must hold all of to match k. */
static size_t needles(const struct imap_search_key *k, struct str out[WORDS_MAX])
{
	struct str rest = k->text;
	size_t n = 0;

	out[0] = k->text;
	if (!k->fuzzy)
		return 1;
	while (n < WORDS_MAX && str_token(&rest, " \t\r\n", &out[n]))
		n++;
	return n;
}

/* Which messages may hold the key's text. */
static struct mbox_candidates *candidates(struct matcher *m, const struct imap_search_key *k)
{
	const enum mbox_search_kind kind = k->op == IMAP_SEARCH_HEADER && mbox_search_in_head(k->field) ? MBOX_SEARCH_HEAD : MBOX_SEARCH_TEXT;
	struct str words[WORDS_MAX];

	return mbox_search_ask_begin(m->view, kind, words, needles(k, words), m->arena);
}

/* Questions of one search. */
struct matcher_asked {
	struct matcher_asked *next;
	struct mbox_candidates *c;
	bool must;		/* what matches is among them */
};

static void ask(struct matcher *m, struct imap_search_key *k, bool all_must)
{
	for (struct imap_search_key *s = k->sub; s; s = s->next)
		ask(m, s, all_must && !k->negate && k->op != IMAP_SEARCH_OR);
	if (k->op != IMAP_SEARCH_HEADER && k->op != IMAP_SEARCH_BODY && k->op != IMAP_SEARCH_TEXT)
		return;
	if (!(k->own = candidates(m, k)))
		return;
	struct matcher_asked *const x = ARENA_NEW(m->arena, struct matcher_asked);

	*x = (struct matcher_asked){ .next = m->asking, .c = k->own, .must = all_must && !k->negate };
	m->asking = x;
}

static void answered(struct matcher *m, const struct matcher_asked *x)
{
	if (!x->must)
		return;
	if (m->may)
		mbox_search_and(m->may, x->c);
	else
		m->may = x->c;
}

bool matcher_ready(struct matcher *m)
{
	if (m->ready || (!m->asked && !mbox_search_load(m->view)))
		return m->ready;
	if (!m->asked)
		ask(m, m->keys, true);
	m->asked = true;
	if (m->asking && !mbox_search_ask_step(m->view, m->asking->c)) {
		answered(m, m->asking);
		m->asking = m->asking->next;
	}
	m->ready = !m->asking;
	return m->ready;
}

uint32_t matcher_next(const struct matcher *m, uint32_t seq)
{
	const uint32_t count = mbox_view_count(m->view);

	if (seq > count)
		return 0;
	return m->may ? mbox_search_next(m->may, m->view, seq) : seq;
}

static bool ruled_out(const struct matcher *m, const struct imap_search_key *k)
{
	return k->own && !mbox_search_may(k->own, m->view, m->seq);
}

/* --- the message's file --- */

static bool open_file(struct matcher *m, bool head_only)
{
	if (m->unreadable)
		return false;
	if (msgfile_is_open(&m->file) && (head_only || !m->file.head_only))
		return true;
	msgfile_close(&m->file);
	m->opened = true;
	m->unreadable = msgfile_read(&m->file, m->view, m->seq, head_only, NULL) < 0;
	return !m->unreadable;
}

/* --- text --- */

enum { SCORE_LOOSE = 50 };

static bool has(struct str text, struct str needle)
{
	return text.n >= needle.n && (needle.n == 0 || memmem(text.p, text.n, needle.p, needle.n));
}

/* All words of the needle, in any order (RFC 6203: how loosely is the server's choice). */
static bool has_words(struct str text, struct str needle)
{
	struct str word;
	bool any = false;

	while (str_token(&needle, " \t\r\n", &word)) {
		if (!has(text, word))
			return false;
		any = true;
	}
	return any;
}

/* A piece of the message's text: does it hold the key's? */
static bool piece(void *ctx, struct str folded)
{
	struct matcher *m = ctx;

	if (has(folded, m->key->text))
		return true;
	if (!m->key->fuzzy || !has_words(folded, m->key->text))
		return false;
	m->score = SCORE_LOOSE;
	return true;
}

static bool field_exists(struct str head, struct str field)
{
	struct mail_field f;

	while (head.n && mail_field_next(&head, &f) == 0) {
		if (str_case_eq(str_trim(f.name), field))
			return true;
	}
	return false;
}

/* An empty string asks whether the field exists. */
static bool head_matches(struct matcher *m, struct str head, const struct imap_search_key *k)
{
	if (!k->field.n)
		return imap_text_head(&m->text, head);
	return k->text.n ? imap_text_field(&m->text, head, k->field) : field_exists(head, k->field);
}

/* The same of the header's fields that the index knows. */
static bool learned_head(struct matcher *m, const struct imap_search_key *k, struct str fields)
{
	struct str words[WORDS_MAX];

	mbox_search_learn_head(m->view, m->seq, fields);
	return k->text.n == 0 || !mbox_search_in_head(k->field) || mbox_search_learned(m->view, m->seq, MBOX_SEARCH_HEAD, words, needles(k, words));
}

/* A message of which neither the index nor a summary tells anything: its header is read and learned. Only of one that matches is a summary made, which
 * will be asked for next. */
static bool new_head_matches(struct matcher *m, const struct imap_search_key *k)
{
	struct mbox_summary sum;
	struct msgfile f;

	if (m->unreadable || msgfile_read(&f, m->view, m->seq, true, NULL) < 0) {
		m->unreadable = true;
		return false;
	}
	const struct str head = msgfile_head(&f);
	const bool found = learned_head(m, k, head) && head_matches(m, head, k);
	/* Without an index the summary spares the next search the file. */
	if (found || !mbox_search_knows(m->view, m->seq, MBOX_SEARCH_HEAD))
		(void)!mbox_summary_from(m->view, m->seq, head, &sum, NULL);
	msgfile_close(&f);
	return found;
}

static bool header_matches(struct matcher *m, const struct imap_search_key *k)
{
	struct mbox_summary sum;

	if (ruled_out(m, k))
		return false;
	m->key = k;
	if (mbox_search_in_head(k->field) && !mbox_search_knows(m->view, m->seq, MBOX_SEARCH_HEAD) && mbox_summary_peek(m->view, m->seq, &sum) != 0)
		return new_head_matches(m, k);
	if (!summary_keeps(k->field) || mbox_summary_get(m->view, m->seq, &sum, NULL) < 0 || !sum.fields.p)
		return open_file(m, true) && head_matches(m, msgfile_head(&m->file), k);
	if (!mbox_search_knows(m->view, m->seq, MBOX_SEARCH_HEAD) && !learned_head(m, k, sum.fields))
		return false;
	return head_matches(m, sum.fields, k);
}

/* What is learned of a message rules most of them out, without a second walk over its text. */
static bool learned(struct matcher *m, const struct imap_search_key *k)
{
	struct str words[WORDS_MAX];

	mbox_search_learn(m->view, m->seq, &m->file);
	return mbox_search_learned(m->view, m->seq, MBOX_SEARCH_TEXT, words, needles(k, words));
}

static bool text_matches(struct matcher *m, const struct imap_search_key *k)
{
	if (k->text.n == 0)
		return true;
	if (ruled_out(m, k) || !open_file(m, false) || !learned(m, k))
		return false;
	m->key = k;
	return imap_text_part(&m->text, msgfile_mime(&m->file), k->op == IMAP_SEARCH_TEXT);
}

/* --- dates --- */

static int64_t day_of(int64_t when)
{
	return when >= 0 ? when / 86400 : -((-when + 86399) / 86400);
}

static bool day_matches(enum imap_search_op op, int64_t day, int64_t wanted)
{
	switch (op) {
	case IMAP_SEARCH_BEFORE:
	case IMAP_SEARCH_SENTBEFORE:
	case IMAP_SEARCH_SAVEDBEFORE:
		return day < wanted;
	case IMAP_SEARCH_ON:
	case IMAP_SEARCH_SENTON:
	case IMAP_SEARCH_SAVEDON:
		return day == wanted;
	default:
		return day >= wanted;
	}
}

/* By the Date field, disregarding time and zone: the day as it is written there (RFC 3501 6.4.4). */
static bool sent_matches(struct matcher *m, const struct imap_search_key *k)
{
	struct mbox_summary sum;
	struct mail_field f;
	int64_t when;
	int zone;

	if (mbox_summary_get(m->view, m->seq, &sum, NULL) == 0)
		return sum.sent != INT64_MIN && day_matches(k->op, day_of(sum.sent + sum.zone * 60), k->days);
	if (!open_file(m, true) || !mail_field_find(msgfile_head(&m->file), "Date", &f) || mail_date_parse(f.value, &when, &zone) < 0)
		return false;
	return day_matches(k->op, day_of(when + zone * 60), k->days);
}

/* --- flags --- */

static bool flag_matches(const struct matcher *m, enum imap_flag flag)
{
	static const uint32_t bits[IMAP_FLAG_MAX_] = {
		[IMAP_FLAG_ANSWERED] = MBOX_ANSWERED, [IMAP_FLAG_FLAGGED] = MBOX_FLAGGED, [IMAP_FLAG_DELETED] = MBOX_DELETED,
		[IMAP_FLAG_SEEN] = MBOX_SEEN,	      [IMAP_FLAG_DRAFT] = MBOX_DRAFT,
	};

	return flag < IMAP_FLAG_MAX_ && (m->msg.flags & bits[flag]);
}

static bool keyword_matches(const struct matcher *m, struct str name)
{
	size_t n;
	const char *const *names = mbox_keywords(m->mbox, &n);

	if (str_case_eq(name, STR("$Forwarded")) && (m->msg.flags & MBOX_FORWARDED))
		return true;
	for (size_t k = 0; k < n && k < STORE_KEYWORDS_MAX; k++) {
		if (str_case_eq(name, str_c(names[k])))
			return m->msg.keywords[k / 64] >> (k % 64) & 1;
	}
	return false;
}

static bool emailid_matches(struct matcher *m, struct str id)
{
	char own[EMAILID_SIZE];

	return emailid_get(m->view, m->seq, mbox_msg_date(m->view, m->seq), own, NULL) == 0 && str_eq(id, str_c(own));
}

/* --- evaluation --- */

static bool key_matches(struct matcher *m, const struct imap_search_key *k);

static bool op_matches(struct matcher *m, const struct imap_search_key *k)
{
	switch (k->op) {
	case IMAP_SEARCH_ALL:
		return true;
	case IMAP_SEARCH_AND:
	case IMAP_SEARCH_FUZZY:
	case IMAP_SEARCH_NOT:
		for (const struct imap_search_key *s = k->sub; s; s = s->next) {
			if (!key_matches(m, s))
				return false;
		}
		return true;
	case IMAP_SEARCH_OR:
		for (const struct imap_search_key *s = k->sub; s; s = s->next) {
			if (key_matches(m, s))
				return true;
		}
		return false;
	case IMAP_SEARCH_SET:
		return imap_seqset_has(&k->set, m->seq);
	case IMAP_SEARCH_UID:
		return imap_seqset_has(&k->set, m->msg.uid);
	case IMAP_SEARCH_FLAG:
		return flag_matches(m, k->flag);
	case IMAP_SEARCH_RECENT:
		return m->msg.flags & MBOX_RECENT;
	case IMAP_SEARCH_NEW:
		return (m->msg.flags & MBOX_RECENT) && !(m->msg.flags & MBOX_SEEN);
	case IMAP_SEARCH_KEYWORD:
		return keyword_matches(m, k->text);
	case IMAP_SEARCH_LARGER:
		return m->msg.size_crlf > k->number;
	case IMAP_SEARCH_SMALLER:
		return m->msg.size_crlf < k->number;
	case IMAP_SEARCH_BEFORE:
	case IMAP_SEARCH_ON:
	case IMAP_SEARCH_SINCE:
		return day_matches(k->op, day_of(mbox_msg_date(m->view, m->seq)), k->days);
	case IMAP_SEARCH_SENTBEFORE:
	case IMAP_SEARCH_SENTON:
	case IMAP_SEARCH_SENTSINCE:
		return sent_matches(m, k);
	case IMAP_SEARCH_HEADER:
		return header_matches(m, k);
	case IMAP_SEARCH_MODSEQ:
		return m->msg.modseq >= k->number;
	case IMAP_SEARCH_OLDER:
		return mbox_msg_date(m->view, m->seq) <= m->now - (int64_t)k->number;
	case IMAP_SEARCH_YOUNGER:
		return mbox_msg_date(m->view, m->seq) >= m->now - (int64_t)k->number;
	case IMAP_SEARCH_SAVEDBEFORE:
	case IMAP_SEARCH_SAVEDON:
	case IMAP_SEARCH_SAVEDSINCE:
		return day_matches(k->op, day_of(m->msg.savedate), k->days);
	case IMAP_SEARCH_EMAILID:
		return emailid_matches(m, k->text);
	case IMAP_SEARCH_THREADID:	/* no message has one */
		return false;
	case IMAP_SEARCH_BODY:
	case IMAP_SEARCH_TEXT:
		return text_matches(m, k);
	}
	return false;
}

static bool key_matches(struct matcher *m, const struct imap_search_key *k)
{
	return op_matches(m, k) != k->negate;
}

/* --- what is asked for next (store/ahead.h) --- */

enum { NEVER = 1 << 30 };

static unsigned asks(struct matcher *m, const struct imap_search_key *k);

/* Keys that all must match: those of texts come last, and are tested when the others did. Keys of which one must: all are asked. */
static unsigned asks_of(struct matcher *m, const struct imap_search_key *sub, bool all_must)
{
	unsigned what = 0;
	bool any = false;

	for (; sub; sub = sub->next) {
		const unsigned its = asks(m, sub);

		if (all_must && ((its & NEVER) || (what && (its & MBOX_AHEAD_TEXT))))
			return its & NEVER ? NEVER : what;
		any |= !(its & NEVER);
		what |= its & ~(unsigned)NEVER;
	}
	return any || all_must ? what : NEVER;
}

static unsigned asks_header(struct matcher *m, const struct imap_search_key *k)
{
	struct mbox_summary sum;

	if (!summary_keeps(k->field))
		return MBOX_AHEAD_HEAD;
	if (mbox_summary_cached(m->view, m->seq, &sum) == 0)
		return 0;
	return mbox_search_in_head(k->field) && !mbox_search_knows(m->view, m->seq, MBOX_SEARCH_HEAD) ? MBOX_AHEAD_HEAD : MBOX_AHEAD_SUMMARY;
}

/* Which MBOX_AHEAD_* the test of a key will ask for; NEVER: the key does not match, and no file is needed to know. */
static unsigned asks(struct matcher *m, const struct imap_search_key *k)
{
	struct mbox_summary sum;
	unsigned what;

	switch (k->op) {
	case IMAP_SEARCH_AND:
	case IMAP_SEARCH_FUZZY:
	case IMAP_SEARCH_NOT:
	case IMAP_SEARCH_OR:
		what = asks_of(m, k->sub, k->op != IMAP_SEARCH_OR);
		return k->negate && (what & NEVER) ? 0 : what;
	case IMAP_SEARCH_HEADER:
		return ruled_out(m, k) ? (k->negate ? 0 : NEVER) : asks_header(m, k);
	case IMAP_SEARCH_SENTBEFORE:
	case IMAP_SEARCH_SENTON:
	case IMAP_SEARCH_SENTSINCE:
		return mbox_summary_cached(m->view, m->seq, &sum) == 0 ? 0 : MBOX_AHEAD_SUMMARY;
	case IMAP_SEARCH_BODY:
	case IMAP_SEARCH_TEXT:
		if (k->text.n == 0 || ruled_out(m, k))
			return (k->text.n == 0) == k->negate ? NEVER : 0;
		return MBOX_AHEAD_TEXT;
	case IMAP_SEARCH_EMAILID:
		return 0;
	default:
		return key_matches(m, k) ? 0 : NEVER;
	}
}

unsigned matcher_ahead(void *ctx, uint32_t *seq)
{
	const struct matcher *const m = ctx;
	struct matcher other = { .mbox = m->mbox, .view = m->view, .now = m->now };

	*seq = matcher_next(m, *seq);
	other.seq = *seq;
	if (*seq == 0 || mbox_view_is_expunged(m->view, *seq) || mbox_msg_get(m->view, *seq, &other.msg, NULL) < 0)
		return 0;
	const unsigned what = asks(&other, m->keys);
	return what & NEVER ? 0 : what;
}

bool matcher_test(struct matcher *m, uint32_t seq)
{
	bool found;

	m->seq = seq;
	m->unreadable = m->opened = false;
	m->score = MATCH_SCORE_FULL;
	if (mbox_view_is_expunged(m->view, seq) || mbox_msg_get(m->view, seq, &m->msg, NULL) < 0)
		return false;
	found = key_matches(m, m->keys);
	if (m->ready)
		mbox_search_learn(m->view, seq, &m->file);
	msgfile_close(&m->file);
	return found;
}
