/* Learning and what follows from it: classes are told apart, once is once, a change of mind and forgetting take back what was learned, old words go, a damaged
 * file counts for nothing. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "spam/bayes.h"
#include "spam/test_spam.h"

static char dir[] = "/tmp/test-bayes-XXXXXX", file[64], rules[64];
static struct told told;

static const char *message(char *out, size_t size, unsigned n, bool spam)
{
	static const char *const words[2][4] = { { "meeting", "kernel", "compile", "minutes" }, { "lottery", "mortgage", "unsecured", "viagra" } };
	snprintf(out, size, "Message-ID: <%u.%d@x.example>\nFrom: a%u@%s.example\nSubject: %s %s\n\nThe %s of %s and u%uq with %s\n", n, spam, n, spam ? "bulk" : "work",
		 words[spam][n % 4], words[spam][(n + 1) % 4], words[spam][(n + 2) % 4], words[spam][(n + 3) % 4], n, words[spam][n % 4]);
	return out;
}

static struct spam *engine(void)
{
	const struct spam_options o = { .rules_dir = rules, .bayes_file = file };
	struct spam *s = NULL;
	struct err e = { 0 };
	if (spam_load(&o, told_say, &told, &s, &e) < 0)
		tap_diag("%s", e.text);
	return s;
}

/* Messages from .. to - 1 as that class. */
static struct learn_stats learn(struct spam *s, unsigned from, unsigned to, bool spam, enum bayes_class as, size_t max)
{
	struct learner *l = NULL;
	struct learn_stats stats = { 0 };
	struct err e = { 0 };
	char text[500];
	if (learner_open(file, max, &l, &e) < 0) {
		tap_diag("%s", e.text);
		return stats;
	}
	for (unsigned n = from; n < to; n++)
		learner_message(l, s, str_c(message(text, sizeof(text), n, spam)), as);
	tap_ok(learner_commit(&l, &stats, &e) == 0, "messages %u to %u are learned as %d (%s)", from, to, as, e.text);
	return stats;
}

static struct spam_result score(struct spam *s, struct arena *a, unsigned n, bool spam)
{
	struct spam_result r;
	char *text = arena_alloc(a, 500);
	spam_check(s, a, str_c(message(text, 500, n, spam)), NULL, 0, &r);
	return r;
}

static void told_apart(struct spam *s, struct arena *a)
{
	tap_ok(score(s, a, 900, true).bayes < 0, "nothing learned: no opinion");
	learn(s, 0, 30, true, BAYES_SPAM, 0);
	tap_ok(score(s, a, 900, true).bayes < 0, "too little learned: no opinion");
	const struct learn_stats n = learn(s, 0, 30, false, BAYES_HAM, 0);
	tap_ok(n.ham == 30 && n.all_spam == 30 && n.all_ham == 30 && n.tokens > 100, "what was learned is counted");
	const struct spam_result bad = score(s, a, 900, true), good = score(s, a, 901, false);
	tap_ok(bad.bayes > 0.9 && good.bayes < 0.1, "spam and ham are told apart (%f, %f)", bad.bayes, good.bayes);
	tap_ok(bad.n_hits == 1 && str_eq(bad.hits[0].name, STR("T_SPAM")) && bad.score == 3, "a rule for it hits, with the points of the set for learning (%f)", bad.score);
	tap_ok(good.n_hits == 1 && str_eq(good.hits[0].name, STR("T_HAM")), "and one for ham");
}

/* What a word says that was in one message of spam and in no other mail. */
static double rare_word(const char *where, unsigned n_spam, unsigned n_ham)
{
	struct learner *l = NULL;
	struct learn_stats stats;
	struct err e = { 0 };
	char text[500];
	struct spam *s = engine();
	(void)unlink(file);
	if (s == NULL || learner_open(file, 0, &l, &e) < 0)
		return -1;
	for (unsigned n = 0; n < n_spam; n++)
		learner_message(l, s, str_c(message(text, sizeof(text), n, true)), BAYES_SPAM);
	for (unsigned n = 0; n < n_ham; n++)
		learner_message(l, s, str_c(message(text, sizeof(text), n, false)), BAYES_HAM);
	learner_message(l, s, STR("Message-ID: <rare@x.example>\n\nzanzibar\n"), BAYES_SPAM);
	tap_ok(learner_commit(&l, &stats, &e) == 0, "%s: %s", where, e.text);
	spam_free(&s);
	s = engine();
	struct arena *a = arena_new(0);
	struct spam_result r;
	spam_check(s, a, STR("\nzanzibar\n"), NULL, 0, &r);
	arena_free(&a);
	spam_free(&s);
	(void)unlink(file);
	return r.bayes;
}

