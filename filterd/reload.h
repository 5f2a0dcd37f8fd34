/* SIGHUP: the configuration anew, read by the confined monitor as user_filter. */
#ifndef FILTERD_RELOAD_H
#define FILTERD_RELOAD_H

#include "conf/conf.h"

/* 0: *out is owned by the caller. -1: the log says what is wrong with it. Good is a file without mistakes, whose lists and rules are within what these
 * processes could reach since their start. */
int reload_conf(const char *file, struct conf **out) MUST_CHECK;

/* The file alone, unread what it names: for processes that look at nothing of that. */
int reload_read(const char *file, struct conf **out, struct err *e) MUST_CHECK;
/* What the table of parameters cannot say of their values; for the start, too. */
int reload_check(const struct conf *c, struct err *e) MUST_CHECK;

#endif
