/* The rule language: what each kind of line does, what is told of mistakes, and that scores and metas add up. */
#include "spam/test_spam.h"

#define MAIL "From: \"A. Sender\" <sender@example.com>\nTo: bob@example.org\nSubject: Cheap Pills\nDate: Thu, 22 Aug 2002 18:26:25 +0700\n" \
	"Message-ID: <1@example.com>\nX-Odd: one\nX-Odd: two\n\nBuy pills now, pills at http://www.example.net/a?b=1 or ask me@example.net\n\nSecond paragraph.\n"

static const struct { const char *rules, *hits; double score; } cases[] = {
	{ "header A Subject =~ /pills/i\nscore A 2.5\n", "A", 2.5 },
	{ "header A Subject =~ /pills/\n", "", 0 },
	{ "header A Subject !~ /pills/\n", "A", 1 },
	{ "header A Missing =~ /x/ [if-unset: xyz]\n", "A", 1 },
	{ "header A Missing !~ /x/\n", "A", 1 },
	{ "header A exists:X-Odd\nheader B exists:X-None\n", "A", 1 },
	{ "header A X-Odd =~ /^one\\ntwo$/m\n", "A", 1 },
	{ "header A From:addr =~ /^sender\\@example\\.com$/\nheader B From:name =~ /^A\\. Sender$/\n", "A B", 2 },
	{ "header A ALL =~ /^X-Odd: two$/m\nheader B ToCc =~ /bob/\nheader C MESSAGEID =~ /^<1@/\n", "A B C", 3 },
	{ "body A /pills now/\nbody B /Second paragraph\\. $/\nbody C /^Cheap Pills$/\n", "A B C", 3 },
	{ "body A /Cheap/\ntflags A nosubject\n", "", 0 },
	{ "body __A /pills/i\ntflags __A multiple maxhits=2\nbody __B /pills/i\ntflags __B multiple\n", "__A(2) __B(3)", 0 },
	{ "rawbody A /\\n\\nSecond/\nfull B /^From: .*^Second/ms\n", "A B", 2 },
	{ "uri A m{^http://www\\.example\\.net/a\\?b=1$}\nuri B /^mailto:me@example\\.net$/\n" "util_rb_tld net\n", "A B", 2 },
	{ "uri_detail A domain =~ /^example\\.net$/ raw !~ /mailto/\nutil_rb_tld net\n", "A", 1 },
	{ "body __A /pills/\nbody __B /absent/\nmeta C __A && !__B\nmeta D (__A + __B) > 1\nmeta E __A || __B\n", "C E __A", 2 },
	{ "body __A /pills/i\ntflags __A multiple\nmeta B __A == 3\nmeta C __A * 2 - 1 >= 5\nmeta D (__A > 2) + (__A > 5) == 1\n", "B C D __A(3)", 3 },
	{ "body __A1 /Buy/\nbody __A2 /now/\nbody __A3 /never/\nmeta B rules_matching(__A*) == 2\n", "B __A1 __A2", 1 },
	{ "meta A B\nmeta B A\nmeta C NOT_THERE\nbody D /pills/\n", "D", 1 },
	{ "body A /pills/\nscore A 0\nbody T_B /pills/\nbody C /pills/\ntflags C nice\n", "C T_B", -0.99 },
	{ "body A /pills/\nscore A 1 2 3 4\nscore A (0.5)\n", "A", 1.5 },
	{ "body A /one/\nheader A Subject =~ /Cheap/\n", "A", 1 },
	{ "replace_tag X [xy]\nreplace_tag P (?:p|<X>)\nreplace_inter W \\W?\nbody A /<inter W><P>i<P>?lls/\nreplace_rules A\n", "A", 1 },
	{ "header __CAP To:addr =~ /(?<WHO>.*)\\@/\nuri A /%{WHO}/\nbody B /%{WHO}/\n", "__CAP", 0 },
	{ "header A eval:check_for_missing_to_header()\nbody B eval:check_body_length('1000')\nheader C eval:check_from_in_list('FRIENDS')\n"
	  "enlist_addrlist (FRIENDS) *@example.com\n", "B C", 2 },
	{ "whitelist_from sender@example.com\nheader A eval:check_from_in_welcomelist()\nblacklist_to bob@*\nheader B eval:check_to_in_blocklist()\n", "A B", 2 },
	{ "enlist_uri_host (BAD) example.net !www.example.net\nutil_rb_tld net\nheader A eval:check_uri_host_listed('BAD')\n", "", 0 },
	{ "freemail_domains example.*\nheader A eval:check_freemail_from()\nheader B eval:check_freemail_header('From', 'bob')\n", "A", 1 },
	{ "header A eval:check_rbl('x', 'y.')\ntflags A net\nmeta B !A\n", "B", 1 },
	{ "if (version >= 4.000000)\nbody A /pills/\nelse\nbody A /x/\nendif\nif (version > 9)\nbody B /pills/\nendif\n", "A", 1 },
	{ "ifplugin Mail::SpamAssassin::Plugin::BodyEval\nbody A /pills/\nendif\nifplugin Mail::SpamAssassin::Plugin::TextCat\nbody B /pills/\nendif\n", "A", 1 },
	{ "if can(Mail::SpamAssassin::Conf::feature_capture_rules) && !plugin(Mail::SpamAssassin::Plugin::PDFInfo)\nbody A /pills/\nendif\n", "A", 1 },
	{ "if (version > 9)\nif (version > 3)\nbody A /pills/\nelse\nbody B /pills/\nendif\nendif\nbody C /pills/\n", "C", 1 },
	{ "lang de describe A nichts\nbody A /pills/ # a comment\nbody B /p\\#?ills/\n", "A B", 2 },
};

