/* The queue on disk: a message written and replayed is the same; a journal cut or damaged at any byte never gives a wrong message, loses at most
 * the records behind the damage, and never ends the process; files are recovered, swept and moved aside as spool.h says. */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "os/os.h"
#include "spool/spool.h"
#include "test/tap.h"

static const struct str QID = { "1ABCDEFGHJK", 11 };

static struct spool_msg *sample(struct arena *a)
{
	struct spool_msg *m = ARENA_NEW(a, struct spool_msg);

	m->qid = QID;
	m->size = 12;
	m->arrived_us = 1700000000123456;
	m->flags = SPOOL_F_OURS;
	m->sender = STR("joe@example.com");
	m->client = STR("127.0.0.1");
	m->envid = STR("QQ 1");
	m->ret = 2;
	m->edits = ARENA_ARRAY(a, struct str, 2);
	m->edits[m->n_edits++] = STR("+X-Test: 1");
	m->edits[m->n_edits++] = STR("-Bcc#0");
	struct spool_rcpt *r = spool_msg_add(a, m);
	*r = (struct spool_rcpt){ .kind = STR("remote"), .address = STR("ann@example.net"), .original = STR("ann@example.net"),
				  .notify = 5, .orcpt = STR("rfc822;Ann@example.net") };
	r = spool_msg_add(a, m);
	*r = (struct spool_rcpt){ .kind = STR("mailbox"), .address = STR("bob@example.com"), .user = STR("bob"), .extension = STR("x") };
	return m;
}

static bool same(const struct spool_msg *x, const struct spool_msg *y)
{
	if (!str_eq(x->qid, y->qid) || !str_eq(x->sender, y->sender) || !str_eq(x->client, y->client) || x->size != y->size || x->flags != y->flags ||
	    x->n_edits != y->n_edits || x->n_rcpts != y->n_rcpts || x->arrived_us != y->arrived_us || x->ret != y->ret || !str_eq(x->envid, y->envid))
		return false;
	for (size_t i = 0; i < x->n_edits; i++)
		if (!str_eq(x->edits[i], y->edits[i]))
			return false;
	for (size_t i = 0; i < x->n_rcpts; i++)
		if (!str_eq(x->rcpts[i].kind, y->rcpts[i].kind) || !str_eq(x->rcpts[i].address, y->rcpts[i].address) ||
		    !str_eq(x->rcpts[i].user, y->rcpts[i].user) || !str_eq(x->rcpts[i].extension, y->rcpts[i].extension) ||
		    x->rcpts[i].notify != y->rcpts[i].notify || !str_eq(x->rcpts[i].orcpt, y->rcpts[i].orcpt))
			return false;
	return true;
}

/* Envelope and commit, then two later records; tells where the commit ends. */
static void build(struct arena *a, struct buf *b, size_t *commit_end)
{
	struct spool_msg *m = sample(a);

	spool_journal_message(m, b);
	*commit_end = b->n;
	m->rcpts[0].state = SPOOL_SENT;
	m->rcpts[0].tries = 1;
	m->rcpts[0].text = STR("250 ok");
	spool_journal_status(QID, 0, &m->rcpts[0], b);
	m->tries = 3;
	m->next_try = 1700001000;
	m->held = true;
	spool_journal_try(m, b);
}

static size_t files_in(const char *dir, const char *part)
{
	char path[200];
	size_t n = 0;

	snprintf(path, sizeof(path), "%s/%s", dir, part);
	DIR *d = opendir(path);
	for (struct dirent *de; d && (de = readdir(d)) != NULL;)
		n += de->d_name[0] != '.';
	if (d)
		closedir(d);
	return n;
}

static int copy(struct spool *sp, const struct spool_msg *m, int from, int *fd_out, struct err *e)
{
	struct spool_fresh f;

	if (spool_copy_begin(sp, m->qid, &f, e) < 0)
		return -1;
	const int error = spool_copy_content(f.fd, from, m->size);
	if (error == 0)
		return spool_copy_end(sp, m, &f, fd_out, e);
	spool_copy_undo(&f);
	return err_set(e, ERR_TEMP, error, "copy");
}

