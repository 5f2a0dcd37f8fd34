/* The matcher. Text is compared as people read it: headers with encoded words decoded, bodies without transfer encoding and in UTF-8, both case-folded;
 * substrings, as RFC 3501 says. A body part is looked at when it is text or a message; others only by their headers. */
#include "search.h"

#include <string.h>

#include "base/clock.h"
#include "base/enc.h"
#include "emailid.h"
#include "imap/fold.h"

enum {
	TEXT_MAX = 64 << 20,		/* decoded text of one part that is looked at */
	FIELD_MAX = 1 << 20,
	COST_INDEX = 0, COST_HEAD = 1000, COST_TEXT = 1000000,
};

/* --- preparing --- */

static unsigned cost_of(const struct imap_search_key *k)
{
	unsigned cost = COST_INDEX;

	switch (k->op) {
	case IMAP_SEARCH_AND:
	case IMAP_SEARCH_OR:
		for (const struct imap_search_key *s = k->sub; s; s = s->next)
			cost += cost_of(s) + 1;
		return cost;
	case IMAP_SEARCH_HEADER:
	case IMAP_SEARCH_SENTBEFORE:
	case IMAP_SEARCH_SENTON:
	case IMAP_SEARCH_SENTSINCE:
		return COST_HEAD;
	case IMAP_SEARCH_BODY:
	case IMAP_SEARCH_TEXT:
	case IMAP_SEARCH_EMAILID:
		return COST_TEXT;
	default:
		return COST_INDEX;
	}
}

/* Insertion sort of the sub-keys by cost; lists are short, and long ones are mostly in order. Costs of subtrees are summed once per level. */
static void order(struct imap_search_key *k)
{
	struct imap_search_key *lists[3] = { NULL }, **tails[3] = { &lists[0], &lists[1], &lists[2] };

	for (struct imap_search_key *s = k->sub, *next; s; s = next) {
		const unsigned cost = cost_of(s);
		const int level = cost >= COST_TEXT ? 2 : cost >= COST_HEAD ? 1 : 0;

		next = s->next;
		s->next = NULL;
		*tails[level] = s;
		tails[level] = &s->next;
	}
	*tails[0] = lists[1] ? lists[1] : lists[2];
	if (lists[1])
		*tails[1] = lists[2];
	k->sub = lists[0];
}

struct preparing {
	struct arena *a;
	int (*resolve)(void *ctx, struct imap_seqset *set, bool uid, struct err *e);
	void *ctx;
	struct err *e;
	struct matcher *m;
};

static int fold_text(const struct preparing *p, struct str *s)
{
	struct buf b;

	if (!utf8_valid(*s))
		return err_set(p->e, ERR_INPUT, 0, "search text is not valid in its charset");
	buf_init(&b, s->n * 4 + 16);
	imap_fold(*s, &b);
	*s = arena_str(p->a, buf_view(&b));
	buf_fini(&b);
	return 0;
}

static int prepare(const struct preparing *p, struct imap_search_key *k)
{
	switch (k->op) {
	case IMAP_SEARCH_MODSEQ:
		p->m->uses_modseq = true;
		return 0;
	case IMAP_SEARCH_AND:
	case IMAP_SEARCH_OR:
		for (struct imap_search_key *s = k->sub; s; s = s->next) {
			s->fuzzy |= k->fuzzy;
			if (prepare(p, s) < 0)
				return -1;
		}
		order(k);
		return 0;
	case IMAP_SEARCH_SET:
	case IMAP_SEARCH_UID:
		if (k->set.saved)	/* a saved result is UIDs */
			k->op = IMAP_SEARCH_UID;
		p->m->uses_numbers |= k->op == IMAP_SEARCH_SET;
		return p->resolve(p->ctx, &k->set, k->op == IMAP_SEARCH_UID, p->e);
	case IMAP_SEARCH_HEADER:
	case IMAP_SEARCH_BODY:
	case IMAP_SEARCH_TEXT:
		return fold_text(p, &k->text);
	default:
		return 0;
	}
}

int matcher_init(struct matcher *m, struct arena *a, struct mbox *mbox, struct mbox_view *v, struct imap_search_key *keys,
		 int (*resolve)(void *ctx, struct imap_seqset *set, bool uid, struct err *e), void *ctx, struct err *e)
{
	const struct preparing p = { .a = a, .resolve = resolve, .ctx = ctx, .e = e, .m = m };

	*m = (struct matcher){ .mbox = mbox, .view = v, .keys = keys, .now = clock_wall() };
	buf_init(&m->scratch, TEXT_MAX);
	buf_init(&m->folded, 2 * (size_t)TEXT_MAX);
	return prepare(&p, keys);
}

void matcher_fini(struct matcher *m)
{
	msgfile_close(&m->file);
	buf_fini(&m->scratch);
	buf_fini(&m->folded);
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
	m->unreadable = msgfile_open(&m->file, m->view, m->seq, head_only, NULL) < 0;
	return !m->unreadable;
}

/* --- text --- */

enum { SCORE_FULL = 100, SCORE_LOOSE = 50 };

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

