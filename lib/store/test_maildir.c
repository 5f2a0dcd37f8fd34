/* The maildir writer: names, two phases, recovery of copies left complete in tmp, refusal of trees that are not the user's alone. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "os/os.h"
#include "store/maildir_priv.h"
#include "test/tap.h"

static char scratch[] = "/tmp/test_maildir.XXXXXX";

/* A shell command of ours (set-up only). */
static int run(const char *cmd)
{
	const pid_t pid = fork();
	int status = -1;

	if (pid == 0) {
		execl("/bin/sh", "sh", "-c", cmd, (char *)NULL);
		_exit(127);
	}
	waitpid(pid, &status, 0);
	return status;
}

static int count_in(int dirfd, const char *dir, char *name_out, size_t max)
{
	char cmd[300];
	struct buf b;
	int n = 0;

	/* readdir through the library would test it with itself: use the shell's eyes instead */
	(void)dirfd;
	buf_init(&b, 1 << 20);
	snprintf(cmd, sizeof(cmd), "%s/m/%s", scratch, dir);
	int pipefd[2];
	if (pipe(pipefd) < 0)
		return -1;
	const pid_t pid = fork();
	if (pid == 0) {
		dup2(pipefd[1], 1);
		execlp("ls", "ls", "-A", cmd, (char *)NULL);
		_exit(127);
	}
	close(pipefd[1]);
	for (;;) {
		char *room = buf_room(&b, 4096);
		const ssize_t k = room ? read(pipefd[0], room, 4096) : 0;
		if (k <= 0)
			break;
		buf_added(&b, (size_t)k);
	}
	close(pipefd[0]);
	waitpid(pid, NULL, 0);
	struct str all = buf_view(&b), line;
	while (str_token(&all, "\n", &line)) {
		n++;
		if (name_out)
			snprintf(name_out, max, "%.*s", STR_ARG(line));
	}
	buf_fini(&b);
	return n;
}

static int open_m(void)
{
	char path[200];
	int fd = -1;
	struct err e = { 0 };

	snprintf(path, sizeof(path), "%s/m/", scratch);
	tap_is_int(maildir_open(path, true, &fd, &e), 0, "maildir opens: %s", e.text);
	return fd;
}

static void test_names(void)
{
	static const struct {
		const char *name, *base, *info, *id;
		uint64_t size, crlf;
		int64_t secs;
		uint32_t usecs;
	} t[] = {
		{ "1700000000.M123456P9R0123456789abcdefQ1AB-0f.host,S=10,W=12:2,S", "1700000000.M123456P9R0123456789abcdefQ1AB-0f.host,S=10,W=12", "S", "1AB-0f", 10, 12, 1700000000, 123456 },
		{ "1700000000.M5P9.host.example,S=10:2,", "1700000000.M5P9.host.example,S=10", "", "", 10, UINT64_MAX, 1700000000, 5 },
		{ "1700000000.V801I1M2.host", "1700000000.V801I1M2.host", "", "", UINT64_MAX, UINT64_MAX, 1700000000, 0 },
		{ "odd", "odd", "", "", UINT64_MAX, UINT64_MAX, 0, 0 },
		{ ":2,S:2,F", "", "S:2,F", "", UINT64_MAX, UINT64_MAX, 0, 0 },
		{ "1.x,S=99999999999999999999999,W=1x", "1.x,S=99999999999999999999999,W=1x", "", "", UINT64_MAX, UINT64_MAX, 1, 0 },
		{ "1.a,S=,S=5,W=7,W=8:2,S", "1.a,S=,S=5,W=7,W=8", "S", "", UINT64_MAX, 7, 1, 0 },	/* the first of each kind */
		{ "1.a,,S=5,S", "1.a,,S=5,S", "", "", 5, UINT64_MAX, 1, 0 },
		{ "1.a:1,x:2:2,:2,S", "1.a:1,x:2", ":2,S", "", UINT64_MAX, UINT64_MAX, 1, 0 },
		{ "1.a,S=18446744073709551614,W=18446744073709551616", "1.a,S=18446744073709551614,W=18446744073709551616", "", "", UINT64_MAX - 1, UINT64_MAX, 1, 0 },
		{ "", "", "", "", UINT64_MAX, UINT64_MAX, 0, 0 },
	};

	for (size_t i = 0; i < ARRAY_LEN(t); i++) {
		struct maildir_name n;
		maildir_name_parse(str_c(t[i].name), &n);
		tap_ok(str_eq(n.base, str_c(t[i].base)) && str_eq(n.info, str_c(t[i].info)) && str_eq(n.id, str_c(t[i].id)) && n.size == t[i].size &&
		       n.size_crlf == t[i].crlf && n.secs == t[i].secs && n.usecs == t[i].usecs, "name \"%s\"", t[i].name);
	}
}