static void rules(void)
{
	struct buf got;
	buf_init(&got, 100000);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct told told;
		double score = -1000;
		struct spam *s = rules_of(cases[i].rules, true, &told);
		if (tap_ok(s != NULL && told.text[0] == '\0', "case %zu loads (%s)", i, told.text)) {
			hits_of(s, MAIL, &got, &score);
			tap_is_str(got.p == NULL ? "" : got.p, cases[i].hits, "hits of case %zu", i);
			tap_ok(score > cases[i].score - 0.001 && score < cases[i].score + 0.001, "its score (%.3f)", score);
		}
		spam_free(&s);
	}
	buf_fini(&got);
}

/* A line that stands there more than once counts each time, and once as the subject. */
static void repeated(void)
{
	static const char mail[] = "Subject: buy pills\n\nbuy pills\n\npills, pills\n\nbuy pills\n\npills, pills\n\nbuy pills";
	static const struct { const char *rules, *hits; } same[] = {
		{ "body __A /pills/\ntflags __A multiple\nbody __B /pills$/\ntflags __B multiple\n", "__A(8) __B(6)" },
		{ "body __A /pills/\ntflags __A multiple nosubject\nbody __B /[^a]pills/\ntflags __B multiple nosubject\n", "__A(7) __B(5)" },
		{ "body __A /pills/\ntflags __A multiple maxhits=3\nbody __B /pills, p/\ntflags __B multiple maxhits=5\n", "__A(3) __B(2)" },
		{ "body __A /p/\ntflags __A multiple maxhits=6\nbody __B /buy/\nbody __C /^b/\ntflags __C nosubject\n", "__A(6) __B __C" },
	};
	struct buf got;
	buf_init(&got, 10000);
	for (size_t i = 0; i < ARRAY_LEN(same); i++) {
		struct told told;
		double score;
		struct spam *s = rules_of(same[i].rules, true, &told);
		if (tap_ok(s != NULL && told.text[0] == '\0', "rules %zu load (%s)", i, told.text)) {
			hits_of(s, mail, &got, &score);
			tap_is_str(got.p == NULL ? "" : got.p, same[i].hits, "hits %zu of lines that are the same", i);
		}
		spam_free(&s);
	}
	buf_fini(&got);
}

