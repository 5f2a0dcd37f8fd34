/* Command lines and ESMTP parameters. Pure. */
#ifndef SMTP_CMD_H
#define SMTP_CMD_H

#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"
#include "base/str.h"

enum { SMTP_PARAMS_MAX = 20, SMTP_PARAM_MAX = 1000 };	/* parameters of one command; bytes of one */

/* Cut a command line (without CRLF) into its verb and its arguments, blanks between and after dropped. 0, or -1 for an empty line, a line that
 * starts with a blank, or one with a control other than a tab between words (*text of e says which). */
int smtp_cmd_parse(struct str line, struct str *verb_out, struct str *args_out, struct err *e) MUST_CHECK;
/* "FROM:" or "TO:" at the start of *args, any case, blanks around the colon tolerated unless strict; *args advances behind it. */
bool smtp_cmd_keyword(struct str *args, const char *word, bool strict);

struct smtp_param {
	struct str key;		/* ALPHA/DIGIT then also '-' */
	struct str value;	/* p NULL: no '=' */
};
/* Next ESMTP parameter (RFC 5321 4.1.2) of *rest, which advances; its value may hold bytes beyond ASCII (RFC 6531 3.3), and be no UTF-8. 0; 1: none is left; -1: ERR_INPUT. */
int smtp_param_next(struct str *rest, struct smtp_param *out, struct err *e) MUST_CHECK;

/* The value of SIZE= (RFC 1870 section 6.1: 1 to 20 digits). 0 and 0..max in *bytes_out; -1 with ERR_INPUT (not a number) or ERR_TOOBIG
 * (above max, or above 64 bits). max 0: no limit. *bytes_out is left alone on failure. */
int smtp_size_parse(struct str value, uint64_t max, uint64_t *bytes_out, struct err *e) MUST_CHECK;

/* A first line that no SMTP client sends: an HTTP request, a header field, a TLS hello. */
bool smtp_cmd_foreign(struct str line);

#endif
