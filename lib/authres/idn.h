/* Internationalised domains as the DNS has them (RFC 5891, 3492): labels that are not ASCII become "xn--…". */
#ifndef AUTHRES_IDN_H
#define AUTHRES_IDN_H

#include "base/arena.h"
#include "base/str.h"

/* domain in UTF-8 to A-labels; ASCII as it is. Letters beyond ASCII are taken as they are written: upper case is not mapped. What cannot be encoded (no UTF-8, a
 * label too long) is handed back unchanged: no such name exists. Lives in a or borrows from domain. */
struct str idn_ascii(struct arena *a, struct str domain);

#endif
