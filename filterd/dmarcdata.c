/* See dmarcdata.h. */
#include "dmarcdata.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "authres/aggregate.h"
#include "base/arena.h"
#include "base/clock.h"
#include "base/num.h"
#include "log/log.h"
#include "os/os.h"

struct dmarc_data {
	struct loop *loop;
	char dir[1100];
	char day[16];		/* of fd */
	int fd;
	uint64_t bytes;
	bool told;		/* of this day: it is full, or cannot be written */
	struct timer *sync;
};

struct dmarc_data *dmarc_data_new(struct loop *l, const struct conf *conf)
{
	struct dmarc_data *d = xzalloc(sizeof(*d));
	d->loop = l;
	d->fd = -1;
	snprintf(d->dir, sizeof(d->dir), "%s/" DMARC_DATA_DIR, conf->state_directory);
	return d;
}

static void day_name(int64_t when, char out[16])
{
	const time_t t = (time_t)when;
	struct tm tm;
	if (gmtime_r(&t, &tm) == NULL || strftime(out, 16, "%Y%m%d", &tm) == 0)
		snprintf(out, 16, "19700101");
}

/* Names of days sort as days do. */
static void remove_old(const struct dmarc_data *d)
{
	char oldest[16];
	DIR *dir = opendir(d->dir);
	day_name(clock_wall() - (int64_t)DMARC_DAYS_MAX * 86400, oldest);
	for (struct dirent *f; dir != NULL && (f = readdir(dir)) != NULL;) {
		uint64_t day;
		if (strlen(f->d_name) < 8 || num_parse(str_n(f->d_name, 8), 1, 99991231, &day) < 0 || strncmp(f->d_name, oldest, 8) >= 0)
			continue;
		if (unlinkat(dirfd(dir), f->d_name, 0) == 0)
			log_info("DMARC data of %.8s was not reported, and is removed after %d days", f->d_name, DMARC_DAYS_MAX);
	}
	if (dir != NULL)
		closedir(dir);
}

static void trouble(struct dmarc_data *d, const char *what)
{
	if (!d->told)
		log_warning("DMARC data of %s: %s: no more of it is kept", d->day, what);
	d->told = true;
}

static void on_sync(void *ctx)
{
	struct dmarc_data *d = ctx;
	timer_del(&d->sync);
	if (d->fd >= 0 && fdatasync(d->fd) < 0)
		trouble(d, strerror(errno));
}

/* A line that a crash cut short is ended first. */
static int open_day(struct dmarc_data *d)
{
	char path[1200], last = '\n';
	struct stat st = { 0 };
	snprintf(path, sizeof(path), "%s/%s", d->dir, d->day);
	d->fd = open(path, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (d->fd < 0 || fstat(d->fd, &st) < 0) {
		trouble(d, strerror(errno));
		return -1;
	}
	d->bytes = (uint64_t)st.st_size;
	if (st.st_size > 0 && pread(d->fd, &last, 1, st.st_size - 1) == 1 && last != '\n' && write(d->fd, "\n", 1) == 1)
		d->bytes++;
	return 0;
}

static int day_of(struct dmarc_data *d)
{
	char today[16];
	day_name(clock_wall(), today);
	if (strcmp(today, d->day) == 0)
		return d->fd >= 0 ? 0 : -1;
	if (d->sync)
		on_sync(d);
	close_fd(&d->fd);
	snprintf(d->day, sizeof(d->day), "%s", today);
	d->told = false;
	remove_old(d);
	return open_day(d);
}

void dmarc_data_keep(struct dmarc_data *d, struct str line)
{
	struct aggregate a;
	struct buf b;
	if (aggregate_parse(line, &a) < 0) {
		log_warning("worker: what it says of DMARC is not understood");
		return;
	}
	if (day_of(d) < 0)
		return;
	if (d->bytes + line.n + 1 > DMARC_DAY_BYTES_MAX) {
		trouble(d, "too much");
		return;
	}
	buf_init(&b, AGGREGATE_LINE_MAX + 8);
	buf_str(&b, line);
	buf_ch(&b, '\n');
	const ssize_t n = write(d->fd, b.p, b.n);
	if (n != (ssize_t)b.n)
		trouble(d, n < 0 ? strerror(errno) : "disk full");
	d->bytes += n > 0 ? (uint64_t)n : 0;
	buf_fini(&b);
	if (d->sync == NULL)
		d->sync = loop_timer(d->loop, DMARC_SYNC_MS, on_sync, d);
}
