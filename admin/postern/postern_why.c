/* postern why: the path of an address, by the code that resolve runs. */
#include "admin/postern/postern.h"
#include "admin/postern/postern_why.h"

#include <getopt.h>
#include <string.h>

#include "base/json.h"
#include "smtp/reply.h"

struct asked {
	const struct conf *conf;
	struct resolver *resolver;
	struct why_client who;
	bool json;
};

static int usage(FILE *to, int status)
{
	fputs("usage: postern why [--json] [--sender ADDRESS] [--client IP [--helo NAME] [--login USER]] ADDRESS ...\n"
	      "Explain where mail for ADDRESS goes: class, every map and line that decided, and "
	      "where it ends; for mail that goes elsewhere the next hop (which the sender may decide).\n"
	      "--client: also whether the restrictions let such mail in, without asking names and policy services.\n"
	      "Exit status: 0 deliverable, 1 refused, 75 a map cannot be read.\n",
	      to);
	return status;
}

static int status_of(const struct ipc_resolve_RESULT *r)
{
	if (r->code >= 400 && r->code < 500)
		return POSTERN_TEMP;
	return r->kinds.n > 0 && r->code < 500 ? POSTERN_OK : POSTERN_FAILED;
}

/* Mail that goes elsewhere: by what, and where to. */
static bool find_route(const struct asked *q, struct arena *a, const struct ipc_resolve_RESULT *r, size_t i, struct route *out)
{
	if (!str_eq(r->kinds.v[i], STR("remote")))
		return false;
	if (r->users.v[i].n > 0) {
		struct str rest = r->users.v[i];

		*out = (struct route){ .transport = str_split(&rest, ':') };
		out->nexthop = rest;
		return true;
	}
	resolver_route(q->resolver, a, q->who.sender, r->addresses.v[i], out);
	return true;
}

/* As queued does at RCPT: who leads to transport error alone is refused. */
static void refuse_by_route(const struct asked *q, struct arena *a, struct ipc_resolve_RESULT *r)
{
	struct route route = { 0 };
	struct str text;

	if (r->code != 0 || r->kinds.n == 0)
		return;
	for (size_t i = r->kinds.n; i-- > 0;)
		if (r->users.v[i].n > 0 || !find_route(q, a, r, i, &route) || !str_case_eq(route.transport, STR("error")))
			return;
	r->enhanced = smtp_enhanced_split(route.nexthop, "5.1.1", &text);
	r->code = 550;
	r->text = str_c(arena_printf(a, "Recipient address rejected: %.*s", STR_ARG(text)));
}

static void print_text(const struct asked *q, struct arena *a, const char *address, const struct ipc_resolve_RESULT *r)
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
		struct route route;

		if (find_route(q, a, r, i, &route))
			printf(", by %.*s to %.*s", STR_ARG(route.transport), STR_ARG(route.nexthop));
		else if (r->users.v[i].n)
			printf(", account %.*s", STR_ARG(r->users.v[i]));
		if (r->extensions.v[i].n)
			printf(", extension %.*s", STR_ARG(r->extensions.v[i]));
		if (i < r->owners.n && r->owners.v[i].n)
			printf(", errors go to %.*s", STR_ARG(r->owners.v[i]));
		putchar('\n');
	}
}

static void print_json(const struct asked *q, struct arena *a, const char *address, const struct ipc_resolve_RESULT *r, bool first)
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
		struct route route;

		if (find_route(q, a, r, i, &route)) {
			json_field(stdout, "transport", route.transport, false);
			json_field(stdout, "nexthop", route.nexthop, false);
		} else {
			json_field(stdout, "account", r->users.v[i], false);
		}
		json_field(stdout, "extension", r->extensions.v[i], false);
		if (i < r->owners.n && r->owners.v[i].n)
			json_field(stdout, "owner", r->owners.v[i], false);
		putchar('}');
	}
	fputs("]", stdout);
}

/* The restrictions, if they are asked for. The exit status. */
static int judge(const struct asked *q, struct arena *a, const char *address, const struct ipc_resolve_RESULT *res)
{
	struct why_judgement *j = ARENA_NEW(a, struct why_judgement);
	struct err e = { 0 };

	if (q->who.client.n == 0)
		return POSTERN_OK;
	if (why_judge(q->conf, q->resolver, &q->who, str_c(address), res->class, a, j, &e) < 0) {
		fprintf(stderr, "postern why: %s\n", e.text);
		return POSTERN_USAGE;
	}
	if (q->json)
		why_json_judgement(j);
	else
		why_print_judgement(&q->who, j);
	return j->answer.result != RESTRICT_REFUSED ? POSTERN_OK : j->answer.code < 500 ? POSTERN_TEMP : POSTERN_FAILED;
}

/* One address. The exit status. */
static int explain(const struct asked *q, const char *address, bool first)
{
	struct arena *a = arena_new(0);
	struct ipc_resolve_RESULT res;

	resolver_answer(q->resolver, a, str_c(address), true, &res);
	refuse_by_route(q, a, &res);
	if (q->json)
		print_json(q, a, address, &res, first);
	else
		print_text(q, a, address, &res);
	const int judged = judge(q, a, address, &res), status = status_of(&res);
	fputs(q->json ? "}" : "", stdout);
	arena_free(&a);
	return judged > status ? judged : status;
}

int postern_why(const struct postern *p, int argc, char **argv)
{
	static const struct option longs[] = { { "json", no_argument, NULL, 'j' },
					       { "sender", required_argument, NULL, 's' },
					       { "client", required_argument, NULL, 'c' },
					       { "helo", required_argument, NULL, 'e' },
					       { "login", required_argument, NULL, 'l' },
					       { "help", no_argument, NULL, 'h' },
					       { NULL, 0, NULL, 0 } };
	struct asked q = { 0 };
	struct err e = { 0 };
	int status = POSTERN_OK;

	optind = 0;
	for (int ch; (ch = getopt_long(argc, argv, "", longs, NULL)) != -1;) {
		if (ch == 'h')
			return usage(stdout, POSTERN_OK);
		struct str *const texts[] = { ['s' - 'a'] = &q.who.sender, ['c' - 'a'] = &q.who.client, ['e' - 'a'] = &q.who.helo, ['l' - 'a'] = &q.who.login };
		if (ch == 'j')
			q.json = true;
		else if (ch >= 'a' && ch - 'a' < (int)ARRAY_LEN(texts) && texts[ch - 'a'])
			*texts[ch - 'a'] = str_c(optarg);
		else
			return usage(stderr, POSTERN_USAGE);
	}
	if (optind == argc)
		return usage(stderr, POSTERN_USAGE);
	struct conf *c = postern_conf(p);

	if (!c)
		return POSTERN_CONFIG;
	if (resolver_new(c, &q.resolver, &e) < 0) {
		fprintf(stderr, "postern: %s\n", e.text);
		conf_free(&c);
		return POSTERN_CONFIG;
	}
	q.conf = c;
	fputs(q.json ? "[" : "", stdout);
	for (int i = optind; i < argc; i++) {
		const int r = explain(&q, argv[i], i == optind);

		status = r > status ? r : status;
	}
	fputs(q.json ? "\n]\n" : "", stdout);
	resolver_free(&q.resolver);
	conf_free(&c);
	return status;
}
