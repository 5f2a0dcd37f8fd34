/* Text for logs: what is made harmless, and how durations are written. */
#include <stdio.h>
#include <string.h>

#include "base/near.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/enc.h"
#include "test/tap.h"

static const struct {
	const char *in;
	size_t max;
	bool ascii;
	const char *out;
} texts[] = {
	{ "", 10, false, "" },
	{ "plain text that is longer than eight bytes", 100, false, "plain text that is longer than eight bytes" },
	{ "exactly ten", 11, false, "exactly ten" },
	{ "exactly ten", 10, false, "exactly te..." },
	{ "anything", 0, false, "..." },
	{ "\r\n", 0, false, "..." },
	{ "one line\r\nanother", 100, false, "one line??another" },
	{ "one line\r\nanother", 9, false, "one line?..." },
	{ "caf\xc3\xa9 au lait", 100, false, "caf\xc3\xa9 au lait" },
	{ "caf\xc3\xa9 au lait", 100, true, "caf? au lait" },
	{ "caf\xc3\xa9 au lait", 4, false, "caf..." },
	{ "caf\xc3\xa9 au lait", 5, false, "caf\xc3\xa9..." },
	{ "\x7f del, \xc2\x85 next line, \xe2\x80\xae override, \xff nothing", 100, false, "? del, ? next line, ? override, ? nothing" },
};

static void neutral(void)
{
	struct buf b;

	buf_init(&b, 200);
	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		buf_reset(&b);
		buf_c(&b, "before ");
		text_neutral(&b, str_c(texts[i].in), texts[i].max, texts[i].ascii);
		tap_is_str(b.p + strlen("before "), texts[i].out, "text %zu", i);
	}
	buf_fini(&b);
	buf_init(&b, 4);
	text_neutral(&b, STR("too much for it\r\n"), 100, false);
	tap_ok(buf_failed(&b), "a buffer that is too small has failed");
	buf_fini(&b);
}

static const struct {
	uint64_t us;
	const char *out;
} durations[] = {
	{ 0, "0" }, { 499, "0" }, { 500, "0.0005" }, { 940, "0.0009" }, { 960, "0.001" }, { 1000, "0.001" }, { 1499, "0.001" }, { 7600, "0.008" }, { 9499, "0.009" },
	{ 9600, "0.01" }, { 10000, "0.01" }, { 12345, "0.012" }, { 99400, "0.099" }, { 99600, "0.1" }, { 100000, "0.1" }, { 123456, "0.12" }, { 500000, "0.5" },
	{ 994000, "0.99" }, { 996000, "1" }, { 1000000, "1.0" }, { 1234567, "1.2" }, { 9940000, "9.9" }, { 9960000, "10.0" }, { 10000000, "10" }, { 12499999, "12" },
	{ 12500000, "13" }, { UINT64_C(86400000000), "86400" },
};

/* What printf would have written, which took longer than all the rest of the line. */
static void by_printf(char out[40], double s)
{
	if (s < 0.0005)
		(void)snprintf(out, 40, "0");
	else if (s < 0.01)
		(void)snprintf(out, 40, "%.1g", s);
	else if (s < 1)
		(void)snprintf(out, 40, "%.2g", s);
	else
		(void)snprintf(out, 40, s < 10 ? "%.1f" : "%.0f", s);
}

static void seconds(void)
{
	unsigned wrong = 0;
	char want[40];
	struct buf b;

	buf_init(&b, 40);
	for (size_t i = 0; i < ARRAY_LEN(durations); i++) {
		buf_reset(&b);
		buf_seconds(&b, durations[i].us);
		tap_is_str(b.p, durations[i].out, "%llu us", (unsigned long long)durations[i].us);
	}
	for (uint64_t us = 1; us < 20000000; us += 1 + us / 50) {
		if (us % 50 == 0)
			continue;	/* half of the last place: printf rounds what binary fractions make of it */
		buf_reset(&b);
		buf_seconds(&b, us);
		by_printf(want, (double)us / 1e6);
		if (strcmp(b.p, want) != 0 && wrong++ < 5)
			tap_diag("%llu us: %s, not %s", (unsigned long long)us, b.p, want);
	}
	tap_is_int((long long)wrong, 0, "as printf has them");
	buf_fini(&b);
}

static const struct {
	const char *asked, *want;
} words[] = {
	{ "quene", "queue" }, { "queue", "queue" }, { "stauts", "status" }, { "quarantin", "quarantine" }, { "xqueue", "queue" }, { "q", NULL }, { "us", NULL },
	{ "usr", "user" }, { "frobnicate", NULL }, { "", NULL }, { "aliass", "alias" },
	{ "quarantinequarantinequarantinequarantinequarantinequarantinequarantine", NULL },
};

static void nearness(void)
{
	static const char *const known[] = { "queue", "status", "user", "alias", "quarantine" };

	for (size_t i = 0; i < ARRAY_LEN(words); i++) {
		struct near n;

		near_init(&n, str_c(words[i].asked));
		for (size_t k = 0; k < ARRAY_LEN(known); k++)
			near_try(&n, known[k]);
		const char *got = near_best(&n);
		tap_is_str(got ? got : "none", words[i].want ? words[i].want : "none", "meant by \"%s\"", words[i].asked);
	}
}

int main(void)
{
	neutral();
	seconds();
	nearness();
	return tap_done();
}
