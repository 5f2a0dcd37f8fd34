/* See sign.h. */
#include "sign.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "authres/arc.h"
#include "authres/dkim_table.h"
#include "authres/idn.h"
#include "base/clock.h"
#include "ipc/filter.h"
#include "log/log.h"
#include "mail/edit.h"
#include "os/os.h"

enum { HEAD_MAX = 16 << 20 };

/* --- the table, read again when it was replaced --- */

static struct {
	struct arena *a;
	struct dkim_table table;
	struct timespec changed;
	ino_t inode;
} known;

static int table_load(const char *path, struct err *e)
{
	struct arena *a = arena_new(0);
	struct dkim_table t;
	struct buf text;
	buf_init(&text, DKIM_TABLE_BYTES_MAX);
	int r = file_read(path, DKIM_TABLE_BYTES_MAX, &text, e);
	if (r == 0 && dkim_table_parse(a, buf_view(&text), &t, e) < 0)
		r = err_wrap(e, "%s", path);
	buf_fini(&text);
	if (r < 0) {
		arena_free(&a);
		return -1;
	}
	arena_free(&known.a);
	known.a = a;
	known.table = t;
	return 0;
}

static int table_get(const struct conf *conf, const struct dkim_table **out, struct err *e)
{
	char path[1200];
	struct stat st;
	snprintf(path, sizeof(path), "%s/" DKIM_TABLE_FILE, conf->state_directory);
	*out = &known.table;
	if (stat(path, &st) < 0) {
		known.table.n = 0;
		known.inode = 0;
		return 0;	/* nobody made a key */
	}
	if (st.st_ino == known.inode && st.st_mtim.tv_sec == known.changed.tv_sec && st.st_mtim.tv_nsec == known.changed.tv_nsec)
		return 0;
	if (table_load(path, e) < 0)
		return -1;
	known.inode = st.st_ino;
	known.changed = st.st_mtim;
	return 0;
}

/* --- the message as it will leave --- */

struct leaving {
	struct str head, body;
	struct mail_fields fields;
};

static int apply_edits(struct scan *s, struct leaving *l, struct err *e)
{
	const struct ipc_strs before = s->facts->edits;
	struct str *edits = ARENA_ARRAY(s->a, struct str, before.n + s->verdict.n_edits + 1);
	size_t head_n = 0, body_at = s->message.n;
	struct buf out;
	if (mail_head_find(s->message, true, &head_n, &body_at) != 0)
		head_n = body_at = s->message.n;
	for (size_t i = 0; i < before.n; i++)
		edits[i] = before.v[i];
	for (size_t i = 0; i < s->verdict.n_edits; i++)
		edits[before.n + i] = s->verdict.edits[i];
	buf_init(&out, HEAD_MAX);
	const int r = mail_edit_apply(str_sub(s->message, 0, head_n), edits, before.n + s->verdict.n_edits, &out, e);
	if (r == 0)
		*l = (struct leaving){ .head = arena_str(s->a, buf_view(&out)), .body = str_from(s->message, body_at) };
	buf_fini(&out);
	if (r == 0)
		l->fields = mail_fields_of(s->a, l->head);
	return r;
}

/* Where the first address of From belongs. */
static struct str author_domain(struct scan *s, const struct leaving *l)
{
	const struct mail_field *f = mail_fields_find(&l->fields, "From");
	struct mail_addr *list = NULL;
	struct err e = { 0 };
	if (f == NULL || mail_addr_parse(s->a, f->value, &list, &e) < 0)
		return STR("");
	while (list != NULL && list->domain.n == 0)
		list = list->next;
	return list ? idn_ascii(s->a, list->domain) : STR("");
}

/* --- asking --- */

struct way {
	struct scan *s;
	const struct sign_hand *hand;
};

static int ask(void *ctx, const struct dkim_signer *k, const unsigned char hash[32], struct buf *out, struct err *e)
{
	const struct way *w = ctx;
	if (w->hand->sign(w->hand->ctx, k->domain, k->selector, hash, out, e) < 0)
		return err_wrap(e, "%.*s._domainkey.%.*s", STR_ARG(k->selector), STR_ARG(k->domain));
	return 0;
}

static struct dkim_signer signer(const struct way *w, const struct dkim_row *row)
{
	return (struct dkim_signer){ .domain = row->domain, .selector = row->selector, .kind = row->kind, .sign = ask, .ctx = (void *)(uintptr_t)w };
}

