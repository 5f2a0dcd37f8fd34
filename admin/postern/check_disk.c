/* Does what is synced survive a power cut? What a 250 promises rests on the file system's journal and on its barriers (fs_commits_in_order in os/os.h), and the daemons,
 * which see no devices, cannot know of an ext4 that has none. */
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "admin/postern/check.h"
#include "base/str.h"
#include "os/os.h"

enum { MOUNTS_MAX = 1 << 20, ATTRIBUTE_MAX = 65536, DEVICES_MAX = 64 };

/* The options of the file system on dev if it is one of ext4's driver, as /proc/self/mountinfo has them (proc(5)): "… MAJOR:MINOR … - TYPE SOURCE OPTIONS". */
static bool ext4_options(struct str mounts, dev_t dev, struct str *out)
{
	char want[32];
	bool there = false;

	(void)snprintf(want, sizeof(want), "%u:%u", major(dev), minor(dev));
	while (mounts.n > 0) {
		struct str line = str_split(&mounts, '\n'), word = { 0 };
		for (int i = 0; i < 3; i++)
			word = str_split(&line, ' ');
		const ptrdiff_t dash = str_find(line, STR(" - "));
		if (!str_eq(word, str_c(want)) || dash < 0)
			continue;
		line = str_from(line, (size_t)dash + 3);
		const struct str type = str_split(&line, ' ');
		(void)str_split(&line, ' ');
		there = str_eq(type, STR("ext4")) || str_eq(type, STR("ext3"));
		*out = line;
	}
	return there;
}

static bool is_option(struct str options, const char *name)
{
	while (options.n > 0)
		if (str_eq(str_split(&options, ','), str_c(name)))
			return true;
	return false;
}

/* The kernel names the thread of each ext4's journal; false also where it does not say. */
static bool has_no_journal(struct check *c, dev_t dev)
{
	struct err e = { 0 };
	struct buf b;
	char to[4096];
	const ssize_t n = readlink(arena_printf(c->a, "/sys/dev/block/%u:%u", major(dev), minor(dev)), to, sizeof(to) - 1);

	if (n <= 0)
		return false;
	to[n] = '\0';
	const char *slash = strrchr(to, '/');
	buf_init(&b, ATTRIBUTE_MAX);
	const char *task = arena_printf(c->a, "/sys/fs/ext4/%s/journal_task", slash ? slash + 1 : to);
	const bool none = file_read(task, ATTRIBUTE_MAX, &b, &e) == 0 && str_eq(str_trim(buf_view(&b)), STR("<none>"));
	buf_fini(&b);
	return none;
}

static void look(struct check *c, const char *param, const char *path, dev_t dev, struct str mounts)
{
	struct str options = { 0 };

	if (!ext4_options(mounts, dev, &options))
		return;
	if (has_no_journal(c, dev))
		found_param(c, SEV_WARNING, param, "%s is on an ext4 without a journal: mail that was acknowledged may be missing after a power cut "
			    "(tune2fs -O has_journal makes one)", path);
	else if (is_option(options, "data=writeback"))
		found_param(c, SEV_WARNING, param, "%s is on an ext4 that is mounted data=writeback: mail that was acknowledged may be empty after a power cut", path);
	if (is_option(options, "nobarrier") || is_option(options, "barrier=0"))
		found_param(c, SEV_WARNING, param, "%s is on an ext4 that is mounted nobarrier: mail that was acknowledged may be missing after a power cut", path);
}

/* The part of mail_location that is the same for all. */
static const char *mail_directory(struct check *c)
{
	const struct str all = str_c(c->conf->mail_location);
	struct str rest = all;
	size_t n = str_split(&rest, '%').n;

	while (n > 0 && all.p[n - 1] != '/')
		n--;
	return arena_cstr(c->a, str_sub(all, 0, n));
}

struct disks {
	struct check *c;
	struct str mounts;
	dev_t seen[DEVICES_MAX];	/* what is more than that is not looked at */
	size_t n;
};

static void place(struct disks *d, const char *param, const char *path)
{
	struct stat st;

	if (path[0] != '/' || stat(path, &st) < 0 || d->n == ARRAY_LEN(d->seen))
		return;
	for (size_t i = 0; i < d->n; i++)
		if (d->seen[i] == st.st_dev)
			return;
	d->seen[d->n++] = st.st_dev;
	look(d->c, param, path, st.st_dev, d->mounts);
}

/* Where homes are, not each of them: one may be another machine's, and away. */
static void homes(struct disks *d)
{
	const struct passwd *pw;

	setpwent();
	while ((pw = getpwent()) != NULL) {
		const char *slash = strrchr(pw->pw_dir, '/');
		if (pw->pw_uid >= d->c->conf->auth_min_uid && slash != NULL && slash > pw->pw_dir)
			place(d, "home_mailbox", arena_cstr(d->c->a, str_n(pw->pw_dir, (size_t)(slash - pw->pw_dir))));
	}
	endpwent();
}

void check_disks(struct check *c)
{
	const char *const mail = mail_directory(c);
	struct err e = { 0 };
	struct buf mounts;

	buf_init(&mounts, MOUNTS_MAX);
	if (file_read("/proc/self/mountinfo", MOUNTS_MAX, &mounts, &e) == 0) {
		struct disks d = { .c = c, .mounts = buf_view(&mounts) };
		place(&d, "queue_directory", c->conf->queue_directory);
		place(&d, "state_directory", c->conf->state_directory);
		place(&d, "virtual_mail_directory", c->conf->virtual_mail_directory);
		if (mail[0] == '/')
			place(&d, "mail_location", mail);
		else
			homes(&d);
	}
	buf_fini(&mounts);
}
