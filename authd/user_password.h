/* Where postern-user has a new password from. */
#ifndef AUTHD_USER_PASSWORD_H
#define AUTHD_USER_PASSWORD_H

#include <stdbool.h>

#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"

/* Standard input up to its end, without one final line end; else the terminal, asked twice. The caller wipes out. */
int user_password_take(bool from_stdin, struct buf *out, struct err *e) MUST_CHECK;

#endif
