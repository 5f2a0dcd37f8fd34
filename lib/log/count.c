/* Counters of events, and which line is which event. */
#include "log/count.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/clock.h"

enum { ID_MIN = 10, ID_MAX = 15, MINUTE_S = 60 };

/* Changes with the rows: a page of other rows is begun anew. */
#define LAYOUT_WORD(name, program, start, within, what) #name " "
static const char layout[] = "postern counters 1: "
#define EVENT LAYOUT_WORD
#include "log/events.def"
#undef EVENT
	;

struct page {
	char layout[sizeof(layout)];
	int64_t since, minute_at;
	uint64_t total[EV_MAX_], minute[EV_MAX_], before[EV_MAX_];
};

struct counters {
	struct page *page;
	bool write;
};

static const struct {
	const char *name;
	struct str program, start, within;
	const char *what;
} events[] = {
#define EVENT(name, program, start, within, what) { #name, { program, sizeof(program) - 1 }, { start, sizeof(start) - 1 }, { within, sizeof(within) - 1 }, what },
#include "log/events.def"
#undef EVENT
};
_Static_assert(EV_MAX_ <= 64, "a line's events are bits of one number");

/* --- lines --- */

bool event_is_id(struct str s)
{
	bool digit = false;

	for (size_t i = 0; i < s.n; i++) {
		if (!ch_digit(s.p[i]) && !ch_upper(s.p[i]))
			return false;
		digit |= ch_digit(s.p[i]);
	}
	return digit && s.n >= ID_MIN && s.n <= ID_MAX;
}

struct str event_behind_id(struct str text, struct str *id_out)
{
	const ptrdiff_t colon = str_chr(text, ':');

	*id_out = STR("");
	if (colon <= 0 || (size_t)colon + 1 >= text.n || text.p[colon + 1] != ' ')
		return text;
	const struct str first = str_sub(text, 0, (size_t)colon);

	if (event_is_id(first))
		*id_out = first;
	else if (!str_eq(first, STR("NOQUEUE")))
		return text;
	return str_from(text, (size_t)colon + 2);
}

uint64_t event_find(struct str ident, struct str text)
{
	const ptrdiff_t slash = str_rchr(ident, '/');
	const struct str program = str_from(ident, (size_t)(slash + 1));
	struct str id;
	uint64_t found = 0;

	text = event_behind_id(text, &id);
	for (size_t i = 0; i < ARRAY_LEN(events); i++)
		if ((events[i].program.n == 0 || str_eq(events[i].program, program)) && str_starts(text, events[i].start) &&
		    (events[i].within.n == 0 || str_find(text, events[i].within) >= 0))
			found |= 1ULL << i;
	return found;
}

const char *event_name(enum event ev)
{
	return events[ev].name;
}

const char *event_what(enum event ev)
{
	return events[ev].what;
}

/* --- the page --- */

static int page_open(const char *path, bool write, struct err *e)
{
	struct stat st;
	const int fd = open(path, (write ? O_RDWR | O_CREAT : O_RDONLY) | O_NOFOLLOW | O_NOCTTY | O_CLOEXEC, 0644);

	if (fd < 0)
		return err_set(e, errno == ENOENT ? ERR_NOENT : ERR_TEMP, errno, "%s", path);
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || (!write && st.st_size != sizeof(struct page)) ||
	    (write && st.st_size != sizeof(struct page) && ftruncate(fd, sizeof(struct page)) < 0)) {
		close(fd);
		return err_set(e, ERR_TEMP, 0, "%s: not a page of counters", path);
	}
	return fd;
}

int counters_open(const char *run_directory, bool write, struct counters **out, struct err *e)
{
	char path[PATH_MAX];

	(void)snprintf(path, sizeof(path), "%s/log/counters", run_directory);
	const int fd = page_open(path, write, e);

	if (fd < 0)
		return -1;
	struct page *p = mmap(NULL, sizeof(*p), PROT_READ | (write ? PROT_WRITE : 0), MAP_SHARED, fd, 0);

	close(fd);
	if (p == MAP_FAILED)
		return err_set(e, ERR_TEMP, errno, "%s", path);
	const bool ours = memcmp(p->layout, layout, sizeof(layout)) == 0;

	if (!ours && !write) {
		munmap(p, sizeof(*p));
		return err_set(e, ERR_TEMP, 0, "%s: counters of another version", path);
	}
	if (!ours) {
		*p = (struct page){ .since = clock_wall() };
		memcpy(p->layout, layout, sizeof(layout));
	}
	*out = xzalloc(sizeof(**out));
	**out = (struct counters){ p, write };
	return 0;
}

void counters_close(struct counters **c)
{
	if (*c == NULL)
		return;
	munmap((*c)->page, sizeof(*(*c)->page));
	free(*c);
	*c = NULL;
}

void counters_add(struct counters *c, uint64_t found)
{
	for (; found; found &= found - 1) {
		uint64_t *const n = &c->page->total[__builtin_ctzll(found)];

		__atomic_store_n(n, *n + 1, __ATOMIC_RELAXED);
	}
}

void counters_tick(struct counters *c, int64_t now)
{
	struct page *const p = c->page;

	if (now < p->minute_at + MINUTE_S && now >= p->minute_at)
		return;
	/* After a longer pause what was counted is not one minute's. */
	const bool whole = now < p->minute_at + 2 * MINUTE_S && now >= p->minute_at;

	for (size_t i = 0; i < EV_MAX_; i++) {
		__atomic_store_n(&p->minute[i], whole ? p->total[i] - p->before[i] : 0, __ATOMIC_RELAXED);
		p->before[i] = p->total[i];
	}
	p->minute_at = now;
}

uint64_t counter_total(const struct counters *c, enum event ev)
{
	return __atomic_load_n(&c->page->total[ev], __ATOMIC_RELAXED);
}

uint64_t counter_minute(const struct counters *c, enum event ev)
{
	return __atomic_load_n(&c->page->minute[ev], __ATOMIC_RELAXED);
}

int64_t counters_since(const struct counters *c)
{
	return c->page->since;
}
