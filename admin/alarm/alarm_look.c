/* The looks themselves. */
#include "admin/alarm/alarm.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/clock.h"
#include "io/tls.h"
#include "ipc/ask.h"
#include "map/snimap.h"
#include "os/os.h"

enum { PEM_MAX = 1 << 20, DAY_S = 86400, CERTS_TOLD_MAX = 5, CERT_TEXT_MAX = 1200 };

static enum alarm_level worse(enum alarm_level a, enum alarm_level b)
{
	return a > b ? a : b;
}

/* --- disk --- */

static unsigned used_percent(const char *path)
{
	struct statvfs v;

	if (statvfs(path, &v) < 0 || v.f_blocks == 0)
		return 0;
	const uint64_t used = v.f_blocks - v.f_bfree, usable = used + v.f_bavail;
	const uint64_t blocks = usable ? (used * 100 + usable - 1) / usable : 100;
	const uint64_t inodes = v.f_files ? (v.f_files - v.f_ffree) * 100 / v.f_files : 0;

	return (unsigned)(blocks > inodes ? blocks : inodes);
}

static enum alarm_level look_disk(const struct conf *c, struct arena *a, struct buf *text)
{
	const char *const paths[] = { c->queue_directory, c->state_directory, arena_printf(a, "%s/mail", c->state_directory), "/home", "/mail", "/var/log" };
	enum alarm_level level = ALARM_OK;
	dev_t seen[ARRAY_LEN(paths)];
	size_t n = 0;

	for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
		struct stat st;
		bool known = stat(paths[i], &st) < 0;
		for (size_t k = 0; !known && k < n; k++)
			known = seen[k] == st.st_dev;
		if (known)
			continue;
		seen[n++] = st.st_dev;
		const unsigned used = used_percent(paths[i]);
		const enum alarm_level here = used >= c->alarm_disk_urgent ? ALARM_URGENT : used >= c->alarm_disk_warning ? ALARM_WARNING : ALARM_OK;
		if (here)
			buf_printf(text, "%sthe file system of %s is %u %% full", text->n ? "; " : "", paths[i], used);
		level = worse(level, here);
	}
	return level;
}

/* --- daemons --- */

struct oldest {
	uint64_t arrived, late, before;
};

static void on_message(void *ctx, const struct ipc_control_LINE *l)
{
	struct oldest *o = ctx;
	const uint64_t arrived = control_number(l, "arrival_time");

	if (control_value(l, "queue_id").n == 0 || str_eq(control_value(l, "queue_name"), STR("hold")) || arrived == 0)
		return;		/* what an administrator holds waits for that one */
	o->arrived = o->arrived == 0 || arrived < o->arrived ? arrived : o->arrived;
	o->late += arrived < o->before;
}

static enum alarm_level look_queue(const struct conf *c, struct arena *a, struct buf *text)
{
	const uint64_t now = (uint64_t)clock_wall();
	struct oldest o = { .before = now - c->alarm_queue_age };
	struct err e = { 0 };

	if (control_ask(c->run_directory, "queue/control", "list", NULL, 0, on_message, &o, NULL, &e) != 0) {
		buf_printf(text, "queued does not answer: %s", e.text);
		return ALARM_URGENT;
	}
	if (o.late == 0)
		return ALARM_OK;
	buf_printf(text, "%llu messages have waited longer than alarm_queue_age, the oldest for %llu hours (postern queue list)", (unsigned long long)o.late,
		   (unsigned long long)((now - o.arrived) / 3600));
	return ALARM_WARNING;
}

static enum alarm_level look_logins(const struct conf *c, struct arena *a, struct buf *text)
{
	struct err e = { 0 };

	if (control_ask(c->run_directory, "auth/control", "status", NULL, 0, NULL, NULL, NULL, &e) == 0)
		return ALARM_OK;
	buf_printf(text, "authd does not answer: %s", e.text);
	return ALARM_URGENT;
}

/* --- what goes out of date --- */

static enum alarm_level one_certificate(const struct conf *c, const char *file, struct arena *a, struct buf *text)
{
	const char *also = text->n ? "; " : "";
	enum alarm_level level = ALARM_OK;
	struct tls_cert_info info;
	struct err e = { 0 };
	struct buf pem;

	buf_init(&pem, PEM_MAX);
	if (file_read(file, PEM_MAX, &pem, &e) < 0 || tls_cert_info(buf_view(&pem), a, &info, &e) < 0) {
		buf_printf(text, "%sthe certificate cannot be read: %s", also, e.text);
		level = ALARM_URGENT;
	} else if (info.days_left < 0) {
		buf_printf(text, "%sthe certificate %s has expired", also, file);
		level = ALARM_URGENT;
	} else if (info.days_left < (int64_t)c->alarm_certificate_days) {
		buf_printf(text, "%sthe certificate %s expires in %lld days", also, file, (long long)info.days_left);
		level = ALARM_WARNING;
	}
	buf_fini(&pem);
	return level;
}

/* Of many that are in trouble the first are named: those of one authority that was not reached end together. */
static enum alarm_level look_certificate(const struct conf *c, struct arena *a, struct buf *text)
{
	enum alarm_level level = c->tls_cert_file[0] ? one_certificate(c, c->tls_cert_file, a, text) : ALARM_OK;
	unsigned told = level != ALARM_OK, untold = 0;
	struct snimap map;
	struct err e = { 0 };

	if (snimap_conf(c, a, &map, &e) < 0) {
		buf_printf(text, "%stls_server_sni_maps: %s", text->n ? "; " : "", e.text);
		return ALARM_URGENT;
	}
	for (size_t i = 0; i < map.n_pairs; i++) {
		struct buf here;

		buf_init(&here, CERT_TEXT_MAX);
		const enum alarm_level one = one_certificate(c, map.pairs[i].chain, a, &here);
		if (one != ALARM_OK && told++ < CERTS_TOLD_MAX)
			buf_printf(text, "%s%.*s", text->n ? "; " : "", STR_ARG(buf_view(&here)));
		else
			untold += one != ALARM_OK;
		level = worse(level, one);
		buf_fini(&here);
	}
	if (untold > 0)
		buf_printf(text, "; and %u more (postern check)", untold);
	return level;
}

static bool is_signatures(const char *name)
{
	static const char *const ends[] = { ".cvd", ".cld", ".cud" };

	for (size_t i = 0; i < ARRAY_LEN(ends); i++)
		if (str_ends(str_c(name), str_c(ends[i])))
			return true;
	return false;
}

/* Without any freshclam is not used, which postern check speaks of. */
static enum alarm_level look_signatures(const struct conf *c, struct arena *a, struct buf *text)
{
	DIR *d = opendir(c->virus_database_directory);
	int64_t newest = 0;

	for (struct dirent *ent; d && (ent = readdir(d));) {
		struct stat st;
		if (is_signatures(ent->d_name) && fstatat(dirfd(d), ent->d_name, &st, 0) == 0 && st.st_mtime > newest)
			newest = st.st_mtime;
	}
	if (d)
		closedir(d);
	const int64_t age = clock_wall() - newest;

	if (newest == 0 || age <= (int64_t)c->alarm_signature_days * DAY_S)
		return ALARM_OK;
	buf_printf(text, "the newest virus signatures are %lld days old (freshclam)", (long long)(age / DAY_S));
	return ALARM_WARNING;
}

/* --- units: alarm_units.c --- */

const struct alarm_row alarm_rows[] = {
#define ALARM(name, what) { #name, look_##name },
#include "admin/alarm/alarms.def"
#undef ALARM
};
const size_t n_alarm_rows = ARRAY_LEN(alarm_rows);
