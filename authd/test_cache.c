/* A success is remembered for its time, for its tag only, and never beyond a change of a password table. */
#include "authd/cache.h"

#include <string.h>

#include "test/tap.h"

int main(void)
{
	struct cache *c = cache_new();
	struct cache_stamp s = { 0 }, changed = { 0 };
	struct stat st = { .st_ino = 7, .st_size = 100, .st_mtim = { 5, 6 }, .st_ctim = { 5, 6 } };
	uint8_t a[CACHE_TAG] = { 1, 2, 3 }, b[CACHE_TAG] = { 1, 2, 3, [31] = 1 };

	cache_stamp_file(&s, 0, &st);
	st.st_ctim.tv_nsec++;
	cache_stamp_file(&changed, 0, &st);
	tap_ok(!cache_has(c, 1000, 60000, &s, a), "an empty cache knows nobody");
	cache_put(c, 1000, &s, a);
	tap_ok(cache_has(c, 1000, 60000, &s, a), "a success is remembered");
	tap_ok(cache_has(c, 60999, 60000, &s, a), "until its time is over");
	tap_ok(!cache_has(c, 61000, 60000, &s, a), "and not longer");
	tap_ok(!cache_has(c, 1000, 60000, &s, b), "another tag in the same bucket is not it");
	tap_ok(!cache_has(c, 1000, 0, &s, a), "time 0 switches it off");
	tap_ok(!cache_has(c, 2000, 60000, &changed, a), "a changed password table empties it");
	tap_ok(!cache_has(c, 2000, 60000, &s, a), "for good");
	cache_put(c, 3000, &changed, a);
	tap_ok(cache_has(c, 3000, 60000, &changed, a), "a success after the change counts");
	cache_flush(c);
	tap_ok(!cache_has(c, 3000, 60000, &changed, a), "flush forgets");
	for (unsigned i = 0; i < 20000; i++) {
		uint8_t t[CACHE_TAG];

		memset(t, 0, sizeof t);
		memcpy(t, &i, sizeof i);
		cache_put(c, 4000 + i, &changed, t);
	}
	unsigned last = 19999;
	uint8_t t[CACHE_TAG] = { 0 };
	memcpy(t, &last, sizeof last);
	tap_ok(cache_has(c, 24000, 60000, &changed, t), "the newest survive overflow");
	cache_free(&c);
	return tap_done();
}