/* Is the folded needle of k in text (UTF-8, not folded)? */
static bool contains(struct matcher *m, struct str text, const struct imap_search_key *k)
{
	buf_reset(&m->folded);
	imap_fold(text, &m->folded);
	if (has(buf_view(&m->folded), k->text))
		return true;
	if (!k->fuzzy || !has_words(buf_view(&m->folded), k->text))
		return false;
	m->score = SCORE_LOOSE;
	return true;
}

/* A field's value without line ends and with encoded words decoded. */
static bool field_contains(struct matcher *m, struct str value, const struct imap_search_key *k)
{
	struct arena *a = arena_new(FIELD_MAX * 2);
	const struct str flat = mail_unfold(a, value.n > FIELD_MAX ? str_sub(value, 0, FIELD_MAX) : value);
	bool found;

	buf_reset(&m->scratch);
	mail_words_decode(flat, &m->scratch);
	found = contains(m, buf_view(&m->scratch), k);
	arena_free(&a);
	return found;
}

static bool head_contains(struct matcher *m, struct str head, struct str field, const struct imap_search_key *k)
{
	struct mail_field f;

	while (head.n && mail_field_next(&head, &f) == 0) {
		if (!field.n) {
			/* TEXT: names and values of all fields. */
			if (f.name.n && (contains(m, f.name, k) || field_contains(m, f.value, k)))
				return true;
		} else if (str_case_eq(str_trim(f.name), field)) {
			/* An empty string asks whether the field exists. */
			if (k->text.n == 0 || field_contains(m, f.value, k))
				return true;
		}
	}
	return false;
}

static struct str param(const struct mime_part *p, const char *name)
{
	for (const struct mail_param *q = p->params; q; q = q->next) {
		if (str_case_eq(q->name, str_c(name)))
			return q->value;
	}
	return (struct str){ 0 };
}

static bool plain_utf8(struct str charset)
{
	return charset.n == 0 || str_case_eq(charset, STR("us-ascii")) || str_case_eq(charset, STR("utf-8"));
}

static bool text_part_contains(struct matcher *m, const struct mime_part *p, const struct imap_search_key *k)
{
	const bool encoded = str_case_eq(p->encoding, STR("base64")) || str_case_eq(p->encoding, STR("quoted-printable"));
	const struct str charset = param(p, "charset");
	struct str text = p->body;
	struct buf utf8;
	bool found;

	if (encoded) {
		buf_reset(&m->scratch);
		mime_body_decode(p, &m->scratch);
		text = buf_view(&m->scratch);
	}
	if (plain_utf8(charset))
		return contains(m, text, k);
	buf_init(&utf8, TEXT_MAX);
	(void)!mail_charset_utf8(charset, text, &utf8);
	found = contains(m, buf_view(&utf8), k);
	buf_fini(&utf8);
	return found;
}

/* The part and what is below it. heads: also headers of the part (TEXT) or of embedded parts and messages. */
static bool part_contains(struct matcher *m, const struct mime_part *p, bool heads, const struct imap_search_key *k)
{
	if (heads && head_contains(m, p->head, STR(""), k))
		return true;
	for (const struct mime_part *q = p->children; q; q = q->next) {
		if (part_contains(m, q, true, k))
			return true;
	}
	return !p->children && (mime_type_is(p, "text", "*") || mime_type_is(p, "message", "*")) && text_part_contains(m, p, k);
}

static bool text_matches(struct matcher *m, const struct imap_search_key *k)
{
	if (k->text.n == 0)
		return true;
	if (!open_file(m, false))
		return false;
	return part_contains(m, msgfile_mime(&m->file), k->op == IMAP_SEARCH_TEXT, k);
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
	struct mail_field f;
	int64_t when;
	int zone;

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

	return emailid_get(m->view, m->seq, m->msg.internaldate, own, NULL) == 0 && str_eq(id, str_c(own));
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
		return day_matches(k->op, day_of(m->msg.internaldate), k->days);
	case IMAP_SEARCH_SENTBEFORE:
	case IMAP_SEARCH_SENTON:
	case IMAP_SEARCH_SENTSINCE:
		return sent_matches(m, k);
	case IMAP_SEARCH_HEADER:
		return open_file(m, true) && head_contains(m, msgfile_head(&m->file), k->field, k);
	case IMAP_SEARCH_MODSEQ:
		return m->msg.modseq >= k->number;
	case IMAP_SEARCH_OLDER:
		return m->msg.internaldate <= m->now - (int64_t)k->number;
	case IMAP_SEARCH_YOUNGER:
		return m->msg.internaldate >= m->now - (int64_t)k->number;
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

bool matcher_test(struct matcher *m, uint32_t seq)
{
	bool found;

	m->seq = seq;
	m->unreadable = m->opened = false;
	m->score = SCORE_FULL;
	if (mbox_view_is_expunged(m->view, seq) || mbox_msg_get(m->view, seq, &m->msg, NULL) < 0)
		return false;
	found = key_matches(m, m->keys);
	msgfile_close(&m->file);
	return found;
}