static void test_round_trip(void)
{
	struct arena *a = arena_new(0);
	struct spool_msg *m = NULL;
	struct err e = { 0 };
	struct buf b;
	size_t end, good = 0;

	buf_init(&b, 1 << 20);
	build(a, &b, &end);
	tap_is_int(spool_journal_decode(QID, 12, buf_view(&b), a, &m, &good, &e), 0, "replays: %s", e.text);
	tap_ok(good == b.n && same(m, sample(a)), "the same message");
	tap_ok(m->rcpts[0].state == SPOOL_SENT && m->rcpts[1].state == SPOOL_PENDING && m->tries == 3 && m->held && m->next_try == 1700001000, "with what happened later");
	tap_is_int(spool_journal_decode(STR("1ABCDEFGHJL"), 12, buf_view(&b), a, &m, &good, &e), -1, "another message's journal is none");
	tap_is_int(spool_journal_decode(QID, 13, buf_view(&b), a, &m, &good, &e), -1, "nor one behind other content");
	buf_fini(&b);
	arena_free(&a);
}

static void test_cut_everywhere(void)
{
	struct arena *a = arena_new(0);
	struct err e = { 0 };
	struct buf b;
	size_t end, wrong = 0;

	buf_init(&b, 1 << 20);
	build(a, &b, &end);
	for (size_t n = 0; n <= b.n; n++) {
		struct arena_mark mark = arena_mark(a);
		struct spool_msg *m = NULL;
		size_t good = 0;
		const int r = spool_journal_decode(QID, 12, str_sub(buf_view(&b), 0, n), a, &m, &good, &e);
		wrong += r != (n < end ? -1 : 0) || good > n || (r == 0 && !same(m, sample(a)));
		arena_release(a, mark);
	}
	tap_is_int((long long)wrong, 0, "cut at every byte: a message only with its commit mark, and then whole");
	buf_fini(&b);
	arena_free(&a);
}

static void test_flip_everywhere(void)
{
	struct arena *a = arena_new(0);
	struct err e = { 0 };
	struct buf b;
	size_t end, wrong = 0, refused = 0;

	buf_init(&b, 1 << 20);
	build(a, &b, &end);
	for (size_t at = 0; at < b.n; at++)
		for (int bit = 0; bit < 8; bit++) {
			struct arena_mark mark = arena_mark(a);
			struct spool_msg *m = NULL;
			size_t good = 0;
			b.p[at] = (char)(b.p[at] ^ (1 << bit));
			const int r = spool_journal_decode(QID, 12, buf_view(&b), a, &m, &good, &e);
			b.p[at] = (char)(b.p[at] ^ (1 << bit));
			refused += r < 0;
			wrong += (at < end) != (r < 0) || good > at || (r == 0 && !same(m, sample(a)));
			arena_release(a, mark);
		}
	tap_is_int((long long)wrong, 0, "a flipped bit is noticed at every place; %zu refusals", refused);
	buf_fini(&b);
	arena_free(&a);
}

struct scan_ctx {
	size_t n;
	uint64_t size;
};

static int scanned(void *ctx, struct str qid, uint64_t size)
{
	struct scan_ctx *s = ctx;

	s->n++;
	s->size = size;
	return 0;
}

static void remove_tree(const char *dir)
{
	const pid_t pid = fork();

	if (pid == 0) {
		execlp("rm", "rm", "-rf", dir, (char *)NULL);
		_exit(127);
	}
	waitpid(pid, NULL, 0);
}

