/* What an unprivileged template may send to the root parent, and back: any bytes through the decoder; what decodes must encode again, and to
 * the same. The first byte: how many descriptors ride along. */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "front/handover.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static unsigned char again[IPC_PACKET_MAX];
	uint16_t type;
	uint32_t id;
	void *msg;
	size_t n;
	if (size < 1 || size > IPC_PACKET_MAX)
		return 0;
	const size_t n_fds = data[0] % (IPC_FDS_MAX + 2);
	struct arena *a = arena_new(0);
	struct err e = { 0 };
	if (ipc_decode(&ipc_handover, str_n(data + 1, size - 1), n_fds, a, &type, &id, &msg, &e) == 0) {
		assert(ipc_encode(&ipc_handover, type, msg, id, again, sizeof(again), &n, &e) == 0);
		assert(n <= size - 1);
		assert(ipc_decode(&ipc_handover, str_n(again, n), n_fds, a, &type, &id, &msg, &e) == 0);
	}
	arena_free(&a);
	return 0;
}
