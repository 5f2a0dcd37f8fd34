/* Sockets: listening, connecting, peers' credentials and addresses, descriptors from systemd. All are close-on-exec. */
#include "os/os.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "os/os_priv.h"

enum { BACKLOG = 1024, CONNECT_WAIT_MS = 1000 };

/* --- TCP --- */

static int listen_at(const struct sockaddr *sa, socklen_t n, bool dual, struct err *e)
{
	const int on = 1, v6only = dual ? 0 : 1;
	int fd = socket(sa->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return err_set(e, ERR_TEMP, errno, "socket");
	if (sa->sa_family == AF_INET6 && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &v6only, sizeof(v6only)) < 0) {
		(void)err_set(e, ERR_TEMP, errno, "IPV6_V6ONLY");
		goto fail;
	}
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0 || bind(fd, sa, n) < 0 || listen(fd, BACKLOG) < 0) {
		(void)err_set(e, errno == EADDRINUSE ? ERR_EXISTS : errno == EACCES ? ERR_DENIED : ERR_TEMP, errno, "bind");
		goto fail;
	}
	return fd;
fail:
	close_fd(&fd);
	return -1;
}

static int listen_any(uint16_t port, struct err *e)
{
	const struct sockaddr_in6 six = { .sin6_family = AF_INET6, .sin6_port = htons(port), .sin6_addr = IN6ADDR_ANY_INIT };
	const struct sockaddr_in four = { .sin_family = AF_INET, .sin_port = htons(port) };
	const int fd = listen_at((const struct sockaddr *)&six, sizeof(six), true, e);
	if (fd >= 0 || e->sys == EADDRINUSE || e->sys == EACCES)
		return fd;
	return listen_at((const struct sockaddr *)&four, sizeof(four), false, e);	/* a kernel without IPv6 */
}

int sock_tcp_listen(const char *host, uint16_t port, int *fd_out, struct err *e)
{
	struct err own = { 0 };
	e = e ? e : &own;
	int fd = -1;
	if (!*host) {
		fd = listen_any(port, e);
	} else {
		char service[8];
		const struct addrinfo hints = { .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE, .ai_socktype = SOCK_STREAM };
		struct addrinfo *ai = NULL;
		(void)snprintf(service, sizeof(service), "%u", port);
		const int r = getaddrinfo(host, service, &hints, &ai);
		if (r != 0)
			return err_set(e, ERR_CONF, 0, "%.64s: not a numeric address", host);
		fd = listen_at(ai->ai_addr, ai->ai_addrlen, false, e);
		freeaddrinfo(ai);
	}
	if (fd < 0)
		return err_wrap(e, "%s%.64s%s:%u", strchr(host, ':') ? "[" : "", *host ? host : "*", strchr(host, ':') ? "]" : "", port);
	*fd_out = fd;
	return 0;
}

/* Fills the mapped form, text and port of an IP socket address; -1 when it is none. */
static int addr_split(const struct sockaddr_storage *ss, uint8_t addr_out[16], char *text_out, uint16_t *port_out)
{
	struct in6_addr six = { 0 };
	if (ss->ss_family == AF_INET) {
		const struct sockaddr_in *in = (const struct sockaddr_in *)ss;
		six.s6_addr[10] = six.s6_addr[11] = 0xff;
		memcpy(six.s6_addr + 12, &in->sin_addr, 4);
		*port_out = ntohs(in->sin_port);
	} else if (ss->ss_family == AF_INET6) {
		const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)ss;
		six = in6->sin6_addr;
		*port_out = ntohs(in6->sin6_port);
	} else {
		return -1;
	}
	if (IN6_IS_ADDR_V4MAPPED(&six))
		(void)inet_ntop(AF_INET, six.s6_addr + 12, text_out, INET6_ADDRSTRLEN);
	else
		(void)inet_ntop(AF_INET6, &six, text_out, INET6_ADDRSTRLEN);
	memcpy(addr_out, &six, 16);
	return 0;
}

