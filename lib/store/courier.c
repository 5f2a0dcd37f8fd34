/* Courier's keywords: in a folder's courierimapkeywords/ the file :list (names, an empty line, "<base name>:<number> <number>…"), and for messages that were
 * changed since a file of that base name, or ".<N>.<base name>" with a larger N for a newer one, which lists names and overrides :list. Read once, when the
 * folder is taken over. The parsers are pure. */
#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/num.h"
#include "os/os.h"
#include "store/store_priv.h"

enum { LIST_MAX = 64 << 20, ONE_MAX = 65536, FILES_MAX = 1000000, NAMES_MAX = 1000 };

static bool name_ok(struct str s)
{
	return s.n > 0 && s.n <= STORE_KEYWORD_NAME_MAX && str_printable(s) && str_chr(s, ' ') < 0;
}

static struct courier_words *words_of(struct arena *a, struct map *by_base, struct str base)
{
	struct courier_words *w = map_get(by_base, base);

	if (w == NULL) {
		w = ARENA_NEW(a, struct courier_words);
		(void)map_set(by_base, base, w);
	}
	return w;
}

static void add_word(struct courier_words *w, struct str name)
{
	if (name_ok(name) && w->n < COURIER_WORDS_MAX)
		w->v[w->n++] = name;
}

static void list_line(struct arena *a, struct map *by_base, const struct str *names, size_t n_names, struct str line)
{
	const ptrdiff_t colon = str_rchr(line, ':');
	uint64_t i;

	if (colon <= 0)
		return;
	struct courier_words *const w = words_of(a, by_base, str_sub(line, 0, (size_t)colon));
	w->n = 0;
	for (struct str rest = str_from(line, (size_t)colon + 1); rest.p;) {
		const struct str number = str_split(&rest, ' ');
		if (number.n > 0 && num_parse(number, 0, n_names, &i) == 0 && i < n_names)
			add_word(w, names[i]);
	}
}

void courier_list_parse(struct arena *a, struct str text, struct map *by_base)
{
	struct str *const names = ARENA_ARRAY(a, struct str, NAMES_MAX);
	size_t n = 0;

	while (text.p) {
		const struct str line = str_split(&text, '\n');
		if (line.n == 0)
			break;
		if (n < NAMES_MAX)
			names[n++] = line;
	}
	while (text.p)
		list_line(a, by_base, names, n, str_split(&text, '\n'));
}

void courier_file_parse(struct arena *a, struct str name, struct str text, struct map *by_base)
{
	uint64_t age = UINT64_MAX;	/* without a number: the newest */

	if (name.n > 0 && name.p[0] == '.') {
		name = str_from(name, 1);
		if (num_take(&name, UINT64_MAX - 1, &age) < 0 || name.n < 2 || name.p[0] != '.')
			return;
		name = str_from(name, 1);
	}
	struct courier_words *const w = words_of(a, by_base, name);
	if (w->changed && w->age >= age)
		return;
	*w = (struct courier_words){ .changed = true, .age = age };
	while (text.p)
		add_word(w, str_split(&text, '\n'));
}

/* --- the files --- */

static struct str read_one(int dirfd, const char *name, size_t max, struct arena *a)
{
	struct err ignored = { 0 };
	struct buf b;
	struct str out = { 0 };

	buf_init(&b, max + 1);
	if (file_read_at(dirfd, name, max, &b, &ignored) == 0)
		out = arena_str(a, buf_view(&b));
	buf_fini(&b);
	return out;
}

struct map *courier_keywords(int dirfd, struct arena *a)
{
	const int fd = openat(dirfd, "courierimapkeywords", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	DIR *const d = fd < 0 ? NULL : fdopendir(fd);
	size_t files = 0;

	if (d == NULL)
		return NULL;
	struct map *const by_base = map_new();
	courier_list_parse(a, read_one(fd, ":list", LIST_MAX, a), by_base);
	for (const struct dirent *de; (de = readdir(d)) != NULL && files < FILES_MAX; files++)
		if (de->d_name[0] != ':' && strcmp(de->d_name, ".") != 0 && strcmp(de->d_name, "..") != 0)
			courier_file_parse(a, arena_str(a, str_c(de->d_name)), read_one(fd, de->d_name, ONE_MAX, a), by_base);
	closedir(d);
	return by_base;
}
