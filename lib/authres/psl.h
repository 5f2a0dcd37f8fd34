/* Organisational domains (RFC 7489 3.2) by the public suffix list: rules of one label or more, "*." and "!" forms. Rules that are not ASCII are left out (mail
 * has the A-label form; the list has those too where they are used).
 * Without a list the last two labels are the organisational domain: wrong for "co.uk" and its like, so whoever loads says it aloud.
 */
#ifndef AUTHRES_PSL_H
#define AUTHRES_PSL_H

#include "base/arena.h"
#include "base/attr.h"
#include "base/err.h"
#include "base/str.h"

struct psl;
struct psl *psl_new(struct str list);	/* returns owned; keeps its own copies */
int psl_load(const char *path, struct psl **out, struct err *e) MUST_CHECK;
void psl_free(struct psl **p);
size_t psl_count(const struct psl *p);
/* The part of domain that is one label below a public suffix; domain itself when it is a suffix. p NULL: by the last two labels. Borrows from domain. */
struct str psl_organisation(const struct psl *p, struct arena *a, struct str domain);

#endif