/* Write a message of n bytes in lines of 10, from memory or from a file, and look at what new holds. */
static void test_sizes(void)
{
	static const size_t sizes[] = { 0, 1, 100, 65535, 65536, 65537, 300000, 1000003 };
	char name[300], path[600];
	struct err e = { 0 };
	const int dirfd = open_m();

	for (size_t i = 0; i < ARRAY_LEN(sizes) * 2; i++) {
		const size_t n = sizes[i / 2];
		const bool from_file = i & 1;
		char *text = malloc(n + 1);
		struct maildir_copy *c = NULL;
		uint64_t lines = 0;
		int fd = open(scratch, O_TMPFILE | O_RDWR, 0600);
		for (size_t k = 0; k < n; k++) {
			text[k] = k % 10 == 9 ? '\n' : 'x';
			lines += k % 10 == 9;
		}
		tap_ok(fd >= 0 && write_all(fd, "junk", 4, &e) == 0 && write_all(fd, text, n, &e) == 0, "scratch file");
		tap_is_int(maildir_copy_begin(dirfd, "1ABC", &c, &e), 0, "begin");
		tap_is_int(maildir_copy_write(c, STR("Head: er\n"), &e), 0, "head");
		if (from_file)
			tap_is_int(maildir_copy_file(c, fd, 4, UINT64_MAX, &e), 0, "%zu bytes from a file: %s", n, e.text);
		else
			tap_is_int(maildir_copy_write(c, str_n(text, n), &e), 0, "%zu bytes from memory: %s", n, e.text);
		tap_is_int(maildir_copy_sync(c, &e), 0, "sync: %s", e.text);
		tap_is_int(count_in(dirfd, "new", NULL, 0), 0, "not visible yet");
		tap_is_int(maildir_copy_commit(&c, NULL, &e), 0, "commit: %s", e.text);
		tap_is_int(count_in(dirfd, "new", name, sizeof(name)), 1, "visible");
		tap_is_int(count_in(dirfd, "tmp", NULL, 0), 0, "tmp empty");
		struct maildir_name mn;
		maildir_name_parse(str_c(name), &mn);
		tap_ok(mn.size == n + 9 && mn.size_crlf == n + 9 + 1 + lines && str_eq(mn.id, STR("1ABC")), "sizes in the name %s", name);
		snprintf(path, sizeof(path), "%s/m/new/%s", scratch, name);
		struct buf b;
		buf_init(&b, 2000000);
		tap_ok(file_read(path, 2000000, &b, &e) == 0 && b.n == n + 9 && memcmp(b.p + 9, text, n) == 0, "content of %zu bytes", n);
		buf_fini(&b);
		unlink(path);
		close(fd);
		free(text);
	}
	close(dirfd);
}

static void test_short_source(void)
{
	struct err e = { 0 };
	const int dirfd = open_m();
	struct maildir_copy *c = NULL;
	const int fd = open(scratch, O_TMPFILE | O_RDWR, 0600);

	tap_ok(fd >= 0 && write_all(fd, "abc", 3, &e) == 0, "three bytes");
	tap_is_int(maildir_copy_begin(dirfd, "", &c, &e), 0, "begin");
	tap_is_int(maildir_copy_range(c, fd, 0, 4, UINT64_MAX, &e), -1, "a message shorter than said is refused");
	tap_is_int(e.code, ERR_INPUT, "as input error");
	maildir_copy_abort(&c);
	tap_is_int(count_in(dirfd, "tmp", NULL, 0), 0, "nothing left");
	tap_is_int(maildir_copy_begin(dirfd, "../x", &c, &e), -1, "an id with a slash is refused");
	close(fd);
	close(dirfd);
}

