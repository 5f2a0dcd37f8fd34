/* Where an account's mail lies: the one place that computes it, for the monitor and the tool. */
#ifndef AUTHD_PLACE_H
#define AUTHD_PLACE_H

#include "base/attr.h"
#include "conf/conf.h"
#include "map/accounts.h"

/* Fill in the home of the suite's own user (virtual_mail_directory/NAME; a system account's is given) and the maildir: mail_location with
 * %u name, %n part before @, %d part behind it, %h home, and pieces of them (conf's place.c), else home_mailbox below the home. -1: a
 * path is too long. */
int place_account(const struct conf *c, struct account *a) MUST_CHECK;

#endif
