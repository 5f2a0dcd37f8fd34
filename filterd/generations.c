/* The monitor's generations (monitor_priv.h): templates that load signatures or rules, and take over from those before them; the configuration anew. */
#include "monitor_priv.h"

#include <stdio.h>
#include <stdlib.h>

#include "log/log.h"
#include "os/os.h"
#include "reload.h"
#include "signatures.h"
#include "spam/spam.h"
#include "suspects.h"

static void template_start(struct monitor *m, enum stage_kind kind);

/* --- templates --- */

bool kind_used(const struct conf *conf, enum stage_kind kind)
{
	return kind == STAGE_SCAN || conf->spam_check;
}

/* What a template that is started now goes by. */
static const struct conf *conf_next(const struct monitor *m)
{
	return m->fresh != NULL ? m->fresh : m->conf;
}

static bool must_restart(const struct monitor *m, enum stage_kind kind)
{
	return m->fresh == NULL && kind_used(m->conf, kind) && m->next[kind] == NULL && m->now[kind] == NULL;
}

static void on_restart(void *ctx)
{
	struct monitor *m = ctx;
	timer_del(&m->restart);
	for (enum stage_kind k = 0; k < STAGE_KINDS; k++)
		if (must_restart(m, k))
			template_start(m, k);
}

static void restart_later(struct monitor *m)
{
	if (m->restart == NULL)
		m->restart = loop_timer(m->loop, RESTART_MS, on_restart, m);
}

static void template_end(struct template *t)
{
	ipc_chan_free(&t->chan);
	loop_free_later(t->m->loop, t);
}

/* Those that load, and the values they load for. */
static void next_drop(struct monitor *m)
{
	for (enum stage_kind k = 0; k < STAGE_KINDS; k++) {
		if (m->next[k] != NULL)
			template_end(m->next[k]);
		m->next[k] = NULL;
	}
	conf_free(&m->fresh);
}

static void template_gone(struct template *t, const char *why)
{
	struct monitor *m = t->m;
	log_error("template: %s", why);
	if (t != m->now[t->kind] && m->fresh != NULL) {
		log_error("reload: the new configuration cannot be used; the old configuration stays");
		next_drop(m);
		restart_later(m);
		return;
	}
	m->broken[t->kind] |= !t->ready;
	if (t == m->now[t->kind])
		m->now[t->kind] = NULL;
	else
		m->next[t->kind] = NULL;
	if (m->now[t->kind] == NULL && m->broken[t->kind])
		refuse_waiting(m, t->kind);
	template_end(t);
	if (must_restart(m, t->kind))
		restart_later(m);
}

static void retire(struct monitor *m, struct template *old)
{
	workers_retire(m);
	if (old != NULL)
		template_end(old);
}

static void template_takes_over(struct monitor *m, enum stage_kind kind)
{
	struct template *old = m->now[kind];
	m->now[kind] = m->next[kind];
	m->next[kind] = NULL;
	m->broken[kind] = false;
	retire(m, old);
}

/* All templates of a new configuration are ready: it takes the place of the old one for everybody at once. A kind that is used no more keeps its template for the
 * messages under way: see unused_end(). */
static void fresh_takes_over(struct monitor *m)
{
	for (enum stage_kind k = 0; k < STAGE_KINDS; k++)
		if (kind_used(m->fresh, k) && (m->next[k] == NULL || !m->next[k]->ready))
			return;
	struct conf *old = m->conf == m->first ? NULL : (struct conf *)(uintptr_t)m->conf;
	m->conf = m->fresh;
	m->fresh = NULL;
	for (enum stage_kind k = 0; k < STAGE_KINDS; k++)
		if (m->next[k] != NULL)
			template_takes_over(m, k);
	suspects_set(&m->suspects, m->conf);
	doors_renew(m);
	conf_free(&old);
	log_info("reload: the new configuration is in force");
}

/* Workers that scan by an old configuration may still ask for a score. */
static void unused_end(struct monitor *m, enum stage_kind kind)
{
	if (m->now[kind] == NULL || !list_empty(&m->waiting[kind]))
		return;
	list_each(it, &m->workers) {
		const struct worker *w = list_of(it, struct worker, node);
		if (w->job != NULL && w->from != m->now[w->kind])
			return;
	}
	struct template *old = m->now[kind];
	m->now[kind] = NULL;
	retire(m, old);
}

