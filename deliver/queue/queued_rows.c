/* Whom the filter is asked about, where recipients have policies of their own: a row for each recipient, or for a crowd of one name, in a question that has room for all that
 * RCPT lets pass; and how many lists of attachments they have together. */
#include <string.h>

#include "deliver/queue/queued_trans.h"
#include "log/log.h"

enum {
	ROWS_MAX = IPC_STRS_MAX,
	ROWS_BYTES_MAX = 100000,	/* what a question holds, well below IPC_PACKET_MAX */
	ROW_BYTES = 8,			/* of a recipient, beside the text */
	COPIES_ROWS = 64,		/* kept for blind copies, which come when no RCPT can be refused any more */
	COPIES_BYTES = 8000,
	LIST_ROWS_MAX = 1000,		/* a recipient that leads to more is asked about as it was named */
	LIST_BYTES_MAX = 60000,
};

struct rows {
	struct ipc_strs to, before;
	size_t max, bytes;
	bool full;
};

static size_t row_bytes(const struct final *f)
{
	return ROW_BYTES + f->address.n + (str_case_eq(f->address, f->original) ? 0 : f->original.n);
}

/* The length of an address without what the client wrote behind the delimiter, which goes along into the addresses of an alias. */
static size_t own_length(const struct trans *t, const struct final *f)
{
	const ptrdiff_t at = str_rchr(f->address, '@'), asked = str_rchr(f->original, '@');
	const struct str local = str_sub(f->address, 0, at < 0 ? f->address.n : (size_t)at), named = str_sub(f->original, 0, asked < 0 ? f->original.n : (size_t)asked);

	for (size_t i = 1; i < named.n; i++)
		if (named.p[i] != '\0' && strchr(t->conf->recipient_delimiter, named.p[i]))
			return f->address.n - (str_case_ends(local, str_from(named, i)) ? named.n - i : 0);
	return f->address.n;
}

/* The end of those who come from the RCPT of the one at i. Whether they are asked about by their own addresses depends on nothing else that a client names, nor on
 * how it writes the name: it could make room short for the one whose policy it does not like. A content filter's copy names commands and files as their alias, and
 * so the whole alias; likewise an alias that names itself, which what the filter gives back would be expanded to once more. */
static size_t rcpt_end(const struct trans *t, size_t i, bool *named_out, size_t *bytes_out)
{
	const struct final *first = &t->finals[i];
	const size_t from = i;
	bool whole = false;
	size_t bytes = 0, own = 0;

	for (; i < t->n_finals && t->finals[i].rcpt == first->rcpt && str_eq(t->finals[i].original, first->original); i++) {
		const struct final *f = &t->finals[i];
		bytes += row_bytes(f);
		own += ROW_BYTES + own_length(t, f);
		whole |= !final_has_address(f) || (f != first && str_case_eq(f->address, f->original));
	}
	whole |= i - from > 1 && str_case_eq(first->address, first->original);
	*named_out = i - from > LIST_ROWS_MAX || own > LIST_BYTES_MAX || (whole && t->effects.filter.p);
	*bytes_out = *named_out ? ROW_BYTES + first->original.n : bytes;
	return i;
}

static bool has_policies(const struct trans *t)
{
	return t->conf->filter_enable && t->conf->filter_recipient_policies[0] != '\0';
}

bool batches_room(struct trans *t, size_t from)
{
	bool named;
	size_t bytes;

	if (from == t->n_finals || !has_policies(t))
		return true;
	const size_t n = rcpt_end(t, from, &named, &bytes) - from;
	if (t->n_rows + (named ? 1 : n) > ROWS_MAX - COPIES_ROWS || t->row_bytes + bytes > ROWS_BYTES_MAX - COPIES_BYTES)
		return false;
	t->n_rows += named ? 1 : n;
	t->row_bytes += bytes;
	return true;
}

static void row_add(struct rows *r, const struct final *f, bool named)
{
	const size_t bytes = named ? ROW_BYTES + f->original.n : row_bytes(f);

	if (r->to.n == r->max || r->bytes + bytes > ROWS_BYTES_MAX) {
		r->full = true;
		return;
	}
	r->to.v[r->to.n++] = named ? f->original : f->address;
	r->before.v[r->before.n++] = named || str_case_eq(f->address, f->original) ? STR("") : f->original;
	r->bytes += bytes;
}

struct ipc_strs batches_rows(struct trans *t, struct arena *a, struct ipc_strs *before_out)
{
	const size_t max = t->n_finals < ROWS_MAX ? t->n_finals : ROWS_MAX;
	struct rows r = { .to = { ARENA_ARRAY(a, struct str, max), 0 }, .before = { ARENA_ARRAY(a, struct str, max), 0 }, .max = max };
	const bool differ = has_policies(t);
	size_t bytes;
	bool named;

	if (r.to.v == NULL || r.before.v == NULL)
		return (struct ipc_strs){ 0 };
	for (size_t i = 0, end; i < t->n_finals; i = end) {
		end = rcpt_end(t, i, &named, &bytes);
		for (size_t k = i; k < end; k++) {
			struct final *f = &t->finals[k];
			if (k == i || !named)
				row_add(&r, f, named);
			f->row = r.to.n - 1;
			f->named = named;
		}
	}
	if (r.full && differ)
		return (struct ipc_strs){ 0 };
	*before_out = differ ? r.before : (struct ipc_strs){ 0 };
	return r.to;
}

/* --- lists of attachments --- */

/* filterd cannot be asked now, or knows nothing: it says so when it has the message. */
static void on_lists(void *ctx, uint64_t lists)
{
	struct trans *t = ctx;
	const bool full = lists > FILTER_LISTS_MAX;

	t->ask = NULL;
	if (lists > 0 && !full) {
		t->n_lists = lists;
		t->list_rows = t->n_rows;
	}
	if (full && t->before == 0)
		log_warning("%s: those to whom <%.*s> leads have more than %d lists of attachments (banned_rule): they can get no message together",
			    t->qid, STR_ARG(t->asked), FILTER_LISTS_MAX);
	t->listed(t, full);
}

bool batches_lists(struct trans *t, listed_fn *fn)
{
	if (t->list_rows > t->n_rows)
		t->list_rows = t->n_rows;	/* some who were counted were refused afterwards */
	if (!has_policies(t) || t->n_lists + (t->n_rows - t->list_rows) <= FILTER_LISTS_MAX)
		return false;
	struct ipc_filter_LISTS m = { .user = t->conn->has_user ? str_c(t->conn->user) : STR(""), .own = conn_trusted(t->conn) || t->conn->mynetworks };
	m.recipients = batches_rows(t, t->asking, &m.before);
	t->listed = fn;
	t->ask = lists_ask(t->q, &m, on_lists, t);
	return true;
}
