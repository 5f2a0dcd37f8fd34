/* Sender rewriting: there and back, through several forwarders, and what is refused. */
#include "smtp/srs.h"

#include <stdio.h>
#include <string.h>

#include "test/tap.h"

static const struct srs ours = { { 1, 2, 3 }, STR("fwd.example") }, theirs = { { 9 }, STR("other.example") }, stolen = { { 7 }, STR("fwd.example") };

static struct str local_of(struct str address)
{
	return str_sub(address, 0, (size_t)str_rchr(address, '@'));
}

static void test_round_trips(void)
{
	static const char *const senders[] = { "joe@a.example", "a=b+c@x.y.example", "J.Doe-x@A.example", "srs@b.example" };

	for (size_t i = 0; i < ARRAY_LEN(senders); i++) {
		struct arena *a = arena_new(0);
		struct str there, back, again, far;
		struct err e = { 0 };
		tap_ok(srs_forward(&ours, str_c(senders[i]), 20000, a, &there, &e) == 0 && str_ends(there, STR("@fwd.example")) && str_starts(there, STR("SRS0=")),
		       "%s is rewritten", senders[i]);
		tap_ok(srs_is(&ours, local_of(there), STR("FWD.example")), "it is known as ours");
		tap_ok(srs_reverse(&ours, local_of(there), 20021, a, &back, &e) == 0 && str_eq(back, str_c(senders[i])), "and leads back after 21 days");
		tap_ok(srs_reverse(&ours, local_of(there), 20022, a, &back, &e) < 0, "but not after 22");
		tap_ok(srs_reverse(&stolen, local_of(there), 20000, a, &back, &e) < 0, "nor with another key");
		/* A second forwarder, then a third: the form does not grow, and each leads back to the one before the first rewriter. */
		tap_ok(srs_forward(&theirs, there, 20000, a, &again, &e) == 0 && str_starts(again, STR("SRS1=")), "a second forwarder");
		tap_ok(srs_reverse(&theirs, local_of(again), 20000, a, &back, &e) == 0 && str_eq(back, there), "leads back to the first");
		tap_ok(srs_forward(&ours, again, 20000, a, &far, &e) == 0 && far.n <= again.n, "a third");
		tap_ok(srs_reverse(&ours, local_of(far), 20000, a, &back, &e) == 0 && str_eq(back, there), "leads back to the first as well");
		arena_free(&a);
	}
}

static void test_changed(void)
{
	struct arena *a = arena_new(0);
	struct str there, back;
	struct err e = { 0 };

	if (srs_forward(&ours, STR("joe@a.example"), 20000, a, &there, &e) < 0)
		tap_ok(false, "rewritten");
	const struct str local = local_of(there);
	char folded[65];
	size_t survivors = 0;
	for (size_t i = 0; i <= local.n; i++)
		folded[i] = i < local.n ? (char)ch_lower(local.p[i]) : '\0';
	tap_ok(srs_reverse(&ours, str_c(folded), 20000, a, &back, &e) == 0 && str_eq(back, STR("joe@a.example")), "a change of case is survived");
	for (size_t i = 5; i < local.n; i++) {
		char bad[65];
		memcpy(bad, local.p, local.n);
		bad[local.n] = '\0';
		bad[i] = ch_lower(bad[i]) == 'x' ? 'y' : 'x';	/* a change of case alone is survived */
		survivors += srs_reverse(&ours, str_c(bad), 20000, a, &back, &e) == 0;
	}
	tap_is_int((int)survivors, 0, "a changed character is noticed, anywhere");
	for (size_t i = 0; i < local.n; i++)
		survivors += srs_reverse(&ours, str_sub(local, 0, i), 20000, a, &back, &e) == 0;
	tap_is_int((int)survivors, 0, "so is a cut");
	arena_free(&a);
}

/* What a stranger had signed as a second forwarding is no first one, which would lead to whom they like; nor the other way round. */
static void test_forms_are_apart(void)
{
	struct arena *a = arena_new(0);
	struct str there, back;
	struct err e = { 0 };
	char stamped[65], other[65];

	tap_ok(srs_forward(&ours, STR("x@a.example"), 20000, a, &there, &e) == 0, "today's stamp");
	(void)snprintf(other, sizeof(other), "SRS1%.*s", STR_ARG(str_from(local_of(there), 4)));
	tap_ok(srs_reverse(&ours, str_c(other), 20000, a, &back, &e) < 0, "SRS0 is not taken as SRS1");
	(void)snprintf(stamped, sizeof(stamped), "SRS1=x=%.*s=victim.example=user@b.example", STR_ARG(str_sub(there, 14, 2)));
	tap_ok(srs_forward(&ours, str_c(stamped), 20000, a, &there, &e) == 0 && str_starts(there, STR("SRS1=")), "what looks like SRS1 is forwarded: %.*s", STR_ARG(there));
	(void)snprintf(other, sizeof(other), "SRS0%.*s", STR_ARG(str_from(local_of(there), 4)));
	tap_ok(srs_reverse(&ours, local_of(there), 20000, a, &back, &e) == 0, "it leads back");
	tap_ok(srs_reverse(&ours, str_c(other), 20000, a, &back, &e) < 0, "but SRS1 is not taken as SRS0");
	arena_free(&a);
}

static void test_refused(void)
{
	static const struct { const char *name, *sender; } cases[] = {
		{ "no domain", "joe" }, { "no local part", "@a.example" }, { "quotes", "\"a b\"@a.example" }, { "a domain that is none", "joe@a=b" },
		{ "what would be too long", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa@bbbbbbbbbbbbbbbbbbbbbbb.example" },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct arena *a = arena_new(0);
		struct str out;
		struct err e = { 0 };
		tap_ok(srs_forward(&ours, str_c(cases[i].sender), 1, a, &out, &e) < 0, "not rewritten: %s", cases[i].name);
		arena_free(&a);
	}
	struct arena *a = arena_new(0);
	struct str out;
	struct err e = { 0 };
	tap_ok(srs_forward(&ours, STR("joe@a.exa\0mple"), 1, a, &out, &e) < 0, "not rewritten: a NUL in the domain");
	arena_free(&a);
	tap_ok(!srs_is(&ours, STR("SRS0=x"), STR("a.example")) && !srs_is(&ours, STR("joe"), STR("fwd.example")), "others are no business of this");
}

int main(void)
{
	test_round_trips();
	test_changed();
	test_forms_are_apart();
	test_refused();
	return tap_done();
}
