/* Loading a set of rules and checking a message with it (spam.h). */
#include "spam/spam.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "mail/head.h"
#include "spam/bayes.h"
#include "spam/dnslists.h"
#include "spam/eval.h"
#include "spam/patterns.h"
#include "spam/taught.h"

struct spam {
	struct spam_options opt;
	struct set *set;
	char from[300];
	size_t n_rules;
};

/* --- loading --- */

static const char updates_dir[] = "/var/lib/spamassassin", packaged_dir[] = "/usr/share/spamassassin";

/* The highest version below updates_dir, as sa-update makes them; "" none. */
static void newest_update(char *out, size_t size)
{
	DIR *d = opendir(updates_dir);
	char best[64] = "";
	out[0] = '\0';
	for (struct dirent *f; d != NULL && (f = readdir(d)) != NULL;)
		if (ch_digit(f->d_name[0]) && strlen(f->d_name) < sizeof(best) && strcmp(f->d_name, best) > 0)
			snprintf(best, sizeof(best), "%.63s", f->d_name);
	if (d != NULL)
		closedir(d);
	if (best[0] != '\0')
		snprintf(out, size, "%s/%s", updates_dir, best);
}

static bool holds_rules(const char *dir)
{
	DIR *d = dir[0] == '\0' ? NULL : opendir(dir);
	bool any = false;
	for (struct dirent *f; d != NULL && !any && (f = readdir(d)) != NULL;)
		any = str_ends(str_c(f->d_name), STR(".cf"));
	if (d != NULL)
		closedir(d);
	return any;
}

static void choose_dir(struct spam *s)
{
	const char *want = s->opt.rules_dir == NULL ? "" : s->opt.rules_dir;
	bool automatic = strcmp(want, "auto") == 0;
	if (automatic) {
		newest_update(s->from, sizeof(s->from));
		if (!holds_rules(s->from))
			snprintf(s->from, sizeof(s->from), "%s", packaged_dir);
	} else {
		snprintf(s->from, sizeof(s->from), "%s", want);
	}
	if (want[0] == '\0' || (automatic && !holds_rules(s->from)))
		snprintf(s->from, sizeof(s->from), "%s", s->opt.own_dir == NULL ? "" : s->opt.own_dir);
}

/* Scores for what was learned, in place of those of the rules: they are made for other words. */
static int read_learned(struct spam *s, struct err *e)
{
	char dir[400];
	if (s->opt.own_dir == NULL || s->opt.own_dir[0] == '\0')
		return 0;
	snprintf(dir, sizeof(dir), "%s/learned", s->opt.own_dir);
	return read_dir(s->set, dir, ".cf", e);
}

static int read_all(struct spam *s, struct err *e)
{
	struct err none = { 0 };
	const char *site = s->opt.site_dir == NULL ? "" : s->opt.site_dir;
	if (site[0] != '\0' && read_dir(s->set, site, ".pre", &none) < 0)
		err_clear(&none);
	if (read_dir(s->set, s->from, ".pre", &none) < 0)
		err_clear(&none);
	if (read_dir(s->set, s->from, ".cf", e) < 0)
		return -1;
	if (read_learned(s, e) < 0)
		return -1;
	if (site[0] != '\0' && read_dir(s->set, site, ".cf", &none) < 0)
		err_clear(&none);
	return 0;
}

int spam_load(const struct spam_options *o, spam_say_fn *say, void *ctx, struct spam **out, struct err *e)
{
	struct spam *s = xzalloc(sizeof(*s));
	s->opt = *o;
	choose_dir(s);
	mail_charsets_load();
	s->set = set_new(&s->opt, say, ctx);
	if (patterns_load(o->jit, e) < 0 || received_load(s->set, e) < 0 || read_all(s, e) < 0 || set_finish(s->set, e) < 0) {
		spam_free(&s);
		return -1;
	}
	for (size_t i = 0; i < s->set->n; i++)
		s->n_rules += s->set->rules[i]->needed && s->set->rules[i]->type != RULE_NONE;
	if (s->n_rules == 0) {
		err_set(e, ERR_CONF, 0, "%s holds no rules", s->from);
		spam_free(&s);
		return -1;
	}
	if (o->bayes_file != NULL && o->bayes_file[0] != '\0')
		s->set->bayes = bayes_new(o->bayes_file);
	*out = s;
	return 0;
}

