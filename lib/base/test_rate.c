/* Windows begin with a key's first event, kinds are counted apart, and a full table neither grows nor counts strangers. */
#include <stdio.h>

#include "base/rate.h"
#include "test/tap.h"

int main(void)
{
	struct rate *r = rate_new(3);
	const struct str a = STR("a"), b = STR("b");
	char key[16];

	tap_ok(rate_hit(r, a, RATE_MAIL, 1000, 500) == 1 && rate_hit(r, a, RATE_MAIL, 1499, 500) == 2, "within a window");
	tap_is_int((long long)rate_hit(r, a, RATE_RCPT, 1499, 500), 1, "kinds are apart");
	tap_is_int((long long)rate_hit(r, b, RATE_MAIL, 1499, 500), 1, "keys are apart");
	tap_is_int((long long)rate_hit(r, a, RATE_MAIL, 1500, 500), 1, "the next window");
	for (int i = 0; i < 100; i++) {
		(void)snprintf(key, sizeof key, "k%d", i);
		(void)rate_hit(r, str_c(key), RATE_MAIL, 1501, 500);
	}
	tap_ok(rate_count(r) <= 3, "bounded");
	tap_is_int((long long)rate_hit(r, a, RATE_MAIL, 1502, 500), 2, "those who are in it stay counted");
	tap_is_int((long long)rate_hit(r, STR("late"), RATE_MAIL, 1503, 500), 1, "who is not is let pass");
	tap_ok(rate_hit(r, STR("new"), RATE_MAIL, 5000, 500) == 1 && rate_hit(r, STR("new"), RATE_MAIL, 5001, 500) == 2, "what is over makes room");
	rate_free(&r);
	return tap_done();
}
