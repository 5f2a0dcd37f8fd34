/* Start of a helper: options, configuration, walls, first message; and how a password travels. */
#include "authd/helper.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/arena.h"
#include "ipc/helper.h"
#include "log/log.h"
#include "os/os.h"

enum { EXIT_USAGE = 64, EXIT_NOPERM = 77, EXIT_CONFIG = 78, SETUP_MS = 10000 };

void helper_init(struct helper *h, int argc, char **argv, const char *title)
{
	const char *file = conf_default_file();
	char sock[108];
	struct err e = { 0 };
	int opt;

	*h = (struct helper){ 0 };
	proc_init(argc, argv);
	while ((opt = getopt(argc, argv, "c:nv")) != -1) {
		if (opt == 'c')
			file = optarg;
		else if (opt == 'n')
			h->unconfined = true;
		else if (opt == 'v')
			log_verbose(true);
		else
			exit(EXIT_USAGE);
	}
	struct stat st;
	if (fstat(HELPER_CHANNEL, &st) < 0 || !S_ISSOCK(st.st_mode)) {
		fprintf(stderr, "This program is started by authd, not by hand.\n");
		exit(EXIT_USAGE);
	}
	if (conf_load(file, &h->conf, NULL, &e) < 0) {
		fprintf(stderr, "authd %s: %s\n", title, e.text);
		exit(EXIT_CONFIG);
	}
	snprintf(sock, sizeof sock, "%s/log/sock", h->conf->run_directory);
	if (log_open(h->conf->syslog_name, "authd", sock, &e) < 0)
		fprintf(stderr, "authd %s: %s\n", title, e.text);	/* lines go to stderr */
	proc_title("authd", "authd: %s", title);
}

void helper_confine(const struct helper *h, enum confine_role role, const char *user, const struct confine_path *paths, size_t n_paths)
{
	char root[256];
	struct err e = { 0 };

	snprintf(root, sizeof root, "%s/empty", h->conf->run_directory);
	const struct confine c = { .role = role, .user = user, .root = n_paths ? NULL : root, .paths = paths, .n_paths = n_paths,
				   .unconfined = h->unconfined };
	if (confine_enter(&c, &e) < 0) {
		log_error("%s", e.text);
		exit(EXIT_NOPERM);
	}
}

void helper_setup(struct helper *h)
{
	struct arena *a = arena_new(0);
	struct err e = { 0 };
	uint16_t type;
	uint32_t id;
	void *msg;
	int fd;

	if (ipc_recv_fd(HELPER_CHANNEL, &ipc_helper, SETUP_MS, a, &type, &id, &msg, &fd, &e) < 0 || type != IPC_helper_SETUP)
		exit(0);
	const struct ipc_helper_SETUP *s = msg;
	if (s->tag_key.n != sizeof h->tag_key)
		exit(0);
	memcpy(h->tag_key, s->tag_key.p, sizeof h->tag_key);
	arena_free(&a);
	const struct ipc_helper_READY ready = { 0 };
	if (ipc_send_fd(HELPER_CHANNEL, &ipc_helper, IPC_helper_READY, &ready, id, -1, &e) < 0)
		exit(0);
}

int helper_password_put(struct str password, int *fd_out, struct err *e)
{
	char mark = 'P';
	struct iovec iov[2] = { { &mark, 1 }, { (void *)(uintptr_t)password.p, password.n } };
	const struct msghdr m = { .msg_iov = iov, .msg_iovlen = 2 };
	int sp[2];

	if (sock_pair(SOCK_SEQPACKET, sp, e) < 0)
		return -1;
	const bool sent = sendmsg(sp[1], &m, MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t)password.n + 1;
	const int why = errno;
	close(sp[1]);
	if (!sent) {
		close(sp[0]);
		return err_set(e, ERR_TEMP, why, "a password could not be put into a socket");
	}
	*fd_out = sp[0];
	return 0;
}

int helper_password_take(int fd, char *out, size_t max, size_t *n_out, struct err *e)
{
	char mark = 0;
	struct iovec iov[2] = { { &mark, 1 }, { out, max } };
	struct msghdr m = { .msg_iov = iov, .msg_iovlen = 2 };
	ssize_t n;

	do
		n = recvmsg(fd, &m, MSG_DONTWAIT);
	while (n < 0 && errno == EINTR);
	if (n < 1 || mark != 'P')
		return err_set(e, ERR_CLOSED, n < 0 ? errno : 0, "no password came");
	if (m.msg_flags & MSG_TRUNC)
		return err_set(e, ERR_LIMIT, 0, "the password is too long");
	*n_out = (size_t)n - 1;
	return 0;
}
