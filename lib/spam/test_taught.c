/* What is to be learned of a message: its form, a file of it that was cut short, what the learner makes of it, and which messages are learned of themselves. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "spam/taught.h"
#include "spam/test_spam.h"

static char dir[] = "/tmp/test-taught-XXXXXX", file[64];

static void test_form(struct arena *a)
{
	static const struct { const char *what; size_t n; unsigned char class, told; } wrong[] = {
		{ "nothing", 0, 1, 0 }, { "too short", TAUGHT_HEAD - 1, 1, 0 }, { "half a word", TAUGHT_HEAD + 7, 1, 0 }, { "too long", TAUGHT_MAX + 8, 1, 0 },
		{ "a class that is none", TAUGHT_HEAD, 3, 0 }, { "a speaker that is none", TAUGHT_HEAD, 1, 3 },
	};
	uint64_t tokens[] = { 1, UINT64_MAX, 0x0123456789abcdef };
	struct taught t = { .as = BAYES_HAM, .told = true, .digest = "0123456789abcde", .tokens = tokens, .n_tokens = 3 }, back = { 0 };
	struct err e = { 0 };

	struct str r = taught_format(a, &t);
	tap_ok(r.n == TAUGHT_HEAD + 24 && taught_parse(a, r, &back, &e) == 0, "a record is parsed");
	tap_ok(back.as == BAYES_HAM && back.told && back.n_tokens == 3 && memcmp(back.tokens, tokens, sizeof(tokens)) == 0 && memcmp(back.digest, t.digest, BAYES_DIGEST) == 0,
	       "as it was formatted");
	t.known = true;
	tap_ok(!back.known && taught_parse(a, taught_format(a, &t), &back, &e) == 0 && back.told && back.known, "one that says what was learned");
	for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
		char *p = memset(arena_alloc(a, TAUGHT_MAX + 100), 0, TAUGHT_MAX + 100);
		p[0] = (char)wrong[i].class;
		p[1] = (char)wrong[i].told;
		tap_ok(taught_parse(a, str_n(p, wrong[i].n), &back, &e) < 0, "%s is none", wrong[i].what);
	}
}

static void test_file(struct arena *a)
{
	uint64_t tokens[] = { 5, 6, 7 };
	struct buf b;
	size_t whole = 0;

	buf_init(&b, 10000);
	for (size_t i = 0; i < 3; i++) {
		const struct taught t = { .as = BAYES_SPAM, .tokens = tokens, .n_tokens = i };
		taught_file_put(&b, taught_format(a, &t));
	}
	for (size_t cut = 0; cut <= b.n; cut++) {
		struct str rest = str_n(b.p, cut), r;
		size_t n = 0;
		int k;
		while ((k = taught_file_next(&rest, &r)) == 0)
			n++;
		whole += k == 1;
		if (n > 3 || (k == 1) != (rest.n == 0))
			tap_ok(false, "cut at %zu", cut);
	}
	tap_is_int((long)whole, 4, "cut anywhere a file ends after a whole record or tells that it was cut");
	b.p[10] ^= 1;
	struct str rest = buf_view(&b), r;
	tap_is_int(taught_file_next(&rest, &r), -1, "a changed bit is seen");
	buf_fini(&b);
}

/* --- the learner --- */

static struct learn_stats teach(enum bayes_class as, bool told, const char *digest)
{
	uint64_t tokens[] = { 11, 12 };
	struct taught t = { .as = as, .told = told, .tokens = tokens, .n_tokens = 2 };
	struct learn_stats s = { 0 };
	struct learner *l = NULL;
	struct err e = { 0 };

	memcpy(t.digest, digest, BAYES_DIGEST);
	if (learner_open(file, 0, &l, &e) < 0) {
		tap_diag("%s", e.text);
		return s;
	}
	learner_taught(l, &t);
	if (learner_commit(&l, &s, &e) < 0)
		tap_diag("%s", e.text);
	return s;
}

