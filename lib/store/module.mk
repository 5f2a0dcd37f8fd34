$(call library,names.c root.c folders.c ops.c state.c journal.c guard.c index.c sync.c takeover.c mbox.c view.c message.c flags.c append.c copy.c cache.c maildir.c)
$(call unittest,test_maildir,test_maildir.c,store os base test)
$(call unittest,test_mbox,test_mbox.c test_util.c,store log os base test)
