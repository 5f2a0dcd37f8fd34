/* postern.conf: "name = value", main.cf syntax (continuation lines start with white space, # at a line's start
 * comments, $name and ${name} expand, a later line replaces an earlier one). Each parameter is one row of
 * lib/conf/params.def: from it come the field of struct conf, the default, the range check, `postern check`,
 * `postern config`, the manual's section and etc/postern.conf.sample. Values are an immutable snapshot.
 *
 *	struct conf *c;
 *	if (conf_load(path, &c, &problems, e) < 0) …	every mistake is in problems, with file:line
 *	c->message_size_limit …
 */
#ifndef CONF_CONF_H
#define CONF_CONF_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

/* Types of params.def and the C type of the field:
 *   TEXT  const char * ($ expanded, trimmed; "" when empty)
 *   DIGIT the same, whose name no identifier can be: conf_digit(c, 2bounce_notice_recipient)
 *   BOOL  bool (yes/no)         NUM  uint64_t       SIZE uint64_t bytes (k m g suffixes)
 *   SECS  uint64_t seconds (s m h d w suffixes)     LIST struct conf_list (split at commas and white space)
 *   ENUM  const char * (one of the words in its "values" column)
 */
struct conf_list {
	const char *const *v;
	size_t n;
};

struct conf {
#define PARAM_SECTION(title)
#define PARAM_TEXT(name, def, flags, doc) const char *name;
#define PARAM_DIGIT(name, def, flags, doc) const char *x##name;
#define PARAM_BOOL(name, def, flags, doc) bool name;
#define PARAM_NUM(name, def, min, max, flags, doc) uint64_t name;
#define PARAM_SIZE(name, def, min, max, flags, doc) uint64_t name;
#define PARAM_SECS(name, def, min, max, flags, doc) uint64_t name;
#define PARAM_LIST(name, def, flags, doc) struct conf_list name;
#define PARAM_ENUM(name, def, values, flags, doc) const char *name;
#include "conf/params.def"
#undef PARAM_SECTION
#undef PARAM_TEXT
#undef PARAM_DIGIT
#undef PARAM_BOOL
#undef PARAM_NUM
#undef PARAM_SIZE
#undef PARAM_SECS
#undef PARAM_LIST
#undef PARAM_ENUM
	const char *conf_file;		/* absolute path it was read from */
	const char *conf_dir;		/* its directory */
	struct conf_private *priv;
};

#define conf_digit(c, name) ((c)->x##name)

enum {
	PARAM_F_NONE = 0,
	PARAM_F_POSTFIX = 1,	/* Postfix's name and meaning */
	PARAM_F_SECRET = 2,	/* masked when printed */
	PARAM_F_RESTART = 4,	/* a reload cannot change it */
	PARAM_F_LATE = 8,	/* its $names are those of a delivery: not expanded here */
};

/* Read file. 0: *out is owned by the caller. -1: *e says how many problems; problems (may be NULL) holds one
 * line each: "FILE:LINE: name: what is wrong (allowed: …)". Unknown parameters that main.cf has in Postfix are
 * accepted with a warning line "FILE:LINE: warning: …"; unknown other names are errors unless some value
 * refers to them as $name. */
int conf_load(const char *file, struct conf **out, struct buf *problems, struct err *e) MUST_CHECK;
/* The same for the start of a program: its mistakes go to standard error, and warnings too if they are wanted. file NULL: the default. */
int conf_load_told(const char *program, const char *file, bool warnings, struct conf **out) MUST_CHECK;
/* The same from memory; file is the name in problems. */
int conf_parse(struct str text, const char *file, struct conf **out, struct buf *problems, struct err *e) MUST_CHECK;
void conf_free(struct conf **c);
/* The path given with -c, else the compiled-in default (PREFIX's etc/postern/postern.conf). */
const char *conf_default_file(void);
/* Print parameters as "name = value"; only_changed: those that differ from the default. */
void conf_print(const struct conf *c, bool only_changed, FILE *to);
/* Value of a parameter or of a user-defined name, unexpanded text; false when not known. */
bool conf_lookup(const struct conf *c, const char *name, struct str *out);

/* --- values with PARAM_F_LATE --- */
/* What stands for $name now; false: there is no such name. */
typedef bool conf_late_fn(void *ctx, struct str name, struct str *value_out);
/* Append text with its names filled in: $name, ${name}, $(name), ${name?text}, ${name:text}, ${name?{text}:{other}}, $$. What stands for a name is not looked at
 * again. ERR_CONF: a name that is not known, or none. */
int conf_late(struct str text, conf_late_fn *fn, void *ctx, struct buf *out, struct err *e) MUST_CHECK;

