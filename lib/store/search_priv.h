/* What search.c (files), search_records.c (their bytes) and search_ask.c (questions, learning) share. */
#ifndef STORE_SEARCH_PRIV_H
#define STORE_SEARCH_PRIV_H

#include "store/search.h"
#include "store/store_priv.h"
#include "store/trigram.h"

/* --- search_records.c --- */
enum { SEARCH_HEAD = 64, SEARCH_RECORD_HEAD = 32 };
bool search_head_ok(const struct mbox *m, int fd);
bool search_head_write(const struct mbox *m, int fd);
/* The record at off, if one that verifies stands there. */
const unsigned char *search_record_at(struct grow *g, const uint8_t id[16], uint64_t off);
void search_record_head(const struct mbox *m, unsigned char h[SEARCH_RECORD_HEAD], unsigned what, unsigned kind, unsigned class, uint32_t n, const void *payload, size_t bytes);
bool search_record_write(int fd, uint64_t off, const unsigned char h[SEARCH_RECORD_HEAD], const void *payload, size_t bytes);

/* --- search.c --- */
/* Does the index know the message at pos? */
bool search_covers(const struct search *s, unsigned kind, uint32_t pos);
uint32_t search_pos(const struct state *st, uint32_t uid, uint32_t *hint);
const uint64_t *search_row_bits(struct search *s, const struct search_row *r);	/* NULL: the file was cut */
void search_row_head(unsigned char out[8], uint32_t uid, unsigned kind, unsigned class);
/* Remember the signature of the message at pos. signed: it is made already, trigram_bits(class) / 8 bytes. */
void search_add(struct mbox *m, uint32_t pos, unsigned kind, const struct trigrams *t);
void search_add_signed(struct mbox *m, uint32_t pos, unsigned kind, unsigned class, struct str signature);

bool search_loaded(const struct mbox *m);	/* this process has all of it */
void search_learn(struct mbox *m, uint32_t pos, struct msgfile *f);

#endif
