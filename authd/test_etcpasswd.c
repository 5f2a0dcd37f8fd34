/* What a gatherer may say, and what it may not. */
#include "authd/etcpasswd.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "test/tap.h"

static const char file[] = "root:x:0:0:root:/root:/bin/sh\n"
			   "joe:x:1000:1000:Joe:/home/joe:/bin/sh\n"
			   "Old:x:1001:8:mail group:/home/old:/bin/sh\n"
			   "+::::::\n"
			   "joe:x:1007:1007:again:/:/bin/sh\n";

static const struct {
	const char *what, *name;
	uid_t uid;
	gid_t gid;
	const char *home;
	bool ok;
} rows[] = {
	{ "as it stands there", "joe", 1000, 1000, "/home/joe", true },
	{ "a system group that stands there", "old", 1001, 8, "/home/old", true },
	{ "another uid", "joe", 1001, 1000, "/home/joe", false },
	{ "the group disk", "joe", 1000, 6, "/home/joe", false },
	{ "another's home", "joe", 1000, 1000, "/home/old", false },
	{ "a later line of the same name", "joe", 1007, 1007, "/", false },
	{ "a name service's user", "ann", 5000, 5000, "/home/ann", true },
	{ "of the group users", "ann", 5000, 100, "/home/ann", true },
	{ "with joe's uid", "ann", 1000, 5000, "/home/joe", false },
	{ "in the group shadow", "ann", 5000, 42, "/home/ann", false },
	{ "in a system group made later", "ann", 5000, 998, "/home/ann", false },
};

int main(void)
{
	char path[] = "/tmp/etcpasswdXXXXXX";
	const int fd = mkstemp(path);
	struct etcpasswd *p = NULL;
	struct err e = { 0 };

	tap_ok(fd >= 0 && write(fd, file, strlen(file)) == (ssize_t)strlen(file) && etcpasswd_read(path, &p, &e) == 0, "read");
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		tap_ok((etcpasswd_denies(p, str_c(rows[i].name), rows[i].uid, rows[i].gid, str_c(rows[i].home), 1000) == NULL) == rows[i].ok, "%s %s",
		       rows[i].name, rows[i].what);
	etcpasswd_free(&p);
	tap_ok(p == NULL, "freed");
	close(fd);
	unlink(path);
	tap_ok(etcpasswd_read("/nonexistent/passwd", &p, &e) < 0 && e.code == ERR_TEMP, "a missing file is a temporary failure");
	return tap_done();
}