static void test_files(void)
{
	char dir[] = "/tmp/test_spool.XXXXXX", path[200];
	struct arena *a = arena_new(0);
	struct err e = { 0 };
	struct spool *sp = NULL;
	struct spool_msg *m = sample(a), *got = NULL;
	struct scan_ctx s = { 0 };
	struct buf b;
	int wfd = -1, rfd = -1, fd = -1;
	uint64_t size = 0;

	if (mkdtemp(dir) == NULL || chmod(dir, 0700) < 0)
		return;
	tap_is_int(spool_make(dir, getuid(), getgid(), &e), 0, "made: %s", e.text);
	tap_is_int(spool_open(dir, &sp, &e), 0, "opens: %s", e.text);
	tap_is_int(spool_room(sp, 1000, 0, &e), 0, "has room");
	tap_is_int(spool_room(sp, UINT64_MAX, 1, &e), -1, "not for everything");
	tap_is_int(spool_receive(sp, QID, 0, &wfd, &rfd, &e), 0, "receive: %s", e.text);
	tap_is_int(write_all(wfd, "Hello\nworld\n", 12, &e), 0, "written");
	tap_is_int(spool_sealed(rfd, &size, &e), -1, "a message with a writer is not sealed");
	close(wfd);
	tap_is_int(spool_sealed(rfd, &size, &e), 0, "without one it is: %s", e.text);
	tap_is_int((long long)size, 12, "twelve bytes");
	tap_is_int(spool_commit(sp, m, rfd, &fd, &e), 0, "commit: %s", e.text);
	close(fd);
	tap_is_int(spool_scan(sp, scanned, &s, &e), 0, "scan");
	tap_ok(s.n == 1 && s.size == 12, "one file of 12 bytes");
	tap_is_int(spool_load(sp, QID, 12, a, &got, NULL, &e), 0, "loads: %s", e.text);
	tap_ok(same(got, m), "the same");
	m->rcpts[1].state = SPOOL_SENT;
	buf_init(&b, 10000);
	spool_journal_status(QID, 1, &m->rcpts[1], &b);
	tap_is_int(spool_append(sp, QID, 12, buf_view(&b), true, &e), 0, "append");
	tap_is_int(spool_append(sp, QID, 12, STR("torn tail"), false, &e), 0, "a torn tail");
	tap_is_int(spool_load(sp, QID, 12, a, &got, NULL, &e), 0, "loads: %s", e.text);
	tap_is_int(got->rcpts[1].state, SPOOL_SENT, "with the good record");
	tap_is_int(spool_append(sp, QID, 12, buf_view(&b), true, &e), 0, "append behind the cut");
	tap_is_int(spool_load(sp, QID, 12, a, &got, NULL, &e), 0, "and that is read again");
	snprintf(path, sizeof(path), "%s/corrupt/%.*s.12.tail.%llu", dir, STR_ARG(QID), 0ULL);
	char body[12];
	tap_is_int(pread_all(rfd, body, 12, 0, &e), 0, "the read-only descriptor still reads the content");
	tap_ok(memcmp(body, "Hello\nworld\n", 12) == 0, "unchanged");
	/* damage the envelope */
	snprintf(path, sizeof(path), "%s/queue/%.*s.12", dir, STR_ARG(QID));
	fd = open(path, O_WRONLY);
	tap_ok(pwrite(fd, "x", 1, 12 + 30) == 1, "damage");
	close(fd);
	err_clear(&e);
	tap_is_int(spool_load(sp, QID, 12, a, &got, NULL, &e), -1, "a damaged one: %s", e.text);
	tap_is_int(e.code, ERR_INPUT, "is not taken for an unfinished one");
	s = (struct scan_ctx){ 0 };
	tap_is_int(spool_scan(sp, scanned, &s, &e), 0, "scan");
	tap_is_int((long long)s.n, 0, "it was moved aside");
	tap_is_int(spool_write(sp, m, STR("Hello\nworld\n"), &fd, &e), 0, "a whole message at once: %s", e.text);
	close(fd);
	spool_remove(sp, QID, 12);
	tap_is_int(spool_load(sp, QID, 12, a, &got, NULL, &e), -1, "removed");
	tap_is_int(copy(sp, m, rfd, &fd, &e), 0, "the content of another, whose journal is left behind: %s", e.text);
	close(fd);
	tap_is_int(spool_load(sp, QID, 12, a, &got, NULL, &e), 0, "is a whole message: %s", e.text);
	tap_ok(spool_read_fd(sp, QID, 12, &fd, &e) == 0 && pread_all(fd, body, 12, 0, &e) == 0 && memcmp(body, "Hello\nworld\n", 12) == 0, "with that content");
	close(fd);
	spool_remove(sp, QID, 12);
	m->size = 12000;
	tap_is_int(copy(sp, m, rfd, &fd, &e), -1, "what is shorter than said is no message: %s", e.text);
	m->size = 12;
	struct spool_fresh f;
	tap_ok(spool_copy_begin(sp, QID, &f, &e) == 0 && spool_copy_content(f.fd, rfd, 11) == 0, "a copy that is not whole: %s", e.text);
	tap_is_int(spool_copy_end(sp, m, &f, &fd, &e), -1, "gets no name: %s", e.text);
	tap_is_int((long long)files_in(dir, "incoming"), 0, "and leaves nothing behind");
	buf_fini(&b);
	close(rfd);
	spool_close(&sp);
	arena_free(&a);
	remove_tree(dir);
}

