/* The limits trigger at exactly the configured counts; what never locks out does not. */
#include "authd/throttle.h"

#include <stdio.h>

#include "base/buf.h"
#include "test/tap.h"

static struct throttle_client at(unsigned a, unsigned b, unsigned c, unsigned d)
{
	return (struct throttle_client){ .has_addr = true,
					 .addr = { [10] = 0xff, [11] = 0xff, (uint8_t)a, (uint8_t)b, (uint8_t)c, (uint8_t)d } };
}

static struct throttle_client at6(unsigned char third, unsigned char host)
{
	return (struct throttle_client){ .has_addr = true, .addr = { 0x20, 0x01, 0x0d, 0xb8, 0, 1, 0, third, [15] = host } };
}

static struct throttle *fresh(void)
{
	struct throttle_limits l = throttle_defaults;

	return throttle_new(&l);
}

static void test_address(void)
{
	struct throttle *t = fresh();
	struct throttle_client c = at(192, 0, 2, 1), other = at(192, 0, 2, 2);
	static const uint32_t want[] = { 2000, 4000, 8000, 15000, 15000, 15000, 15000, 15000, 15000, 15000 };
	uint32_t now = 1000000;

	for (uint64_t i = 0; i < 10; i++) {
		char user[16];

		snprintf(user, sizeof user, "u%u", (unsigned)i);
		tap_is_int(throttle_ask(t, now, &c, str_c(user)), THROTTLE_PASS, "attempt %u is let through", (unsigned)i + 1);
		tap_is_int(throttle_fail(t, now, &c, str_c(user), true, 100 + i), want[i], "delay after failure %u", (unsigned)i + 1);
	}
	tap_is_int(throttle_ask(t, now, &c, STR("u11")), THROTTLE_REFUSED, "refused after the tenth");
	tap_is_int(throttle_ask_client(t, now, &c), THROTTLE_REFUSED, "refused before a name is known");
	tap_is_int(throttle_ask(t, now, &other, STR("u11")), THROTTLE_PASS, "the neighbour is not refused");
	tap_is_int(throttle_ask(t, now + 899, &c, STR("u11")), THROTTLE_REFUSED, "still refused after 899 s");
	tap_is_int(throttle_ask(t, now + 900, &c, STR("u11")), THROTTLE_PASS, "free after 900 s");
	now += 900;
	for (uint64_t i = 0; i < 10; i++)
		throttle_fail(t, now, &c, STR("z"), false, 500 + i);
	tap_is_int(throttle_ask(t, now + 3599, &c, STR("u11")), THROTTLE_REFUSED, "the second refusal lasts four times longer");
	tap_is_int(throttle_ask(t, now + 3600, &c, STR("u11")), THROTTLE_PASS, "and ends");
	throttle_free(&t);
}

static void test_window(void)
{
	struct throttle *t = fresh();
	struct throttle_client c = at(192, 0, 2, 1);

	for (uint32_t i = 0; i < 9; i++)
		throttle_fail(t, 1000, &c, STR("u"), false, i + 1);
	throttle_fail(t, 1000 + 900, &c, STR("v"), true, 77);
	tap_is_int(throttle_count(t, 1900, &c), 1, "counting starts anew after the window");
	tap_is_int(throttle_ask(t, 1900, &c, STR("v")), THROTTLE_PASS, "nine old and one new failure refuse nobody");
	throttle_free(&t);
}

static void test_repeat(void)
{
	struct throttle *t = fresh();
	struct throttle_client c = at(192, 0, 2, 1);

	for (int i = 0; i < 500; i++)
		throttle_fail(t, 1000 + (uint32_t)i, &c, STR("phone"), true, 42);
	tap_is_int(throttle_count(t, 1500, &c), 1, "the same wrong password counts once");
	tap_is_int(throttle_ask(t, 1500, &c, STR("phone")), THROTTLE_PASS, "an old phone locks nobody out");
	throttle_fail(t, 1000 + 3700, &c, STR("phone"), true, 42);
	tap_is_int(throttle_count(t, 4700, &c), 1, "and again after an hour");
	throttle_free(&t);
}