int sock_peer_addr(int fd, uint8_t addr_out[16], char *text_out, uint16_t *port_out)
{
	struct sockaddr_storage ss = { 0 };
	socklen_t n = sizeof(ss);
	return getpeername(fd, (struct sockaddr *)&ss, &n) < 0 ? -1 : addr_split(&ss, addr_out, text_out, port_out);
}

int sock_own_addr(int fd, uint8_t addr_out[16], char *text_out, uint16_t *port_out)
{
	struct sockaddr_storage ss = { 0 };
	socklen_t n = sizeof(ss);
	return getsockname(fd, (struct sockaddr *)&ss, &n) < 0 ? -1 : addr_split(&ss, addr_out, text_out, port_out);
}

/* --- UNIX --- */

/* The address of path. Names longer than sun_path go through the directory's descriptor (*dirfd_out, -1: not needed). */
static int unix_addr(const char *path, struct sockaddr_un *sa, int *dirfd_out, struct err *e)
{
	*sa = (struct sockaddr_un){ .sun_family = AF_UNIX };
	*dirfd_out = -1;
	const size_t n = strlen(path);
	if (n > 0 && n < sizeof(sa->sun_path)) {
		memcpy(sa->sun_path, path, n + 1);
		return 0;
	}
	char dir[4096];
	const char *slash = strrchr(path, '/');
	if (!slash || slash == path || (size_t)(slash - path) >= sizeof(dir) || strlen(slash + 1) > 64)
		return err_set(e, ERR_INPUT, 0, "socket name is empty or too long");
	memcpy(dir, path, (size_t)(slash - path));
	dir[slash - path] = 0;
	const int fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return err_set(e, ERR_NOENT, errno, "%s", dir);
	(void)snprintf(sa->sun_path, sizeof(sa->sun_path), "/proc/self/fd/%d/%s", fd, slash + 1);
	*dirfd_out = fd;
	return 0;
}

int sock_unix_connect(const char *path, int type, struct err *e)
{
	struct sockaddr_un sa;
	int dirfd;
	if (unix_addr(path, &sa, &dirfd, e) < 0)
		return -1;
	const struct timeval wait = { .tv_sec = CONNECT_WAIT_MS / 1000 }, forever = { 0 };
	int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
	if (fd < 0)
		(void)err_set(e, ERR_TEMP, errno, "%s: socket", path);
	else if (setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof(wait)) < 0 || connect(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0 ||
		 setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &forever, sizeof(forever)) < 0) {
		(void)err_set(e, errno == ECONNREFUSED || errno == ENOENT ? ERR_CLOSED : ERR_TEMP, errno, "%s", path);
		close_fd(&fd);
	}
	close_fd(&dirfd);
	return fd;
}

/* 0: the name is free or a socket that nobody serves any more. */
static int stale_check(const char *path, int type, struct err *e)
{
	struct stat st;
	if (lstat(path, &st) < 0)
		return errno == ENOENT ? 0 : err_set(e, ERR_TEMP, errno, "%s", path);
	if (!S_ISSOCK(st.st_mode))
		return err_set(e, ERR_DENIED, 0, "%s exists and is not a socket", path);
	struct err probe = { 0 };
	int fd = sock_unix_connect(path, type, &probe);
	if (fd < 0 && (probe.sys == ECONNREFUSED || probe.sys == ENOENT))
		return 0;
	close_fd(&fd);
	return err_set(e, ERR_EXISTS, 0, "%s: another process serves it", path);
}

