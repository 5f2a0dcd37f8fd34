/* postern-dkim: keys that sign the mail of our domains, from their making to their end. A key is new until its record is published, then active, then retired while mail
 * that it signed is on its way; rotate takes each step when its time has come. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "admin/dkim/dkim.h"
#include "authres/sigmake.h"
#include "base/json.h"
#include "base/num.h"
#include "os/os.h"

enum { EXIT_USAGE = 64, EXIT_CONFIG = 78, RETIRE_DAYS = 14, DAY = 86400, SELECTOR_TRIES = 100 };

struct run {
	struct keyring k;
	const char *conf_file, *selector, *kind, *bits;
	bool json, force, check;
	struct str arg[3];
	int n_args;
};

static int failed(struct err *e)
{
	fprintf(stderr, "postern-dkim: %s\n", e->text);
	return 1;
}

/* After a change: authd loads the keys again; filterd notices by itself. */
static int tell(struct run *r)
{
	struct err e = { 0 };
	const int done = keyring_tell(&r->k, &e);
	if (done > 0)
		puts("authd does not run; it loads the keys when it starts.");
	return done < 0 ? failed(&e) : 0;
}

static int print_record(struct run *r, const struct dkim_row *row)
{
	struct buf p;
	struct err e = { 0 };
	buf_init(&p, 8192);
	const int bad = keyring_public(&r->k, row, &p, &e);
	if (bad == 0)
		record_print(row, buf_view(&p));
	buf_fini(&p);
	return bad < 0 ? failed(&e) : 0;
}

static enum record_state published(struct run *r, const struct dkim_row *row, const char **why)
{
	struct buf p;
	struct err e = { 0 };
	buf_init(&p, 8192);
	enum record_state s = RECORD_UNKNOWN;
	if (keyring_public(&r->k, row, &p, &e) < 0)
		*why = arena_strdup(r->k.a, e.text);
	else
		s = record_check(r->k.conf, r->k.a, row, buf_view(&p), why);
	buf_fini(&p);
	return s;
}

/* Row and file. What the service manager loads is the administrator's to remove. */
static int drop(struct run *r, struct dkim_row *row)
{
	struct err e = { 0 };
	if (keyring_is_credential(&r->k, row))
		printf("its key is a credential of authd: remove " DKIM_CREDENTIAL "%.*s._domainkey.%.*s.pem where that is loaded from\n",
		       STR_ARG(row->selector), STR_ARG(row->domain));
	return keyring_remove(&r->k, row, &e) < 0 ? failed(&e) : 0;
}

/* --- making --- */

/* "r202611a": kind, month, letter. */
static struct str free_selector(struct run *r, struct str domain, enum sig_kind kind)
{
	char month[16];
	const time_t now = time(NULL);
	struct tm tm;
	strftime(month, sizeof(month), "%Y%m", gmtime_r(&now, &tm));
	for (unsigned i = 0; i < SELECTOR_TRIES; i++) {
		const char *s = arena_printf(r->k.a, "%c%s%c%s", kind == SIG_RSA_SHA256 ? 'r' : 'e', month, (char)('a' + i % 26), i < 26 ? "" : arena_printf(r->k.a, "%u", i / 26));
		if (keyring_find(&r->k, domain, str_c(s)) == NULL)
			return str_c(s);
	}
	return STR("");
}

static int make(struct run *r, struct str domain, struct str selector, enum sig_kind kind, unsigned bits)
{
	struct buf pem;
	struct err e = { 0 };
	buf_init(&pem, DKIM_KEY_FILE_MAX);
	int bad = sign_key_make(kind, bits, &pem, &e);
	if (bad == 0)
		bad = keyring_add(&r->k, domain, selector, buf_view(&pem), &e);
	buf_wipe(&pem);
	buf_fini(&pem);
	if (bad < 0)
		return failed(&e);
	if (*r->k.conf->dkim_credentials_directory)
		printf("%s/" DKIM_PRIVATE_DIR "/%.*s._domainkey.%.*s.pem may become a credential of authd: postern-dkim(8), CREDENTIALS\n", r->k.conf->state_directory,
		       STR_ARG(selector), STR_ARG(domain));
	printf("made key %.*s of %.*s (%s). Publish its record, then: postern dkim rotate %.*s\n", STR_ARG(selector), STR_ARG(domain), sig_kind_name(kind), STR_ARG(domain));
	return print_record(r, keyring_find(&r->k, domain, selector));
}

