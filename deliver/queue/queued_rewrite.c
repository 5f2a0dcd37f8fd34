/* The last look at a complete message's addresses before milters and filterd get it:
 * incomplete ones are completed, canonical maps and masquerading applied (resolve has the maps), and
 * who gets blind copies is added to the recipients. The header is rewritten for our own clients only (local_header_rewrite_clients), and never in the file: by
 * edits of the envelope. A field that is not understood, or in which nothing changes, stays byte for byte.
 */
#include <stdlib.h>
#include <string.h>

#include "deliver/queue/header_addresses.h"
#include "deliver/queue/queued_trans.h"
#include "log/log.h"
#include "smtp/dsn.h"

struct rewriting {
	struct trans *t;
	struct header_addresses head;
	struct ipc_strs bcc;
	size_t next_bcc;
};

/* --- for whom --- */

static bool client_in(const struct conn_entry *c, const char *network)
{
	struct cidr net;
	struct err e = { 0 };

	return c->addr_known && cidr_parse(str_c(network), &net, &e) == 0 && cidr_match(&net, 1, c->addr);
}

static bool is_own_client(const struct trans *t)
{
	const struct conn_entry *c = t->conn;
	const struct conf_list l = t->conf->local_header_rewrite_clients;

	if (c->local)
		return true;
	for (size_t i = 0; i < l.n; i++) {
		const char *word = l.v[i];
		if (strcmp(word, "permit_inet_interfaces") == 0 ? own_has(&t->q->own, c->addr_known ? c->addr : NULL)
		    : strcmp(word, "permit_mynetworks") == 0	? c->mynetworks
		    : strcmp(word, "permit_sasl_authenticated") == 0 ? c->has_user
								       : client_in(c, word))
			return true;
	}
	return false;
}

/* What completes the addresses in this message's header. False: the header is left alone. */
static bool completion(const struct trans *t, struct header_completion *out)
{
	const struct conf *c = t->conf;

	*out = (struct header_completion){ 0 };
	if (is_own_client(t)) {
		out->domain = c->append_at_myorigin ? str_c(c->myorigin) : STR("");
		out->parent = c->append_dot_mydomain ? str_c(c->mydomain) : STR("");
		return true;
	}
	out->domain = str_c(c->remote_header_rewrite_domain);
	return out->domain.n > 0;
}

static bool has_maps(const struct conf *c)
{
	return c->canonical_maps.n || c->sender_canonical_maps.n || c->recipient_canonical_maps.n || c->masquerade_domains.n || c->always_bcc[0] || c->sender_bcc_maps.n ||
	       c->recipient_bcc_maps.n;
}

/* --- what became of it --- */

static int add_edits(struct trans *t, const struct header_addresses *h, struct err *e)
{
	struct str *edits = ARENA_ARRAY(t->arena, struct str, t->n_edits + h->n_fields + 1);
	size_t n = 0;

	if (edits == NULL)
		return err_set(e, ERR_LIMIT, 0, "too many header edits");
	/* Ours come first: they count fields as the message has them. */
	n = header_addresses_edits(h, t->arena, edits, SPOOL_EDITS_MAX - t->n_edits);
	if (t->n_edits > 0)
		memcpy(edits + n, t->edits, t->n_edits * sizeof(*edits));
	t->edits = edits;
	t->n_edits += n;
	return 0;
}

static void finish(struct rewriting *w)
{
	struct trans *t = w->t;
	struct err e = { 0 };

	if (add_edits(t, &w->head, &e) < 0) {
		log_error("%s: %s", t->qid, e.text);
		trans_answer(t, 451, "4.3.0", STR("Error: queue file write error"));
		return;
	}
	commit_message(t);
}

static void next_bcc(struct rewriting *w);