/* The socket is made complete under another name and then renamed, so that nobody finds it half done or missing. */
int sock_unix_listen(const char *path, int type, mode_t mode, uid_t uid, gid_t gid, struct err *e)
{
	char temp[4096];
	struct sockaddr_un sa;
	int dirfd, fd = -1;
	if (stale_check(path, type, e) < 0)
		return -1;
	const int n = snprintf(temp, sizeof(temp), "%s.%08x", path, (unsigned)random_u64());
	if (n < 0 || (size_t)n >= sizeof(temp))
		return err_set(e, ERR_INPUT, 0, "socket name too long");
	if (unix_addr(temp, &sa, &dirfd, e) < 0)
		return -1;
	fd = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	const mode_t old = umask(0177);
	const bool bound = fd >= 0 && bind(fd, (struct sockaddr *)&sa, sizeof(sa)) == 0;
	(void)umask(old);
	const bool own = uid != (uid_t)-1 || gid != (gid_t)-1;
	if (!bound || chmod(temp, mode) < 0 || (own && lchown(temp, uid, gid) < 0) || (type != SOCK_DGRAM && listen(fd, BACKLOG) < 0) ||
	    rename(temp, path) < 0) {
		(void)err_set(e, ERR_TEMP, errno, "%s: cannot listen", path);
		if (bound)
			(void)unlink(temp);
		close_fd(&fd);
	}
	close_fd(&dirfd);
	return fd;
}

int sock_pair(int type, int fds_out[2], struct err *e)
{
	int fds[2];
	if (socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, fds) < 0)
		return err_set(e, errno == EMFILE || errno == ENFILE ? ERR_LIMIT : ERR_TEMP, errno, "socketpair");
	fds_out[0] = fds[0];
	fds_out[1] = fds[1];
	return 0;
}

int sock_peer_cred(int fd, struct peer_cred *out, struct err *e)
{
	struct ucred c;
	socklen_t n = sizeof(c);
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &c, &n) < 0 || n != sizeof(c) || c.pid == 0)
		return err_set(e, ERR_DENIED, errno, "peer credentials");
	*out = (struct peer_cred){ .pid = c.pid, .uid = c.uid, .gid = c.gid };
	return 0;
}

/* "" is all addresses: that of a socket for both families is IPv6's. */
static bool is_host(const char *host, const uint8_t addr[16])
{
	static const uint8_t all[16], all_four[16] = { [10] = 0xff, [11] = 0xff };
	uint8_t want[16] = { [10] = 0xff, [11] = 0xff };
	if (!*host)
		return memcmp(addr, all, 16) == 0 || memcmp(addr, all_four, 16) == 0;
	if (inet_pton(AF_INET, host, want + 12) != 1 && inet_pton(AF_INET6, host, want) != 1)
		return false;
	return memcmp(addr, want, 16) == 0;
}

bool sock_is_at(int fd, const char *host, uint16_t port)
{
	uint8_t addr[16];
	char text[INET6_ADDRSTRLEN];
	uint16_t own;
	return sock_own_addr(fd, addr, text, &own) == 0 && own == port && is_host(host, addr);
}

/* --- systemd socket activation (sd_listen_fds(3)) --- */

enum { LISTEN_FDS_START = 3 };

int listen_fds(struct listen_fd *out, size_t max, size_t *n_out, struct err *e)
{
	struct proc_activation *a = proc_activation();
	const size_t n = a->n_fds;
	struct str names = str_c(a->names);
	if (n > max)
		return err_set(e, ERR_CONF, 0, "%zu sockets passed, more than %zu", n, max);
	for (size_t i = 0; i < n; i++) {
		const int fd = LISTEN_FDS_START + (int)i;
		const int fl = fcntl(fd, F_GETFL);
		const struct str name = names.p ? str_split(&names, ':') : STR("unknown");
		if (fl < 0 || fcntl(fd, F_SETFL, fl | O_NONBLOCK) < 0 || fcntl(fd, F_SETFD, FD_CLOEXEC) < 0)
			return err_set(e, ERR_CONF, errno, "passed socket %d", fd);
		out[i].fd = fd;
		(void)snprintf(out[i].name, sizeof(out[i].name), "%.*s", STR_ARG(name));
	}
	a->n_fds = 0;
	*n_out = n;
	return 0;
}
