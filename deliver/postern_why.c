/* postern why: the path of an address, by the code that resolve runs. */
#include "deliver/postern.h"

#include <getopt.h>
#include <string.h>

#include "base/json.h"
#include "deliver/resolve.h"

static int usage(FILE *to, int status)
{
	fputs("usage: postern why [--json] ADDRESS ...\n"
	      "Explain where mail for ADDRESS goes: class, every map and line that decided, and "
	      "where it ends.\n"
	      "Exit status: 0 deliverable, 1 refused, 75 a map cannot be read.\n",
	      to);
	return status;
}

static int status_of(const struct ipc_resolve_RESULT *r)
{
	if (r->code >= 400 && r->code < 500)
		return POSTERN_TEMP;
	return r->kinds.n ? POSTERN_OK : POSTERN_FAILED;
}

static void print_text(const char *address, const struct ipc_resolve_RESULT *r)
{
	printf("%s\n", address);
	for (size_t i = 0; i < r->steps.n; i++)
		printf("  %2zu. %.*s\n", i + 1, STR_ARG(r->steps.v[i]));
	printf("  class %.*s", STR_ARG(r->class));
	if (r->code)
		printf(": %llu %.*s %.*s", (unsigned long long)r->code, STR_ARG(r->enhanced),
		       STR_ARG(r->text));
	putchar('\n');
	for (size_t i = 0; i < r->kinds.n; i++) {
		printf("  -> %.*s %.*s", STR_ARG(r->kinds.v[i]), STR_ARG(r->addresses.v[i]));
		if (r->users.v[i].n)
			printf(", account %.*s", STR_ARG(r->users.v[i]));
		if (r->extensions.v[i].n)
			printf(", extension %.*s", STR_ARG(r->extensions.v[i]));
		if (i < r->owners.n && r->owners.v[i].n)
			printf(", errors go to %.*s", STR_ARG(r->owners.v[i]));
		putchar('\n');
	}
}

static void print_json(const char *address, const struct ipc_resolve_RESULT *r, bool first)
{
	printf("%s  {", first ? "\n" : ",\n");
	json_field(stdout, "address", str_c(address), true);
	json_field(stdout, "class", r->class, false);
	if (r->code) {
		json_number(stdout, "code", (long long)r->code, false);
		json_field(stdout, "enhanced", r->enhanced, false);
		json_field(stdout, "text", r->text, false);
	}
	json_name(stdout, "steps", false);
	putchar('[');
	for (size_t i = 0; i < r->steps.n; i++) {
		fputs(i ? ", " : "", stdout);
		json_string(stdout, r->steps.v[i]);
	}
	fputs("]", stdout);
	json_name(stdout, "recipients", false);
	putchar('[');
	for (size_t i = 0; i < r->kinds.n; i++) {
		fputs(i ? ", {" : "{", stdout);
		json_field(stdout, "kind", r->kinds.v[i], true);
		json_field(stdout, "address", r->addresses.v[i], false);
		json_field(stdout, "account", r->users.v[i], false);
		json_field(stdout, "extension", r->extensions.v[i], false);
		if (i < r->owners.n && r->owners.v[i].n)
			json_field(stdout, "owner", r->owners.v[i], false);
		putchar('}');
	}
	fputs("]}", stdout);
}

int postern_why(const struct postern *p, int argc, char **argv)
{
	static const struct option longs[] = { { "json", no_argument, NULL, 'j' },
					       { "help", no_argument, NULL, 'h' },
					       { NULL, 0, NULL, 0 } };
	struct resolver *r = NULL;
	struct err e = { 0 };
	bool json = false;
	int status = POSTERN_OK;

	optind = 0;
	for (int ch; (ch = getopt_long(argc, argv, "j", longs, NULL)) != -1;) {
		if (ch == 'h')
			return usage(stdout, POSTERN_OK);
		if (ch != 'j')
			return usage(stderr, POSTERN_USAGE);
		json = true;
	}
	if (optind == argc)
		return usage(stderr, POSTERN_USAGE);
	struct conf *c = postern_conf(p);

	if (!c)
		return POSTERN_CONFIG;
	if (resolver_new(c, &r, &e) < 0) {
		fprintf(stderr, "postern: %s\n", e.text);
		conf_free(&c);
		return POSTERN_CONFIG;
	}
	fputs(json ? "[" : "", stdout);
	for (int i = optind; i < argc; i++) {
		struct arena *a = arena_new(0);
		struct ipc_resolve_RESULT res;

		resolver_answer(r, a, str_c(argv[i]), true, &res);
		if (json)
			print_json(argv[i], &res, i == optind);
		else
			print_text(argv[i], &res);
		if (status_of(&res) > status)
			status = status_of(&res);
		arena_free(&a);
	}
	fputs(json ? "\n]\n" : "", stdout);
	resolver_free(&r);
	conf_free(&c);
	return status;
}
