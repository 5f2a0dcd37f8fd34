/* Expressions of meta rules and of conditions: numbers, names, ! && || ^ ( ) < > <= >= == != + - * / ?: with Perl's precedence and values ("&&" and "||" give
 * an operand, comparisons 1 or 0; a division by zero is 0). Names and calls are the caller's.
 */
#ifndef SPAM_EXPR_H
#define SPAM_EXPR_H

#include <stdbool.h>

#include "base/arena.h"
#include "base/attr.h"
#include "base/err.h"
#include "base/str.h"

enum { EXPR_DEPTH_MAX = 100, EXPR_NODES_MAX = 100000 };

enum expr_op {
	EXPR_CONST, EXPR_NAME, EXPR_NOT, EXPR_MINUS, EXPR_AND, EXPR_OR, EXPR_XOR, EXPR_ADD, EXPR_SUB, EXPR_MUL, EXPR_DIV,
	EXPR_LT, EXPR_GT, EXPR_LE, EXPR_GE, EXPR_EQ, EXPR_NE, EXPR_IF,
};

struct expr {
	enum expr_op op;
	double value;		/* EXPR_CONST */
	void *name;		/* EXPR_NAME: the caller's */
	bool truth;		/* only whether it is 0 matters: operands may be taken in any order */
	struct expr *kids, *next;
};

struct expr_env {
	/* Fill out (EXPR_CONST or EXPR_NAME) for a name, or for call(arg). */
	int (*name)(void *ctx, struct str name, struct expr *out, struct err *e);
	int (*call)(void *ctx, struct str call, struct str arg, struct expr *out, struct err *e);	/* NULL: none */
	void *ctx;
};

int expr_parse(struct arena *a, struct str text, const struct expr_env *env, struct expr **out, struct err *e) MUST_CHECK;
/* Set truth downwards; tell of names whose number matters. */
void expr_mark(struct expr *x, bool truth, void (*counted)(void *name));
struct expr_values {
	double (*get)(void *ctx, void *name);
	/* true and *out when the value costs nothing. May be NULL. */
	bool (*peek)(void *ctx, void *name, double *out);
	void *ctx;
};
double expr_eval(const struct expr *x, const struct expr_values *v);
/* Order operands of truth nodes by cost(name), cheap first. Returns the cost of x. */
unsigned expr_order(struct expr *x, unsigned (*cost)(void *name));

#endif