static int read_kind(const char *word, enum sig_kind *out)
{
	for (unsigned i = SIG_RSA_SHA256; i <= SIG_ED25519_SHA256; i++) {
		if (strcmp(word, sig_kind_name((enum sig_kind)i)) == 0) {
			*out = (enum sig_kind)i;
			return 0;
		}
	}
	fprintf(stderr, "postern-dkim: a key is of kind rsa or ed25519, not \"%s\"\n", word);
	return -1;
}

static int cmd_genkey(struct run *r)
{
	enum sig_kind kind = SIG_RSA_SHA256;
	uint64_t bits = SIG_MADE_RSA_BITS;
	if (r->kind && read_kind(r->kind, &kind) < 0)
		return EXIT_USAGE;
	if (r->bits && num_parse(str_c(r->bits), 2048, 4096, &bits) < 0) {
		fputs("postern-dkim: RSA keys are made with 2048 to 4096 bits\n", stderr);
		return EXIT_USAGE;
	}
	const struct str selector = r->selector ? str_c(r->selector) : free_selector(r, r->arg[0], kind);
	const int status = make(r, r->arg[0], selector, kind, (unsigned)bits);
	return status ? status : tell(r);
}

static int cmd_import(struct run *r)
{
	struct buf pem;
	struct err e = { 0 };
	buf_init(&pem, DKIM_KEY_FILE_MAX);
	int bad = file_read(arena_cstr(r->k.a, r->arg[2]), DKIM_KEY_FILE_MAX, &pem, &e);
	if (bad == 0)
		bad = keyring_add(&r->k, r->arg[0], r->arg[1], buf_view(&pem), &e);
	buf_wipe(&pem);
	buf_fini(&pem);
	if (bad < 0)
		return failed(&e);
	return tell(r);
}

/* --- showing --- */

static void list_json(const struct dkim_row *row, const char *record, bool first)
{
	printf("%s{", first ? "" : ",\n");
	json_field(stdout, "domain", row->domain, true);
	json_field(stdout, "selector", row->selector, false);
	json_field(stdout, "kind", str_c(sig_kind_name(row->kind)), false);
	json_field(stdout, "state", str_c(dkim_state_name(row->state)), false);
	json_number(stdout, "since", row->since, false);
	if (record)
		json_field(stdout, "record", str_c(record), false);
	putchar('}');
}

static bool is_asked(const struct run *r, const struct dkim_row *row)
{
	return r->n_args == 0 || str_case_eq(row->domain, r->arg[0]);
}

static int cmd_list(struct run *r)
{
	bool first = true;
	if (r->json)
		putchar('[');
	for (size_t i = 0; i < r->k.table.n; i++) {
		const struct dkim_row *row = &r->k.table.v[i];
		const char *why, *record = r->check && is_asked(r, row) ? record_words[published(r, row, &why)] : NULL;
		char since[32];
		struct tm tm;
		const time_t when = (time_t)row->since;
		if (!is_asked(r, row))
			continue;
		strftime(since, sizeof(since), "%Y-%m-%d", gmtime_r(&when, &tm));
		if (r->json)
			list_json(row, record, first);
		else
			printf("%-30.*s %-16.*s %-8s %-8s since %s%s%s\n", STR_ARG(row->domain), STR_ARG(row->selector), sig_kind_name(row->kind), dkim_state_name(row->state),
			       since, record ? "  record: " : "", record ? record : "");
		first = false;
	}
	if (r->json)
		puts("]");
	return 0;
}

static int cmd_dns(struct run *r)
{
	int status = 0, shown = 0;
	for (size_t i = 0; i < r->k.table.n; i++) {
		const struct dkim_row *row = &r->k.table.v[i];
		if (!is_asked(r, row))
			continue;
		const char *why = "";
		shown++;
		status |= print_record(r, row);
		if (!r->check)
			continue;
		const enum record_state s = published(r, row, &why);
		printf("; %s%s%s\n", record_words[s], why[0] ? ": " : "", why);
		status |= s != RECORD_GOOD;
	}
	if (shown == 0)
		fputs("postern-dkim: no keys\n", stderr);
	return shown == 0 ? 1 : status;
}

/* --- changing --- */

