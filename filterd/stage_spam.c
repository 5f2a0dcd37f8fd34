/* The spam stage: the score of the message by SpamAssassin's rules, compared with the three levels, told in X-Spam-* fields in amavis' forms. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "authres/auth.h"
#include "base/buf.h"
#include "ipc/filter.h"
#include "log/log.h"
#include "scan.h"
#include "spam/spam.h"

enum { STATUS_MAX = 4000, TESTS_MAX = 1900, COLUMNS_MAX = 78, STARS_MAX = 64, MISTAKES_TOLD = 20, WHITE_POINTS = 10 };

/* --- loading --- */

static void on_mistake(void *ctx, const char *file, unsigned line, const char *text)
{
	unsigned *n = ctx;
	if (++*n <= MISTAKES_TOLD)
		log_warning("%s:%u: %s", file, line, text);
}

/* List operators refuse public resolvers, and a name that is never answered costs time: so lists are asked where a resolver was named. */
static bool asks_lists(const struct conf *conf)
{
	return strcmp(conf->spam_dns_lists, "yes") == 0 || (strcmp(conf->spam_dns_lists, "auto") == 0 && conf->dns_servers.n > 0);
}

int stage_spam_load(struct filter_rules *r, const char *share_dir, bool jit, struct err *e)
{
	const struct conf *conf = r->conf;
	char own[1200], tokens[1200];
	unsigned said = 0;
	if (!conf->spam_check)
		return 0;
	snprintf(own, sizeof(own), "%s/filter/rules", share_dir);
	snprintf(tokens, sizeof(tokens), "%s/filter/tokens.cdb", conf->state_directory);
	const struct spam_options o = { .rules_dir = conf->spam_rules_directory, .site_dir = conf->spam_site_directory, .own_dir = own,
		.bayes_file = tokens, .jit = jit, .network = asks_lists(conf) };
	if (spam_load(&o, on_mistake, &said, &r->spam, e) < 0)
		return -1;
	if (said > MISTAKES_TOLD)
		log_warning("%u more mistakes in rule files", said - MISTAKES_TOLD);
	return 0;
}

/* --- the fields --- */

/* Up to three decimals, zeros at the end dropped. */
static const char *points(struct arena *a, double v)
{
	char *s = arena_printf(a, "%.3f", fabs(v) < 0.0005 ? 0 : v);
	size_t n = strlen(s);
	while (s[n - 1] == '0')
		s[--n] = '\0';
	if (s[n - 1] == '.')
		s[--n] = '\0';
	return s;
}

static void word(struct buf *b, size_t *column, const char *text)
{
	size_t n = strlen(text);
	if (*column + 1 + n > COLUMNS_MAX) {
		buf_c(b, "\n\t");
		*column = 8;
	} else {
		buf_ch(b, ' ');
		++*column;
	}
	buf_c(b, text);
	*column += n;
}

static struct str status(const struct scan *s, const struct group *g, double shown, bool spam)
{
	const struct spam_result *r = s->spam;
	const struct levels *l = &g->policy->levels;
	struct buf b;
	buf_init(&b, STATUS_MAX);
	buf_c(&b, "+X-Spam-Status:");
	size_t column = b.n - 1;
	word(&b, &column, spam ? "Yes," : "No,");
	word(&b, &column, arena_printf(s->a, "score=%s", points(s->a, shown)));
	if (l->tag > -1e8 && isfinite(l->tag))
		word(&b, &column, arena_printf(s->a, "tagged_above=%s", points(s->a, l->tag)));
	if (isfinite(l->tag2))
		word(&b, &column, arena_printf(s->a, "required=%s", points(s->a, l->tag2)));
	if (g->blacklisted)
		word(&b, &column, "BLACKLISTED");
	if (g->whitelisted)
		word(&b, &column, "WHITELISTED");
	for (size_t i = 0; i < r->n_hits && b.n < STATUS_MAX - 200; i++)
		word(&b, &column, arena_printf(s->a, "%s%.*s=%s%s", i == 0 ? "tests=[" : "", (int)(r->hits[i].name.n < 100 ? r->hits[i].name.n : 100),
					      r->hits[i].name.p, points(s->a, r->hits[i].score), i + 1 < r->n_hits && b.n < STATUS_MAX - 300 ? "," : "]"));
	if (r->n_hits == 0)
		word(&b, &column, "tests=[]");
	word(&b, &column, r->learn.n == 0 ? "autolearn=no" : r->learn_spam ? "autolearn=spam" : "autolearn=ham");
	struct str out = arena_str(s->a, buf_view(&b));
	buf_fini(&b);
	return out;
}

static const char *names(struct scan *s, const struct spam_result *r)
{
	struct buf b;
	buf_init(&b, TESTS_MAX + 200);
	for (size_t i = 0; i < r->n_hits && b.n < TESTS_MAX; i++)
		buf_printf(&b, "%s%.*s", i == 0 ? "" : ",", (int)(r->hits[i].name.n < 100 ? r->hits[i].name.n : 100), r->hits[i].name.p);
	const char *v = arena_cstr(s->a, buf_view(&b));
	buf_fini(&b);
	return v;
}

