/* SORT: criteria, base subjects, a sort that can be interrupted. */
#include "imap/sort.h"

#include <string.h>

static const struct {
	const char *name;
	bool text;
} keys[] = {
#define SORT_KEY(id, name, text, source) { name, text },
#include "imap/sort.def"
#undef SORT_KEY
};

bool imap_sort_is_text(enum imap_sort_by by)
{
	return keys[by].text;
}

/* --- criteria --- */

static int get_criterion(struct imap_lex *l, struct imap_sort_criterion *out, struct err *e)
{
	struct str word;

	out->reverse = imap_try_word(l, "REVERSE");
	if ((out->reverse && imap_get_sp(l, e) < 0) || imap_get_atom(l, &word, e) < 0)
		return -1;
	for (unsigned i = 0; i < IMAP_SORT_MAX_; i++) {
		if (str_case_eq(word, str_c(keys[i].name))) {
			out->by = (enum imap_sort_by)i;
			return 0;
		}
	}
	return err_set(e, ERR_INPUT, 0, "unknown sort criterion");
}

int imap_get_sort(struct imap_lex *l, struct imap_sort_criterion out[IMAP_SORT_KEYS_MAX], size_t *n_out, struct err *e)
{
	size_t n = 0;

	if (imap_get_char(l, '(', e) < 0)
		return -1;
	do {
		while (imap_try(l, ' '))
			;
		if (n == IMAP_SORT_KEYS_MAX)
			return err_set(e, ERR_LIMIT, 0, "too many sort criteria");
		if (get_criterion(l, &out[n++], e) < 0)
			return -1;
	} while (imap_at(l, ' '));
	*n_out = n;
	return imap_get_char(l, ')', e);
}

/* --- base subject (RFC 5256 sections 2.1 and 5) --- */

static struct str blanks_skip(struct str s)
{
	while (s.n && ch_blank(s.p[0]))
		s = str_from(s, 1);
	return s;
}

/* subj-blob: "[" *BLOBCHAR "]" *WSP. False: there is none at the start. */
static bool blob_skip(struct str *s)
{
	if (!s->n || s->p[0] != '[')
		return false;
	for (size_t i = 1; i < s->n && s->p[i] != '['; i++) {
		if (s->p[i] == ']') {
			*s = blanks_skip(str_from(*s, i + 1));
			return true;
		}
	}
	return false;
}

/* subj-refwd: ("re" / ("fw" ["d"])) *WSP [subj-blob] ":" */
static bool refwd_skip(struct str *s)
{
	struct str t;

	if (str_case_starts(*s, STR("fwd")))
		t = str_from(*s, 3);
	else if (str_case_starts(*s, STR("re")) || str_case_starts(*s, STR("fw")))
		t = str_from(*s, 2);
	else
		return false;
	t = blanks_skip(t);
	(void)blob_skip(&t);
	if (!t.n || t.p[0] != ':')
		return false;
	*s = str_from(t, 1);
	return true;
}

/* subj-leader: (*subj-blob subj-refwd) / WSP */
static bool leader_skip(struct str *s, bool *reply)
{
	struct str t = *s;

	if (s->n && ch_blank(s->p[0])) {
		*s = blanks_skip(*s);
		return true;
	}
	while (blob_skip(&t))
		;
	if (!refwd_skip(&t))
		return false;
	*s = t;
	*reply = true;
	return true;
}

/* A blob goes when something is left without it. */
static bool lone_blob_skip(struct str *s)
{
	struct str t = *s;

	if (!blob_skip(&t) || t.n == 0)
		return false;
	*s = t;
	return true;
}

static struct str trailers_cut(struct str s, bool *reply)
{
	for (;;) {
		if (s.n && ch_blank(s.p[s.n - 1])) {
			s.n--;
		} else if (str_case_ends(s, STR("(fwd)"))) {
			s.n -= 5;
			*reply = true;
		} else {
			return s;
		}
	}
}

/* Blanks and line ends are one blank each run. */
static void flatten(struct str s, struct buf *out)
{
	for (size_t i = 0; i < s.n; i++) {
		if (!ch_space(s.p[i]))
			buf_ch(out, s.p[i]);
		else if (out->n == 0 || out->p[out->n - 1] != ' ')
			buf_ch(out, ' ');
	}
}

bool imap_base_subject(struct str subject, struct buf *out)
{
	bool reply = false;
	struct buf flat;
	struct str s;

	buf_init(&flat, IMAP_SUBJECT_MAX + 1);
	flatten(str_sub(subject, 0, IMAP_SUBJECT_MAX), &flat);
	s = buf_view(&flat);
	for (;;) {
		s = trailers_cut(s, &reply);
		while (leader_skip(&s, &reply) || lone_blob_skip(&s))
			;
		/* subj-fwd: "[fwd:" … "]", then once more. */
		if (!str_case_starts(s, STR("[fwd:")) || !str_ends(s, STR("]")))
			break;
		s = str_sub(s, 5, s.n - 6);
		reply = true;
	}
	buf_str(out, s);
	buf_fini(&flat);
	return reply;
}

/* --- sorting ---
 *
 * A number stands for each row's first value: itself, or of a text its first bytes. Rows are put in the order of these, in linear time (some 20 ns each);
 * what is alike then is merge-sorted by all values, run by run: all of it in pieces. */

enum { GATHER, PLACE, TAKE, RUNS };

static int value_cmp(bool text, const union imap_sort_value *a, const union imap_sort_value *b)
{
	if (text)
		return str_cmp(a->text, b->text);
	return a->number < b->number ? -1 : a->number > b->number;
}

