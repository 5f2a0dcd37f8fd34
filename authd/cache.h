/* Successful logins of the last minute, so that a client that connects often does not cost a password hash each time. An
 * entry is a tag: an HMAC with a key of this start over service, user and password, so neither is here. Failures are never
 * remembered. Everything is forgotten as soon as a password table changed (the stamp). Pure; bounded.
 */
#ifndef AUTHD_CACHE_H
#define AUTHD_CACHE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

enum { CACHE_TAG = 32, CACHE_ENTRIES = 4096, CACHE_FILES = 3 };

/* What the password tables looked like: compared whole, so it is made by cache_stamp_file() on a zeroed struct only. */
struct cache_stamp {
	uint64_t v[CACHE_FILES * 6];
};
void cache_stamp_file(struct cache_stamp *s, unsigned index, const struct stat *st);	/* st NULL: there is no such file */

struct cache;

struct cache *cache_new(void);		/* returns owned */
void cache_free(struct cache **c);	/* wipes */
void cache_flush(struct cache *c);
/* True when this tag was put less than ttl_ms ago and the stamp is still the same. now: monotonic ms. */
bool cache_has(struct cache *c, uint64_t now, uint64_t ttl_ms, const struct cache_stamp *stamp, const uint8_t tag[CACHE_TAG]);
/* stamp: taken before the password was checked, so that a change during the check is not missed. */
void cache_put(struct cache *c, uint64_t now, const struct cache_stamp *stamp, const uint8_t tag[CACHE_TAG]);

#endif