/* Files of messages that have left serve again, but only those that nobody can read, and with nothing of the old message. */
static void test_spare(void)
{
	char dir[] = "/tmp/test_spool.XXXXXX", path[200];
	struct arena *a = arena_new(0);
	struct err e = { 0 };
	struct spool *sp = NULL;
	struct spool_msg *m = sample(a), *got = NULL;
	struct scan_ctx s = { 0 };
	struct stat st;
	int fd = -1, reader = -1;

	if (mkdtemp(dir) == NULL || spool_make(dir, getuid(), getgid(), &e) < 0)
		return;
	tap_ok(spool_open(dir, &sp, &e) == 0 && spool_write(sp, m, STR("Hello\nworld\n"), &fd, &e) == 0, "a message: %s", e.text);
	close(fd);
	spool_remove(sp, QID, 12);
	tap_is_int((long long)files_in(dir, "spare"), 0, "nothing is kept before the start has swept");
	snprintf(path, sizeof(path), "%s/spare/7", dir);
	close(open(path, O_WRONLY | O_CREAT, 0600));
	tap_ok(spool_scan(sp, scanned, &s, &e) == 0 && s.n == 0 && files_in(dir, "spare") == 0, "the start sweeps: %s", e.text);

	m->sender = STR("somebody-with-a-much-longer-name@a-much-longer-name.example.com");
	tap_ok(spool_write(sp, m, STR("Hello\nworld\n"), &fd, &e) == 0 && fstat(fd, &st) == 0, "a message: %s", e.text);
	const ino_t first = st.st_ino;
	close(fd);
	spool_remove(sp, QID, 12);
	tap_is_int((long long)files_in(dir, "spare"), 1, "its file is kept");
	m->sender = STR("");
	tap_ok(spool_write(sp, m, STR("HELLO\nWORLD\n"), &fd, &e) == 0 && fstat(fd, &st) == 0 && st.st_ino == first, "and serves again: %s", e.text);
	close(fd);
	tap_ok(spool_load(sp, QID, 12, a, &got, &reader, &e) == 0 && same(got, m), "with the new record only: %s", e.text);
	tap_is_int((long long)files_in(dir, "corrupt"), 0, "and no torn tail of the old one");

	spool_remove(sp, QID, 12);
	tap_ok(files_in(dir, "spare") == 0 && files_in(dir, "queue") == 0, "a file that somebody has open is not kept");
	char body[12];
	tap_ok(pread_all(reader, body, 12, 0, &e) == 0 && memcmp(body, "HELLO\nWORLD\n", 12) == 0, "whoever has it reads his own message");
	close(reader);
	for (size_t i = 0; i < 3; i++) {
		tap_ok(spool_write(sp, m, STR("Hello\nworld\n"), &fd, &e) == 0, "another: %s", e.text);
		close(fd);
		spool_remove(sp, QID, 12);
	}
	tap_is_int((long long)files_in(dir, "spare"), 1, "one file serves them all");
	snprintf(path, sizeof(path), "%s/spare/0", dir);
	tap_ok(unlink(path) == 0 && spool_write(sp, m, STR("Hello\nworld\n"), &fd, &e) == 0, "somebody took it away: %s", e.text);
	close(fd);
	spool_close(&sp);
	arena_free(&a);
	remove_tree(dir);
}

static bool holds(const char *dir, const char *part)
{
	char path[200];

	snprintf(path, sizeof(path), "%s/%s/%.*s", dir, part, STR_ARG(QID));
	return access(path, F_OK) == 0;
}

/* A client that says less than it sends has a large message in memory. */
static void understated(struct spool *sp, const char *dir, struct spool_msg *m)
{
	enum { LARGE = SPOOL_MEMORY_MESSAGE_MAX + 1 };
	char *const text = xzalloc(LARGE), *const got = xzalloc(LARGE);
	struct spool_msg *loaded = NULL;
	struct arena *a = arena_new(0);
	struct err e = { 0 };
	const uint64_t said = m->size;
	int wfd = -1, rfd = -1, fd = -1;

	for (size_t i = 0; i < LARGE; i++)
		text[i] = (char)('a' + i % 23);
	tap_ok(spool_receive(sp, QID, 12, &wfd, &rfd, &e) == 0 && write_all(wfd, text, LARGE, &e) == 0 && holds(dir, "memory"), "more is sent than was said");
	close(wfd);
	tap_ok(spool_commit(sp, m, rfd, &fd, &e) < 0 && holds(dir, "memory"), "it is not queued with another size: %s", e.text);
	m->size = LARGE;
	tap_ok(spool_commit(sp, m, rfd, &fd, &e) == 0 && !holds(dir, "memory"), "with its own it is: %s", e.text);
	close(rfd), close(fd);
	tap_ok(spool_load(sp, QID, LARGE, a, &loaded, &rfd, &e) == 0 && same(loaded, m), "loads: %s", e.text);
	tap_ok(pread_all(rfd, got, LARGE, 0, &e) == 0 && memcmp(got, text, LARGE) == 0, "with all of its content");
	close(rfd);
	spool_remove(sp, QID, LARGE);
	m->size = said;
	arena_free(&a);
	free(text), free(got);
}