static void little_ham(void)
{
	const double even = rare_word("as much ham as spam", 90, 90), little = rare_word("little ham", 90, 30), no_spam = rare_word("little spam", 30, 90);
	tap_ok(even > 0.75 && no_spam > 0.75, "a word of one message of spam says much where there is ham to compare with (%f, %f)", even, no_spam);
	tap_ok(little > 0 && little < even - 0.1, "and less where there is little (%f)", little);
}

static void once_is_once(struct spam *s, struct arena *a)
{
	const double before = score(s, a, 900, true).bayes;
	struct learn_stats n = learn(s, 0, 30, true, BAYES_SPAM, 0);
	tap_ok(n.known == 30 && n.spam == 0 && n.all_spam == 30 && score(s, a, 900, true).bayes == before, "learning again changes nothing");
	n = learn(s, 0, 10, true, BAYES_HAM, 0);
	tap_ok(n.forgotten == 10 && n.all_spam == 20 && n.all_ham == 40, "a change of mind takes the old one back");
	n = learn(s, 0, 10, true, BAYES_SPAM, 0);
	tap_ok(n.all_spam == 30 && n.all_ham == 30 && score(s, a, 900, true).bayes == before, "and back again is as before");
	n = learn(s, 0, 30, false, BAYES_NONE, 0);
	tap_ok(n.forgotten == 30 && n.all_ham == 0 && score(s, a, 900, true).bayes < 0, "forgotten ham leaves no opinion");
	n = learn(s, 0, 30, false, BAYES_HAM, 0);
	tap_ok(n.all_ham == 30 && score(s, a, 900, true).bayes == before, "learned anew it is as before");
}

static void too_many(struct spam *s, struct arena *a)
{
	const struct learn_stats n = learn(s, 100, 300, true, BAYES_SPAM, 60);
	tap_ok(n.expired > 0 && n.tokens <= 60, "words over the limit go (%zu kept)", n.tokens);
	tap_ok(score(s, a, 900, true).bayes > 0.5, "those that were seen often stay");
	const struct learn_stats again = learn(s, 100, 300, true, BAYES_SPAM, 60);
	tap_ok(again.known > 0 && again.known <= 60, "of messages no more are remembered (%zu)", again.known);
}

static void damaged(struct spam *s, struct arena *a)
{
	static const struct { const char *what; size_t keep; bool noise; } cases[] = {
		{ "empty", 0, false }, { "cut in its table", 2000, false }, { "cut in its records", 2100, false }, { "noise", 3000, true },
	};
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		char other[80];
		snprintf(other, sizeof(other), "%s.new", file);
		FILE *in = fopen(file, "r"), *out = fopen(other, "w");
		for (size_t k = 0; in != NULL && out != NULL && k < cases[i].keep; k++)
			putc(cases[i].noise ? (int)(k * 197 % 251) : getc(in), out);
		if (in != NULL)
			fclose(in);
		if (out == NULL || fclose(out) != 0 || rename(other, file) < 0)
			tap_diag("%s", other);
		tap_ok(score(s, a, 900, true).bayes < 0 && spam_learned(s).damaged, "a file that is %s counts for nothing, and is told", cases[i].what);
		struct learner *l = NULL;
		struct err e = { 0 };
		if (cases[i].noise)
			tap_ok(learner_open(file, 0, &l, &e) < 0, "nothing is learned into it (%s)", e.text);
		learner_abort(&l);
	}
	unlink(file);
	learn(s, 0, 30, true, BAYES_SPAM, 0);
	learn(s, 0, 30, false, BAYES_HAM, 0);
	tap_ok(score(s, a, 900, true).bayes > 0.9 && !spam_learned(s).damaged, "a new one serves at once");
}

int main(void)
{
	if (mkdtemp(dir) == NULL)
		return 1;
	snprintf(file, sizeof(file), "%s/tokens.cdb", dir);
	snprintf(rules, sizeof(rules), "%s/rules", dir);
	char cf[80];
	snprintf(cf, sizeof(cf), "%s/t.cf", rules);
	FILE *f = mkdir(rules, 0700) == 0 ? fopen(cf, "w") : NULL;
	if (f == NULL)
		return 1;
	fputs("bayes_min_spam_num 20\nbayes_min_ham_num 20\nbody T_SPAM eval:check_bayes('0.9', '1.00')\nscore T_SPAM 1 1 3 3\n"
	      "body T_HAM eval:check_bayes('0.00', '0.1')\nscore T_HAM 0 0 -1 -1\n", f);
	fclose(f);
	struct spam *s = engine();
	struct arena *a = arena_new(0);
	if (s != NULL) {
		little_ham();
		told_apart(s, a);
		once_is_once(s, a);
		too_many(s, a);
		damaged(s, a);
	}
	arena_free(&a);
	spam_free(&s);
	unlink(file);
	unlink(cf);
	snprintf(cf, sizeof(cf), "%s.tmp", file);
	unlink(cf);
	rmdir(rules);
	rmdir(dir);
	return tap_done();
}
