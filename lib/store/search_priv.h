/* What search.c (files) and search_ask.c (questions, learning) share. */
#ifndef STORE_SEARCH_PRIV_H
#define STORE_SEARCH_PRIV_H

#include "store/search.h"
#include "store/store_priv.h"
#include "store/trigram.h"

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
