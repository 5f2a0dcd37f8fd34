/* What systemd says of the suite's units: those that failed, and those that died and were started again since the last look. */
#include <string.h>
#include <unistd.h>

#include "admin/alarm/alarm.h"
#include "base/num.h"
#include "os/os.h"

enum { OUTPUT_MAX = 65536 };

/* What the command prints; empty where systemd does not run. */
static void ask_systemd(const char *const argv[], struct buf *out)
{
	struct err ignored = { 0 };
	int status;

	if (access("/run/systemd/system", F_OK) == 0)
		(void)!proc_output(argv, false, out, &status, &ignored);
}

/* Failed, or died and wait to be started again. */
enum alarm_level look_timers(const struct conf *c, struct arena *a, struct buf *text)
{
	static const char *const argv[] = { "systemctl", "list-units", "--state=failed,auto-restart", "--plain", "--no-legend", "--no-pager",
					    "postern-*", "clamav-freshclam*", "certbot*", NULL };
	struct str rest, line;
	struct buf out;

	buf_init(&out, OUTPUT_MAX);
	ask_systemd(argv, &out);
	rest = buf_view(&out);
	while (str_token(&rest, "\n", &line))
		buf_printf(text, "%s%.*s", text->n ? ", " : "failed (journalctl -u tells why): ", STR_ARG(str_split(&line, ' ')));
	buf_fini(&out);
	return text->n ? ALARM_WARNING : ALARM_OK;
}

/* --- restarts --- */

static const char *restarts_file(const struct conf *c, struct arena *a)
{
	return arena_printf(a, "%s/alarm-restarts", c->state_directory);
}

/* Of the lines "unit N"; 0 for one that is not there. */
static uint64_t count_of(struct str lines, struct str unit)
{
	struct str line;
	uint64_t n;

	while (str_token(&lines, "\n", &line))
		if (str_eq(str_split(&line, ' '), unit))
			return num_parse(line, 0, UINT64_MAX, &n) == 0 ? n : 0;
	return 0;
}

/* systemctl show's "NRestarts=" and "Id=", in any order, an empty line after each unit: as lines "unit N". */
static void counts_of(struct str shown, struct buf *out)
{
	struct str unit = { 0 }, n = { 0 };

	while (shown.n > 0) {
		struct str line = str_split(&shown, '\n');
		if (str_starts(line, STR("Id=")))
			unit = str_from(line, 3);
		else if (str_starts(line, STR("NRestarts=")))
			n = str_from(line, 10);
		if (unit.n == 0 || n.n == 0)
			continue;
		buf_printf(out, "%.*s %.*s\n", STR_ARG(unit), STR_ARG(n));
		unit = n = (struct str){ 0 };
	}
}

static void counts_now(struct buf *out)
{
	static const char *const argv[] = { "systemctl", "show", "--no-pager", "--property=Id", "--property=NRestarts", "postern-*.service", NULL };
	struct buf shown;

	buf_init(&shown, OUTPUT_MAX);
	ask_systemd(argv, &shown);
	counts_of(buf_view(&shown), out);
	buf_fini(&shown);
}

/* A count that is smaller began anew. */
void alarm_restarts_compare(struct str before, struct str now, struct buf *text)
{
	struct str line;
	uint64_t n;

	while (str_token(&now, "\n", &line)) {
		const struct str unit = str_split(&line, ' ');
		const uint64_t was = count_of(before, unit);
		if (num_parse(line, 0, UINT64_MAX, &n) < 0)
			continue;
		n -= n < was ? 0 : was;
		if (n > 0)
			buf_printf(text, "%s%.*s (%llu)", text->n ? ", " : "died and were started again since the last look (journalctl -u tells why): ", STR_ARG(unit),
				   (unsigned long long)n);
	}
}

/* As the look saw them: what happens after it is the next one's. */
static struct buf seen;

enum alarm_level look_restarts(const struct conf *c, struct arena *a, struct buf *text)
{
	struct err ignored = { 0 };
	struct buf before;

	buf_init(&before, OUTPUT_MAX + 1);
	buf_init(&seen, OUTPUT_MAX);
	(void)!file_read(restarts_file(c, a), OUTPUT_MAX, &before, &ignored);
	counts_now(&seen);
	alarm_restarts_compare(buf_view(&before), buf_view(&seen), text);
	buf_fini(&before);
	return text->n ? ALARM_WARNING : ALARM_OK;
}

int alarm_restarts_remember(const struct conf *c, struct arena *a, struct err *e)
{
	const int rc = seen.n == 0 ? 0 : file_replace(restarts_file(c, a), buf_view(&seen), 0600, (uid_t)-1, (gid_t)-1, e);

	buf_fini(&seen);
	return rc;
}