/* What is required is there often, and far from where a match would have to begin. */
static void nowhere(void)
{
	static const char rules[] = "rawbody __A /^[a-z]*qqq/m\nrawbody __B /^[a-z]*qqq/\nrawbody __C /^[a-y]{0,70}qqqz/m\n";
	struct told told;
	struct buf mail, got;
	double score;
	buf_init(&mail, 10000);
	buf_init(&got, 10000);
	struct spam *s = rules_of(rules, true, &told);
	tap_ok(s != NULL && told.text[0] == '\0', "rules about lines load (%s)", told.text);
	for (unsigned end = 0; end < 3; end++) {
		buf_reset(&mail);
		buf_c(&mail, "Subject: -\n\n1");
		for (unsigned i = 0; i < 20; i++)
			buf_printf(&mail, "%070uqqq", 0);
		for (size_t i = 0; i < mail.n; i++)
			mail.p[i] = mail.p[i] == '0' ? 'a' : mail.p[i];
		buf_c(&mail, end == 0 ? "z\n" : end == 1 ? "\nabcqqq\n" : "\nabcqqqz\nqqq");
		hits_of(s, mail.p, &got, &score);
		tap_is_str(got.p == NULL ? "" : got.p, end == 0 ? "" : end == 1 ? "__A" : "__A __C", "a line's start is looked for, end %u", end);
	}
	spam_free(&s);
	buf_fini(&mail);
	buf_fini(&got);
}

/* Matches in one line that begin near each other, far apart, and where the one before has not ended. */
static void far_apart(void)
{
	static const char rules[] = "body __A /pills/\ntflags __A multiple\nbody __B /pills?.{0,150}now/\ntflags __B multiple\nbody __C /pills .*?now/\n"
		"tflags __C multiple\nbody __D /[a-z]{3,9} now/\ntflags __D multiple\nbody __E /pills (?!x).*now/\ntflags __E multiple maxhits=2\n"
		"body __F /[0-9]\\s?x{2}[a-z]/\ntflags __F multiple\n";
	struct told told;
	struct buf mail, got;
	double score;
	buf_init(&mail, 10000);
	buf_init(&got, 10000);
	buf_c(&mail, "Subject: -\n\npills pills 1xxa 2 xxb");
	for (unsigned i = 0; i < 100; i++)
		buf_c(&mail, i == 40 ? " pills now and 3xxc" : i == 60 ? " pills, pills, buy now" : i == 90 ? " pills 4 xxd" : " word");
	struct spam *s = rules_of(rules, true, &told);
	if (tap_ok(s != NULL && told.text[0] == '\0', "they load (%s)", told.text)) {
		hits_of(s, mail.p, &got, &score);
		tap_is_str(got.p, "__A(6) __B __C __D(2) __E __F(4)", "matches are found in their order, wherever in a line");
	}
	spam_free(&s);
	buf_fini(&mail);
	buf_fini(&got);
}

/* What rules require is at thousands of places of a header where no match can begin: finding that out for each of them would take minutes. */
static void crowded_head(void)
{
	struct told told;
	struct buf rules, mail, got;
	double score;
	buf_init(&rules, 100000);
	buf_init(&mail, 100000);
	buf_init(&got, 10000);
	for (unsigned i = 0; i < 600; i++)
		buf_printf(&rules, "header __R%u ALL =~ /^[a-z]*qqq/\n", i);
	buf_c(&rules, "header __LAST ALL =~ /^Y[a-p]*qqq/m\n");
	buf_c(&mail, "Subject: -\n");
	for (unsigned i = 0; i < 7; i++) {
		buf_c(&mail, "X-Q: 0");
		for (unsigned k = 0; k < 8000; k++)
			buf_ch(&mail, 'q');
		buf_ch(&mail, '\n');
	}
	buf_c(&mail, "Yabcqqq: -\n\ntext\n");
	struct spam *s = rules_of(rules.p, true, &told);
	if (tap_ok(s != NULL && told.text[0] == '\0', "they load (%s)", told.text)) {
		hits_of(s, mail.p, &got, &score);
		tap_is_str(got.p, "__LAST", "a header full of what is required takes no long time, and what it hides is found");
	}
	spam_free(&s);
	buf_fini(&rules);
	buf_fini(&mail);
	buf_fini(&got);
}

