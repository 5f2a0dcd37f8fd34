/* The pipeline over one message (scan.h): parse once, run the stages of stages.def, any trouble is "not checked", never a pass. */
#include "scan.h"

#include <stdarg.h>
#include <stdio.h>

#include <errno.h>
#include <unistd.h>

#include "authres/psl.h"
#include "banned.h"
#include "clamav.h"

const char *const verdict_action_names[] = { "accept", "reject", "tempfail", "quarantine" };

static const struct {
	const char *name;
	stage_fn *run;
} stages[] = {
#define STAGE(name, fn, doc) { #name, fn },
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

int filter_rules_load(const struct conf *conf, const char *share_dir, const char *tmp_dir, struct filter_rules *out, struct err *e)
{
	struct filter_rules r = { .conf = conf };
	char path[1200];
	snprintf(path, sizeof(path), "%s/filter/banned_names", share_dir);
	if (banned_load(conf->filter_banned_names[0] != '\0' ? conf->filter_banned_names : path, &r.banned, e) < 0)
		return -1;
	snprintf(path, sizeof(path), "%s/clamav", share_dir);
	if (conf->filter_virus_check && clamav_load(conf, path, tmp_dir, &r.clamav, e) < 0) {
		filter_rules_free(&r);
		return -1;
	}
	if (load_suffixes(conf, &r, e) < 0) {
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

void scan_run(struct scan *s)
{
	s->verdict = (struct verdict){ .action = VERDICT_ACCEPT, .code = 250, .enhanced = "2.0.0", .text = "Ok", .category = "CLEAN" };
	s->root = mime_parse(s->a, s->message);
	for (size_t i = 0; i < ARRAY_LEN(stages); i++) {
		struct err e = { 0 };
		int r = stages[i].run(s, &e);
		if (r > 0)
			return;
		if (r < 0) {
			s->verdict = (struct verdict){ .action = VERDICT_TEMPFAIL, .code = 451, .enhanced = "4.3.0",
				.text = "The message could not be checked now, try again later", .category = "UNCHECKED",
				.detail = arena_printf(s->a, "%s: %s", stages[i].name, e.text) };
			scan_explain(s, stages[i].name, "trouble: %s", e.text);
			return;
		}
	}
}
