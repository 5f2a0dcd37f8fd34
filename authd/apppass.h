/* Application passwords: further passwords of a user, each for one device or program, each to be taken away by itself. The server makes them: 24 of 24 letters
 * (110 bits) at random, so SHA-256 with a salt keeps them as well as any slow hash, and a login costs none. They stand in passwd.cdb beside the hashes of passwords
 * (passfile.h), all of a user in one record, key "=app " and the account name; value: a line of the version and of what the main password is for, then a line each:
 *
 *	1 any				"any": the main password serves everywhere; "webmail": only connections from webmail_hosts
 *	0123456789abcdef 1795000000 0 imap,smtp SALT HASH phone		id, made, expires (Unix seconds; 0: never), services or "all", hexadecimal, name
 *
 * All pure but for random bytes in app_make().
 */
#ifndef AUTHD_APPPASS_H
#define AUTHD_APPPASS_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

enum {
	APP_PASSWORDS_MAX = 20,		/* of a user */
	APP_NAME_MAX = 40,
	APP_ID = 16,			/* hexadecimal digits */
	APP_LETTERS = 24,
	APP_SALT = 16,
	APP_HASH = 32,
	APP_RECORD_MAX = 8192,
	APP_SHOWN = APP_LETTERS + APP_LETTERS / 4,	/* with what stands between the groups, and a NUL */
};
#define APP_KEY "=app "			/* no account name begins with "=" */

enum { APP_IMAP = 1, APP_POP3 = 2, APP_SMTP = 4, APP_OTHER = 8, APP_ALL = 15 };

struct app_password {
	struct str id, name;		/* borrow */
	unsigned services;
	uint64_t made, expires;		/* Unix seconds; expires 0: never */
	uint8_t salt[APP_SALT], hash[APP_HASH];
};

struct app_passwords {
	bool main_for_webmail;		/* and for nothing else */
	struct app_password v[APP_PASSWORDS_MAX];
	size_t n;
};

bool app_name_valid(struct str name);	/* as an account's, at most APP_NAME_MAX bytes */
static inline bool app_id_valid(struct str id)	/* here: the monitor does not link apppass.c, which hashes */
{
	for (size_t i = 0; i < id.n; i++)
		if (!memchr("0123456789abcdef", id.p[i], 16))
			return false;
	return id.n == APP_ID;
}
unsigned app_service(struct str name);	/* of a login: "imap" "pop3" "pop" "smtp"; any other is APP_OTHER */
/* "imap,smtp" or "all"; ERR_INPUT names what is neither imap, pop3 nor smtp. */
int app_services_parse(struct str s, unsigned *out, struct err *e) MUST_CHECK;
void app_services_format(unsigned services, struct buf *out);
int app_parse(struct str value, struct app_passwords *out, struct err *e) MUST_CHECK;
/* Drops those that were made before (Unix seconds): for an account that had the name earlier. */
void app_drop_before(struct app_passwords *p, uint64_t since);
void app_format(const struct app_passwords *p, struct buf *out);
/* A new one: salt, hash, and id_out, which out borrows. shown: "abcd-efgh-…", the only time that it is seen. The rest of out is the caller's. */
int app_make(struct app_password *out, char id_out[APP_ID + 1], char shown[APP_SHOWN], struct err *e) MUST_CHECK;
/* 1 and *which: given is this one of p, for this service, at this time; 0; -1: no hash can be computed. Blanks, "-" and case in given do not count. Costs the same
 * whatever p is. */
int app_match(const struct app_passwords *p, struct str given, unsigned service, uint64_t now, const struct app_password **which, struct err *e) MUST_CHECK;

#endif