static void test_learner(void)
{
	static const char one[] = "one-is-sixteen--", two[] = "two-is-sixteen--";
	struct learn_stats s = teach(BAYES_SPAM, false, one);
	tap_ok(s.spam == 1 && s.all_spam == 1 && s.tokens == 2, "what is to be learned is learned");
	s = teach(BAYES_HAM, false, one);
	tap_ok(s.known == 1 && s.all_spam == 1 && s.all_ham == 0, "of itself nothing changes what was learned");
	s = teach(BAYES_HAM, true, one);
	tap_ok(s.ham == 1 && s.forgotten == 1 && s.all_spam == 0 && s.all_ham == 1, "a person's word does");
	s = teach(BAYES_HAM, true, one);
	tap_ok(s.known == 1 && s.all_ham == 1, "once");
	s = teach(BAYES_NONE, true, two);
	tap_ok(s.forgotten == 0 && s.all_ham == 1, "what was never learned cannot be forgotten");
	s = teach(BAYES_NONE, true, one);
	tap_ok(s.forgotten == 1 && s.all_ham == 0 && s.tokens == 0, "the rest can");
}

/* --- of itself --- */

static const char rules[] =
	"bayes_auto_learn 1\n"
	"header HEAD_2 X-Two =~ /./\nscore HEAD_2 2\n"
	"header HEAD_5 X-Five =~ /./\nscore HEAD_5 5\n"
	"body BODY_2 /\\btwo\\b/\nscore BODY_2 2\n"
	"body BODY_9 /\\bnine\\b/\nscore BODY_9 9\n"
	"rawbody RAW_4 /rawfour/\nscore RAW_4 4\n"
	"full FULL_20 /twenty/\nscore FULL_20 20\n"
	"header __H X-Half =~ /./\nbody __B /half/\nmeta HALF_8 __H && __B\nscore HALF_8 8\n"
	"body QUIET /quiet/\nscore QUIET 30\ntflags QUIET noautolearn\n"
	"body MINE /mine/\nscore MINE 30\ntflags MINE userconf\n"
	"body LEARNED_SPAM /learnedspam/\nscore LEARNED_SPAM 6\ntflags LEARNED_SPAM learn\n"
	"body LEARNED_HAM /learnedham/\nscore LEARNED_HAM -6\ntflags LEARNED_HAM learn nice\n"
	"body FORCE /force/\nscore FORCE 1\ntflags FORCE autolearn_force\n"
	"body ASHEAD /ashead/\nscore ASHEAD 4\ntflags ASHEAD autolearn_header\n"
	"header ASBODY X-Body =~ /./\nscore ASBODY 4\ntflags ASBODY autolearn_body\n"
	"body OTHER_SET /otherset/\nscore OTHER_SET 0.01 0.01 9 9\n"
	"body NICE /nice/\nscore NICE -3\n";

static struct spam *engine(const char *more)
{
	const struct spam_options o = { .rules_dir = dir };
	struct spam *s = NULL;
	struct err e = { 0 };
	char name[80];
	snprintf(name, sizeof(name), "%s/t.cf", dir);
	FILE *f = fopen(name, "w");
	if (f == NULL)
		return NULL;
	fprintf(f, "%s%s", rules, more);
	fclose(f);
	if (spam_load(&o, told_say, &(struct told){ 0 }, &s, &e) < 0)
		tap_diag("%s", e.text);
	unlink(name);
	return s;
}

static const char *verdict(struct spam *s, struct arena *a, const char *head, const char *body)
{
	const char *text = arena_printf(a, "From: a@b.example\n%sSubject: s\nMessage-ID: <1@x>\n\n%s\n", head, body);
	struct spam_result r;
	struct taught t;
	struct err e = { 0 };
	spam_check(s, a, str_c(text), NULL, SPAM_WANT_LEARN, &r);
	if (r.learn.n == 0)
		return "no";
	if (taught_parse(a, r.learn, &t, &e) < 0 || t.told || t.n_tokens < 5 || (t.as == BAYES_SPAM) != r.learn_spam)
		return e.text[0] != '\0' ? "broken" : "wrong";
	return t.as == BAYES_SPAM ? "spam" : "ham";
}

