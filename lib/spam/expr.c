/* Expressions: a recursive parser by precedence levels, and their evaluation (expr.h). Pure. */
#include "spam/expr.h"

#include <math.h>
#include <stdlib.h>

#include "base/num.h"

struct parser {
	struct arena *a;
	const struct expr_env *env;
	struct str in;
	unsigned depth;
	size_t nodes;
	struct err *e;
};

/* Binary operators from loose to tight; longer spellings before their beginnings. */
static const struct { const char *text; enum expr_op op; unsigned level; } operators[] = {
	{ "||", EXPR_OR, 1 }, { "&&", EXPR_AND, 2 }, { "^", EXPR_XOR, 3 }, { "==", EXPR_EQ, 4 }, { "!=", EXPR_NE, 4 }, { "<=", EXPR_LE, 5 },
	{ ">=", EXPR_GE, 5 }, { "<", EXPR_LT, 5 }, { ">", EXPR_GT, 5 }, { "+", EXPR_ADD, 6 }, { "-", EXPR_SUB, 6 }, { "*", EXPR_MUL, 7 },
	{ "/", EXPR_DIV, 7 },
};
enum { LEVEL_MAX = 7 };

static struct expr *node(struct parser *p, enum expr_op op)
{
	struct expr *x = ARENA_NEW(p->a, struct expr);
	x->op = op;
	p->nodes++;
	return x;
}

static void blanks(struct parser *p)
{
	while (p->in.n > 0 && ch_space(p->in.p[0]))
		p->in = str_from(p->in, 1);
}

static bool take(struct parser *p, const char *text)
{
	blanks(p);
	if (!str_starts(p->in, str_c(text)))
		return false;
	p->in = str_from(p->in, strlen(text));
	return true;
}

static struct expr *parse_level(struct parser *p, unsigned level);
static struct expr *parse_if(struct parser *p);

static struct expr *fail(struct parser *p, const char *what)
{
	if (p->e->code == ERR_NONE)
		err_set(p->e, ERR_CONF, 0, "%s at '%.20s'", what, p->in.n == 0 ? "the end" : arena_cstr(p->a, p->in));
	return NULL;
}

static struct expr *parse_number(struct parser *p)
{
	char text[40];
	size_t n = 0;
	while (n < p->in.n && n + 1 < sizeof(text) && (ch_digit(p->in.p[n]) || p->in.p[n] == '.')) {
		text[n] = p->in.p[n];
		n++;
	}
	text[n] = '\0';
	struct expr *x = node(p, EXPR_CONST);
	x->value = strtod(text, NULL);
	p->in = str_from(p->in, n);
	return x;
}

static bool name_char(char c)
{
	return ch_alnum(c) || c == '_' || c == ':';
}

/* A name, or a call whose argument is taken as it stands. */
static struct expr *parse_name(struct parser *p)
{
	size_t n = 0;
	while (n < p->in.n && name_char(p->in.p[n]))
		n++;
	struct str name = str_sub(p->in, 0, n);
	p->in = str_from(p->in, n);
	struct expr *x = node(p, EXPR_CONST);
	struct str before = p->in;
	if (p->env->call != NULL && take(p, "(")) {
		ptrdiff_t close = str_chr(p->in, ')');
		if (close < 0)
			return fail(p, "a call without ')'");
		struct str arg = str_trim(str_sub(p->in, 0, (size_t)close));
		p->in = str_from(p->in, (size_t)close + 1);
		return p->env->call(p->env->ctx, name, arg, x, p->e) < 0 ? NULL : x;
	}
	p->in = before;
	return p->env->name(p->env->ctx, name, x, p->e) < 0 ? NULL : x;
}

static struct expr *parse_primary(struct parser *p)
{
	blanks(p);
	if (p->depth >= EXPR_DEPTH_MAX || p->nodes >= EXPR_NODES_MAX)
		return fail(p, "an expression that is too deep or too long");
	p->depth++;
	struct expr *x = NULL;
	if (str_starts(p->in, STR("!=")) || p->in.n == 0) {
		fail(p, "an operand is missing");
	} else if (take(p, "!") || take(p, "-")) {
		enum expr_op op = p->in.p[-1] == '!' ? EXPR_NOT : EXPR_MINUS;
		struct expr *kid = parse_primary(p);
		x = kid == NULL ? NULL : node(p, op);
		if (x != NULL)
			x->kids = kid;
	} else if (take(p, "+")) {
		x = parse_primary(p);
	} else if (take(p, "(")) {
		if (take(p, ")")) {
			x = node(p, EXPR_CONST);	/* "()" is false */
		} else {
			x = parse_if(p);
			if (x != NULL && !take(p, ")"))
				x = fail(p, "')' is missing");
		}
	} else if (ch_digit(p->in.p[0]) || p->in.p[0] == '.') {
		x = parse_number(p);
	} else if (name_char(p->in.p[0])) {
		x = parse_name(p);
	} else {
		fail(p, "an operand is missing");
	}
	p->depth--;
	return x;
}

static int operator_at(struct parser *p, unsigned level)
{
	blanks(p);
	for (size_t i = 0; i < ARRAY_LEN(operators); i++) {
		if (!str_starts(p->in, str_c(operators[i].text)))
			continue;
		if (operators[i].level != level)
			return -1;
		p->in = str_from(p->in, strlen(operators[i].text));
		return (int)i;
	}
	return -1;
}