static const struct { const char *rules, *told; } mistakes[] = {
	{ "body B /y/\nnonsense 1\n", "t.cf:2: unknown directive 'nonsense'\n" },
	{ "body A /(/\nbody B /y/\n", "t.cf:1: A: pattern: missing closing parenthesis at offset 1\n" },
	{ "body A x\nbody B /y/\n", "t.cf:1: A: a pattern has the form /\xe2\x80\xa6/ or m{\xe2\x80\xa6}\n" },
	{ "body 1A /x/\nbody B /y/\n", "t.cf:1: '1A' is no name of a rule, or one too many\n" },
	{ "meta A B &&\nbody B /y/\n", "t.cf:1: A: an operand is missing at 'the end'\n" },
	{ "meta A (B\nbody B /y/\n", "t.cf:1: A: ')' is missing at 'the end'\n" },
	{ "score B x\nbody B /y/\n", "t.cf:1: score B: 'x' is no number, or the fifth\n" },
	{ "score B 1 2\nbody B /y/\n", "t.cf:1: score B: one or four numbers are needed\n" },
	{ "header A From:odd =~ /x/\nbody B /y/\n", "t.cf:1: A: unknown header modifier :odd\n" },
	{ "header A eval:no_such_function()\nbody B /y/\n", "t.cf:1: A: the function no_such_function is not known\n" },
	{ "trusted_networks 1.2.3.4/99\nbody B /y/\n", "t.cf:1: '1.2.3.4/99' is no network (as 192.168.0., 10.0.0.0/8, 2001:db8::/32)\n" },
	{ "if (version >= 3\nbody A /x/\nendif\nbody B /y/\n", "t.cf:1: ')' is missing at 'the end'\n" },
	{ "endif\nbody B /y/\n", "t.cf:1: endif without if\n" },
	{ "if (version > 3)\nbody B /y/\n", "t.cf:1: if without endif\n" },
	{ "include nowhere.cf\nbody B /y/\n", NULL },
	{ "loadplugin Mail::SpamAssassin::Plugin::TextCat\nbody B /y/\n",
	  "t.cf:1: the plugin Mail::SpamAssassin::Plugin::TextCat is not available: what asks for it is skipped\n" },
	{ "body A /a(?{die})/\nbody B /y/\n", "t.cf:1: A: a pattern holds code\n" },
};

static void told_mistakes(void)
{
	struct buf got;
	double score;
	buf_init(&got, 10000);
	for (size_t i = 0; i < ARRAY_LEN(mistakes); i++) {
		struct told told;
		struct spam *s = rules_of(mistakes[i].rules, false, &told);
		struct str want = str_c(mistakes[i].told);
		bool same = mistakes[i].told == NULL ? str_starts(str_c(told.text), STR("t.cf:1: ")) : str_case_eq(str_c(told.text), want);
		/* Error texts are ASCII: what is not shows as '?'. */
		if (!same && want.p != NULL && str_find(want, STR("\xe2")) >= 0)
			same = str_starts(str_c(told.text), str_sub(want, 0, 30));
		told.text[strcspn(told.text, "\n")] = '\0';
		tap_ok(same, "told: %s", told.text);
		if (tap_ok(s != NULL, "the rest loads")) {
			hits_of(s, "Subject: y\n\ny\n", &got, &score);
			tap_is_str(got.p, "B", "and works");
		}
		spam_free(&s);
	}
	buf_fini(&got);
}

static void networks(void)
{
	static const struct { const char *net, *in, *out; } nets[] = {
		{ "192.168.0.", "192.168.0.77", "192.168.1.1" }, { "10", "10.9.8.7", "11.0.0.1" }, { "172.16.0.0/12", "172.31.255.255", "172.32.0.0" },
		{ "2001:db8::/32", "2001:db8:1::5", "2001:db9::1" }, { "1.2.3.4", "1.2.3.4", "1.2.3.5" },
	};
	for (size_t i = 0; i < ARRAY_LEN(nets); i++) {
		struct nets n = { 0 };
		struct err e = { 0 };
		tap_ok(nets_add(NULL, &n, str_c(nets[i].net), &e) == 0 && nets_match(&n, str_c(nets[i].in)) && !nets_match(&n, str_c(nets[i].out)),
		       "network %s", nets[i].net);
		free(n.v);
	}
	tap_ok(glob_match(STR("*@*.example.com"), STR("a@b.example.com")) && !glob_match(STR("a?c"), STR("ac")) && glob_match(STR("*"), STR("")), "globs");
}

int main(void)
{
	rules();
	repeated();
	nowhere();
	far_apart();
	crowded_head();
	told_mistakes();
	networks();
	return tap_done();
}
