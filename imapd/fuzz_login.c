/* Any bytes as a client of imapd before login. */
#include "imapd/login.h"
#include "test/fuzz_login.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	fuzz_login(data, size, login_session);
	return 0;
}
