/* Whatever is asked of the key worker, what it accepts is a server's: it begins with the spaces and the server's
 * context, or has named-curve parameters whose length is the rest. */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "io/tls.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char context[] = "TLS 1.3, server CertificateVerify";
	int v = tls_tbs_version(str_n(data, size)), c = tls_client_tbs_version(str_n(data, size));

	assert(v == -1 || c == -1); /* a client's key signs no server's words, nor the other way round */

	if (v == 13) {
		assert(size == 64 + sizeof(context) + 32 || size == 64 + sizeof(context) + 48);
		for (int i = 0; i < 64; i++)
			assert(data[i] == ' ');
		assert(memcmp(data + 64, context, sizeof(context)) == 0);
	} else if (v == 12) {
		assert(size > 68 && data[64] == 3 && data[65] == 0 && data[67] == size - 68);
		assert(data[66] == 0x17 || data[66] == 0x18 || data[66] == 0x1d);
	} else {
		assert(v == -1);
	}
	return 0;
}