/* Needs root: a file system in memory, in a namespace that ends with this program. */
static void test_memory(void)
{
	char dir[] = "/tmp/test_spool.XXXXXX", path[200], body[12] = "";
	struct arena *a = arena_new(0);
	struct err e = { 0 };
	struct spool *sp = NULL;
	struct spool_msg *m = sample(a);
	int wfd = -1, rfd = -1, fd = -1;
	uint64_t size = 0;

	if (mkdtemp(dir) == NULL || spool_make(dir, getuid(), getgid(), &e) < 0)
		return;
	snprintf(path, sizeof(path), "%s/memory", dir);
	const struct memfs room = { .bytes = 16 << 20, .files = 100, .uid = getuid(), .gid = getgid() };
	if (geteuid() != 0 || memfs_private(path, &room, &e) < 0) {
		tap_skip(16, "no right to mount");
		return;
	}
	tap_is_int(spool_open(dir, &sp, &e), 0, "opens: %s", e.text);
	tap_ok(spool_receive(sp, QID, 0, &wfd, &rfd, &e) == 0 && holds(dir, "incoming"), "mail of unknown size is received on disk");
	close(wfd), close(rfd), spool_discard(sp, QID);
	tap_ok(spool_receive(sp, QID, SPOOL_MEMORY_MESSAGE_MAX + 1, &wfd, &rfd, &e) == 0 && holds(dir, "incoming"), "so is large mail");
	close(wfd), close(rfd), spool_discard(sp, QID);
	tap_ok(spool_receive(sp, QID, 12, &wfd, &rfd, &e) == 0 && holds(dir, "memory") && !holds(dir, "incoming"), "small mail is received in memory");
	tap_ok(write_all(wfd, "Hello\nworld\n", 12, &e) == 0 && spool_sealed(rfd, &size, &e) < 0, "a message with a writer is not sealed there either");
	close(wfd);
	tap_ok(spool_sealed(rfd, &size, &e) == 0 && size == 12, "without one it is");
	tap_is_int(spool_commit(sp, m, rfd, &fd, &e), 0, "what must be queued is copied to the disk: %s", e.text);
	tap_ok(!holds(dir, "memory") && !holds(dir, "incoming"), "and lies nowhere else");
	tap_ok(spool_read_fd(sp, QID, 12, &wfd, &e) == 0 && pread_all(wfd, body, 12, 0, &e) == 0 && memcmp(body, "Hello\nworld\n", 12) == 0, "with its content");
	close(wfd), close(rfd), close(fd), spool_remove(sp, QID, 12);
	understated(sp, dir, m);
	/* More than half full: what else comes goes to the disk. */
	snprintf(path, sizeof(path), "%s/memory/big", dir);
	fd = open(path, O_WRONLY | O_CREAT, 0600);
	tap_ok(fd >= 0 && posix_fallocate(fd, 0, 9 << 20) == 0 && spool_receive(sp, QID, 12, &wfd, &rfd, &e) == 0 && holds(dir, "incoming"),
	       "when it is half full mail is received on disk");
	close(wfd), close(rfd), close(fd);
	struct scan_ctx s = { 0 };
	tap_ok(spool_scan(sp, scanned, &s, &e) == 0 && files_in(dir, "memory") == 0, "what a process left there that was killed does not outlive the next start");
	spool_discard(sp, QID);
	tap_ok(spool_receive(sp, QID, 12, &wfd, &rfd, &e) == 0 && holds(dir, "memory"), "and mail is received in memory again");
	close(wfd), close(rfd);
	spool_close(&sp);
	arena_free(&a);
	snprintf(path, sizeof(path), "%s/memory", dir);
	(void)umount2(path, MNT_DETACH);
	remove_tree(dir);
}