static void on_template(void *ctx, struct ipc_chan *ch, uint16_t type, uint32_t id, void *msg, int fd)
{
	struct template *t = ctx;
	struct monitor *m = t->m;
	(void)ch;
	(void)id;
	close_fd(&fd);
	if (type == IPC_filter_BROKEN) {
		const struct ipc_filter_BROKEN *b = msg;
		char why[320];
		snprintf(why, sizeof(why), "%.*s", STR_ARG(b->text));
		template_gone(t, why);
		return;
	}
	const struct ipc_filter_READY *r = msg;
	if (t->ready) {
		template_gone(t, "said READY twice");
		return;
	}
	t->ready = true;
	t->learns = t->kind == STAGE_SCORE && r->learns == 1;
	log_info("%s loaded: %.*s", t->kind == STAGE_SCAN ? "signatures" : "spam rules", STR_ARG(r->text));
	if (r->shipped)
		log_warning("%s holds no signatures: only the shipped test signatures serve; run freshclam", conf_next(m)->virus_database_directory);
	if (m->fresh != NULL)
		fresh_takes_over(m);
	else
		template_takes_over(m, t->kind);
	bool all = true;
	for (enum stage_kind k = 0; k < STAGE_KINDS; k++)
		all = all && (m->now[k] != NULL || !kind_used(m->conf, k));
	if (all && !m->announced && m->hooks->ready != NULL)
		m->hooks->ready(m->hooks->ctx);
	m->announced = m->announced || all;
	dispatch(m);
}

static void on_template_closed(void *ctx, struct ipc_chan *ch, const struct err *why)
{
	(void)ch;
	template_gone(ctx, why->text);
}

static uint64_t fingerprint(const struct monitor *m, enum stage_kind kind)
{
	const struct conf *c = conf_next(m);
	return kind == STAGE_SCAN ? signatures_fingerprint(c->virus_database_directory) : spam_fingerprint(c->spam_rules_directory, c->spam_site_directory);
}

static void template_start(struct monitor *m, enum stage_kind kind)
{
	static const uint16_t may[] = { IPC_filter_READY, IPC_filter_BROKEN };
	m->fingerprint[kind] = fingerprint(m, kind);
	int fd = m->hooks->start_template(m->hooks->ctx, kind, conf_next(m));
	if (fd < 0) {
		restart_later(m);
		return;
	}
	struct template *t = xzalloc(sizeof(*t));
	t->m = m;
	t->kind = kind;
	t->chan = ipc_chan_new(m->loop, fd, &ipc_filter, on_template, on_template_closed, t);
	ipc_chan_allow(t->chan, (struct ipc_allow){ may, ARRAY_LEN(may) });
	m->next[kind] = t;
}

void templates_start(struct monitor *m)
{
	for (enum stage_kind k = 0; k < STAGE_KINDS; k++)
		if (kind_used(conf_next(m), k) && m->next[k] == NULL)
			template_start(m, k);
}

/* What loads already has old values. Where a template cannot even be started, nothing has changed. */
void generation_reload(struct monitor *m)
{
	struct conf *fresh;
	if (reload_conf(m->first->conf_file, &fresh) < 0)
		return;
	log_info("reload: loading a new generation");
	next_drop(m);
	m->fresh = fresh;
	templates_start(m);
	for (enum stage_kind k = 0; k < STAGE_KINDS && m->fresh != NULL; k++) {
		if (!kind_used(m->fresh, k) || m->next[k] != NULL)
			continue;
		log_error("reload: a process could not be started; the old configuration stays");
		next_drop(m);
		restart_later(m);
	}
}

void generation_watch(void *ctx)
{
	struct monitor *m = ctx;
	for (enum stage_kind k = 0; k < STAGE_KINDS; k++) {
		if (!kind_used(m->conf, k))
			unused_end(m, k);
		if (!kind_used(m->conf, k) || m->fresh != NULL || m->next[k] != NULL || fingerprint(m, k) == m->fingerprint[k])
			continue;
		log_info("the %s have changed: loading a new generation", k == STAGE_SCAN ? "signatures" : "spam rules");
		template_start(m, k);
	}
	timer_again(m->watch, WATCH_SIGNATURES_MS);
}
