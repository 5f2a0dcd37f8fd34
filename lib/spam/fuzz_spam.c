/* Any bytes as a message, with rules that ask for every text and every eval function: nothing reads outside, all ends. */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "spam/spam.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char rules[] =
	"util_rb_tld com net org\nfreemail_domains example.com gmail.*\nenlist_uri_host (BAD) example.net\nbody B1 /viagra/i\nbody B2 /(?:one|two){2}/\n"
	"rawbody R1 /<b>/\nuri U1 /example/\nfull F1 /^Received/m\nheader H1 ALL =~ /x/\nheader H2 X-Spam-Relays-External =~ /ip=/\nheader H3 From:addr =~ /@/\n"
	"header H4 From:name =~ /./\nheader H5 ALL-TRUSTED:raw =~ /x/\nheader H6 To:host =~ /./\nheader H7 Received:ip =~ /./\nheader H8 Subject:raw =~ /=\\?/\n"
	"header H9 MESSAGEID:raw =~ /./\n"
	"urirhssub N1 a.test A 2\nbody N1 eval:check_uridnsbl('N1')\nuridnssub N2 b.test A 127.0.0.2-127.0.0.9\nbody N2 eval:check_uridnsbl('N2')\n"
	"uridnsbl N3 c.test TXT\nbody N3 eval:check_uridnsbl('N3')\ntflags N3 net a notrim\n"
	"header N4 eval:check_rbl('z', 'd.test', '^127')\n"
	"header N5 eval:check_rbl_sub('z', '4')\nheader N6 eval:check_rbl_txt('t-untrusted', 'e.test', 'x')\n"
	"mimeheader M1 Content-Type =~ /name/\nuri_detail D1 text =~ /./ domain =~ /./\n";

static struct spam *engine;

static void write_rules(FILE *f)
{
	static const char *const functions[] = {
#define EVAL(name, fn, arg) name,
#include "spam/evals.def"
#undef EVAL
	};
	fputs(rules, f);
	for (size_t i = 0; i < sizeof(functions) / sizeof(functions[0]); i++)
		fprintf(f, "body E%zu eval:%s('1','2')\n", i, functions[i]);
	fputs("body T1 eval:html_range('ratio','0.1','2')\nbody T2 eval:html_tag_balance('b','> 0')\nbody T3 eval:html_text_match('anchor','x')\n"
	      "body T4 eval:image_count('all','1')\nheader T5 eval:check_illegal_chars('Subject','0.1','1')\nbody T6 eval:check_for_mime('mime_qp_count')\n", f);
}

static void load(void)
{
	char dir[] = "/tmp/fuzz-spam-XXXXXX", file[64];
	struct err e = { 0 };
	if (mkdtemp(dir) == NULL)
		abort();
	snprintf(file, sizeof(file), "%s/t.cf", dir);
	FILE *f = fopen(file, "w");
	if (f == NULL)
		abort();
	write_rules(f);
	fclose(f);
	const struct spam_options o = { .rules_dir = dir, .own_dir = "", .all = true, .network = true };
	if (spam_load(&o, NULL, NULL, &engine, &e) < 0)
		abort();
	unlink(file);
	rmdir(dir);
}

/* Lines of the message as records. */
static void on_ask(void *ctx, struct arena *a, struct spam_question *q, size_t n)
{
	struct str rest = *(const struct str *)ctx;
	for (size_t i = 0; i < n; i++) {
		struct str *v = ARENA_ARRAY(a, struct str, 3);
		while (rest.n > 0 && q[i].n < 3)
			v[q[i].n++] = str_split(&rest, '\n');
		q[i].records = v;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (engine == NULL)
		load();
	struct arena *a = arena_new(0);
	struct spam_result r;
	struct str message = { (const char *)data, size };
	const struct spam_facts facts = { .ask = on_ask, .ask_ctx = &message };
	spam_check(engine, a, message, &facts, SPAM_WANT_ALL | SPAM_WANT_MATCHED, &r);
	arena_free(&a);
	return 0;
}