int imap_sort_cmp(const struct imap_sort_criterion *by, size_t n_by, const union imap_sort_value *a, const union imap_sort_value *b)
{
	for (size_t i = 0; i < n_by; i++) {
		const int r = value_cmp(keys[by[i].by].text, &a[i], &b[i]);

		if (r)
			return by[i].reverse ? -r : r;
	}
	return 0;
}

static int row_cmp(const struct imap_sort *s, uint32_t a, uint32_t b)
{
	const int r = imap_sort_cmp(s->by, s->n_by, &s->values[a * s->n_by], &s->values[b * s->n_by]);

	return r ? r : a < b ? -1 : 1;
}

/* Rises with the value. */
static uint64_t first_key(const struct imap_sort *s, size_t row)
{
	const union imap_sort_value *const v = &s->values[row * s->n_by];
	uint64_t key = 0;

	if (keys[s->by[0].by].text) {
		for (size_t i = 0; i < sizeof(key); i++)
			key = key << 8 | (i < v->text.n ? (unsigned char)v->text.p[i] : 0);
	} else {
		key = (uint64_t)v->number ^ UINT64_C(1) << 63;
	}
	return s->by[0].reverse ? ~key : key;
}

int imap_sort_begin(struct imap_sort *s, struct arena *a, struct err *e)
{
	/* Of one number nothing is left to compare: equal rows stay in their order. */
	const bool one = s->n_by == 1 && !keys[s->by[0].by].text;
	struct radix_item *const room = ARENA_ARRAY(a, struct radix_item, s->n + 1);

	s->order = ARENA_ARRAY(a, uint32_t, s->n + 1);
	s->other = one ? NULL : ARENA_ARRAY(a, uint32_t, s->n + 1);
	s->first = ARENA_ARRAY(a, struct radix_item, s->n + 1);
	s->radix = ARENA_NEW(a, struct radix);
	if (!s->order || !s->first || !room || !s->radix || (!one && !s->other))
		return err_set(e, ERR_LIMIT, 0, "too many messages to sort");
	radix_begin(s->radix, s->first, room, s->n);
	s->phase = GATHER;
	s->at = 0;
	s->run_end = one ? s->n : 0;
	s->run_n = 0;
	return 0;
}

static bool gather(struct imap_sort *s, size_t *work)
{
	for (; *work > 0 && s->at < s->n; s->at++, (*work)--)
		s->first[s->at] = (struct radix_item){ .key = first_key(s, s->at), .value = s->at };
	return s->at == s->n;
}

static bool take_order(struct imap_sort *s, size_t *work)
{
	for (; *work > 0 && s->at < s->n; s->at++, (*work)--)
		s->order[s->at] = (uint32_t)s->first[s->at].value;
	return s->at == s->n;
}

/* The order of the first values. True: it is there. */
static bool place_step(struct imap_sort *s, size_t *work)
{
	if (s->phase == GATHER && gather(s, work))
		s->phase = PLACE;
	if (s->phase == PLACE && radix_step(s->radix, work)) {
		s->phase = TAKE;
		s->first = s->radix->v;
		s->at = 0;
	}
	if (s->phase == TAKE && take_order(s, work))
		s->phase = RUNS;
	return s->phase == RUNS;
}

/* The next rows that are alike so far. False: there are none. */
static bool run_next(struct imap_sort *s, size_t *work)
{
	size_t from = s->run_end, end = from;

	while (from < s->n && *work > 0) {
		for (end = from + 1; end < s->n && s->first[end].key == s->first[from].key; end++)
			;
		*work -= end - from < *work ? end - from : *work;
		if (end - from > 1)
			break;
		from = end;
	}
	s->run_end = end;
	s->run = from;
	s->run_n = end - from > 1 ? end - from : 0;
	s->from = s->order + s->run;
	s->to = s->other + s->run;
	s->width = 1;
	s->at = 0;
	s->merging = false;
	return s->run_n > 0;
}

/* The next two parts of the run, or the next width, or the end (false). */
static bool merge_next(struct imap_sort *s)
{
	if (s->at >= s->run_n) {
		uint32_t *const swap = s->from;

		s->from = s->to;
		s->to = swap;
		s->width *= 2;
		s->at = 0;
	}
	if (s->width >= s->run_n)
		return false;
	s->left = s->at;
	s->mid = s->right = s->run_n - s->at > s->width ? s->at + s->width : s->run_n;
	s->end = s->run_n - s->mid > s->width ? s->mid + s->width : s->run_n;
	s->merging = true;
	return true;
}

/* True: the run is sorted, and in order. */
static bool run_step(struct imap_sort *s, size_t *work)
{
	while (*work > 0) {
		if (!s->merging && !merge_next(s)) {
			if (s->from != s->order + s->run)
				memcpy(s->order + s->run, s->from, s->run_n * sizeof(*s->order));
			return true;
		}
		for (; *work > 0 && s->at < s->end; (*work)--) {
			const bool left = s->left < s->mid && (s->right == s->end || row_cmp(s, s->from[s->left], s->from[s->right]) < 0);

			s->to[s->at++] = s->from[left ? s->left++ : s->right++];
		}
		if (s->at == s->end)
			s->merging = false;
	}
	return false;
}

bool imap_sort_step(struct imap_sort *s, size_t work)
{
	if (!place_step(s, &work))
		return false;
	while (work > 0) {
		if (s->run_n == 0 && !run_next(s, &work)) {
			if (s->run_end >= s->n)
				return true;
			continue;
		}
		if (run_step(s, &work))
			s->run_n = 0;
	}
	return false;
}
