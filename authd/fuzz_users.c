/* Any text as the users file, a password record and a login snapshot; what parses is formatted and parsed again. */
#include <assert.h>
#include <stdint.h>

#include "authd/passfile.h"
#include "authd/throttle.h"
#include "authd/users.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct arena *a = arena_new(0);
	struct users u, again;
	struct pass_record r;
	struct err e = { 0 };
	struct buf out;

	buf_init(&out, USERS_FILE_MAX);
	if (users_parse(str_n(data, size), 200000, 100000, a, &u, &e) == 0) {
		users_format(&u, &out);
		assert(users_parse(buf_view(&out), 200000, 100000, a, &again, &e) == 0 && again.n == u.n);
	}
	(void)!pass_record_parse(str_n(data, size), &r, &e);
	struct throttle *t = throttle_new(&throttle_defaults);
	(void)!throttle_load(t, str_n(data, size), &e);
	throttle_free(&t);
	buf_fini(&out);
	arena_free(&a);
	return 0;
}
