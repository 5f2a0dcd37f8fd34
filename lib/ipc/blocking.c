/* The blocking forms, for programs without a loop: tools, the key provider, deliver. */
#include "ipc/ipc.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/enc.h"
#include "ipc/packet.h"

enum { SEND_WAIT_MS = 10000 };
static unsigned char scratch[IPC_PACKET_MAX];

static int wait_for(int sock, short events, int timeout_ms, struct err *e)
{
	const uint64_t end = clock_mono_ms() + (uint64_t)(timeout_ms < 0 ? 0 : timeout_ms);

	for (;;) {
		struct pollfd pfd = { .fd = sock, .events = events };
		const uint64_t now = clock_mono_ms();
		const int left = timeout_ms < 0 ? -1 : now >= end ? 0 : (int)(end - now);
		const int r = poll(&pfd, 1, left);

		if (r > 0)
			return 0;
		if (r == 0)
			return err_set(e, ERR_TEMP, 0, "no answer in %d ms", timeout_ms);
		if (errno != EINTR)
			return err_set(e, ERR_TEMP, errno, "poll");
	}
}

int ipc_send_fd(int sock, const struct ipc_proto *p, uint16_t type, const void *msg, uint32_t id,
		int fd, struct err *e)
{
	const struct ipc_fds fds = { { fd }, fd >= 0 ? 1 : 0 };
	size_t n;
	int r;

	if (ipc_encode(p, type, msg, id, scratch, sizeof(scratch), &n, e) < 0)
		return -1;
	while ((r = packet_send(sock, scratch, n, &fds, true, e)) == 1)
		if (wait_for(sock, POLLOUT, SEND_WAIT_MS, e) < 0)
			break;
	mem_wipe(scratch, n);
	return r == 0 ? 0 : err_wrap(e, "%s", p->name);
}

static int decode_into(const struct ipc_proto *p, size_t n, size_t n_fds, struct arena *a,
		       uint16_t *type_out, uint32_t *id_out, void **msg_out, struct err *e)
{
	const struct str packet = arena_str(a, str_n(scratch, n));

	mem_wipe(scratch, n);
	if (!packet.p)
		return err_set(e, ERR_LIMIT, 0, "%s: no room for a packet", p->name);
	return ipc_decode(p, packet, n_fds, a, type_out, id_out, msg_out, e);
}

int ipc_patience(int sock, int timeout_ms, struct err *e)
{
	const struct timeval t = { .tv_sec = timeout_ms / 1000, .tv_usec = timeout_ms % 1000 * 1000 };

	return setsockopt(sock, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof(t)) < 0 ? err_set(e, ERR_TEMP, errno, "SO_RCVTIMEO") : 0;
}

int ipc_recv_fd(int sock, const struct ipc_proto *p, int timeout_ms, struct arena *a,
		uint16_t *type_out, uint32_t *id_out, void **msg_out, int *fd_out, struct err *e)
{
	struct ipc_fds fds;
	size_t n;
	int r;

	/* It is seldom there already: who asks for it waits for an answer, or for the next thing to do. */
	const bool patient = timeout_ms == IPC_PATIENCE;
	do
		if (!patient && wait_for(sock, POLLIN, timeout_ms, e) < 0)
			return err_wrap(e, "%s", p->name);
	while ((r = packet_recv(sock, scratch, &n, &fds, patient, e)) == 1 && !patient);
	if (r == 1)
		r = err_set(e, ERR_TEMP, 0, "no answer in time");
	if (r < 0)
		return err_wrap(e, "%s", p->name);
	r = fds.n > 1 ? err_set(e, ERR_INPUT, 0, "too many descriptors") : decode_into(p, n, fds.n, a, type_out, id_out, msg_out, e);
	if (r < 0) {
		packet_close(&fds);
		return -1;
	}
	*fd_out = fds.n > 0 ? fds.v[0] : -1;
	return 0;
}