void spam_free(struct spam **s)
{
	if (*s == NULL)
		return;
	bayes_free(&(*s)->set->bayes);
	set_free(&(*s)->set);
	free(*s);
	*s = NULL;
}

struct set *spam_set(const struct spam *s) { return s->set; }
size_t spam_rule_count(const struct spam *s) { return s->n_rules; }
unsigned spam_mistakes(const struct spam *s) { return s->set->n_said; }
const char *spam_rules_from(const struct spam *s) { return s->from; }
struct spam_learned spam_learned(const struct spam *s)
{
	const struct bayes *b = s->set->bayes;
	if (b == NULL)
		return (struct spam_learned){ .damaged = false };
	const struct bayes_counts n = bayes_messages(b);
	return (struct spam_learned){ .damaged = bayes_damaged(b), .spam = n.spam, .ham = n.ham };
}

bool spam_learns(const struct spam *s) { return set_learns(s->set); }
struct str spam_subject_tag(const struct spam *s) { return s->set->subject_tag; }
double spam_required(const struct spam *s) { return s->set->num[SPAM_NUM_REQUIRED_SCORE]; }

/* --- checking --- */

static int by_name(const void *a, const void *b)
{
	return str_cmp(((const struct spam_hit *)a)->name, ((const struct spam_hit *)b)->name);
}

static void collect_subs(struct msg *m, struct spam_result *out)
{
	out->subs = ARENA_ARRAY(m->a, struct str, m->s->n + 1);
	out->sub_counts = ARENA_ARRAY(m->a, unsigned, m->s->n + 1);
	for (size_t i = 0; i < m->s->n; i++) {
		const struct rule *r = m->s->rules[i];
		double v = rule_is_sub(r) && r->needed ? rule_value(m, r) : 0;
		if (v == 0)
			continue;
		out->subs[out->n_subs] = r->name;
		out->sub_counts[out->n_subs++] = (unsigned)v;
	}
}

static void collect(struct msg *m, struct spam_result *out)
{
	const struct rule **hit = ARENA_ARRAY(m->a, const struct rule *, m->s->n_results + 1);
	for (size_t i = 0; i < m->s->n_results; i++)
		if (rule_value(m, m->s->results[i]) != 0)
			hit[out->n_hits++] = m->s->results[i];
	out->hits = ARENA_ARRAY(m->a, struct spam_hit, out->n_hits + 1);
	for (size_t i = 0; i < out->n_hits; i++) {
		const struct rule *r = hit[i];
		const struct str text = m->matched == NULL ? (struct str){ 0 } : m->matched[r->index];
		out->hits[i] = (struct spam_hit){ r->name, r->describe, r->scores[m->score_set], text };
		out->score += r->scores[m->score_set];
	}
	if (out->n_hits > 1)
		qsort(out->hits, out->n_hits, sizeof(*out->hits), by_name);
}

void spam_check(const struct spam *s, struct arena *a, struct str message, const struct spam_facts *facts, unsigned want, struct spam_result *out)
{
	struct msg *m = ARENA_NEW(a, struct msg);
	*out = (struct spam_result){ .required = spam_required(s) };
	msg_init(m, a, s->set, facts, message, want);
	if (want & SPAM_WANT_COSTS)
		costs_new(m);
	out->bayes = bayes_score(m);
	m->score_set = (s->opt.network ? 1u : 0) + (out->bayes >= 0 ? 2u : 0);
	if (s->opt.network)
		msg_ask_lists(m);
	collect(m, out);
	if (want & SPAM_WANT_ALL)
		collect_subs(m, out);
	if (want & SPAM_WANT_LEARN)
		autolearn(m, out);
	out->limited = m->limited;
	if (want & SPAM_WANT_COSTS)
		costs_collect(m, out);
}

void spam_teach(const struct spam *s, struct arena *a, struct str message, enum bayes_class as, struct str *out)
{
	struct msg *m = ARENA_NEW(a, struct msg);
	struct taught t = { .as = as, .told = true };
	msg_init(m, a, s->set, NULL, message, 0);
	bayes_digest(m, t.digest);
	if (s->set->bayes != NULL) {
		bayes_refresh(s->set->bayes);
		t.known = bayes_seen(s->set->bayes, t.digest) == as;
	}
	t.n_tokens = bayes_tokens(m, &t.tokens);
	*out = taught_format(a, &t);
}
