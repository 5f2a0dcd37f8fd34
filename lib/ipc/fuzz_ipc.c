/* Any bytes through the decoder of every channel; what decodes must encode again, and decode to the same. The first byte
 * chooses the channel (modulo), the second how many descriptors ride along. */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "ipc/all.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static unsigned char again[IPC_PACKET_MAX], third[IPC_PACKET_MAX];
	uint16_t type;
	uint32_t id;
	void *msg;
	size_t n, m;

	if (size < 2 || size > IPC_PACKET_MAX)
		return 0;
	const struct ipc_proto *p = ipc_all[data[0] % ARRAY_LEN(ipc_all)];
	const size_t n_fds = data[1] % (IPC_FDS_MAX + 2);
	struct arena *a = arena_new(0);
	struct err e = { 0 };

	if (ipc_decode(p, str_n(data + 2, size - 2), n_fds, a, &type, &id, &msg, &e) == 0) {
		assert(ipc_encode(p, type, msg, id, again, sizeof(again), &n, &e) == 0);
		assert(n <= size - 2);
		assert(ipc_decode(p, str_n(again, n), n_fds, a, &type, &id, &msg, &e) == 0);
		assert(ipc_encode(p, type, msg, id, third, sizeof(third), &m, &e) == 0);
		assert(m == n && memcmp(again, third, n) == 0);
	}
	arena_free(&a);
	return 0;
}