static void test_conditions(struct arena *a)
{
	static const struct { const char *head, *body, *want, *why; } cases[] = {
		{ "", "plain", "ham", "nothing hit" },
		{ "", "two", "no", "between the thresholds" },
		{ "X-Five: 1\n", "nine", "spam", "enough points in header and body" },
		{ "X-Two: 1\n", "nine two", "no", "too few in the header" },
		{ "X-Five: 1\n", "two", "no", "too few" },
		{ "X-Five: 1\nX-Two: 1\n", "rawfour two", "spam", "rawbody is body" },
		{ "", "twenty nine", "no", "a full rule is neither" },
		{ "X-Half: 1\n", "half nine", "spam", "a meta's points are shared by its rules" },
		{ "X-Five: 1\n", "quiet", "no", "noautolearn does not count" },
		{ "", "quiet", "no", "but it is spam, and no ham" },
		{ "X-Five: 1\n", "mine", "no", "nor does userconf" },
		{ "X-Five: 1\n", "nine learnedham", "no", "not against what was learned" },
		{ "X-Five: 1\n", "nine learnedspam", "spam", "with it" },
		{ "", "learnedspam", "no", "ham not against it either" },
		{ "", "learnedham", "ham", "with it" },
		{ "", "nine rawfour force", "spam", "autolearn_force needs no header" },
		{ "", "nine ashead", "spam", "points moved to the header" },
		{ "X-Five: 1\nX-Two: 1\nX-Body: 1\n", "two", "spam", "and to the body" },
		{ "", "nice", "ham", "below" },
	};
	struct spam *s = engine("");
	for (size_t i = 0; s != NULL && i < ARRAY_LEN(cases); i++)
		tap_is_str(verdict(s, a, cases[i].head, cases[i].body), cases[i].want, "%s", cases[i].why);
	spam_free(&s);
	s = engine("bayes_auto_learn 0\n");
	tap_is_str(verdict(s, a, "", "plain"), "no", "off is off");
	spam_free(&s);
	s = engine("bayes_auto_learn_threshold_nonspam -2\nbayes_auto_learn_threshold_spam 20\n");
	tap_is_str(verdict(s, a, "", "plain"), "no", "a lower threshold for ham");
	tap_is_str(verdict(s, a, "", "nice"), "ham", "is reached");
	tap_is_str(verdict(s, a, "X-Five: 1\n", "nine"), "no", "a higher one for spam");
	spam_free(&s);
	s = engine("required_score 100\n");
	tap_is_str(verdict(s, a, "X-Five: 1\n", "nine"), "no", "what is not called spam is not learned as spam");
	spam_free(&s);
	s = engine("body BAYES_00 /plain/\nscore BAYES_00 -0.1\ntflags BAYES_00 learn\nbayes_auto_learn_on_error 1\n");
	tap_is_str(verdict(s, a, "", "plain"), "no", "what is known is not learned on error");
	tap_is_str(verdict(s, a, "", "other"), "ham", "the rest is");
	spam_free(&s);
}

static void test_teach(struct arena *a)
{
	struct spam *s = engine("");
	struct taught t;
	struct err e = { 0 };
	struct str r = { 0 };
	spam_teach(s, a, STR("Subject: x\nMessage-ID: <7@x>\n\nfour words are here\n"), BAYES_HAM, &r);
	tap_ok(taught_parse(a, r, &t, &e) == 0 && t.told && !t.known && t.as == BAYES_HAM && t.n_tokens > 4, "what a person says of a message");
	spam_free(&s);
}

int main(void)
{
	if (mkdtemp(dir) == NULL)
		return 1;
	snprintf(file, sizeof(file), "%s/tokens.cdb", dir);
	struct arena *a = arena_new(0);
	test_form(a);
	test_file(a);
	test_learner();
	test_conditions(a);
	test_teach(a);
	arena_free(&a);
	unlink(file);
	rmdir(dir);
	return tap_done();
}