/* --- for tools --- */
struct conf_param_info {
	const char *name, *def, *doc;
	unsigned flags;
};
bool conf_param_info(const char *name, struct conf_param_info *out);	/* false: no such parameter */
bool conf_param_next(size_t *it, const char **name);			/* walk: *it starts at 0 */
bool conf_param_changed(const struct conf *c, const char *name);	/* the file sets it, to something else than the default */
unsigned conf_param_line(const struct conf *c, const char *name);	/* where the file sets it; 0: nowhere */
/* Expanded value, masked when secret; copied into a. ERR_NOENT: no such name. */
int conf_param_value(const struct conf *c, const char *name, struct arena *a, struct str *out, struct err *e) MUST_CHECK;
void conf_print_sample(FILE *to);	/* etc/postern.conf.sample */
void conf_print_mdoc(FILE *to);		/* the generated part of postern.conf(5) */

/* Listener overrides. "listeners" rows look like:
 *   smtp_listeners = 127.0.0.1:25 [::1]:25 465/submissions 587/submission
 * parsed here into address, port, profile. Host missing = inet_interfaces. */
struct conf_listener {
	const char *host;	/* numeric address, or "" for all addresses */
	uint16_t port;
	const char *profile;	/* "smtp" (port 25), "submission" (STARTTLS, AUTH required), "submissions" (implicit TLS), "lmtp";
				 * "imap"/"imaps", "pop3"/"pop3s" */
	const char *name;	/* of its "listener.NAME" line; "" for those of the lists */
};
/* Is this family, AF_INET or AF_INET6, among inet_protocols? */
bool conf_protocol(const struct conf *c, int family);
/* All listeners of a service ("smtp", "imap", "pop3"): those of rows, and those of lines of their own,
 *	listener.alternate = 725/smtp
 *	listener.scanner = 10.0.0.5:2525/smtp -o smtpd_tls_auth_only=no -o { mynetworks = 10.0.0.0/24 }
 * whose overrides conf_for() gives. */
int conf_listeners(const struct conf *c, struct conf_list rows, const char *default_profile, struct arena *a,
		   struct conf_listener **out, size_t *n_out, struct err *e) MUST_CHECK;

/* The values for a connection to the listener of that name: the overrides of its line, and what is another value under stress. c itself when there
 * are none. Lives as long as c. */
const struct conf *conf_for(const struct conf *c, struct str listener, bool stress);
/* Walk them: the file's own (name "") and each listener's; *it starts at 0. */
bool conf_variant_next(const struct conf *c, size_t *it, const char **name_out, const struct conf **out);

/* Lists of networks ("mynetworks" syntax: 10.0.0.0/8, [2001:db8::]/32, !exclusions, first match wins). */
struct cidr {
	uint8_t addr[16];	/* IPv4 as ::ffff:a.b.c.d */
	uint8_t bits;		/* 0..128 of the mapped form */
	bool negate;
};
int cidr_parse(struct str s, struct cidr *out, struct err *e) MUST_CHECK;
bool cidr_match(const struct cidr *list, size_t n, const uint8_t addr[16]);
bool conf_is_score(const char *text);	/* a finite number; empty: none, which is right, too */
bool conf_list_has(struct conf_list l, const char *word);	/* exactly so */
const char *conf_list_stray(struct conf_list some, struct conf_list all);	/* the first of some that is not in all; NULL: none */
bool conf_networks_have(struct conf_list networks, const uint8_t addr[16]);	/* the same from a checked list; false when addr is in none */
int addr_parse(struct str s, uint8_t addr[16]) MUST_CHECK;	/* numeric v4 or v6, no brackets; -1 if it is not one */
enum { CONF_HOST_MAX = 64 };
/* "127.0.0.1:9154", "[::1]:9154": a numeric address and a port. ERR_CONF when it is not. */
int conf_host_port(struct str text, char host_out[CONF_HOST_MAX], uint16_t *port_out, struct err *e) MUST_CHECK;
/* mail_location (place.c): text, or a piece of the account: var u n d h, letters L or U or 0, from offset on at most width bytes. */
struct conf_place_part {
	struct str text;	/* borrows; var 0 */
	char var, letters;
	size_t offset, width;
};
struct str conf_place_start(struct str location, bool *below_home_out);	/* the parts, without "maildir:" and "~" */
int conf_place_next(struct str *in, struct conf_place_part *out) MUST_CHECK;	/* *in, not empty, advances; -1: it is wrong there */
const char *conf_place_wrong(struct str location);	/* what an administrator is told; NULL: it can be understood */
/* pop3_uidl_format (uidl.c): text, or var u v f g */
struct conf_uidl_part {
	struct str text;	/* borrows; var 0 */
	char var;
	bool hex, zero;
	unsigned width;		/* 0: none */
};
int conf_uidl_next(struct str *in, struct conf_uidl_part *out) MUST_CHECK;	/* like conf_place_next */
const char *conf_uidl_wrong(struct str format);

#endif
