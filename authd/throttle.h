/* Limits on failed logins: who may try, who waits, who is refused (authd/README.md has the table). Pure: no clock,
 * no file, no descriptor; the monitor passes the time and stores the snapshot. Bounded: every table has a
 * fixed maximum and evicts its smallest penalty, so that no number of attackers makes the monitor grow.
 *
 * Rules. Failures are counted for the address (IPv4 /32, IPv6 /64), the network (/24, /48), the account, and the
 * account together with the network. The same wrong password for the same account counts once an hour. A network from which an
 * account logged in during the last 30 days is known to it: no count of others' failures locks it out. By application passwords alone it is known less: who has stolen
 * one could make any network known, and guess the main password from all of them. From there the account's own limits hold as for strangers.
 *
 *	if (throttle_ask(t, now, &client, user) == THROTTLE_PASS) …check the password…
 *	delay = throttle_fail(t, now, &client, user, exists, tag);	or throttle_success(t, now, &client, user, true);
 */
#ifndef AUTHD_THROTTLE_H
#define AUTHD_THROTTLE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

enum {
	THROTTLE_ADDRESSES_MAX = 65536,	/* of each family */
	THROTTLE_NETWORKS_MAX = 32768,
	THROTTLE_ACCOUNTS_MAX = 16384,
	THROTTLE_PAIRS_MAX = 32768,	/* account and network with failures */
	THROTTLE_KNOWN_MAX = 32768,	/* account and network with a success */
	THROTTLE_SEEN_MAX = 65536,	/* wrong passwords of the last hour */
	THROTTLE_SNAPSHOT_MAX = 32 << 20,
};

struct throttle_limits {
	uint32_t address_max;	/* failures in window_s before the address is refused */
	uint32_t network_max;
	uint32_t pair_max;	/* different wrong passwords for an account from one network */
	uint32_t account_max;	/* different wrong passwords for an account, then known networks only */
	uint32_t unknown_max;	/* unknown names from one address: a dictionary */
	uint32_t server_max;	/* failures a second of the whole server, then strangers wait longer */
	uint32_t window_s;	/* 900 */
	uint32_t refuse_s;	/* 900: first refusal of an address; each further one four times longer … */
	uint32_t refuse_max_s;	/* 86400: … up to this */
};
extern const struct throttle_limits throttle_defaults;

struct throttle_client {
	uint8_t addr[16];	/* IPv4 as ::ffff:a.b.c.d */
	bool has_addr;		/* false: a local service that does not say (saslauthd protocol): one network of its own */
	bool exempt;		/* auth_throttle_exempt: nothing is counted */
};

enum throttle_answer {
	THROTTLE_PASS,
	THROTTLE_REFUSED,	/* this address, network or pair is refused for a time */
	THROTTLE_GUARDED,	/* the account is under attack; only known networks may try */
};

struct throttle;

struct throttle *throttle_new(const struct throttle_limits *lim);	/* returns owned; lim is copied */
void throttle_free(struct throttle **t);
void throttle_limits_set(struct throttle *t, const struct throttle_limits *lim);

/* Before a name is known: refused only when the network is known to no account at all. now: wall clock, seconds. */
enum throttle_answer throttle_ask_client(struct throttle *t, uint32_t now, const struct throttle_client *c);
/* Before the password is checked. user: folded account name, or the name as given when there is no such account. */
enum throttle_answer throttle_ask(struct throttle *t, uint32_t now, const struct throttle_client *c, struct str user);
/* A password was wrong. exists: there is such an account. tag: identifies the password (0: not known, counts as new). Returns the
 * milliseconds after which the client may hear of it. */
uint32_t throttle_fail(struct throttle *t, uint32_t now, const struct throttle_client *c, struct str user, bool exists, uint64_t tag);
/* main: by the account's own password: what was counted for this account and network begins anew. */
void throttle_success(struct throttle *t, uint32_t now, const struct throttle_client *c, struct str user, bool main);
/* An administrator's word: failures of that address, its network and that account, from there and together, are forgotten, and how long each would be refused the next
 * time. Returns whether any of them was refused. */
bool throttle_forgive(struct throttle *t, uint32_t now, const struct throttle_client *c, struct str user);
/* Did user log in from this network during the last 30 days? */
bool throttle_knows(const struct throttle *t, uint32_t now, const struct throttle_client *c, struct str user);
/* Failures counted for this address in the running window, for the log. */
uint32_t throttle_count(struct throttle *t, uint32_t now, const struct throttle_client *c);

bool throttle_dirty(const struct throttle *t);	/* changed since the last save or load */
void throttle_clean(struct throttle *t);	/* a copy of the process saves it */
uint64_t throttle_evicted(const struct throttle *t);	/* live entries that had to make room, since the start */
size_t throttle_bytes(const struct throttle *t);
/* Versioned text. load replaces all content, or leaves it alone and returns -1 with ERR_INPUT. */
void throttle_save(struct throttle *t, uint32_t now, struct buf *out);
int throttle_load(struct throttle *t, struct str snapshot, struct err *e) MUST_CHECK;

#endif