static void explain(struct scan *s, const struct spam_result *r)
{
	const struct levels *l = &s->groups[0].policy->levels;
	scan_explain(s, "spam", "score %s, tag2 level %s, kill level %s, rules from %s", points(s->a, r->score), points(s->a, l->tag2), points(s->a, l->kill),
		     spam_rules_from(s->rules->spam));
	for (size_t i = 0; i < r->n_hits; i++) {
		const struct spam_hit *h = &r->hits[i];
		scan_explain(s, "spam", "%6s %.*s: %.*s%s%.*s%s", points(s->a, h->score), STR_ARG(h->name), STR_ARG(h->describe), h->matched.p == NULL ? "" : " \"",
			     (int)(h->matched.n < 80 ? h->matched.n : 80), h->matched.p == NULL ? "" : h->matched.p, h->matched.p == NULL ? "" : "\"");
	}
	if (r->learn.n > 0)
		scan_explain(s, "spam", "to be learned as %s (bayes_auto_learn)", r->learn_spam ? "spam" : "ham");
	if (r->limited > 0)
		scan_explain(s, "spam", "%u patterns ran into their limits and count as not matched", r->limited);
}

struct str stage_spam_text(const struct scan *s)
{
	size_t max = (size_t)s->rules->conf->spam_size_limit;
	return s->message.n > max ? str_sub(s->message, 0, max) : s->message;
}

static void facts_of(const struct scan *s, struct spam_facts *out)
{
	const struct ipc_filter_SCAN *m = s->facts;
	*out = (struct spam_facts){ .hits = s->hits, .n_hits = s->n_hits };
	if (s->dns != NULL && m != NULL) {
		out->ask = s->ask_lists;
		out->ask_ctx = s->dns->ctx;
	}
	if (m == NULL)
		return;
	out->client_ip = m->client;
	out->helo = m->helo;
	out->sender = m->sender;
	out->recipients = m->recipients.v;
	out->n_recipients = m->recipients.n;
	out->user = m->user;
}

/* --- what it means for whom --- */

static bool is_scored(const struct scan *s, const struct group *g)
{
	return s->spam != NULL && !g->policy->off[STAGE_spam];
}

/* Whom a list wants is never spam; whom one does not want always is. */
static double shown_score(const struct scan *s, const struct group *g)
{
	const double score = s->spam->score;
	if (g->whitelisted)
		return score > 0 ? 0 : score;
	return g->blacklisted && score < STARS_MAX ? STARS_MAX : score;
}

enum class stage_spam_class(const struct scan *s, const struct group *g)
{
	if (!is_scored(s, g) || g->whitelisted)
		return CLASSES;
	const double shown = shown_score(s, g);
	return shown >= g->policy->levels.kill ? CLASS_SPAM : shown >= g->policy->levels.tag2 ? CLASS_SPAMMY : CLASSES;
}

/* In the order of amavis from the last up; X-Spam-Flag: YES and the subject's tag come with the class's action (outcome.c). */
void stage_spam_tell(struct scan *s, const struct group *g, struct verdict *v)
{
	static const char stars[] = "****************************************************************";
	if (!is_scored(s, g))
		return;
	const struct levels *l = &g->policy->levels;
	const struct spam_result *r = s->spam;
	const double shown = shown_score(s, g);
	const bool spam = stage_spam_class(s, g) != CLASSES;
	v->hits = points(s->a, r->score);
	v->tests = names(s, r);
	v->required = points(s->a, isfinite(l->tag2) ? l->tag2 : r->required);
	if (!spam && !g->blacklisted && (g->whitelisted ? r->score - WHITE_POINTS : r->score) < l->tag)
		return;
	const int n = shown < 1 ? 0 : shown > STARS_MAX ? STARS_MAX : (int)shown;
	verdict_edit(v, arena_cstr(s->a, status(s, g, shown, spam)));
	verdict_edit(v, arena_printf(s->a, "+X-Spam-Level: %.*s", n, stars));
	verdict_edit(v, arena_printf(s->a, "+X-Spam-Score: %s", points(s->a, shown)));
	if (!spam)
		verdict_edit(v, "+X-Spam-Flag: NO");
}

/* Mail is scored without what was learned then; whoever reads the log is told by each worker once. */
static void tell_damage(const struct scan *s)
{
	static bool told;
	const bool damaged = spam_learned(s->rules->spam).damaged;
	if (damaged && !told)
		log_error("%s/filter/tokens.cdb is damaged or cannot be read: what was learned does not count (remove it and learn anew)", s->rules->conf->state_directory);
	told = damaged;
}

int stage_spam(struct scan *s, struct err *e)
{
	(void)e;
	struct spam_result *r = ARENA_NEW(s->a, struct spam_result);
	struct spam_facts facts;
	if (s->rules->spam == NULL)
		return 0;
	facts_of(s, &facts);
	spam_check(s->rules->spam, s->a, stage_spam_text(s), &facts, (s->explain != NULL ? SPAM_WANT_MATCHED : 0) | SPAM_WANT_LEARN, r);
	tell_damage(s);
	explain(s, r);
	s->verdict.learn = r->learn;
	s->spam = r;
	s->score = arena_printf(s->a, "score %s", points(s->a, r->score));
	return 0;
}
