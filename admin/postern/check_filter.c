/* What filterd reads at its start: banned names, lists of senders, policies of recipients, spam rules. filterd looks itself, as its user, and its words are told. */
#include <string.h>
#include <unistd.h>

#include "admin/postern/check.h"
#include "os/os.h"

enum { SAID_MAX = 1 << 16 };

static bool takes_prefix(struct str *line, struct str prefix)
{
	const bool has = str_starts(*line, prefix);

	if (has)
		*line = str_from(*line, prefix.n);
	return has;
}

/* "FILE:LINE: text", or "PARAMETER: text". */
static void tell(struct check *c, enum severity s, struct str text)
{
	const ptrdiff_t at = str_find(text, STR(": "));
	const char *first = arena_cstr(c->a, str_sub(text, 0, at < 0 ? 0 : (size_t)at));
	struct str rest = at < 0 ? text : str_from(text, (size_t)at + 2), value;

	if (*first && conf_lookup(c->conf, first, &value))
		found_param(c, s, first, "%.*s", STR_ARG(rest));
	else if (*first == '/')
		found(c, s, first, "", "%.*s", STR_ARG(rest));
	else
		found(c, s, "", "filterd", "%.*s", STR_ARG(text));
}

/* "filterd: text" is why it would not start, "NAME[PID]: warning: text" what it would log. The rest, of the configuration, is told as that is read. */
static unsigned take_line(struct check *c, struct str line)
{
	if (takes_prefix(&line, STR("filterd: "))) {
		tell(c, SEV_ERROR, line);
		return 1;
	}
	if (str_ends(str_split(&line, ' '), STR("]:")) && takes_prefix(&line, STR("warning: ")))
		tell(c, SEV_WARNING, line);
	return 0;
}

void check_filter(struct check *c)
{
	const char *program = arena_printf(c->a, "%s/filterd", c->conf->libexec_directory);
	const char *const argv[] = { program, "-T", "-c", c->conf->conf_file, NULL };
	struct buf said;
	struct str rest, line;
	unsigned errors = 0;
	int status = 0;
	struct err e = { 0 };

	if (!c->conf->filter_enable)
		return;
	if (geteuid() != 0) {
		found(c, SEV_NOTE, "", "filterd", "the lists and rules that it reads are looked at by root alone");
		return;
	}
	buf_init(&said, SAID_MAX);
	if (proc_output(argv, true, &said, &status, &e) < 0)
		found(c, SEV_ERROR, "", "filterd", "%s", e.text);
	for (rest = buf_view(&said); str_token(&rest, "\n", &line);)
		if (status != 0 || !str_starts(line, STR("filterd: ")))
			errors += take_line(c, line);
	if (status != 0 && errors == 0)
		found(c, SEV_ERROR, "", "filterd", "%s -T ended with status %d and said nothing", program, status);
	buf_fini(&said);
}
