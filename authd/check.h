/* The check worker's parts: check_main.c one attempt, check_pam.c what PAM says. Private to authd-check. */
#ifndef AUTHD_CHECK_H
#define AUTHD_CHECK_H

#include <stdbool.h>
#include <stdint.h>

#include "authd/apppass.h"
#include "conf/conf.h"

enum { V_WRONG, V_RIGHT, V_TEMP };

struct verdict {
	int v;
	char reason[100];
	char app[APP_ID + 1];		/* by which application password it is right; "" : the main one */
	uint64_t expires;		/* when that one ends; 0: never */
	bool has_tag;
	uint8_t tag[32];
};

struct verdict verdict_say(int v, const char *reason);

/* password NULL: it has been found right already, what is left is whether the account may log in. client: for PAM_RHOST, or "". */
struct verdict check_pam(const char *user, const char *service, const char *client, const char *password);
/* Open PAM once for each service and keep it open: its modules stay loaded, and workers find them in memory. */
void check_pam_warm(const struct conf *c);

#endif
