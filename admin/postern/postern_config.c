/* postern config: parameters as they are in force. */
#include "admin/postern/postern.h"

#include <getopt.h>
#include <string.h>

#include "base/json.h"

static struct {
	bool changed, defaults, json, values_only, sample, manual;
} o;

static int usage(FILE *to, int status)
{
	fputs("usage: postern config [-dhn] [--json] [NAME ...]\n"
	      "Print parameters as \"name = value\"; values are expanded.\n"
	      "  -n        only those that the file sets to something else than the default\n"
	      "  -d        defaults\n"
	      "  -h        values only, without names\n"
	      "  --json    a JSON array\n"
	      "  --sample  a commented file with every parameter\n"
	      "  --manual  the generated part of postern.conf(5)\n",
	      to);
	return status;
}

static int options(int argc, char **argv)
{
	enum { JSON = 256, SAMPLE, MANUAL, HELP };
	static const struct option longs[] = { { "json", no_argument, NULL, JSON },
					       { "sample", no_argument, NULL, SAMPLE },
					       { "manual", no_argument, NULL, MANUAL },
					       { "help", no_argument, NULL, HELP },
					       { NULL, 0, NULL, 0 } };

	optind = 0;
	for (int ch; (ch = getopt_long(argc, argv, "dhn", longs, NULL)) != -1;) {
		switch (ch) {
		case 'd':
			o.defaults = true;
			break;
		case 'h':
			o.values_only = true;
			break;
		case 'n':
			o.changed = true;
			break;
		case JSON:
			o.json = true;
			break;
		case SAMPLE:
			o.sample = true;
			break;
		case MANUAL:
			o.manual = true;
			break;
		case HELP:
			return usage(stdout, POSTERN_OK);
		default:
			return usage(stderr, POSTERN_USAGE);
		}
	}
	return -1;
}

static int value_of(const struct conf *c, const char *name, struct arena *a, struct str *out)
{
	struct conf_param_info info;
	struct err e = { 0 };

	if (o.defaults && conf_param_info(name, &info)) {
		*out = str_c(info.def);
		return 0;
	}
	if (conf_param_value(c, name, a, out, &e) == 0)
		return 0;
	fprintf(stderr, "postern: %s\n", e.text);
	return -1;
}

static void print_json(const struct conf *c, const char *name, struct str value, bool first)
{
	struct conf_param_info info = { .def = "", .doc = "" };
	const bool known = conf_param_info(name, &info);

	printf("%s  {", first ? "\n" : ",\n");
	json_field(stdout, "name", str_c(name), true);
	json_field(stdout, "value", value, false);
	if (known)
		json_field(stdout, "default", str_c(info.def), false);
	json_bool(stdout, "changed", conf_param_changed(c, name), false);
	if (conf_param_line(c, name))
		json_number(stdout, "line", conf_param_line(c, name), false);
	if (known) {
		json_bool(stdout, "postfix", info.flags & PARAM_F_POSTFIX, false);
		json_bool(stdout, "restart", info.flags & PARAM_F_RESTART, false);
		json_field(stdout, "about", str_c(info.doc), false);
	}
	putchar('}');
}

static int print_one(const struct conf *c, const char *name, bool first)
{
	struct arena *a = arena_new(0);
	struct str value = { 0 };
	const int r = value_of(c, name, a, &value);

	if (r == 0 && o.json)
		print_json(c, name, value, first);
	else if (r == 0 && o.values_only)
		printf("%.*s\n", (int)value.n, value.n ? value.p : "");
	else if (r == 0)
		printf("%s =%s%.*s\n", name, value.n ? " " : "", (int)value.n,
		       value.n ? value.p : "");
	arena_free(&a);
	return r;
}

static int print_all(const struct conf *c)
{
	const char *name;
	size_t it = 0;
	bool first = true;
	int r = 0;

	while (conf_param_next(&it, &name)) {
		if (o.changed && !conf_param_changed(c, name))
			continue;
		r |= print_one(c, name, first);
		first = false;
	}
	return r;
}

int postern_config(const struct postern *p, int argc, char **argv)
{
	const int status = options(argc, argv);
	struct conf *c;
	int r = 0;

	if (status >= 0)
		return status;
	if (o.sample || o.manual) {
		(o.sample ? conf_print_sample : conf_print_mdoc)(stdout);
		return POSTERN_OK;
	}
	c = postern_conf(p);
	if (!c)
		return POSTERN_CONFIG;
	if (o.json)
		putchar('[');
	if (optind == argc)
		r = print_all(c);
	for (int i = optind; i < argc; i++)
		r |= print_one(c, argv[i], i == optind);
	if (o.json)
		puts("\n]");
	conf_free(&c);
	return r < 0 ? POSTERN_FAILED : POSTERN_OK;
}
