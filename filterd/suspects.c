/* See suspects.h. */
#include "suspects.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "grey.h"
#include "log/log.h"

enum { RECIPIENTS_MAX = 50 };

struct suspects {
	struct grey *grey;
	double level;
	bool told;	/* the log knows that the file lacks somebody */
};

int suspects_check(const struct conf *conf, struct err *e)
{
	return conf_is_score(conf->greylist_level) ? 0 : err_set(e, ERR_CONF, 0, "greylist_level: \"%s\" is no score", conf->greylist_level);
}

static void suspects_free(struct suspects **s)
{
	if (*s != NULL)
		grey_free(&(*s)->grey);
	free(*s);
	*s = NULL;
}

/* Without the file greylisting goes on: then a restart forgets. */
static void tell_trouble(struct suspects *s)
{
	const char *trouble = grey_trouble(s->grey);
	if (trouble != NULL && !s->told)
		log_error("who is known to greylisting is not kept: %s", trouble);
	if (trouble == NULL && s->told)
		log_info("who is known to greylisting is kept again");
	s->told = trouble != NULL;
}

static void remember(struct suspects *s, const struct conf *conf)
{
	char path[1200];
	size_t bad = 0;
	snprintf(path, sizeof(path), "%s/" GREY_DIR "/senders", conf->state_directory);
	if (grey_keep(s->grey, path, clock_wall(), &bad) < 0)
		s->told = false;	/* who reloads wants to hear it */
	tell_trouble(s);
	if (bad > 0)
		log_warning("%s: %zu lines made no sense and are left out", path, bad);
}

void suspects_set(struct suspects **s, const struct conf *conf)
{
	if (conf->greylist_level[0] == '\0') {
		suspects_free(s);
		return;
	}
	const bool first = *s == NULL;
	if (first) {
		*s = xzalloc(sizeof(**s));
		(*s)->grey = grey_new(conf->greylist_delay, conf->greylist_lifetime);
	}
	grey_times((*s)->grey, conf->greylist_delay, conf->greylist_lifetime);
	if (first || grey_trouble((*s)->grey) != NULL)
		remember(*s, conf);
	(*s)->level = strtod(conf->greylist_level, NULL);
}

/* Addresses that are not only said: the envelope's sender by SPF, the author by a DKIM signature of his domain. */
static size_t vouched_for(const struct ipc_filter_SCAN *m, struct str out[2])
{
	size_t n = 0;
	for (size_t i = 0; i < m->found.n && n < 2; i++) {
		if (str_eq(m->found.v[i], STR("hit SPF_PASS")))
			out[n++] = m->sender;
		else if (str_starts(m->found.v[i], STR("author ")))
			out[n++] = str_from(m->found.v[i], 7);
	}
	return n;
}

static bool is_suspect(const struct suspects *s, struct arena *a, const struct ipc_filter_VERDICT *v)
{
	return str_eq(v->action, STR("accept")) && v->hits.n > 0 && strtod(arena_cstr(a, v->hits), NULL) >= s->level;
}

/* The longest that any recipient has to wait who would get it. */
static uint64_t wait_of(struct suspects *s, struct arena *a, const uint8_t client[16], const struct ipc_filter_SCAN *m, const struct filter_outcomes *o)
{
	struct str vouched[2];
	const size_t n_vouched = vouched_for(m, vouched);
	uint64_t wait = 0;
	for (size_t k = 0; k < o->n; k++) {
		if (!is_suspect(s, a, o->v[k]))
			continue;
		for (size_t i = 0; i < m->recipients.n && i < RECIPIENTS_MAX; i++) {
			const uint64_t w = filter_outcome_has(o->v[k], i) ? grey_ask(s->grey, client, m->sender, vouched, n_vouched, m->recipients.v[i], clock_wall()) : 0;
			wait = w > wait ? w : wait;
		}
	}
	return wait;
}

static void note_whom_ours_write(struct suspects *s, const struct ipc_filter_SCAN *m, const struct filter_outcomes *o)
{
	for (size_t k = 0; k < o->n; k++)
		for (size_t i = 0; str_eq(o->v[k]->action, STR("accept")) && i < m->recipients.n && i < RECIPIENTS_MAX; i++)
			if (filter_outcome_has(o->v[k], i))
				grey_wrote(s->grey, m->sender, m->recipients.v[i], clock_wall());
}

void suspects_look(struct suspects *s, struct arena *a, const struct ipc_filter_SCAN *m, struct filter_outcomes *o)
{
	uint8_t client[16];
	if (s == NULL)
		return;
	if (m->own) {
		note_whom_ours_write(s, m, o);
		tell_trouble(s);
		return;
	}
	const uint64_t wait = addr_parse(m->client, client) < 0 ? 0 : wait_of(s, a, client, m, o);
	tell_trouble(s);
	if (wait == 0)
		return;
	struct ipc_filter_VERDICT *v = ARENA_NEW(a, struct ipc_filter_VERDICT);
	*v = *o->v[o->n - 1];
	v->action = STR("tempfail");
	v->code = 451;
	v->enhanced = STR("4.7.1");
	v->text = str_c(arena_printf(a, "Greylisted: please try again in %llu seconds", (unsigned long long)wait));
	v->log = STR("TEMPFAIL");
	v->notify = STR("");
	v->whose = STR("");
	*o = (struct filter_outcomes){ .v = { v }, .n = 1 };
}
