/* A set of addresses and domains, as amavisd-new's hash tables ask for them: user+ext@sub.example.com, user@sub.example.com, user+ext@, user@,
 * sub.example.com, .sub.example.com, .example.com, .com, "." (all). Case is folded. The null sender is "<>", or "@", or ".". */
#ifndef FILTERD_ADDRLIST_H
#define FILTERD_ADDRLIST_H

#include <stdbool.h>

#include "base/attr.h"
#include "base/err.h"
#include "base/str.h"

enum { ADDRLIST_FILE_MAX = 16 << 20, ADDRLIST_KEY_MAX = 320 };

struct addrlist;

struct addrlist *addrlist_new(void);	/* owned */
void addrlist_free(struct addrlist **l);
int addrlist_add(struct addrlist *l, struct str key, unsigned value, struct err *e) MUST_CHECK;	/* value: for addrlist_find() */
void addrlist_ready(struct addrlist *l);	/* after the last key, before the first question */
struct str addrlist_twice(const struct addrlist *l);	/* a key that was added with two values; n 0: none */
/* One key a line, # comments; what follows a key on its line is not read. Errors name file and line. */
int addrlist_load(const char *file, struct addrlist **out, struct err *e) MUST_CHECK;
/* delimiters: the first of these characters divides user and extension, "" none. l NULL: in no list. */
bool addrlist_find(const struct addrlist *l, struct str address, const char *delimiters, unsigned *value_out);	/* of the first key in the order above */
bool addrlist_has(const struct addrlist *l, struct str address, const char *delimiters);

#endif