static int put_edit(struct scan *s, struct str field, struct err *e)
{
	char *text = arena_alloc(s->a, field.n + 1);
	if (s->verdict.n_edits == ARRAY_LEN(s->verdict.edits))
		return err_set(e, ERR_LIMIT, 0, "too many header edits");
	text[0] = '+';
	memcpy(text + 1, field.p, field.n);
	s->verdict.edits[s->verdict.n_edits++] = str_n(text, field.n + 1);
	return 0;
}

/* --- DKIM --- */

static int sign_dkim(const struct way *w, const struct leaving *l, const struct dkim_table *t, struct err *e)
{
	struct scan *s = w->s;
	const struct dkim_row *rows[DKIM_KEYS_PER_DOMAIN_MAX];
	const size_t n = dkim_table_signers(t, author_domain(s, l), rows);
	if (n == 0)
		return 0;
	const struct dkim_letter letter = dkim_letter(s->a, l->head, l->body);
	const int64_t now = clock_wall();
	for (size_t i = 0; i < n; i++) {
		const struct dkim_signer k = signer(w, rows[i]);
		struct str field;
		if (dkim_sign(s->a, &letter, &k, now, &field, e) < 0 || put_edit(s, field, e) < 0)
			return -1;
		scan_explain(s, "sign", "DKIM signature of %.*s, selector %.*s", STR_ARG(k.domain), STR_ARG(k.selector));
	}
	return 0;
}

/* --- ARC --- */

/* What we said of it when it came: the field is an edit of ours; those of others that claimed our name were removed. */
static bool our_results(struct scan *s, const struct leaving *l, struct str *out)
{
	const struct str name = str_c(s->rules->conf->myhostname);
	for (size_t i = 0; i < l->fields.n; i++) {
		if (!str_case_eq(l->fields.v[i].name, STR("Authentication-Results")))
			continue;
		const struct str v = str_trim(l->fields.v[i].value);
		if (v.n > name.n && v.p[name.n] == ';' && str_case_starts(v, name)) {
			*out = v;
			return true;
		}
	}
	return false;
}

static enum auth_result chain_status(struct str results)
{
	if (str_find(results, STR("\tarc=pass")) >= 0)
		return AUTH_PASS;
	return str_find(results, STR("\tarc=fail")) >= 0 ? AUTH_FAIL : AUTH_NONE;
}

static const struct dkim_row *sealing_key(const struct dkim_table *t, const char *hostname)
{
	const struct dkim_row *rows[DKIM_KEYS_PER_DOMAIN_MAX];
	const size_t n = dkim_table_signers(t, str_c(hostname), rows);
	for (size_t i = 0; i < n; i++)
		if (rows[i]->kind == SIG_RSA_SHA256)
			return rows[i];	/* RFC 8617 knows no more than one set each; all verifiers know RSA */
	return n > 0 ? rows[0] : NULL;
}

static void seal_arc(const struct way *w, const struct leaving *l, const struct dkim_table *t)
{
	struct scan *s = w->s;
	const struct dkim_row *row = sealing_key(t, s->rules->conf->myhostname);
	struct str results, out[3];
	struct err e = { 0 };
	if (row == NULL || !our_results(s, l, &results))
		return;
	const struct dkim_letter letter = dkim_letter(s->a, l->head, l->body);
	const struct dkim_signer k = signer(w, row);
	const struct arc_seal seal = { &letter, &k, results, chain_status(results), clock_wall() };
	if (arc_seal(s->a, &seal, out, &e) < 0) {
		log_info("%.*s: no ARC set: %s", STR_ARG(s->facts->qid), e.text);
		return;
	}
	const size_t before = s->verdict.n_edits;
	for (size_t i = 0; i < ARRAY_LEN(out); i++) {
		if (put_edit(s, out[i], &e) < 0) {
			s->verdict.n_edits = before;
			log_warning("%.*s: no ARC set: %s", STR_ARG(s->facts->qid), e.text);
			return;
		}
	}
	scan_explain(s, "sign", "ARC set of %.*s, selector %.*s", STR_ARG(k.domain), STR_ARG(k.selector));
}

int sign_message(struct scan *s, const struct sign_hand *hand, struct err *e)
{
	const struct way w = { s, hand };
	const struct dkim_table *t;
	struct leaving l;
	if (s->facts == NULL || (s->facts->sign & (SIGN_DKIM | SIGN_ARC)) == 0)
		return 0;
	if (table_get(s->rules->conf, &t, e) < 0)
		return -1;
	if (t->n == 0)
		return 0;
	if (apply_edits(s, &l, e) < 0)
		return -1;
	if (s->facts->sign & SIGN_DKIM)
		return sign_dkim(&w, &l, t, e);
	seal_arc(&w, &l, t);
	return 0;
}
