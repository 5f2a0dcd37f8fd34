/* Any text as the users file, a password record, one of application passwords, the file of their uses and a login snapshot; what parses is formatted and parsed
 * again. */
#include <assert.h>
#include <stdint.h>

#include "authd/apppass.h"
#include "authd/passfile.h"
#include "authd/throttle.h"
#include "authd/users.h"
#include "authd/uses.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void app_passwords(struct str text)
{
	struct app_passwords p, again;
	const struct app_password *which = NULL;
	struct uses *u = uses_new();
	struct err e = { 0 };
	struct buf out;

	buf_init(&out, USES_FILE_MAX);
	if (app_parse(text, &p, &e) == 0) {
		app_format(&p, &out);
		assert(app_parse(buf_view(&out), &again, &e) == 0 && again.n == p.n && again.main_for_webmail == p.main_for_webmail);
		assert(app_match(&p, text, APP_IMAP, 1, &which, &e) == 0);
	}
	buf_reset(&out);
	uses_parse(u, text);
	uses_format(u, &out);
	assert(!buf_failed(&out));
	uses_free(&u);
	buf_fini(&out);
}

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
	app_passwords(str_n(data, size));
	struct throttle *t = throttle_new(&throttle_defaults);
	(void)!throttle_load(t, str_n(data, size), &e);
	throttle_free(&t);
	buf_fini(&out);
	arena_free(&a);
	return 0;
}