static void test_pair_and_known(void)
{
	struct throttle *t = fresh();
	struct throttle_client thief = at(198, 51, 100, 7), owner = at(192, 0, 2, 1);

	throttle_success(t, 500, &owner, STR("joe"), true);
	for (uint64_t i = 0; i < 5; i++)
		throttle_fail(t, 1000, &thief, STR("joe"), true, 1 + i);
	tap_is_int(throttle_ask(t, 1000, &thief, STR("joe")), THROTTLE_REFUSED, "five different passwords: the pair is refused");
	tap_is_int(throttle_ask(t, 1000, &thief, STR("ann")), THROTTLE_PASS, "another account from there is not");
	for (uint64_t i = 0; i < 5; i++)
		throttle_fail(t, 1000, &owner, STR("joe"), true, 100 + i);
	tap_is_int(throttle_ask(t, 1000, &owner, STR("joe")), THROTTLE_PASS, "a known network is not locked out by five");
	for (unsigned n = 0; n < 30; n++) {
		struct throttle_client bot = at(203, n, 113, 9);

		throttle_fail(t, 1001, &bot, STR("joe"), true, 1000 + n);
	}
	struct throttle_client stranger = at(100, 64, 1, 1);
	tap_is_int(throttle_ask(t, 1001, &stranger, STR("joe")), THROTTLE_GUARDED, "an attacked account is guarded");
	tap_is_int(throttle_ask(t, 1001, &owner, STR("joe")), THROTTLE_PASS, "its owner gets in at the usual place");
	tap_is_int(throttle_ask(t, 1001, &stranger, STR("ann")), THROTTLE_PASS, "other accounts are not guarded");
	tap_is_int(throttle_ask(t, 1001 + 900, &stranger, STR("joe")), THROTTLE_PASS, "the guard ends");
	tap_is_int(throttle_ask(t, 500 + 31 * 86400, &owner, STR("joe")), THROTTLE_PASS, "a forgotten network starts as a stranger");
	throttle_free(&t);
}

static void test_network(void)
{
	struct throttle *t = fresh();
	uint32_t delay = 0;

	for (unsigned i = 0; i < 50; i++) {
		struct throttle_client c = at(192, 0, 2, i);
		char user[16];

		snprintf(user, sizeof user, "n%u", i);
		struct throttle_client next = at(192, 0, 2, 200);
		tap_ok(throttle_ask_client(t, 1000, &next) == THROTTLE_PASS, "network open after %u failures", i);
		delay = throttle_fail(t, 1000, &c, str_c(user), false, i + 1);
	}
	struct throttle_client c = at(192, 0, 2, 201), beyond = at(192, 0, 3, 1);
	tap_is_int(delay, 5000, "late failures of a network wait five seconds");
	tap_is_int(throttle_ask_client(t, 1000, &c), THROTTLE_REFUSED, "fifty failures refuse the network");
	tap_is_int(throttle_ask_client(t, 1000, &beyond), THROTTLE_PASS, "the next network is open");
	throttle_free(&t);
}

static void test_v6(void)
{
	struct throttle *t = fresh();

	for (unsigned i = 0; i < 10; i++) {
		struct throttle_client c = at6(1, (unsigned char)i);
		char user[16];

		snprintf(user, sizeof user, "n%u", i);
		throttle_fail(t, 1000, &c, str_c(user), true, i + 1);
	}
	struct throttle_client same = at6(1, 99), next = at6(2, 1);
	tap_is_int(throttle_ask(t, 1000, &same, STR("x")), THROTTLE_REFUSED, "one IPv6 /64 is one address");
	tap_is_int(throttle_ask(t, 1000, &next, STR("x")), THROTTLE_PASS, "the next /64 is another");
	throttle_free(&t);
}

