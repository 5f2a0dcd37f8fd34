/* Which daemons have died since the last look, by systemd's counts of restarts. */
#include "admin/alarm/alarm.h"
#include "base/attr.h"
#include "test/tap.h"

static const struct {
	const char *what, *before, *now, *want;
} cases[] = {
	{ "nothing is known, nothing has died", "", "a.service 0\n", "" },
	{ "the first look", "", "a.service 2\nb.service 0\n", "a.service (2)" },
	{ "the same as before", "a.service 2\n", "a.service 2\n", "" },
	{ "more than before, of two units", "a.service 2\nb.service 1\n", "b.service 2\na.service 5\n", "b.service (1), a.service (3)" },
	{ "a count that began anew", "a.service 7\n", "a.service 1\n", "a.service (1)" },
	{ "a machine that was started again", "a.service 7\n", "a.service 0\n", "" },
	{ "a unit that is new", "a.service 7\n", "a.service 7\nc.service 1\n", "c.service (1)" },
	{ "a file that is no such file", "x\ny z\na.service many\n", "a.service 1\n", "a.service (1)" },
	{ "an answer that is none", "a.service 1\n", "a.service\nb.service x\n", "" },
};

int main(void)
{
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct buf text;
		buf_init(&text, 1000);
		alarm_restarts_compare(str_c(cases[i].before), str_c(cases[i].now), &text);
		const struct str said = buf_view(&text), tail = str_c(cases[i].want);
		tap_ok(tail.n == 0 ? said.n == 0 : said.n > tail.n && str_eq(str_from(said, said.n - tail.n), tail), "%s", cases[i].what);
		buf_fini(&text);
	}
	return tap_done();
}
