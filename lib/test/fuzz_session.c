/* What fuzz targets of sessions share. They own no session: they give it a socket, and see that it ends. */
#include "test/fuzz_session.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "log/log.h"
#include "os/os.h"

enum { SOCKET_BYTES = 1 << 20, SILENT_TICKS = 12 };

/* --- the log --- */

static int log_sock = -1;

static void log_start(void)
{
	char path[64];
	struct err e = { 0 };

	(void)snprintf(path, sizeof path, "/tmp/fuzz-log.%d", (int)getpid());
	log_sock = sock_unix_listen(path, SOCK_DGRAM, 0600, (uid_t)-1, (gid_t)-1, &e);
	if (log_sock < 0 || log_open("postern", "fuzz", path, &e) < 0) {
		(void)fprintf(stderr, "%s\n", e.text);
		exit(71);
	}
	(void)unlink(path);
}

void fuzz_log_mute(void)
{
	char line[2048];

	if (log_sock < 0)
		log_start();
	while (recv(log_sock, line, sizeof line, MSG_DONTWAIT) >= 0)
		;
}

/* --- the client --- */

static struct {
	int fd;
	struct watch *watch;
	struct timer *pace;
	struct str rest;
	bool heard;
	unsigned ticks;
	void (*done)(void *ctx);
	void *ctx;
} client = { .fd = -1 };

void fuzz_client_end(void)
{
	watch_del(&client.watch);
	timer_del(&client.pace);
	if (client.fd >= 0)
		close(client.fd);
	client.fd = -1;
}

static void send_segment(void)
{
	const struct str seg = str_split(&client.rest, FUZZ_SEGMENT);

	/* The server may have gone. */
	if (seg.n)
		(void)!send(client.fd, seg.p, seg.n, MSG_NOSIGNAL | MSG_DONTWAIT);
	client.heard = false;
	client.ticks = 0;
}

static void on_pace(void *ctx)
{
	if (client.rest.p != NULL && (client.heard || ++client.ticks > SILENT_TICKS))
		send_segment();
	if (client.rest.p == NULL)
		(void)shutdown(client.fd, SHUT_WR);
	else
		timer_again(client.pace, 0);
}

static void on_client(void *ctx, unsigned events)
{
	char text[65536];
	const ssize_t n = recv(client.fd, text, sizeof text, MSG_DONTWAIT);

	client.heard = true;
	if (n > 0 || (n < 0 && !(events & LOOP_HUP)))
		return;
	fuzz_client_end();
	client.done(client.ctx);
}

int fuzz_client(struct loop *l, struct str input, void (*done)(void *ctx), void *ctx)
{
	const int room = SOCKET_BYTES;
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0)
		abort();
	client.fd = pair[0];
	client.done = done;
	client.ctx = ctx;
	client.rest = input;
	(void)setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &room, sizeof room);
	send_segment();
	client.pace = loop_timer(l, 0, on_pace, NULL);
	client.watch = loop_watch(l, pair[0], LOOP_READ, on_client, NULL);
	return pair[1];
}

/* --- a mail tree --- */

static char tree[64];

static void remove_tree(int parent, const char *name)
{
	const int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);

	for (struct dirent *de; d && (de = readdir(d)) != NULL;)
		if (strcmp(de->d_name, ".") != 0 && strcmp(de->d_name, "..") != 0 && unlinkat(fd, de->d_name, 0) < 0)
			remove_tree(fd, de->d_name);
	if (d)
		closedir(d);
	(void)unlinkat(parent, name, AT_REMOVEDIR);
}

static void tree_end(void)
{
	remove_tree(AT_FDCWD, tree);
}

const char *fuzz_tree(void)
{
	if (!tree[0]) {
		(void)snprintf(tree, sizeof tree, "%s/fuzz-tree.%d", access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp", (int)getpid());
		atexit(tree_end);
	}
	tree_end();
	if (mkdir(tree, 0700) < 0)
		abort();
	return tree;
}

void fuzz_tree_file(const char *rel, const char *text)
{
	char path[512];

	(void)snprintf(path, sizeof path, "%s/%s", tree, rel);
	for (char *p = path + strlen(tree) + 1; (p = strchr(p, '/')) != NULL; p++) {
		*p = '\0';
		(void)mkdir(path, 0700);
		*p = '/';
	}
	const int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text))
		abort();
	close(fd);
}
