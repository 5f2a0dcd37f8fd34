/* See user_forward.h. The map's source is the administrator's own text: a line is added at its end, nothing else is touched. */
#include "authd/user_forward.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "os/os.h"

enum { SOURCE_MAX = 64 << 20, ADDRESS_MAX = 320 };

/* "cdb:/path", "hash:/path": the map, and its source. NULL: there is none. */
static const char *map_of(const struct conf *c, const char **source_out)
{
	for (size_t i = 0; i < c->virtual_alias_maps.n; i++) {
		const char *m = c->virtual_alias_maps.v[i], *slash = strchr(m, '/');
		if (slash && (strncmp(m, "cdb:/", 5) == 0 || strncmp(m, "hash:/", 6) == 0)) {
			*source_out = slash;
			return m;
		}
	}
	return NULL;
}

int user_forward_check(const struct conf *c, const char *to, struct err *e)
{
	const size_t n = strlen(to);
	const char *source, *at = strchr(to, '@');

	if (!at || at == to || !at[1] || strchr(at + 1, '@') || n > ADDRESS_MAX || !str_printable(str_n(to, n)) || strpbrk(to, " ,;:<>()\"\\|/#"))
		return err_set(e, ERR_INPUT, 0, "--forward %.100s: one whole address is wanted", to);
	if (!map_of(c, &source))
		return err_set(e, ERR_CONF, 0, "--forward: virtual_alias_maps has no compiled map to write to");
	return 0;
}

static int compile(const struct conf *c, const char *map, struct err *e)
{
	char program[4096];
	int status = -1;

	(void)snprintf(program, sizeof(program), "%s/postmap", c->libexec_directory);
	const pid_t pid = fork();

	if (pid == 0) {
		execl(program, program, "-c", c->conf_file, map, (char *)NULL);
		_exit(127);
	}
	while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return status == 0 ? 0 : err_set(e, ERR_TEMP, 0, "%s was written and could not be compiled: run postmap %s", map, map);
}

int user_forward_add(const struct conf *c, const char *name, const char *to, struct err *e)
{
	const char *source, *map = map_of(c, &source);
	struct stat st;
	struct buf b;
	int rc = -1;

	if (!map || stat(source, &st) < 0)
		return err_set(e, ERR_CONF, errno, "%s", map ? source : "virtual_alias_maps");
	buf_init(&b, SOURCE_MAX);
	if (file_read(source, SOURCE_MAX / 2, &b, e) == 0) {
		if (b.n && b.p[b.n - 1] != '\n')
			buf_ch(&b, '\n');
		buf_printf(&b, "%s %s\n", name, to);
		rc = file_replace(source, buf_view(&b), st.st_mode & 0777, st.st_uid, st.st_gid, e);
	}
	buf_fini(&b);
	return rc == 0 ? compile(c, map, e) : -1;
}
