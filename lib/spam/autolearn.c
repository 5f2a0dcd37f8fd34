/* Which messages are learned of themselves: SpamAssassin's conditions (its plugin AutoLearnThreshold). The score is that of the set without learning; rules that
 * learn, need a user's settings or say noautolearn do not count. Spam needs points in header and body, unless a rule that hit says autolearn_force, and nobody is
 * learned against what was learned before. */
#include <math.h>

#include "spam/eval.h"
#include "spam/expr.h"
#include "spam/taught.h"

static const double points_needed = 3, said_ham = -1, said_spam = 1;

enum place { NOWHERE, HEAD, BODY };

struct points {
	double all, head, body, learned;
	bool force, known_spam, known_ham;
};

static enum place place_of(const struct rule *r)
{
	switch (r->of) {
	case RULE_HEADER:
	case RULE_EXISTS:
		return HEAD;
	case RULE_BODY:
	case RULE_RAWBODY:
	case RULE_URI:
	case RULE_MIMEHEADER:
	case RULE_URI_DETAIL:
		return BODY;
	default:
		return NOWHERE;
	}
}

/* --- a meta's points go to header and body as its rules do --- */

enum { NAMES_MAX = 1000 };
struct share {
	const struct rule *named[NAMES_MAX];
	size_t n, head, body;
};

static void count_names(const struct expr *x, struct share *s)
{
	for (; x != NULL; x = x->next) {
		bool known = x->op != EXPR_NAME || s->n == NAMES_MAX;
		for (size_t i = 0; i < s->n && !known; i++)
			known = s->named[i] == x->name;
		if (!known) {
			s->named[s->n++] = x->name;
			const enum place at = place_of(x->name);
			s->head += at == HEAD;
			s->body += at == BODY;
		}
		count_names(x->kids, s);
	}
}

static void add_meta(struct points *p, const struct rule *r, double score)
{
	struct share s = { .n = 0 };
	count_names(r->meta, &s);
	if (s.head + s.body == 0)
		return;
	p->head += score * (double)s.head / (double)(s.head + s.body);
	p->body += score * (double)s.body / (double)(s.head + s.body);
}

/* --- one rule that hit --- */

static void add_rule(struct msg *m, struct points *p, const struct rule *r)
{
	const double score = r->scores[m->score_set & 1];
	if (r->tflags & (TFLAG_BIT(NOAUTOLEARN) | TFLAG_BIT(USERCONF)))
		return;
	if (r->tflags & TFLAG_BIT(LEARN)) {
		p->learned += r->scores[m->score_set];
		return;
	}
	p->force |= (r->tflags & TFLAG_BIT(AUTOLEARN_FORCE)) != 0;
	if (score == 0)
		return;
	p->all += score;
	if (r->tflags & TFLAG_BIT(AUTOLEARN_HEADER))
		p->head += score;
	else if (r->tflags & TFLAG_BIT(AUTOLEARN_BODY))
		p->body += score;
	else if (r->type == RULE_META)
		add_meta(p, r, score);
	else if (place_of(r) != NOWHERE)
		*(place_of(r) == HEAD ? &p->head : &p->body) += score;
}

static enum bayes_class class_of(const struct msg *m, const struct points *p, const struct spam_result *out)
{
	const double *num = m->s->num;
	const double all = round(p->all * 1000) / 1000;
	if (all < num[SPAM_NUM_BAYES_LEARN_HAM])
		return p->learned > said_spam || out->score >= out->required ? BAYES_NONE : BAYES_HAM;
	if (all < num[SPAM_NUM_BAYES_LEARN_SPAM] || (!p->force && (p->head < points_needed || p->body < points_needed)))
		return BAYES_NONE;
	return p->learned < said_ham || out->score < out->required ? BAYES_NONE : BAYES_SPAM;
}

void autolearn(struct msg *m, struct spam_result *out)
{
	struct points p = { 0 };
	struct taught t = { 0 };
	if (!set_learns(m->s))
		return;
	for (size_t i = 0; i < out->n_hits; i++) {
		const struct rule *r = set_find(m->s, out->hits[i].name);
		p.known_spam |= str_eq(r->name, STR("BAYES_99"));
		p.known_ham |= str_eq(r->name, STR("BAYES_00"));
		add_rule(m, &p, r);
	}
	t.as = class_of(m, &p, out);
	if (t.as == BAYES_NONE || (m->s->num[SPAM_NUM_BAYES_ON_ERROR] > 0 && (t.as == BAYES_SPAM ? p.known_spam : p.known_ham)))
		return;
	bayes_digest(m, t.digest);
	t.n_tokens = bayes_tokens(m, &t.tokens);
	out->learn = taught_format(m->a, &t);
	out->learn_spam = t.as == BAYES_SPAM;
}
