/* The monitor's notes of when application passwords were used: kept in memory, written to a file at most once in ten minutes, at the end, and when
 * postern-user asks. Whoever logs in each minute costs no write a minute. */
#include <errno.h>
#include <stdio.h>

#include "authd/monitor.h"
#include "authd/uses.h"
#include "base/clock.h"
#include "log/log.h"
#include "os/os.h"

enum { USES_SAVE_MS = 600000 };

static void path_of(const struct monitor *m, char *path, size_t n)
{
	snprintf(path, n, "%s/app-uses", m->conf->state_directory);
}

void uses_load(struct monitor *m)
{
	struct err e = { 0 };
	char path[1100];
	struct buf b;

	m->uses = uses_new();
	path_of(m, path, sizeof path);
	buf_init(&b, USES_FILE_MAX);
	if (file_read(path, USES_FILE_MAX, &b, &e) == 0)
		uses_parse(m->uses, buf_view(&b));
	else if (e.code != ERR_NOENT)
		log_error("%s", e.text);
	buf_fini(&b);
}

int uses_save(struct monitor *m, struct err *e)
{
	char path[1100];
	struct buf b;

	if (!m->uses_dirty)
		return 0;
	path_of(m, path, sizeof path);
	buf_init(&b, USES_FILE_MAX);
	uses_format(m->uses, &b);
	int rc = buf_check(&b, path, e);
	if (rc == 0)
		rc = file_replace(path, buf_view(&b), 0600, (uid_t)-1, (gid_t)-1, e);
	buf_fini(&b);
	m->uses_dirty = rc < 0;
	return rc;
}

static void on_save(void *ctx)
{
	struct monitor *m = ctx;
	struct err e = { 0 };

	timer_del(&m->uses_timer);
	if (uses_save(m, &e) < 0)
		log_error("%s", e.text);
}

void uses_seen(struct monitor *m, struct str id, const char *client)
{
	if (!uses_note(m->uses, id, (uint64_t)clock_wall(), str_c(client)))
		return;
	m->uses_dirty = true;
	if (!m->uses_timer)
		m->uses_timer = loop_timer(m->loop, USES_SAVE_MS, on_save, m);
}
