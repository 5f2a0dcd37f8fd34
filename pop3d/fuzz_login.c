/* Any bytes as a client of pop3d before login. */
#include "pop3d/login.h"
#include "test/fuzz_login.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	fuzz_login(data, size, login_session);
	return 0;
}