static struct dkim_row *named(struct run *r)
{
	struct dkim_row *row = keyring_find(&r->k, r->arg[0], r->arg[1]);
	if (row == NULL)
		fprintf(stderr, "postern-dkim: %.*s has no key %.*s\n", STR_ARG(r->arg[0]), STR_ARG(r->arg[1]));
	return row;
}

static void set_state(struct dkim_row *row, enum dkim_state s)
{
	row->state = s;
	row->since = (int64_t)time(NULL);
	printf("%.*s of %.*s is %s\n", STR_ARG(row->selector), STR_ARG(row->domain), dkim_state_name(s));
}

/* false: its record is not there, and nobody insists. */
static bool may_activate(struct run *r, const struct dkim_row *row)
{
	const char *why = "";
	const enum record_state s = r->force ? RECORD_GOOD : published(r, row, &why);
	if (s != RECORD_GOOD)
		printf("%.*s of %.*s stays %s: its record is %s%s%s\n", STR_ARG(row->selector), STR_ARG(row->domain), dkim_state_name(row->state), record_words[s],
		       why[0] ? ": " : "", why);
	return s == RECORD_GOOD;
}

/* authd must hold the key before mail is signed with it. */
static int save_and_tell(struct run *r)
{
	struct err e = { 0 };
	const int status = tell(r);
	if (status)
		return status;
	return keyring_save(&r->k, &e) < 0 ? failed(&e) : tell(r);
}

/* Who was active of that kind is retired. */
static void activate(struct run *r, struct dkim_row *row)
{
	for (size_t i = 0; i < r->k.table.n; i++) {
		struct dkim_row *other = &r->k.table.v[i];
		if (other != row && other->state == DKIM_ACTIVE && other->kind == row->kind && str_case_eq(other->domain, row->domain))
			set_state(other, DKIM_RETIRED);
	}
	set_state(row, DKIM_ACTIVE);
}

static int cmd_activate(struct run *r)
{
	struct dkim_row *row = named(r);
	if (row == NULL || !may_activate(r, row))
		return 1;
	activate(r, row);
	return save_and_tell(r);
}

static int cmd_retire(struct run *r)
{
	struct dkim_row *row = named(r);
	if (row == NULL)
		return 1;
	set_state(row, DKIM_RETIRED);
	return save_and_tell(r);
}

static int cmd_remove(struct run *r)
{
	struct dkim_row *row = named(r);
	if (row == NULL)
		return 1;
	if (row->state == DKIM_ACTIVE && !r->force) {
		fputs("postern-dkim: mail is signed with it: retire it first, or --force\n", stderr);
		return 1;
	}
	const int status = drop(r, row);
	return status ? status : tell(r);
}

/* --- rotating --- */

static struct dkim_row *of_kind(struct run *r, struct str domain, enum sig_kind kind, enum dkim_state state)
{
	for (size_t i = 0; i < r->k.table.n; i++)
		if (r->k.table.v[i].kind == kind && r->k.table.v[i].state == state && str_case_eq(r->k.table.v[i].domain, domain))
			return &r->k.table.v[i];
	return NULL;
}

static int drop_old(struct run *r, struct str domain)
{
	const int64_t now = (int64_t)time(NULL);
	for (size_t i = 0; i < r->k.table.n;) {
		struct dkim_row *row = &r->k.table.v[i];
		if (row->state != DKIM_RETIRED || now - row->since < (int64_t)RETIRE_DAYS * DAY || !str_case_eq(row->domain, domain)) {
			i++;
			continue;
		}
		printf("%.*s of %.*s is removed: take its record out of the DNS\n", STR_ARG(row->selector), STR_ARG(row->domain));
		const int status = drop(r, row);
		if (status)
			return status;
	}
	return 0;
}

/* A new key whose record is published takes over; without a new key one is made. */
static int rotate_kind(struct run *r, struct str domain, enum sig_kind kind)
{
	struct dkim_row *next = of_kind(r, domain, kind, DKIM_NEW);
	struct err e = { 0 };
	if (next == NULL && of_kind(r, domain, kind, DKIM_ACTIVE) == NULL)
		return 0;
	if (next == NULL)
		return make(r, domain, free_selector(r, domain, kind), kind, SIG_MADE_RSA_BITS);
	if (!may_activate(r, next))
		return print_record(r, next), 1;
	activate(r, next);
	return keyring_save(&r->k, &e) < 0 ? failed(&e) : 0;
}

