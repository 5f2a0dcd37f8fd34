/* Reading the arguments of a complete command (the text between the verb and the final CRLF, literals inside as "{n}\r\n" plus n
 * bytes). A struct imap_lex is a cursor; each imap_get_* takes one grammar element (RFC 3501 section 9) at the cursor and moves it,
 * or returns -1 with *e filled (ERR_INPUT malformed, ERR_LIMIT too deep or too many) and leaves the cursor anywhere: the command is
 * then answered BAD. Values are copied only where escapes force it: otherwise they borrow the text. Pure; allocates from the arena given.
 *
 *	struct imap_lex l = { .p = text.p, .end = text.p + text.n, .arena = a };
 *	if (imap_get_sp(&l, e) < 0 || imap_get_mailbox(&l, &name, e) < 0 || imap_get_end(&l, e) < 0) return -1;
 */
#ifndef IMAP_LEX_H
#define IMAP_LEX_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/attr.h"
#include "base/err.h"
#include "base/str.h"

enum {
	IMAP_TAG_MAX = 1000,
	IMAP_VERB_MAX = 64,
	IMAP_DEPTH_MAX = 50,		/* nested parentheses */
	IMAP_FLAGS_MAX = 1000,		/* flags and keywords of one command */
	IMAP_KEYWORD_MAX = 250,		/* bytes of one */
	IMAP_LIST_MAX = 100000,		/* strings of one list */
	IMAP_MAILBOX_MAX = 4096,	/* bytes of a mailbox name as the client spells it */
};

struct imap_lex {
	const char *p, *end;
	struct arena *arena;
};

static inline bool imap_at_end(const struct imap_lex *l) { return l->p == l->end; }
static inline bool imap_at(const struct imap_lex *l, char c) { return l->p < l->end && *l->p == c; }
bool imap_try(struct imap_lex *l, char c);		/* takes it when it is there */
bool imap_try_word(struct imap_lex *l, const char *word);	/* a whole atom, case folded; taken when it is there */

/* Character classes of RFC 3501 section 9. */
bool imap_is_atom_char(char c);
bool imap_is_astring_char(char c);	/* ATOM-CHAR or "]" */

int imap_get_char(struct imap_lex *l, char c, struct err *e) MUST_CHECK;
int imap_get_sp(struct imap_lex *l, struct err *e) MUST_CHECK;	/* one or more blanks: more than one is a common mistake */
int imap_get_end(struct imap_lex *l, struct err *e) MUST_CHECK;	/* nothing is left but blanks */
int imap_get_atom(struct imap_lex *l, struct str *out, struct err *e) MUST_CHECK;
int imap_get_string(struct imap_lex *l, struct str *out, struct err *e) MUST_CHECK;	/* quoted or literal; no NUL */
int imap_get_astring(struct imap_lex *l, struct str *out, struct err *e) MUST_CHECK;
int imap_get_nstring(struct imap_lex *l, struct str *out, struct err *e) MUST_CHECK;	/* NIL: p NULL */
int imap_get_list_mailbox(struct imap_lex *l, struct str *out, struct err *e) MUST_CHECK;	/* with wildcards */
int imap_get_mailbox(struct imap_lex *l, struct str *out, struct err *e) MUST_CHECK;	/* as spelled; see utf7.h */
int imap_get_number(struct imap_lex *l, uint64_t min, uint64_t max, uint64_t *out, struct err *e) MUST_CHECK;
/* "(" element *(SP element) ")" of astrings; *n_out may be 0 only when empty_ok. */
int imap_get_astring_list(struct imap_lex *l, bool empty_ok, struct str **out, size_t *n_out, struct err *e) MUST_CHECK;

/* tag: one or more astring characters but "+". verb: atom, at most IMAP_VERB_MAX bytes. */
int imap_get_tag(struct imap_lex *l, struct str *out, struct err *e) MUST_CHECK;
int imap_get_verb(struct imap_lex *l, struct str *out, struct err *e) MUST_CHECK;

/* Flags: system flags as bits, others as keyword names. bits as MBOX_* of store.h are the program's matter: here they are indices
 * of this enum. \Recent is refused. */
enum imap_flag {
#define IMAP_FLAG(name, text) IMAP_FLAG_##name,
#include "imap/flags.def"
#undef IMAP_FLAG
	IMAP_FLAG_MAX_
};
extern const char *const imap_flag_names[IMAP_FLAG_MAX_];	/* "\\Seen" … */
struct imap_flags {
	uint32_t system;	/* bit per enum imap_flag */
	struct str *keywords;
	size_t n;
};
/* "(" [flag *(SP flag)] ")"; bare_ok: also one or more flags without parentheses to the end (STORE). */
int imap_get_flags(struct imap_lex *l, bool bare_ok, struct imap_flags *out, struct err *e) MUST_CHECK;

/* date: dd-Mon-yyyy, perhaps quoted, as days since 1970-01-01. date-time: " d-Mon-yyyy hh:mm:ss +zzzz" as seconds. */
int imap_get_date(struct imap_lex *l, int64_t *days_out, struct err *e) MUST_CHECK;
int imap_get_date_time(struct imap_lex *l, int64_t *unix_out, struct err *e) MUST_CHECK;
int imap_date_parse(struct str s, int64_t *days_out) MUST_CHECK;
int imap_date_time_parse(struct str s, int64_t *unix_out) MUST_CHECK;

#endif
