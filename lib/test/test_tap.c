/* The harness itself: only that good checks pass; that bad ones fail is seen by t/run-unit. */
#include "test/tap.h"

int main(void)
{
	tap_ok(true, "a true condition passes");
	tap_is_int(3, 3, "equal numbers pass");
	tap_is_str("a", "a", "equal strings pass");
	tap_is_str(NULL, NULL, "NULL equals NULL");
	tap_is_mem(STR("a\0b"), str_n("a\0b", 3), "bytes may hold NUL");
	tap_is_mem((struct str){ 0 }, STR(""), "an empty view has any pointer");
	tap_diag("a comment");
	return tap_done();
}