static int cmd_rotate(struct run *r)
{
	const struct str domain = r->arg[0];
	int status = tell(r);
	if (status)
		return status;
	bool any = false;
	for (size_t i = 0; i < r->k.table.n; i++)
		any = any || str_case_eq(r->k.table.v[i].domain, domain);
	if (!any) {
		fprintf(stderr, "postern-dkim: %.*s has no keys: postern dkim genkey %.*s\n", STR_ARG(domain), STR_ARG(domain));
		return 1;
	}
	for (unsigned kind = SIG_RSA_SHA256; kind <= SIG_ED25519_SHA256; kind++)
		status |= rotate_kind(r, domain, (enum sig_kind)kind);
	status |= drop_old(r, domain);
	return status | tell(r);
}

/* --- the frame --- */

static const struct word {
	const char *name;
	int (*run)(struct run *r);
	int args_min, args_max;
	bool change;
	const char *usage;
} words[] = {
	{ "genkey", cmd_genkey, 1, 1, true, "genkey DOMAIN [-s SELECTOR] [-t rsa|ed25519] [-b BITS]" },
	{ "import", cmd_import, 3, 3, true, "import DOMAIN SELECTOR FILE" },
	{ "list", cmd_list, 0, 1, false, "list [DOMAIN] [--check] [--json]" },
	{ "dns", cmd_dns, 0, 1, false, "dns [DOMAIN] [--check]" },
	{ "rotate", cmd_rotate, 1, 1, true, "rotate DOMAIN [--force]" },
	{ "activate", cmd_activate, 2, 2, true, "activate DOMAIN SELECTOR [--force]" },
	{ "retire", cmd_retire, 2, 2, true, "retire DOMAIN SELECTOR" },
	{ "remove", cmd_remove, 2, 2, true, "remove DOMAIN SELECTOR [--force]" },
};

static int usage(FILE *to, int status)
{
	for (size_t i = 0; i < ARRAY_LEN(words); i++)
		fprintf(to, "%s postern-dkim [-c FILE] %s\n", i == 0 ? "usage:" : "      ", words[i].usage);
	return status;
}

/* -1: go on. */
static int options(int argc, char **argv, struct run *r)
{
	static const struct option longs[] = { { "json", no_argument, NULL, 'j' }, { "force", no_argument, NULL, 'f' }, { "check", no_argument, NULL, 'k' },
					       { "help", no_argument, NULL, 'h' }, { 0 } };
	for (int c; (c = getopt_long(argc, argv, "c:s:t:b:h", longs, NULL)) != -1;) {
		switch (c) {
		case 'c': r->conf_file = optarg; break;
		case 's': r->selector = optarg; break;
		case 't': r->kind = optarg; break;
		case 'b': r->bits = optarg; break;
		case 'j': r->json = true; break;
		case 'f': r->force = true; break;
		case 'k': r->check = true; break;
		case 'h': return usage(stdout, 0);
		default: return usage(stderr, EXIT_USAGE);
		}
	}
	return -1;
}

static const struct word *find_word(const char *name, int n_args)
{
	for (size_t i = 0; i < ARRAY_LEN(words); i++)
		if (strcmp(words[i].name, name) == 0)
			return n_args >= words[i].args_min && n_args <= words[i].args_max ? &words[i] : NULL;
	return NULL;
}

int main(int argc, char **argv)
{
	struct run r = { .k = { .lock = -1 } };
	struct conf *conf;
	struct err e = { 0 };
	proc_init(argc, argv);
	int status = options(argc, argv, &r);
	if (status >= 0)
		return status;
	const struct word *w = optind < argc ? find_word(argv[optind], argc - optind - 1) : NULL;
	if (w == NULL)
		return usage(stderr, EXIT_USAGE);
	if (conf_load_told("postern-dkim", r.conf_file, false, &conf) < 0)
		return EXIT_CONFIG;
	for (int i = optind + 1; i < argc; i++)
		r.arg[r.n_args++] = str_c(argv[i]);
	r.k.conf = conf;
	r.k.a = arena_new(0);
	status = keyring_open(&r.k, w->change, &e) < 0 ? failed(&e) : w->run(&r);
	keyring_close(&r.k);
	arena_free(&r.k.a);
	return status;
}
