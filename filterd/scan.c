/* The pipeline over one message (scan.h): parse once, run the stages of stages.def, any trouble is "not checked", never a pass. */
#include "scan.h"

#include <stdarg.h>
#include <stdio.h>
#include <errno.h>
#include <unistd.h>

#include "addrlist.h"
#include "archive.h"
#include "authres/psl.h"
#include "banned.h"
#include "clamav.h"
#include "findings.h"
#include "outcome.h"
#include "spam/spam.h"

const char *const verdict_action_names[] = { "accept", "reject", "tempfail", "quarantine", "redirect", "discard", "score" };

static const struct {
	const char *name;
	stage_fn *run;
	enum stage_kind kind;
} stages[] = {
#define STAGE(name, fn, kind, doc) { #name, fn, STAGE_##kind },
#include "stages.def"
#undef STAGE
};

/* A list that is not there leaves the rule of two labels; whoever loads the rules says so. One that is there and cannot be used is an error. */
static int load_suffixes(const struct conf *conf, struct filter_rules *r, struct err *e)
{
	const char *path = conf->public_suffix_list;
	if (!conf->sender_authentication || path[0] == '\0' || (access(path, F_OK) < 0 && errno == ENOENT))
		return 0;
	return psl_load(path, &r->psl, e);
}

static int load_senders(const char *name, const char *file, struct addrlist **out, struct err *e)
{
	if (file[0] == '\0')
		return 0;
	return addrlist_load(file, out, e) < 0 ? err_wrap(e, "%s", name) : 0;
}

static int load_scanning(struct filter_rules *r, const char *share_dir, const char *tmp_dir, struct err *e)
{
	const struct conf *conf = r->conf;
	char path[1200];
	archive_init();
	snprintf(path, sizeof(path), "%s/filter/banned_names", share_dir);
	if (banned_load(conf->filter_banned_names[0] != '\0' ? conf->filter_banned_names : path, &r->banned, e) < 0)
		return -1;
	if (load_senders("whitelist_senders", conf->whitelist_senders, &r->whitelist, e) < 0 ||
	    load_senders("blacklist_senders", conf->blacklist_senders, &r->blacklist, e) < 0)
		return -1;
	snprintf(path, sizeof(path), "%s/clamav", share_dir);
	if (conf->filter_virus_check && clamav_load(conf, path, tmp_dir, &r->clamav, e) < 0)
		return -1;
	return load_suffixes(conf, r, e);
}

int filter_rules_load(const struct conf *conf, unsigned kinds, bool jit, const char *share_dir, const char *tmp_dir, struct filter_rules *out, struct err *e)
{
	struct filter_rules r = { .conf = conf, .kinds = kinds };
	if (policies_load(conf, &r.policies, e) < 0 || (kinds & 1u << STAGE_SCORE && stage_spam_load(&r, share_dir, jit, e) < 0) ||
	    (kinds & 1u << STAGE_SCAN && load_scanning(&r, share_dir, tmp_dir, e) < 0)) {
		filter_rules_free(&r);
		return -1;
	}
	*out = r;
	return 0;
}

void filter_rules_free(struct filter_rules *r)
{
	clamav_free(&r->clamav);
	banned_free(&r->banned);
	psl_free(&r->psl);
	addrlist_free(&r->whitelist);
	addrlist_free(&r->blacklist);
	spam_free(&r->spam);
	policies_free(&r->policies);
}

void scan_explain(struct scan *s, const char *stage, const char *fmt, ...)
{
	if (s->explain == NULL)
		return;
	char text[600];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	s->explain(s->explain_ctx, stage, text);
}

int scan_each_part(const struct mime_part *p, int (*fn)(void *ctx, const struct mime_part *p), void *ctx)
{
	for (; p != NULL; p = p->next) {
		int r = fn(ctx, p);
		if (r == 0)
			r = scan_each_part(p->children, fn, ctx);
		if (r != 0)
			return r;
	}
	return 0;
}

static bool wanted_by_any(const struct scan *s, enum stage stage)
{
	for (size_t i = 0; i < s->n_groups; i++)
		if (!s->groups[i].policy->off[stage])
			return true;
	return false;
}

/* 1: enough was found; -1: the verdict is that it could not be checked. */
static int run_stage(struct scan *s, enum stage i)
{
	struct err e = { 0 };
	if (!wanted_by_any(s, i))
		return 0;
	s->stage = i;
	int r = stages[i].run(s, &e);
	if (r >= 0)
		return r;
	s->verdict = (struct verdict){ .action = VERDICT_TEMPFAIL, .code = 451, .enhanced = "4.3.0",
		.text = "The message could not be checked now, try again later", .category = "UNCHECKED", .notify = "",
		.detail = arena_printf(s->a, "%s: %s", stages[i].name, e.text) };
	scan_explain(s, stages[i].name, "trouble: %s", e.text);
	return -1;
}

const struct verdict scan_accepts = { .action = VERDICT_ACCEPT, .code = 250, .enhanced = "2.0.0", .text = "Ok", .category = "CLEAN", .notify = "" };

void scan_run(struct scan *s)
{
	const unsigned kinds = s->rules->kinds;
	s->verdict = scan_accepts;
	s->root = mime_parse(s->a, s->message);
	outcome_groups(s);
	if (kinds & 1u << STAGE_SCAN)
		outcome_begin(s);
	else
		findings_take(s);
	stage_lists_groups(s);
	int r = 0;
	for (enum stage i = 0; i < STAGES && r == 0; i++)
		if (kinds & 1u << stages[i].kind)
			r = run_stage(s, i);
	if (r < 0)
		return;
	if (!(kinds & 1u << STAGE_SCORE) && s->rules->conf->spam_check && !outcome_keeps(s))
		s->verdict.action = VERDICT_SCORE;	/* what was found goes on, findings_put() */
	else
		outcome(s);
}
