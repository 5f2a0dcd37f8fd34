/* JSON (RFC 8259) as the tools print it, one object a line. "first" leaves the comma away that stands before a member. */
#ifndef BASE_JSON_H
#define BASE_JSON_H

#include <stdbool.h>
#include <stdio.h>

#include "base/str.h"

void json_string(FILE *to, struct str s);	/* any bytes: what is no UTF-8 becomes U+FFFD */
void json_name(FILE *to, const char *name, bool first);
void json_field(FILE *to, const char *name, struct str value, bool first);
void json_number(FILE *to, const char *name, long long value, bool first);
void json_bool(FILE *to, const char *name, bool value, bool first);

#endif
