/* For fuzz targets of the fronts of imapd and pop3d: a client before login, and an authd of straw that believes whoever's response ends in "t". */
#ifndef TEST_FUZZ_LOGIN_H
#define TEST_FUZZ_LOGIN_H

#include <stddef.h>
#include <stdint.h>

#include "front/front.h"

/* data: first byte: bit 0: authd finds no session; bit 1: the client's address is not known (no login without TLS); bit 2: there is no
 * authd; then what the client says. */
void fuzz_login(const uint8_t *data, size_t size, void (*session)(struct front_env *env, const struct front_conn *fc));

#endif
