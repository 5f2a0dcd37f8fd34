/* The signing keys: the table, the key files, and whether anybody signs with them. */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "admin/postern/check.h"
#include "authres/dkim_table.h"
#include "os/os.h"

static bool roots_alone(struct check *c, const char *path, mode_t others, const char *rule)
{
	struct stat st;

	if (lstat(path, &st) < 0) {
		found(c, SEV_ERROR, path, "", "%s", strerror(errno));
		return false;
	}
	if (st.st_uid == 0 && (st.st_mode & others) == 0)
		return true;
	found(c, SEV_ERROR, path, "", "%s: it is not used", rule);
	return false;
}

static void check_keys(struct check *c, const struct dkim_table *t)
{
	bool active = false;

	for (size_t i = 0; i < t->n; i++) {
		const char *path = dkim_key_path(c->a, c->conf->state_directory, c->conf->dkim_credentials_directory, t->v[i].domain, t->v[i].selector);
		(void)roots_alone(c, path, 077, "must be root's alone (mode 0600)");
		active |= t->v[i].state == DKIM_ACTIVE;
	}
	if (active && !c->conf->filter_enable)
		found_param(c, SEV_WARNING, "filter_enable", "there are active DKIM keys, but filterd is off: mail leaves unsigned");
}

void check_dkim(struct check *c)
{
	const char *path = arena_printf(c->a, "%s/" DKIM_TABLE_FILE, c->conf->state_directory);
	struct dkim_table t;
	struct stat st;
	struct buf text;
	struct err e = { 0 };

	if (lstat(path, &st) < 0 && errno == ENOENT)
		return;		/* nobody made a key */
	if (!roots_alone(c, path, 022, "must belong to root and be writable by nobody else"))
		return;
	buf_init(&text, DKIM_TABLE_BYTES_MAX);
	if (file_read(path, DKIM_TABLE_BYTES_MAX, &text, &e) < 0 || dkim_table_parse(c->a, buf_view(&text), &t, &e) < 0)
		found(c, SEV_ERROR, path, "", "%s", e.text);
	else
		check_keys(c, &t);
	buf_fini(&text);
}