static void test_cur_and_find(void)
{
	struct err e = { 0 };
	const int dirfd = open_m();
	struct maildir_copy *c = NULL;
	bool found = true;
	char name[300], path[600];

	tap_is_int(maildir_find_id(dirfd, "1XYZ-1", &found, &e), 0, "find");
	tap_ok(!found, "not there yet");
	tap_is_int(maildir_copy_begin(dirfd, "1XYZ-1", &c, &e) | maildir_copy_write(c, STR("a\n"), &e) | maildir_copy_sync(c, &e), 0, "copy");
	tap_is_int(maildir_copy_commit(&c, ":2,S", &e), 0, "into cur");
	tap_is_int(count_in(dirfd, "cur", name, sizeof(name)), 1, "in cur");
	tap_ok(str_ends(str_c(name), STR(":2,S")), "with flags");
	tap_is_int(maildir_find_id(dirfd, "1XYZ-1", &found, &e), 0, "find");
	tap_ok(found, "found in cur");
	tap_is_int(maildir_find_id(dirfd, "1XYZ", &found, &e), 0, "find");
	tap_ok(!found, "a prefix is another id");
	uint64_t bytes = 0, count = 0;
	bool written = true;
	tap_is_int(maildir_usage(dirfd, &bytes, &count, &written, &e), 0, "usage");
	tap_ok(bytes == 2 && count == 1 && !written, "two bytes, one message");
	snprintf(path, sizeof(path), "%s/m/cur/%s", scratch, name);
	unlink(path);
	close(dirfd);
}

/* A writer that dies between sync and rename leaves a complete file; recovery moves it, but not a live writer's, not an incomplete one. */
static void test_recover(void)
{
	struct err e = { 0 };
	const int dirfd = open_m();
	struct maildir_copy *c = NULL;
	char name[300], path[600];

	tap_is_int(maildir_copy_begin(dirfd, "1LIVE", &c, &e) | maildir_copy_write(c, STR("live\n"), &e) | maildir_copy_sync(c, &e), 0, "a live copy");
	const pid_t pid = fork();
	if (pid == 0) {
		struct maildir_copy *d = NULL;
		int r = maildir_copy_begin(dirfd, "1DEAD", &d, &e) | maildir_copy_write(d, STR("dead\n"), &e) | maildir_copy_sync(d, &e);
		_exit(r ? 1 : 0);	/* no commit */
	}
	int status = 0;
	waitpid(pid, &status, 0);
	tap_is_int(status, 0, "the writer died after the sync");
	snprintf(path, sizeof(path), "%s/m/tmp/1.M1P1R0123456789abcdefQ1CUT.host,S=5,W=6,T", scratch);
	int fd = open(path, O_WRONLY | O_CREAT, 0600);
	tap_ok(write(fd, "\0\0\0\0\0", 5) == 5, "a file whose data never came");
	close(fd);
	tap_is_int(maildir_recover(dirfd, &e), 0, "recover: %s", e.text);
	tap_is_int(count_in(dirfd, "new", name, sizeof(name)), 1, "one moved");
	tap_ok(str_find(str_c(name), STR("Q1DEAD.")) > 0 && !str_ends(str_c(name), STR(",T")), "the dead one: %s", name);
	tap_is_int(count_in(dirfd, "tmp", NULL, 0), 2, "the live and the cut one stay");
	bool found = true;
	tap_ok(maildir_find_id(dirfd, "1LIVE", &found, &e) < 0 && e.code == ERR_TEMP, "the live one may still become visible: %s", e.text);
	err_clear(&e);
	tap_ok(maildir_find_id(dirfd, "1CUT", &found, &e) == 0 && !found, "the cut one never will: %s", e.text);
	tap_is_int(maildir_copy_commit(&c, NULL, &e), 0, "the live one commits: %s", e.text);
	tap_ok(maildir_find_id(dirfd, "1LIVE", &found, &e) == 0 && found, "and is found: %s", e.text);
	tap_is_int(count_in(dirfd, "new", NULL, 0), 2, "both visible");
	const struct timespec old[2] = { { .tv_sec = 1000 }, { .tv_sec = 1000 } };
	(void)utimensat(AT_FDCWD, path, old, 0);
	tap_is_int(maildir_recover(dirfd, &e), 0, "recover again");
	tap_is_int(count_in(dirfd, "tmp", NULL, 0), 1, "a fresh change time keeps it (never by odd time stamps alone)");
	close(dirfd);
}