static void test_dictionary(void)
{
	struct throttle_limits l = throttle_defaults;

	l.address_max = 100;
	struct throttle *t = throttle_new(&l);
	struct throttle_client c = at(192, 0, 2, 1);
	for (unsigned i = 0; i < 20; i++) {
		char user[16];

		snprintf(user, sizeof user, "d%u", i);
		tap_ok(throttle_ask(t, 1000, &c, str_c(user)) == THROTTLE_PASS, "name %u is tried", i);
		throttle_fail(t, 1000, &c, str_c(user), false, i + 1);
	}
	tap_is_int(throttle_ask(t, 1000, &c, STR("joe")), THROTTLE_REFUSED, "twenty unknown names are a dictionary");
	throttle_free(&t);
}

static void test_exempt_and_local(void)
{
	struct throttle *t = fresh();
	struct throttle_client c = at(127, 0, 0, 1), mux = { 0 };

	c.exempt = true;
	for (unsigned i = 0; i < 100; i++)
		tap_ok(throttle_fail(t, 1000, &c, STR("joe"), true, i + 1) == 0, "exempt %u", i);
	tap_is_int(throttle_ask(t, 1000, &c, STR("joe")), THROTTLE_PASS, "an exempt network is never refused");
	for (unsigned i = 0; i < 5; i++)
		throttle_fail(t, 1000, &mux, STR("joe"), true, 1000 + i);
	tap_is_int(throttle_ask(t, 1000, &mux, STR("joe")), THROTTLE_REFUSED, "without an address the pair is limited all the same");
	tap_is_int(throttle_ask(t, 1000, &mux, STR("ann")), THROTTLE_PASS, "but not the service");
	throttle_free(&t);
}

static void test_bounds(void)
{
	struct throttle *t = fresh();

	for (unsigned i = 0; i < 300000; i++) {
		struct throttle_client c = i & 1 ? at(i >> 16 & 255, i >> 8 & 255, i & 255, 1) :
			(struct throttle_client){ .has_addr = true, .addr = { 0x20, 1, (uint8_t)(i >> 16), (uint8_t)(i >> 8), (uint8_t)i } };
		char user[16];

		snprintf(user, sizeof user, "b%u", i);
		throttle_fail(t, 1000, &c, str_c(user), true, i + 1);
	}
	tap_ok(throttle_bytes(t) <= 8 << 20, "300,000 failures need at most 8 MiB (%zu)", throttle_bytes(t));
	tap_ok(throttle_evicted(t) > 0, "evictions are counted");
	throttle_free(&t);
}

/* An application password forgives nothing, and gives no more guesses than a stranger has. */
static void test_unforgiving(void)
{
	for (int main = 0; main < 2; main++) {
		struct throttle *t = fresh();
		const struct throttle_client c = at(192, 0, 2, 1);
		struct throttle_client from = c;

		for (uint64_t i = 0; i < 24; i++) {
			from.addr[15] = (uint8_t)(1 + i % 4);	/* of one network, below the address's own limit */
			throttle_success(t, 1000, &from, STR("joe"), main);
			throttle_fail(t, 1000, &from, STR("joe"), true, 1 + i);
		}
		tap_is_int(throttle_ask(t, 1000, &c, STR("joe")), main ? THROTTLE_PASS : THROTTLE_REFUSED, "a success of the main password: %d", main);
		throttle_free(&t);
	}
}

/* What a network is worth in which an application password alone has been right. */
static void test_known_by_app(void)
{
	struct throttle *t = fresh();
	const struct throttle_client c = at(192, 0, 2, 1), neighbour = at(192, 0, 2, 77);

	throttle_success(t, 1000, &c, STR("joe"), false);
	for (uint64_t i = 0; i < 50; i++) {
		const struct throttle_client other = at(192, 0, 2, (unsigned)(10 + i));
		throttle_fail(t, 1000, &other, STR("ghost"), false, 1 + i);
	}
	tap_is_int(throttle_ask(t, 1000, &neighbour, STR("joe")), THROTTLE_PASS, "others' failures in the network do not lock it out");
	tap_is_int(throttle_ask(t, 1000, &neighbour, STR("ann")), THROTTLE_REFUSED, "as they do who is not known");
	for (unsigned n = 0; n < 30; n++) {
		const struct throttle_client bot = at(203, n, 113, 9);
		throttle_success(t, 1000, &bot, STR("joe"), false);
		throttle_fail(t, 1000, &bot, STR("joe"), true, 1000 + n);
	}
	const struct throttle_client next = at(203, 99, 113, 9);
	throttle_success(t, 1000, &next, STR("joe"), false);
	tap_is_int(throttle_ask(t, 1000, &next, STR("joe")), THROTTLE_GUARDED, "whoever has an application password cannot guess on from everywhere");
	throttle_success(t, 1000, &next, STR("joe"), true);
	tap_is_int(throttle_ask(t, 1000, &next, STR("joe")), THROTTLE_PASS, "the main password was right there");
	throttle_success(t, 1001, &next, STR("joe"), false);
	tap_is_int(throttle_ask(t, 1001, &next, STR("joe")), THROTTLE_PASS, "and an application password does not take that away");
	throttle_free(&t);
}

