/* What a milter wants to be changed at the end of a message. Kept beside the message until its final answer: one that fails in between has changed nothing. */
#include <string.h>

#include "deliver/policy/policy_milter.h"
#include "log/log.h"
#include "os/os.h"
#include "smtp/addr.h"

int milter_changes_begin(struct milter *m, struct err *e)
{
	m->edited = false;
	m->n_changes = m->talk->n_changes;
	m->sender = m->quarantine = (struct str){ 0 };
	milter_body_free(&m->body);
	return mail_view_copy(&m->view, &m->talk->view, e);
}

void milter_changes_keep(struct milter *m)
{
	struct talk *t = m->talk;

	t->view = m->view;
	t->edited |= m->edited;
	t->n_changes = m->n_changes;
	if (m->sender.p)
		t->sender = m->sender;
	if (m->quarantine.p)
		t->quarantine = m->quarantine;
	if (m->body.fd < 0)
		return;
	/* The head is in the view: what milters after this one are shown is the new body alone. */
	close_fd(&t->fd);
	t->fd = m->body.fd;
	t->body = 0;
	t->size = m->body.size;
	t->replaced = true;
	m->body = (struct new_body){ .fd = -1 };
}

void milter_changes_forget(struct milter *m)
{
	milter_body_free(&m->body);
}

/* What cannot be done is not done; the message goes on. */
static void ignored(const struct milter *m, const char *what, const struct err *e)
{
	log_warning("milter %s: %s is ignored: %s", m->name, what, e->text);
}

/* --- header --- */

/* A value as edits have it: folds with LF, without the blank behind the colon. */
static struct str clean(struct arena *a, struct str v)
{
	char *p = arena_alloc(a, v.n + 1);
	size_t n = 0;

	for (size_t i = 0; p && i < v.n; i++)
		if (v.p[i] != '\r' || i + 1 == v.n || v.p[i + 1] != '\n')
			p[n++] = v.p[i];
	const struct str s = str_n(p, n);
	return n > 0 && p[0] == ' ' ? str_from(s, 1) : s;
}

/* Milters count without our own field; 0 is above everything. */
static size_t place(const struct mail_view *w, uint32_t index)
{
	uint32_t seen = 0;
	size_t i = 0;

	if (index == 0)
		return 0;
	for (; i < w->n && seen < index; i++)
		seen += !w->v[i].own && w->v[i].name.n > 0;
	return i;
}

static bool find(const struct mail_view *w, struct str name, uint32_t index, size_t *at)
{
	uint32_t seen = 0;

	for (size_t i = 0; i < w->n; i++)
		if (!w->v[i].own && w->v[i].name.n > 0 && str_case_eq(w->v[i].name, name) && ++seen == (index ? index : 1)) {
			*at = i;
			return true;
		}
	return false;
}

static void change_header(struct milter *m, const struct milter_reply *r)
{
	const struct str value = clean(m->talk->arena, r->b);
	struct mail_view *w = &m->view;
	struct err e = { 0 };
	size_t at;
	int ok = 0;

	if (r->command == 'h')
		ok = mail_view_insert(w, w->n, r->a, value, &e);
	else if (r->command == 'i')
		ok = mail_view_insert(w, place(w, r->index), r->a, value, &e);
	else if (find(w, r->a, r->index, &at))
		ok = r->b.n > 0 ? mail_view_change(w, at, value, &e) : mail_view_remove(w, at, &e);
	else if (r->b.n > 0)
		ok = mail_view_insert(w, w->n, r->a, value, &e);
	else
		return;		/* there is none to be deleted */
	if (ok < 0)
		ignored(m, "a change of the header", &e);
	else
		m->edited = true;
}

/* --- envelope --- */

/* "<local@domain>", or without brackets: local@domain. */
static int address(struct milter *m, struct str s, bool null, struct str *out, struct err *e)
{
	struct arena *a = m->talk->arena;
	struct smtp_addr addr;
	struct str rest;
	struct buf b;

	if (smtp_path_parse(a, s, false, true, &addr, &rest, e) < 0)
		return -1;
	if (str_trim(rest).n > 0 || (addr.local.n == 0 && !null))
		return err_set(e, ERR_INPUT, 0, "no address");
	buf_init(&b, 1024);
	if (addr.local.n > 0)
		smtp_addr_format(&addr, &b);
	*out = buf_view(&b).n > 0 ? arena_str(a, buf_view(&b)) : STR("");
	const int r = buf_check(&b, "address", e);
	buf_fini(&b);
	return r;
}

static int change_recipient(struct milter *m, const struct milter_reply *r, struct err *e)
{
	struct talk *t = m->talk;
	struct err why = { 0 };
	struct str to;

	if (m->n_changes == POLICY_CHANGES_MAX)
		return err_set(e, ERR_LIMIT, 0, "more than %d changes of recipients", POLICY_CHANGES_MAX);
	if (t->changes == NULL)
		t->changes = ARENA_ARRAY(t->arena, struct str, POLICY_CHANGES_MAX);
	if (t->changes == NULL)
		return err_set(e, ERR_LIMIT, 0, "too many changes");
	if (address(m, r->a, false, &to, &why) < 0)
		ignored(m, "a change of the recipients", &why);
	else
		t->changes[m->n_changes++] = str_c(arena_printf(t->arena, "%c%.*s", r->command == '-' ? '-' : '+', STR_ARG(to)));
	return 0;
}

static void change_sender(struct milter *m, const struct milter_reply *r)
{
	struct err e = { 0 };
	struct str from;

	if (address(m, r->a, true, &from, &e) < 0)
		ignored(m, "a change of the sender", &e);
	else
		m->sender = from;
}

int milter_change(struct milter *m, const struct milter_reply *r, struct err *e)
{
	static const struct {
		char command;
		uint32_t needs;
	} rights[] = {
		{ 'h', MA_ADDHDRS }, { 'i', MA_ADDHDRS }, { 'm', MA_CHGHDRS }, { '+', MA_ADDRCPT }, { '2', MA_ADDRCPT_PAR }, { '-', MA_DELRCPT }, { 'e', MA_CHGFROM },
		{ 'q', MA_QUARANTINE }, { 'b', MA_CHGBODY },
	};
	bool may = false;

	for (size_t i = 0; i < ARRAY_LEN(rights); i++)
		may |= rights[i].command == r->command && (m->options.actions & rights[i].needs);
	if (!may)
		return err_set(e, ERR_INPUT, 0, "a change that was not agreed upon");
	switch (r->command) {
	case '+': case '2': case '-': return change_recipient(m, r, e);
	case 'e': change_sender(m, r); return 0;
	case 'b': return milter_body_add(&m->body, r->a, m->talk->size_max, e);
	case 'q': m->quarantine = arena_str(m->talk->arena, r->a.n > 0 ? str_sub(r->a, 0, 300) : STR("quarantined by a milter")); return 0;
	default: change_header(m, r); return 0;
	}
}