static void test_distrust(void)
{
	static const struct {
		const char *what, *setup;
	} t[] = {
		{ "new is a symlink", "rmdir new && ln -s ../elsewhere new" },
		{ "tmp is a file", "rmdir tmp && : > tmp" },
		{ "cur is a FIFO", "rmdir cur && mkfifo cur" },
		{ "new may be written by the group", "chmod 0770 new" },
		{ "the root may be written by all", "chmod 0707 ." },
	};
	char path[300], cmd[600];
	struct err e = { 0 };
	int fd = -1;

	for (size_t i = 0; i < ARRAY_LEN(t); i++) {
		snprintf(path, sizeof(path), "%s/d%zu", scratch, i);
		tap_is_int(maildir_open(path, true, &fd, &e), 0, "made");
		close(fd);
		snprintf(cmd, sizeof(cmd), "cd %s && %s", path, t[i].setup);
		tap_is_int(run(cmd), 0, "set-up");
		err_clear(&e);
		tap_is_int(maildir_open(path, true, &fd, &e), -1, "refused: %s (%s)", t[i].what, e.text);
		tap_is_int(e.code, ERR_TEMP, "for now");
	}
	snprintf(path, sizeof(path), "%s/link", scratch);
	snprintf(cmd, sizeof(cmd), "ln -s m %s", path);
	tap_is_int(run(cmd), 0, "set-up");
	tap_is_int(maildir_open(path, true, &fd, &e), -1, "a root that is a symlink is refused");
	memcpy(path + strlen(path), "/", 2);
	tap_is_int(maildir_open(path, true, &fd, &e), -1, "also with a slash behind it");
	snprintf(path, sizeof(path), "%s/none", scratch);
	tap_is_int(maildir_open(path, false, &fd, &e), -1, "a missing one without create");
	tap_is_int(e.code, ERR_NOENT, "is not there");
	const int root = open_m();
	tap_is_int(maildir_open_at(root, "../m", false, &fd, &e), -1, "a folder name with a slash is refused");
	tap_is_int(maildir_open_at(root, "..", false, &fd, &e), -1, "and ..");
	tap_is_int(maildir_open_at(root, ".Work", true, &fd, &e), 0, "a folder is made: %s", e.text);
	close(fd);
	close(root);
}

/* What is made is what is read, as long as it may be and no longer. */
static void names_made(void)
{
	const int64_t now = clock_wall();
	char id[MAILDIR_ID_MAX + 1], base[MAILDIR_NAME_MAX], name[MAILDIR_NAME_MAX], path[MAILDIR_NAME_MAX + 8], form[100];
	struct maildir_name n;
	unsigned usecs = 0;
	int pid = 0, used = 0;

	memset(id, 'x', MAILDIR_ID_MAX);
	id[MAILDIR_ID_MAX] = '\0';
	tap_is_int(maildir_base_make(base, sizeof(base), id), 0, "the longest id");
	tap_ok(sscanf(base, "%*d.M%6uP%dR%*16[0-9a-f]Q%n", &usecs, &pid, &used) == 2 && used > 0 && strncmp(base + used, id, MAILDIR_ID_MAX) == 0 &&
	       base[used + MAILDIR_ID_MAX] == '.' && pid == (int)getpid(), "%s", base);
	tap_is_int(maildir_name_make(name, sizeof(name), base, 1234567890123, 0), 0, "its sizes");
	maildir_name_parse(str_c(name), &n);
	tap_ok(n.secs >= now && n.secs <= now + 60 && n.usecs == usecs && str_eq(n.id, str_c(id)) && n.size == 1234567890123 && n.size_crlf == 0, "%s", name);
	tap_ok(maildir_base_make(base, sizeof(base), "") == 0 && strchr(base, 'Q') == NULL, "no id, no mark of one");
	tap_is_int(maildir_path_make(path, sizeof(path), "tmp", "name", ",T"), 0, "a path");
	tap_is_str(path, "tmp/name,T", "of its three parts");
	tap_ok(maildir_path_make(form, 11, "tmp", "name", ",T") == 0 && strcmp(form, path) == 0, "it may just fit");
	tap_is_int(maildir_path_make(form, 10, "tmp", "name", ",T"), -1, "or not");
	tap_is_int(maildir_base_make(form, 40, id), -1, "a name that is too long");
}

int main(void)
{
	char cmd[100];

	if (mkdtemp(scratch) == NULL)
		return 1;
	test_names();
	test_sizes();
	test_short_source();
	test_cur_and_find();
	test_recover();
	test_distrust();
	snprintf(cmd, sizeof(cmd), "rm -rf %s", scratch);
	if (run(cmd) != 0)
		return 1;
	names_made();
	return tap_done();
}