static void test_forgiven(void)
{
	struct throttle *t = throttle_new(&throttle_defaults);
	const struct throttle_client c = at(192, 0, 2, 7), other = at(198, 51, 100, 7);

	for (unsigned i = 0; i < 30; i++) {
		(void)throttle_fail(t, 1000, &c, STR("joe"), true, i + 1);
		(void)throttle_fail(t, 1000, &other, STR("joe"), true, i + 100);
	}
	tap_is_int(throttle_ask(t, 1000, &c, STR("joe")), THROTTLE_REFUSED, "refused");
	tap_ok(throttle_forgive(t, 1000, &c, STR("joe")), "it was refused");
	tap_is_int(throttle_ask(t, 1000, &c, STR("joe")), THROTTLE_PASS, "forgiven");
	tap_is_int(throttle_ask_client(t, 1000, &c), THROTTLE_PASS, "and the address");
	tap_is_int((long long)throttle_count(t, 1000, &c), 0, "nothing is counted any more");
	tap_is_int(throttle_ask(t, 1000, &other, STR("joe")), THROTTLE_REFUSED, "the other address still is");
	tap_ok(!throttle_forgive(t, 1000, &c, STR("joe")), "nothing is left to forgive");
	throttle_free(&t);
}

static void test_snapshot(void)
{
	struct throttle *t = fresh(), *u = fresh();
	struct throttle_client c = at(192, 0, 2, 1), owner = at(198, 51, 100, 1);
	struct buf b, again;
	struct err e = { 0 };

	buf_init(&b, THROTTLE_SNAPSHOT_MAX);
	buf_init(&again, THROTTLE_SNAPSHOT_MAX);
	throttle_success(t, 1000, &owner, STR("joe"), true);
	for (uint64_t i = 0; i < 10; i++)
		throttle_fail(t, 1000, &c, STR("joe"), true, i + 1);
	tap_ok(throttle_dirty(t), "failures make it worth saving");
	throttle_save(t, 1001, &b);
	tap_ok(!throttle_dirty(t), "saving cleans");
	tap_is_int(throttle_load(u, buf_view(&b), &e), 0, "a snapshot loads");
	tap_is_int(throttle_ask(u, 1001, &c, STR("ann")), THROTTLE_REFUSED, "refusals survive");
	throttle_save(u, 1001, &again);
	tap_is_mem(buf_view(&again), buf_view(&b), "save, load, save is the same");
	for (size_t cut = 0; cut + 1 < b.n; cut++) {
		struct throttle *w = fresh();

		if (throttle_load(w, str_n(b.p, cut), &e) == 0)
			tap_ok(false, "a snapshot cut at %zu is refused", cut);
		throttle_free(&w);
	}
	tap_ok(throttle_load(u, STR("postern-throttle 1 0123456789abcdef0123456789abcdef\n4 1 2 3 99999999 5 6\nend\n"), &e) < 0,
	       "numbers out of range are refused");
	buf_fini(&b);
	buf_fini(&again);
	throttle_free(&t);
	throttle_free(&u);
}

int main(void)
{
	test_address();
	test_window();
	test_repeat();
	test_pair_and_known();
	test_network();
	test_v6();
	test_dictionary();
	test_exempt_and_local();
	test_bounds();
	test_unforgiving();
	test_known_by_app();
	test_forgiven();
	test_snapshot();
	return tap_done();
}
