/* Who waits, how long, and who does not. */
#include "grey.h"

#include <stdio.h>

#include "test/tap.h"

static const uint8_t one[16] = { [10] = 0xff, [11] = 0xff, [12] = 192, [13] = 0, [14] = 2, [15] = 1 };
static const uint8_t neighbour[16] = { [10] = 0xff, [11] = 0xff, [12] = 192, [13] = 0, [14] = 2, [15] = 77 };
static const uint8_t other[16] = { [10] = 0xff, [11] = 0xff, [12] = 192, [13] = 0, [14] = 3, [15] = 1 };
static const uint8_t six[16] = { 0x20, 1, 0xd, 0xb8, 0, 0, 0, 1, 5 }, six_near[16] = { 0x20, 1, 0xd, 0xb8, 0, 0, 0, 1, 9 }, six_far[16] = { 0x20, 1, 0xd, 0xb8, 0, 0, 0, 2, 5 };

static const struct {
	const char *name;
	const uint8_t *client;
	const char *sender, *recipient;
	int64_t now;
	uint64_t wait;
} steps[] = {
	{ "the first time", one, "a@x", "b@y", 1000, 300 },
	{ "too soon", one, "a@x", "b@y", 1100, 200 },
	{ "too soon, from a neighbour, in other letters", neighbour, "A@X", "B@y", 1200, 100 },
	{ "from elsewhere", other, "a@x", "b@y", 1300, 300 },
	{ "late enough", neighbour, "a@x", "b@y", 1300, 0 },
	{ "known from then on", one, "a@x", "b@y", 1301, 0 },
	{ "to another", one, "a@x", "c@y", 1301, 300 },
	{ "from another", one, "d@x", "b@y", 1301, 300 },
	{ "IPv6", six, "a@x", "b@y", 1301, 300 },
	{ "IPv6, the same /64", six_near, "a@x", "b@y", 1701, 0 },
	{ "IPv6, another /64", six_far, "a@x", "b@y", 1701, 300 },
	{ "the null sender", one, "", "b@y", 1701, 300 },
	{ "who comes back too late begins anew", one, "d@x", "b@y", 1301 + GREY_RETRY_S + 1, 300 },
	{ "still known", one, "a@x", "b@y", 1301 + 86400 * 30, 0 },
	{ "known no longer", one, "a@x", "b@y", 1301 + 86400 * 30 + 86400 * 36, 300 },
	{ "a clock that went back", one, "e@x", "b@y", 99999999, 300 },
	{ "and is asked then", one, "e@x", "b@y", 50000000, 300 },
};

int main(void)
{
	struct grey *g = grey_new(300, 86400 * 35);
	for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
		const uint64_t wait = grey_ask(g, steps[i].client, str_c(steps[i].sender), false, str_c(steps[i].recipient), steps[i].now);
		tap_ok(wait == steps[i].wait, "%s: %llu", steps[i].name, (unsigned long long)wait);
	}
	grey_wrote(g, STR("bob@ours"), STR("Friend@far"), 200000000);
	tap_ok(grey_ask(g, other, STR("friend@FAR"), true, STR("Bob@ours"), 200000001) == 0, "whom ours wrote to is known");
	tap_ok(grey_ask(g, other, STR("friend@far"), false, STR("bob@ours"), 200000001) == 300, "not who only says that he is it");
	tap_ok(grey_ask(g, other, STR("friend@far"), true, STR("alice@ours"), 200000001) == 300, "to another of ours he is not");
	tap_ok(grey_ask(g, other, STR("friend@far"), true, STR("bob@ours"), 200000000 + 86400 * 36) == 300, "nor for ever");
	grey_times(g, 100, 86400 * 40);
	tap_ok(grey_ask(g, other, STR("new@far"), true, STR("bob@ours"), 200000000 + 86400 * 36) == 100, "another delay, from now on");
	grey_times(g, 300, 86400 * 35);
	for (unsigned i = 0; i < GREY_ENTRIES_MAX + 10; i++) {
		char sender[40];
		snprintf(sender, sizeof(sender), "s%u@x", i);
		(void)grey_ask(g, one, str_c(sender), false, STR("b@y"), 300000000 + i);
	}
	tap_ok(grey_count(g) <= GREY_ENTRIES_MAX && grey_count(g) > GREY_ENTRIES_MAX / 2, "%zu entries at most", grey_count(g));
	grey_free(&g);
	return tap_done();
}