/* incoming and memory are one file system, of the kind that memory is. */
static void test_all_in_memory(void)
{
	char dir[] = "/dev/shm/test_spool.XXXXXX";
	struct arena *a = arena_new(0);
	struct err e = { 0 };
	struct spool *sp = NULL;
	struct spool_msg *m = sample(a);
	int wfd = -1, rfd = -1, fd = -1;

	if (mkdtemp(dir) == NULL || spool_make(dir, getuid(), getgid(), &e) < 0 || spool_open(dir, &sp, &e) < 0) {
		tap_ok(false, "a spool in memory");
		return;
	}
	tap_ok(spool_receive(sp, QID, 0, &wfd, &rfd, &e) == 0 && write_all(wfd, "Hello\nworld\n", 12, &e) == 0, "mail of unknown size comes to a spool in memory");
	close(wfd);
	tap_is_int(spool_commit(sp, m, rfd, &fd, &e), 0, "it is queued: %s", e.text);
	tap_ok(!holds(dir, "incoming") && !holds(dir, "memory"), "and lies nowhere else");
	close(rfd), close(fd);
	spool_close(&sp);
	arena_free(&a);
	remove_tree(dir);
}

static void test_qid(void)
{
	char id[SPOOL_QID_MAX + 1], last[SPOOL_QID_MAX + 1] = "";
	size_t wrong = 0;

	for (int i = 0; i < 10000; i++) {
		spool_qid_new(id);
		wrong += !spool_qid_valid(str_c(id)) || strcmp(id, last) == 0 || !ch_digit(id[0]);
		memcpy(last, id, sizeof(last));
	}
	tap_is_int((long long)wrong, 0, "10,000 ids are valid and different");
	tap_ok(!spool_qid_valid(STR("../../etc/x")) && !spool_qid_valid(STR("1abcdefghjk")) && !spool_qid_valid(STR("")), "others are not ids");
}

/* While a copy is made beside the loop other messages come and go, and their files become spare ones. */
static void test_others_leave_during_a_copy(void)
{
	char dir[] = "/tmp/test_spool.XXXXXX", body[12];
	struct arena *a = arena_new(0);
	struct err e = { 0 };
	struct spool *sp = NULL;
	struct scan_ctx s = { 0 };
	struct spool_msg *m = sample(a), *got = NULL;
	const struct str names[] = { STR("1OLDAAAAAAA"), STR("1OLDBBBBBBB"), STR("1NEWAAAAAAA"), STR("1NEWBBBBBBB") };
	static const char *const texts[] = { "for ALICE..\n", "for BOB....\n" };
	struct spool_fresh f[2];
	int fd = -1;

	if (mkdtemp(dir) == NULL || spool_make(dir, getuid(), getgid(), &e) < 0)
		return;
	tap_ok(spool_open(dir, &sp, &e) == 0 && spool_scan(sp, scanned, &s, &e) == 0, "a spool: %s", e.text);
	for (size_t i = 0; i < 2; i++) {
		m->qid = names[i];
		tap_is_int(spool_write(sp, m, STR("old message\n"), &fd, &e), 0, "a message: %s", e.text);
		close(fd);
	}
	spool_remove(sp, names[0], 12);
	for (size_t i = 0; i < 2; i++) {
		const int from = open(dir, O_TMPFILE | O_RDWR, 0600);
		tap_ok(write(from, texts[i], 12) == 12 && spool_copy_begin(sp, names[2 + i], &f[i], &e) == 0 && spool_copy_content(f[i].fd, from, 12) == 0, "a copy begins");
		close(from);
		if (i == 0)
			spool_remove(sp, names[1], 12);
	}
	for (size_t i = 0; i < 2; i++) {
		m->qid = names[2 + i];
		tap_is_int(spool_copy_end(sp, m, &f[i], &fd, &e), 0, "and ends: %s", e.text);
		close(fd);
	}
	for (size_t i = 0; i < 2; i++) {
		tap_is_int(spool_load(sp, names[2 + i], 12, a, &got, NULL, &e), 0, "it is a message: %s", e.text);
		tap_ok(spool_read_fd(sp, names[2 + i], 12, &fd, &e) == 0 && pread_all(fd, body, 12, 0, &e) == 0 && memcmp(body, texts[i], 12) == 0, "its own");
		close(fd);
	}
	spool_close(&sp);
	arena_free(&a);
	remove_tree(dir);
}

int main(void)
{
	test_round_trip();
	test_cut_everywhere();
	test_flip_everywhere();
	test_qid();
	test_files();
	test_spare();
	test_others_leave_during_a_copy();
	test_memory();
	test_all_in_memory();
	return tap_done();
}