static void on_bcc(void *ctx, const struct ipc_resolve_RESULT *r)
{
	struct rewriting *w = ctx;
	struct trans *t = w->t;

	t->ask = NULL;
	if (r == NULL || str_eq(r->class, STR("error"))) {
		trans_answer(t, 451, "4.3.0", STR("Error: the address of a blind copy could not be looked up"));
		return;
	}
	if (r->kinds.n == 0)
		log_warning("%s: blind copy to <%.*s>: no such recipient", t->qid, STR_ARG(t->asked));
	for (size_t i = 0; i < r->kinds.n; i++) {
		const struct final f = {
			.kind = r->kinds.v[i], .address = r->addresses.v[i], .user = r->users.v[i], .extension = r->extensions.v[i], .original = t->asked, .rcpt = SIZE_MAX,
			.notify = SMTP_NOTIFY_NEVER, .sender = t->sender.n > 0 ? resolved_owner(r, i) : STR(""),
		};
		if (trans_final(t, &f) < 0)
			log_warning("%s: blind copy to <%.*s>: too many recipients", t->qid, STR_ARG(t->asked));
	}
	next_bcc(w);
}

static void next_bcc(struct rewriting *w)
{
	struct trans *t = w->t;

	if (w->next_bcc == w->bcc.n) {
		finish(w);
		return;
	}
	t->asked = w->bcc.v[w->next_bcc++];
	t->ask = resolve_ask(t->q, t->asked, on_bcc, w);
}

static void on_rewritten(void *ctx, const struct ipc_resolve_REWRITTEN *r)
{
	struct rewriting *w = ctx;
	struct trans *t = w->t;

	t->ask = NULL;
	if (r == NULL || r->code != 0 || r->addresses.n != w->head.n) {
		trans_answer(t, 451, "4.3.0", STR("Error: temporary lookup failure in address rewriting"));
		return;
	}
	if (t->sender.n > 0 && r->sender.n > 0)
		t->sender = arena_str(t->arena, r->sender);
	for (size_t i = 0; i < w->head.n; i++)
		header_address_set(&w->head, i, arena_str(t->arena, r->addresses.v[i]));
	w->bcc.v = ARENA_ARRAY(t->arena, struct str, r->bcc.n + 1);
	for (; w->bcc.n < r->bcc.n; w->bcc.n++)
		w->bcc.v[w->bcc.n] = arena_str(t->arena, r->bcc.v[w->bcc.n]);
	next_bcc(w);
}

/* --- the question --- */

/* The recipients as the client gave them, each once. */
static struct ipc_strs originals(struct trans *t)
{
	struct ipc_strs l = { ARENA_ARRAY(t->arena, struct str, t->n_finals + 1), 0 };
	size_t bytes = 0;

	for (size_t i = 0; i < t->n_finals && l.n < HEADER_ADDRESSES_MAX && bytes < HEADER_ADDRESS_BYTES_MAX; i++)
		if (l.n == 0 || !str_eq(l.v[l.n - 1], t->finals[i].original)) {
			l.v[l.n++] = t->finals[i].original;
			bytes += t->finals[i].original.n;
		}
	return l;
}

void rewrite_message(struct trans *t, struct str head)
{
	struct header_completion c;
	const bool header = completion(t, &c), maps = has_maps(t->conf);
	struct rewriting *w = header || maps ? ARENA_NEW(t->arena, struct rewriting) : NULL;

	if (w == NULL) {
		commit_message(t);
		return;
	}
	w->t = t;
	if (header)
		header_addresses_find(t->arena, head, &c, &w->head);
	if (!maps) {
		finish(w);
		return;
	}
	const struct ipc_resolve_REWRITE m = {
		.sender = t->sender, .envelope = 1, .recipients = t->conf->recipient_bcc_maps.n ? originals(t) : (struct ipc_strs){ 0 },
		.addresses = { w->head.addresses, w->head.n }, .classes = { w->head.classes, w->head.n },
	};
	t->ask = rewrite_ask(t->q, &m, on_rewritten, w);
}