static struct expr *parse_level(struct parser *p, unsigned level)
{
	if (level > LEVEL_MAX)
		return parse_primary(p);
	struct expr *left = parse_level(p, level + 1);
	for (int i; left != NULL && (i = operator_at(p, level)) >= 0;) {
		struct expr *right = parse_level(p, level + 1);
		if (right == NULL)
			return NULL;
		struct expr *x = left;
		if (left->op == operators[i].op && (left->op == EXPR_AND || left->op == EXPR_OR)) {
			struct expr **tail = &left->kids;	/* a && b && c is one node */
			while (*tail != NULL)
				tail = &(*tail)->next;
			*tail = right;
		} else {
			x = node(p, operators[i].op);
			x->kids = left;
			left->next = right;
		}
		left = x;
	}
	return left;
}

static struct expr *parse_if(struct parser *p)
{
	struct expr *x = parse_level(p, 1);
	if (x == NULL || !take(p, "?"))
		return x;
	struct expr *yes = parse_if(p);
	if (yes == NULL || !take(p, ":"))
		return fail(p, "':' is missing");
	struct expr *no = parse_if(p);
	if (no == NULL)
		return NULL;
	struct expr *all = node(p, EXPR_IF);
	all->kids = x;
	x->next = yes;
	yes->next = no;
	return all;
}

int expr_parse(struct arena *a, struct str text, const struct expr_env *env, struct expr **out, struct err *e)
{
	struct parser p = { .a = a, .env = env, .in = text, .e = e };
	struct expr *x = parse_if(&p);
	blanks(&p);
	if (x != NULL && p.in.n > 0)
		x = fail(&p, "an operator is missing");
	if (x == NULL)
		return -1;
	*out = x;
	return 0;
}

void expr_mark(struct expr *x, bool truth, void (*counted)(void *name))
{
	x->truth = truth;
	if (x->op == EXPR_NAME && !truth && counted != NULL)
		counted(x->name);
	for (struct expr *k = x->kids; k != NULL; k = k->next) {
		bool inner = x->op == EXPR_NOT || x->op == EXPR_XOR || ((x->op == EXPR_AND || x->op == EXPR_OR) && truth) ||
			     (x->op == EXPR_IF && (k == x->kids || truth));
		expr_mark(k, inner, counted);
	}
}

unsigned expr_order(struct expr *x, unsigned (*cost)(void *name))
{
	unsigned total = x->op == EXPR_NAME ? cost(x->name) : 0;
	bool sort = x->truth && (x->op == EXPR_AND || x->op == EXPR_OR);
	struct expr *sorted = NULL;
	for (struct expr *k = x->kids, *next; k != NULL; k = next) {
		next = k->next;
		unsigned c = expr_order(k, cost);
		total = total + c < total ? UINT32_MAX : total + c;
		if (!sort)
			continue;
		k->value = k->op == EXPR_CONST ? k->value : c;	/* kept for the insertion below */
		struct expr **at = &sorted;
		while (*at != NULL && ((*at)->op == EXPR_CONST || (*at)->value <= (double)c))
			at = &(*at)->next;
		k->next = *at;
		*at = k;
	}
	if (sort)
		x->kids = sorted;
	return total;
}

/* In any order, what is free first: most operands of a meta are known to be false without work. */
static double eval_any(const struct expr *x, const struct expr_values *v)
{
	bool stop = x->op == EXPR_OR;	/* the truth value that decides */
	for (const struct expr *k = x->kids; v->peek != NULL && k != NULL; k = k->next) {
		const struct expr *leaf = k->op == EXPR_NOT ? k->kids : k;
		double value;
		if (leaf->op == EXPR_NAME && v->peek(v->ctx, leaf->name, &value) && ((value != 0) != (leaf != k)) == stop)
			return stop;
	}
	for (const struct expr *k = x->kids; k != NULL; k = k->next)
		if ((expr_eval(k, v) != 0) == stop)
			return stop;
	return !stop;
}

/* Perl's && and ||: the operand that decided. */
static double eval_ordered(const struct expr *x, const struct expr_values *v)
{
	double value = 0;
	for (const struct expr *k = x->kids; k != NULL; k = k->next) {
		value = expr_eval(k, v);
		if ((value != 0) == (x->op == EXPR_OR))
			break;
	}
	return value;
}

double expr_eval(const struct expr *x, const struct expr_values *v)
{
	const struct expr *k = x->kids;
	if (x->op == EXPR_AND || x->op == EXPR_OR)
		return x->truth ? eval_any(x, v) : eval_ordered(x, v);
	if (x->op == EXPR_IF)
		return expr_eval(expr_eval(k, v) != 0 ? k->next : k->next->next, v);
	if (x->op == EXPR_CONST)
		return x->value;
	if (x->op == EXPR_NAME)
		return v->get(v->ctx, x->name);
	double a = expr_eval(k, v), b = k->next == NULL ? 0 : expr_eval(k->next, v);
	switch (x->op) {
	case EXPR_NOT: return a == 0;
	case EXPR_MINUS: return -a;
	case EXPR_XOR: return (double)((long long)a ^ (long long)b);
	case EXPR_ADD: return a + b;
	case EXPR_SUB: return a - b;
	case EXPR_MUL: return a * b;
	case EXPR_DIV: return fpclassify(b) == FP_ZERO ? 0 : a / b;
	case EXPR_LT: return a < b;
	case EXPR_GT: return a > b;
	case EXPR_LE: return a <= b;
	case EXPR_GE: return a >= b;
	case EXPR_EQ: return a >= b && a <= b;
	default: return a < b || a > b;
	}
}
